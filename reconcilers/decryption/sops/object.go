package sops

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// DecryptObject decrypts an object in place, takes its metadata away, and returns the values that were encrypted, as Clear has
// them. An object without metadata is ErrNotEncrypted. If it fails, it may be decrypted in part.
//
// What a comment has said was lost on the way to the object. In files whose comments say what is encrypted, every value that
// looks encrypted is decrypted.
func DecryptObject(ctx context.Context, object map[string]any, keys Keys) (values []string, err error) {
	fields, ok := object[metadataKey].(map[string]any)
	if !ok {
		return nil, ErrNotEncrypted
	}

	w, err := newWalker(ctx, fields, keys)
	if err != nil {
		return nil, err
	}

	delete(object, metadataKey)

	o := objectWalker{walker: w}
	if _, err := o.fields(object, root()); err != nil {
		return nil, err
	}

	if err := w.rules.check(); err != nil {
		return nil, err
	}

	return w.opened, nil
}

// objectWalker decrypts what has neither order nor comments.
type objectWalker struct {
	*walker
	meter meter
}

func (w *objectWalker) fields(m map[string]any, at place) (map[string]any, error) {
	if err := w.enter(at); err != nil {
		return nil, err
	}

	for _, key := range slices.Sorted(maps.Keys(m)) { // so that the first error is always the same
		value, err := w.value(m[key], at.child(key, w.rules))
		if err != nil {
			return nil, err
		}

		if _, ok := value.(*comment); ok {
			return nil, &ValueError{Path: extend(at.path, key), Err: errType}
		}

		m[key] = value
	}

	return m, nil
}

func (w *objectWalker) items(l []any, at place) ([]any, error) {
	kept := l[:0]

	for i, item := range l {
		value, err := w.value(item, at.item(i))
		if err != nil {
			return nil, err
		}

		if _, ok := value.(*comment); !ok {
			kept = append(kept, value)
		}
	}

	return kept, nil
}

func (w *objectWalker) value(v any, at place) (any, error) {
	if err := w.meter.add(len(at.path), 0); err != nil {
		return nil, err
	}

	switch v := v.(type) {
	case map[string]any:
		return w.fields(v, at)
	case []any:
		return w.items(v, at)
	}

	if text, ok := v.(string); w.rules.comment != nil && (!ok || !isEncrypted(text)) {
		return v, nil
	}

	if w.rules.comment != nil {
		at.comment = w.rules.encrypts
	}

	plain, err := w.scalar(v, at)
	if err != nil {
		return nil, err
	}

	if plain, err = jsonScalar(plain); err != nil {
		return nil, &ValueError{Path: at.path, Err: err}
	}

	return plain, nil
}

// jsonScalar returns a value as one of the types that objects hold.
func jsonScalar(v any) (any, error) {
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("it is not a number: %w", errType)
		}

		return v, nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	default:
		return v, nil
	}
}
