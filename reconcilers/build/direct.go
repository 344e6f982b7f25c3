package build

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// plain is what a directory without a kustomization file holds.
type plain struct {
	// entries are the resources of the kustomization that the directory stands for, relative to it, in order.
	entries []string
	// objects are those of the entries, if odd is empty.
	objects []*unstructured.Unstructured
	// odd says why the library has to build the directory.
	odd string
}

// scan reads every YAML file under the directory in lexical order, as far as no other kustomization begins.
func (t *tree) scan(dir string) (*plain, error) {
	result := &plain{}
	seen := identities{}

	err := fs.WalkDir(t.root.FS(), dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return t.scanDirectory(result, dir, name)
		case !isYAML(name):
			return nil
		}

		documents, err := t.scanFile(name)
		if err != nil {
			return fmt.Errorf("failed to decode Kubernetes YAML from %s: %w", name, err)
		}

		result.entries = append(result.entries, entryFor(dir, name))
		result.add(documents, seen)

		return nil
	})
	if err != nil {
		return nil, err
	}

	if result.odd != "" {
		result.objects = nil
	}

	return result, nil
}

// scanDirectory takes a directory with a kustomization file as one entry.
func (t *tree) scanDirectory(result *plain, dir, name string) error {
	if name == dir || t.kustomizationFile(name) == "" {
		return t.ctx.Err()
	}

	result.entries = append(result.entries, entryFor(dir, name))
	result.odd = "it holds another kustomization"

	return fs.SkipDir
}

// entryFor returns the resource for the file. The leading ./ keeps the library from taking a name for a URL.
func entryFor(dir, name string) string {
	if dir != "." {
		name = strings.TrimPrefix(name, dir+"/")
	}

	return "./" + name
}

func isYAML(name string) bool {
	ext := path.Ext(name)

	return ext == ".yaml" || ext == ".yml"
}

func (t *tree) scanFile(name string) (documents, error) {
	data, err := t.read(name)
	if err != nil {
		return documents{}, err
	}

	if err := checkAliases(data); err != nil {
		return documents{}, err
	}

	if err := t.spent.resources(data); err != nil {
		return documents{}, err
	}

	return decode(data)
}

// documents are the objects of one file.
type documents struct {
	objects []map[string]any
	odd     string
}

func (p *plain) add(d documents, seen identities) {
	if p.odd == "" {
		p.odd = d.odd
	}

	for _, object := range d.objects {
		u := &unstructured.Unstructured{Object: object}
		if p.odd == "" && seen.add(u) {
			p.odd = "two objects may be the same"
		}

		if p.odd == "" {
			p.objects = append(p.objects, u)
		}
	}
}

// identities are the objects seen so far, without their namespaces: whether namespaces tell two objects apart depends on
// the kind, so that is left to the library and its schema.
type identities map[[3]string]struct{}

// add returns whether an object of the same type and name was there already.
func (s identities) add(u *unstructured.Unstructured) bool {
	id := [3]string{u.GetAPIVersion(), u.GetKind(), u.GetName()}
	_, ok := s[id]
	s[id] = struct{}{}

	return ok
}

// decode parses the documents of a file in one pass. It drops empty ones and expands lists, as the library does, and says
// if there is anything that the library would treat in a special way.
func decode(data []byte) (documents, error) {
	var result documents

	if bytes.Contains(data, []byte("config.k8s.io/")) || bytes.Contains(data, []byte("config.kubernetes.io/")) {
		result.odd = "it has annotations for kustomize"
	}

	if bytes.Contains(data, []byte("!!binary")) {
		result.odd = "it has binary values"
	}

	parts, err := split(data)
	if err != nil {
		return documents{}, err
	}

	var inner []map[string]any

	for _, part := range parts {
		object, fragile, err := decodeDocument(part)
		if err != nil {
			return documents{}, err
		}

		if fragile {
			result.odd = "it has values that the library writes in another way"
		}

		alone, listed, err := expand(object)
		if err != nil {
			return documents{}, err
		}

		if len(parts) == 1 && object["kind"] == "List" {
			alone, listed = listed, nil
		}

		result.objects = append(result.objects, alone...)
		inner = append(inner, listed...)
	}

	// The library puts what was in a list that was not alone after everything else of the file.
	result.objects = append(result.objects, inner...)
	result.look()

	return result, nil
}

// expand returns the object, or the items if it is a list of objects. An empty object is none.
func expand(object map[string]any) (alone, listed []map[string]any, err error) {
	if len(object) == 0 {
		return nil, nil, nil
	}

	items, isList, err := listItems(object)
	if err != nil || isList {
		return nil, items, err
	}

	return []map[string]any{object}, nil, nil
}

// decodeDocument returns the object in the document, or nil if there is none, and whether it is fragile.
func decodeDocument(data []byte) (map[string]any, bool, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil || node.IsZero() {
		return nil, false, err
	}

	var object map[string]any
	if err := node.Decode(&object); err != nil {
		return nil, false, err
	}

	if err := jsonMap(object); err != nil {
		return nil, false, err
	}

	if len(object) == 0 {
		return nil, false, nil
	}

	return object, isFragile(&node), checkIdentity(object)
}

// isFragile tells whether there is something that the library changes when it writes and reads a document on its way:
// where nothing stands for a value in braces or brackets, as in {a, b: c}, or for a key, it writes an empty string, and it
// does not get all paragraphs of folded text right.
func isFragile(node *yaml.Node) bool {
	for i, n := range node.Content {
		if n.Kind != yaml.ScalarNode {
			if isFragile(n) {
				return true
			}

			continue
		}

		key := node.Kind == yaml.MappingNode && i%2 == 0
		empty := n.Value == "" && n.Style == 0 && (key || node.Style&yaml.FlowStyle != 0)
		folded := n.Style&yaml.FoldedStyle != 0 && strings.Contains(strings.TrimRight(n.Value, "\n"), "\n")

		if empty || folded {
			return true
		}
	}

	return false
}

// checkIdentity says what the object lacks to be one of Kubernetes.
func checkIdentity(object map[string]any) error {
	kind := object["kind"]
	if kind == nil || kind == "" {
		return errors.New("an object has no kind")
	}

	if k, ok := kind.(string); ok && strings.HasSuffix(k, "List") {
		return nil
	}

	metadata, _ := object["metadata"].(map[string]any)
	if name := metadata["name"]; name == nil || name == "" {
		return fmt.Errorf("an object of kind %v has no metadata.name", kind)
	}

	return nil
}

// listItems returns the items of a list of objects, and whether the object is one.
func listItems(object map[string]any) ([]map[string]any, bool, error) {
	kind, _ := object["kind"].(string)

	value, ok := object["items"]
	if !ok || !strings.HasSuffix(kind, "List") {
		return nil, false, nil
	}

	list, ok := value.([]any)
	if !ok && value != nil {
		return nil, false, fmt.Errorf("items of a %s are not a list", kind)
	}

	items := make([]map[string]any, 0, len(list))

	for _, e := range list {
		item, ok := e.(map[string]any)
		if !ok && e != nil {
			return nil, false, fmt.Errorf("an item of a %s is not an object", kind)
		}

		if len(item) == 0 {
			continue
		}

		if err := checkIdentity(item); err != nil {
			return nil, false, err
		}

		items = append(items, item)
	}

	return items, true, nil
}

// look finds what the library would change or refuse in plain objects.
func (d *documents) look() {
	for _, object := range d.objects {
		if d.odd == "" {
			d.odd = oddity(object)
		}
	}
}

func oddity(object map[string]any) string {
	for _, field := range []string{"kind", "apiVersion"} {
		if _, ok := object[field].(string); !ok {
			return "the " + field + " of an object is not a string"
		}
	}

	if kind, _ := object["kind"].(string); strings.HasSuffix(kind, "List") {
		return "it has a list without items, or in a list"
	}

	metadata, _ := object["metadata"].(map[string]any)

	for _, field := range []string{"name", "namespace"} {
		if value, ok := metadata[field]; ok {
			if _, ok := value.(string); !ok {
				return "the " + field + " of an object is not a string"
			}
		}
	}

	return oddAnnotations(metadata)
}

// oddAnnotations looks for annotations that the library turns into strings, or drops.
func oddAnnotations(metadata map[string]any) string {
	value, ok := metadata["annotations"]
	if !ok {
		return ""
	}

	annotations, ok := value.(map[string]any)
	if !ok || len(annotations) == 0 {
		return "an object has no proper annotations"
	}

	for _, v := range annotations {
		if _, ok := v.(string); !ok {
			return "an annotation is not a string"
		}
	}

	return ""
}
