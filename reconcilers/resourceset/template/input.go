package template

import (
	"errors"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// MaxInputs bounds the inputs of one ResourceSet, combined or not.
const MaxInputs = 10_000

// Provider is who gives inputs.
type Provider struct {
	// APIVersion, Kind, Namespace and Name of the object, which templates see as inputs.provider.
	APIVersion, Kind, Namespace, Name string

	// Inputs that it gives.
	Inputs []v1.ResourceSetInput
}

// Input is what a template is rendered with: JSON values, where whole numbers are int64. It is not changed.
type Input map[string]any

// Combine returns the inputs of a ResourceSet in the order in which they are rendered: its own first, then those of the
// providers, which may come in any order and are taken once each. The strategy of the spec decides whether they stay one
// list, or each combination of one input per provider becomes an input.
func Combine(rset *v1.ResourceSet, providers []Provider) ([]Input, error) {
	return nil, errors.ErrUnsupported
}

// ID returns the id of an input that is known by the given text: its Adler-32 checksum as a decimal number.
func ID(text string) string { return "" }
