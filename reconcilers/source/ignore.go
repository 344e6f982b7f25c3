package source

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"
)

// IgnoreFile is the name of the files that hold ignore rules.
const IgnoreFile = sourceignore.IgnoreFile

// maxIgnoreBytes bounds all files of ignore rules of an artifact together, and maxRules its rules: each file of the artifact is
// held against each of them.
const (
	maxIgnoreBytes = 1 << 20
	maxRules       = 10_000
)

// Rules decide which files are left out of an artifact. The zero value leaves out none.
type Rules struct {
	matcher gitignore.Matcher

	// Prune tells that nothing below a directory that is left out is wanted.
	Prune bool
}

// Skip tells whether a file or directory is left out, given by the elements of its path.
func (r Rules) Skip(elements []string, dir bool) bool {
	return r.matcher != nil && r.matcher.Match(elements, dir)
}

// RuleBook collects ignore rules: those of the .sourceignore files, each for its directory, then those of the object, which
// win. The syntax is that of .gitignore.
type RuleBook struct {
	bytes    int
	patterns []gitignore.Pattern
	negated  bool // some rule takes files in again
}

// File adds the rules of the .sourceignore file at the path, which hold in its directory.
func (b *RuleBook) File(name string, r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, int64(maxIgnoreBytes-b.bytes)+1))
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}

	if b.bytes += len(text); b.bytes > maxIgnoreBytes {
		return fmt.Errorf("%q: the files of ignore rules have more than %d bytes", name, maxIgnoreBytes)
	}

	var domain []string
	if dir := path.Dir(name); dir != "." {
		domain = strings.Split(dir, "/")
	}

	if err := b.add(string(text), domain); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}

	return nil
}

// Spec adds the rules of the object, if there are any. Nil means none.
func (b *RuleBook) Spec(text *string) error {
	if text == nil {
		return nil
	}

	if err := b.add(*text, nil); err != nil {
		return fmt.Errorf("spec.ignore: %w", err)
	}

	return nil
}

func (b *RuleBook) add(text string, domain []string) error {
	if len(b.patterns)+strings.Count(text, "\n") > maxRules { // reading that many takes its time, too
		return fmt.Errorf("there are more than %d ignore rules, or lines of them", maxRules)
	}

	b.patterns = append(b.patterns, sourceignore.ReadPatterns(strings.NewReader(text), domain)...)
	b.negated = b.negated || strings.HasPrefix(text, "!") || strings.Contains(text, "\n!")

	return nil
}

// Tree returns the rules for a tree of files: those that were added, and those about Git's own files. Only if none were added,
// the default ones are used. Source: reference §2.3.
func (b *RuleBook) Tree() Rules {
	if len(b.patterns) == 0 {
		return Rules{matcher: sourceignore.NewDefaultMatcher(nil, nil), Prune: true}
	}

	patterns := append(sourceignore.VCSPatterns(nil), b.patterns...)

	return Rules{matcher: sourceignore.NewMatcher(patterns), Prune: !b.negated}
}

// Bare returns the rules that were added and no others, as for a bucket. Source: reference §2.5.
func (b *RuleBook) Bare() Rules {
	if len(b.patterns) == 0 {
		return Rules{}
	}

	return Rules{matcher: sourceignore.NewMatcher(b.patterns), Prune: !b.negated}
}
