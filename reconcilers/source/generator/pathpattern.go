package generator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// pathPattern finds directories in a source, and takes parts of their paths for variables.
type pathPattern struct {
	text  string
	alias string

	elements []patternElement
	captures []string // the names of the variables
}

// patternElement matches one element of a path.
type patternElement struct {
	literal string

	// match is nil for a literal. Its groups are variables.
	match    *regexp.Regexp
	captures []string
}

// parsePathPattern reads @<alias>/<path>, where {name} in the path is a variable.
func parsePathPattern(text string) (*pathPattern, error) {
	failed := func(format string, args ...any) (*pathPattern, error) {
		return nil, fmt.Errorf("pathPattern %q: %w", text, fmt.Errorf(format, args...))
	}

	alias, rest, err := parseReference(text)
	if err != nil {
		return failed("%w", err)
	}

	p := &pathPattern{text: text, alias: alias}

	elements, err := cleanPath(rest)
	if err != nil {
		return failed("%w", err)
	}

	if len(elements) == 0 || len(elements) > maxElements {
		return failed("it has to have between 1 and %d elements", maxElements)
	}

	for _, e := range elements {
		element, err := parseElement(e)
		if err != nil {
			return failed("%w", err)
		}

		p.elements = append(p.elements, element)
		p.captures = append(p.captures, element.captures...)
	}

	for i, name := range p.captures {
		if slices.Contains(p.captures[:i], name) {
			return failed("duplicate capture variable %q", name)
		}

		if msgs := validation.IsQualifiedName(name); len(msgs) > 0 {
			return failed("capture variable %q is not a valid Kubernetes label key: %s", name, strings.Join(msgs, "; "))
		}
	}

	return p, nil
}

// parseElement reads one element.
func parseElement(text string) (patternElement, error) {
	var expression strings.Builder

	e := patternElement{literal: text}

	for rest := text; rest != ""; {
		before, name, after, err := nextVariable(rest)
		if err != nil {
			return e, err
		}

		expression.WriteString(regexp.QuoteMeta(before))

		if name != "" {
			expression.WriteString("([^/]+)")

			e.captures = append(e.captures, name)
		}

		rest = after
	}

	if e.captures == nil {
		return e, nil
	}

	match, err := regexp.Compile("^" + expression.String() + "$")
	e.match = match

	return e, err //nolint:wrapcheck // all that is not ours in it is quoted
}

// nextVariable returns the name of the first variable of a text, and what is before and after it. Without one, all is before.
func nextVariable(text string) (before, name, after string, err error) {
	i := strings.IndexAny(text, "{}")
	if i < 0 {
		return text, "", "", nil
	}

	name, after, ok := strings.Cut(text[i+1:], "}")
	if text[i] == '}' || !ok {
		return "", "", "", errors.New("braces are not balanced")
	}

	if !isVariable(name) {
		return "", "", "", fmt.Errorf(
			"capture variable %q has to be made of letters, digits and underscores, and not to begin with a digit", name)
	}

	return text[:i], name, after, nil
}

// isVariable tells whether a text can name a variable.
func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}

	return name != ""
}

// finding is a directory that a pattern has found.
type finding struct {
	path      string
	variables map[string]string
}

// find returns the directories of a source that match, in the order of their paths.
func (p *pathPattern) find(ctx context.Context, root *os.Root) ([]finding, error) {
	var found []finding

	err := p.descend(ctx, root, nil, map[string]string{}, &found)
	if err != nil {
		return nil, fmt.Errorf("pathPattern %q: %w", p.text, err)
	}

	return found, nil
}

// descend looks in a directory for what the next element matches.
func (p *pathPattern) descend(
	ctx context.Context, root *os.Root, dir []string, variables map[string]string, found *[]finding,
) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	if len(dir) == len(p.elements) {
		if len(*found) == maxFindings {
			return fmt.Errorf("it matches more than %d directories", maxFindings)
		}

		all := make(map[string]string, len(variables))
		for _, name := range p.captures {
			all[name] = variables[name]
		}

		*found = append(*found, finding{path: join(dir), variables: all})

		return nil
	}

	e := p.elements[len(dir)]

	names, err := e.candidates(root, dir)
	if err != nil {
		return err
	}

	for _, name := range names {
		groups := e.groups(name)
		if groups == nil {
			continue
		}

		for i, capture := range e.captures {
			variables[capture] = groups[i+1]
		}

		if err := p.descend(ctx, root, slices.Concat(dir, []string{name}), variables, found); err != nil {
			return err
		}
	}

	return nil
}

// maxFindings is how many directories a pattern may find: the status lists an artifact for each of them.
const maxFindings = 2000

// candidates returns the names of the directories in a directory that may match.
func (e *patternElement) candidates(root *os.Root, dir []string) ([]string, error) {
	if e.match == nil {
		info, err := lstat(root, slices.Concat(dir, []string{e.literal}))

		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errLink):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("stat directory: %w", err)
		case !info.IsDir():
			return nil, nil
		}

		return []string{e.literal}, nil
	}

	entries, err := children(root, join(dir))
	if err != nil {
		return nil, err
	}

	var names []string

	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}

	return names, nil
}

// groups returns what the variables hold if the name matches, after the name itself.
func (e *patternElement) groups(name string) []string {
	if e.match == nil {
		return []string{name}
	}

	return e.match.FindStringSubmatch(name)
}

// fill returns the text with the variables in the place of {name}. Braces that hold no variable stay as they are.
func fill(text string, variables map[string]string) string {
	for name, value := range variables {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}

	return text
}
