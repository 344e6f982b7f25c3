package distribution

import (
	"fmt"
	"io/fs"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// Install renders the manifest that installs the operator, from its manifests, the custom resource definitions and the
// reference of the image. Of the definitions it takes those of the operator's own kinds.
func Install(manifests, crds fs.FS, image string) ([]byte, error) {
	if _, err := ParseImage(image); err != nil {
		return nil, err
	}
	objects, err := readFile(manifests, "namespace.yaml")
	if err != nil {
		return nil, err
	}
	definitions, err := readCRDs(crds)
	if err != nil {
		return nil, err
	}
	for _, o := range definitions {
		if strings.HasSuffix(o.GetName(), "."+fluxv1.GroupVersion.Group) {
			objects = append(objects, o)
		}
	}
	for _, file := range []string{"rbac.yaml", "deployment.yaml", "disruption.yaml"} {
		more, err := readFile(manifests, file)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	for _, o := range objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		if err := setImage(o, image); err != nil {
			return nil, fmt.Errorf("render Deployment %q: %w", o.GetName(), err)
		}
	}
	return encode(objects)
}

// setImage makes the operator run the image, and know it.
func setImage(o *unstructured.Unstructured, image string) error {
	containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil {
		return err
	}
	for _, c := range containers {
		container, ok := c.(map[string]any)
		if !ok {
			continue
		}
		container["image"] = image
		args, _, err := unstructured.NestedStringSlice(container, "args")
		if err != nil {
			return err
		}
		for i, a := range args {
			if strings.HasPrefix(a, "--image=") {
				args[i] = "--image=" + image
			}
		}
		if err := unstructured.SetNestedStringSlice(container, args, "args"); err != nil {
			return err
		}
	}
	return unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers")
}
