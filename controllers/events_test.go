package controllers

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// recorded is a work queue that notes what is added.
type recorded struct {
	priorityqueue.PriorityQueue[reconcile.Request]
	added map[string]engine.Priority
}

func (r *recorded) AddWithOpts(o priorityqueue.AddOpts, items ...reconcile.Request) {
	if r.added == nil {
		r.added = map[string]engine.Priority{}
	}

	for _, i := range items {
		r.added[i.Name] = engine.Priority(*o.Priority)
	}
}

func kustomization(change ...func(k *kustomizev1.Kustomization)) *kustomizev1.Kustomization {
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "ns", Generation: 1}}
	for _, c := range change {
		c(k)
	}

	return k
}

func ready(k *kustomizev1.Kustomization) {
	k.Status.Conditions = []metav1.Condition{{Type: meta.ReadyCondition, Status: metav1.ConditionTrue, ObservedGeneration: 1}}
}

func requested(k *kustomizev1.Kustomization) {
	k.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
}

func edited(k *kustomizev1.Kustomization) { k.Generation = 2 }

func deleted(k *kustomizev1.Kustomization) {
	k.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
}

func annotated(k *kustomizev1.Kustomization) { k.Annotations = map[string]string{"other": "yes"} }

func TestOwnEvents(t *testing.T) {
	for name, tc := range map[string]struct {
		reason        string
		before, after *kustomizev1.Kustomization // before is nil for a new object
		initial       bool
		anyAnnotation bool
		want          map[string]engine.Priority
	}{
		"New":              {reason: "a new object has changed", after: kustomization(), want: map[string]engine.Priority{"app": engine.Changed}},
		"StartupReady":     {reason: "what was ready when the process started can wait", after: kustomization(ready), initial: true, want: map[string]engine.Priority{"app": engine.Startup}},
		"StartupEdited":    {reason: "what changed while no process ran cannot", after: kustomization(ready, edited), initial: true, want: map[string]engine.Priority{"app": engine.Changed}},
		"StartupDeleted":   {reason: "nor can what was deleted meanwhile", after: kustomization(ready, deleted), initial: true, want: map[string]engine.Priority{"app": engine.Changed}},
		"StartupRequested": {reason: "a request is answered first", after: kustomization(ready, requested), initial: true, want: map[string]engine.Priority{"app": engine.Asked}},
		"Status":           {reason: "a status is the runner's own work", before: kustomization(), after: kustomization(ready)},
		"Edited":           {reason: "a new generation runs", before: kustomization(), after: kustomization(edited), want: map[string]engine.Priority{"app": engine.Changed}},
		"Deleted":          {reason: "a deletion runs", before: kustomization(), after: kustomization(deleted), want: map[string]engine.Priority{"app": engine.Changed}},
		"Requested":        {reason: "a request runs first", before: kustomization(), after: kustomization(requested), want: map[string]engine.Priority{"app": engine.Asked}},
		"RequestRemoved":   {reason: "taking the request back is none", before: kustomization(requested), after: kustomization()},
		"Annotated":        {reason: "other annotations do not count", before: kustomization(), after: kustomization(annotated)},
		"AnyAnnotation":    {reason: "unless the kind wants them", before: kustomization(), after: kustomization(annotated), anyAnnotation: true, want: map[string]engine.Priority{"app": engine.Changed}},
	} {
		t.Run(name, func(t *testing.T) {
			q, h := &recorded{}, own[*kustomizev1.Kustomization](tc.anyAnnotation)

			if tc.before == nil {
				h.Create(context.Background(), event.TypedCreateEvent[*kustomizev1.Kustomization]{Object: tc.after, IsInInitialList: tc.initial}, q)
			} else {
				h.Update(context.Background(), event.TypedUpdateEvent[*kustomizev1.Kustomization]{ObjectOld: tc.before, ObjectNew: tc.after}, q)
			}

			if diff := cmp.Diff(tc.want, q.added); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAdvanced(t *testing.T) {
	applied := func(revision string) func(*kustomizev1.Kustomization) {
		return func(k *kustomizev1.Kustomization) { k.Status.LastAppliedRevision = revision }
	}

	for name, tc := range map[string]struct {
		reason        string
		before, after *kustomizev1.Kustomization
		want          bool
	}{
		"BecameReady":  {"those that depend on it may go on", kustomization(), kustomization(ready), true},
		"StillReady":   {"nothing is new", kustomization(ready, applied("1")), kustomization(ready, applied("1")), false},
		"NewRevision":  {"those of the same source waited for it", kustomization(ready, applied("1")), kustomization(ready, applied("2")), true},
		"BecameFailed": {"nobody can go on because of a failure", kustomization(ready), kustomization(), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := advanced(tc.before, tc.after); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}

func TestRenewed(t *testing.T) {
	source := func(a *meta.Artifact) *sourcev1.GitRepository {
		return &sourcev1.GitRepository{Status: sourcev1.GitRepositoryStatus{Artifact: a}}
	}
	artifact := func(revision, digest string, stored int64) *sourcev1.GitRepository {
		return source(&meta.Artifact{Revision: revision, Digest: digest, LastUpdateTime: metav1.Unix(stored, 0)})
	}

	for name, tc := range map[string]struct {
		reason        string
		before, after *sourcev1.GitRepository
		want          bool
	}{
		"None":     {"there is nothing to deliver", source(nil), source(nil), false},
		"First":    {"it was waited for", source(nil), artifact("1", "a", 1), true},
		"Gone":     {"there is nothing to deliver", artifact("1", "a", 1), source(nil), false},
		"Same":     {"nothing is new", artifact("1", "a", 1), artifact("1", "a", 1), false},
		"Revision": {"it is another one", artifact("1", "a", 1), artifact("2", "a", 1), true},
		"Digest":   {"what is ignored has changed", artifact("1", "a", 1), artifact("1", "b", 1), true},
		"Stored":   {"it was lost, and those that missed it wait", artifact("1", "a", 1), artifact("1", "a", 2), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := renewed(tc.before, tc.after); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}

func TestWakerKeepsWhatComesEarly(t *testing.T) {
	w, q := newWaker(), &recorded{}
	early, late := types.NamespacedName{Namespace: "ns", Name: "early"}, types.NamespacedName{Namespace: "ns", Name: "late"}

	w.Wake(early, engine.Drift)
	w.Wake(early, engine.Startup)

	if err := w.Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}

	w.Wake(late, engine.Asked)

	want := map[string]engine.Priority{"early": engine.Drift, "late": engine.Asked}
	if diff := cmp.Diff(want, q.added); diff != "" {
		t.Errorf("queued (-want +got):\n%s", diff)
	}
}
