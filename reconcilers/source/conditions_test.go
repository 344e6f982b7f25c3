package source_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
)

// bucket is a source with conditions that are True, of the artifact with the revision, if there is one.
func bucket(revision string, conditions ...string) *sourcev1.Bucket {
	b := &sourcev1.Bucket{}
	if revision != "" {
		b.Status.Artifact = &meta.Artifact{Revision: revision, Digest: "sha256:" + revision}
	}

	for _, c := range conditions {
		engine.Set(b, c, metav1.ConditionTrue, meta.SucceededReason, "it is so")
	}

	return b
}

func TestEvents(t *testing.T) {
	cases := map[string]struct {
		reason        string
		before, after *sourcev1.Bucket
		want          []string // reasons
	}{
		"First": {
			reason: "a first artifact is news", before: bucket(""), after: bucket("a", meta.ReadyCondition),
			want: []string{sourcev1.NewArtifactReason},
		},
		"Next": {
			reason: "so is another one", before: bucket("a", meta.ReadyCondition), after: bucket("b", meta.ReadyCondition),
			want: []string{sourcev1.NewArtifactReason},
		},
		"Same": {reason: "the same one is none", before: bucket("a", meta.ReadyCondition), after: bucket("a", meta.ReadyCondition)},
		"Recovered": {
			reason: "the end of a failure is news, whatever failed", before: bucket("a", meta.BuildFailedCondition),
			after: bucket("a", meta.ReadyCondition), want: []string{meta.SucceededReason},
		},
		"NotReady": {reason: "who is not Ready has an event of its failure", before: bucket("a"), after: bucket("b")},
		"None":     {reason: "without an artifact there is nothing to tell", before: bucket(""), after: bucket("", meta.ReadyCondition)},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string

			for _, e := range source.Events(tc.before, tc.after, "stored", map[string]string{"more": "yes"}) {
				got = append(got, e.Reason)

				want := engine.Event{Reason: e.Reason, Message: "stored", Metadata: map[string]string{
					"revision": tc.after.Status.Artifact.Revision, "digest": tc.after.Status.Artifact.Digest, "more": "yes",
				}}
				if diff := cmp.Diff(want, e); diff != "" {
					t.Errorf("-want, +got:\n%s", diff)
				}
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAsked(t *testing.T) {
	object := func(generation, observed int64, at, handled string) *sourcev1.Bucket {
		b := bucket("a")
		b.Generation, b.Status.ObservedGeneration, b.Status.LastHandledReconcileAt = generation, observed, handled

		if at != "" {
			b.Annotations = map[string]string{meta.ReconcileRequestAnnotation: at}
		}

		return b
	}

	cases := map[string]struct {
		reason string
		obj    *sourcev1.Bucket
		want   bool
	}{
		"Settled":  {"nothing happened", object(1, 1, "", ""), false},
		"Spec":     {"the spec is another one", object(2, 1, "", ""), true},
		"Request":  {"somebody asks", object(1, 1, "now", ""), true},
		"Answered": {"it was answered", object(1, 1, "now", "now"), false},
		"Removed":  {"taking the request away asks nothing", object(1, 1, "", "now"), false},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := source.Asked(tc.obj); got != tc.want {
				t.Errorf("%s: want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

func TestOutdatedThenStored(t *testing.T) {
	first := bucket("")
	source.Outdated(t.Context(), first, sourcev1.NewRevisionReason, "new revision")

	if c := engine.Condition(first, meta.ArtifactOutdatedCondition); c != nil {
		t.Errorf("an object without an artifact is outdated: %v", c)
	}

	b := bucket("a", meta.ArtifactInStorageCondition, meta.StorageOperationFailedCondition, meta.BuildFailedCondition)
	source.Outdated(t.Context(), b, sourcev1.NewRevisionReason, "new revision 'b'")

	if c := engine.Condition(b, meta.ArtifactOutdatedCondition); c == nil || c.Reason != sourcev1.NewRevisionReason || c.Message != "new revision 'b'" {
		t.Errorf("ArtifactOutdated: %v", c)
	}

	if !source.Settled(b) {
		t.Error("the artifact is still there, and is to be served")
	}

	source.Stored(b, &meta.Artifact{Revision: "b"}, meta.SucceededReason, "stored artifact: revision 'b'")

	got := map[string]string{}
	for _, c := range b.Status.Conditions {
		got[c.Type] = c.Message
	}

	want := map[string]string{meta.ArtifactInStorageCondition: "stored artifact: revision 'b'"}
	if diff := cmp.Diff(want, got); diff != "" || !b.Status.Artifact.HasRevision("b") {
		t.Errorf("conditions of %v: -want, +got:\n%s", b.Status.Artifact, diff)
	}
}

func TestBounded(t *testing.T) {
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

	if err := source.Bounded(t.Context(), time.Nanosecond, wait); err == nil || err.Error() != "timed out after 1ns" {
		t.Errorf("what takes too long: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if err := source.Bounded(ctx, time.Hour, wait); !errors.Is(err, context.Canceled) {
		t.Errorf("what nobody wants any more: %v", err)
	}

	_ = source.Bounded(t.Context(), 1000*time.Hour, func(ctx context.Context) error {
		if end, ok := ctx.Deadline(); !ok || end.After(time.Now().Add(time.Hour)) {
			t.Errorf("it may take until %s", end)
		}

		return nil
	})

	failed := errors.New("refused")
	if err := source.Bounded(t.Context(), time.Hour, func(context.Context) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("what fails in time: %v", err)
	}
}
