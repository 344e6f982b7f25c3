package render

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
)

// identity is what kustomize tells objects apart by.
type identity struct {
	schema.GroupVersionKind
	namespace, name string
}

func identify(u *unstructured.Unstructured) identity {
	return identity{u.GroupVersionKind(), cmp.Or(u.GetNamespace(), "default"), u.GetName()}
}

// patch is a patch of one object, or of what its target selects.
type patch struct {
	patch meta.Patch
	of    *identity // nil if it has a target, and need not find anything
}

// patchesOf returns the patches of a post-renderer, with those apart that name their object themselves.
func patchesOf(k *v2.Kustomize) []patch {
	if k == nil {
		return nil
	}

	var out []patch

	for _, p := range k.Patches {
		if p.Target != nil {
			out = append(out, patch{patch: p})

			continue
		}

		documents, err := parse(p.Patch, "")
		if err != nil { // the library says what is wrong with it
			out = append(out, patch{patch: p})

			continue
		}

		for _, d := range documents {
			text, err := join([]document{d}, false)
			if err != nil {
				text = p.Patch
			}

			id := identify(d.object)
			out = append(out, patch{patch: meta.Patch{Patch: text}, of: &id})
		}
	}

	return out
}

// meets tells whether the patch has to do with any of the objects.
func (p patch) meets(documents []document) bool {
	return p.of == nil || slices.ContainsFunc(documents, func(d document) bool { return identify(d.object) == *p.of })
}

// whose says which object the patch is for.
func (p patch) whose() string {
	if p.of == nil {
		return "its target"
	}

	return fmt.Sprintf("%s %s %q in namespace %q", p.of.GroupVersion(), p.of.Kind, p.of.name, p.of.namespace)
}
