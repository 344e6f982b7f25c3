package kustomize

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
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

// quest is what is asked before objects are deleted: whether other Kustomizations of the same source and cluster, which have
// not come to the revision yet, may want them.
type quest struct {
	obj      *kustomizev1.Kustomization // read only
	kind     string
	source   types.NamespacedName
	cluster  string
	revision string
	patience time.Duration
	objects  map[string]struct{} // by their IDs in inventories
	leaving  map[types.NamespacedName]struct{}
}

// answer is what a quest found.
type answer struct {
	// on is somebody who is to be waited for, or nobody.
	on types.NamespacedName
	// patience is how long it is worth waiting with everything. Zero means that only what is wanted has to wait.
	patience time.Duration
	// wanted are the objects that somebody is known to want, who has not applied them yet.
	wanted map[string]struct{}
}

func questOf(obj *kustomizev1.Kustomization, revision string, refs []access.Ref) *quest {
	q := &quest{
		obj: obj.DeepCopy(), cluster: clusterOf(obj), revision: revision, patience: longPatience,
		objects: make(map[string]struct{}, len(refs)), leaving: map[types.NamespacedName]struct{}{},
	}
	q.kind, q.source = SourceKey(obj)

	for _, ref := range refs {
		q.objects[ref.Entry()] = struct{}{}

		if key, ok := kustomizationOf(ref.ID); ok {
			q.leaving[key] = struct{}{}
		}
	}

	return q
}

func (q *quest) self() types.NamespacedName { return client.ObjectKeyFromObject(q.obj) }

// parent returns who applies the Kustomization, if anybody does.
func (q *quest) parent() types.NamespacedName {
	labels := q.obj.GetLabels()

	return types.NamespacedName{Namespace: labels[kustomizev1.OwnerNamespaceLabel], Name: labels[kustomizev1.OwnerNameLabel]}
}

// deleted tells whether the quest is for a Kustomization that is deleted.
func (q *quest) deleted() bool { return !q.obj.DeletionTimestamp.IsZero() }

// kustomizationOf returns the name of the object if it is a Kustomization.
func kustomizationOf(id access.ID) (types.NamespacedName, bool) {
	return types.NamespacedName{Namespace: id.Namespace, Name: id.Name}, id.Kind == kustomizev1.KustomizationKind && id.Group == kustomizev1.Group
}

// clusterOf returns the same for Kustomizations that may have the same cluster: those whose kubeconfigs have the same name, be
// it in different namespaces.
func clusterOf(obj *kustomizev1.Kustomization) string {
	to := obj.Spec.KubeConfig

	switch {
	case to == nil:
		return ""
	case to.SecretRef != nil:
		return fmt.Sprintf("Secret/%s/%s", to.SecretRef.Name, to.SecretRef.Key)
	case to.ConfigMapRef != nil:
		return "ConfigMap/" + to.ConfigMapRef.Name
	}

	return "nothing"
}

// ask finds out who may want the objects. If somebody does, the Kustomization is woken when that changes.
func (r *reconciler) ask(ctx context.Context, q *quest) (answer, error) {
	v := &vigil{
		owner: q.self(),
		ask:   func(ctx context.Context) (answer, error) { return r.survey(ctx, q) },
		still: func(ctx context.Context, key types.NamespacedName) bool { return r.isAwaited(ctx, q, key) },
	}

	r.Family.release(v.owner)

	a, err := v.ask(ctx)
	if err != nil || a.on == (types.NamespacedName{}) {
		return a, err
	}

	v.first = a
	r.Family.watch(v)

	if a, err = r.Family.bind(ctx, v); err == nil && a.on == (types.NamespacedName{}) {
		r.Family.release(v.owner) // the last one came just now
	}

	return a, err
}

// survey looks at all that may want the objects. It ends with the first one of whom nobody knows what he wants.
func (r *reconciler) survey(ctx context.Context, q *quest) (answer, error) {
	if on := r.family(ctx, q); on != (types.NamespacedName{}) {
		return answer{on: on, patience: q.patience}, nil
	}

	if last := r.Family.hint(nil); last.Name != "" && !r.Family.isSlow(last) && r.isAwaited(ctx, q, last) {
		return answer{on: last, patience: q.patience}, nil
	}

	others, err := r.Family.relatives.OfSource(ctx, q.kind, q.source)
	if err != nil {
		return answer{}, fmt.Errorf("look for the other Kustomizations of %s '%s': %w", q.kind, q.source, err)
	}

	a := answer{wanted: map[string]struct{}{}}

	for _, other := range others {
		late, wants := r.lags(ctx, q, other)
		if !late && len(wants) == 0 {
			continue
		}

		key := client.ObjectKeyFromObject(other)
		a.on = key

		switch {
		case !late:
			for id := range wants {
				a.wanted[id] = struct{}{}
			}
		case r.Family.isSlow(key):
			a.patience = shortPatience
		default:
			r.Family.hint(&key)

			return answer{on: key, patience: q.patience}, nil
		}
	}

	return a, nil
}

// family returns somebody who is just changing Kustomizations, so that what the cache shows of them proves nothing: the one
// that applies this one, or a Kustomization that was written and is not seen yet.
func (r *reconciler) family(ctx context.Context, q *quest) types.NamespacedName {
	if parent := q.parent(); r.Family.isApplying(parent, r.Now()) {
		return parent
	}

	for key := range r.Family.expected(r.Now()) {
		if r.isHidden(ctx, q, key) {
			return key
		}
	}

	return types.NamespacedName{}
}

// isHidden tells whether the Kustomization was written, and the cache does not show that yet.
func (r *reconciler) isHidden(ctx context.Context, q *quest, key types.NamespacedName) bool {
	generation, written := r.Family.expected(r.Now())[key]
	if _, leaves := q.leaving[key]; !written || leaves || key == q.self() {
		return false
	}

	shown, err := r.Family.relatives.Kustomization(ctx, key)
	if err != nil || shown.Generation < generation {
		return true
	}

	r.Family.seen(key, generation)

	return false
}

// isAwaited tells whether the Kustomization is still one to wait for.
func (r *reconciler) isAwaited(ctx context.Context, q *quest, key types.NamespacedName) bool {
	if key == q.parent() && r.Family.isApplying(key, r.Now()) || r.isHidden(ctx, q, key) {
		return true
	}

	other, err := r.Family.relatives.Kustomization(ctx, key)
	if err != nil {
		return false
	}

	late, wants := r.lags(ctx, q, other)

	return late || len(wants) > 0
}

// lags tells whether the other one is going to look at the revision of the source, and has not yet, or else which of the
// objects it wants.
func (r *reconciler) lags(ctx context.Context, q *quest, other *kustomizev1.Kustomization) (late bool, wants map[string]struct{}) {
	key := client.ObjectKeyFromObject(other)
	if _, leaves := q.leaving[key]; leaves || key == q.self() || r.stays(q, other) {
		return false, nil
	}

	a, known := r.Family.arrival(key)

	switch current := known && a.uid == other.UID && a.generation >= other.Generation; {
	case current && a.revision == q.revision:
		return false, q.among(a.wants)
	case !current && other.Status.ObservedGeneration == other.Generation && other.Status.LastAppliedRevision == q.revision:
		return false, q.listed(other.Status.Inventory) // it has not run in this process, and may have to take them back
	}

	return !q.deleted() || !r.reaches(ctx, other, q.self()), nil // who depends on what is deleted cannot become ready
}

// stays tells whether the other one is not going to take anything over, whatever it finds.
func (r *reconciler) stays(q *quest, other *kustomizev1.Kustomization) bool {
	if other.Spec.Suspend || !other.DeletionTimestamp.IsZero() || clusterOf(other) != q.cluster {
		return true
	}

	if kind, source := SourceKey(other); kind != q.kind || source != q.source || r.mayRefer(other, kind, source) != nil {
		return true
	}

	c := engine.Condition(other, meta.StalledCondition)

	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == other.Generation
}

// among returns which of the objects are in the set.
func (q *quest) among(set map[string]struct{}) map[string]struct{} {
	var both map[string]struct{}

	for id := range q.objects {
		if _, ok := set[id]; ok {
			if both == nil {
				both = map[string]struct{}{}
			}

			both[id] = struct{}{}
		}
	}

	return both
}

// listed returns which of the objects are in the inventory.
func (q *quest) listed(in *meta.ResourceInventory) map[string]struct{} {
	var both map[string]struct{}

	for _, entry := range entries(in) {
		if _, ok := q.objects[entry.ID]; ok {
			if both == nil {
				both = map[string]struct{}{}
			}

			both[entry.ID] = struct{}{}
		}
	}

	return both
}

// limit returns how long the object may be kept.
func (a answer) limit(ref access.Ref, most time.Duration) time.Duration {
	if _, ok := a.wanted[ref.Entry()]; ok {
		return most
	}

	return a.patience
}

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
			vain = vain || a.patience == q.patience

			continue
		}

		held, since[ref.ID] = append(held, ref), at

		if s.memo.due.IsZero() || end.Before(s.memo.due) {
			s.memo.due = end
		}
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
		if late, _ := r.lags(ctx, q, other); late && r.Family.giveUp(client.ObjectKeyFromObject(other)) {
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
		owner, now := ownerOf(obj).ID, r.Now()

		for _, c := range s.applied {
			if key, ok := kustomizationOf(c.ID); ok && (c.Action == apply.Created || c.Action == apply.Configured) {
				r.Family.expect(key, child{generation: r.Applier.Generation(owner, c.ID), at: now})
			}
		}
	}

	r.Family.come(ctx, obj, s.artifact.Revision, nil)
}

// intend notes what the Kustomization is going to apply as soon as it can. One that makes others, or changes them, has not come
// before it has done that.
func (r *reconciler) intend(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) {
	wants := make(map[string]struct{}, len(s.set.Objects))

	for _, u := range s.set.Objects {
		ref := access.Of(u)
		if _, ok := kustomizationOf(ref.ID); ok {
			r.Family.end(ctx, client.ObjectKeyFromObject(obj), nil)

			return
		}

		wants[ref.Entry()] = struct{}{}
	}

	r.Family.come(ctx, obj, s.artifact.Revision, wants)
}
