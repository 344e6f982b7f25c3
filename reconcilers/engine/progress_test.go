package engine_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

// writes hands over every status patch after it was made.
func writes(to chan<- struct{}) interceptor.Funcs {
	return interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object, p client.Patch,
		o ...client.SubResourcePatchOption,
	) error {
		err := c.SubResource(name).Patch(ctx, obj, p, o...)
		to <- struct{}{}

		return err
	}}
}

func conditionsIn(t *testing.T, p enginetest.Patch) []metav1.Condition {
	t.Helper()

	var body struct {
		Status kustomizev1.KustomizationStatus
	}
	if err := json.Unmarshal([]byte(p.Body), &body); err != nil {
		t.Fatal(err)
	}

	return body.Status.Conditions
}

// TestProgress lets a run last until two messages were seen by the API server.
func TestProgress(t *testing.T) {
	written := make(chan struct{}, 100)

	k := newKind(step{Name: "last", Run: func(ctx context.Context, obj object, _ *scope) error {
		engine.Set(obj, "Healthy", metav1.ConditionTrue, "Yes", "not told before the end")
		<-written
		engine.Progress(ctx, "Fetching manifests")
		<-written

		return nil
	}})
	obj := newObject(settled, having(meta.StalledCondition, metav1.ConditionTrue, "Invalid", "bad path"))
	bench := enginetest.New(t, k, enginetest.Options{
		Funcs: writes(written), Engine: engine.Options{ProgressAfter: time.Millisecond},
	}, obj)

	got := bench.Run(t, obj)
	if got.Err != nil || len(got.Patches) != 3 {
		t.Fatalf("want three patches, got %v, %v", got.Patches, got.Err)
	}

	for i, message := range []string{"Reconciliation in progress", "Fetching manifests"} {
		want := []metav1.Condition{
			at(meta.ReconcilingCondition, metav1.ConditionTrue, "Progressing", message),
			at(meta.ReadyCondition, metav1.ConditionUnknown, "Progressing", "Reconciliation in progress"),
		}
		if diff := cmp.Diff(want, conditionsIn(t, got.Patches[i])); diff != "" {
			t.Errorf("conditions of patch %d: -want, +got:\n%s", i, diff)
		}
	}

	// Ready was not True in between, so it became True now.
	want := []metav1.Condition{
		at(meta.ReadyCondition, metav1.ConditionTrue, "Applied", "applied revision"),
		at("Healthy", metav1.ConditionTrue, "Yes", "not told before the end"),
	}
	if diff := cmp.Diff(want, got.Object.Status.Conditions); diff != "" {
		t.Errorf("conditions at the end: -want, +got:\n%s", diff)
	}
}

// TestProgressOfManyGoroutines is for the race detector: steps tell their progress and emit events from several goroutines,
// while the runner writes.
func TestProgressOfManyGoroutines(t *testing.T) {
	written := make(chan struct{}, 1000)

	k := newKind(step{Name: "last", Run: func(ctx context.Context, obj object, _ *scope) error {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for _, message := range []string{"a", "b", "c"} {
					engine.Progress(ctx, message)
					engine.Emit(ctx, engine.Event{Reason: "Told", Message: message})
				}
			})
		}

		obj.Status.LastAttemptedRevision = "main@sha1:1"
		engine.Set(obj, "Healthy", metav1.ConditionTrue, "Yes", "all right")
		group.Wait()
		<-written

		return nil
	}})
	bench := enginetest.New(t, k, enginetest.Options{
		Funcs: writes(written), Engine: engine.Options{ProgressAfter: time.Microsecond},
	}, newObject())

	got := bench.Run(t, newObject())
	if len(got.Events) != 12 {
		t.Errorf("want 12 events, got %d", len(got.Events))
	}

	if !engine.IsTrue(got.Object, meta.ReadyCondition) || got.Object.Status.LastAttemptedRevision == "" {
		t.Errorf("the end is not the one of the steps: %v", got.Object.Status)
	}
}

// TestProgressHoldsNobodyUp lets the write of a progress message hang until the step has told the next one.
func TestProgressHoldsNobodyUp(t *testing.T) {
	writing, told := make(chan struct{}), make(chan struct{})
	once := sync.Once{}

	k := newKind(step{Name: "last", Run: func(ctx context.Context, _ object, _ *scope) error {
		<-writing
		engine.Progress(ctx, "Next")
		close(told)

		return nil
	}})
	bench := enginetest.New(t, k, enginetest.Options{
		Engine: engine.Options{ProgressAfter: time.Millisecond},
		Funcs: interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object,
			p client.Patch, o ...client.SubResourcePatchOption,
		) error {
			once.Do(func() {
				close(writing)
				<-told
			})

			return c.SubResource(name).Patch(ctx, obj, p, o...)
		}},
	}, newObject())

	if got := bench.Run(t, newObject()); !engine.IsTrue(got.Object, meta.ReadyCondition) {
		t.Errorf("want Ready at the end, whenever the progress was written: %v", got.Object.Status.Conditions)
	}
}

// TestProgressFails shows that progress that cannot be written does no harm.
func TestProgressFails(t *testing.T) {
	failed := make(chan struct{})
	once := sync.Once{}

	k := newKind(step{Name: "last", Run: func(context.Context, object, *scope) error {
		<-failed

		return nil
	}})
	bench := enginetest.New(t, k, enginetest.Options{
		Engine: engine.Options{ProgressAfter: time.Millisecond},
		Funcs: interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object,
			p client.Patch, o ...client.SubResourcePatchOption,
		) (err error) {
			once.Do(func() {
				err = context.DeadlineExceeded
				close(failed)
			})
			if err != nil {
				return err
			}

			return c.SubResource(name).Patch(ctx, obj, p, o...)
		}},
	}, newObject())

	got := bench.Run(t, newObject())
	if got.Err != nil || !engine.IsTrue(got.Object, meta.ReadyCondition) {
		t.Errorf("want Ready, got %v, %v", got.Object.Status.Conditions, got.Err)
	}
}

func TestNoProgressOfShortRuns(t *testing.T) {
	k := newKind(step{Name: "tell", Run: func(ctx context.Context, _ object, _ *scope) error {
		engine.Progress(ctx, "Fetching manifests")

		return nil
	}})
	if got := enginetest.Run(t, k, newObject()); len(got.Patches) != 1 {
		t.Errorf("want one patch, got %v", got.Patches)
	}
}

// TestSave writes the status in the middle of a run, and does not lose it when progress is written after it.
func TestSave(t *testing.T) {
	written := make(chan struct{}, 100)

	k := newKind(step{Name: "last", Run: func(ctx context.Context, obj object, _ *scope) error {
		engine.Set(obj, "Healthy", metav1.ConditionFalse, "No", "saved")

		obj.Status.LastAttemptedRevision = "main@1"
		if err := engine.Save(ctx); err != nil {
			return err
		}

		<-written
		engine.Progress(ctx, "Going on")

		obj.Status.LastAttemptedRevision = "main@2"
		<-written

		return nil
	}})
	obj := newObject(settled)
	bench := enginetest.New(t, k, enginetest.Options{
		Funcs: writes(written), Engine: engine.Options{ProgressAfter: 50 * time.Millisecond},
	}, obj)

	got := bench.Run(t, obj)
	if got.Err != nil || len(got.Patches) != 3 {
		t.Fatalf("want three patches, got %v, %v", got.Patches, got.Err)
	}

	for i, want := range []string{"main@1", "", "main@2"} {
		var body struct {
			Status kustomizev1.KustomizationStatus
		}
		if err := json.Unmarshal([]byte(got.Patches[i].Body), &body); err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff(want, body.Status.LastAttemptedRevision); diff != "" {
			t.Errorf("revision of patch %d: -want, +got:\n%s", i, diff)
		}
	}

	want := []metav1.Condition{
		at("Healthy", metav1.ConditionFalse, "No", "saved"),
		at(meta.ReconcilingCondition, metav1.ConditionTrue, "Progressing", "Going on"),
		at(meta.ReadyCondition, metav1.ConditionUnknown, "Progressing", "Reconciliation in progress"),
	}
	if diff := cmp.Diff(want, conditionsIn(t, got.Patches[1]), cmpopts.SortSlices(func(a, b metav1.Condition) bool { return a.Type < b.Type })); diff != "" {
		t.Errorf("conditions of the progress: -want, +got:\n%s", diff)
	}
}
