package template

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Use is what an object is referred to for.
type Use string

// What objects are referred to for.
const (
	Copy       Use = "copyFrom"              // its data goes into another one
	Kubeconfig Use = "convertKubeConfigFrom" // address and authority of a cluster go into a ConfigMap
	Checksum   Use = "checksumFrom"          // the checksum of its data goes into annotations
)

// Reference names a ConfigMap or Secret that objects of a set refer to.
type Reference struct {
	Use Use
	// Kind is ConfigMap or Secret.
	Kind            string
	Namespace, Name string
}

// String returns <kind>/<namespace>/<name>.
func (r Reference) String() string { return r.Kind + "/" + r.Namespace + "/" + r.Name }

// Reader gets what objects refer to.
type Reader interface {
	// Get returns the object, or an error which names it: nothing is added to that. The object is not changed.
	Get(ctx context.Context, r Reference) (*unstructured.Unstructured, error)
}

// ReaderFunc is a Reader.
type ReaderFunc func(ctx context.Context, r Reference) (*unstructured.Unstructured, error)

// Get calls the function.
func (f ReaderFunc) Get(ctx context.Context, r Reference) (*unstructured.Unstructured, error) {
	return f(ctx, r)
}

// References returns what Resolve will ask its Reader for, sorted, each once per use. What the set itself has, a checksum
// is taken of without asking. A malformed reference is an *Error.
func (s *Set) References() ([]Reference, error) { return nil, errors.ErrUnsupported }

// External returns the objects, as <kind>/<namespace>/<name>, sorted, whose checksums go into objects of the set, and which
// are not of the set themselves: those of the field externalChecksumRefs of the status.
func (s *Set) External() ([]string, error) { return nil, errors.ErrUnsupported }

// Resolve writes into the objects what they ask for with the annotations copyFrom, convertKubeConfigFrom and checksumFrom.
// Errors of the Reader come back as they are (with the object that refers), others are of the type *Error.
func (s *Set) Resolve(ctx context.Context, r Reader) error { return errors.ErrUnsupported }
