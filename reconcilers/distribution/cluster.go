package distribution

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// fitNetwork writes the addresses under which the components reach each other.
func (p *plan) fitNetwork() {
	events := ""
	if p.has(fluxv1.NotificationController) {
		events = "http://" + fluxv1.NotificationController + "." + p.instance.Namespace + ".svc." + p.cluster.Domain + "./"
	}
	for _, w := range p.workloads {
		if _, found := w.arg("events-addr"); found {
			w.setArg("events-addr", events)
		}
		if _, found := w.arg("storage-adv-addr"); found {
			w.setArg("storage-adv-addr", p.storageAddress(w))
		}
	}
}

// storageAddress is where the artifacts of the workload are served: a Service of its own for each shard.
func (p *plan) storageAddress(w *workload) string {
	service := fluxv1.SourceController
	if !w.plays(fluxv1.SourceController) {
		service = fluxv1.SourceWatcher
	}
	if w.shard != "" {
		service += "-" + w.shard
	}
	return service + ".$(RUNTIME_NAMESPACE).svc." + p.cluster.Domain + "."
}

// fitPlatform sets what the nodes need to run the pods.
func (p *plan) fitPlatform() {
	for _, w := range p.workloads {
		w.container().Image = w.image.String()
		if secret := p.instance.Spec.Distribution.ImagePullSecret; secret != "" {
			w.pod().ImagePullSecrets = []corev1.LocalObjectReference{{Name: secret}}
		}
		if w.ours && p.fips() {
			w.container().Env = append(w.container().Env, corev1.EnvVar{Name: "GODEBUG", Value: "fips140=on"})
		}
		if p.cluster.Type == fluxv1.ClusterTypeOpenShift {
			relax(w)
		}
	}
	if p.cluster.Type == fluxv1.ClusterTypeOpenShift {
		p.dropPodSecurityLabels()
	}
}

// fips tells whether the instance asks for the variant in FIPS 140 mode, by name or by the registry that holds it.
func (p *plan) fips() bool {
	d := p.instance.Spec.Distribution
	if d.Variant != "" {
		return d.Variant == fluxv1.VariantEnterpriseDistrolessFIPS
	}
	return strings.HasSuffix(strings.TrimRight(d.Registry, "/"), "controlplaneio-fluxcd/distroless-fips")
}

// relax leaves to the security context constraints of OpenShift what they set: users, groups and seccomp profiles.
func relax(w *workload) {
	w.pod().SecurityContext = nil
	if sc := w.container().SecurityContext; sc != nil {
		sc.SeccompProfile, sc.RunAsNonRoot = nil, nil
	}
}

// dropPodSecurityLabels removes what OpenShift manages itself.
func (p *plan) dropPodSecurityLabels() {
	for _, o := range p.objects {
		if o.GetKind() != "Namespace" {
			continue
		}
		labels := o.GetLabels()
		for key := range labels {
			if strings.HasPrefix(key, "pod-security.kubernetes.io/") {
				delete(labels, key)
			}
		}
		o.SetLabels(labels)
	}
}
