package resourceset

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// endPatience is how long what goes first may take to be gone: it deletes what it has deployed itself.
const endPatience = time.Minute

// prune deletes what is no longer rendered, now that all that is has been applied.
func (r *reconciler) prune(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) error {
	if !s.decision.work {
		return nil
	}
	if !s.memo.adopted {
		known := references(inventory(s.memo.current, s.previous))
		lost, err := r.lost(ctx, obj, s.client, r.Applier.Orphans(ownerOf(obj), known))
		if err != nil {
			return r.failed(obj, s, err)
		}
		s.previous = append(s.previous, lost...)
		s.memo.adopted = true
	}
	left, err := r.takeOut(ctx, obj, s, difference(s.previous, s.memo.current))
	obj.Status.Inventory = inventory(s.memo.current, left)
	if _, waits := err.(*engine.Verdict); waits { //nolint:errorlint // it is not wrapped
		return err
	}
	if err != nil {
		return r.failed(obj, s, err)
	}
	s.memo.key, s.memo.inventory = s.key, entries(obj.Status.Inventory)
	return nil
}

// takeOut deletes the objects: first the Kustomizations and HelmReleases, which need what is there to delete what they have deployed, and
// when they are gone the others. It returns those that are still to be deleted, or on their way; a verdict if it waits for these.
func (r *reconciler) takeOut(ctx context.Context, obj *fluxv1.ResourceSet, s *scope, stale []access.Ref) (left []access.Ref, err error) {
	first, rest := split(stale)
	if len(first) > 0 {
		gone, err := r.pruneFirst(ctx, obj, s, first)
		if err != nil {
			return append(gone, rest...), err
		}
	}
	s.memo.ending = time.Time{}
	if len(rest) == 0 {
		return nil, nil
	}
	pruned, err := r.Applier.Prune(ctx, s.client, ownerOf(obj), rest, apply.PruneOptions{Concurrency: r.Concurrency})
	s.pruned = append(s.pruned, pruned.Changes...)
	return pruned.Survivors, err
}

// pruneFirst deletes what goes first and waits for its end, as long as that may take. It returns what is still there.
func (r *reconciler) pruneFirst(ctx context.Context, obj *fluxv1.ResourceSet, s *scope, first []access.Ref) ([]access.Ref, error) {
	owner := ownerOf(obj)
	if !s.memo.ending.IsZero() && r.Now().Sub(s.memo.ending) >= endPatience {
		return nil, nil
	}
	pruned, err := r.Applier.Prune(ctx, s.client, owner, first, apply.PruneOptions{Concurrency: r.Concurrency})
	if err != nil {
		s.pruned = append(s.pruned, pruned.Changes...)
		return pruned.Survivors, err
	}
	if s.memo.ending.IsZero() { // what is told once is not told again
		s.pruned, s.memo.ending = append(s.pruned, pruned.Changes...), r.Now()
	}
	var doomed []access.Ref
	for _, c := range pruned.Changes {
		if c.Action == apply.Deleted {
			doomed = append(doomed, c.Ref)
		}
	}
	if len(doomed) == 0 {
		return nil, nil
	}
	return r.awaitEnd(ctx, obj, s, doomed)
}

// awaitEnd waits for the end of objects that are deleted.
func (r *reconciler) awaitEnd(ctx context.Context, obj *fluxv1.ResourceSet, s *scope, doomed []access.Ref) ([]access.Ref, error) {
	owner := ownerOf(obj)
	watching, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	if err := r.Applier.Adopt(watching, owner, slices.Concat(s.memo.current, doomed)); err != nil {
		return doomed, fmt.Errorf("wait for termination: %w", err)
	}
	goal := health.Goal{IDs: identities(doomed), Gone: true}
	blink, stop := context.WithTimeout(ctx, r.Blink)
	report, gone := r.Hub.Settle(blink, owner.ID, goal)
	stop()
	if gone {
		return nil, nil
	}
	after := endPatience - r.Now().Sub(s.memo.ending)
	if len(report.Blind) > 0 {
		if err := r.Hub.Poll(ctx, s.client, owner.ID); err != nil {
			return doomed, fmt.Errorf("wait for termination: %w", err)
		}
		after = min(after, lookAgain)
	}
	r.Hub.Await(owner.ID, &goal)
	return doomed, engine.Await(max(after, time.Millisecond), "Waiting for the termination of Kustomizations and HelmReleases")
}

// split divides what goes first from the rest.
func split(refs []access.Ref) (first, rest []access.Ref) {
	for _, ref := range refs {
		if ref.Group == kustomizev1.Group && ref.Kind == kustomizev1.KustomizationKind ||
			ref.Group == "helm.toolkit.fluxcd.io" && ref.Kind == "HelmRelease" {
			first = append(first, ref)
		} else {
			rest = append(rest, ref)
		}
	}
	return first, rest
}

// lost returns those of the objects that were applied and then forgotten: the process ended before the inventory was written. That an
// object has the owner's labels is not enough, for controllers copy labels to what they make, and what was left on purpose keeps them. It
// must have been applied since the last attempt that the status tells of.
func (r *reconciler) lost(ctx context.Context, obj *fluxv1.ResourceSet, c *access.Client, suspects []access.Ref) ([]access.Ref, error) {
	since := obj.CreationTimestamp.Time
	if last := obj.Status.History.Latest(); last != nil && last.LastReconciled.After(since) {
		since = last.LastReconciled.Time
	}
	since = since.Truncate(time.Second)
	var lost []access.Ref
	for _, ref := range suspects {
		m, err := c.GetMeta(ctx, ref)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at %s, which is not in the inventory: %w", ref.ID, err)
		}
		if metav1.GetControllerOf(m) == nil && slices.ContainsFunc(m.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
			return e.Manager == Manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" &&
				e.Time != nil && !e.Time.Time.Before(since)
		}) {
			lost = append(lost, ref)
		}
	}
	return lost, nil
}

// remove deletes what was applied, unless the ResourceSet is disabled, or the account is gone with whose rights that would be done.
func (r *reconciler) remove(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) (err error) {
	if obj.Suspended() || len(s.previous) == 0 {
		return nil
	}
	missing, err := r.accountMissing(ctx, obj)
	if err != nil {
		return failing(err)
	}
	if missing != nil {
		engine.Emit(ctx, engine.Event{
			Type: corev1.EventTypeWarning, Reason: meta.ReconciliationFailedReason, Action: actionFinalize,
			Message:  fmt.Sprintf("service account not found, what was applied is left: %v", missing),
			Metadata: metadata(obj.Status.LastAppliedRevision),
		})
		return nil
	}
	if s.client, err = r.clientFor(obj); err != nil {
		return failing(err)
	}
	left, err := r.takeOut(ctx, obj, s, s.previous)
	obj.Status.Inventory = inventory(left)
	if log := s.pruned.Log(); log != "" {
		engine.Emit(ctx, engine.Event{
			Reason: meta.ProgressingReason, Action: actionFinalize, Message: log, Metadata: metadata(obj.Status.LastAppliedRevision),
		})
	}
	if _, waits := err.(*engine.Verdict); waits || err == nil { //nolint:errorlint // it is not wrapped
		return err
	}
	return failing(fmt.Errorf("pruning for deleted resource failed: %w", err))
}

// accountMissing returns the error of a service account that does not exist.
func (r *reconciler) accountMissing(ctx context.Context, obj *fluxv1.ResourceSet) (missing, err error) {
	name := r.account(obj)
	if valid := access.CheckAccount(obj.Namespace, name) == nil; !valid { // clientFor says what is wrong
		return nil, nil
	}
	_, err = r.Access.Own().GetMeta(ctx, access.Ref{
		ID: access.ID{Kind: "ServiceAccount", Namespace: obj.Namespace, Name: name}, Version: "v1",
	})
	if apierrors.IsNotFound(err) {
		return err, nil
	}
	return nil, err
}
