package instance_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// uninstall: the Deployments go with their pods, then the finalizers, then all the rest; the namespace and what users deployed stay.
func uninstall(e *env) {
	workload := &corev1.ConfigMap{ObjectMeta: named("workload")}
	workload.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "default"}
	must(e.t, e.c.Create(e.ctx, workload))
	apps := &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "apps", Finalizers: []string{"finalizers.fluxcd.io"}},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: time.Minute}, Prune: true,
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "apps"},
		},
	}
	must(e.t, e.c.Create(e.ctx, apps))

	watch, err := e.c.Watch(e.ctx, &kustomizev1.KustomizationList{}, client.InNamespace("default"))
	must(e.t, err)
	defer watch.Stop()
	must(e.t, e.c.Delete(e.ctx, e.instance()))
	e.once()
	if e.exists(&appsv1.Deployment{}, "weir") {
		live := &kustomizev1.Kustomization{}
		must(e.t, e.c.Get(e.ctx, client.ObjectKeyFromObject(apps), live))
		if len(live.Finalizers) == 0 || live.DeletionTimestamp != nil {
			e.t.Error("the objects are touched while their controllers run")
		}
	}
	e.run("gone", func(obj *fluxv1.FluxInstance) bool { return obj == nil })

	for event := range watch.ResultChan() {
		last, ok := event.Object.(*kustomizev1.Kustomization)
		if ok && last.DeletionTimestamp != nil && !last.Spec.Suspend {
			e.t.Error("a controller that still runs would prune")
		}
		if event.Type == apiwatch.Deleted {
			break
		}
	}
	definitions := &apiextensionsv1.CustomResourceDefinitionList{}
	must(e.t, e.c.List(e.ctx, definitions))
	for _, d := range definitions.Items {
		if strings.HasSuffix(d.Name, ".fluxcd.io") {
			e.t.Errorf("the definition %q is still there", d.Name)
		}
	}
	pods := &corev1.PodList{}
	must(e.t, e.c.List(e.ctx, pods, client.InNamespace(namespace)))
	if len(pods.Items) > 0 {
		e.t.Errorf("%d pods are still there", len(pods.Items))
	}
	for _, gone := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: named("source-controller")}, &corev1.Service{ObjectMeta: named("source-controller")},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "crd-controller-flux-system"}},
	} {
		if e.exists(gone, gone.GetName()) {
			e.t.Errorf("%T %q is still there", gone, gone.GetName())
		}
	}
	ns := &corev1.Namespace{}
	if !e.exists(ns, namespace) || ns.DeletionTimestamp != nil {
		e.t.Error("the namespace is gone")
	}
	if !e.exists(workload, "workload") {
		e.t.Fatal("what a user deployed is gone")
	}
	must(e.t, e.c.Delete(e.ctx, workload))
}

// TestAdopt takes over an installation by kubectl: what that set and the distribution does not goes, and so do its marks. What others
// set stays.
func TestAdopt(t *testing.T) {
	e := start(t)
	found := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "source-controller",
			Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"},
			Labels:      map[string]string{"kustomize.toolkit.fluxcd.io/name": "flux-system", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"},
		},
		Spec: appsv1.DeploymentSpec{
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "source-controller"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "source-controller"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "manager", Image: "ghcr.io/fluxcd/source-controller:v1.0.0", Env: []corev1.EnvVar{{Name: "STALE", Value: "1"}},
				}}},
			},
		},
	}
	must(t, e.c.Create(e.ctx, found, client.FieldOwner("kubectl-client-side-apply")))
	must(t, e.c.Patch(e.ctx, found, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"example.com/theirs":"kept"}}}`)),
		client.FieldOwner("somebody-else")))
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller]\nwait: false\n")
	e.ready()

	adopted := e.deployment("source-controller")
	container := adopted.Spec.Template.Spec.Containers[0]
	if slices.ContainsFunc(container.Env, func(v corev1.EnvVar) bool { return v.Name == "STALE" }) ||
		container.Image != "registry.example.com/weir:v0.1.0@sha256:"+strings.Repeat("0", 64) {
		t.Errorf("container is %+v", container)
	}
	if adopted.UID != found.UID {
		t.Error("the Deployment was made anew")
	}
	for _, key := range []string{"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"} {
		if _, ok := adopted.Labels[key]; ok {
			t.Errorf("the label %q is still there", key)
		}
	}
	if _, ok := adopted.Annotations["kubectl.kubernetes.io/last-applied-configuration"]; ok || adopted.Annotations["example.com/theirs"] != "kept" {
		t.Errorf("annotations are %v", adopted.Annotations)
	}
	e.leave()
}

// TestDisabled shows that a suspended instance is left alone, and its deletion leaves what runs.
func TestDisabled(t *testing.T) {
	e := start(t)
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller]\nwait: false\n",
		"fluxcd.controlplane.io/reconcile", "Disabled")
	e.once()
	obj := e.instance()
	c := engine.Condition(obj, "Ready")
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != "ReconciliationDisabled" || c.Message != "Initialized with reconciliation suspended" {
		t.Errorf("Ready is %+v", c)
	}
	if obj.Status.Inventory != nil || e.exists(&appsv1.Deployment{}, "source-controller") {
		t.Error("a suspended instance deploys")
	}
	e.change(func(obj *fluxv1.FluxInstance) { delete(obj.Annotations, "fluxcd.controlplane.io/reconcile") })
	e.ready()
	e.change(func(obj *fluxv1.FluxInstance) {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, "fluxcd.controlplane.io/reconcile", "disabled")
	})
	must(t, e.c.Delete(e.ctx, e.instance()))
	e.run("gone", func(obj *fluxv1.FluxInstance) bool { return obj == nil })
	if !e.exists(&appsv1.Deployment{}, "source-controller") {
		t.Error("the deletion of a suspended instance stops what runs")
	}
	// Another one adopts what was left, and takes it out.
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller]\nwait: false\n")
	e.ready()
	e.leave()
}
