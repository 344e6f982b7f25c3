package migration

import (
	"fmt"
	"strings"

	"github.com/weir-dev/weir/reconcilers/access"
)

// RefusedError says that a definition cannot take the place of the one in the cluster, since what is stored would be lost.
type RefusedError struct {
	// Definition is the name.
	Definition string
	// Storage is the version that the cluster stores, and Target the versions of which the new definition has to do.
	Storage string
	Target  []string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the objects of %q are stored in version %s, which the new definition, with %s, does not have: "+
		"go by way of a release that has both", e.Definition, e.Storage, strings.Join(e.Target, ", "))
}

// Failure is an object that could not be brought over, and why.
type Failure struct {
	access.ID
	Err error
}

// Error says which objects of a definition could not be brought over. The others were.
type Error struct {
	// Definition is the name.
	Definition string
	// Failures are the first of them, by identity.
	Failures []Failure
	// Count of all of them. After many, no more are tried.
	Count int
}

// named is how many failures a message names.
const named = 5

// Error implements error.
func (e *Error) Error() string {
	var text strings.Builder
	noun := "objects"
	if e.Count == 1 {
		noun = "object"
	}
	_, _ = fmt.Fprintf(&text, "%d %s of %q could not be migrated: ", e.Count, noun, e.Definition)
	for i, f := range e.Failures {
		if i == named {
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		_, _ = fmt.Fprintf(&text, "%s: %v", f.ID, f.Err)
	}
	if e.Count > min(named, len(e.Failures)) {
		text.WriteString("; …")
	}
	return text.String()
}

// Unwrap returns the causes.
func (e *Error) Unwrap() []error {
	causes := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		causes[i] = f.Err
	}
	return causes
}
