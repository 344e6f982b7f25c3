package kustomize

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
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
	// again is when to look again at the latest, though nothing happens, or zero.
	again time.Duration
	// late says that there is somebody of whom nobody knows what he wants, be he waited for or not.
	late bool
}

// add takes one more into account.
func (a *answer) add(key types.NamespacedName, l lag) {
	for id := range l.wants {
		a.wanted[id] = struct{}{}
	}

	a.late = a.late || l.late
	if l.again > 0 && (a.again == 0 || l.again < a.again) {
		a.again = l.again
	}

	if a.on == (types.NamespacedName{}) || l.patience > a.patience {
		a.on, a.patience = key, l.patience
	}
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
		owner: q.self(), source: sourceOf(q.obj),
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
		return answer{on: on, patience: q.patience, again: shortPatience, late: true}, nil
	}

	if last := r.Family.hint(nil); last.Name != "" {
		if l := r.find(ctx, q, last); l.isOpen(q) {
			return answer{on: last, patience: q.patience, late: true}, nil
		}
	}

	others, err := r.Family.relatives.OfSource(ctx, q.kind, q.source)
	if err != nil {
		return answer{}, fmt.Errorf("look for the other Kustomizations of %s '%s': %w", q.kind, q.source, err)
	}

	a := answer{wanted: map[string]struct{}{}}

	for _, other := range others {
		l := r.lags(ctx, q, other)
		a.late = a.late || l.late

		if l.isNone() {
			continue
		}

		key := client.ObjectKeyFromObject(other)

		if l.isOpen(q) {
			r.Family.hint(&key)

			return answer{on: key, patience: q.patience, late: true}, nil
		}

		if l.silent {
			r.Family.wake(key) // and it is going to say what it wants
		}

		a.add(key, l)
	}

	return a, nil
}

// family returns somebody who is just changing Kustomizations, so that what the cache shows of them proves nothing: the one
// that applies this one, or a Kustomization that was written and is not seen yet.
func (r *reconciler) family(ctx context.Context, q *quest) types.NamespacedName {
	if parent := q.parent(); r.Family.isApplying(parent, r.Now()) {
		return parent
	}

	for key, generation := range r.Family.expected(r.Now()) {
		if r.isHidden(ctx, q, key, generation) {
			return key
		}
	}

	return types.NamespacedName{}
}

// isHidden tells whether the cache does not show the generation of the Kustomization yet.
func (r *reconciler) isHidden(ctx context.Context, q *quest, key types.NamespacedName, generation int64) bool {
	if _, leaves := q.leaving[key]; leaves || key == q.self() {
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
	if key == q.parent() && r.Family.isApplying(key, r.Now()) {
		return true
	}

	if generation, written := r.Family.expected(r.Now())[key]; written && r.isHidden(ctx, q, key, generation) {
		return true
	}

	return !r.find(ctx, q, key).isNone()
}

// find tells what lags does of the one with the name. Nobody waits for one that is not there.
func (r *reconciler) find(ctx context.Context, q *quest, key types.NamespacedName) lag {
	other, err := r.Family.relatives.Kustomization(ctx, key)
	if err != nil {
		return lag{}
	}

	return r.lags(ctx, q, other)
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
func (a *answer) limit(ref access.Ref, most time.Duration) time.Duration {
	if _, ok := a.wanted[ref.Entry()]; ok {
		return most
	}

	return a.patience
}
