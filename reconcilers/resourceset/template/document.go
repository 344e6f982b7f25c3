package template

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxDocument bounds a document: who reads YAML takes a hundred times its size. No object as large fits into a cluster.
const maxDocument = 3 << 20

// valuesIn returns how many values a value has, itself included.
func valuesIn(v any) int {
	n := 1

	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			n += valuesIn(e)
		}
	case []any:
		for _, e := range v {
			n += valuesIn(e)
		}
	}

	return n
}

// split returns the documents of a YAML stream: a line that begins with --- separates them, and may go on with a comment.
func split(stream string) ([]string, error) {
	var documents []string

	from, at := 0, 0

	for line := range strings.Lines(stream) {
		rest, ok := strings.CutPrefix(line, "---")
		if ok && (rest == "" || strings.ContainsAny(rest[:1], " \t\r\n")) {
			if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
				return nil, fault(fmt.Sprintf("document %d: something follows after ---", len(documents)+2))
			}

			documents, from = append(documents, stream[from:at]), at+len(line)
		}

		at += len(line)
	}

	return append(documents, stream[from:]), nil
}

// decode returns the object of a YAML document, or nil if that is empty. It returns a fault.
func decode(document string) (*unstructured.Unstructured, error) {
	if strings.TrimSpace(document) == "" {
		return nil, nil //nolint:nilnil // there is none
	}

	if len(document) > maxDocument {
		return nil, errTooLarge
	}

	expanded, err := ingest.ExpandedAliases([]byte(document))
	if err != nil {
		return nil, fault(plain(err))
	}

	if expanded.Bytes > maxValue || expanded.Nodes > maxValue/8 {
		return nil, errTooLarge
	}

	raw, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		return nil, fault(plain(err))
	}

	if bytes.Equal(raw, []byte("null")) {
		return nil, nil //nolint:nilnil // there is none
	}

	return decodeObject(raw)
}

// decodeObject returns the object that JSON stands for. It returns a fault.
func decodeObject(raw []byte) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	if err := k8sjson.UnmarshalCaseSensitivePreserveInts(raw, &u.Object); err != nil || u.Object == nil {
		return nil, fault("it is no object")
	}

	return u, nil
}

// expand returns the items of a list, and those of lists in it, or the object itself. Each has a kind and a name. It returns a
// fault.
func expand(u *unstructured.Unstructured, most int) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured

	for open := []*unstructured.Unstructured{u}; len(open) > 0; {
		u, open = open[0], open[1:]

		if !u.IsList() || !strings.HasSuffix(kindOf(u), "List") {
			if err := check(u); err != nil {
				return nil, err
			}

			if out = append(out, u); len(out) > most {
				return nil, errTooMany
			}

			continue
		}

		items, err := itemsOf(u)
		if err != nil {
			return nil, err
		}

		open = slices.Concat(items, open)
	}

	return out, nil
}

const errTooMany = fault("there are more objects than is allowed for one ResourceSet")

func itemsOf(list *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	items, _ := list.Object["items"].([]any)
	out := make([]*unstructured.Unstructured, 0, len(items))

	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, fault(fmt.Sprintf("item %d of the list is no object", i))
		}

		out = append(out, &unstructured.Unstructured{Object: object})
	}

	return out, nil
}

func kindOf(u *unstructured.Unstructured) string {
	kind, _ := u.Object["kind"].(string)

	return kind
}

// check refuses what is no object of Kubernetes. The accessors of unstructured objects rely on the types.
func check(u *unstructured.Unstructured) error {
	for _, path := range [][]string{{"apiVersion"}, {"kind"}, {"metadata", "name"}} {
		if s, ok, err := unstructured.NestedString(u.Object, path...); err != nil {
			return fault("its " + strings.Join(path, ".") + " is no text")
		} else if !ok || s == "" {
			return fault("it has no " + strings.Join(path, "."))
		}
	}

	if _, _, err := unstructured.NestedString(u.Object, "metadata", "namespace"); err != nil {
		return fault("its metadata.namespace is no text")
	}

	for _, field := range []string{"labels", "annotations"} {
		if m, ok, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", field); ok && m == nil {
			unstructured.RemoveNestedField(u.Object, "metadata", field)
		}

		if _, _, err := unstructured.NestedStringMap(u.Object, "metadata", field); err != nil {
			return fault("its metadata." + field + " are no map of texts")
		}
	}

	return nil
}
