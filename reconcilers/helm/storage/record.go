package storage

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	// maxContent bounds what a record has in memory, in bytes of JSON. What Helm can store compresses to a thousandth at most, and
	// charts do to a tenth.
	maxContent = 64 << 20

	// maxValues bounds how many values a record has: each takes a hundred bytes and more, however short it is, and a record of some
	// kilobytes has room for millions. Charts have some ten thousand.
	maxValues = 500_000
	// maxDepth bounds how deep they are nested.
	maxDepth = 1_000

	methodField = "apply_method"
	infoField   = "info"
)

// Key returns the name of the Secret with the revision of a release.
func Key(name string, revision int) string {
	return fmt.Sprintf("%s.%s.v%d", storage.HelmStorageType, name, revision)
}

// parse reads what Key writes. A name may have dots.
func parse(key string) (name string, revision int, ok bool) {
	rest, ok := strings.CutPrefix(key, storage.HelmStorageType+".")
	if !ok {
		return "", 0, false
	}

	i := strings.LastIndex(rest, ".v")
	if i < 1 {
		return "", 0, false
	}

	revision, err := strconv.Atoi(rest[i+len(".v"):])

	return rest[:i], revision, err == nil && revision > 0
}

// unknown is what a record has that the SDK does not know, by the names of the fields.
type unknown struct {
	fields map[string]json.RawMessage // of the record itself
	info   map[string]json.RawMessage // of its field info
}

// decode reads the content of the Secret with the key. The release that comes out is safe to hand to Helm, which looks into the parts
// of a release without asking whether they are there.
func decode(key string, content []byte) (*release.Release, unknown, error) {
	raw, err := unpack(content)
	if err == nil {
		err = bounded(raw)
	}

	if err != nil {
		return nil, unknown{}, err
	}

	r := &release.Release{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, unknown{}, fmt.Errorf("decode: %w", withoutContent(err))
	}

	if err := check(key, r); err != nil {
		return nil, unknown{}, err
	}

	u := unknown{}
	if err := json.Unmarshal(raw, &u.fields); err != nil {
		return nil, unknown{}, fmt.Errorf("decode: %w", withoutContent(err))
	}

	if err := json.Unmarshal(u.fields[infoField], &u.info); err != nil {
		return nil, unknown{}, fmt.Errorf("decode info: %w", withoutContent(err))
	}

	forget(u.fields, reflect.TypeFor[release.Release]())
	forget(u.info, reflect.TypeFor[release.Info]())

	return r, u, nil
}

func unpack(content []byte) ([]byte, error) {
	if len(content) == 0 {
		return nil, errors.New(`the key "release" is missing or empty`)
	}

	raw := make([]byte, base64.StdEncoding.DecodedLen(len(content)))

	n, err := base64.StdEncoding.Decode(raw, content)
	if err != nil {
		return nil, fmt.Errorf("decode base64: %w", err)
	}

	raw = raw[:n]
	if len(raw) > 0 && raw[0] == '{' { // from before Helm compressed
		return raw, nil
	}

	if raw, err = ingest.Gunzip(raw, maxContent); err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}

	return raw, nil
}

// bounded refuses JSON that takes much more memory than it has bytes, or is nested so deep that the digest of it is large. It is counted
// by what begins or separates values, outside of texts.
func bounded(raw []byte) error {
	var (
		values, depth int
		quoted        bool
	)

	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++ // whatever it is
		case quoted:
		case c == '[', c == '{':
			values, depth = values+1, depth+1
		case c == ']', c == '}':
			depth--
		case c == ',':
			values++
		}

		if values > maxValues || depth > maxDepth {
			return fmt.Errorf("it has more than %d values, or is nested deeper than %d levels", maxValues, maxDepth)
		}
	}

	return nil
}

// withoutContent leaves out of an error of the decoder what it quotes: values may be secret.
func withoutContent(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %q is a %s", wrong.Field, strings.Fields(wrong.Value + " ")[0])
	}

	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("invalid JSON after %d bytes", wrong.Offset)
	}

	return errors.New("a field has an invalid value")
}

func check(key string, r *release.Release) error {
	name, revision, ok := parse(key)

	switch {
	case !ok:
		return errors.New("its name is not that of a release")
	case r.Name != name || r.Version != revision:
		return fmt.Errorf("it holds revision %d of release %q", r.Version, r.Name)
	case r.Info == nil:
		return errors.New("it has no info")
	case r.Chart == nil || r.Chart.Metadata == nil:
		return errors.New("it has no chart")
	case slices.Contains(r.Hooks, nil):
		return errors.New("one of its hooks is null")
	case slices.ContainsFunc(slices.Concat(r.Chart.Templates, r.Chart.Files), func(f *chart.File) bool { return f == nil }):
		return errors.New("a file of its chart is null")
	}

	return nil
}

// forget removes the fields that a type has.
func forget(fields map[string]json.RawMessage, t reflect.Type) {
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		delete(fields, name)
	}
}

// encode returns the content of the Secret of a release.
func encode(r *release.Release, u unknown) ([]byte, error) {
	raw, err := marshal(r, u)
	if err != nil {
		return nil, fmt.Errorf("encode release %q: %w", r.Name, err)
	}

	content, err := pack(raw, ingest.Gzip)
	if err == nil && len(content) > maxSize { // it is worth the time now
		content, err = pack(raw, ingest.Squeeze)
	}

	return content, err
}

func marshal(r *release.Release, u unknown) ([]byte, error) {
	raw, err := json.Marshal(r)
	if err != nil || len(u.fields)+len(u.info) == 0 {
		return raw, err //nolint:wrapcheck // the caller says of what
	}

	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}

	if r.Info != nil && len(u.info) > 0 {
		if fields[infoField], err = merge(fields[infoField], u.info); err != nil {
			return nil, err
		}
	}

	maps.Copy(fields, u.fields)

	return json.Marshal(fields) //nolint:wrapcheck // the caller says of what
}

func merge(raw json.RawMessage, add map[string]json.RawMessage) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}

	maps.Copy(fields, add)

	return json.Marshal(fields) //nolint:wrapcheck // the caller says of what
}

func pack(raw []byte, compress func([]byte) ([]byte, error)) ([]byte, error) {
	zip, err := compress(raw)
	if err != nil {
		return nil, err
	}

	return base64.StdEncoding.AppendEncode(nil, zip), nil
}
