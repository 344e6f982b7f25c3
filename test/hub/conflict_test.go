package hub

import (
	"strings"
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

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/instance"
)

func stalled(obj *fluxv1.FluxInstance) bool { return engine.IsTrue(obj, meta.StalledCondition) }

// TestForgotten holds that a kubeconfig that does not come back keeps a deleted instance for a while only, and that nothing is deleted
// without it.
func TestForgotten(t *testing.T) {
	e := start(t)
	e.create("east", small, e.east)
	e.ready("east")
	e.lose("east")

	if obj, _ := e.once("east"); !strings.HasPrefix(says(obj),
		"False ReconciliationFailed: reconciliation failed: remote cluster: unable to read KubeConfig secret 'east/cluster' error: ") {
		t.Errorf("Ready is %q when the kubeconfig is missing", says(obj))
	}

	e.delete("east")

	if obj, _ := e.once("east"); obj == nil {
		t.Fatal("the instance is gone at once, though the kubeconfig may be put back")
	}

	e.clock.advance(6 * time.Minute)
	e.told("")

	if obj, _ := e.once("east"); obj != nil {
		t.Errorf("the instance stays for ever: %s", says(obj))
	}

	want := []string{`east: ReconciliationFailed What is deployed to cluster "` + e.east.id +
		`" is left there: unable to read KubeConfig secret 'east/cluster' error: secrets "cluster" not found`}
	if diff := cmp.Diff(want, e.told("")); diff != "" {
		t.Errorf("told: -want, +got:\n%s", diff)
	}

	if !e.east.runs("east", "source-controller") {
		t.Error("the components are gone")
	}

	// Whoever comes next takes up what was left behind: nobody looks after it.
	e.create("heir", small+"targetNamespace: east\n", e.east)
	e.ready("heir")
	e.gone("heir")
}

// TestLeave holds that an instance that is suspended leaves what runs, and needs no cluster for that.
func TestLeave(t *testing.T) {
	e := start(t)
	e.create("east", small, e.east)
	e.ready("east")
	e.annotate("east", fluxv1.ReconcileAnnotation, meta.DisabledValue)

	before := e.east.wire.asked.Load()

	e.once("east")
	e.east.wire.breakDown()
	e.gone("east")

	if e.east.wire.asked.Load() != before || !e.east.runs("east", "source-controller") {
		t.Error("something was done to the cluster of a suspended instance")
	}

	if n := e.clusters.Len(); n != 0 {
		t.Errorf("%d clusters are connected to that nobody uses", n)
	}

	e.east.wire.broken.Store(false)
	e.create("east", small, e.east)
	e.clock.advance(time.Minute)
	e.ready("east")
	e.gone("east")
}

// TestMove holds that a kubeconfig which leads to another cluster moves an instance only if somebody says so, and that nothing is deleted
// where it was.
func TestMove(t *testing.T) {
	e := start(t)
	e.create("east", small, e.east)
	e.ready("east")
	e.kubeconfig("east", e.west, "")

	before := e.get("east").Status
	obj := e.run("east", "stalled", stalled)
	want := `False ClusterConflict: the instance is deployed to cluster "` + e.east.id + `" and would move to "` + e.west.id +
		`": the annotation fluxcd.controlplane.io/cluster: "` + e.west.id + `" lets it, and leaves what runs behind`

	if diff := cmp.Diff(want, says(obj)); diff != "" {
		t.Errorf("Ready: -want, +got:\n%s", diff)
	}

	if diff := cmp.Diff(before.Inventory, obj.Status.Inventory); diff != "" || obj.Status.Cluster.ID != e.east.id {
		t.Errorf("the inventory: -want, +got:\n%s", diff)
	}

	if e.west.runs("east", "source-controller") {
		t.Error("something is deployed to the wrong cluster")
	}

	// Back again is as if nothing had happened.
	e.kubeconfig("east", e.east, "")
	e.ready("east")
	e.kubeconfig("east", e.west, "")
	e.annotate("east", fluxv1.ClusterAnnotation, e.west.id)
	e.told("")
	e.run("east", "moved", func(obj *fluxv1.FluxInstance) bool {
		return engine.IsTrue(obj, meta.ReadyCondition) && obj.Status.Cluster.ID == e.west.id
	})

	if !e.west.runs("east", "source-controller") || !e.east.runs("east", "source-controller") {
		t.Error("the components do not run in both clusters")
	}

	moved := `east: Progressing Moving to cluster "` + e.west.id + `": what runs in cluster "` + e.east.id + `" goes on, and nobody looks after it`
	if diff := cmp.Diff([]string{moved}, e.told("east: Progressing Moving")); diff != "" {
		t.Errorf("told: -want, +got:\n%s", diff)
	}

	// A deletion with a kubeconfig that leads elsewhere deletes nothing there.
	e.kubeconfig("east", e.east, "")
	e.delete("east")

	if obj := e.run("east", "stalled", stalled); !strings.Contains(says(obj), "where nothing is deleted") {
		t.Errorf("Ready is %q", says(obj))
	}

	if !e.east.runs("east", "source-controller") {
		t.Error("the components of another cluster are deleted")
	}

	e.kubeconfig("east", e.west, "")
	e.run("east", "gone", func(obj *fluxv1.FluxInstance) bool { return obj == nil })

	e.create("heir", small+"targetNamespace: east\n", e.east)
	e.ready("heir")
	e.gone("heir")
}

// TestConflict holds that a cluster which somebody else looks after is left alone, until somebody says otherwise.
func TestConflict(t *testing.T) {
	e := start(t)
	e.create("first", small, e.east)
	e.ready("first")
	e.create("second", small, e.east)

	obj := e.run("second", "stalled", stalled)
	want := `False ClusterConflict: cluster "` + e.east.id + `" is managed by FluxInstance "first/flux" in cluster "` + e.home.id +
		`": delete that one, or set the annotation fluxcd.controlplane.io/cluster: "` + e.east.id + `" to take over what it has deployed`

	if diff := cmp.Diff(want, says(obj)); diff != "" {
		t.Errorf("Ready: -want, +got:\n%s", diff)
	}

	if e.east.runs("second", "source-controller") || obj.Status.Inventory != nil {
		t.Error("something is deployed to the cluster of another instance")
	}

	// Said so, the second one takes over. The first one sees it, and neither fights nor deletes what is not its own any more.
	e.annotate("second", fluxv1.ClusterAnnotation, e.east.id)
	e.calm("first")
	e.ready("second")
	e.awaken("first", "its objects have other labels")

	if obj := e.run("first", "stalled", stalled); !strings.Contains(says(obj), `was taken over by FluxInstance "second/flux"`) {
		t.Errorf("Ready is %q", says(obj))
	}

	e.ready("second")
	e.gone("first")

	if !e.east.runs("second", "source-controller") || !e.east.exists(&apiextensionsv1.CustomResourceDefinition{}, "", "buckets.source.toolkit.fluxcd.io") {
		t.Error("what was taken over is deleted")
	}

	e.gone("second")
}

// TestResident holds that a cluster with an instance, and so an operator, of its own is left alone.
func TestResident(t *testing.T) {
	e := start(t)
	define(t, e.east.client, "fluxinstances", &fluxv1.FluxInstanceList{})
	must(t, e.east.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}))

	theirs := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Namespace: "theirs", Name: "flux"}}
	theirs.Spec.Distribution.Version, theirs.Spec.Distribution.Registry = "2.x", "ghcr.io/fluxcd"
	must(t, e.east.client.Create(t.Context(), theirs))

	e.create("east", small, e.east)
	e.annotate("east", fluxv1.ClusterAnnotation, e.east.id) // nobody can decide this from afar

	obj := e.run("east", "stalled", stalled)
	want := `False ClusterConflict: cluster "` + e.east.id + `" has FluxInstance "theirs/flux" of its own: delete it ` +
		`(annotated with fluxcd.controlplane.io/reconcile: disabled, it leaves what runs), or this one`

	if diff := cmp.Diff(want, says(obj)); diff != "" {
		t.Errorf("Ready: -want, +got:\n%s", diff)
	}

	must(t, e.east.client.Delete(t.Context(), theirs))

	if _, after := e.once("east"); after == 0 {
		t.Error("nobody looks whether the cluster is free now")
	}

	e.ready("east")
	e.gone("east")
}

// TestOtherHub holds that what the instance of another hub has deployed is not taken for the own, though both have the same name and
// namespace, and that the local operator respects a hub as well.
func TestOtherHub(t *testing.T) {
	e := start(t)
	e.create("east", small, e.east)
	e.ready("east")

	other := func(s *site) {
		list := &apiextensionsv1.CustomResourceDefinitionList{}
		must(t, s.client.List(t.Context(), list, client.HasLabels{fluxv1.OwnerNameLabel}))

		for i := range list.Items {
			must(t, s.client.Patch(t.Context(), &list.Items[i], client.RawPatch(types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"fluxcd.controlplane.io/hub":"another","app.kubernetes.io/version":"v9"}}}`)), client.FieldOwner(instance.Manager)))
		}
	}

	e.calm("east")
	other(e.east)
	e.awaken("east", "its objects have another hub")

	if obj := e.run("east", "stalled", stalled); !strings.Contains(says(obj), `was taken over by FluxInstance "east/flux" in cluster "another"`) {
		t.Errorf("Ready is %q", says(obj))
	}

	e.told("")
	e.gone("east")

	if told := e.told("east: "); len(told) != 1 || !strings.Contains(told[0], "is left there: ") || !e.east.runs("east", "source-controller") {
		t.Errorf("told was %q", told)
	}

	// A new one under the same name asks.
	e.create("east", small, e.east)

	if obj := e.run("east", "stalled", stalled); !strings.Contains(says(obj), `is managed by FluxInstance "east/flux" in cluster "another"`) {
		t.Errorf("Ready is %q", says(obj))
	}

	e.annotate("east", fluxv1.ClusterAnnotation, e.east.id)
	e.ready("east")
	e.gone("east")

	// The same at home.
	e.create(own, small, nil)
	e.ready(own)
	e.calm(own)
	other(e.home)
	e.awaken(own, "its objects have another hub")

	if obj := e.run(own, "stalled", stalled); !strings.Contains(says(obj), `cluster "`+e.home.id+`" was taken over by FluxInstance "flux-system/flux" in cluster "another"`) {
		t.Errorf("Ready is %q", says(obj))
	}

	e.annotate(own, fluxv1.ReconcileAnnotation, meta.DisabledValue)
	e.gone(own)
	e.create(own, small, nil)
	e.annotate(own, fluxv1.ClusterAnnotation, e.home.id)
	e.ready(own)
	e.annotate(own, meta.ReconcileRequestAnnotation, "again")
	e.run(own, "handled", func(obj *fluxv1.FluxInstance) bool { return obj.Status.LastHandledReconcileAt == "again" })
	e.ready(own)
	e.gone(own)
}

// TestIgnored holds that instances elsewhere are not touched, and that one which loses its kubeconfig is.
func TestIgnored(t *testing.T) {
	e := start(t)
	e.create("theirs", small, nil)
	before := e.get("theirs")
	e.once("theirs")

	if diff := cmp.Diff(before, e.get("theirs")); diff != "" {
		t.Errorf("it was written:\n%s", diff)
	}

	want := []string{`theirs: InvalidSpec Ignored: without spec.kubeConfig an instance has to be in the namespace of the operator, which is "flux-system"`}
	if diff := cmp.Diff(want, e.told("")); diff != "" {
		t.Errorf("told: -want, +got:\n%s", diff)
	}

	must(t, e.c.Delete(t.Context(), before))

	e.create("east", small, e.east)
	e.ready("east")

	kubeconfig := e.get("east").Spec.KubeConfig
	e.change("east", func(obj *fluxv1.FluxInstance) { obj.Spec.KubeConfig = nil })

	obj := e.run("east", "stalled", stalled)
	if !strings.HasPrefix(says(obj), `False ClusterConflict: spec.kubeConfig is missing, and cluster "`+e.east.id+`", which the instance is deployed to, is left alone: `) {
		t.Errorf("Ready is %q", says(obj))
	}

	if !e.east.runs("east", "source-controller") || e.home.exists(&appsv1.Deployment{}, "east", "source-controller") {
		t.Error("an instance without its kubeconfig is not left alone")
	}

	e.change("east", func(obj *fluxv1.FluxInstance) { obj.Spec.KubeConfig = kubeconfig })
	e.ready("east")
	e.gone("east")
}

// TestConfigMap holds that a kubeconfig may be a ConfigMap, and that the token that it leads to is that of the tenant's account.
func TestConfigMap(t *testing.T) {
	e := start(t)
	e.namespace("self")
	must(t, e.c.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "self", Name: "deployer"}}))

	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "self"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "self", Name: "deployer"}},
	}
	config := home.Start(t).Config()
	must(t, e.c.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "self", Name: "cluster"},
		Data: map[string]string{
			"provider": "generic", "address": config.Host, "ca.crt": string(config.CAData), "serviceAccountName": "deployer",
			"audiences": "https://kubernetes.default.svc.cluster.local",
		},
	}))
	e.create("self", small+"kubeConfig: {configMapRef: {name: cluster}}\n", nil)

	obj := e.run("self", "refused", func(obj *fluxv1.FluxInstance) bool {
		return strings.HasPrefix(says(obj), "False ReconciliationFailed: ")
	})
	if !strings.Contains(says(obj), `User "system:serviceaccount:self:deployer" cannot`) {
		t.Errorf("without rights, Ready is %q", says(obj))
	}

	must(t, e.c.Create(t.Context(), binding))
	e.clock.advance(time.Minute)

	if obj := e.ready("self"); !e.home.runs("self", "source-controller") || obj.Status.Cluster.ID != e.home.id {
		t.Errorf("status is %+v", obj.Status.Cluster)
	}

	e.gone("self")
	must(t, e.c.Delete(t.Context(), binding))
}
