package kustomize

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// lag is what keeps one from having come to a revision, as far as it matters to somebody who asks.
type lag struct {
	// wants are the objects that he is going to apply.
	wants map[string]struct{}
	// late says that nobody knows what he wants, patience is how long to wait for him then, and again is when that changes though
	// nothing happens, or zero.
	late            bool
	patience, again time.Duration
	// silent says that he is going to say what he wants when he is woken.
	silent bool
}

// isNone tells whether he is not to be waited for.
func (l lag) isNone() bool { return len(l.wants) == 0 && l.patience == 0 }

// isOpen tells whether everything has to wait for him, until he runs.
func (l lag) isOpen(q *quest) bool { return l.patience == q.patience && l.again == 0 && !l.silent }

// lags tells whether the other one is going to look at the revision of the source, and has not yet, or else which of the
// objects it wants.
func (r *reconciler) lags(ctx context.Context, q *quest, other *kustomizev1.Kustomization) lag {
	key := client.ObjectKeyFromObject(other)
	if _, leaves := q.leaving[key]; leaves || key == q.self() || r.stays(q, other) {
		return lag{}
	}

	a, known := r.Family.arrival(key)
	current := known && a.uid == other.UID && a.generation >= other.Generation

	switch here := current && a.revision == q.revision; {
	case here && a.stuck.IsZero():
		return lag{wants: q.among(a.wants)}
	case !current && other.Status.ObservedGeneration == other.Generation && other.Status.LastAppliedRevision == q.revision:
		return lag{wants: q.listed(other.Status.Inventory)} // it has not run in this process, and may have to take them back
	case q.deleted() && r.reaches(ctx, other, q.self()):
		return lag{} // who depends on what is deleted cannot become ready
	case here:
		return a.lag(q, r.Now())
	}

	l := lag{late: true, patience: q.patience}
	if r.Family.isSlow(key) {
		l.patience = shortPatience
	}

	return l
}

// lag is about one who has looked at the revision and cannot apply it. When he could not for long before, this is not where he is
// going to take anything over; when he has only begun to fail, somebody is about to repair what was moved to him.
func (a arrival) lag(q *quest, now time.Time) lag {
	left := longPatience - now.Sub(a.stuck)

	switch {
	case a.silent && left <= 0:
		return lag{late: true, patience: shortPatience, silent: true}
	case a.silent:
		return lag{late: true, patience: q.patience, silent: true}
	case left <= 0:
		return lag{late: true}
	}

	return lag{late: true, patience: q.patience, again: left}
}

// telling makes a step tell when nobody can know what the Kustomization wants, because the step has failed.
func (r *reconciler) telling(
	run func(context.Context, *kustomizev1.Kustomization, *scope) error,
) func(context.Context, *kustomizev1.Kustomization, *scope) error {
	return func(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
		err := run(ctx, obj, s)
		if err == nil || s.artifact == nil || ctx.Err() != nil {
			return err
		}

		v, ok := errors.AsType[*engine.Verdict](err)
		if ok && v.Outcome != engine.Failed && v.Reason != meta.DependencyNotReadyReason {
			return err // it waits for something that comes in a moment, or is Stalled
		}

		r.Family.stop(ctx, client.ObjectKeyFromObject(obj), arrival{
			uid: obj.UID, generation: obj.Generation, revision: s.artifact.Revision, stuck: r.failsSince(obj), silent: s.silent,
		}, r.Now())

		return err
	}
}

// failsSince returns since when the status says that the Kustomization cannot apply, or else now. One that is only unhealthy applies
// what it gets.
func (r *reconciler) failsSince(obj *kustomizev1.Kustomization) time.Time {
	c := engine.Condition(obj, meta.ReadyCondition)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason == meta.HealthCheckFailedReason || c.Reason == meta.PruneFailedReason {
		return r.Now()
	}

	return c.LastTransitionTime.Time
}

// stop notes that the Kustomization cannot apply the revision, unless it is known what it wants of it.
func (f *Family) stop(ctx context.Context, key types.NamespacedName, a arrival, now time.Time) {
	f.mu.Lock()

	known := f.arrivals[key]
	same := known.uid == a.uid && known.generation == a.generation && known.revision == a.revision
	told := same && known.stuck.IsZero()

	if !told {
		switch {
		case known.uid != a.uid: // it has not run in this process
		case known.stuck.IsZero(): // it has only begun to fail, whatever was wrong before
			a.stuck = now
		case known.stuck.Before(a.stuck):
			a.stuck = known.stuck
		}

		a.at = known.at
		f.arrivals[key] = a
	}

	f.mu.Unlock()

	if !told && (!same || known.silent != a.silent) {
		f.Changed(ctx, key)
	}
}

// isSought tells whether somebody waits for those of the source, but for the Kustomization itself.
func (f *Family) isSought(source string, but types.NamespacedName) bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	for owner, v := range f.vigils {
		if v.source == source && owner != but {
			return true
		}
	}

	return false
}

// speak finds out what a Kustomization wants that cannot apply it yet, if somebody waits for that: a dependency that deletes
// something must not wait for those that wait for it. It tells whether there is no point in asking again.
func (r *reconciler) speak(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) bool {
	key := client.ObjectKeyFromObject(obj)

	a, known := r.Family.arrival(key)
	if known && a.uid == obj.UID && a.generation == obj.Generation && a.revision == s.artifact.Revision && !a.silent {
		return true
	}

	if !r.Family.isSought(sourceOf(obj), key) {
		return false
	}

	if r.load(ctx, obj, s) != nil || r.unlock(ctx, obj, s) != nil {
		return true
	}

	set, err := r.objects(ctx, obj, s, func(string) {})
	if _, missing := errors.AsType[*build.PathError](err); missing {
		r.Family.come(ctx, obj, s.artifact.Revision, nil, r.Now())
	}

	if err == nil {
		r.intend(ctx, obj, s, set.Objects)
	}

	return true
}

// sourceOf names the source of the Kustomization.
func sourceOf(obj *kustomizev1.Kustomization) string {
	kind, key := SourceKey(obj)

	return kind + "/" + key.String()
}
