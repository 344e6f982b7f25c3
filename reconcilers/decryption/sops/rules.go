package sops

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	defaultUnencryptedSuffix = "_unencrypted"

	// maxPattern bounds a regular expression, in bytes: it is matched with each key.
	maxPattern = 1 << 10
)

// rules say which values of a file are encrypted. There is one at most; without one, it is all whose keys do not end with a
// certain suffix.
type rules struct {
	// key tells whether a key, and with it all below it, is selected.
	key func(string) bool
	// comment tells whether a comment selects what comes below it. One of key and comment is set.
	comment func(string) bool
	// encrypts says that what is selected is encrypted, and not that what is not selected is.
	encrypts bool
}

// encrypted tells what a value is, given whether any key above it and any comment before it was selected.
func (r *rules) encrypted(key, comment bool) bool {
	if r.comment != nil {
		return comment == r.encrypts
	}

	return key == r.encrypts
}

func (r *rules) selectsKey(key string) bool { return r.key != nil && r.key(key) }

func (r *rules) selectsComment(text string) bool { return r.comment != nil && r.comment(text) }

// rulesOf reads the rules from metadata.
func rulesOf(m map[string]any) (*rules, error) {
	var found []*rules

	for _, prefix := range []string{"unencrypted", "encrypted"} {
		encrypts := prefix == "encrypted"

		if suffix := text(m, prefix+"_suffix"); suffix != "" {
			found = append(found, &rules{key: hasSuffix(suffix), encrypts: encrypts})
		}

		key, err := matcher(m, prefix+"_regex")
		if err != nil {
			return nil, err
		}

		comment, err := matcher(m, prefix+"_comment_regex")
		if err != nil {
			return nil, err
		}

		if key != nil {
			found = append(found, &rules{key: key, encrypts: encrypts})
		}

		if comment != nil {
			found = append(found, &rules{comment: comment, encrypts: encrypts})
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

// matcher returns the regular expression in a field, or nil if it has none.
func matcher(m map[string]any, field string) (func(string) bool, error) {
	pattern := text(m, field)
	if pattern == "" {
		return nil, nil
	}

	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%s has more than %d bytes", field, maxPattern)
	}

	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}

	return re.MatchString, nil
}

func hasSuffix(suffix string) func(string) bool {
	return func(key string) bool { return strings.HasSuffix(key, suffix) }
}
