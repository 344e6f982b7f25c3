package artifact

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers may want to tell apart.
var (
	// ErrNotFound says that the artifact is not, or no longer, where it should be.
	ErrNotFound = errors.New("artifact not found")

	// ErrDigestMismatch says that the content is not the one that the digest stands for.
	ErrDigestMismatch = errors.New("digest mismatch")

	// ErrUnavailable says that an artifact did not come through, which says nothing about the artifact.
	ErrUnavailable = errors.New("artifact not available")

	// ErrInvalidPath says that a location or path does not fit the layout of the storage.
	ErrInvalidPath = errors.New("invalid path")
)

// Owner is the object that an artifact belongs to.
type Owner struct {
	// Kind of the object. It is lower-cased in paths.
	Kind string

	// Namespace and Name of the object.
	Namespace, Name string
}

// Location is where an artifact lies in the layout of the storage.
type Location struct {
	Owner

	// File name, such as <commit>.tar.gz.
	File string
}

// Path returns <kind>/<namespace>/<name>. Names that are none stay as they are, so that the store refuses the path: made plain,
// it could be that of another owner.
func (o Owner) Path() string { return strings.ToLower(o.Kind) + "/" + o.Namespace + "/" + o.Name }

// Path returns <kind>/<namespace>/<name>/<file>, with names that are none as in Owner.Path.
func (l Location) Path() string { return l.Owner.Path() + "/" + l.File }

// lower returns the owner with its kind in lower case, which is how all of the store's own are.
func (o Owner) lower() Owner {
	o.Kind = strings.ToLower(o.Kind)

	return o
}

func (o Owner) validate() error { return validate(strings.ToLower(o.Kind), o.Namespace, o.Name) }

func (l Location) validate() error {
	return validate(strings.ToLower(l.Kind), l.Namespace, l.Name, l.File)
}

// parsePath returns the location that a path means.
func parsePath(p string) (Location, error) {
	parts := strings.Split(p, "/")
	if len(parts) != 4 {
		return Location{}, fmt.Errorf("%w: %q", ErrInvalidPath, p)
	}

	l := Location{Owner: Owner{Kind: parts[0], Namespace: parts[1], Name: parts[2]}, File: parts[3]}

	return l, l.validate()
}

// validate refuses what is no plain file name. Names that begin with a dot are those of the store itself.
func validate(names ...string) error {
	const maxName = 255

	for _, n := range names {
		if n == "" || len(n) > maxName || n[0] == '.' || strings.ContainsAny(n, "/\\\x00") {
			return fmt.Errorf("%w: %q", ErrInvalidPath, n)
		}
	}

	return nil
}
