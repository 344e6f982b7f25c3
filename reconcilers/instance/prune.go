package instance

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
)

// prune takes out what is no longer wanted, now that what is wanted works. Definitions stay, and so does what a Kustomization
// that goes has deployed.
func (r *reconciler) prune(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	owner := Owner(obj)
	applied := references(s.changes.Inventory())
	known := references(obj.Status.Inventory)
	stale := without(known, applied)
	stale = append(stale, s.Applier.Orphans(owner, known)...)
	kept, doomed := split(stale)
	for _, ref := range doomed {
		if err := s.letGo(ctx, obj, ref); err != nil {
			return r.failed(ctx, obj, s, err)
		}
	}
	pruned, err := s.Applier.Prune(ctx, s.Client, owner, doomed, apply.PruneOptions{})
	if pruned != nil {
		s.pruned = pruned.Changes
		obj.Status.Inventory = inventory(applied, kept, pruned.Survivors)
	}
	if err != nil {
		return r.failed(ctx, obj, s, err)
	}
	return nil
}

// letGo prepares the deletion of the source or Kustomization of a spec.sync that is gone: the Kustomization leaves what it
// deployed, unless the user told it to delete that; and neither waits for a controller that is not there.
func (p Place) letGo(ctx context.Context, obj *fluxv1.FluxInstance, ref access.Ref) error {
	if !isSync(ref) {
		return nil
	}
	live, err := p.Client.Get(ctx, ref)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get %q: %w", ref, err)
	}
	if !owns(obj, live) {
		return nil
	}
	patch := map[string]any{}
	if leaves(live) {
		patch["spec"] = map[string]any{"deletionPolicy": kustomizev1.DeletionPolicyOrphan}
	}
	if !obj.HasComponent(servedBy(ref)) {
		patch["metadata"] = map[string]any{"finalizers": foreign(live.GetFinalizers())}
	}
	if len(patch) == 0 {
		return nil
	}
	return p.merge(ctx, ref, patch)
}

// leaves tells whether the object is a Kustomization without a deletion policy of the user's.
func leaves(live *unstructured.Unstructured) bool {
	if live.GetKind() != kustomizev1.KustomizationKind {
		return false
	}
	policy, _, _ := unstructured.NestedString(live.Object, "spec", "deletionPolicy")
	return policy == "" || policy == kustomizev1.DeletionPolicyMirrorPrune
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
