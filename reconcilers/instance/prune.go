package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/migration"
)

// prune takes out what is no longer wanted, now that what is wanted works. Definitions stay, and so does what a Kustomization
// that goes has deployed, unless the spec says otherwise.
func (r *reconciler) prune(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	known := references(obj.Status.Inventory)
	stale := without(known, references(s.changes.Inventory()))
	stale = append(stale, s.Applier.Orphans(Owner(obj), known)...)
	if err := s.takeOut(ctx, obj, departures(obj, s, stale)); err != nil {
		return r.failed(ctx, obj, s, err)
	}
	return nil
}

// takeOut deletes what is to go: definitions last, when their controllers are gone and what these would have finalized is released.
// What cannot be deleted yet stays in the inventory.
func (s *scope) takeOut(ctx context.Context, obj *fluxv1.FluxInstance, leaving []departure) error {
	var kept, doomed []access.Ref
	for _, d := range leaving {
		if d.stays {
			kept = append(kept, d.Ref)
			continue
		}
		doomed = append(doomed, d.Ref)
		if err := s.letGo(ctx, obj, d); err != nil {
			return err
		}
	}
	definitions, others := split(doomed)
	if len(definitions) > 0 {
		if err := s.stopAll(ctx, obj, slices.DeleteFunc(slices.Clone(others), isNoDeployment)); err != nil {
			return err
		}
	}
	applied := references(s.changes.Inventory())
	pruned, err := s.Applier.Prune(ctx, s.Client, Owner(obj), others, apply.PruneOptions{})
	s.pruned = pruned.Changes
	obj.Status.Inventory = inventory(applied, kept, pruned.Survivors, definitions)
	if err != nil || len(definitions) == 0 {
		return err
	}
	left, err := s.undefine(ctx, obj, definitions)
	obj.Status.Inventory = inventory(applied, kept, left)
	return err
}

// undefine deletes definitions, and returns those that are not gone yet: the API server deletes all objects of their kinds first. What
// these have deployed stays, for nobody is there to delete it, and their finalizers do not hold them up. The hub tells of the end.
func (s *scope) undefine(ctx context.Context, obj *fluxv1.FluxInstance, definitions []access.Ref) (left []access.Ref, err error) {
	for _, ref := range definitions {
		d, err := migration.Read(ctx, s.Client, ref.Name)
		if isGone(err) {
			continue
		}
		if err != nil {
			return definitions, fmt.Errorf("get %q: %w", ref, err)
		}
		doomed, err := s.doomed(ctx, obj, d.GroupKind, definitions)
		if err == nil && doomed { // others are somebody else's, who may serve them
			err = s.releaseKind(ctx, obj, d.GroupKind, definitions)
		}
		if err != nil && !isGone(err) {
			return definitions, err
		}
	}
	pruned, err := s.Applier.Prune(ctx, s.Client, Owner(obj), definitions, apply.PruneOptions{})
	s.pruned = append(s.pruned, pruned.Changes...)
	if err != nil {
		return definitions, err
	}
	left, err = s.lingering(ctx, definitions)
	if err == nil && len(left) > 0 {
		err = s.awaitEnd(ctx, obj, left)
	}
	if err != nil {
		return definitions, err
	}
	return left, nil
}

// awaitEnd makes the hub wake the instance when the objects are gone. What was deleted is no longer observed.
func (p Place) awaitEnd(ctx context.Context, obj *fluxv1.FluxInstance, refs []access.Ref) error {
	if err := p.adopt(ctx, obj, refs); err != nil {
		return err
	}
	p.Hub.Await(Owner(obj).ID, &health.Goal{IDs: identities(refs), Gone: true})
	return nil
}

// lingering returns those of the references whose objects are on their way out. Others that are still there were not deleted on purpose:
// they are somebody else's.
func (p Place) lingering(ctx context.Context, refs []access.Ref) (left []access.Ref, err error) {
	for _, ref := range refs {
		live, err := p.Client.GetMeta(ctx, ref)
		switch {
		case isGone(err):
		case err != nil:
			return nil, fmt.Errorf("get %q: %w", ref, err)
		case live.DeletionTimestamp != nil:
			left = append(left, ref)
		}
	}
	return left, nil
}

// letGo prepares the deletion of the source or Kustomization of a sync that is gone: the Kustomization leaves what it deployed, unless
// that is to go; and neither waits for a controller that is not there.
func (s *scope) letGo(ctx context.Context, obj *fluxv1.FluxInstance, d departure) error {
	if !isSync(d.Ref) {
		return nil
	}
	live, err := s.Client.Get(ctx, d.Ref)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get %q: %w", d.Ref, err)
	}
	if !owns(obj, live) {
		return nil
	}
	patch := map[string]any{}
	if d.orphans {
		patch["spec"] = map[string]any{"deletionPolicy": kustomizev1.DeletionPolicyOrphan}
	}
	if !s.runs(servedBy(d.Ref)) {
		patch["metadata"] = map[string]any{"resourceVersion": live.GetResourceVersion(), "finalizers": remaining(live.GetFinalizers())}
	}
	if len(patch) == 0 {
		return nil
	}
	return s.merge(ctx, d.Ref, patch)
}

// owns tells whether the object carries the labels of the instance.
func owns(obj *fluxv1.FluxInstance, live interface{ GetLabels() map[string]string }) bool {
	labels := live.GetLabels()
	for key, value := range Owner(obj).Labels() {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// merge sends a merge patch. An object that is gone needs none.
func (p Place) merge(ctx context.Context, ref access.Ref, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode patch of %q: %w", ref, err)
	}
	_, err = p.Client.Patch(ctx, ref, types.MergePatchType, body, access.PatchOptions{Manager: Manager})
	if err != nil && !isGone(err) {
		return fmt.Errorf("patch %q: %w", ref, err)
	}
	return nil
}

// isGone tells whether an error says that there is no such object, or no such kind.
func isGone(err error) bool {
	return apierrors.IsNotFound(err) || isNoKind(err)
}
