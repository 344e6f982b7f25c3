package template

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
)

// Set is what a ResourceSet renders to. It belongs to the caller.
type Set struct {
	// Steps in order. A ResourceSet without steps has a single one without a name.
	Steps []Step
}

// Step is a set of objects that is applied at once.
type Step struct {
	// Name of the step in the spec.
	Name string

	// Objects in the order of the spec: first those of resources, then those of resourcesTemplate. Lists are taken apart.
	Objects []*unstructured.Unstructured
}

// Objects of all steps, in order.
func (s *Set) Objects() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, step := range s.Steps {
		all = append(all, step.Objects...)
	}

	return all
}

// Digest of the objects as they are now, as sha256:<hex>: equal digests mean equal objects, in whatever order and steps.
// After Resolve, it depends on the data of Secrets that were copied.
func (s *Set) Digest() (string, error) {
	all := slices.SortedFunc(slices.Values(s.Objects()), func(a, b *unstructured.Unstructured) int {
		return cmp.Or(identity(a).Compare(identity(b)), cmp.Compare(a.GetAPIVersion(), b.GetAPIVersion()))
	})

	sum := sha256.New()
	out := json.NewEncoder(sum)

	for _, u := range all {
		if err := out.Encode(u.Object); err != nil {
			return "", fmt.Errorf("encode %s: %w", describe(u), err)
		}
	}

	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func identity(u *unstructured.Unstructured) access.ID {
	gk := u.GroupVersionKind().GroupKind()

	return access.ID{Group: gk.Group, Kind: gk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// describe names an object as references do.
func describe(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetKind() + "/" + u.GetName()
	}

	return u.GetKind() + "/" + u.GetNamespace() + "/" + u.GetName()
}

// place gives those objects a namespace that need one, and takes it off those that have none in the cluster.
func (s *Set) place(ctx context.Context, namespace string, scopes Scopes) error {
	if scopes == nil {
		return nil
	}

	known := s.definitions()

	for _, u := range s.Objects() {
		gvk := u.GroupVersionKind()

		namespaced, ok := known[gvk.GroupKind()]
		if !ok {
			var err error

			namespaced, err = scopes(ctx, gvk.GroupKind(), gvk.Version)
			if apimeta.IsNoMatchError(err) {
				namespaced = true
			} else if err != nil {
				return err
			}

			known[gvk.GroupKind()] = namespaced
		}

		switch {
		case !namespaced:
			unstructured.RemoveNestedField(u.Object, "metadata", "namespace")
		case u.GetNamespace() == "":
			u.SetNamespace(namespace)
		}
	}

	return nil
}

// definitions returns the kinds that the set itself defines, and whether they are namespaced.
func (s *Set) definitions() map[schema.GroupKind]bool {
	out := map[schema.GroupKind]bool{}

	for _, u := range s.Objects() {
		if gk := u.GroupVersionKind().GroupKind(); gk.Group != "apiextensions.k8s.io" || gk.Kind != "CustomResourceDefinition" {
			continue
		}

		group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(u.Object, "spec", "scope")
		out[schema.GroupKind{Group: group, Kind: kind}] = scope == "Namespaced"
	}

	return out
}

// unite leaves out objects that are in a step twice, and refuses those that are in two.
func (s *Set) unite() error {
	first := map[access.ID]int{}

	for i := range s.Steps {
		step := &s.Steps[i]

		var kept []*unstructured.Unstructured

		for _, u := range step.Objects {
			id := identity(u)

			at, ok := first[id]
			if ok && at != i {
				return &Error{Err: fmt.Errorf(
					"duplicate resource %s in step %q, already defined in step %q", describe(u), step.Name, s.Steps[at].Name,
				)}
			}

			if !ok {
				first[id] = i
				kept = append(kept, u)
			}
		}

		step.Objects = kept
	}

	return nil
}

// mark adds the common metadata to all objects.
func (s *Set) mark(m *meta.CommonMetadata) {
	if m == nil {
		return
	}

	for _, u := range s.Objects() {
		if len(m.Labels) > 0 {
			u.SetLabels(with(u.GetLabels(), m.Labels))
		}

		if len(m.Annotations) > 0 {
			u.SetAnnotations(with(u.GetAnnotations(), m.Annotations))
		}
	}
}

func with(all, more map[string]string) map[string]string {
	out := make(map[string]string, len(all)+len(more))

	maps.Copy(out, all)
	maps.Copy(out, more)

	return out
}
