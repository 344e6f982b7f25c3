package hub

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

// sweep takes away what a test has left that failed, without the operator, which may be why: the instances, so that nobody else meets
// them, and in all clusters what instances have deployed.
func (e *env) sweep(t *testing.T) {
	t.Helper()
	e.stop()

	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()

	empty(ctx, t, e.home.client, &fluxv1.FluxInstanceList{})

	for _, s := range []*site{e.home, e.east, e.west} {
		s.clear(ctx, t)
	}
}

// clear deletes what instances have deployed until nothing of it is left: the operator may be in the middle of a run, and make some anew.
func (s *site) clear(ctx context.Context, t *testing.T) {
	t.Helper()

	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()

	for {
		left := 0

		for _, kind := range []client.ObjectList{
			&kustomizev1.KustomizationList{}, &sourcev1.GitRepositoryList{},
			&appsv1.DeploymentList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{}, &corev1.ResourceQuotaList{},
			&networkingv1.NetworkPolicyList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.ClusterRoleList{},
			&apiextensionsv1.CustomResourceDefinitionList{},
		} {
			left += empty(ctx, t, s.client, kind, client.HasLabels{fluxv1.OwnerNameLabel})
		}

		if left == 0 {
			return
		}

		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Logf("%d objects are left", left)

			return
		}
	}
}

// empty deletes the objects of a list, whoever holds them, and returns how many there were.
func empty(ctx context.Context, t *testing.T, c client.Client, list client.ObjectList, selected ...client.ListOption) int {
	t.Helper()

	if err := c.List(ctx, list, selected...); err != nil {
		if !apimeta.IsNoMatchError(err) && !apierrors.IsNotFound(err) { // else their definition is gone
			t.Log(err) // the test has failed already
		}

		return 0
	}

	_ = apimeta.EachListItem(list, func(o runtime.Object) error {
		obj, ok := o.(client.Object)
		if !ok {
			return nil
		}

		if err := client.IgnoreNotFound(c.Delete(ctx, obj)); err != nil {
			t.Log(err)
		}

		if _, definition := obj.(*apiextensionsv1.CustomResourceDefinition); !definition && len(obj.GetFinalizers()) > 0 {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
			if err := client.IgnoreNotFound(c.Patch(ctx, obj, patch)); err != nil {
				t.Log(err)
			}
		}

		return nil
	})

	return apimeta.LenList(list)
}

// TestSweep holds that a test that fails leaves the clusters to the next one as they were.
func TestSweep(t *testing.T) {
	e := start(t)
	e.create("east", small, e.east)
	e.create("west", small+"targetNamespace: gitops\n", e.west)
	e.ready("east")
	e.ready("west")
	e.sweep(t)

	for _, s := range []*site{e.east, e.west} {
		list := &apiextensionsv1.CustomResourceDefinitionList{}
		must(t, s.client.List(t.Context(), list, client.HasLabels{fluxv1.OwnerNameLabel}))

		if len(list.Items) > 0 || s.runs("east", "source-controller") || s.runs("gitops", "source-controller") {
			t.Errorf("%d definitions, or a Deployment, are left", len(list.Items))
		}
	}

	if e.get("east") != nil || e.get("west") != nil {
		t.Error("the instances are left")
	}
}
