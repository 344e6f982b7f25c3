package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

// TestFailureEvent holds that a failure is told when it is new, and not again.
func TestFailureEvent(t *testing.T) {
	no := errors.New("no")
	told := []engine.Event{{Type: corev1.EventTypeWarning, Reason: "ActFailed", Message: "no"}}

	cases := map[string]struct {
		reason string
		err    error
		have   []func(object)
		want   []engine.Event
	}{
		"Success":     {"a success is told by the kind", nil, nil, nil},
		"Failure":     {"a first failure is news", no, nil, told},
		"Stall":       {"so is an error for good", engine.Stall("", no), nil, told},
		"Wait":        {"something that is missing is not", engine.Wait("", time.Minute, no), nil, nil},
		"Await":       {"nor is something that is awaited", engine.Await(time.Minute, "no"), nil, nil},
		"Repeated":    {"the same failure again is none", no, []func(object){having("Reconciling", "True", "ProgressingWithRetry", "no")}, nil},
		"Generation":  {"that of another generation is", no, []func(object){having("Reconciling", "True", "ProgressingWithRetry", "no"), revised}, told},
		"Other":       {"another one is", no, []func(object){having("Reconciling", "True", "ProgressingWithRetry", "never")}, told},
		"Progress":    {"one in place of progress is", no, []func(object){having("Reconciling", "True", "Progressing", "no")}, told},
		"StallAgain":  {"a repeated error for good is none", engine.Stall("", no), []func(object){having("Stalled", "True", "ActFailed", "no")}, nil},
		"StallReason": {"one with another reason is", engine.Stall("", no), []func(object){having("Stalled", "True", "Invalid", "no")}, told},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := enginetest.Run(t, newKind(act(tc.err)), newObject(tc.have...))
			if diff := cmp.Diff(tc.want, got.Events); diff != "" {
				t.Errorf("\n%s\nevents: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// revised gives the object a spec that its conditions do not tell of.
func revised(obj object) { obj.Generation++ }

// TestFailureOfAnother holds that a failure of another revision is told, even if it is the same failure.
func TestFailureOfAnother(t *testing.T) {
	revision := "one"
	k := newKind(act(errors.New("no")))
	k.Failure = func(_ object, _ *scope, e engine.Event) engine.Event {
		e.Metadata = map[string]string{"revision": revision}

		return e
	}
	obj := newObject()
	bench := enginetest.New(t, k, enginetest.Options{}, obj)

	for _, step := range []struct {
		revision string
		want     int
	}{{"one", 1}, {"one", 0}, {"two", 1}, {"two", 0}, {"one", 1}} {
		revision = step.revision
		if got := bench.Run(t, obj).Events; len(got) != step.want {
			t.Errorf("revision %s: events %v, want %d", step.revision, got, step.want)
		}
	}
}

func TestEventsOfARun(t *testing.T) {
	k := newKind(step{Name: "emit", Reason: "ActFailed", Run: func(ctx context.Context, obj object, s *scope) error {
		engine.Emit(ctx, engine.Event{Reason: "Corrected", Message: "put back Deployment/apps/podinfo"})
		s.ran = []string{"emit"}
		obj.Status.LastAppliedRevision = "main@sha1:2"

		return errors.New("no")
	}})
	k.Events = func(before, after object, s *scope) []engine.Event {
		return []engine.Event{{Reason: "Pure", Message: strings.Join(append(s.ran,
			before.Status.LastAppliedRevision, after.Status.LastAppliedRevision, ready(after)), ", ")}}
	}

	var bench *enginetest.Bench[object, scope]

	obj := newObject(func(obj object) { obj.Status.LastAppliedRevision = "main@sha1:1" })
	bench = enginetest.New(t, k, enginetest.Options{}, obj)

	want := []engine.Event{
		{Reason: "Corrected", Message: "put back Deployment/apps/podinfo"},
		{Reason: "Pure", Message: "emit, main@sha1:1, main@sha1:2, False ActFailed: no"},
		{Type: corev1.EventTypeWarning, Reason: "ActFailed", Message: "no"},
	}
	if diff := cmp.Diff(want, bench.Run(t, obj).Events); diff != "" {
		t.Errorf("events: -want, +got:\n%s", diff)
	}
}

// TestOutsideOfARun shows that what steps call may be called by anybody.
func TestOutsideOfARun(t *testing.T) {
	engine.Progress(t.Context(), "nobody listens")
	engine.Emit(t.Context(), engine.Event{Reason: "Nobody"})
}

type sink struct{ got []engine.Notification }

func (s *sink) Send(n engine.Notification) { s.got = append(s.got, n) }

func TestRecorders(t *testing.T) {
	obj := newObject(func(obj object) {
		obj.SetGroupVersionKind(kustomizev1.GroupVersion.WithKind("Kustomization"))
		obj.ResourceVersion = "7"
		obj.Annotations = map[string]string{"event.toolkit.fluxcd.io/team": "web", "other": "x", "reconcile.fluxcd.io/requestedAt": "now"}
	})
	ref := corev1.ObjectReference{
		APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "podinfo", UID: "u-1", ResourceVersion: "7",
	}
	source := &corev1.ObjectReference{Kind: "GitRepository", Namespace: "apps", Name: "podinfo"}
	annotated := map[string]string{"event.toolkit.fluxcd.io/team": "web"}
	metadata := map[string]string{
		"kustomize.toolkit.fluxcd.io/revision": "main@sha1:1", "event.toolkit.fluxcd.io/team": "ops", "example.com/a": "b",
	}

	type want struct {
		cluster engine.Event
		sent    []engine.Event
	}

	cases := map[string]struct {
		reason string
		event  engine.Event
		want   want
	}{
		"Defaults": {
			reason: "an event is a normal one of the reconcile, and carries what annotations ask for",
			event:  engine.Event{Reason: "Applied", Message: "100%d done"},
			want: want{
				cluster: engine.Event{Type: "Normal", Severity: "info", Reason: "Applied", Action: "Reconcile", Message: "100%d done", Metadata: annotated},
				sent:    []engine.Event{{Type: "Normal", Severity: "info", Reason: "Applied", Action: "Reconcile", Message: "100%d done", Metadata: annotated}},
			},
		},
		"Metadata": {
			reason: "keys get the group of the object, unless they have a prefix",
			event: engine.Event{
				Reason: "Applied", Action: "Apply", Related: source,
				Metadata: map[string]string{"revision": "main@sha1:1", "event.toolkit.fluxcd.io/team": "ops", "example.com/a": "b"},
			},
			want: want{
				cluster: engine.Event{Related: source, Type: "Normal", Severity: "info", Reason: "Applied", Action: "Apply", Metadata: metadata},
				sent: []engine.Event{{
					Type: "Normal", Severity: "info", Reason: "Applied", Action: "Apply", Related: source,
					Metadata: metadata,
				}},
			},
		},
		"Warning": {
			reason: "a warning is an error",
			event:  engine.Event{Type: "Warning", Reason: "BuildFailed", Message: "no"},
			want: want{
				cluster: engine.Event{Type: "Warning", Severity: "error", Reason: "BuildFailed", Action: "Reconcile", Message: "no", Metadata: annotated},
				sent:    []engine.Event{{Type: "Warning", Severity: "error", Reason: "BuildFailed", Action: "Reconcile", Message: "no", Metadata: annotated}},
			},
		},
		"Trace": {
			reason: "a trace stays in the cluster",
			event:  engine.Event{Severity: "trace", Reason: "Same"},
			want: want{
				cluster: engine.Event{Type: "Normal", Severity: "trace", Reason: "Same", Action: "Reconcile", Metadata: annotated},
			},
		},
		"TraceWarning": {
			reason: "a warning is sent in any case",
			event:  engine.Event{Type: "Warning", Severity: "trace", Reason: "Odd"},
			want: want{
				cluster: engine.Event{Type: "Warning", Severity: "trace", Reason: "Odd", Action: "Reconcile", Metadata: annotated},
				sent:    []engine.Event{{Type: "Warning", Severity: "trace", Reason: "Odd", Action: "Reconcile", Metadata: annotated}},
			},
		},
		"Limits": {
			reason: "the API takes a note of 1024 bytes and a reason of 128; others get the whole message",
			event:  engine.Event{Reason: strings.Repeat("R", 200), Message: strings.Repeat("ü", 600)},
			want: want{
				cluster: engine.Event{
					Type: "Normal", Severity: "info", Reason: strings.Repeat("R", 128), Action: "Reconcile", Message: strings.Repeat("ü", 510) + "…", Metadata: annotated,
				},
				sent: []engine.Event{{
					Type: "Normal", Severity: "info", Reason: strings.Repeat("R", 128), Action: "Reconcile",
					Message: strings.Repeat("ü", 600), Metadata: annotated,
				}},
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cluster, sent := &sink{}, &sink{}
			engine.Recorders{Cluster: cluster, Sink: sent}.Record(obj, "Kustomization", "kustomize-controller", tc.event)

			for _, to := range []struct {
				name string
				got  []engine.Notification
				want []engine.Event
			}{{"cluster", cluster.got, []engine.Event{tc.want.cluster}}, {"sink", sent.got, tc.want.sent}} {
				var events []engine.Event
				for _, n := range to.got {
					if n.Object != ref || n.Controller != "kustomize-controller" {
						t.Errorf("\n%s\nthe %s is told about %v by %q", tc.reason, to.name, n.Object, n.Controller)
					}

					events = append(events, n.Event)
				}

				if diff := cmp.Diff(to.want, events); diff != "" {
					t.Errorf("\n%s\nthe %s is told: -want, +got:\n%s", tc.reason, to.name, diff)
				}
			}
		})
	}

	engine.Recorders{}.Record(obj, "Kustomization", "kustomize-controller", engine.Event{Reason: "Nowhere"})
}

// TestEventNamesItsObject holds that the runner hands out objects that know their kind.
func TestEventNamesItsObject(t *testing.T) {
	var got []metav1.TypeMeta

	k := newKind(act(nil))
	k.Events = func(_, after object, _ *scope) []engine.Event {
		got = append(got, after.TypeMeta)

		return nil
	}
	enginetest.Run(t, k, newObject())

	want := []metav1.TypeMeta{{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types: -want, +got:\n%s", diff)
	}
}
