package values

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/api/meta"
)

// Errors of a reference, for errors.Is.
var (
	// ErrKeyNotFound says that the object has no such key.
	ErrKeyNotFound = errors.New("key not found")

	// ErrKind says that objects of the kind hold no values.
	ErrKind = errors.New("unsupported values reference kind")
)

// objects are those that were read, each of them once: two references to one of them see the same version.
type objects struct {
	reader    Reader
	namespace string
	read      map[string]object
}

// object is what was read, or why it was not.
type object struct {
	content func(key string) ([]byte, bool)
	err     error
}

// content returns what a reference names.
func (o *objects) content(ctx context.Context, ref *meta.ValuesReference) ([]byte, error) {
	id := ref.Kind + "/" + ref.Name

	found, ok := o.read[id]
	if !ok {
		found = o.get(ctx, ref.Kind, types.NamespacedName{Namespace: o.namespace, Name: ref.Name})
		o.read[id] = found
	}

	if found.err != nil {
		return nil, found.err
	}

	data, ok := found.content(ref.GetValuesKey())
	if !ok {
		return nil, ErrKeyNotFound
	}

	return data, nil
}

func (o *objects) get(ctx context.Context, kind string, key types.NamespacedName) object {
	switch kind {
	case kindConfigMap:
		m, err := o.reader.ConfigMap(ctx, key)
		if err != nil {
			return object{err: err}
		}

		return object{content: func(key string) ([]byte, bool) { text, ok := m.Data[key]; return []byte(text), ok }}
	case kindSecret:
		s, err := o.reader.Secret(ctx, key)
		if err != nil {
			return object{err: err}
		}

		return object{content: func(key string) ([]byte, bool) { data, ok := s.Data[key]; return data, ok }}
	default:
		return object{err: ErrKind}
	}
}
