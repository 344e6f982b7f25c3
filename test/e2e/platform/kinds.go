package platform

import (
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

// Namespace of the operator, the instance and the components.
const Namespace = "flux-system"

// FluxInstance is the kind of the distribution.
func FluxInstance() schema.GroupVersionKind {
	return fluxv1.GroupVersion.WithKind(fluxv1.FluxInstanceKind)
}

// GitRepository is the kind of source.
func GitRepository() schema.GroupVersionKind {
	return sourcev1.GroupVersion.WithKind(sourcev1.GitRepositoryKind)
}

// Kustomization is the kind of delivery.
func Kustomization() schema.GroupVersionKind {
	return kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind)
}

// Definition is the kind of custom resource definitions.
func Definition() schema.GroupVersionKind {
	return apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition")
}

// Deployment is the kind of workload.
func Deployment() schema.GroupVersionKind { return appsv1.SchemeGroupVersion.WithKind("Deployment") }

// Core returns a kind of the core group.
func Core(kind string) schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind(kind) }

// Condition returns a condition of the object: empty strings if it is not there.
func Condition(o *unstructured.Unstructured, kind string) (state, reason, message string) {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") //nolint:errcheck // then there are none

	for _, c := range conditions {
		if fields, ok := c.(map[string]any); ok && fields["type"] == kind {
			return text(fields, "status"), text(fields, "reason"), text(fields, "message")
		}
	}

	return "", "", ""
}

func text(fields map[string]any, name string) string {
	s, _ := fields[name].(string) //nolint:errcheck // absent is empty

	return s
}

// Text returns a field of the object: an empty string if it is not there.
func Text(o *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...) //nolint:errcheck // absent is empty

	return s
}

// Number returns a field of the object: zero if it is not there.
func Number(o *unstructured.Unstructured, path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(o.Object, path...) //nolint:errcheck // absent is zero

	return n
}

// Current returns nil if the object is there and has become what its spec says, and otherwise what is missing.
func Current(o *unstructured.Unstructured, name string) error {
	if o == nil {
		return fmt.Errorf("%s is not there", name)
	}

	result, err := status.Compute(o)
	if err != nil {
		return fmt.Errorf("%s has no status that makes sense: %w", Name(o), err)
	}

	state, reason, message := Condition(o, "Ready")
	if state == "" && strings.Contains(o.GroupVersionKind().Group, "fluxcd") {
		return fmt.Errorf("%s has no condition yet", Name(o)) // which is good enough for others
	}

	if result.Status == status.CurrentStatus {
		return nil
	}

	if state != "" {
		return fmt.Errorf("%s is %s: Ready=%s %s: %s", Name(o), result.Status, state, reason, message)
	}

	return fmt.Errorf("%s is %s: %s", Name(o), result.Status, result.Message)
}
