package values

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api/meta"
)

// Kinds that a reference may name.
const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

// Reader reads the objects that hold values, as whoever the release acts for. One that does not exist is the NotFound of
// Kubernetes. What it returns may be shared: it is not modified.
type Reader interface {
	// ConfigMap returns a ConfigMap.
	ConfigMap(ctx context.Context, key types.NamespacedName) (*corev1.ConfigMap, error)

	// Secret returns a Secret.
	Secret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error)
}

// Compose merges what the references name, which is in the namespace, the later one winning, and the inline values over it.
// Maps are merged, all else is replaced. Every object is read once. The result is the caller's, and never nil.
//
// A value at a target path wins or loses as in Flux: it loses against an inline value at the same path, unless the map that it
// is set in is inline only. Before a path is set, the inline values are merged in, and a map that was not there before is the
// one of the inline values itself, not a copy: what is set in it is set for good.
//
// The error is a [*ReferenceError] where one reference is to blame.
func Compose(ctx context.Context, r Reader, namespace string, from []meta.ValuesReference, inline *apiextensionsv1.JSON,
) (map[string]any, error) {
	own, err := parseInline(inline)
	if err != nil {
		return nil, err
	}

	c := composition{objects: objects{reader: r, namespace: namespace, read: map[string]object{}}, budget: newBudget()}
	c.result = map[string]any{}

	for i := range from {
		if err := c.add(ctx, &from[i], own); err != nil {
			return nil, &ReferenceError{
				Kind: from[i].Kind, Namespace: namespace, Name: from[i].Name, Key: from[i].GetValuesKey(), Optional: from[i].Optional, Err: err,
			}
		}
	}

	result := merge(c.result, own)
	if err := checkDepth(result, maxDepth); err != nil {
		return nil, err
	}

	return result, nil
}

// composition is values in the making.
type composition struct {
	objects
	budget

	result map[string]any
}

// add adds what a reference names.
func (c *composition) add(ctx context.Context, ref *meta.ValuesReference, own map[string]any) error {
	data, err := c.content(ctx, ref)
	if ref.Optional && (apierrors.IsNotFound(err) || errors.Is(err, ErrKeyNotFound)) {
		return nil
	}

	if err != nil {
		return err
	}

	if err := c.text(data); err != nil {
		return err
	}

	if ref.TargetPath != "" {
		c.result = merge(c.result, own)

		return c.set(c.result, ref, data)
	}

	more, err := c.parse(data)
	if err != nil && ref.Kind == kindSecret {
		err = concealed(err)
	}

	if err != nil {
		return err
	}

	c.result = merge(c.result, more)

	return nil
}

// parse reads YAML 1.1 as Helm does.
func (c *composition) parse(data []byte) (map[string]any, error) {
	if err := c.expand(data); err != nil {
		return nil, err
	}

	var parsed map[string]any

	return parsed, yaml.Unmarshal(data, &parsed) //nolint:wrapcheck // it says what is wrong
}

// parseInline reads the values of the spec, which the API server has taken for JSON.
func parseInline(inline *apiextensionsv1.JSON) (map[string]any, error) {
	if inline == nil || len(inline.Raw) == 0 {
		return nil, nil //nolint:nilnil // no values are no error
	}

	var parsed map[string]any
	if err := json.Unmarshal(inline.Raw, &parsed); err != nil {
		return nil, fmt.Errorf("read spec.values: %w", err)
	}

	return parsed, nil
}

// merge returns the first map with the second one merged in. It modifies neither, but maps that only one of them has are shared
// with the result: see Compose.
func merge(under, over map[string]any) map[string]any {
	merged := make(map[string]any, len(under)+len(over))
	maps.Copy(merged, under)

	for k, v := range over {
		if upper, ok := v.(map[string]any); ok {
			if lower, ok := merged[k].(map[string]any); ok {
				merged[k] = merge(lower, upper)

				continue
			}
		}

		merged[k] = v
	}

	return merged
}
