package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

func without(obj object) { obj.Finalizers = nil }

func withOther(obj object) { obj.Finalizers = append(obj.Finalizers, "example.com/other") }

func TestFinalizerIsAddedAndTheRunGoesOn(t *testing.T) {
	got := enginetest.Run(t, newKind(act(nil)), newObject(without, withOther))

	if diff := cmp.Diff([]string{"example.com/other", meta.Finalizer}, got.Object.Finalizers); diff != "" {
		t.Errorf("finalizers: -want, +got:\n%s", diff)
	}

	if !engine.IsTrue(got.Object, meta.ReadyCondition) {
		t.Errorf("want Ready in the same pass, got %v", got.Object.Status.Conditions)
	}

	subresources := make([]string, 0, len(got.Patches))
	for _, p := range got.Patches {
		subresources = append(subresources, p.Subresource)

		if p.Owner != "gotk-kustomize-controller" {
			t.Errorf("field owner is %q", p.Owner)
		}
	}

	if diff := cmp.Diff([]string{"", "status"}, subresources); diff != "" {
		t.Errorf("patches: -want, +got:\n%s", diff)
	}
}

// TestFinalizerConflict lets somebody else add a finalizer between our read and our write: theirs is not lost.
func TestFinalizerConflict(t *testing.T) {
	ran := false
	s := step{Name: "act", Run: func(context.Context, object, *scope) error {
		ran = true

		return nil
	}}
	bench := enginetest.New(t, newKind(s), enginetest.Options{Funcs: interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, o ...client.GetOption) error {
			if err := c.Get(ctx, key, obj, o...); err != nil {
				return err
			}

			theirs := obj.DeepCopyObject().(object)
			withOther(theirs)

			return c.Update(ctx, theirs)
		},
	}}, newObject(without))

	got := bench.Run(t, newObject())
	if ran || got.Err != nil {
		t.Errorf("want no step before the claim and no error: ran %v, %v", ran, got.Err)
	}

	if diff := cmp.Diff([]string{"example.com/other"}, got.Object.Finalizers); diff != "" {
		t.Errorf("finalizers: -want, +got:\n%s", diff)
	}

	if diff := cmp.Diff(again(minRetry, engine.Changed), got.Result); diff != "" {
		t.Errorf("result: -want, +got:\n%s", diff)
	}
}

func TestDeletion(t *testing.T) {
	type want struct {
		gone       bool
		finalizers []string
		ran        []string
		ready      string
		queued     bool
		events     []string
	}

	cases := map[string]struct {
		reason string
		err    error
		have   []func(object)
		want   want
	}{
		"Deleted": {
			reason: "the object goes when the delete steps are through",
			want:   want{gone: true, ran: []string{"prune"}, events: []string{"Pruned"}},
		},
		"Done": {
			reason: "an early success is one",
			err:    engine.Done(),
			want:   want{gone: true, ran: []string{"prune"}, events: []string{"Pruned"}},
		},
		"Suspended": {
			reason: "a suspended object is deleted all the same",
			have:   []func(object){suspended},
			want:   want{gone: true, ran: []string{"prune"}, events: []string{"Pruned"}},
		},
		"Failed": {
			reason: "the finalizer stays until the delete steps succeed",
			err:    errors.New("forbidden"),
			want: want{
				finalizers: []string{meta.Finalizer}, ran: []string{"prune"}, ready: "False PruneFailed: forbidden",
				queued: true, events: []string{"Pruned", "PruneFailed"},
			},
		},
		"Waiting": {
			reason: "so does it while something is still there",
			err:    engine.Await(1, "Waiting for termination"),
			want: want{
				finalizers: []string{meta.Finalizer}, ran: []string{"prune"},
				ready: "Unknown Progressing: Reconciliation in progress", queued: true, events: []string{"Pruned"},
			},
		},
		"HeldByOthersToo": {
			reason: "the finalizers of others are theirs",
			have:   []func(object){withOther},
			want:   want{finalizers: []string{"example.com/other"}, ran: []string{"prune"}, events: []string{"Pruned"}},
		},
		"HeldByOthers": {
			reason: "an object that goes and is not ours is left alone",
			have:   []func(object){without, withOther},
			want:   want{finalizers: []string{"example.com/other"}},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var have want

			k := newKind(act(errors.New("steps must not run")))
			k.Events = func(object, object, *scope) []engine.Event { return []engine.Event{{Reason: "NotOnDeletion"}} }
			k.Delete = steps{{Name: "prune", Reason: "PruneFailed", Run: func(ctx context.Context, _ object, _ *scope) error {
				have.ran = append(have.ran, "prune")
				engine.Emit(ctx, engine.Event{Reason: "Pruned"})

				return tc.err
			}}}

			got := enginetest.Run(t, k, newObject(slices.Concat([]func(object){deleted}, tc.have)...))
			if got.Err != nil {
				t.Fatalf("\n%s\nReconcile(): %v", tc.reason, got.Err)
			}

			have.gone, have.finalizers, have.ready = got.Gone, got.Object.Finalizers, ready(got.Object)
			have.queued = got.Result != reconcile.Result{}
			for _, e := range got.Events {
				have.events = append(have.events, e.Reason)
			}

			if diff := cmp.Diff(tc.want, have, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nReconcile(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestObjectIsGone(t *testing.T) {
	k := newKind(act(errors.New("steps must not run")))

	got := enginetest.New(t, k, enginetest.Options{}).Run(t, newObject())
	if got.Err != nil || got.Result != (reconcile.Result{}) || len(got.Events) != 0 {
		t.Errorf("Reconcile(): want nothing, got %v, %v, %v", got.Result, got.Err, got.Events)
	}
}

// TestGoesWhileRunning deletes the object for good under the steps: the status has no place any more, and that is no error.
func TestGoesWhileRunning(t *testing.T) {
	var bench *enginetest.Bench[object, scope]

	k := newKind(step{Name: "vanish", Run: func(ctx context.Context, obj object, _ *scope) error {
		return bench.Client.Delete(ctx, obj)
	}})
	k.Finalizer = ""
	bench = enginetest.New(t, k, enginetest.Options{}, newObject(without))

	got := bench.Run(t, newObject())
	if !got.Gone || got.Err != nil || got.Result != (reconcile.Result{}) {
		t.Errorf("Reconcile(): want nothing, got gone %v, %v, %v", got.Gone, got.Result, got.Err)
	}
}
