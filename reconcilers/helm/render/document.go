package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	// maxBytes bounds the manifests that are rendered at once. A release that can be stored has less.
	maxBytes = 16 << 20
	// maxObjects bounds the objects in them: an inventory with more fits into no status.
	maxObjects = 10_000

	sourceComment = "# Source: "
)

// document is an object of a chart.
type document struct {
	object *unstructured.Unstructured
	source string // the template that it is of, or which hook
}

// parse returns the objects of a YAML stream. Lists are taken apart. The source is that of the comment which Helm writes, or else the
// given one.
func parse(stream, source string) ([]document, error) {
	if len(stream) > maxBytes {
		return nil, fmt.Errorf("the manifests have %d bytes, more than the limit of %d", len(stream), maxBytes)
	}

	parts := releaseutil.SplitManifests(stream)
	keys := make([]string, 0, len(parts))

	for key := range parts {
		keys = append(keys, key)
	}

	sort.Sort(releaseutil.BySplitManifestsOrder(keys))

	var documents []document

	for _, key := range keys {
		from := sourceOf(parts[key], source)

		objects, err := decode(parts[key])
		if err != nil {
			return nil, fmt.Errorf("parse manifest of %q: %w", from, err)
		}

		for _, u := range objects {
			documents = append(documents, document{u, from})
		}

		if len(documents) > maxObjects {
			return nil, fmt.Errorf("there are more than %d objects", maxObjects)
		}
	}

	return documents, nil
}

// sourceOf returns the template that the first comment names.
func sourceOf(text, otherwise string) string {
	line, _, _ := strings.Cut(text, "\n")
	if source, ok := strings.CutPrefix(line, sourceComment); ok {
		return strings.TrimSpace(source)
	}

	return otherwise
}

// decode returns the objects of one YAML document, none if it is empty.
func decode(text string) ([]*unstructured.Unstructured, error) {
	if err := ingest.CheckAliases([]byte(text)); err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}

	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}

	if bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}

	u := &unstructured.Unstructured{}
	if err := k8sjson.UnmarshalCaseSensitivePreserveInts(raw, &u.Object); err != nil {
		return nil, fmt.Errorf("it is no object: %w", err)
	}

	return flatten(u)
}

// flatten returns the items of a list, and those of lists in it.
func flatten(u *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured

	for open := []*unstructured.Unstructured{u}; len(open) > 0; {
		u, open = open[0], open[1:]

		if !u.IsList() || !strings.HasSuffix(u.GetKind(), "List") {
			out = append(out, u)

			continue
		}

		items, _ := u.Object["items"].([]any)
		inner := make([]*unstructured.Unstructured, 0, len(items))

		for _, item := range items {
			object, ok := item.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("an item of a %q is no object", u.GetKind())
			}

			inner = append(inner, &unstructured.Unstructured{Object: object})
		}

		open = slices.Concat(inner, open)
	}

	return out, nil
}

// join writes the objects as one YAML stream. With sources, each has the comment that names its template.
func join(documents []document, sources bool) (string, error) {
	var out strings.Builder

	for _, d := range documents {
		text, err := yaml.Marshal(d.object.Object)
		if err != nil {
			return "", fmt.Errorf("write %s: %w", describe(d.object), err)
		}

		out.WriteString("---\n")

		if sources && d.source != "" {
			out.WriteString(sourceComment + d.source + "\n")
		}

		out.Write(text)
	}

	return out.String(), nil
}

// lines writes the objects for the library, which reads JSON faster than YAML.
func lines(documents []document) ([]byte, error) {
	var out bytes.Buffer

	for i, d := range documents {
		raw, err := json.Marshal(d.object.Object)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", describe(d.object), err)
		}

		if i > 0 {
			out.WriteString("---\n")
		}

		out.Write(raw)
		out.WriteByte('\n')
	}

	return out.Bytes(), nil
}

func describe(u *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %q", u.GetKind(), u.GetName())
}

// add puts labels or annotations into the metadata of an object.
func add(u *unstructured.Unstructured, field string, values map[string]string) error {
	if len(values) == 0 {
		return nil
	}

	metadata, err := inner(u.Object, "metadata")
	if err != nil {
		return fmt.Errorf("%s: %w", describe(u), err)
	}

	all, err := inner(metadata, field)
	if err != nil {
		return fmt.Errorf("%s: metadata: %w", describe(u), err)
	}

	for k, v := range values {
		all[k] = v
	}

	return nil
}

// inner returns the map in a field. What templates leave empty is null, and becomes one.
func inner(in map[string]any, field string) (map[string]any, error) {
	switch v := in[field].(type) {
	case map[string]any:
		return v, nil
	case nil:
		out := map[string]any{}
		in[field] = out

		return out, nil
	default:
		return nil, fmt.Errorf("%q is no map", field)
	}
}
