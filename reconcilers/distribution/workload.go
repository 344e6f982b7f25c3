package distribution

import (
	"fmt"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// workload is a Deployment and the components that it runs: one in the topology Distributed, all in the topology Unified.
type workload struct {
	*appsv1.Deployment
	roles []string
	shard string // or empty for the main one
	image Image
	ours  bool // whether the container is Weir's, which is told what to run
}

func newWorkload(o *unstructured.Unstructured, roles ...string) (*workload, error) {
	w := &workload{Deployment: &appsv1.Deployment{}, roles: roles}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, w.Deployment); err != nil {
		return nil, fmt.Errorf("read Deployment %q: %w", o.GetName(), err)
	}
	if len(w.Spec.Template.Spec.Containers) == 0 {
		return nil, fmt.Errorf("read Deployment %q: no container", o.GetName())
	}
	if w.Spec.Selector == nil || w.Spec.Selector.MatchLabels == nil || w.Spec.Template.Labels == nil {
		return nil, fmt.Errorf("read Deployment %q: no labels to select its pods by", o.GetName())
	}
	if w.ours = path.Base(imageName(w.container().Image)) == repositoryName; w.ours {
		w.container().Args = append(w.container().Args, "--controllers="+strings.Join(roles, ","))
	}
	return w, nil
}

// object returns the Deployment as it is applied.
func (w *workload) object() (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w.Deployment)
	if err != nil {
		return nil, fmt.Errorf("write Deployment %q: %w", w.Name, err)
	}
	delete(content, "status")
	o := &unstructured.Unstructured{Object: content}
	if w.Spec.Strategy.Type == "" {
		unstructured.RemoveNestedField(content, "spec", "strategy")
	}
	return o, nil
}

// plays tells whether the Deployment runs one of the components.
func (w *workload) plays(components ...string) bool {
	return slices.ContainsFunc(components, func(c string) bool { return slices.Contains(w.roles, c) })
}

func (w *workload) pod() *corev1.PodSpec { return &w.Spec.Template.Spec }

func (w *workload) container() *corev1.Container { return &w.pod().Containers[0] }

// arg returns the value of an argument --<name>=<value>.
func (w *workload) arg(name string) (string, bool) {
	for _, a := range w.container().Args {
		if value, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// setArg gives an argument a value. One that is there keeps its place, since users patch arguments by index; another is
// appended.
func (w *workload) setArg(name, value string) {
	prefix := "--" + name + "="
	c := w.container()
	i := slices.IndexFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, prefix) })
	if i < 0 {
		c.Args = append(c.Args, prefix+value)
		return
	}
	c.Args[i] = prefix + value
}

// setGate switches a feature on or off.
func (w *workload) setGate(name string, on bool) {
	gate := fmt.Sprintf("%s=%t", name, on)
	have, found := w.arg("feature-gates")
	if !found {
		w.setArg("feature-gates", gate)
		return
	}
	gates := strings.Split(have, ",")
	i := slices.IndexFunc(gates, func(g string) bool { return strings.HasPrefix(g, name+"=") })
	if i < 0 {
		gates = append(gates, gate)
	} else {
		gates[i] = gate
	}
	w.setArg("feature-gates", strings.Join(gates, ","))
}

// mountData backs the volume of the artifacts by the claim, or by the node if claim is empty.
func (w *workload) mountData(claim string) {
	source := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	if claim != "" {
		source = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}
	}
	for i, v := range w.pod().Volumes {
		if v.Name == "data" {
			w.pod().Volumes[i].VolumeSource = source
		}
	}
}

// forShard returns a copy that serves one shard with the roles.
func (w *workload) forShard(shard string, roles []string) *workload {
	s := &workload{Deployment: w.DeepCopy(), roles: roles, shard: shard, image: w.image, ours: w.ours}
	s.Name = w.Name + "-" + shard
	s.Spec.Selector.MatchLabels["app"] = s.Name
	s.Spec.Template.Labels["app"] = s.Name
	if s.ours {
		s.setArg("controllers", strings.Join(roles, ","))
	}
	return s
}
