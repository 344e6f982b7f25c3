package kustomize

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const (
	// maxDependencies bounds the search for cycles.
	maxDependencies = 1000

	// deletionGrace is how much longer a deletion waits for a dependent than that waits for its objects.
	deletionGrace = 30 * time.Second
)

// holdRemoval waits with the deletion of everything, first for those that depend on it and are deleted, too, then for those
// that objects may have moved to.
func (r *reconciler) holdRemoval(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if !s.memo.removing.IsZero() {
		return nil
	}

	if s.memo.leaving.IsZero() {
		s.memo.leaving = r.Now()
	}

	if err := r.awaitDependents(ctx, obj, s); err != nil {
		return err
	}

	if err := r.awaitTakers(ctx, obj, s); err != nil {
		return err
	}

	r.Family.free(client.ObjectKeyFromObject(obj), r.Now())

	return nil
}

// awaitDependents waits for the deletion of those that depend on the Kustomization.
func (r *reconciler) awaitDependents(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	self := client.ObjectKeyFromObject(obj)

	others, err := r.Family.relatives.DependingOn(ctx, self)
	if err != nil {
		return fmt.Errorf("look for the dependents: %w", err)
	}

	for _, other := range others {
		on := client.ObjectKeyFromObject(other)

		after := r.patienceWith(obj, other, s)
		if after <= 0 || !r.before(ctx, obj, other) {
			continue
		}

		r.Family.watch(&vigil{owner: self, on: on, until: r.Now().Add(after)})

		if r.isGone(ctx, obj, on) { // while nobody was waiting for it
			r.Family.release(self)

			continue
		}

		return engine.Await(after, fmt.Sprintf("Waiting for the deletion of '%s', which depends on this", on))
	}

	return nil
}

// isGone tells whether the dependent went before its end was waited for.
func (r *reconciler) isGone(ctx context.Context, obj *kustomizev1.Kustomization, key types.NamespacedName) bool {
	other, err := r.Family.relatives.Kustomization(ctx, key)

	return err != nil || !r.before(ctx, obj, other)
}

// patienceWith returns how long to wait for a dependent that is deleted, too. As long as it waits for others itself its time
// does not run, so that a chain goes in order however long it is.
func (r *reconciler) patienceWith(obj, other *kustomizev1.Kustomization, s *scope) time.Duration {
	key := client.ObjectKeyFromObject(other)
	if left := r.Family.heldUntil(key).Sub(r.Now()); left > 0 {
		return left + deletionGrace
	}

	most := other.GetTimeout() + deletionGrace
	if other.Namespace != obj.Namespace {
		most = min(most, obj.GetTimeout()) // somebody else's problems
	}

	since := s.memo.leaving
	if freed := r.Family.freedAt(key); freed.After(since) {
		since = freed
	}

	return most - r.Now().Sub(since)
}

// awaitTakers waits for those that may take over what is about to be deleted.
func (r *reconciler) awaitTakers(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	kind, key := SourceKey(obj)

	source, err := r.Sources.Source(ctx, kind, key)
	if err != nil || source.GetArtifact() == nil || !source.GetDeletionTimestamp().IsZero() {
		return nil //nolint:nilerr // without a source, nothing moves any more
	}

	q := questOf(obj, source.GetArtifact().Revision, s.previous)
	q.patience = deletionPatience

	a, err := r.ask(ctx, q)
	if err != nil {
		return err
	}

	if a.on == (types.NamespacedName{}) {
		return nil
	}

	limit := a.patience
	if len(a.wanted) > 0 {
		limit = q.patience
	}

	after := limit - r.Now().Sub(s.memo.leaving)
	if after > 0 {
		r.Family.holdUntil(client.ObjectKeyFromObject(obj), r.Now().Add(after))

		if a.again > 0 {
			after = min(after, a.again)
		}

		return engine.Await(after, fmt.Sprintf("Waiting for the other Kustomizations of %s '%s', which may take objects over", kind, key))
	}

	if a.late && r.Now().Sub(s.memo.leaving) >= q.patience {
		r.renounce(ctx, s, q)
	}

	return nil
}

// before tells whether the other Kustomization, which depends on this one, has to be gone first. Those that depend on each
// other do not wait.
func (r *reconciler) before(ctx context.Context, obj, other *kustomizev1.Kustomization) bool {
	if other.DeletionTimestamp.IsZero() || removalOf(other) == leave || !slices.Contains(other.Finalizers, meta.Finalizer) {
		return false // what others wait for is not ours to wait for
	}

	if r.mayRefer(other, kustomizev1.KustomizationKind, client.ObjectKeyFromObject(obj)) != nil {
		return false
	}

	return !r.reaches(ctx, obj, client.ObjectKeyFromObject(other))
}

// reaches tells whether the Kustomization depends on the other one, be it through others.
func (r *reconciler) reaches(ctx context.Context, obj *kustomizev1.Kustomization, to types.NamespacedName) bool {
	seen := map[types.NamespacedName]bool{}
	open := DependencyKeys(obj)

	for len(open) > 0 && len(seen) < maxDependencies {
		key := open[0]
		open = open[1:]

		if key == to {
			return true
		}

		if seen[key] {
			continue
		}

		seen[key] = true

		if next, err := r.Family.relatives.Kustomization(ctx, key); err == nil {
			open = append(open, DependencyKeys(next)...)
		}
	}

	return false
}
