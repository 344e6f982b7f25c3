package kustomize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// apply brings the objects into the cluster. The inventory holds them from now on.
func (r *reconciler) apply(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if !s.decision.work {
		r.reportFights(ctx, obj, s, r.Applier.Fights(ownerOf(obj).ID))

		return nil
	}

	progress(ctx, obj, s, "Detecting drift")

	owner := ownerOf(obj)
	digest := applyDigest(obj, s)

	r.Family.begin(client.ObjectKeyFromObject(obj), r.Now())

	result, err := r.Applier.Apply(ctx, s.client, owner, s.set.Objects, r.applyOptions(obj, s, digest))
	s.applied = result.Changes
	s.attempt.changed = s.attempt.changed || s.applied.Changed()

	if waiting, ok := errors.AsType[*apply.Waiting](err); ok {
		return r.pause(ctx, obj, s, waiting)
	}

	if err != nil {
		r.intend(ctx, obj, s, s.set.Objects)

		s.memo.adopted = false

		if len(s.applied) > 0 {
			obj.Status.Inventory = inventory(references(s.applied.Inventory()), s.previous)
		}

		err = r.blame(ctx, obj, s, err)
		s.memo.approved = "" // what is left is another plan

		if log := s.applied.Log(); log != "" {
			err = fmt.Errorf("%w\n%s", err, log)
			s.applied = nil
		}

		return r.failed(obj, s, meta.ReconciliationFailedReason, err)
	}

	r.reportFights(ctx, obj, s, result.Fights)
	r.arrive(ctx, obj, s)

	current := references(s.applied.Inventory())

	if !s.memo.adopted {
		known := references(inventory(current, s.previous))

		lost, err := r.lost(ctx, obj, r.Applier.Orphans(owner, known))
		if err != nil {
			return r.failed(obj, s, meta.ReconciliationFailedReason, err)
		}

		if obj.Spec.Plan == kustomizev1.PlanManual {
			s.unplanned = lost
		}

		s.previous = append(s.previous, lost...)
		s.memo.adopted, s.memo.unwritten = true, false
	}

	obj.Status.Inventory = inventory(current, nil)
	s.memo.applied = digest

	if s.decision.full || s.memo.checked.IsZero() {
		s.memo.checked = r.Now()
	}

	return nil
}

// pause gives the worker back until a stage has taken effect. What was applied so far is in the inventory, and told when the
// apply has come to its end.
func (r *reconciler) pause(ctx context.Context, obj *kustomizev1.Kustomization, s *scope, w *apply.Waiting) error {
	obj.Status.Inventory = inventory(references(s.applied.Inventory()), s.previous)
	s.applied = nil

	owner := ownerOf(obj).ID
	if len(w.Goal.IDs) > 0 {
		r.Hub.Await(owner, &w.Goal)
	} else {
		r.Hub.Await(owner, nil)
	}

	return engine.Await(w.After, progress(ctx, obj, s, "Detecting drift"))
}

// applyDigest stands for everything that what is applied, and how, depends on.
func applyDigest(obj *kustomizev1.Kustomization, s *scope) string {
	digest := fmt.Sprintf("%s force=%t", s.set.Digest, obj.Spec.Force)
	if len(obj.Spec.Ignore) == 0 {
		return digest
	}

	rules, err := json.Marshal(obj.Spec.Ignore)
	if err != nil {
		return "" // nothing is the same as this
	}

	return digest + " ignore=" + string(rules)
}

func (r *reconciler) applyOptions(obj *kustomizev1.Kustomization, s *scope, digest string) apply.Options {
	return apply.Options{
		Digest:          digest,
		Inventory:       s.previous,
		Full:            s.decision.full,
		Force:           obj.Spec.Force,
		Ignore:          obj.Spec.Ignore,
		Stages:          r.Stages,
		Takeovers:       r.Takeovers,
		DropLabels:      []string{"fluxcd.io/sync-gc-mark"},
		DropAnnotations: []string{kustomizev1.ChecksumAnnotation, "fluxcd.io/sync-checksum"},
		Concurrency:     r.Concurrency,
		Blink:           r.Blink,
	}
}

// lost returns those of the objects that were applied and then forgotten: the process ended before the inventory was written, or an apply
// never heard what became of its request. That an object has the owner's labels is not enough: controllers copy labels to
// what they make, and what was left on purpose, by a spec without prune or by a Kustomization of the same name that is
// gone, keeps them. It must have been applied by this controller since the last attempt that the status tells of.
func (r *reconciler) lost(ctx context.Context, obj *kustomizev1.Kustomization, suspects []access.Ref) ([]access.Ref, error) {
	owner, since := ownerOf(obj), told(obj)

	client, err := r.clientFor(obj)
	if err != nil {
		return nil, err
	}

	var lost []access.Ref

	for _, ref := range suspects {
		m, err := client.GetMeta(ctx, ref)
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && !obj.DeletionTimestamp.IsZero() {
			continue // what the account may not even see it cannot delete, and must not keep the Kustomization for ever
		}

		if err != nil {
			return nil, fmt.Errorf("look at %s, which is not in the inventory: %w", ref.ID, err)
		}

		if appliedBy(m, owner.Manager, since) {
			lost = append(lost, ref)
		}
	}

	return lost, nil
}

// told returns since when the status tells nothing, in whole seconds.
func told(obj *kustomizev1.Kustomization) time.Time {
	since := obj.CreationTimestamp.Time
	if last := obj.Status.History.Latest(); last != nil && last.LastReconciled.After(since) {
		since = last.LastReconciled.Time
	}

	return since.Truncate(time.Second)
}

// appliedBy tells whether the manager has applied the object since then, and no controller owns it.
func appliedBy(m *metav1.PartialObjectMetadata, manager string, since time.Time) bool {
	if metav1.GetControllerOf(m) != nil {
		return false
	}

	return slices.ContainsFunc(m.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" &&
			e.Time != nil && !e.Time.Time.Before(since)
	})
}

// prune takes out what is no longer built, or forgets it.
func (r *reconciler) prune(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if !s.decision.work {
		return nil
	}

	stale := difference(difference(s.previous, references(obj.Status.Inventory)), s.unplanned)
	if len(stale) == 0 && len(s.unplanned) > 0 && obj.Spec.Prune {
		return r.planAgain(ctx, obj, s)
	}

	if len(stale) == 0 || !obj.Spec.Prune {
		r.unhold(obj, s)
		r.pruneDone(obj, s)

		return nil
	}

	due, held, err := r.hold(ctx, obj, s, stale)
	tellHeld(obj, s, held)

	if err == nil {
		var pruned *apply.Pruned

		pruned, err = r.Applier.Prune(ctx, s.client, ownerOf(obj), due, apply.PruneOptions{Concurrency: r.Concurrency})
		s.pruned, held = pruned.Changes, slices.Concat(pruned.Survivors, held)
	}

	obj.Status.Inventory = inventory(references(obj.Status.Inventory), slices.Concat(held, s.unplanned))

	if err != nil {
		return r.failed(obj, s, meta.PruneFailedReason, err)
	}

	if len(s.unplanned) > 0 {
		return r.planAgain(ctx, obj, s)
	}

	if len(held) == 0 {
		r.pruneDone(obj, s)
	}

	return nil
}

// pruneDone notes that nothing is left to do for the inputs.
func (r *reconciler) pruneDone(obj *kustomizev1.Kustomization, s *scope) {
	s.memo.inputs, s.memo.inventory = s.inputs, obj.Status.Inventory.Entries
	s.memo.approved = ""
}

// entries returns what an inventory holds, if there is one.
func entries(in *meta.ResourceInventory) []meta.ResourceRef {
	if in == nil {
		return nil
	}

	return in.Entries
}

// references reads an inventory. Entries that nobody can read are left out: no object has such a name.
func references(in *meta.ResourceInventory) []access.Ref {
	if in == nil {
		return nil
	}

	refs := make([]access.Ref, 0, len(in.Entries))

	for _, entry := range in.Entries {
		if ref, err := access.ParseInventory(entry); err == nil {
			refs = append(refs, ref)
		}
	}

	return refs
}

// inventory lists the references, sorted. An object in both lists is taken from the first.
func inventory(refs, more []access.Ref) *meta.ResourceInventory {
	all := append(slices.Clone(refs), difference(more, refs)...)
	out := &meta.ResourceInventory{Entries: make([]meta.ResourceRef, 0, len(all))}

	for _, ref := range all {
		out.Entries = append(out.Entries, ref.Inventory())
	}

	slices.SortFunc(out.Entries, func(a, b meta.ResourceRef) int { return strings.Compare(a.ID, b.ID) })

	return out
}

// difference returns the references of a that are not in b, whatever their versions.
func difference(a, b []access.Ref) []access.Ref {
	in := make(map[access.ID]struct{}, len(b))
	for _, ref := range b {
		in[ref.ID] = struct{}{}
	}

	var out []access.Ref

	for _, ref := range a {
		if _, ok := in[ref.ID]; !ok {
			in[ref.ID] = struct{}{}

			out = append(out, ref)
		}
	}

	return out
}
