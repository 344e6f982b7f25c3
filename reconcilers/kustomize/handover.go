package kustomize

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const (
	// PruneHeldCondition is True as long as objects that left the set are not deleted, because other Kustomizations may take
	// them over. Otherwise it is not there.
	PruneHeldCondition = "PruneHeld"

	// AwaitingOthersReason is the reason of the condition, and of the event if the wait was in vain.
	AwaitingOthersReason = "AwaitingOthers"

	// longPatience is how long objects that left a Kustomization stay at most, if somebody else may take them over: deleting
	// what was only moved may lose data, and what is kept for too long is only in the way. It is spent once on each
	// Kustomization that does not come.
	longPatience = 5 * time.Minute

	// deletionPatience is the same when the Kustomization itself is deleted, which somebody may wait for.
	deletionPatience = 2 * time.Minute

	// shortPatience is for those who were waited for in vain before.
	shortPatience = 10 * time.Second

	// maxHeldNamed is how many objects the condition names.
	maxHeldNamed = 10
)

// hold parts the objects that left the set into those to prune now and those that somebody else may take over. Each is held
// back for so long at most, however many revisions come meanwhile.
func (r *reconciler) hold(ctx context.Context, obj *kustomizev1.Kustomization, s *scope, stale []access.Ref) (due, held []access.Ref, err error) {
	due = r.Applier.Yielded(ownerOf(obj), stale)

	kept := difference(stale, due)
	if len(kept) == 0 {
		r.unhold(obj, s)

		return due, nil, nil
	}

	q := questOf(obj, s.artifact.Revision, kept)

	a, err := r.ask(ctx, q)
	if err != nil {
		return nil, stale, err
	}

	now := r.Now()
	since := make(map[access.ID]time.Time, len(kept))
	s.memo.due = time.Time{}
	vain := false

	for _, ref := range kept {
		at, known := s.memo.held[ref.ID]
		if !known {
			at = now
		}

		end := at.Add(a.limit(ref, q.patience))
		if !now.Before(end) {
			due = append(due, ref)
			vain = vain || a.late && now.Sub(at) >= q.patience

			continue
		}

		held, since[ref.ID] = append(held, ref), at

		if s.memo.due.IsZero() || end.Before(s.memo.due) {
			s.memo.due = end
		}
	}

	if again := now.Add(a.again); a.again > 0 && again.Before(s.memo.due) {
		s.memo.due = again
	}

	s.memo.held = since

	if vain {
		r.renounce(ctx, s, q)
	}

	return due, held, nil
}

// unhold ends the wait with what left the set.
func (r *reconciler) unhold(obj *kustomizev1.Kustomization, s *scope) {
	s.memo.held, s.memo.due = nil, time.Time{}

	engine.Unset(obj, PruneHeldCondition)
	r.Family.release(client.ObjectKeyFromObject(obj))
}

// renounce notes whom nobody waits for any more, or not for long, and says so.
func (r *reconciler) renounce(ctx context.Context, s *scope, q *quest) {
	others, err := r.Family.relatives.OfSource(ctx, q.kind, q.source)
	if err != nil {
		return // the next one finds out
	}

	var names []string

	for _, other := range others {
		if r.lags(ctx, q, other).late && r.Family.giveUp(client.ObjectKeyFromObject(other), r.Now().Add(-q.patience)) {
			names = append(names, fmt.Sprintf("'%s/%s'", other.Namespace, other.Name))
		}
	}

	if len(names) == 0 {
		return
	}

	slices.Sort(names)
	engine.Emit(ctx, engine.Event{
		Type: corev1.EventTypeWarning, Reason: AwaitingOthersReason, Action: actionPrune, Metadata: metadata(s.artifact), Related: s.related(),
		Message: fmt.Sprintf("No longer waiting for %s to apply %s: what it has not taken over is deleted", some(names), q.revision),
	})
}

// tellHeld says in the status what is held, and why.
func tellHeld(obj *kustomizev1.Kustomization, s *scope, held []access.Ref) {
	if len(held) == 0 {
		engine.Unset(obj, PruneHeldCondition)

		return
	}

	names := make([]string, len(held))
	for i, ref := range held {
		names[i] = ref.String()
	}

	slices.Sort(names)

	kind, source := SourceKey(obj)

	engine.Set(obj, PruneHeldCondition, metav1.ConditionTrue, AwaitingOthersReason, fmt.Sprintf(
		"Not deleted before all other Kustomizations of %s '%s' have applied %s, for one of them may take it over: %s",
		kind, source, s.artifact.Revision, some(names)))
}

// some lists the first names.
func some(names []string) string {
	if more := len(names) - maxHeldNamed; more > 0 {
		return strings.Join(names[:maxHeldNamed], ", ") + fmt.Sprintf(" and %d more", more)
	}

	return strings.Join(names, ", ")
}

// arrive notes that everything of the revision is applied, and which Kustomizations that has changed.
func (r *reconciler) arrive(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) {
	if r.Access == r.home {
		owner, written := ownerOf(obj).ID, map[types.NamespacedName]int64{}

		for _, c := range s.applied {
			if key, ok := kustomizationOf(c.ID); ok && (c.Action == apply.Created || c.Action == apply.Configured) {
				written[key] = r.Applier.Generation(owner, c.ID)
			}
		}

		if len(written) > 0 {
			r.Family.expect(written, r.Now())
		}
	}

	r.Family.come(ctx, obj, s.artifact.Revision, nil, r.Now())
}

// intend notes what the Kustomization is going to apply as soon as it can. One that makes others, or changes them, has not come
// before it has done that.
func (r *reconciler) intend(ctx context.Context, obj *kustomizev1.Kustomization, s *scope, objects []*unstructured.Unstructured) {
	wants := make(map[string]struct{}, len(objects))

	for _, u := range objects {
		ref := access.Of(u)
		if _, ok := kustomizationOf(ref.ID); ok {
			r.Family.end(ctx, client.ObjectKeyFromObject(obj), nil)

			return
		}

		wants[ref.Entry()] = struct{}{}
	}

	r.Family.come(ctx, obj, s.artifact.Revision, wants, r.Now())
}
