package generator

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

// operation is a copy operation that was read.
type operation struct {
	strategy string

	alias string   // of the source
	from  []string // the path in the source, or the part of a glob that is no pattern
	glob  *glob    // nil for a path

	to     []string // the path in the artifact
	intoTo bool     // the path in the artifact is a directory

	exclude []exclusion
	shown   string // from and to, for errors
}

// exclusion is a pattern of what is left out.
type exclusion struct {
	glob

	// bare patterns hold for a name at any depth.
	bare bool
}

// parseOperation reads a copy operation whose placeholders are filled in.
func parseOperation(c v1beta1.CopyOperation) (operation, error) {
	o := operation{strategy: c.GetStrategy(), shown: fmt.Sprintf("'%s' to '%s'", c.From, c.To)}

	alias, from, err := parseReference(c.From)
	if err != nil {
		return o, fmt.Errorf("invalid copy source '%s': %w", c.From, err)
	}

	o.alias = alias

	if isGlob(from) {
		g, err := parseGlob(from)
		if err != nil {
			return o, fmt.Errorf("invalid copy source '%s': %w", c.From, err)
		}

		o.glob, o.from = &g, g.prefix()
	} else if o.from, err = cleanPath(from); err != nil {
		return o, fmt.Errorf("invalid copy source '%s': %w", c.From, err)
	}

	to, ok := strings.CutPrefix(c.To, "@artifact/")
	if !ok {
		return o, fmt.Errorf("invalid copy destination '%s': it does not begin with @artifact/", c.To)
	}

	if o.to, err = cleanPath(to); err != nil {
		return o, fmt.Errorf("invalid copy destination '%s': %w", c.To, err)
	}

	o.intoTo = to == "" || strings.HasSuffix(to, "/")

	for _, text := range c.Exclude {
		g, err := parseGlob(text)
		if err != nil {
			return o, fmt.Errorf("invalid exclude: %w", err)
		}

		o.exclude = append(o.exclude, exclusion{glob: g, bare: !strings.Contains(text, "/")})
	}

	return o, nil
}

// parseReference takes apart @<alias>/<path>.
func parseReference(text string) (alias, rest string, err error) {
	alias, rest, ok := strings.Cut(text, "/")
	if !ok || len(alias) < 2 || alias[0] != '@' {
		return "", "", errors.New("it is not of the form @<alias>/<path>")
	}

	return alias[1:], rest, nil
}

// cleanPath returns the elements of a relative path.
func cleanPath(p string) ([]string, error) {
	if strings.ContainsRune(p, 0) {
		return nil, errors.New("it holds a NUL character")
	}

	elements := split(p)
	if slices.Contains(elements, "..") {
		return nil, errors.New("it leads out of the tree")
	}

	return elements, nil
}

// leavesOut tells whether a path is left out. Patterns are relative to the root of the source, to the part of from that is no
// pattern, or to the directory that is copied as a whole: at is the path from the root, and bases are how many of its elements
// lead to the others.
func (o *operation) leavesOut(at []string, bases ...int) bool {
	for _, e := range o.exclude {
		if e.bare && len(at) > 0 && e.matches(at[len(at)-1:]) {
			return true
		}

		if e.matches(at) {
			return true
		}

		for _, b := range bases {
			if b > 0 && b < len(at) && e.matches(at[b:]) {
				return true
			}
		}
	}

	return false
}

// isArchive tells whether a file can be extracted, by its name.
func isArchive(name string) bool {
	return strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// isDocument tells whether a file holds YAML or JSON, by its name.
func isDocument(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}

	return false
}

// join makes a path of elements.
func join(elements ...[]string) string {
	var all []string
	for _, e := range elements {
		all = append(all, e...)
	}

	if len(all) == 0 {
		return "."
	}

	return strings.Join(all, "/")
}
