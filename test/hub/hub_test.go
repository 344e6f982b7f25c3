package hub

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

var synced = strings.ReplaceAll(small, "[source-controller]", "[source-controller, kustomize-controller]") +
	"sync: {kind: GitRepository, url: https://example.com/fleet.git, ref: refs/heads/main, path: ./}\n"

// TestLife takes three instances, that of the hub itself and two of other clusters, through their lives.
func TestLife(t *testing.T) {
	e := start(t)
	e.create(own, small, nil)
	e.create("east", synced, e.east)
	e.create("west", small+"targetNamespace: gitops\n", e.west)

	for _, phase := range []struct {
		name string
		run  func(*env)
	}{
		{"Install", install},
		{"Drift", drift},
		{"Outage", outage},
		{"Rotation", rotation},
		{"Retarget", retarget},
		{"Restart", restart},
		{"Uninstall", uninstall},
		{"Identities", identities},
	} {
		if !t.Run(phase.name, func(t *testing.T) {
			e.t, e.home.t, e.east.t, e.west.t = t, t, t, t
			phase.run(e)
		}) {
			return
		}
	}
}

// install: each instance is in its own cluster, in the namespace that it asks for, and in no other.
func install(e *env) {
	e.ready(own)
	inEast, inWest := e.ready("east"), e.ready("west")

	const name = "source-controller"

	var got []string

	for place, s := range map[string]*site{"home": e.home, "east": e.east, "west": e.west} {
		for _, namespace := range []string{own, "east", "west", "gitops"} {
			if s.runs(namespace, name) {
				got = append(got, place+"/"+namespace)
			}
		}
	}

	slices.Sort(got)

	if diff := cmp.Diff([]string{"east/east", "home/flux-system", "west/gitops"}, got); diff != "" {
		e.t.Errorf("where the component runs: -want, +got:\n%s", diff)
	}

	want := map[string]*fluxv1.RemoteCluster{"east": {ID: e.east.id, Namespace: "east"}, "west": {ID: e.west.id, Namespace: "gitops"}}
	if diff := cmp.Diff(want, map[string]*fluxv1.RemoteCluster{"east": inEast.Status.Cluster, "west": inWest.Status.Cluster}); diff != "" {
		e.t.Errorf("clusters: -want, +got:\n%s", diff)
	}

	d := &appsv1.Deployment{}
	if e.west.exists(d, "gitops", name) {
		labels := map[string]string{
			"fluxcd.controlplane.io/name": "flux", "fluxcd.controlplane.io/namespace": "west",
			"fluxcd.controlplane.io/hub": e.home.id, "app.kubernetes.io/instance": "gitops",
		}
		for key, value := range labels {
			if d.Labels[key] != value {
				e.t.Errorf("label %s of the Deployment is %q, want %q", key, d.Labels[key], value)
			}
		}

		if args := fmt.Sprint(d.Spec.Template.Spec.Containers[0].Args); !strings.Contains(args, ".svc.cluster.local.") {
			e.t.Errorf("arguments are %s", args)
		}
	}

	role := &rbacv1.ClusterRoleBinding{}
	if !e.west.exists(role, "", "crd-controller-gitops") || role.Subjects[0].Namespace != "gitops" {
		e.t.Errorf("the rights are those of %v", role.Subjects)
	}

	if !e.east.exists(&sourcev1.GitRepository{}, "east", "east") || e.home.exists(&sourcev1.GitRepository{}, "east", "east") {
		e.t.Error("the source of the sync is not where it belongs")
	}

	for namespace, obj := range map[string]*fluxv1.FluxInstance{"east": inEast, "west": inWest} {
		if obj.Status.Inventory == nil || obj.Status.LastAppliedRevision == "" {
			e.t.Errorf("status of %s is %+v", namespace, obj.Status)
		}
	}

	list := &appsv1.DeploymentList{}
	must(e.t, e.c.List(e.t.Context(), list, client.HasLabels{fluxv1.HubLabel}))

	if len(list.Items) > 0 {
		e.t.Errorf("the hub has %d Deployments of other clusters", len(list.Items))
	}
}

// drift: what somebody deletes in a remote cluster wakes its instance, and is put back.
func drift(e *env) {
	for namespace, s := range map[string]*site{"east": e.east, "west": e.west} {
		target := e.get(namespace).GetTargetNamespace()
		e.calm(namespace)
		must(e.t, s.client.Delete(e.t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: "source-controller"}}))
		e.awaken(namespace, "a Deployment was deleted in its cluster")
		e.run(namespace, "repaired", func(*fluxv1.FluxInstance) bool { return s.runs(target, "source-controller") })
		e.ready(namespace)
	}
}

// outage: a cluster that cannot be reached is told, keeps what is known about it, and holds nobody up. Later it gets what it has missed.
func outage(e *env) {
	before := e.get("east").Status
	e.east.wire.breakDown()
	e.change("east", func(obj *fluxv1.FluxInstance) {
		obj.Spec.Components = append(obj.Spec.Components, "notification-controller")
	})
	e.change("west", func(obj *fluxv1.FluxInstance) {
		obj.Spec.Components = append(obj.Spec.Components, "notification-controller")
	})

	down := e.run("east", "failed", func(obj *fluxv1.FluxInstance) bool {
		return strings.HasPrefix(says(obj), "False ReconciliationFailed: reconciliation failed: remote cluster: ")
	})
	if engine.IsTrue(down, meta.StalledCondition) || !engine.IsTrue(down, meta.ReconcilingCondition) {
		e.t.Errorf("conditions are %+v", down.Status.Conditions)
	}

	e.clock.advance(time.Hour)

	if _, after := e.once("east"); after != 2*time.Minute {
		e.t.Errorf("after an hour, the next attempt is in %s", after)
	}

	e.ready("west")
	e.ready(own)

	if !e.west.runs("gitops", "notification-controller") {
		e.t.Error("another cluster has to wait")
	}

	after := e.get("east").Status
	if diff := cmp.Diff(before.Inventory, after.Inventory); diff != "" || after.LastAppliedRevision != before.LastAppliedRevision {
		e.t.Errorf("the inventory of a cluster that cannot be reached: -want, +got:\n%s", diff)
	}

	// Nobody wakes an instance when its cluster goes down in peace: it looks.
	e.west.wire.breakDown()

	if _, after := e.once("west"); after > 5*time.Minute {
		e.t.Errorf("the next look is in %s", after)
	}

	e.run("west", "failed", func(obj *fluxv1.FluxInstance) bool {
		return strings.HasPrefix(says(obj), "False ReconciliationFailed: ")
	})

	e.west.wire.broken.Store(false)
	e.east.wire.broken.Store(false)
	e.clock.advance(10 * time.Minute) // who did not answer is left in peace for a while
	e.ready("west")
	e.ready("east")

	if !e.east.runs("east", "notification-controller") {
		e.t.Error("the cluster has not got what it has missed")
	}
}

// rotation: other credentials of the same cluster change nothing.
func rotation(e *env) {
	e.told("")
	e.kubeconfig("east", e.east, "# rotated\n")
	e.annotate("east", meta.ReconcileRequestAnnotation, "rotated")
	e.run("east", "handled", func(obj *fluxv1.FluxInstance) bool { return obj.Status.LastHandledReconcileAt == "rotated" })
	e.ready("east")

	if told := e.told("east: "); told != nil {
		e.t.Errorf("told was %q", told)
	}

	if n := e.clusters.Len(); n != 2 {
		e.t.Errorf("%d clusters are connected to, want 2", n)
	}

	e.calm("east")
	must(e.t, e.east.client.Delete(e.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "source-controller"}}))
	e.awaken("east", "the new connection watches too")
	e.ready("east")
}

// retarget: in another namespace, the components come when those of the former one are gone, and that namespace stays.
func retarget(e *env) {
	e.change("west", func(obj *fluxv1.FluxInstance) { obj.Spec.TargetNamespace = "flux" })

	var stopped bool

	e.run("west", "moved", func(*fluxv1.FluxInstance) bool {
		former, next := e.west.runs("gitops", "source-controller"), e.west.runs("flux", "source-controller")
		stopped = stopped || !former && !next

		return next
	})

	if !stopped {
		e.t.Error("the components run twice")
	}

	e.ready("west")

	if e.west.runs("gitops", "source-controller") || !e.west.exists(&corev1.Namespace{}, "", "gitops") {
		e.t.Error("the former namespace is not as it should be")
	}
}

// restart: another process goes on where the first was, and nothing is written.
func restart(e *env) {
	before := &appsv1.Deployment{}
	e.east.exists(before, "east", "source-controller")
	e.operate()
	e.annotate("east", meta.ReconcileRequestAnnotation, "restarted")
	e.run("east", "handled", func(obj *fluxv1.FluxInstance) bool { return obj.Status.LastHandledReconcileAt == "restarted" })

	after := &appsv1.Deployment{}
	if !e.east.exists(after, "east", "source-controller") || before.ResourceVersion != after.ResourceVersion {
		e.t.Error("the Deployment was written")
	}

	e.ready("west")
}

// uninstall: one cluster is emptied, and the others stay as they are.
func uninstall(e *env) {
	e.gone("east")

	definitions := &apiextensionsv1.CustomResourceDefinitionList{}
	must(e.t, e.east.client.List(e.t.Context(), definitions))

	for _, d := range definitions.Items {
		if strings.HasSuffix(d.Name, "toolkit.fluxcd.io") {
			e.t.Errorf("the definition %q is still there", d.Name)
		}
	}

	if e.east.runs("east", "source-controller") || !e.west.runs("flux", "source-controller") || !e.home.runs(own, "source-controller") {
		e.t.Error("not what was to be uninstalled is gone")
	}

	if n := e.clusters.Len(); n != 1 {
		e.t.Errorf("%d clusters are connected to, want 1", n)
	}

	e.gone("west")

	if n := e.clusters.Len(); n != 0 {
		e.t.Errorf("%d clusters are connected to that nobody uses", n)
	}

	e.gone(own)
}

// identities: no cluster has got the credentials of another one, in all of that.
func identities(e *env) {
	for name, s := range map[string]*site{"home": e.home, "east": e.east, "west": e.west} {
		if s.wire.asked.Load() == 0 {
			e.t.Errorf("%s was never asked", name)
		}

		if strangers := s.wire.intruders(); len(strangers) > 0 {
			e.t.Errorf("%s was asked by somebody else: %q", name, strangers)
		}
	}
}

// TestSlow holds that a cluster which takes its time holds up nobody else.
func TestSlow(t *testing.T) {
	e := start(t)
	e.create("east", small, e.east)
	e.create("west", small, e.west)

	held := make(chan struct{})
	e.east.wire.slow.Store(&held)

	var slow sync.WaitGroup

	slow.Go(func() {
		for e.east.wire.holds.Load() == 0 {
			_, _ = e.runner.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "east", Name: "flux"}})
		}
	})
	eventually(t, "the first one is held up", func() error {
		if e.east.wire.holds.Load() == 0 {
			return fmt.Errorf("it is not")
		}

		return nil
	})
	e.ready("west")
	close(held)
	slow.Wait()
	e.ready("east")
	e.gone("east")
	e.gone("west")
}

// TestHealth holds that a run waits for the health of what it has deployed in the other cluster, and is woken by it.
func TestHealth(t *testing.T) {
	e := start(t)
	e.create("east", strings.ReplaceAll(small, "wait: false", "wait: true"), e.east)
	e.run("east", "waiting", func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, meta.ReconcilingCondition)

		return c != nil && strings.HasPrefix(c.Message, "Waiting for Deployment/east/source-controller")
	})
	e.east.play("east")
	e.ready("east")
	e.gone("east")
}

// play stands in for the kubelets, until the test ends: every pod runs and is ready as soon as it is there.
func (s *site) play(namespace string) {
	s.t.Helper()

	watch, err := s.client.Watch(s.t.Context(), &corev1.PodList{}, client.InNamespace(namespace))
	must(s.t, err)

	done := make(chan struct{})

	go func() {
		defer close(done)

		for event := range watch.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok || pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodRunning {
				continue
			}

			before := pod.DeepCopy()
			pod.Status.Phase = corev1.PodRunning
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
			_ = s.client.Status().Patch(s.t.Context(), pod, client.MergeFrom(before)) // gone, or the next event tries again
		}
	}()

	s.t.Cleanup(func() {
		watch.Stop()
		<-done
	})
}
