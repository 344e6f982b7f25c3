package distribution

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api/meta"
)

// operation is one of a JSON patch. Its paths may have names in place of indexes, as no JSON pointer of a patch that works
// elsewhere has: [key=value] is the object of a list with that value, [--name] the argument of that name, with or
// without a value.
type operation map[string]any

// namedOperations reads a JSON patch of which at least one path has a name. Others are left to the library.
func namedOperations(patch string) ([]operation, bool) {
	var operations []operation
	if err := yaml.Unmarshal([]byte(patch), &operations); err != nil {
		return nil, false // a strategic merge patch, or one that the library will find fault with
	}
	return operations, slices.ContainsFunc(operations, func(o operation) bool {
		return slices.ContainsFunc([]string{"path", "from"}, func(field string) bool {
			return slices.ContainsFunc(o.segments(field), isName)
		})
	})
}

// segments are the parts of a path. It is nil if there is none.
func (o operation) segments(field string) []string {
	path, _ := o[field].(string)
	if !strings.HasPrefix(path, "/") {
		return nil
	}
	return strings.Split(path[1:], "/")
}

func isName(segment string) bool {
	return strings.HasPrefix(segment, "[") && strings.HasSuffix(segment, "]")
}

// patchNamed applies the operations, in their order, to each of the objects that the target selects.
func patchNamed(objects []*unstructured.Unstructured, target *meta.Selector, operations []operation) error {
	if target == nil {
		return errors.New("a JSON patch needs a target")
	}
	selected, err := selectObjects(objects, *target)
	if err != nil {
		return err
	}
	for _, i := range selected {
		content, err := objects[i].MarshalJSON()
		if err != nil {
			return err
		}
		for _, o := range operations {
			if content, err = o.apply(content); err != nil {
				return fmt.Errorf("%s %q: %v %q: %w", objects[i].GetKind(), objects[i].GetName(), o["op"], o["path"], err)
			}
		}
		patched := &unstructured.Unstructured{}
		if err := patched.UnmarshalJSON(content); err != nil {
			return fmt.Errorf("read patched %s %q: %w", objects[i].GetKind(), objects[i].GetName(), err)
		}
		objects[i] = patched
	}
	return nil
}

// selectObjects returns the indexes of the objects that the target selects, by the rules of the library.
func selectObjects(objects []*unstructured.Unstructured, target meta.Selector) ([]int, error) {
	factory, all := provider.NewDefaultDepProvider().GetResourceFactory(), resmap.New()
	index := map[*resource.Resource]int{}
	for i, o := range objects {
		// What is selected by: the rest is not worth a copy.
		r, err := factory.FromMap(map[string]any{
			"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(),
			"metadata": map[string]any{
				"name": o.GetName(), "namespace": o.GetNamespace(), "labels": o.GetLabels(), "annotations": o.GetAnnotations(),
			},
		})
		if err != nil {
			return nil, fmt.Errorf("read %s %q: %w", o.GetKind(), o.GetName(), err)
		}
		if err := all.Append(r); err != nil {
			return nil, err
		}
		index[r] = i
	}
	found, err := all.Select(types.Selector{
		ResId: resid.ResId{
			Gvk:  resid.Gvk{Group: target.Group, Version: target.Version, Kind: target.Kind},
			Name: target.Name, Namespace: target.Namespace,
		},
		LabelSelector: target.LabelSelector, AnnotationSelector: target.AnnotationSelector,
	})
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	selected := make([]int, 0, len(found))
	for _, r := range found {
		selected = append(selected, index[r])
	}
	return selected, nil
}

// apply changes the JSON document. Adding an element by name replaces the one of that name, or appends if there is none, as
// adding a field of an object does.
func (o operation) apply(content []byte) ([]byte, error) {
	var document any
	if err := json.Unmarshal(content, &document); err != nil {
		return nil, err
	}
	plain := maps.Clone(o)
	adds := o["op"] == "add"
	for _, field := range []string{"path", "from"} {
		segments := o.segments(field)
		if len(segments) == 0 {
			continue
		}
		located, found, err := locate(document, segments, adds && field == "path")
		if err != nil {
			return nil, err
		}
		if adds && found && isName(segments[len(segments)-1]) {
			plain["op"] = "replace"
		}
		plain[field] = "/" + strings.Join(located, "/")
	}
	encoded, err := json.Marshal([]operation{plain})
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		return nil, err
	}
	return patch.Apply(content)
}

// locate puts indexes in place of names. A name at the end that is not there is the end of the list, if it is to be added.
func locate(at any, segments []string, adds bool) (located []string, found bool, err error) {
	for i, segment := range segments {
		if !isName(segment) {
			located, at = append(located, segment), step(at, segment)
			continue
		}
		list, isList := at.([]any)
		if !isList {
			return nil, false, fmt.Errorf("there is no list in which to find %q", segment)
		}
		matches, err := match(list, segment[1:len(segment)-1])
		switch {
		case err != nil:
			return nil, false, err
		case len(matches) > 1:
			return nil, false, fmt.Errorf("%q is the name of %d elements", segment, len(matches))
		case len(matches) == 1:
			located, at = append(located, strconv.Itoa(matches[0])), list[matches[0]]
		case adds && i == len(segments)-1:
			return append(located, "-"), false, nil
		default:
			return nil, false, fmt.Errorf("there is no element %q", segment)
		}
	}
	return located, true, nil
}

// step goes to a field of an object or an element of a list. It is nil if that is not there.
func step(at any, segment string) any {
	switch at := at.(type) {
	case map[string]any:
		return at[unescape(segment)]
	case []any:
		if i, err := strconv.Atoi(segment); err == nil && i >= 0 && i < len(at) {
			return at[i]
		}
	}
	return nil
}

// match finds the elements of the name: of arguments, or of objects with a field of that value.
func match(list []any, name string) ([]int, error) {
	name = unescape(name)
	key, value, isField := strings.Cut(name, "=")
	is := func(element any) bool {
		object, _ := element.(map[string]any)
		have, found := object[key]
		return found && fmt.Sprint(have) == value
	}
	switch {
	case strings.HasPrefix(name, "--"):
		is = func(element any) bool {
			arg, _ := element.(string)
			return strings.HasPrefix(arg, "--") && nameOf(arg) == nameOf(name)
		}
	case !isField || key == "":
		return nil, fmt.Errorf("%q is neither key=value nor --argument", name)
	}
	var matches []int
	for i, element := range list {
		if is(element) {
			matches = append(matches, i)
		}
	}
	return matches, nil
}

// unescape reads a part of a JSON pointer.
func unescape(segment string) string {
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(segment)
}
