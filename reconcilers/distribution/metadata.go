package distribution

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
)

// assemble puts the Deployments with the other objects: before the sources and Kustomizations they reconcile.
func (p *plan) assemble() ([]*unstructured.Unstructured, error) {
	objects := slices.Clone(p.objects)
	for _, w := range p.workloads {
		maps.Copy(w.Spec.Template.Labels, p.labels())
		o, err := w.object()
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return append(objects, p.synced...), nil
}

// labels tell what an object is part of. Clients look for them.
func (p *plan) labels() map[string]string {
	return map[string]string{
		"app.kubernetes.io/instance": p.instance.Namespace,
		"app.kubernetes.io/part-of":  "flux",
		"app.kubernetes.io/version":  p.version,
	}
}

// mark tells on every object what it is part of, who manages it, and that a Kustomization that happens to contain it has to
// leave it alone.
func (p *plan) mark(objects []*unstructured.Unstructured) {
	for _, o := range objects {
		for key, value := range p.labels() {
			setLabel(o, key, value)
		}
		setLabel(o, "app.kubernetes.io/managed-by", "flux-operator")
		setAnnotation(o, kustomizev1.SSAMark, kustomizev1.SSAIgnore)
		setAnnotation(o, kustomizev1.PruneMark, "Disabled")
	}
}

// addCommonMetadata adds the labels and annotations that the instance wants on all objects.
func (p *plan) addCommonMetadata(objects []*unstructured.Unstructured) {
	common := p.instance.Spec.CommonMetadata
	if common == nil {
		return
	}
	for _, o := range objects {
		for key, value := range common.Labels {
			setLabel(o, key, value)
		}
		for key, value := range common.Annotations {
			setAnnotation(o, key, value)
		}
	}
}
