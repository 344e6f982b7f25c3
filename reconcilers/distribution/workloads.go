package distribution

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// selectorArg says which objects a component reconciles.
const selectorArg = "watch-label-selector"

// validateWorkloads refuses what would undo other fields.
func validateWorkloads(spec fluxv1.FluxInstanceSpec) error {
	for i, w := range spec.Workloads {
		for j, a := range w.Args {
			if spec.Sharding != nil && nameOf(a) == selectorArg {
				return fmt.Errorf("spec.workloads[%d].args[%d]: --%s follows from spec.sharding", i, j, selectorArg)
			}
		}
	}
	return nil
}

// fitWorkloads makes the Deployments as spec.workloads wants them.
func (p *plan) fitWorkloads() error {
	for _, w := range p.workloads {
		c := p.wishes(w)
		if err := w.fit(c); err != nil {
			return fmt.Errorf("spec.workloads: Deployment %q: %w", w.Name, err)
		}
		if c.PodDisruptionBudget == nil {
			continue
		}
		o, err := w.disruptionBudget(c.PodDisruptionBudget)
		if err != nil {
			return err
		}
		p.objects = append(p.objects, o)
	}
	return nil
}

// wishes are the entries that are about the Deployment, as one.
func (p *plan) wishes(w *workload) fluxv1.Workload {
	sum := fluxv1.Workload{}
	for _, c := range p.instance.Spec.Workloads {
		if len(c.Components) == 0 || w.plays(c.Components...) {
			sum = merge(sum, c)
		}
	}
	return sum
}

// merge adds what b sets to a. Where both set something, b counts.
func merge(a, b fluxv1.Workload) fluxv1.Workload {
	override(&a.Replicas, b.Replicas)
	override(&a.LeaderElection, b.LeaderElection)
	override(&a.Affinity, b.Affinity)
	override(&a.PriorityClassName, b.PriorityClassName)
	override(&a.PodDisruptionBudget, b.PodDisruptionBudget)
	if b.LogLevel != "" {
		a.LogLevel = b.LogLevel
	}
	if b.Tolerations != nil {
		a.Tolerations = b.Tolerations
	}
	if b.Resources != nil {
		r := fluxv1.Resources{}
		if a.Resources != nil {
			r = *a.Resources
		}
		a.Resources = &fluxv1.Resources{
			Limits: union(r.Limits, b.Resources.Limits), Requests: union(r.Requests, b.Resources.Requests),
		}
	}
	a.FeatureGates = union(a.FeatureGates, b.FeatureGates)
	a.NodeSelector = union(a.NodeSelector, b.NodeSelector)
	a.Args = replaceArgs(a.Args, b.Args)
	return a
}

func override[T any](a **T, b *T) {
	if b != nil {
		*a = b
	}
}

// union is a new map of both. It is nil if they are empty.
func union[M ~map[K]V, K comparable, V any](a, b M) M {
	if len(a)+len(b) == 0 {
		return nil
	}
	sum := make(M, len(a)+len(b))
	maps.Copy(sum, a)
	maps.Copy(sum, b)
	return sum
}

// nameOf is the name of an argument --name or --name=value.
func nameOf(arg string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
	return name
}

// replaceArgs adds arguments in place of those of the same name: the first of a name keeps the place of the one it
// replaces, since users patch arguments by index.
func replaceArgs(args, by []string) []string {
	left := map[string][]string{}
	for _, a := range by {
		left[nameOf(a)] = append(left[nameOf(a)], a)
	}
	var replaced []string
	for _, a := range args {
		values, found := left[nameOf(a)]
		switch {
		case !found:
			replaced = append(replaced, a)
		case len(values) > 0:
			replaced = append(replaced, values[0])
			left[nameOf(a)] = values[1:]
		}
	}
	for _, a := range by {
		if values := left[nameOf(a)]; len(values) > 0 {
			replaced = append(replaced, values...)
			left[nameOf(a)] = nil
		}
	}
	return replaced
}

// fit changes the Deployment to what is wanted.
func (w *workload) fit(c fluxv1.Workload) error {
	if c.Replicas != nil {
		w.Spec.Replicas = c.Replicas
		if *c.Replicas > 1 {
			if err := w.multiply(); err != nil {
				return err
			}
		}
	}
	if c.LeaderElection != nil {
		w.setLease(*c.LeaderElection)
	}
	if c.LogLevel != "" {
		w.setArg("log-level", c.LogLevel)
	}
	for _, gate := range slices.Sorted(maps.Keys(c.FeatureGates)) {
		w.setGate(gate, c.FeatureGates[gate])
	}
	w.container().Args = replaceArgs(w.container().Args, c.Args)
	w.place(c)
	return w.setResources(c.Resources)
}

// place says where and with what priority the pods run.
func (w *workload) place(c fluxv1.Workload) {
	w.pod().NodeSelector = union(w.pod().NodeSelector, c.NodeSelector)
	if c.Tolerations != nil {
		w.pod().Tolerations = c.Tolerations
	}
	if c.Affinity != nil {
		w.pod().Affinity = c.Affinity
	}
	if c.PriorityClassName != nil {
		w.pod().PriorityClassName = *c.PriorityClassName
	}
}

// multiply readies the Deployment for more than one pod: on nodes of their own if possible, replaced one after the other,
// and with a lease that is free soon enough for another pod to work within 15 seconds.
func (w *workload) multiply() error {
	for _, v := range w.pod().Volumes {
		if claim := v.PersistentVolumeClaim; claim != nil {
			return fmt.Errorf("more than one replica cannot share the volume %q, which one node can mount at a time: "+
				"leave the replicas of this component at 1, or leave out spec.storage", claim.ClaimName)
		}
	}
	one, none := intstr.FromInt32(1), intstr.FromInt32(0)
	// With the figures: what the API server would fill in stays when the type changes, and is refused then.
	w.Spec.Strategy = appsv1.DeploymentStrategy{
		Type:          appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &one, MaxSurge: &none},
	}
	w.pod().Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 100,
			PodAffinityTerm: corev1.PodAffinityTerm{
				LabelSelector: w.Spec.Selector.DeepCopy(), TopologyKey: corev1.LabelHostname,
			},
		}},
	}}
	w.setLease(fluxv1.HighAvailability())
	return nil
}

func (w *workload) setLease(l fluxv1.LeaderElection) {
	w.setArg("leader-election-lease-duration", l.LeaseDuration.Duration.String())
	w.setArg("leader-election-renew-deadline", l.RenewDeadline.Duration.String())
	w.setArg("leader-election-retry-period", l.RetryPeriod.Duration.String())
}

// setResources adds to the resources. A request above its limit is refused: no pod could run.
func (w *workload) setResources(r *fluxv1.Resources) error {
	if r == nil {
		return nil
	}
	have := &w.container().Resources
	have.Limits, have.Requests = union(have.Limits, r.Limits), union(have.Requests, r.Requests)
	for _, name := range slices.Sorted(maps.Keys(have.Requests)) {
		request := have.Requests[name]
		if limit, found := have.Limits[name]; found && request.Cmp(limit) > 0 {
			return fmt.Errorf("resources.requests.%s of %s is more than the limit of %s", name, request.String(), limit.String())
		}
	}
	return nil
}

// disruptionBudget limits how many of the Deployment's pods may be away.
func (w *workload) disruptionBudget(b *fluxv1.PodDisruptionBudget) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&policyv1.PodDisruptionBudget{
		TypeMeta: metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "PodDisruptionBudget"},
		ObjectMeta: metav1.ObjectMeta{
			Name: w.Name, Namespace: w.Namespace, Labels: map[string]string{componentLabel: w.Labels[componentLabel]},
		},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: b.MinAvailable, MaxUnavailable: b.MaxUnavailable, Selector: w.Spec.Selector.DeepCopy(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("write PodDisruptionBudget %q: %w", w.Name, err)
	}
	delete(content, "status")
	return &unstructured.Unstructured{Object: content}, nil
}
