package engine_test

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

type (
	object = *kustomizev1.Kustomization
	kind   = engine.Kind[object, scope]
	step   = engine.Step[object, scope]
	steps  = engine.Steps[object, scope]
)

// scope notes what ran.
type scope struct{ ran []string }

// act returns a step that ends with the error.
func act(err error) step { return step{Name: "act", Reason: "ActFailed", Run: returns(err)} }

func returns(err error) func(context.Context, object, *scope) error {
	return func(context.Context, object, *scope) error { return err }
}

// newKind returns a kind with the steps, a finalizer, and an interval of ten minutes.
func newKind(s ...step) kind {
	return kind{
		Name: "Kustomization", Controller: "kustomize-controller", FieldOwner: "gotk-kustomize-controller",
		New:       func() object { return &kustomizev1.Kustomization{} },
		Finalizer: meta.Finalizer,
		Interval:  func(object) time.Duration { return 10 * time.Minute },
		Ready:     engine.FromVerdict(func(object, *scope) (string, string) { return "Applied", "applied revision" }),
		Steps:     s,
	}
}

// newObject returns an object of generation 2 that holds its finalizer, changed by the functions.
func newObject(change ...func(object)) object {
	obj := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{
		Namespace: "apps", Name: "podinfo", Generation: 2, UID: "u-1", Finalizers: []string{meta.Finalizer},
	}}
	obj.Status.ObservedGeneration = -1

	for _, f := range change {
		f(obj)
	}

	return obj
}

// deleted marks the object as being deleted.
func deleted(obj object) {
	obj.DeletionTimestamp = &metav1.Time{Time: enginetest.Start().Add(-time.Minute)}
}

// asked makes the object carry a request for a reconcile.
func asked(obj object) {
	obj.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
}

func suspended(obj object) { obj.Spec.Suspend = true }

// having gives the object a condition since an hour before the start of the clock.
func having(typ string, status metav1.ConditionStatus, reason, message string) func(object) {
	return func(obj object) {
		obj.Status.Conditions = append(obj.Status.Conditions, metav1.Condition{
			Type: typ, Status: status, Reason: reason, Message: message, ObservedGeneration: 2, LastTransitionTime: earlier(),
		})
	}
}

func earlier() metav1.Time { return metav1.NewTime(enginetest.Start().Add(-time.Hour)) }

func started() metav1.Time { return metav1.NewTime(enginetest.Start()) }

// at returns a condition as a run at the start of the clock leaves it.
func at(typ string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: typ, Status: status, Reason: reason, Message: message, ObservedGeneration: 2, LastTransitionTime: started(),
	}
}

// minRetry is the least delay of an engine without options.
const minRetry = 750 * time.Millisecond

// ready returns the Ready condition in a line, or nothing.
func ready(obj engine.Object) string {
	c := engine.Condition(obj, meta.ReadyCondition)
	if c == nil {
		return ""
	}

	return string(c.Status) + " " + c.Reason + ": " + c.Message
}

func apiGroupResource() schema.GroupResource {
	return schema.GroupResource{Group: kustomizev1.Group, Resource: "kustomizations"}
}
