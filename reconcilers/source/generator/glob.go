package generator

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Limits of one pattern. Patterns come from users and are matched against each path of a tree.
const (
	maxElements     = 63 // as many as a set of positions holds
	maxAlternatives = 64
	maxChoices      = 20 // commas, and groups in braces
)

// glob is a pattern of paths: * and ? match within an element, ** any number of elements, [..] one character, and {a,b} either
// text.
type glob struct {
	text string

	// alternatives are the elements of the pattern, for each choice of the braces.
	alternatives [][]string
}

// front is how far a path has come in a glob: for each alternative, the set of positions, as bits, that the next element may
// have to match.
type front []uint64

// parseGlob reads a pattern. An empty one matches the root.
func parseGlob(text string) (glob, error) {
	g := glob{text: text}

	for _, c := range []string{",", "{"} {
		if strings.Count(text, c) > maxChoices {
			return g, fmt.Errorf("pattern %q has more than %d of %q", text, maxChoices, c)
		}
	}

	plain, err := expandBraces(text)
	if err != nil {
		return g, fmt.Errorf("pattern %q: %w", text, err)
	}

	for _, p := range plain {
		elements := split(p)
		if len(elements) > maxElements {
			return g, fmt.Errorf("pattern %q has more than %d elements", text, maxElements)
		}

		for _, e := range elements {
			if e == ".." {
				return g, fmt.Errorf("pattern %q leads out of the tree", text)
			}

			if _, err := path.Match(e, ""); err != nil {
				return g, fmt.Errorf("pattern %q: %w", text, err)
			}
		}

		g.alternatives = append(g.alternatives, elements)
	}

	return g, nil
}

// isGlob tells whether a path is a pattern.
func isGlob(text string) bool { return strings.ContainsAny(text, "*?[{") }

// split returns the elements of a path, without those that mean nothing.
func split(p string) []string {
	var elements []string

	for e := range strings.SplitSeq(p, "/") {
		if e != "" && e != "." {
			elements = append(elements, e)
		}
	}

	return elements
}

// start is the front before the first element.
func (g glob) start() front {
	f := make(front, len(g.alternatives))
	for i, elements := range g.alternatives {
		f[i] = closure(elements, 1)
	}

	return f
}

// step is the front after one more element.
func (g glob) step(f front, element string) front {
	next := make(front, len(f))

	for i, elements := range g.alternatives {
		var set uint64

		for p, e := range elements {
			if f[i]&(1<<p) == 0 {
				continue
			}

			if e == "**" {
				set |= 1 << p
			} else if ok, err := path.Match(e, element); ok && err == nil {
				set |= 1 << (p + 1)
			}
		}

		next[i] = closure(elements, set)
	}

	return next
}

// closure adds the positions that are reached when ** matches nothing.
func closure(elements []string, set uint64) uint64 {
	for p, e := range elements {
		if e == "**" && set&(1<<p) != 0 {
			set |= 1 << (p + 1)
		}
	}

	return set
}

// accepted tells whether the path up to here matches.
func (g glob) accepted(f front) bool {
	for i, elements := range g.alternatives {
		if f[i]&(1<<len(elements)) != 0 {
			return true
		}
	}

	return false
}

// alive tells whether something below the path up to here may match.
func (g glob) alive(f front) bool {
	for i, elements := range g.alternatives {
		if f[i]&(1<<len(elements)-1) != 0 {
			return true
		}
	}

	return false
}

// matches tells whether a path, given by its elements, matches.
func (g glob) matches(elements []string) bool {
	f := g.start()

	for _, e := range elements {
		if !g.alive(f) {
			return false
		}

		f = g.step(f, e)
	}

	return g.accepted(f)
}

// prefix returns the elements before the first one that is a pattern: where the matches lie.
func (g glob) prefix() []string {
	elements := split(g.text)

	for i, e := range elements {
		if isGlob(e) {
			return elements[:i]
		}
	}

	return elements
}

var errBraces = errors.New("braces are not balanced")

// expandBraces returns the patterns without braces that a pattern stands for.
func expandBraces(text string) ([]string, error) {
	open, choices, end, err := firstBraces(text)
	if err != nil || open < 0 {
		return []string{text}, err
	}

	var all []string

	for _, choice := range choices {
		some, err := expandBraces(text[:open] + choice + text[end:])
		if err != nil {
			return nil, err
		}

		if all = append(all, some...); len(all) > maxAlternatives {
			return nil, fmt.Errorf("it stands for more than %d patterns", maxAlternatives)
		}
	}

	return all, nil
}

// firstBraces finds the first group in braces: where it begins, what it holds, and where the text goes on after it.
func firstBraces(text string) (open int, choices []string, end int, err error) {
	depth, from := 0, 0

	for i := nextSpecial(text, 0); i < len(text); i = nextSpecial(text, i+1) {
		switch c := text[i]; {
		case c == '{':
			if depth++; depth == 1 {
				open, from = i, i+1
			}
		case c == ',' && depth == 1:
			choices, from = append(choices, text[from:i]), i+1
		case c == '}' && depth == 0:
			return -1, nil, 0, errBraces
		case c == '}':
			if depth--; depth == 0 {
				return open, append(choices, text[from:i]), i + 1, nil
			}
		}
	}

	if depth > 0 {
		return -1, nil, 0, errBraces
	}

	return -1, nil, 0, nil
}

// nextSpecial returns where the next brace or comma is that is neither escaped nor in a class, or the length of the text.
func nextSpecial(text string, from int) int {
	for i := from; i < len(text); i++ {
		switch text[i] {
		case '{', '}', ',':
			return i
		case '\\':
			i++
		case '[':
			i += max(strings.IndexByte(text[i:], ']'), 0)
		}
	}

	return len(text)
}
