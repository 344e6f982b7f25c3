package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// own handles the events of the kind that a controller reconciles: a new object, a changed spec, a request and a deletion
// make it run, and nothing else does. With anyAnnotation, a change of any annotation counts too.
func own[O engine.Object](anyAnnotation bool) handler.TypedFuncs[O, reconcile.Request] {
	return handler.TypedFuncs[O, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[O], q queue) {
			p := urgency(e.Object)
			if e.IsInInitialList && p == engine.Changed && settled(e.Object) {
				p = engine.Startup
			}

			enqueue(q, client.ObjectKeyFromObject(e.Object), p)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[O], q queue) {
			if concerns(e.ObjectOld, e.ObjectNew, anyAnnotation) {
				enqueue(q, client.ObjectKeyFromObject(e.ObjectNew), urgency(e.ObjectNew))
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[O], q queue) {
			enqueue(q, client.ObjectKeyFromObject(e.Object), engine.Changed) // so that what is kept for it is dropped
		},
	}
}

// urgency returns Asked if the object carries a request that was not answered, and Changed otherwise.
func urgency(obj engine.Object) engine.Priority {
	at, asked := obj.GetAnnotations()[meta.ReconcileRequestAnnotation]
	if field := obj.StatusFields().LastHandledReconcileAt; asked && field != nil && *field != at {
		return engine.Asked
	}

	return engine.Changed
}

// settled tells whether the last run of the object came to a good end and its spec is the one of that run.
func settled(obj engine.Object) bool {
	if !obj.GetDeletionTimestamp().IsZero() || !engine.IsTrue(obj, meta.ReadyCondition) {
		return false
	}

	return engine.Condition(obj, meta.ReadyCondition).ObservedGeneration == obj.GetGeneration()
}

// concerns tells whether an update is one that the reconciler has to act on.
func concerns(before, after client.Object, anyAnnotation bool) bool {
	if before.GetGeneration() != after.GetGeneration() ||
		before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() {
		return true
	}

	if !anyAnnotation {
		was, is := before.GetAnnotations(), after.GetAnnotations()
		at, asked := is[meta.ReconcileRequestAnnotation]
		plan, approved := is[kustomizev1.ApprovedPlanAnnotation]

		return asked && was[meta.ReconcileRequestAnnotation] != at ||
			approved && was[kustomizev1.ApprovedPlanAnnotation] != plan
	}

	return !sameAnnotations(before.GetAnnotations(), after.GetAnnotations())
}

func sameAnnotations(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}

	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}

	return true
}

// related handles the events of another kind: an update that matters makes the objects that keys names run.
func related[T client.Object](
	matters func(before, after T) bool, keys func(ctx context.Context, obj T) []types.NamespacedName,
) handler.TypedFuncs[T, reconcile.Request] {
	wake := func(ctx context.Context, obj T, q queue) {
		for _, key := range keys(ctx, obj) {
			enqueue(q, key, engine.Changed)
		}
	}

	return handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[T], q queue) {
			if !e.IsInInitialList {
				wake(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[T], q queue) {
			if matters(e.ObjectOld, e.ObjectNew) {
				wake(ctx, e.ObjectNew, q)
			}
		},
	}
}
