package sops

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

const (
	defaultUnencryptedSuffix = "_unencrypted"

	// maxPattern bounds a regular expression, in bytes, and maxSteps the steps of its program: a short one may stand for many.
	maxPattern = 1 << 10
	maxSteps   = 10_000
	// maxMatching bounds all matching for one file, in steps for each byte: nothing can stop it, and it takes seconds.
	maxMatching = 1 << 28
)

var errMatching = errors.New("it costs too much to match the regular expression with the keys and comments")

// rules say which values of a file are encrypted. There is one at most; without one, it is all whose keys do not end with a
// certain suffix.
type rules struct {
	// key tells whether a key, and with it all below it, is selected.
	key func(string) bool
	// comment tells whether a comment selects what comes below it. One of key and comment is set.
	comment func(string) bool
	// encrypts says that what is selected is encrypted, and not that what is not selected is.
	encrypts bool

	// steps of what is matched, and spent is what it has cost.
	steps, spent int
}

// encrypted tells what a value is, given whether any key above it and any comment before it was selected.
func (r *rules) encrypted(key, comment bool) bool {
	if r.comment != nil {
		return comment == r.encrypts
	}

	return key == r.encrypts
}

func (r *rules) selectsKey(key string) bool { return r.key != nil && r.pay(key) && r.key(key) }

func (r *rules) selectsComment(text string) bool {
	return r.comment != nil && r.pay(text) && r.comment(text)
}

// pay tells whether there is enough left to match the text. If not, check fails from now on.
func (r *rules) pay(text string) bool {
	r.spent = min(r.spent+r.steps*len(text), maxMatching+1)

	return r.spent <= maxMatching
}

// check returns an error if what the rules have said is not to be relied upon.
func (r *rules) check() error { return nilOr(r.spent > maxMatching, errMatching) }

// rulesOf reads the rules from metadata.
func rulesOf(m map[string]any) (*rules, error) {
	var found []*rules

	for _, prefix := range []string{"unencrypted", "encrypted"} {
		encrypts := prefix == "encrypted"

		if suffix := text(m, prefix+"_suffix"); suffix != "" {
			found = append(found, &rules{key: hasSuffix(suffix), encrypts: encrypts})
		}

		key, steps, err := matcher(m, prefix+"_regex")
		if err != nil {
			return nil, err
		}

		if key != nil {
			found = append(found, &rules{key: key, encrypts: encrypts, steps: steps})
		}

		comment, steps, err := matcher(m, prefix+"_comment_regex")
		if err != nil {
			return nil, err
		}

		if comment != nil {
			found = append(found, &rules{comment: comment, encrypts: encrypts, steps: steps})
		}
	}

	switch len(found) {
	case 0:
		return &rules{key: hasSuffix(defaultUnencryptedSuffix)}, nil
	case 1:
		return found[0], nil
	default:
		return nil, errors.New("more than one rule says which values are encrypted")
	}
}

// matcher returns the regular expression in a field, and how many steps it has, or nil if there is none.
func matcher(m map[string]any, field string) (func(string) bool, int, error) {
	pattern := text(m, field)
	if pattern == "" {
		return nil, 0, nil
	}

	if len(pattern) > maxPattern {
		return nil, 0, fmt.Errorf("%s has more than %d bytes", field, maxPattern)
	}

	steps, err := stepsOf(pattern)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", field, err)
	}

	if steps > maxSteps {
		return nil, 0, fmt.Errorf("%s costs too much: its repetitions come to more than %d steps", field, maxSteps)
	}

	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", field, err)
	}

	return re.MatchString, steps, nil
}

// stepsOf returns the size of the program of a regular expression, each of whose steps may be taken for each byte of a text.
func stepsOf(pattern string) (int, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, err
	}

	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, err
	}

	return len(program.Inst), nil
}

func hasSuffix(suffix string) func(string) bool {
	return func(key string) bool { return strings.HasSuffix(key, suffix) }
}
