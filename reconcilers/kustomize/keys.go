package kustomize

import (
	"cmp"

	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
)

// SourceKey returns the kind and the name of the source of the Kustomization.
func SourceKey(obj *kustomizev1.Kustomization) (kind string, key types.NamespacedName) {
	ref := obj.Spec.SourceRef

	return ref.Kind, types.NamespacedName{Namespace: cmp.Or(ref.Namespace, obj.Namespace), Name: ref.Name}
}

// DependencyKeys returns the Kustomizations that the Kustomization depends on, in the order of its spec.
func DependencyKeys(obj *kustomizev1.Kustomization) []types.NamespacedName {
	keys := make([]types.NamespacedName, 0, len(obj.Spec.DependsOn))
	for _, ref := range obj.Spec.DependsOn {
		keys = append(keys, types.NamespacedName{Namespace: cmp.Or(ref.Namespace, obj.Namespace), Name: ref.Name})
	}

	return keys
}

// ConfigKeys returns the objects of the kind, ConfigMap or Secret, that hold variables, the kubeconfig or the keys for decryption of
// the Kustomization.
func ConfigKeys(obj *kustomizev1.Kustomization, kind string) []types.NamespacedName {
	var keys []types.NamespacedName

	if to := obj.Spec.KubeConfig; to != nil {
		switch {
		case kind == meta.KindSecret && to.SecretRef != nil:
			keys = append(keys, types.NamespacedName{Namespace: obj.Namespace, Name: to.SecretRef.Name})
		case kind == meta.KindConfigMap && to.ConfigMapRef != nil:
			keys = append(keys, types.NamespacedName{Namespace: obj.Namespace, Name: to.ConfigMapRef.Name})
		}
	}

	if d := obj.Spec.Decryption; d != nil && d.SecretRef != nil && kind == meta.KindSecret {
		keys = append(keys, types.NamespacedName{Namespace: obj.Namespace, Name: d.SecretRef.Name})
	}

	if obj.Spec.PostBuild == nil {
		return keys
	}

	for _, ref := range obj.Spec.PostBuild.SubstituteFrom {
		if ref.Kind == kind {
			keys = append(keys, types.NamespacedName{Namespace: obj.Namespace, Name: ref.Name})
		}
	}

	return keys
}
