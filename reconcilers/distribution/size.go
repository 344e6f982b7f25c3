package distribution

import (
	"cmp"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// profile is how much a component does at a time, and what it may use for it.
type profile struct {
	concurrent int
	requeue    string // --requeue-dependency, or empty
	cpu        string
	memory     string
	cache      int // Helm indexes kept, or 0
	cacheTTL   string
	cachePurge string
}

// profileOf returns the profile of a component for a size of cluster. Components that are not listed keep what their
// manifests say, whatever the size.
func profileOf(size, component string) (profile, bool) {
	source := component == fluxv1.SourceController
	if !source && component != fluxv1.KustomizeController && component != fluxv1.HelmController {
		return profile{}, false
	}
	var p profile
	switch size {
	case fluxv1.ClusterSizeSmall:
		p = profile{concurrent: 5, requeue: "10s", cpu: "1", memory: "512Mi"}
		if source {
			p.cache = 10
		}
	case fluxv1.ClusterSizeMedium:
		p = profile{concurrent: 10, requeue: "5s", cpu: "2", memory: "1Gi"}
		if source {
			p.concurrent, p.cache = 5, 50
		}
	case fluxv1.ClusterSizeLarge:
		p = profile{concurrent: 20, requeue: "5s", cpu: "3", memory: "3Gi"}
		if source {
			p = profile{concurrent: 10, requeue: "5s", cpu: "2", memory: "2Gi", cache: 100, cacheTTL: "720m", cachePurge: "60m"}
		}
	default:
		return profile{}, false
	}
	return p, true
}

// fitSize sets the profile of the cluster's size. A process with several components does as much of each as they would do alone, and may use
// for it what they may use together.
func (p *plan) fitSize() {
	for _, w := range p.workloads {
		if p.cluster.Size != "" {
			if w.Annotations == nil {
				w.Annotations = map[string]string{}
			}
			w.Annotations[fluxv1.ProfileAnnotation] = p.cluster.Size
		}
		var sum profile
		for _, role := range w.roles {
			if q, ok := profileOf(p.cluster.Size, role); ok {
				sum = sum.with(q)
			}
		}
		sum.apply(w)
	}
}

// with is the profile of a process that is what both are for.
func (p profile) with(q profile) profile {
	p.concurrent, p.cache = max(p.concurrent, q.concurrent), max(p.cache, q.cache)
	p.cpu, p.memory = added(p.cpu, q.cpu), added(p.memory, q.memory)
	p.requeue = cmp.Or(p.requeue, q.requeue)
	if p.cacheTTL == "" {
		p.cacheTTL, p.cachePurge = q.cacheTTL, q.cachePurge
	}
	return p
}

// added is the sum of two quantities, of which the first may be missing.
func added(a, b string) string {
	if a == "" {
		return b
	}
	sum := resource.MustParse(a)
	sum.Add(resource.MustParse(b))
	return sum.String()
}

func (p profile) apply(w *workload) {
	if p.concurrent == 0 {
		return
	}
	w.setArg("concurrent", strconv.Itoa(p.concurrent))
	w.setArg("requeue-dependency", p.requeue)
	if p.cache > 0 {
		w.setArg("helm-cache-max-size", strconv.Itoa(p.cache))
	}
	if p.cacheTTL != "" {
		w.setArg("helm-cache-ttl", p.cacheTTL)
		w.setArg("helm-cache-purge-interval", p.cachePurge)
	}
	if w.container().Resources.Limits == nil {
		w.container().Resources.Limits = corev1.ResourceList{}
	}
	w.container().Resources.Limits[corev1.ResourceCPU] = resource.MustParse(p.cpu)
	w.container().Resources.Limits[corev1.ResourceMemory] = resource.MustParse(p.memory)
}
