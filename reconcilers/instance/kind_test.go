package instance

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
)

func TestEvents(t *testing.T) {
	revision := map[string]string{"revision": "v2.9.5@sha256:2"}
	status := func(attempted, applied string) *fluxv1.FluxInstance {
		return &fluxv1.FluxInstance{Status: fluxv1.FluxInstanceStatus{LastAttemptedRevision: attempted, LastAppliedRevision: applied}}
	}
	set := &distribution.Set{Version: "v2.9.5", Digest: "sha256:2"}
	good := &distribution.Set{Version: "v2.9.5", Digest: "sha256:1"}
	tests := map[string]struct {
		reason        string
		before, after *fluxv1.FluxInstance
		scope         scope
		want          []engine.Event
	}{
		"Installing": {
			reason: "The first attempt of the first revision.",
			before: status("", ""), after: status("v2.9.5@sha256:2", ""), scope: scope{set: set, way: installing},
			want: []engine.Event{{Reason: "Progressing", Message: "Installing revision v2.9.5@sha256:2", Metadata: revision}},
		},
		"Upgrading": {
			reason: "Something ran before.",
			before: status("v2.9.5@sha256:1", "v2.9.5@sha256:1"), after: status("v2.9.5@sha256:2", "v2.9.5@sha256:1"), scope: scope{set: set, began: true},
			want: []engine.Event{{Reason: "Progressing", Message: "Upgrading to revision v2.9.5@sha256:2", Metadata: revision}},
		},
		"Reverted": {
			reason: "A spec that makes again what still runs upgrades nothing.",
			before: status("v2.9.5@sha256:1", "v2.9.5@sha256:2"), after: status("v2.9.5@sha256:2", "v2.9.5@sha256:2"),
			scope: scope{set: set, way: steady},
		},
		"UpgradingAgain": {
			reason: "Another attempt at a revision that failed is as new as the first.",
			before: status("v2.9.5@sha256:2", "v2.9.5@sha256:1"), after: status("v2.9.5@sha256:2", "v2.9.5@sha256:1"),
			scope: scope{set: set, began: true},
			want:  []engine.Event{{Reason: "Progressing", Message: "Upgrading to revision v2.9.5@sha256:2", Metadata: revision}},
		},
		"RollingBack": {
			reason: "What failed is told when it is taken back. The runner tells when that is done.",
			before: status("v2.9.5@sha256:2", "v2.9.5@sha256:1"), after: status("v2.9.5@sha256:2", "v2.9.5@sha256:1"),
			scope: scope{set: set, way: upgrading, undone: "upgrade to b failed: c; rolling back to a"},
			want:  []engine.Event{{Type: "Warning", Reason: "RollingBack", Message: "upgrade to b failed: c; rolling back to a", Metadata: revision}},
		},
		"RolledBack": {
			reason: "What was put back is told of the revision that runs again.",
			before: status("v2.9.5@sha256:2", "v2.9.5@sha256:1"), after: status("v2.9.5@sha256:2", "v2.9.5@sha256:1"),
			scope: scope{set: good, way: returning, finished: &outcome{log: "Service/flux-system/a deleted"}},
			want: []engine.Event{{
				Reason: "ReconciliationSucceeded", Message: "Flux v2.9.5 rolled back\nService/flux-system/a deleted",
				Metadata: map[string]string{"revision": "v2.9.5@sha256:1"},
			}},
		},
		"Waiting": {
			reason: "The same attempt again is no news.",
			before: status("v2.9.5@sha256:2", ""), after: status("v2.9.5@sha256:2", ""), scope: scope{set: set},
		},
		"Installed": {
			reason: "The end of the installation tells what was made.",
			before: status("v2.9.5@sha256:2", ""), after: status("v2.9.5@sha256:2", "v2.9.5@sha256:2"),
			scope: scope{set: set, finished: &outcome{log: "Namespace/flux-system created"}},
			want:  []engine.Event{{Reason: "ReconciliationSucceeded", Message: "Flux v2.9.5 installed\nNamespace/flux-system created", Metadata: revision}},
		},
		"Corrected": {
			reason: "Drift is told under the usual reason, with the names of the objects.",
			before: status("v2.9.5@sha256:2", "v2.9.5@sha256:2"), after: status("v2.9.5@sha256:2", "v2.9.5@sha256:2"),
			scope: scope{set: set, finished: &outcome{log: "Service/flux-system/source-controller configured"}},
			want:  []engine.Event{{Reason: "ReconciliationSucceeded", Message: "Flux v2.9.5 updated\nService/flux-system/source-controller configured", Metadata: revision}},
		},
		"NothingNew": {
			reason: "A run that found all as it should be has nothing to tell.",
			before: status("v2.9.5@sha256:2", "v2.9.5@sha256:2"), after: status("v2.9.5@sha256:2", "v2.9.5@sha256:2"),
			scope: scope{set: set, finished: &outcome{}},
		},
		"Unhealthy": {
			reason: "What stands in the way is told once.",
			before: status("v2.9.5@sha256:2", ""), after: status("v2.9.5@sha256:2", ""),
			scope: scope{set: set, failure: "reconciliation failed: health check timed out"},
			want:  []engine.Event{{Type: "Warning", Reason: "ReconciliationFailed", Message: "reconciliation failed: health check timed out", Metadata: revision}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, events(tc.before, tc.after, &tc.scope)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSuspend(t *testing.T) {
	r := &reconciler{}
	created := &fluxv1.FluxInstance{}
	if told := r.suspend(created); len(told) > 0 {
		t.Errorf("of an instance that was created suspended, %v is told", told)
	}
	c := engine.Condition(created, meta.ReadyCondition)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != "ReconciliationDisabled" || c.Message != "Initialized with reconciliation suspended" {
		t.Errorf("an instance that was created suspended is %+v", c)
	}
	failing := &fluxv1.FluxInstance{}
	engine.Set(failing, meta.ReadyCondition, metav1.ConditionFalse, "ReconciliationFailed", "x")
	want := []engine.Event{{Type: "Warning", Reason: "ReconciliationDisabled", Message: "Reconciliation is disabled"}}
	if diff := cmp.Diff(want, r.suspend(failing)); diff != "" {
		t.Errorf("what is told of one that was running (-want +got):\n%s", diff)
	}
	if c := engine.Condition(failing, meta.ReadyCondition); c.Reason != "ReconciliationFailed" {
		t.Errorf("suspending hides how the instance was: %+v", c)
	}
}

func TestTransactions(t *testing.T) {
	change := func(name string) apply.Changes { return apply.Changes{{Ref: service(name), Action: apply.Created}} }
	obj := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{UID: "1", Generation: 1}}
	start := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	var ts memory

	first := ts.record(obj, "r1", start, change("a"))
	second := ts.record(obj, "r1", start.Add(time.Minute), change("b"))
	if !second.started.Equal(first.started) {
		t.Error("the same attempt gets more time with each run")
	}
	if diff := cmp.Diff(append(change("a"), change("b")...), second.changes); diff != "" {
		t.Errorf("changes of two runs (-want +got):\n%s", diff)
	}

	obj.Generation = 2
	third := ts.record(obj, "r1", start.Add(2*time.Minute), nil)
	if !third.started.Equal(start.Add(2 * time.Minute)) {
		t.Error("a new spec gets no new time")
	}
	obj.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	if fourth := ts.record(obj, "r1", start.Add(3*time.Minute), nil); !fourth.started.Equal(start.Add(3 * time.Minute)) {
		t.Error("a request gets no new time")
	}
	if since := ts.since("r2", start); !since.Equal(start) {
		t.Errorf("another revision began at %s", since)
	}
	ts.begin() // a run that fails
	ts.begin()
	if fifth := ts.record(obj, "r1", start.Add(time.Hour), nil); !fifth.started.Equal(start.Add(time.Hour)) {
		t.Error("time counts in which nobody could tell how the revision was doing")
	}
	ts.begin()
	if sixth := ts.record(obj, "r1", start.Add(2*time.Hour), nil); !sixth.started.Equal(start.Add(time.Hour)) {
		t.Error("an attempt gets more time with each run")
	}
	last, ok := ts.end()
	if !ok || len(last.changes) != 2 {
		t.Errorf("at the end, %d changes are told, want 2", len(last.changes))
	}
	if _, ok := ts.end(); ok {
		t.Error("a transaction ended twice")
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                 "0s",
		1234567 * time.Nanosecond:         "1ms",
		12345 * time.Millisecond:          "12.3s",
		time.Hour + 1234*time.Millisecond: "1h0m1.2s",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestDisputes(t *testing.T) {
	a, b := apply.Fight{ID: service("a").ID}, apply.Fight{ID: service("b").ID}
	var d memory
	for i, step := range []struct{ now, news []apply.Fight }{
		{[]apply.Fight{a}, []apply.Fight{a}},
		{[]apply.Fight{a, b}, []apply.Fight{b}},
		{nil, nil},
		{[]apply.Fight{a}, []apply.Fight{a}},
	} {
		if diff := cmp.Diff(step.news, d.news(step.now)); diff != "" {
			t.Errorf("look %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestChecks(t *testing.T) {
	obj := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{UID: "1"}}
	start := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	var c memory
	for i, step := range []struct {
		after  time.Duration
		asked  string
		want   bool
		reason string
	}{
		{0, "", false, "a process that has just started relies on nothing"},
		{time.Minute, "", false, "what wakes the instance says what to look at"},
		{58 * time.Minute, "", true, "the interval, give or take the jitter"},
		{59 * time.Minute, "", false, "not again at once"},
		{60 * time.Minute, "now", true, "somebody asks"},
	} {
		if step.asked != "" {
			obj.Annotations = map[string]string{meta.ReconcileRequestAnnotation: step.asked}
		}
		if got := c.due(obj, start.Add(step.after)); got != step.want {
			t.Errorf("check %d: got %t: %s", i, got, step.reason)
		}
	}
	obj.Annotations, obj.Status.LastHandledReconcileAt = nil, "now"
	if c.due(obj, start.Add(61*time.Minute)) {
		t.Error("a request that was answered and taken back is taken for a new one")
	}
}
