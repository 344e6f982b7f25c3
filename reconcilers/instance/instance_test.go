package instance_test

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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const spec = `
distribution: {version: 2.x, registry: ghcr.io/fluxcd}
sync: {kind: GitRepository, url: https://example.com/fleet.git, ref: refs/heads/main, path: ./}
`

// TestLife takes one instance through its life, for the cluster has place for one.
func TestLife(t *testing.T) { //nolint:tparallel // the phases are of one life
	e := start(t)
	e.carried = embedded.whole
	e.restart()
	e.play()
	e.create(spec)
	for _, phase := range []struct {
		name string
		run  func(*env)
	}{
		{"Install", install},
		{"Steady", steady},
		{"Drift", drift},
		{"Unhealthy", unhealthy},
		{"BuildFails", buildFails},
		{"RemoveComponent", removeComponent},
		{"RemoveSync", removeSync},
		{"Unify", unify},
		{"Uninstall", uninstall},
	} {
		if !t.Run(phase.name, func(t *testing.T) {
			e.t = t
			phase.run(e)
		}) {
			return
		}
	}
}

// install: the first run applies, says what it waits for and returns; what was applied wakes it.
func install(e *env) {
	waiting := e.run("waiting", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Reconciling") })
	message := engine.Condition(waiting, "Reconciling").Message
	if !strings.HasPrefix(message, "Waiting for ") || !strings.Contains(message, "GitRepository/flux-system/flux-system") {
		e.t.Errorf("the message does not tell what is awaited: %q", message)
	}
	if c := engine.Condition(waiting, "Ready"); c == nil || c.Status != metav1.ConditionUnknown || c.Reason != "Progressing" {
		e.t.Errorf("Ready while waiting is %+v", c)
	}
	if waiting.Status.LastAppliedRevision != "" || waiting.Status.Inventory == nil {
		e.t.Errorf("an instance that waits has applied %q, inventory %v", waiting.Status.LastAppliedRevision, waiting.Status.Inventory)
	}
	e.serve(&sourcev1.GitRepository{}, namespace)
	e.serve(&kustomizev1.Kustomization{}, namespace)
	obj := e.ready()

	ready := engine.Condition(obj, "Ready")
	if ready.Reason != "ReconciliationSucceeded" || !strings.HasPrefix(ready.Message, "Reconciliation finished in ") {
		e.t.Errorf("Ready is %+v", ready)
	}
	revision := obj.Status.LastAppliedRevision
	if !strings.HasPrefix(revision, "v2.9.5@sha256:") || revision != obj.Status.LastAttemptedRevision {
		e.t.Errorf("applied %q, attempted %q", revision, obj.Status.LastAttemptedRevision)
	}
	wantEvents := []string{"Progressing Installing revision " + revision, "ReconciliationSucceeded Flux v2.9.5 installed"}
	told := e.told("")
	for i := range told {
		told[i], _, _ = strings.Cut(told[i], "\n")
	}
	if diff := cmp.Diff(wantEvents, told); diff != "" {
		e.t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(obj.Status.History) != 1 || obj.Status.History[0].Metadata["flux"] != "v2.9.5" ||
		obj.Status.History[0].LastReconciledStatus != "ReconciliationSucceeded" || !strings.HasSuffix(revision, obj.Status.History[0].Digest) {
		e.t.Errorf("history is %+v", obj.Status.History)
	}
	want := []string{"source-controller", "kustomize-controller", "helm-controller", "notification-controller"}
	var names []string
	for _, c := range obj.Status.Components {
		names = append(names, c.Name)
		if c.Repository != "registry.example.com/weir" || c.Tag != "v0.1.0" {
			e.t.Errorf("component %+v", c)
		}
	}
	if diff := cmp.Diff(want, names); diff != "" {
		e.t.Errorf("components (-want +got):\n%s", diff)
	}
	for _, id := range []string{
		"_flux-system__Namespace", "_gitrepositories.source.toolkit.fluxcd.io_apiextensions.k8s.io_CustomResourceDefinition",
		"flux-system_helm-controller_apps_Deployment", "_crd-controller-flux-system_rbac.authorization.k8s.io_ClusterRole",
	} {
		if !has(obj, id) {
			e.t.Errorf("the inventory lacks %q", id)
		}
	}
	labels := e.deployment("source-controller").Labels
	if labels["fluxcd.controlplane.io/name"] != "flux" || labels["fluxcd.controlplane.io/namespace"] != namespace {
		e.t.Errorf("owner labels are missing: %v", labels)
	}
}

// steady: a run that finds all as it should be tells nothing, but counts.
func steady(e *env) {
	e.change(func(obj *fluxv1.FluxInstance) {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, meta.ReconcileRequestAnnotation, "one")
	})
	obj := e.run("handled", func(obj *fluxv1.FluxInstance) bool { return obj.Status.LastHandledReconcileAt == "one" })
	if !isTrue(obj, "Ready") || len(obj.Status.History) != 1 || obj.Status.History[0].TotalReconciliations != 2 {
		e.t.Errorf("after a request: %+v", obj.Status)
	}
	if told := e.told(""); told != nil {
		e.t.Errorf("nothing happened, and told was %q", told)
	}
}

// drift: what somebody deletes or edits wakes the instance and is put back, in no time to speak of and not at the interval.
func drift(e *env) {
	for name, tc := range map[string]struct {
		spoil    func()
		repaired func() bool
	}{
		"Deployment deleted": {
			func() { must(e.t, e.c.Delete(e.ctx, e.deployment("helm-controller"))) },
			func() bool { return e.exists(&appsv1.Deployment{}, "helm-controller") },
		},
		"Service edited": {
			func() {
				e.patch(&corev1.Service{ObjectMeta: named("source-controller")}, `{"spec":{"selector":{"app":"impostor"}}}`)
			},
			func() bool {
				s := &corev1.Service{}
				return e.exists(s, "source-controller") && s.Spec.Selector["app"] == "source-controller"
			},
		},
		"ClusterRole emptied": {
			func() {
				e.patch(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "crd-controller-flux-system"}}, `{"rules":[]}`)
			},
			func() bool {
				role := &rbacv1.ClusterRole{}
				return e.exists(role, "crd-controller-flux-system") && len(role.Rules) > 0
			},
		},
		"Definition unlabelled": {
			func() {
				e.patch(&apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "buckets.source.toolkit.fluxcd.io"}},
					`{"metadata":{"labels":{"app.kubernetes.io/part-of":null}}}`)
			},
			func() bool {
				definition := &apiextensionsv1.CustomResourceDefinition{}
				return e.exists(definition, "buckets.source.toolkit.fluxcd.io") && definition.Labels["app.kubernetes.io/part-of"] == "flux"
			},
		},
	} {
		e.calm()
		tc.spoil()
		e.awaken(name)
		e.run("repaired: "+name, func(obj *fluxv1.FluxInstance) bool { return tc.repaired() && isTrue(obj, "Ready") })
		if told := e.told("ReconciliationSucceeded Flux v2.9.5 updated\n"); len(told) != 1 {
			e.t.Errorf("%s: told was %q", name, told)
		}
	}
}

// unhealthy: past the timeout the instance fails with the names of what is not ready, and recovers when that does.
func unhealthy(e *env) {
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Sync.Path = "./broken" })
	e.run("waiting", waits)
	e.clock.advance(6 * time.Minute)
	obj := e.run("failed", func(obj *fluxv1.FluxInstance) bool {
		return engine.Condition(obj, "Ready").Status == metav1.ConditionFalse
	})
	c := engine.Condition(obj, "Ready")
	if c.Reason != "ReconciliationFailed" || !strings.HasPrefix(c.Message, "reconciliation failed: health check timed out after 5m0s: ") ||
		!strings.Contains(c.Message, "Kustomization/flux-system/flux-system status: 'InProgress'") {
		e.t.Errorf("Ready is %+v", c)
	}
	if r := engine.Condition(obj, "Reconciling"); r == nil || r.Reason != "ProgressingWithRetry" || r.Message != c.Message {
		e.t.Errorf("Reconciling is %+v", r)
	}
	if obj.Status.History[0].LastReconciledStatus != "ReconciliationFailed" || obj.Status.LastAppliedRevision == obj.Status.LastAttemptedRevision {
		e.t.Errorf("status of a failure is %+v", obj.Status)
	}
	count := obj.Status.History[0].TotalReconciliations
	e.once()
	if obj := e.instance(); obj.Status.History[0].TotalReconciliations != count {
		e.t.Error("the same failure is counted again with each look")
	}
	if told := e.told("ReconciliationFailed "); len(told) != 1 {
		e.t.Errorf("the failure was told %d times", len(told))
	}
	e.calm()
	e.serve(&kustomizev1.Kustomization{}, namespace)
	e.awaken("the Kustomization is ready again")
	e.ready()
	e.told("")
}

// waits tells whether the instance waits for what it has applied.
func waits(obj *fluxv1.FluxInstance) bool {
	c := engine.Condition(obj, "Reconciling")
	return c != nil && strings.HasPrefix(c.Message, "Waiting for ")
}

// buildFails: a spec that cannot be built stalls, changes nothing, and heals with the spec.
func buildFails(e *env) {
	good := e.instance()
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Distribution.Version = "1.x" })
	obj := e.run("stalled", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	c := engine.Condition(obj, "Ready")
	if c.Status != metav1.ConditionFalse || c.Reason != "BuildFailed" || c.Message != "build failed: no match found for semver: 1.x: this operator carries 2.9.5" {
		e.t.Errorf("Ready is %+v", c)
	}
	if h := obj.Status.History[0]; h.LastReconciledStatus != "BuildFailed" || h.Metadata != nil || !strings.HasPrefix(h.Digest, "sha256:") {
		e.t.Errorf("history of a failed build is %+v", h)
	}
	if obj.Status.LastAppliedRevision != good.Status.LastAppliedRevision || len(obj.Status.Inventory.Entries) != len(good.Status.Inventory.Entries) {
		e.t.Error("a failed build changes what is applied")
	}
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Distribution.Version = "2.x" })
	e.ready()
}

// removeComponent: its Deployment goes, its definition and what users deployed with it stay.
func removeComponent(e *env) {
	release := &unstructured.Unstructured{}
	release.SetGroupVersionKind(schema.GroupVersionKind{Group: "helm.toolkit.fluxcd.io", Version: "v2", Kind: "HelmRelease"})
	release.SetNamespace("default")
	release.SetName("theirs")
	release.Object["spec"] = map[string]any{
		"interval": "1m", "chartRef": map[string]any{"kind": "OCIRepository", "name": "chart"},
	}
	must(e.t, e.c.Create(e.ctx, release))
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Components = []string{"source-controller", "kustomize-controller"}
	})
	obj := e.ready()
	if e.exists(&appsv1.Deployment{}, "helm-controller") || e.exists(&corev1.ServiceAccount{}, "helm-controller") {
		e.t.Error("the component is still there")
	}
	if has(obj, "flux-system_helm-controller_apps_Deployment") {
		e.t.Error("the component is still in the inventory")
	}
	const definition = "helmreleases.helm.toolkit.fluxcd.io"
	if !e.exists(&apiextensionsv1.CustomResourceDefinition{}, definition) ||
		!has(obj, "_"+definition+"_apiextensions.k8s.io_CustomResourceDefinition") {
		e.t.Error("the definition of a removed component is gone, or forgotten")
	}
	must(e.t, e.c.Get(e.ctx, types.NamespacedName{Namespace: "default", Name: "theirs"}, release))
}

// removeSync: the source and the Kustomization go, and the controller that finalizes the Kustomization is told to leave what that has
// deployed.
func removeSync(e *env) {
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Sync = nil })
	obj := e.ready()
	if has(obj, "flux-system_flux-system_kustomize.toolkit.fluxcd.io_Kustomization") {
		e.t.Error("the Kustomization is still in the inventory")
	}
	kustomization := &kustomizev1.Kustomization{}
	if !e.exists(kustomization, namespace) || kustomization.DeletionTimestamp == nil || kustomization.Spec.DeletionPolicy != "Orphan" {
		e.t.Errorf("the Kustomization is not deleted under the policy Orphan: %+v", kustomization)
	}
	source := &sourcev1.GitRepository{}
	if !e.exists(source, namespace) || source.DeletionTimestamp == nil {
		e.t.Errorf("the source is not deleted: %+v", source)
	}
	for _, held := range []client.Object{kustomization, source} { // their controllers let go
		e.patch(held, `{"metadata":{"finalizers":null}}`)
	}
}

// unify: the one Deployment comes when those that it replaces are gone with their pods.
func unify(e *env) {
	old := e.deployment("source-controller")
	e.patch(old, `{"metadata":{"finalizers":["example.com/pods"]}}`)
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Topology = "Unified" })
	e.run("waiting for the old Deployments", func(*fluxv1.FluxInstance) bool {
		if e.exists(&appsv1.Deployment{}, "weir") {
			e.t.Fatal("the new Deployment is there before the old ones are gone")
		}
		return e.deployment("source-controller").DeletionTimestamp != nil
	})
	e.patch(old, `{"metadata":{"finalizers":null}}`)
	e.ready()
	deployments := &appsv1.DeploymentList{}
	must(e.t, e.c.List(e.ctx, deployments, client.InNamespace(namespace)))
	var names []string
	for _, d := range deployments.Items {
		names = append(names, d.Name)
	}
	if diff := cmp.Diff([]string{"weir"}, names); diff != "" {
		e.t.Errorf("Deployments (-want +got):\n%s", diff)
	}
	service := &corev1.Service{}
	if !e.exists(service, "source-controller") || service.Spec.Selector["app"] != "weir" {
		e.t.Errorf("the Service selects %v", service.Spec.Selector)
	}
}

// leave uninstalls the instance, for the next test, and takes out the volumes that stay.
func (e *env) leave() {
	e.t.Helper()
	must(e.t, e.c.Delete(e.ctx, e.instance()))
	e.run("gone", func(obj *fluxv1.FluxInstance) bool { return obj == nil })
	claims := &corev1.PersistentVolumeClaimList{}
	must(e.t, e.c.List(e.ctx, claims, client.InNamespace(namespace)))
	for i := range claims.Items {
		e.patch(&claims.Items[i], `{"metadata":{"finalizers":null}}`)
		must(e.t, client.IgnoreNotFound(e.c.Delete(e.ctx, &claims.Items[i])))
	}
}

func (e *env) patch(obj client.Object, merge string) {
	e.t.Helper()
	must(e.t, e.c.Patch(e.ctx, obj, client.RawPatch(types.MergePatchType, []byte(merge))))
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
