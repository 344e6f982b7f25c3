package kube

import (
	"errors"
	"fmt"
	"io"

	helmkube "helm.sh/helm/v3/pkg/kube"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/weir-dev/weir/reconcilers/access"
)

const (
	hookAnnotation      = "helm.sh/hook"
	nameAnnotation      = "meta.helm.sh/release-name"
	namespaceAnnotation = "meta.helm.sh/release-namespace"
	managedByLabel      = "app.kubernetes.io/managed-by"
)

// Build reads objects from YAML documents, and finds out where they are served. With validate, an object of a kind that is not
// served, and that no definition among the objects brings, is an error. Without, which is how Helm reads what was applied before, it
// is not: what is not served does not exist any more, and what is served in another version is what it was. What is written is
// validated by the API server in either case.
func (c *Client) Build(reader io.Reader, validate bool) (helmkube.ResourceList, error) {
	objects, err := read(reader)
	if err != nil {
		return nil, err
	}
	brought := definitions(objects)
	out := make(helmkube.ResourceList, 0, len(objects))
	for _, obj := range objects {
		m, err := c.mapping(obj, brought, validate)
		if err != nil {
			return nil, err
		}
		info, err := c.info(obj, m)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

// read decodes documents, and takes lists apart.
func read(reader io.Reader) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	documents := yaml.NewYAMLOrJSONDecoder(reader, 4096)
	for n := 1; ; n++ {
		obj := &unstructured.Unstructured{}
		err := documents.Decode(&obj.Object)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("read document %d of the manifest: %w", n, err)
		case len(obj.Object) == 0:
			continue
		case obj.GetKind() == "" || obj.GetAPIVersion() == "":
			return nil, fmt.Errorf("document %d of the manifest, %q, has no apiVersion or no kind", n, obj.GetName())
		}
		items := []*unstructured.Unstructured{obj}
		if obj.IsList() {
			if items, err = elements(obj); err != nil {
				return nil, fmt.Errorf("document %d of the manifest: %w", n, err)
			}
		}
		out = append(out, items...)
	}
}

func elements(list *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	err := list.EachListItem(func(item runtime.Object) error {
		obj, ok := item.(*unstructured.Unstructured)
		if !ok || obj.GetKind() == "" || obj.GetAPIVersion() == "" {
			return fmt.Errorf("item %d of a list has no apiVersion or no kind", len(out)+1)
		}
		out = append(out, obj)
		return nil
	})
	return out, err
}

// definitions returns the kinds that the objects define.
func definitions(objects []*unstructured.Unstructured) map[schema.GroupKind]access.Mapping {
	out := map[schema.GroupKind]access.Mapping{}
	for _, obj := range objects {
		if obj.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
		plural, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "plural")
		scope, _, _ := unstructured.NestedString(obj.Object, "spec", "scope")
		out[schema.GroupKind{Group: group, Kind: kind}] = access.Mapping{
			GroupVersionResource: schema.GroupVersionResource{Group: group, Resource: plural}, Kind: kind, Namespaced: scope == "Namespaced",
		}
	}
	return out
}

func (c *Client) mapping(obj *unstructured.Unstructured, brought map[schema.GroupKind]access.Mapping, validate bool) (access.Mapping, error) {
	gvk := obj.GroupVersionKind()
	m, err := c.Client.Mapping(c.ctx, gvk.GroupKind(), gvk.Version)
	if err == nil || !apimeta.IsNoMatchError(err) {
		return m, err
	}
	if m, ok := definitions(c.Definitions)[gvk.GroupKind()]; ok {
		m.Version = gvk.Version
		return m, nil
	}
	if m, ok := brought[gvk.GroupKind()]; ok && c.ServerSide {
		m.Version = gvk.Version
		return m, nil
	}
	if validate {
		return m, noMatch(obj, err)
	}
	if m, other := c.Client.Mapping(c.ctx, gvk.GroupKind(), ""); other == nil {
		return m, nil
	}
	plural, _ := apimeta.UnsafeGuessKindToResource(gvk)
	return access.Mapping{GroupVersionResource: plural, Kind: gvk.Kind, Namespaced: true}, nil
}

// noMatch is the error about a kind that is not served, in the words that people know.
func noMatch(obj *unstructured.Unstructured, err error) error {
	return fmt.Errorf("resource mapping not found for name: %q namespace: %q from \"\": %w\nensure CRDs are installed first",
		obj.GetName(), obj.GetNamespace(), err)
}

func (c *Client) info(obj *unstructured.Unstructured, m access.Mapping) (*resource.Info, error) {
	scope := apimeta.RESTScopeRoot
	if m.Namespaced {
		scope = apimeta.RESTScopeNamespace
		if obj.GetNamespace() == "" {
			obj.SetNamespace(c.Namespace)
		}
	} else if obj.GetNamespace() != "" {
		obj.SetNamespace("")
	}
	reader, err := c.reader(m.GroupVersion())
	if err != nil {
		return nil, err
	}
	return &resource.Info{
		Client:    reader,
		Mapping:   &apimeta.RESTMapping{Resource: m.GroupVersionResource, GroupVersionKind: m.GroupVersion().WithKind(m.Kind), Scope: scope},
		Namespace: obj.GetNamespace(), Name: obj.GetName(), Object: obj,
	}, nil
}

// reader returns what Helm reads objects of a version with, to see whether they exist. If they are applied and taken over anyway, that
// makes no difference, and would cost a request for each.
func (c *Client) reader(gv schema.GroupVersion) (resource.RESTClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.readers[gv]; ok {
		return r, nil
	}
	open := c.loan.REST
	if c.ServerSide && c.TakeOwnership {
		open = c.loan.Nothing
	}
	r, err := open(gv, resource.UnstructuredPlusDefaultContentConfig())
	if err != nil {
		return nil, err
	}
	c.readers[gv] = r
	return r, nil
}

// objectOf returns the object of a resource, which Build has made.
func objectOf(info *resource.Info) *unstructured.Unstructured {
	if obj, ok := info.Object.(*unstructured.Unstructured); ok {
		return obj
	}
	return &unstructured.Unstructured{Object: map[string]any{}} // not one of ours
}

// refOf returns where the object of a resource is served.
func refOf(info *resource.Info) access.Ref {
	gvk := info.Mapping.GroupVersionKind
	return access.Ref{
		ID:      access.ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: info.Namespace, Name: info.Name},
		Version: gvk.Version,
	}
}

// isHook tells hooks from the objects that a release consists of.
func isHook(info *resource.Info) bool {
	_, ok := objectOf(info).GetAnnotations()[hookAnnotation]
	return ok
}

// isMember tells whether Helm has made the object one of a release.
func isMember(info *resource.Info) bool {
	_, ok := objectOf(info).GetAnnotations()[nameAnnotation]
	return ok && !isHook(info)
}

// describe names a resource as Helm does.
func describe(info *resource.Info) string {
	return fmt.Sprintf("%s %q in namespace %q", info.Mapping.GroupVersionKind.Kind, info.Name, info.Namespace)
}
