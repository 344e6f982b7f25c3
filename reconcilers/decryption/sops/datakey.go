package sops

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// KeyError says that the data key of a file could not be had, and from whom it was tried to get it.
type KeyError struct {
	// Needed is how many parts of the data key there have to be, and Found how many there are.
	Needed, Found int
	// Causes are why the recipients of the groups that failed could not decrypt it.
	Causes []error
}

// Error implements error.
func (e *KeyError) Error() string {
	const most = 10

	reasons := make([]string, 0, most)

	for i, cause := range e.Causes {
		if i == most {
			reasons = append(reasons, fmt.Sprintf("and %d more", len(e.Causes)-most))

			break
		}

		reasons = append(reasons, cause.Error())
	}

	text := "cannot get the data key"
	if e.Needed > 1 {
		text += fmt.Sprintf(": %d of the %d parts needed", e.Found, e.Needed)
	}

	return text + ": " + strings.Join(reasons, "; ")
}

// Unwrap returns the causes.
func (e *KeyError) Unwrap() []error { return e.Causes }

// dataKey asks for the data key, or for as many parts of it as it takes.
func (m *metadata) dataKey(ctx context.Context, keys Keys) ([]byte, error) {
	failed := &KeyError{Needed: m.threshold}

	var parts [][]byte

	for _, group := range m.groups {
		part, causes := fromGroup(ctx, group, keys)
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}

		if part == nil {
			failed.Causes = append(failed.Causes, causes...)

			continue
		}

		if parts = append(parts, part); len(parts) == m.threshold {
			break
		}
	}

	if failed.Found = len(parts); failed.Found < m.threshold {
		return nil, failed
	}

	if len(m.groups) == 1 {
		return parts[0], nil
	}

	return combine(parts)
}

// fromGroup returns what the first recipient that can decrypts, and otherwise why none can.
func fromGroup(ctx context.Context, group []Recipient, keys Keys) ([]byte, []error) {
	var causes []error

	for _, r := range group {
		part, err := keys.Unwrap(ctx, r)
		if err == nil && len(part) == 0 {
			err = errors.New("the data key is empty")
		}

		if err == nil {
			return part, nil
		}

		if ctx.Err() != nil {
			return nil, nil
		}

		causes = append(causes, fmt.Errorf("%s: %w", r, err))
	}

	if len(group) == 0 {
		causes = []error{errors.New("a key group is empty")}
	}

	return nil, causes
}
