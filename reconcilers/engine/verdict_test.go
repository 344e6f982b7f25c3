package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

// again returns the answer to the work queue to run after d with the priority.
func again(d time.Duration, p engine.Priority) reconcile.Result {
	i := int(p)

	return reconcile.Result{RequeueAfter: d, Priority: &i}
}

func TestVerdicts(t *testing.T) {
	boom := errors.New("get \"s3://b/k\": access denied")

	type want struct {
		conditions []metav1.Condition
		observed   int64
		result     reconcile.Result
	}

	cases := map[string]struct {
		reason string
		err    error
		have   []func(object)
		want   want
	}{
		"Nil": {
			reason: "steps that return nothing mean success",
			want: want{
				conditions: []metav1.Condition{at(meta.ReadyCondition, metav1.ConditionTrue, "Applied", "applied revision")},
				observed:   2, result: again(10*time.Minute, engine.Periodic),
			},
		},
		"Done": {
			reason: "success ends what an earlier run has left",
			err:    engine.Done(),
			have: []func(object){
				having(meta.StalledCondition, metav1.ConditionTrue, "Invalid", "bad path"),
				having(meta.ReconcilingCondition, metav1.ConditionTrue, "ProgressingWithRetry", "no"),
			},
			want: want{
				conditions: []metav1.Condition{at(meta.ReadyCondition, metav1.ConditionTrue, "Applied", "applied revision")},
				observed:   2, result: again(10*time.Minute, engine.Periodic),
			},
		},
		"Wait": {
			reason: "an object that was never reconciled and waits for something is not reconciling",
			err:    engine.Wait(meta.DependencyNotReadyReason, 30*time.Second, errors.New("dependency 'a/b' is not ready")),
			have:   []func(object){having(meta.StalledCondition, metav1.ConditionTrue, "Invalid", "bad path")},
			want: want{
				conditions: []metav1.Condition{
					at(meta.ReadyCondition, metav1.ConditionFalse, "DependencyNotReady", "dependency 'a/b' is not ready"),
				},
				observed: -1, result: again(30*time.Second, engine.Retry),
			},
		},
		"WaitWhileReconciling": {
			reason: "Reconciling stays as it was",
			err:    engine.Wait(meta.DependencyNotReadyReason, 30*time.Second, errors.New("dependency 'a/b' is not ready")),
			have:   []func(object){having(meta.ReconcilingCondition, metav1.ConditionTrue, "ProgressingWithRetry", "no")},
			want: want{
				conditions: []metav1.Condition{
					{
						Type: meta.ReconcilingCondition, Status: metav1.ConditionTrue, Reason: "ProgressingWithRetry", Message: "no",
						ObservedGeneration: 2, LastTransitionTime: earlier(),
					},
					at(meta.ReadyCondition, metav1.ConditionFalse, "DependencyNotReady", "dependency 'a/b' is not ready"),
				},
				observed: -1, result: again(30*time.Second, engine.Retry),
			},
		},
		"WaitWithoutTime": {
			reason: "a wait without a time must not spin",
			err:    engine.Wait(meta.DependencyNotReadyReason, 0, errors.New("dependency 'a/b' is not ready")),
			want: want{
				conditions: []metav1.Condition{
					at(meta.ReadyCondition, metav1.ConditionFalse, "DependencyNotReady", "dependency 'a/b' is not ready"),
				},
				observed: -1, result: again(750*time.Millisecond, engine.Retry),
			},
		},
		"Await": {
			reason: "the work is done and its effect is not there yet",
			err:    engine.Await(time.Minute, "Running health checks with a timeout of 1m0s"),
			want: want{
				conditions: []metav1.Condition{
					at(meta.ReconcilingCondition, metav1.ConditionTrue, "Progressing", "Running health checks with a timeout of 1m0s"),
					at(meta.ReadyCondition, metav1.ConditionUnknown, "Progressing", "Reconciliation in progress"),
				},
				observed: -1, result: again(time.Minute, engine.Retry),
			},
		},
		"Stall": {
			reason: "the user has to change something, so nothing is queued",
			err:    engine.Stall(meta.ValidationFailedReason, boom),
			have:   []func(object){having(meta.ReconcilingCondition, metav1.ConditionTrue, "Progressing", "working")},
			want: want{
				conditions: []metav1.Condition{
					at(meta.StalledCondition, metav1.ConditionTrue, "ValidationFailed", boom.Error()),
					at(meta.ReadyCondition, metav1.ConditionFalse, "ValidationFailed", boom.Error()),
				},
				observed: 2,
			},
		},
		"StallAndLook": {
			reason: "what would help wakes nobody, so it is looked for",
			err:    &engine.Verdict{Outcome: engine.Stalled, Reason: meta.ValidationFailedReason, After: time.Hour, Err: boom},
			want: want{
				conditions: []metav1.Condition{
					at(meta.StalledCondition, metav1.ConditionTrue, "ValidationFailed", boom.Error()),
					at(meta.ReadyCondition, metav1.ConditionFalse, "ValidationFailed", boom.Error()),
				},
				observed: 2, result: again(time.Hour, engine.Periodic),
			},
		},
		"Fail": {
			reason: "the reason of the verdict wins over that of the step",
			err:    engine.Fail(meta.BuildFailedReason, boom),
			have:   []func(object){having(meta.StalledCondition, metav1.ConditionTrue, "Invalid", "bad path")},
			want: want{
				conditions: []metav1.Condition{
					at(meta.ReconcilingCondition, metav1.ConditionTrue, "ProgressingWithRetry", boom.Error()),
					at(meta.ReadyCondition, metav1.ConditionFalse, "BuildFailed", boom.Error()),
				},
				observed: -1, result: again(750*time.Millisecond, engine.Retry),
			},
		},
		"PlainError": {
			reason: "an error that says nothing of itself is a failure with the reason of the step",
			err:    boom,
			want: want{
				conditions: []metav1.Condition{
					at(meta.ReconcilingCondition, metav1.ConditionTrue, "ProgressingWithRetry", boom.Error()),
					at(meta.ReadyCondition, metav1.ConditionFalse, "ActFailed", boom.Error()),
				},
				observed: -1, result: again(750*time.Millisecond, engine.Retry),
			},
		},
		"Wrapped": {
			reason: "what layers above a verdict add is kept in the message",
			err:    fmt.Errorf("build %q: %w", "./app", engine.Stall("", boom)),
			want: want{
				conditions: []metav1.Condition{
					at(meta.StalledCondition, metav1.ConditionTrue, "ActFailed", `build "./app": `+boom.Error()),
					at(meta.ReadyCondition, metav1.ConditionFalse, "ActFailed", `build "./app": `+boom.Error()),
				},
				observed: 2,
			},
		},
		"WrappedDone": {
			reason: "a success is one, whatever is said about it",
			err:    fmt.Errorf("build: %w", engine.Done()),
			want: want{
				conditions: []metav1.Condition{at(meta.ReadyCondition, metav1.ConditionTrue, "Applied", "applied revision")},
				observed:   2, result: again(10*time.Minute, engine.Periodic),
			},
		},
		"WithoutCause": {
			reason: "a verdict without an error still has a message",
			err:    engine.Fail("", nil),
			want: want{
				conditions: []metav1.Condition{
					at(meta.ReconcilingCondition, metav1.ConditionTrue, "ProgressingWithRetry", "failed"),
					at(meta.ReadyCondition, metav1.ConditionFalse, "ActFailed", "failed"),
				},
				observed: -1, result: again(750*time.Millisecond, engine.Retry),
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := newObject(tc.have...)
			bench := enginetest.New(t, newKind(act(tc.err)), enginetest.Options{}, obj)
			got := bench.Run(t, obj)

			if got.Err != nil {
				t.Fatalf("\n%s\nReconcile(): %v", tc.reason, got.Err)
			}

			have := want{conditions: got.Object.Status.Conditions, observed: got.Object.Status.ObservedGeneration, result: got.Result}
			if diff := cmp.Diff(tc.want, have, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nReconcile(): -want, +got:\n%s", tc.reason, diff)
			}

			if len(got.Patches) != 1 {
				t.Errorf("\n%s\nfirst run: want one patch, got %v", tc.reason, got.Patches)
			}

			bench.Clock.Advance(time.Hour)

			if got := bench.Run(t, obj); len(got.Patches) != 0 || len(got.Events) != 0 {
				t.Errorf("\n%s\nsecond run: want no patch and no event, got %v and %v", tc.reason, got.Patches, got.Events)
			}
		})
	}
}

func TestStepsEndWithTheFirstVerdict(t *testing.T) {
	note := func(name string, err error) step {
		return step{Name: name, Reason: "Failed", Run: func(_ context.Context, _ object, s *scope) error {
			s.ran = append(s.ran, name)

			return err
		}}
	}

	cases := map[string]struct {
		reason string
		open   error
		steps  steps
		want   []string
	}{
		"All":        {"steps run in order", nil, steps{note("a", nil), note("b", nil)}, []string{"open", "a", "b", "close"}},
		"Done":       {"success may come early", nil, steps{note("a", engine.Done()), note("b", nil)}, []string{"open", "a", "close"}},
		"Error":      {"nothing runs after an error", nil, steps{note("a", errors.New("no")), note("b", nil)}, []string{"open", "a", "close"}},
		"OpenFailed": {"the scope is closed even if it was not opened", errors.New("no"), steps{note("a", nil)}, []string{"open", "close"}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var ran []string

			k := newKind(tc.steps...)
			k.Open = func(_ context.Context, _ object, s *scope) error {
				s.ran = append(s.ran, "open")

				return tc.open
			}
			k.Close = func(s *scope) { ran = append(s.ran, "close") } //nolint:gocritic // the scope ends here

			if got := enginetest.Run(t, k, newObject()); got.Err != nil {
				t.Fatalf("Reconcile(): %v", got.Err)
			}

			if diff := cmp.Diff(tc.want, ran); diff != "" {
				t.Errorf("\n%s\nsteps: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPanicIsAFailure(t *testing.T) {
	closed := false
	k := newKind(step{Name: "explode", Reason: "ActFailed", Run: func(_ context.Context, _ object, s *scope) error {
		return errors.New(s.ran[0])
	}})
	k.Close = func(*scope) { closed = true }

	obj := newObject()
	bench := enginetest.New(t, k, enginetest.Options{}, obj)

	for range 2 { // the worker is alive
		got := bench.Run(t, obj)
		want := []metav1.Condition{
			at(meta.ReconcilingCondition, metav1.ConditionTrue, "ProgressingWithRetry", "internal error: runtime error: index out of range [0] with length 0"),
			at(meta.ReadyCondition, metav1.ConditionFalse, "ActFailed", "internal error: runtime error: index out of range [0] with length 0"),
		}

		if diff := cmp.Diff(want, got.Object.Status.Conditions); diff != "" {
			t.Errorf("conditions: -want, +got:\n%s", diff)
		}

		if !closed || got.Err != nil || got.Result.RequeueAfter == 0 {
			t.Errorf("want a closed scope and another attempt, got %v, %v, %v", closed, got.Result, got.Err)
		}
	}
}

func TestStepCondition(t *testing.T) {
	const typ = meta.FetchFailedCondition

	failed := func(obj object) { having(typ, metav1.ConditionTrue, "Timeout", "timed out")(obj) }
	set := at(typ, metav1.ConditionTrue, "FetchFailed", "no such host")

	cases := map[string]struct {
		reason string
		err    error
		have   []func(object)
		want   *metav1.Condition
	}{
		"Success":  {"a step that succeeds has no condition", nil, []func(object){failed}, nil},
		"Done":     {"an early success is one too", engine.Done(), []func(object){failed}, nil},
		"Awaiting": {"what is awaited is no fault of the step", engine.Await(time.Minute, "x"), []func(object){failed}, nil},
		"Failure":  {"a failure shows", errors.New("no such host"), nil, &set},
		"Stall":    {"so does an error for good", engine.Stall("", errors.New("no such host")), nil, &set},
		"Wait":     {"and something that is missing", engine.Wait("", time.Minute, errors.New("no such host")), nil, &set},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := act(tc.err)
			s.Reason, s.Condition = "FetchFailed", typ

			got := enginetest.Run(t, newKind(s), newObject(tc.have...))
			if diff := cmp.Diff(tc.want, engine.Condition(got.Object, typ)); diff != "" {
				t.Errorf("\n%s\ncondition: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
