package template

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// Scopes tells whether the objects of a kind have a namespace. It is not asked for kinds that the set itself defines. A kind
// that the cluster does not serve is an error for which k8s.io/apimachinery/pkg/api/meta.IsNoMatchError holds; its objects
// stay as they are, and who applies them will say so.
type Scopes func(ctx context.Context, gk schema.GroupKind, version string) (namespaced bool, err error)

// Options say what is allowed and known beside the ResourceSet. The zero value has the default limits.
type Options struct {
	// Scopes of kinds. Without it, no object gets a namespace that it does not have.
	Scopes Scopes

	// MaxObjects that one ResourceSet may have. 0 stands for DefaultMaxObjects.
	MaxObjects int

	// MaxBytes that the templates of one ResourceSet may print in all. 0 stands for DefaultMaxBytes.
	MaxBytes int

	// MaxSteps that one template may take with one input: calls of functions, and rounds of loops. 0 stands for DefaultMaxSteps.
	MaxSteps int
}

// The limits of Options.
const (
	DefaultMaxObjects = 10_000
	DefaultMaxBytes   = 64 << 20
	DefaultMaxSteps   = 1_000_000
)

// Set is what a ResourceSet renders to. It belongs to the caller.
type Set struct {
	// Steps in order. A ResourceSet without steps has a single one without a name.
	Steps []Step
}

// Step is a set of objects that is applied at once.
type Step struct {
	// Name of the step in the spec.
	Name string

	// Objects in the order of the spec: first those of resources, then those of resourcesTemplate. Lists are taken apart.
	Objects []*unstructured.Unstructured
}

// Render renders the templates with each input. Objects that are there twice are taken once, unless in different steps,
// which is an error. All of them have the common metadata, and a namespace if they need one: that of the ResourceSet, unless
// they name another.
//
// An error of the ResourceSet is of the type *Error; others are those of the context and of Scopes.
func Render(ctx context.Context, rset *v1.ResourceSet, inputs []Input, o Options) (*Set, error) {
	return nil, errors.ErrUnsupported
}

// Objects of all steps, in order.
func (s *Set) Objects() []*unstructured.Unstructured { return nil }

// Digest of the objects as they are now, as sha256:<hex>: equal digests mean equal objects in equal order, in whatever steps.
func (s *Set) Digest() (string, error) { return "", errors.ErrUnsupported }
