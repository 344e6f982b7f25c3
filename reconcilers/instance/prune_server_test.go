package instance_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const (
	helmReleases = "helmreleases.helm.toolkit.fluxcd.io"
	helmEntry    = "_" + helmReleases + "_apiextensions.k8s.io_CustomResourceDefinition"
)

// helmRelease makes one that its controller holds.
func (e *env) helmRelease(name string, finalizers ...string) *unstructured.Unstructured {
	e.t.Helper()
	release := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"interval": "1m", "chartRef": map[string]any{"kind": "OCIRepository", "name": "chart"}},
	}}
	release.SetGroupVersionKind(schema.GroupVersionKind{Group: "helm.toolkit.fluxcd.io", Version: "v2", Kind: "HelmRelease"})
	release.SetNamespace("default")
	release.SetName(name)
	release.SetFinalizers(finalizers)
	e.eventually("create "+name, func() error { return e.c.Create(e.ctx, release.DeepCopy()) })
	must(e.t, e.c.Get(e.ctx, client.ObjectKeyFromObject(release), release))
	return release
}

// TestPruneDefinitions drops a component together with its definitions: first its pods go, then what they would have finalized is
// released, then the definitions go with all objects of their kinds. What was deployed stays.
func TestPruneDefinitions(t *testing.T) {
	e := start(t)
	e.play()
	workload := &corev1.ConfigMap{ObjectMeta: named("workload")}
	workload.Labels = map[string]string{"helm.toolkit.fluxcd.io/name": "theirs", "helm.toolkit.fluxcd.io/namespace": "default"}
	must(t, e.c.Create(e.ctx, workload))
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\n")
	e.ready()
	theirs := e.helmRelease("theirs", "finalizers.fluxcd.io")
	without := []string{"source-controller", "kustomize-controller"}

	// By default, all stays, and is adopted when the component is back.
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Components = without })
	if obj := e.ready(); !has(obj, helmEntry) || e.exists(&appsv1.Deployment{}, "helm-controller") {
		t.Error("the definition is forgotten, or the component is still there")
	}
	kept := e.definition(helmReleases)
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Components = nil })
	e.ready()
	if now := e.definition(helmReleases); now.UID != kept.UID || !e.exists(&appsv1.Deployment{}, "helm-controller") {
		t.Error("the definition is not adopted")
	}

	// One that the user has marked stays, and its objects are not touched.
	const alerts = "alerts.notification.toolkit.fluxcd.io"
	alert := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{
			"providerRef": map[string]any{"name": "p"}, "eventSources": []any{map[string]any{"kind": "Kustomization", "name": "*"}},
		},
	}}
	alert.SetGroupVersionKind(schema.GroupVersionKind{Group: "notification.toolkit.fluxcd.io", Version: "v1beta3", Kind: "Alert"})
	alert.SetNamespace("default")
	alert.SetName("theirs")
	alert.SetFinalizers([]string{"finalizers.fluxcd.io"})
	must(t, e.c.Create(e.ctx, alert))
	e.patch(e.definition(alerts), `{"metadata":{"annotations":{"fluxcd.controlplane.io/prune":"disabled"}}}`)

	// One whose objects somebody else holds goes when they let go. Nobody waits for that.
	e.patch(theirs, `{"metadata":{"finalizers":["finalizers.fluxcd.io","example.com/hold"]}}`)
	e.patch(e.deployment("helm-controller"), `{"metadata":{"finalizers":["example.com/hold"]}}`)
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Components, obj.Spec.Prune = without, &fluxv1.Pruning{Definitions: true}
	})
	e.run("stopping", func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, "Reconciling")
		return c != nil && strings.HasPrefix(c.Message, "Waiting for Deployment/flux-system/helm-controller") && strings.HasSuffix(c.Message, " to stop")
	})
	must(t, e.c.Get(e.ctx, client.ObjectKeyFromObject(theirs), theirs))
	if len(theirs.GetFinalizers()) != 2 || e.definition(helmReleases).DeletionTimestamp != nil {
		t.Error("the objects are touched while their controller runs")
	}
	e.patch(e.deployment("helm-controller"), `{"metadata":{"finalizers":null}}`)
	obj := e.ready()
	if !has(obj, helmEntry) || e.definition(helmReleases).DeletionTimestamp == nil {
		t.Error("a definition that is not gone yet is forgotten, or not deleted")
	}
	must(t, e.c.Get(e.ctx, client.ObjectKeyFromObject(theirs), theirs))
	if suspended, _, _ := unstructured.NestedBool(theirs.Object, "spec", "suspend"); !suspended {
		t.Error("a controller that still runs would uninstall the release")
	}
	if diff := cmp.Diff([]string{"example.com/hold"}, theirs.GetFinalizers()); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
	e.calm()
	e.patch(theirs, `{"metadata":{"finalizers":null}}`)
	e.awaken("the definition is gone")
	e.run("clean", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Ready") && !has(obj, helmEntry) })
	for _, name := range []string{helmReleases, "receivers.notification.toolkit.fluxcd.io"} {
		if e.exists(&apiextensionsv1.CustomResourceDefinition{}, name) {
			t.Errorf("%s is still there", name)
		}
	}
	if !e.exists(&apiextensionsv1.CustomResourceDefinition{}, "kustomizations.kustomize.toolkit.fluxcd.io") || !e.exists(workload, "workload") {
		t.Error("more is gone than was to go")
	}
	must(t, e.c.Get(e.ctx, client.ObjectKeyFromObject(alert), alert))
	if len(alert.GetFinalizers()) != 1 || e.definition(alerts).DeletionTimestamp != nil {
		t.Error("a definition that is to stay goes, or its objects are released")
	}
	e.patch(e.definition(alerts), `{"metadata":{"annotations":{"fluxcd.controlplane.io/prune":null}}}`)

	// It can come back.
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Components = nil })
	e.ready()
	e.helmRelease("again")
	e.leave()
	must(t, e.c.Delete(e.ctx, workload))
}

func (e *env) definition(name string) *apiextensionsv1.CustomResourceDefinition {
	e.t.Helper()
	d := &apiextensionsv1.CustomResourceDefinition{}
	must(e.t, e.c.Get(e.ctx, types.NamespacedName{Name: name}, d))
	return d
}

// TestPruneSynced takes a sync out with what it has deployed, which its controller deletes; and one whose controller goes as well, which
// nobody does.
func TestPruneSynced(t *testing.T) {
	e := start(t)
	e.play()
	e.create(spec + "wait: false\nprune: {synced: true}\n")
	e.ready()
	sync := e.instance().Spec.Sync
	kustomization := &kustomizev1.Kustomization{}
	e.serve(kustomization, namespace)
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Sync = nil })
	e.ready()
	if !e.exists(kustomization, namespace) || kustomization.DeletionTimestamp == nil || kustomization.Spec.DeletionPolicy != "" {
		t.Errorf("the Kustomization is not deleted with what it has deployed: %+v", kustomization)
	}
	e.patch(kustomization, `{"metadata":{"finalizers":null}}`)

	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Sync = sync
	})
	e.ready()
	e.serve(kustomization, namespace)
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Sync, obj.Spec.Components = nil, []string{"source-controller"}
	})
	e.ready()
	if e.exists(kustomization, namespace) {
		t.Errorf("the Kustomization waits for a controller that is not there: %+v", kustomization)
	}
	e.leave()
}

// TestRetireAfterRehearsal changes the topology to one that the API server refuses: what runs goes on.
func TestRetireAfterRehearsal(t *testing.T) {
	e := start(t)
	e.play()
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller]\n")
	e.ready()
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Topology = fluxv1.TopologyUnified
		obj.Spec.Kustomize = &fluxv1.Kustomize{Patches: []meta.Patch{{
			Patch:  `[{"op": "add", "path": "/spec/template/spec/dnsPolicy", "value": "Nonsense"}]`,
			Target: &meta.Selector{Kind: "Deployment", Name: "weir"},
		}}}
	})
	obj := e.run("refused", func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, "Ready")
		return c != nil && c.Status == metav1.ConditionFalse
	})
	expect(t, obj, "Ready", metav1.ConditionFalse, meta.ReconciliationFailedReason, "Deployment/flux-system/weir dry-run failed (Invalid)")
	e.once()
	if d := e.deployment("source-controller"); d.DeletionTimestamp != nil || e.exists(&appsv1.Deployment{}, "weir") {
		t.Error("what runs is deleted for what cannot run")
	}
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Kustomize = nil })
	e.ready()
	if e.exists(&appsv1.Deployment{}, "source-controller") || !e.exists(&appsv1.Deployment{}, "weir") {
		t.Error("the topology is not the wanted one")
	}
	e.leave()
}

// TestUninstallFails says what keeps an instance from being uninstalled, and goes on when it can. The volume stays.
func TestUninstallFails(t *testing.T) {
	e := start(t)
	e.play()
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\nstorage: {class: standard, size: 1Gi}\nwait: false\n")
	e.ready()
	held := func(name string) *kustomizev1.Kustomization {
		k := &kustomizev1.Kustomization{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Finalizers: []string{"finalizers.fluxcd.io"}},
			Spec: kustomizev1.KustomizationSpec{
				Interval: metav1.Duration{Duration: time.Minute}, Prune: true,
				SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "apps"},
			},
		}
		must(t, e.c.Create(e.ctx, k))
		return k
	}
	bad := held("bad")
	for i := range 20 {
		held(fmt.Sprintf("good%d", i))
	}
	attempt := func() error {
		return e.c.Patch(e.ctx, bad, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"at":"%d"}}}`, time.Now().UnixNano())))
	}
	lift := e.deny("kustomize.toolkit.fluxcd.io", "kustomizations", "bad", attempt)
	must(t, e.c.Delete(e.ctx, e.instance()))
	obj := e.run("stuck", func(obj *fluxv1.FluxInstance) bool {
		if obj == nil {
			t.Fatal("the failure is swallowed")
		}
		c := engine.Condition(obj, "Ready")
		return c != nil && c.Status == metav1.ConditionFalse
	})
	expect(t, obj, "Ready", metav1.ConditionFalse, meta.ReconciliationFailedReason, `patch "Kustomization/default/bad": `)
	list := &kustomizev1.KustomizationList{}
	must(t, e.c.List(e.ctx, list, client.InNamespace("default")))
	for i := range list.Items {
		if k := &list.Items[i]; len(k.Finalizers) > 0 != (k.Name == "bad") || k.DeletionTimestamp != nil {
			t.Errorf("%s has finalizers %v, deleted %v", k.Name, k.Finalizers, k.DeletionTimestamp)
		}
	}
	lift()
	e.run("gone", func(obj *fluxv1.FluxInstance) bool { return obj == nil })
	if e.exists(&apiextensionsv1.CustomResourceDefinition{}, "kustomizations.kustomize.toolkit.fluxcd.io") {
		t.Error("the definition is still there")
	}
	claim := &corev1.PersistentVolumeClaim{}
	if !e.exists(claim, "source-controller") || claim.DeletionTimestamp != nil {
		t.Error("the volume is gone")
	}
	if !strings.HasPrefix(claim.Labels["fluxcd.controlplane.io/name"], "flux") {
		t.Errorf("another instance could not adopt it: %v", claim.Labels)
	}
	e.patch(claim, `{"metadata":{"finalizers":null}}`)
	must(t, client.IgnoreNotFound(e.c.Delete(e.ctx, claim)))
}
