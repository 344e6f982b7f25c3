package distribution

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// componentLabel tells which component an object belongs to.
const componentLabel = "app.kubernetes.io/component"

// collect fills the plan with copies of the manifests that the instance needs.
func (d *Distribution) collect(p *plan) error {
	p.take(d.manifests["namespace"], "")
	for _, c := range p.components {
		for _, name := range definitions(c) {
			p.take([]*unstructured.Unstructured{d.crds[name]}, c)
		}
	}
	p.take(d.manifests["rbac"], "")
	if p.cluster.GetNetworkPolicy() {
		p.take(d.manifests["policies"], "")
	}
	for _, c := range p.components {
		p.take(d.manifests[c], c)
	}
	if err := d.collectWorkloads(p); err != nil {
		return err
	}
	p.settle()
	return nil
}

// take copies the objects, but for Deployments, and labels them with the component they belong to, if any.
func (p *plan) take(objects []*unstructured.Unstructured, component string) {
	for _, o := range objects {
		if o.GetKind() == "Deployment" {
			continue
		}
		o = o.DeepCopy()
		if component != "" {
			setLabel(o, componentLabel, component)
		}
		p.objects = append(p.objects, o)
	}
}

// collectWorkloads takes the Deployments of the components, or the one that stands for all of them.
func (d *Distribution) collectWorkloads(p *plan) error {
	if p.instance.GetTopology() == fluxv1.TopologyUnified {
		p.take(d.manifests[unified], unified)
		p.redirect()
		return p.addWorkloads(d, unified, p.components)
	}
	for _, c := range p.components {
		if err := p.addWorkloads(d, c, []string{c}); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) addWorkloads(d *Distribution, component string, roles []string) error {
	for _, o := range d.manifests[component] {
		if o.GetKind() != "Deployment" {
			continue
		}
		w, err := newWorkload(o, slices.Clone(roles)...)
		if err != nil {
			return err
		}
		w.image, err = d.imageOf(w.container().Image, p.own, p.instance.Spec.Distribution.Registry)
		if err != nil {
			return err
		}
		w.Namespace = p.instance.Namespace
		if w.Labels == nil {
			w.Labels = map[string]string{}
		}
		w.Labels[componentLabel] = component
		w.Spec.Template.Labels[componentLabel] = component
		p.workloads = append(p.workloads, w)
	}
	return nil
}

// redirect makes the Services and policies of the components select the pod that runs all of them. Within it, events
// arrive at a port of their own: the one they have in notification-controller serves artifacts here.
func (p *plan) redirect() {
	for _, o := range p.objects {
		switch o.GetKind() {
		case "Service":
			set(o, unified, "spec", "selector", "app")
			if o.GetName() == fluxv1.NotificationController {
				retarget(o, "http-events")
			}
		case "NetworkPolicy":
			if _, found, _ := unstructured.NestedString(o.Object, "spec", "podSelector", "matchLabels", "app"); found {
				set(o, unified, "spec", "podSelector", "matchLabels", "app")
			}
		}
	}
}

// retarget points all ports of a Service at a port of its pods.
func retarget(o *unstructured.Unstructured, target string) {
	ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
	for _, port := range ports {
		if m, ok := port.(map[string]any); ok {
			m["targetPort"] = target
		}
	}
	set(o, ports, "spec", "ports")
}

// settle brings the objects into the namespace of the instance.
func (p *plan) settle() {
	for _, o := range p.objects {
		switch {
		case o.GetKind() == "Namespace":
			o.SetName(p.instance.Namespace)
		case o.GetKind() == "ResourceQuota":
			o.SetName(o.GetName() + "-" + p.instance.Namespace)
			o.SetNamespace(p.instance.Namespace)
		case o.GetNamespace() != "":
			o.SetNamespace(p.instance.Namespace)
		}
	}
}

// set writes a value into an object that this package made: every step of the path but the last is a map or is missing.
func set(o *unstructured.Unstructured, value any, path ...string) {
	m := o.Object
	for _, key := range path[:len(path)-1] {
		next, ok := m[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[key] = next
		}
		m = next
	}
	m[path[len(path)-1]] = value
}

func setLabel(o *unstructured.Unstructured, key, value string) {
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[key] = value
	o.SetLabels(labels)
}

func setAnnotation(o *unstructured.Unstructured, key, value string) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	o.SetAnnotations(annotations)
}
