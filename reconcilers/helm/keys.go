package helm

import (
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
)

// ConfigKeys returns the objects of the kind, ConfigMap or Secret, that hold values or the kubeconfig of the HelmRelease.
func ConfigKeys(obj *v2.HelmRelease, kind string) []types.NamespacedName {
	var keys []types.NamespacedName

	add := func(name string) { keys = append(keys, types.NamespacedName{Namespace: obj.Namespace, Name: name}) }

	if to := obj.Spec.KubeConfig; to != nil {
		switch {
		case kind == meta.KindSecret && to.SecretRef != nil:
			add(to.SecretRef.Name)
		case kind == meta.KindConfigMap && to.ConfigMapRef != nil:
			add(to.ConfigMapRef.Name)
		}
	}

	for _, from := range obj.Spec.ValuesFrom {
		if from.Kind == kind {
			add(from.Name)
		}
	}

	return keys
}
