package distribution

import (
	"fmt"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// operatorName is the name of the operator's Deployment, and of its account, roles and bindings.
const operatorName = "flux-operator"

// ownNamespace keeps the operator to the namespace that it lives in: it has no right to see the Secrets of others.
const ownNamespace = "--watch-all-namespaces=false"

// Confine turns the manifest that installs the operator into one that gives it the roles of rights.yaml in place of cluster-admin.
func Confine(install []byte, rights fs.FS) ([]byte, error) {
	objects, err := parse(install)
	if err != nil {
		return nil, err
	}
	bound := false
	for _, o := range objects {
		switch o.GetKind() {
		case "ClusterRoleBinding":
			bound = true
			err = unstructured.SetNestedField(o.Object, operatorName, "roleRef", "name")
		case "Deployment":
			err = confineDeployment(o)
		}
		if err != nil {
			return nil, fmt.Errorf("confine %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	if !bound {
		return nil, fmt.Errorf("the manifest binds no role to %q", operatorName)
	}
	roles, err := readFile(rights, "rights.yaml")
	if err != nil {
		return nil, err
	}
	return encode(append(objects, roles...))
}

func confineDeployment(o *unstructured.Unstructured) error {
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, err := unstructured.NestedSlice(o.Object, path...)
	if err != nil {
		return err
	}
	for _, c := range containers {
		container, ok := c.(map[string]any)
		if !ok {
			continue
		}
		args, _, err := unstructured.NestedStringSlice(container, "args")
		if err != nil {
			return err
		}
		if err := unstructured.SetNestedStringSlice(container, append(args, ownNamespace), "args"); err != nil {
			return err
		}
	}
	return unstructured.SetNestedSlice(o.Object, containers, path...)
}
