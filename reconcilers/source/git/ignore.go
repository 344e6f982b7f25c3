package git

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxIgnoreBytes bounds all files of ignore rules together.
const maxIgnoreBytes = 1 << 20

// recipe says which files of a commit make an artifact.
type recipe struct {
	ignore string // rules of the object; they count only if ruled
	ruled  bool
	under  string // directories, one per line; none means all
}

// directories are those of which the files are wanted; none means all.
func (r recipe) directories() []string {
	if r.under == "" {
		return nil
	}

	return strings.Split(r.under, "\n")
}

// fingerprint tells recipes apart, of which some are long.
func (r recipe) fingerprint() flight.Fingerprint {
	return flight.FingerprintOf(r.ignore, strconv.FormatBool(r.ruled), r.under)
}

// rules decide which files are left out.
type rules struct {
	matcher gitignore.Matcher
	prune   bool // nothing below a directory that is left out is wanted
}

// skip tells whether a file or directory is left out.
func (r rules) skip(elements []string, dir bool) bool { return r.matcher.Match(elements, dir) }

// readRules collects the rules of the commit and of the recipe: those of the .sourceignore files, each for its directory, and
// those of the object, which win. Only if there are none at all, the default ones are used; those about Git's own files always
// are. Source: reference §2.3.
func readRules(ctx context.Context, c *clone, r recipe, limits ingest.Limits) (rules, error) {
	b := &ruleBook{}

	options := ingest.WalkOptions{
		Limits: limits, Under: r.directories(),
		Skip: func(elements []string, _ bool) bool { return elements[len(elements)-1] != sourceignore.IgnoreFile },
	}

	err := c.pack.Walk(ctx, c.commit, options, func(n ingest.Node) error {
		if n.Dir {
			return nil
		}

		return b.file(ctx, c, n)
	})
	if err != nil {
		return rules{}, err
	}

	if r.ruled {
		b.add(r.ignore, nil)
	}

	if len(b.patterns) == 0 {
		return rules{matcher: sourceignore.NewDefaultMatcher(nil, nil), prune: true}, nil
	}

	patterns := append(sourceignore.VCSPatterns(nil), b.patterns...)

	return rules{matcher: sourceignore.NewMatcher(patterns), prune: !b.negated}, nil
}

// ruleBook collects rules.
type ruleBook struct {
	bytes    int64 // of all files
	patterns []gitignore.Pattern
	negated  bool // some rule takes files in again
}

// file adds the rules of a .sourceignore file, which hold in its directory.
func (b *ruleBook) file(ctx context.Context, c *clone, n ingest.Node) error {
	if b.bytes += n.Size; b.bytes > maxIgnoreBytes {
		return fmt.Errorf("%q: the files of ignore rules have more than %d bytes", n.Path, maxIgnoreBytes)
	}

	in, err := c.pack.Open(ctx, n.Hash)
	if err != nil {
		return fmt.Errorf("open %q: %w", n.Path, err)
	}
	defer in.Close()

	text, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read %q: %w", n.Path, err)
	}

	var domain []string
	if dir := path.Dir(n.Path); dir != "." {
		domain = strings.Split(dir, "/")
	}

	b.add(string(text), domain)

	return nil
}

func (b *ruleBook) add(text string, domain []string) {
	b.patterns = append(b.patterns, sourceignore.ReadPatterns(strings.NewReader(text), domain)...)
	b.negated = b.negated || strings.HasPrefix(text, "!") || strings.Contains(text, "\n!")
}
