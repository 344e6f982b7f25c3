package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/fleet"
)

// components are the Deployments of each topology.
func components(topology string) [][2]string {
	if topology == fluxv1.TopologyUnified {
		return [][2]string{{platform.Namespace, "weir"}}
	}

	return [][2]string{
		{platform.Namespace, "source-controller"}, {platform.Namespace, "kustomize-controller"},
		{platform.Namespace, "helm-controller"}, {platform.Namespace, "notification-controller"},
	}
}

// TestInstance is the main job, in both topologies one after the other: there is one FluxInstance in a cluster.
func TestInstance(t *testing.T) {
	s := newStage(t)

	for _, topology := range []string{fluxv1.TopologyDistributed, fluxv1.TopologyUnified} {
		ok := t.Run(topology, func(t *testing.T) {
			files := must(fleet.Files(fleet.Settings{Cluster: "e2e", Registry: s.cluster.Registry(), Replicas: 1}))(t)
			r := &run{stage: s, topology: topology, revision: s.commit(t, "Deploy the fleet", files)}

			r.create(t)
			r.view = s.view(t)
			r.delivers(t)
			r.answers(t, "web 1.0.0: hello from production of e2e\n")
			r.repairsComponent(t)
			r.repairsWorkload(t)
			r.releases(t, "1.1.0")
			r.switches(t)
			r.uninstalls(t)
		})
		if !ok {
			return // what is left would make the other fail too
		}
	}
}

// run is the life of an instance.
type run struct {
	*stage

	topology, revision string
	view               *platform.View
}

func (r *run) create(t *testing.T) {
	t.Helper()

	instance := must(platform.Instance(platform.InstanceOptions{
		Topology: r.topology, Registry: r.cluster.Registry(), URL: r.git.URL(r.repo), Path: fleet.Path,
	}))(t)
	if err := r.client.Apply(deadline(t, patience), instance); err != nil {
		t.Fatal(err)
	}
}

// delivers waits until the components run from our image and the fleet is ready.
func (r *run) delivers(t *testing.T) {
	t.Helper()
	r.await(t, "the components run", r.view, platform.Running(components(r.topology)...), r.ourPods)
	r.await(t, "the instance is ready", r.view, func(s platform.Snapshot) error {
		return platform.Current(s.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName), "FluxInstance")
	})
	r.awaitFleet(t, "the fleet is ready")

	namespace := platform.Object(platform.Core("Namespace"), "", platform.Namespace)
	if err := r.client.Get(deadline(t, patience), client.ObjectKeyFromObject(namespace), namespace); err != nil {
		t.Fatal(err)
	}

	if level := namespace.GetLabels()[enforce]; level != "restricted" {
		t.Errorf("pods of the components were admitted at the level %q", level)
	}
}

func (r *run) awaitFleet(t *testing.T, what string) {
	t.Helper()

	kustomizations := append([][2]string{{platform.Namespace, "flux-system"}}, fleet.Kustomizations()...)
	r.await(t, what, r.view,
		platform.Delivered(r.revision, kustomizations...), platform.Running(fleet.Deployments()...), workloadsReady)
}

// ourPods is a condition: each component has a pod that is ready and runs our image.
func (r *run) ourPods(s platform.Snapshot) error {
	var errs []error

	for _, key := range components(r.topology) {
		found := false

		for _, p := range s.List(platform.Core("Pod"), key[0]) {
			if p.GetLabels()["app"] == key[1] && platform.Current(p, "") == nil {
				found = found || image(p) == r.release.Image
			}
		}

		if !found {
			errs = append(errs, fmt.Errorf("no pod of %s is ready with the image %s", key[1], r.release.Image))
		}
	}

	return errors.Join(errs...)
}

// image returns the image of the first container.
func image(pod *unstructured.Unstructured) string {
	containers, _, _ := unstructured.NestedSlice(pod.Object, "spec", "containers") //nolint:errcheck // then there is none
	for _, c := range containers {
		if fields, ok := c.(map[string]any); ok {
			return fmt.Sprint(fields["image"])
		}
	}

	return ""
}

// workloadsReady is a condition: the Deployments of the fleet have a pod, and the custom resource next to its definition is
// not what is waited for: its Kustomization is.
func workloadsReady(s platform.Snapshot) error {
	var errs []error

	for _, key := range fleet.Deployments() {
		if d := s.Get(platform.Deployment(), key[0], key[1]); d == nil || platform.Number(d, "status", "readyReplicas") < 1 {
			errs = append(errs, fmt.Errorf("Deployment %s/%s has no pod that is ready", key[0], key[1]))
		}
	}

	return errors.Join(errs...)
}

// answers asks the workload in production, through the API server, until it says what is wanted: a Service takes a moment
// to lead to new pods only.
func (r *run) answers(t *testing.T, want string) {
	t.Helper()

	ctx := deadline(t, patience)

	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()

	for {
		got, err := r.client.Ask(ctx, "production", "web", "http")
		if err == nil && got == want {
			return
		}

		select {
		case <-tick.C:
		case <-ctx.Done():
			r.fail(t, "answered", fmt.Errorf("the workload says %q, want %q; error %w", got, want, err))
		}
	}
}

// repairsComponent deletes the Deployment that delivers. The instance is looked at once in an hour if nothing happens.
func (r *run) repairsComponent(t *testing.T) {
	t.Helper()

	key := components(r.topology)[0]
	if r.topology == fluxv1.TopologyDistributed {
		key[1] = "kustomize-controller"
	}

	o := platform.Object(platform.Deployment(), key[0], key[1])
	before := r.view.Now().Get(platform.Deployment(), key[0], key[1]).GetUID()

	if err := r.client.Delete(deadline(t, patience), o); err != nil {
		t.Fatal(err)
	}

	r.await(t, platform.Name(o)+" is back", r.view, func(s platform.Snapshot) error {
		if d := s.Get(platform.Deployment(), key[0], key[1]); d != nil && d.GetUID() == before {
			return errors.New("it is still there")
		}

		return nil
	}, platform.Running(components(r.topology)...), r.ourPods)
}

// repairsWorkload edits a deployed object by hand. Its Kustomization is looked at every ten minutes.
func (r *run) repairsWorkload(t *testing.T) {
	t.Helper()

	edited := must(r.client.Edit(deadline(t, patience), platform.Deployment(), "production", "web", `{"spec":{"replicas":3}}`))(t)
	r.await(t, "what was edited by hand is put back", r.view, func(s platform.Snapshot) error {
		d := s.Get(platform.Deployment(), "production", "web")
		if d == nil || d.GetGeneration() <= edited.GetGeneration() {
			return errors.New("nothing has changed since")
		}

		if n := platform.Number(d, "spec", "replicas"); n != 1 {
			return fmt.Errorf("there are %d replicas", n)
		}

		return nil
	})
}

// releases pushes a commit, and tells the source as a webhook would.
func (r *run) releases(t *testing.T, version string) {
	t.Helper()

	r.revision = r.commit(t, "Release "+version, must(fleet.Release(version))(t))
	token := must(r.client.Request(deadline(t, patience), platform.GitRepository(), platform.Namespace, "flux-system"))(t)
	r.await(t, "the request is answered", r.view, func(s platform.Snapshot) error {
		g := s.Get(platform.GitRepository(), platform.Namespace, "flux-system")
		if at := platform.Text(g, "status", "lastHandledReconcileAt"); at != token {
			return fmt.Errorf("handled at %q", at)
		}

		return nil
	})
	r.awaitFleet(t, "the release is rolled out")
	r.answers(t, "web "+version+": hello from production of e2e\n")
}

// switches changes the topology of the running instance, and back: the workloads do not notice, and what is released after
// it arrives.
func (r *run) switches(t *testing.T) {
	t.Helper()

	before, own := workloadPods(r.view.Now()), r.topology
	other := fluxv1.TopologyUnified

	if own == other {
		other = fluxv1.TopologyDistributed
	}

	r.changeTopology(t, other)

	if diff := cmp.Diff(before, workloadPods(r.view.Now())); diff != "" {
		t.Errorf("the pods of the workloads: -before, +after:\n%s", diff)
	}

	r.releases(t, "1.2.0")
	r.changeTopology(t, own)
	r.releases(t, "1.1.0")
}

func (r *run) changeTopology(t *testing.T, topology string) {
	t.Helper()

	r.topology = topology
	must(r.client.Edit(deadline(t, patience), platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName,
		fmt.Sprintf(`{"spec":{"topology":%q}}`, topology)))(t)
	r.await(t, "the components run as "+topology, r.view, platform.Running(components(topology)...), r.ourPods, r.noOthers)
}

// noOthers is a condition: no component runs that is not of the topology.
func (r *run) noOthers(s platform.Snapshot) error {
	for _, d := range s.List(platform.Deployment(), platform.Namespace) {
		key := [2]string{d.GetNamespace(), d.GetName()}
		if d.GetName() != "flux-operator" && !slices.Contains(components(r.topology), key) {
			return fmt.Errorf("Deployment %s is there", d.GetName())
		}
	}

	return nil
}

// uninstalls deletes the instance: the components go, the pods of the workloads stay as they are.
func (r *run) uninstalls(t *testing.T) {
	t.Helper()

	before := workloadPods(r.view.Now())

	r.withdraw(t)

	if diff := cmp.Diff(before, workloadPods(r.view.Now())); diff != "" {
		t.Errorf("the pods of the workloads: -before, +after:\n%s", diff)
	}

	if len(before) == 0 {
		t.Error("there were no workloads")
	}

	r.answers(t, "web 1.1.0: hello from production of e2e\n")
}

// withdraw deletes the instance and waits until its components are gone.
func (r *run) withdraw(t *testing.T) {
	t.Helper()

	o := platform.Object(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)
	if err := r.client.Delete(deadline(t, patience), o); err != nil {
		t.Fatal(err)
	}

	r.await(t, "the instance and its components are gone", r.view, func(s platform.Snapshot) error {
		if s.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName) != nil {
			return errors.New("the FluxInstance is there")
		}

		for _, p := range s.List(platform.Core("Pod"), platform.Namespace) {
			if app := p.GetLabels()["app"]; app != "" {
				return fmt.Errorf("a pod of %s is there", app)
			}
		}

		for _, key := range components(r.topology) {
			if s.Get(platform.Deployment(), key[0], key[1]) != nil {
				return fmt.Errorf("Deployment %s is there", key[1])
			}
		}

		return nil
	})
}

// workloadPods are the pods of the fleet that are ready, by name.
func workloadPods(s platform.Snapshot) map[string]types.UID {
	pods := map[string]types.UID{}

	for _, key := range fleet.Deployments() {
		for _, p := range s.List(platform.Core("Pod"), key[0]) {
			if strings.HasPrefix(p.GetName(), key[1]+"-") && p.GetDeletionTimestamp() == nil && platform.Current(p, "") == nil {
				pods[p.GetNamespace()+"/"+p.GetName()] = p.GetUID()
			}
		}
	}

	return pods
}
