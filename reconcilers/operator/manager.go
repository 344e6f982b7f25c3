package operator

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// managerOf says who looks after an object, by the marks that they leave, the most telling ones first. Empty means nobody.
func managerOf(obj metav1.Object) string {
	labels, annotations := obj.GetLabels(), obj.GetAnnotations()
	isCSV := func(o metav1.OwnerReference) bool {
		return o.Kind == "ClusterServiceVersion" && strings.HasPrefix(o.APIVersion, "operators.coreos.com/")
	}
	switch {
	case labels["olm.owner"] != "", labels["olm.managed"] == "true", slices.ContainsFunc(obj.GetOwnerReferences(), isCSV):
		return fluxv1.OperatorManagedByOLM
	case labels["kustomize.toolkit.fluxcd.io/name"] != "":
		return toolkit("Kustomization", "kustomize.toolkit.fluxcd.io", labels)
	case labels["helm.toolkit.fluxcd.io/name"] != "":
		return toolkit("HelmRelease", "helm.toolkit.fluxcd.io", labels)
	case labels["resourceset.fluxcd.controlplane.io/name"] != "":
		return toolkit("ResourceSet", "resourceset.fluxcd.controlplane.io", labels)
	case annotations["argocd.argoproj.io/tracking-id"] != "", labels["argocd.argoproj.io/instance"] != "", applied(obj, "argocd-controller"):
		return fluxv1.OperatorManagedByArgoCD
	case annotations["meta.helm.sh/release-name"] != "":
		return fluxv1.OperatorManagedByHelm
	}
	if by := labels["app.kubernetes.io/managed-by"]; by != "" {
		return by // Helm has this one too
	}
	if owner := metav1.GetControllerOf(obj); owner != nil {
		return owner.Kind + "/" + owner.Name
	}
	return ""
}

func toolkit(kind, prefix string, labels map[string]string) string {
	return kind + "/" + labels[prefix+"/namespace"] + "/" + labels[prefix+"/name"]
}

// applied tells whether a field manager has a part in the object.
func applied(obj metav1.Object, manager string) bool {
	return slices.ContainsFunc(obj.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool { return f.Manager == manager })
}
