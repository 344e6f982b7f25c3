package values

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ReferenceError says which reference could not be resolved, and why.
type ReferenceError struct {
	// Kind, Namespace and Name of the object.
	Kind, Namespace, Name string

	// Key in it.
	Key string

	// Optional tells whether the object or key may be missing.
	Optional bool

	// Err is the reason. It holds nothing of what is in a Secret.
	Err error
}

// Error implements error.
func (e *ReferenceError) Error() string {
	var b strings.Builder
	b.WriteString("could not resolve ")

	if e.Optional {
		b.WriteString("optional ")
	}

	fmt.Fprintf(&b, "%s chart values reference '%s/%s' with key '%s': %v", e.Kind, e.Namespace, e.Name, e.Key, e.Err)

	return b.String()
}

// Unwrap returns the reason.
func (e *ReferenceError) Unwrap() error { return e.Err }

// concealed returns why the content of a Secret cannot be read: where, but not what is there, for parsers quote what they do not
// understand.
func concealed(err error) error {
	if limited(err) {
		return err
	}

	if line := regexp.MustCompile(`\bline (\d{1,7})\b`).FindStringSubmatch(err.Error()); line != nil {
		return fmt.Errorf("the content is not YAML of a map, see line %s of it", line[1])
	}

	return errors.New("the content is not YAML of a map")
}
