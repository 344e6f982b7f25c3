package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// relatives finds Kustomizations in the cache without copying them, by its indexes. One that was just written may be old: its
// event is on its way.
type relatives struct{ *Process }

// OfSource implements kustomize.Relatives.
func (r relatives) OfSource(ctx context.Context, kind string, key types.NamespacedName) ([]*kustomizev1.Kustomization, error) {
	return r.under(ctx, bySource, ref(kind, key))
}

// DependingOn implements kustomize.Relatives.
func (r relatives) DependingOn(ctx context.Context, key types.NamespacedName) ([]*kustomizev1.Kustomization, error) {
	return r.under(ctx, byDependency, ref(kustomizev1.KustomizationKind, key))
}

// Kustomization implements kustomize.Relatives.
func (r relatives) Kustomization(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	obj := &kustomizev1.Kustomization{}

	return obj, r.GetClient().Get(ctx, key, obj, client.UnsafeDisableDeepCopy, client.DisableReadYourWritesConsistency) //nolint:wrapcheck // the steps say what it means
}

// under returns those that an index has under a value.
func (r relatives) under(ctx context.Context, field, value string) ([]*kustomizev1.Kustomization, error) {
	var list kustomizev1.KustomizationList

	err := r.GetClient().List(ctx, &list, client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy, client.DisableReadYourWritesConsistency)
	if err != nil {
		return nil, fmt.Errorf("look up by %s: %w", field, err)
	}

	found := make([]*kustomizev1.Kustomization, len(list.Items))
	for i := range list.Items {
		found[i] = &list.Items[i]
	}

	return found, nil
}

// newFamily returns the family of all Kustomizations, which wakes them like any change does.
func (p *Process) newFamily(w *waker) *kustomize.Family {
	return kustomize.NewFamily(relatives{p}, func(key types.NamespacedName) { w.Wake(key, engine.Changed) })
}

// watchFamily lets the family know of all that becomes of Kustomizations.
func (p *Process) watchFamily(f *kustomize.Family) watch {
	return source.Kind(p.GetCache(), &kustomizev1.Kustomization{}, handler.TypedFuncs[*kustomizev1.Kustomization, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*kustomizev1.Kustomization], _ queue) {
			f.Changed(ctx, client.ObjectKeyFromObject(e.Object))
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*kustomizev1.Kustomization], _ queue) {
			f.Changed(ctx, client.ObjectKeyFromObject(e.ObjectNew))
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*kustomizev1.Kustomization], _ queue) {
			f.Changed(ctx, client.ObjectKeyFromObject(e.Object))
		},
	})
}
