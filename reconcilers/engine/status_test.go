package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

// edit returns a step that changes the object in memory.
func edit(change func(object)) step {
	return step{Name: "edit", Reason: "EditFailed", Run: func(_ context.Context, obj object, _ *scope) error {
		change(obj)

		return nil
	}}
}

// settled makes an object as a successful run leaves it.
func settled(obj object) {
	having(meta.ReadyCondition, metav1.ConditionTrue, "Applied", "applied revision")(obj)
	obj.Status.ObservedGeneration = 2
}

func TestStatusPatchHoldsNothingButTheStatus(t *testing.T) {
	got := enginetest.Run(t, newKind(edit(func(obj object) {
		obj.Spec.Path = "./filled-in"
		obj.Labels = map[string]string{"filled": "in"}
		obj.Status.LastAppliedRevision = "main@sha1:1"
	})), newObject())

	if len(got.Patches) != 1 || got.Patches[0].Subresource != "status" {
		t.Fatalf("want one patch of the status, got %v", got.Patches)
	}

	body := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(got.Patches[0].Body), &body); err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff([]string{"status"}, slices.Collect(maps.Keys(body))); diff != "" {
		t.Errorf("keys of the patch: -want, +got:\n%s", diff)
	}

	if got.Object.Status.LastAppliedRevision != "main@sha1:1" {
		t.Errorf("lastAppliedRevision is %q", got.Object.Status.LastAppliedRevision)
	}
}

func TestNoPatchWithoutNews(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(object)
	}{
		"Nothing": {"the same end as before is no news", func(object) {}},
		"Spec":    {"defaults that a step fills in are not the runner's to write", func(obj object) { obj.Spec.Path = "./" }},
		"Metadata": {
			"nor is metadata", func(obj object) { obj.Annotations = map[string]string{"a": "b"} },
		},
		"Marked": {
			"a condition that is removed and set again is the same",
			func(obj object) {
				engine.Unset(obj, meta.ReadyCondition)
				engine.Set(obj, meta.ReadyCondition, metav1.ConditionTrue, "Applied", "applied revision")
			},
		},
		"Foreign": {
			"conditions that the kind does not own stay", func(object) {},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := newObject(settled, having("Zealous", metav1.ConditionTrue, "Yes", "by somebody else"))

			got := enginetest.Run(t, newKind(edit(tc.change)), obj)
			if len(got.Patches) != 0 {
				t.Errorf("\n%s\nwant no patch, got %v", tc.reason, got.Patches)
			}

			if diff := cmp.Diff(obj.Status, got.Object.Status); diff != "" {
				t.Errorf("\n%s\nstatus: -before, +after:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestConditionsAreSorted(t *testing.T) {
	mark := func(obj object) {
		obj.Generation = 3
		engine.Set(obj, "Beta", metav1.ConditionTrue, "Yes", "new")
		engine.Set(obj, "Alpha", metav1.ConditionTrue, "Yes", "new")
	}
	obj := newObject(having("Aged", metav1.ConditionTrue, "Yes", "old"), func(obj object) { obj.Generation = 3 })

	got := enginetest.Run(t, newKind(edit(mark), act(errors.New("no"))), obj)

	types := make([]string, 0, len(got.Object.Status.Conditions))
	for _, c := range got.Object.Status.Conditions {
		types = append(types, c.Type)
	}

	if diff := cmp.Diff([]string{"Reconciling", "Ready", "Alpha", "Beta", "Aged"}, types); diff != "" {
		t.Errorf("order: -want, +got:\n%s", diff)
	}
}

func TestTransitionTime(t *testing.T) {
	type want struct {
		time       time.Time
		generation int64
	}

	cases := map[string]struct {
		reason          string
		status          metav1.ConditionStatus
		reasonOf, words string
		generation      int64
		want            want
	}{
		"Same":       {"what is marked again keeps its time", "True", "Yes", "all right", 2, want{earlier().Time, 2}},
		"Generation": {"so it does for a new generation", "True", "Yes", "all right", 3, want{earlier().Time, 3}},
		"Status":     {"another status is a transition", "False", "Yes", "all right", 2, want{started().Time, 2}},
		"Reason":     {"so is another reason", "True", "Sure", "all right", 2, want{started().Time, 2}},
		"Message":    {"and another message", "True", "Yes", "all well", 2, want{started().Time, 2}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := newObject(having("Healthy", metav1.ConditionTrue, "Yes", "all right"))
			obj.Generation = tc.generation

			got := enginetest.Run(t, newKind(edit(func(obj object) {
				engine.Unset(obj, "Healthy")
				engine.Set(obj, "Healthy", tc.status, tc.reasonOf, tc.words)
			})), obj)

			c := engine.Condition(got.Object, "Healthy")
			if diff := cmp.Diff(tc.want, want{c.LastTransitionTime.Time, c.ObservedGeneration}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\ncondition: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestMendedConditions(t *testing.T) {
	long := strings.Repeat("ü", 20000)

	cases := map[string]struct {
		reason             string
		reasonOf, message  string
		wantReason, wanted string
	}{
		"Fine":     {"what is valid is not touched", "Fine_1,2:x", "a\nb", "Fine_1,2:x", "a\nb"},
		"Empty":    {"the API requires a reason", "", "", "Progressing", ""},
		"Nothing":  {"and one with letters", "4.2!", "", "Progressing", ""},
		"Pattern":  {"a reason from outside is brought into the form that the API takes", "42 not-found:", "", "notfound", ""},
		"Long":     {"it has 1024 characters at most", strings.Repeat("x", 2000), "", strings.Repeat("x", 1024), ""},
		"Message":  {"a message has 32768 bytes at most, cut between characters", "Fine", long, "Fine", long[:32764] + "…"},
		"Encoding": {"what is no UTF-8 comes back from the API as something else", "Fine", "file \xff\xfe", "Fine", "file \uFFFD"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := newObject()
			bench := enginetest.New(t, newKind(act(engine.Fail(tc.reasonOf, errors.New(tc.message)))), enginetest.Options{}, obj)
			bench.Run(t, obj)

			direct := newObject()
			engine.Set(direct, "Fetched", metav1.ConditionTrue, tc.reasonOf, tc.message)

			if c := engine.Condition(direct, "Fetched"); c.Reason != tc.wantReason || c.Message != tc.wanted {
				t.Errorf("\n%s\nwant %q: %q, got %q: %q", tc.reason, tc.wantReason, tc.wanted, c.Reason, c.Message)
			}

			if got := bench.Run(t, obj); len(got.Patches) != 0 || len(got.Events) != 0 {
				t.Errorf("\n%s\nsecond run: want no patch and no event, got %d and %v", tc.reason, len(got.Patches), got.Events)
			}
		})
	}
}

func TestRequestIsAnswered(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    error
		silent bool
		have   []func(object)
		want   string
	}{
		"Success":         {"a run answers", nil, false, []func(object){asked}, "now"},
		"Failure":         {"a failed one too", errors.New("no"), false, []func(object){asked}, "now"},
		"Stall":           {"and one that ends for good", engine.Stall("", errors.New("no")), false, []func(object){asked}, "now"},
		"Wait":            {"and one that waits", engine.Wait("", time.Minute, errors.New("no")), false, []func(object){asked}, "now"},
		"Await":           {"in either way", engine.Await(time.Minute, "x"), false, []func(object){asked}, "now"},
		"Suspended":       {"a suspended object says that it was seen", nil, false, []func(object){asked, suspended}, "now"},
		"SuspendedSilent": {"unless its kind does not", nil, true, []func(object){asked, suspended}, "before"},
		"NotAsked":        {"without a request the last answer stays", nil, false, nil, "before"},
		"Deleting":        {"an object whose deletion fails answers", errors.New("no"), false, []func(object){asked, deleted}, "now"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			k := newKind(act(tc.err))
			k.Delete, k.SilentWhenSuspended = k.Steps, tc.silent

			obj := newObject(append(tc.have, func(obj object) { obj.Status.LastHandledReconcileAt = "before" })...)
			if got := enginetest.Run(t, k, obj); got.Object.Status.LastHandledReconcileAt != tc.want {
				t.Errorf("\n%s\nlastHandledReconcileAt: want %q, got %q", tc.reason, tc.want, got.Object.Status.LastHandledReconcileAt)
			}
		})
	}
}

func TestSuspended(t *testing.T) {
	failing := having(meta.ReadyCondition, metav1.ConditionFalse, "BuildFailed", "no")
	k := newKind(act(errors.New("steps must not run")))
	k.Events = func(object, object, *scope) []engine.Event { return []engine.Event{{Reason: "NotWhenSuspended"}} }

	got := enginetest.Run(t, k, newObject(suspended, failing, without))
	if got.Err != nil || got.Result != (reconcile.Result{}) || len(got.Events) != 0 {
		t.Errorf("want nothing queued and no event, got %v, %v, %v", got.Result, got.Err, got.Events)
	}

	if have := ready(got.Object); have != "False BuildFailed: no" {
		t.Errorf("Ready changed to %q", have)
	}

	if len(got.Patches) != 1 || got.Patches[0].Subresource != "" || len(got.Object.Finalizers) != 1 {
		t.Errorf("want the finalizer and nothing else, got %v", got.Patches)
	}

	off := engine.Event{Type: "Warning", Reason: "ReconciliationDisabled", Message: "Reconciliation is disabled"}
	k.Suspend = func(obj object) []engine.Event {
		engine.Set(obj, meta.ReadyCondition, metav1.ConditionTrue, "ReconciliationDisabled", "off")

		return []engine.Event{off}
	}

	got = enginetest.Run(t, k, newObject(suspended))
	if have := ready(got.Object); have != "True ReconciliationDisabled: off" {
		t.Errorf("Ready is %q", have)
	}

	if diff := cmp.Diff([]engine.Event{off}, got.Events); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}
}

// TestStatusWriteFails shows that an error of the API server is an error of the run, except that somebody else was first.
func TestStatusWriteFails(t *testing.T) {
	gr := apiGroupResource()

	cases := map[string]struct {
		reason string
		err    error
		want   reconcile.Result
		failed bool
	}{
		"Conflict": {"somebody was first, and that is seen soon", apierrors.NewConflict(gr, "podinfo", errors.New("x")), again(minRetry, engine.Changed), false},
		"Gone":     {"nobody needs the status", apierrors.NewNotFound(gr, "podinfo"), reconcile.Result{}, false},
		"Down":     {"the work queue tries again", apierrors.NewInternalError(errors.New("etcd")), reconcile.Result{}, true},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bench := enginetest.New(t, newKind(act(errors.New("no"))), enginetest.Options{Funcs: interceptor.Funcs{
				SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch,
					...client.SubResourcePatchOption,
				) error {
					return tc.err
				},
			}}, newObject())

			got := bench.Run(t, newObject())
			if (got.Err != nil) != tc.failed {
				t.Errorf("\n%s\nReconcile(): %v", tc.reason, got.Err)
			}

			if diff := cmp.Diff(tc.want, got.Result); diff != "" {
				t.Errorf("\n%s\nresult: -want, +got:\n%s", tc.reason, diff)
			}

			if len(got.Events) != 0 {
				t.Errorf("\n%s\nwhat is not written did not happen, got %v", tc.reason, got.Events)
			}
		})
	}
}

// TestStatusOfOthersSurvives changes a field of the status and one of the spec under the steps: the patch is not locked, and
// holds only what the run changed.
func TestStatusOfOthersSurvives(t *testing.T) {
	var bench *enginetest.Bench[object, scope]

	k := newKind(step{Name: "race", Run: func(ctx context.Context, obj object, _ *scope) error {
		theirs := obj.DeepCopy()
		theirs.Spec.Path = "./new"
		if err := bench.Client.Update(ctx, theirs); err != nil {
			return err
		}

		theirs.Status.LastAppliedOriginRevision = "theirs"

		return bench.Client.Status().Update(ctx, theirs)
	}})
	bench = enginetest.New(t, k, enginetest.Options{}, newObject())

	got := bench.Run(t, newObject())
	if got.Err != nil {
		t.Fatal(got.Err)
	}

	if got.Object.Spec.Path != "./new" || got.Object.Status.LastAppliedOriginRevision != "theirs" || !engine.IsTrue(got.Object, meta.ReadyCondition) {
		t.Errorf("want their writes and ours, got %v and %v", got.Object.Spec, got.Object.Status)
	}
}

func TestCutOffRunIsQueuedAgain(t *testing.T) {
	k := newKind(act(nil))
	ctx, cancel := context.WithCancel(t.Context())
	k.Steps[0].Run = func(ctx context.Context, _ object, _ *scope) error {
		cancel()

		return ctx.Err()
	}

	bench := enginetest.New(t, k, enginetest.Options{}, newObject())

	got := bench.RunContext(ctx, t, newObject())
	if len(got.Patches) != 0 || len(got.Events) != 0 || got.Err != nil {
		t.Errorf("a run that was cut off says nothing, got %v, %v, %v", got.Patches, got.Events, got.Err)
	}

	if diff := cmp.Diff(again(minRetry, engine.Retry), got.Result); diff != "" {
		t.Errorf("result: -want, +got:\n%s", diff)
	}
}
