package kustomize

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const (
	// lookForOthers is the time between two looks at whether others have come as far as they have to.
	lookForOthers = 2 * time.Second

	// maxHeldPrune is how long objects that left a Kustomization stay at most, though nobody else has taken them over: somebody
	// who never becomes ready may keep others from looking at the revision.
	maxHeldPrune = 5 * time.Minute

	// maxHeldDeletion is how long a deletion waits at most for others that may take over what is about to be deleted.
	maxHeldDeletion = 30 * time.Second

	// maxDependencies bounds the search for cycles.
	maxDependencies = 1000
)

// Relatives finds the names of Kustomizations by what they refer to, in a cache.
type Relatives interface {
	// OfSource returns those that have the source.
	OfSource(ctx context.Context, kind string, key types.NamespacedName) []types.NamespacedName
	// DependingOn returns those that depend on the Kustomization.
	DependingOn(ctx context.Context, key types.NamespacedName) []types.NamespacedName
}

// sources holds for each source and cluster which Kustomizations have come to its revision.
type sources struct {
	mu    sync.Mutex
	known map[string]arrival
	empty map[types.NamespacedName]string // revisions that hold nothing for a Kustomization, which its status does not tell
}

// arrival is what is known of a source: a revision that all of its Kustomizations have come to, as long as there are no
// new ones, or who was the last one found not to have.
type arrival struct {
	revision string
	members  uint64
	last     types.NamespacedName
}

// membersOf returns a number that stands for the names, in whatever order they are.
func membersOf(keys []types.NamespacedName) uint64 {
	var sum uint64
	for _, key := range keys {
		sum += xxhash.Sum64String(key.String())
	}

	return sum
}

func (s *sources) get(source string) arrival {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.known[source]
}

func (s *sources) set(source string, a arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.known == nil {
		s.known = map[string]arrival{}
	}

	s.known[source] = a
}

// vain notes that the revision holds nothing for the Kustomization, or forgets that.
func (s *sources) vain(key types.NamespacedName, revision string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.empty == nil {
		s.empty = map[types.NamespacedName]string{}
	}

	if s.empty[key] = revision; revision == "" {
		delete(s.empty, key)
	}
}

func (s *sources) isVain(key types.NamespacedName, revision string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.empty[key] == revision
}

// late tells whether there is another Kustomization of the same source and cluster that has not come to the revision yet, so
// that nobody knows whether an object has moved to it. Those that are about to be deleted do not count.
func (r *reconciler) late(ctx context.Context, obj *kustomizev1.Kustomization, revision string, stale ...access.Ref) bool {
	if r.Relatives == nil {
		return false
	}

	to, err := json.Marshal(obj.Spec.KubeConfig)
	if err != nil {
		return false // there is no such cluster
	}

	kind, key := SourceKey(obj)
	source := fmt.Sprintf("%s/%s %s", kind, key, to)
	others := r.Relatives.OfSource(ctx, kind, key)
	members := membersOf(others)

	known := r.memory.sources.get(source)
	if known.revision == revision && known.members == members {
		return false
	}

	leaving := make(map[access.ID]struct{}, len(stale))
	for _, ref := range stale {
		leaving[ref.ID] = struct{}{}
	}

	behind := func(other types.NamespacedName) bool {
		_, goes := leaving[Owner(other).ID]

		return !goes && r.behind(ctx, obj, other, revision)
	}

	if known.last.Name != "" && behind(known.last) {
		return true
	}

	for _, other := range others {
		if behind(other) {
			r.memory.sources.set(source, arrival{last: other})

			return true
		}
	}

	r.memory.sources.set(source, arrival{revision: revision, members: members})

	return false
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

// behind tells whether another Kustomization is going to look at the revision of the source, and has not yet.
func (r *reconciler) behind(ctx context.Context, obj *kustomizev1.Kustomization, key types.NamespacedName, revision string) bool {
	if key == client.ObjectKeyFromObject(obj) || r.memory.sources.isVain(key, revision) {
		return false
	}

	other, err := r.Dependencies.Kustomization(ctx, key)
	if err != nil || other.Spec.Suspend || !other.DeletionTimestamp.IsZero() {
		return false
	}

	kind, source := SourceKey(obj)
	if r.mayRefer(other, kind, source) != nil {
		return false // it never will
	}

	if k, s := SourceKey(other); k != kind || s != source || clusterOf(other) != clusterOf(obj) {
		return false
	}

	return other.Status.LastAttemptedRevision != revision
}

// hold parts the objects that left the set into those to delete now and those that may have moved to a Kustomization that has
// not run yet. Each is held back for so long at most, however many revisions come meanwhile.
func (r *reconciler) hold(ctx context.Context, obj *kustomizev1.Kustomization, s *scope, stale []access.Ref) (due, held []access.Ref) {
	if !r.late(ctx, obj, s.artifact.Revision, stale...) {
		s.memo.held = nil

		return stale, nil
	}

	now, limit := r.Now(), min(obj.GetTimeout(), maxHeldPrune)
	since := make(map[access.ID]time.Time, len(stale))

	for _, ref := range stale {
		at, known := s.memo.held[ref.ID]
		if !known {
			at = now
		}

		since[ref.ID] = at

		if now.Sub(at) < limit {
			held = append(held, ref)
		} else {
			due = append(due, ref)
		}
	}

	s.memo.held = since

	return due, held
}

// holdRemoval waits with the deletion of everything, first for those that depend on it and are deleted, too, then for those
// that objects may have moved to.
func (r *reconciler) holdRemoval(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if r.Relatives == nil || !s.memo.removing.IsZero() {
		return nil
	}

	if s.memo.leaving.IsZero() {
		s.memo.leaving = r.Now()
	}

	waited := r.Now().Sub(s.memo.leaving)

	for _, key := range r.Relatives.DependingOn(ctx, client.ObjectKeyFromObject(obj)) {
		if key.Namespace != obj.Namespace && waited >= obj.GetTimeout() {
			continue // somebody else's problems are not ours for ever
		}

		other, err := r.Dependencies.Kustomization(ctx, key)
		if err == nil && r.before(ctx, obj, other) {
			return engine.Await(lookForOthers, fmt.Sprintf("Waiting for the deletion of '%s', which depends on this", key))
		}
	}

	kind, key := SourceKey(obj)

	source, err := r.Sources.Source(ctx, kind, key)
	if err != nil || source.GetArtifact() == nil {
		return nil //nolint:nilerr // without a source, nothing moves any more
	}

	if waited < min(obj.GetTimeout(), maxHeldDeletion) && r.late(ctx, obj, source.GetArtifact().Revision) {
		return engine.Await(lookForOthers, "Waiting for the other Kustomizations of the source, which may take objects over")
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

		if next, err := r.Dependencies.Kustomization(ctx, key); err == nil {
			open = append(open, DependencyKeys(next)...)
		}
	}

	return false
}
