package template

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
)

// Reader gets what objects refer to.
type Reader interface {
	// Get returns the object, or an error. The object is not changed.
	Get(ctx context.Context, r Reference) (*unstructured.Unstructured, error)
}

// ReaderFunc is a Reader.
type ReaderFunc func(ctx context.Context, r Reference) (*unstructured.Unstructured, error)

// Get calls the function.
func (f ReaderFunc) Get(ctx context.Context, r Reference) (*unstructured.Unstructured, error) {
	return f(ctx, r)
}

// Resolve writes into the objects what they ask for with the annotations copyFrom, convertKubeConfigFrom and checksumFrom, in
// this order: a checksum covers what was copied. What is referred to is got once per use.
//
// An error of the Reader comes back wrapped, with the objects that refer and are referred to. Others are of the type *Error; they
// name objects, keys and fields, and never what these hold.
func (s *Set) Resolve(ctx context.Context, r Reader) error {
	requests, err := s.requests()
	if err != nil {
		return err
	}

	sources := shelf{reader: r, own: s.own(), got: map[Reference]*unstructured.Unstructured{}}

	for _, request := range requests {
		if err := sources.resolve(ctx, request); err != nil {
			return err
		}
	}

	return nil
}

// shelf holds what objects refer to.
type shelf struct {
	reader Reader
	own    map[access.ID]*unstructured.Unstructured // of the set
	got    map[Reference]*unstructured.Unstructured // of the cluster
}

func (s *shelf) resolve(ctx context.Context, q request) error {
	sources := make([]*unstructured.Unstructured, 0, len(q.references))

	for _, ref := range q.references {
		u, err := s.get(ctx, ref)
		if err != nil {
			return fmt.Errorf("%s: %s of %s: %w", describe(q.object), ref.Use, ref, err)
		}

		sources = append(sources, u)
	}

	if err := q.write(sources); err != nil {
		return &Error{Place: describe(q.object), Err: err}
	}

	return nil
}

func (s *shelf) get(ctx context.Context, ref Reference) (*unstructured.Unstructured, error) {
	if u := s.own[ref.id()]; u != nil && ref.Use == Checksum {
		return u, nil
	}

	if u := s.got[ref]; u != nil {
		return u, nil
	}

	u, err := s.reader.Get(ctx, ref)
	s.got[ref] = u

	return u, err //nolint:wrapcheck // the caller says of what
}

func (q request) write(sources []*unstructured.Unstructured) error {
	switch ref := q.references[0]; ref.Use {
	case Copy:
		return copyData(q.object, sources[0], ref)
	case Kubeconfig:
		return convert(q.object, sources[0], ref, q.key)
	case Checksum:
		sum, err := checksum(q.references, sources)
		if err != nil {
			return err
		}

		q.annotated[v1.ChecksumAnnotation] = sum

		return nil
	default:
		return fmt.Errorf("unknown use %q", ref.Use)
	}
}

// The fields of ConfigMaps and Secrets.
const (
	dataField   = "data"
	binaryField = "binaryData"
	stringField = "stringData"
	typeField   = "type"
)

// textsOf returns a field of an object that holds texts by key.
func textsOf(u *unstructured.Unstructured, field string) (map[string]any, error) {
	all, ok := u.Object[field].(map[string]any)
	if !ok && u.Object[field] != nil {
		return nil, fmt.Errorf("the field %s of %s is no map", field, describe(u))
	}

	for key, v := range all {
		if _, ok := v.(string); !ok {
			return nil, fmt.Errorf("the key %q in the field %s of %s is no text", key, field, describe(u))
		}
	}

	return all, nil
}

// copyData adds the data of a source to an object, and the type of a Secret. Keys that the object has itself, and the source has,
// too, are replaced.
func copyData(u, source *unstructured.Unstructured, ref Reference) error {
	if err := isIt(source, ref); err != nil {
		return err
	}

	fields := []string{dataField, binaryField}
	if ref.Kind == secret {
		fields = fields[:1]

		if t, ok := source.Object[typeField].(string); ok {
			u.Object[typeField] = t
		}
	}

	for _, field := range fields {
		from, err := textsOf(source, field)
		if err != nil {
			return err
		}

		into, err := textsOf(u, field)
		if err != nil {
			return err
		}

		if len(from) > 0 {
			u.Object[field] = merged(into, from)
			drop(u, field, from)
		}
	}

	return nil
}

func isIt(source *unstructured.Unstructured, ref Reference) error {
	if source == nil || !isCore(source, ref.Kind) {
		return fmt.Errorf("%s of %s: it is no %s", ref.Use, ref, ref.Kind)
	}

	return nil
}

func merged(into, from map[string]any) map[string]any {
	out := make(map[string]any, len(into)+len(from))

	maps.Copy(out, into)
	maps.Copy(out, from)

	return out
}

// drop takes keys out of the other fields: a key must not be in two of them.
func drop(u *unstructured.Unstructured, field string, keys map[string]any) {
	for _, other := range []string{dataField, binaryField, stringField} {
		m, ok := u.Object[other].(map[string]any)
		if !ok || other == field {
			continue
		}

		for key := range keys {
			delete(m, key)
		}
	}
}

// checksum returns the SHA-256 of the data of all objects, as sha256:<hex>.
func checksum(references []Reference, sources []*unstructured.Unstructured) (string, error) {
	sum := sha256.New()

	// References are sorted, and so are keys.
	for i, ref := range references {
		data, err := contents(sources[i], ref)
		if err != nil {
			return "", err
		}

		for _, key := range sorted(data) {
			fmt.Fprintf(sum, "%s\x00%s\x00%s\x00", ref, key, data[key])
		}
	}

	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// contents returns the data of a ConfigMap or Secret as it is seen by who mounts it.
func contents(u *unstructured.Unstructured, ref Reference) (map[string]any, error) {
	if err := isIt(u, ref); err != nil {
		return nil, err
	}

	out := map[string]any{}

	for _, field := range []string{dataField, binaryField, stringField} {
		texts, err := textsOf(u, field)
		if err != nil {
			return nil, err
		}

		encoded := field == binaryField || field == dataField && ref.Kind == secret

		for key, v := range texts {
			text, _ := v.(string)
			if encoded {
				raw, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					return nil, fmt.Errorf("the key %q in the field %s of %s is not base64", key, field, ref)
				}

				text = string(raw)
			}

			out[key] = text
		}
	}

	return out, nil
}
