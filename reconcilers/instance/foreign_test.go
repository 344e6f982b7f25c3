package instance_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// TestForeignInventory deletes an instance of a tenant whose status names objects of the operator's cluster, where instances of tenants
// never have any: whoever has written that has the rights of the operator otherwise.
func TestForeignInventory(t *testing.T) {
	e := start(t)
	const tenant = "tenant"
	if err := e.c.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}}); !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}
	victim := &corev1.ConfigMap{ObjectMeta: named("victim")}
	victim.Labels = map[string]string{fluxv1.OwnerNameLabel: "flux", fluxv1.OwnerNamespaceLabel: tenant}
	must(t, e.c.Create(e.ctx, victim))

	obj := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "flux", Finalizers: []string{fluxv1.Finalizer}}}
	obj.Spec.Distribution = fluxv1.Distribution{Version: "2.x", Registry: "registry.example.com"}
	obj.Spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "none"}}
	must(t, e.c.Create(e.ctx, obj))
	obj.Status.Inventory = &meta.ResourceInventory{Entries: []meta.ResourceRef{{ID: namespace + "_victim__ConfigMap", Version: "v1"}}}
	must(t, e.c.Status().Update(e.ctx, obj))
	must(t, e.c.Delete(e.ctx, obj))

	key := types.NamespacedName{Namespace: tenant, Name: "flux"}
	for range 3 {
		if _, err := e.runner.Reconcile(e.ctx, reconcile.Request{NamespacedName: key}); err != nil {
			t.Fatal(err)
		}
	}
	if !e.exists(&corev1.ConfigMap{}, "victim") {
		t.Error("the operator has deleted what a tenant has named")
	}
	if err := e.c.Get(e.ctx, key, obj); err == nil {
		t.Errorf("the instance does not go: %+v", obj.Status.Conditions)
	}
	must(t, e.c.Delete(e.ctx, victim))
}
