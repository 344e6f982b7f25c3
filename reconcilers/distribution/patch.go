package distribution

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// patch applies the user's patches, strategic merge or JSON patch, in their order: those with names in their paths here, all
// others the way the patches of a kustomization are.
func patch(objects []*unstructured.Unstructured, kustomize *fluxv1.Kustomize) ([]*unstructured.Unstructured, error) {
	if kustomize == nil {
		return objects, nil
	}
	var plain []meta.Patch
	for i, p := range kustomize.Patches {
		operations, named := namedOperations(p.Patch)
		if !named {
			plain = append(plain, p)
			continue
		}
		var err error
		if objects, err = patchPlain(objects, plain); err != nil {
			return nil, err
		}
		plain = nil
		if err := patchNamed(objects, p.Target, operations); err != nil {
			return nil, fmt.Errorf("apply spec.kustomize.patches[%d]: %w", i, err)
		}
	}
	return patchPlain(objects, plain)
}

// patchPlain applies patches the way the patches of a kustomization are.
func patchPlain(objects []*unstructured.Unstructured, patches []meta.Patch) ([]*unstructured.Unstructured, error) {
	if len(patches) == 0 {
		return objects, nil
	}
	content, err := encode(objects)
	if err != nil {
		return nil, err
	}
	kustomization, err := yaml.Marshal(struct {
		Resources []string     `json:"resources"`
		Patches   []meta.Patch `json:"patches"`
	}{[]string{"objects.yaml"}, patches})
	if err != nil {
		return nil, fmt.Errorf("write kustomization: %w", err)
	}
	tree := filesys.MakeFsInMemory()
	if err := tree.WriteFile("objects.yaml", content); err != nil {
		return nil, err
	}
	if err := tree.WriteFile("kustomization.yaml", kustomization); err != nil {
		return nil, err
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(tree, ".")
	if err != nil {
		return nil, fmt.Errorf("apply spec.kustomize.patches: %w", err)
	}
	patched := make([]*unstructured.Unstructured, 0, built.Size())
	for _, r := range built.Resources() {
		// By way of JSON: the library's own numbers are not those of unstructured objects.
		content, err := r.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("write patched %s: %w", r.CurId(), err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(content); err != nil {
			return nil, fmt.Errorf("read patched %s: %w", r.CurId(), err)
		}
		patched = append(patched, object)
	}
	return patched, nil
}
