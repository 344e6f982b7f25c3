package kustomize

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// removal is what becomes of the objects of a Kustomization that is deleted.
type removal int

const (
	leave removal = iota
	deleteAll
	deleteAndWait
)

// removalOf decides it from the spec.
func removalOf(obj *kustomizev1.Kustomization) removal {
	if obj.Spec.Suspend {
		return leave
	}

	switch obj.GetDeletionPolicy() {
	case kustomizev1.DeletionPolicyDelete:
		return deleteAll
	case kustomizev1.DeletionPolicyWaitForTermination:
		return deleteAndWait
	case kustomizev1.DeletionPolicyMirrorPrune:
		if obj.Spec.Prune {
			return deleteAll
		}
	}

	return leave
}

// remove deletes what was applied, as far as the deletion policy says so.
func (r *reconciler) remove(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	what := removalOf(obj)
	if what == leave {
		return nil
	}

	if err := r.recall(ctx, obj, s); err != nil {
		return fmt.Errorf("pruning for deleted resource failed: %w", err)
	}

	if len(s.previous) == 0 {
		return nil
	}

	if what == deleteAndWait && !s.memo.removing.IsZero() {
		return r.terminate(ctx, obj, s)
	}

	if err := r.holdRemoval(ctx, obj, s); err != nil {
		obj.Status.Inventory = inventory(s.previous, nil) // with what was recalled, for that is not looked for again

		return err
	}

	missing, err := r.accountMissing(ctx, obj)
	if err != nil {
		return fmt.Errorf("pruning for deleted resource failed: %w", err)
	}

	if missing != nil {
		r.emitFinal(ctx, obj, corev1.EventTypeWarning, actionFinalize, fmt.Sprintf("unable to prune objects: \n%v", missing))

		return nil
	}

	if err := r.removeAll(ctx, obj, s); err != nil {
		return fmt.Errorf("pruning for deleted resource failed: %w", err)
	}

	if what == deleteAndWait {
		return r.terminate(ctx, obj, s)
	}

	return nil
}

// accountMissing returns the error of a service account that does not exist.
func (r *reconciler) accountMissing(ctx context.Context, obj *kustomizev1.Kustomization) (missing, err error) {
	name := r.account(obj)
	if name == "" {
		return nil, nil
	}

	id := access.ID{Kind: "ServiceAccount", Namespace: obj.Namespace, Name: name}

	_, err = r.home.Own().GetMeta(ctx, access.Ref{ID: id, Version: "v1"})
	if apierrors.IsNotFound(err) {
		return err, nil
	}

	return nil, err
}

func (r *reconciler) removeAll(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	owner := ownerOf(obj)

	client, err := r.clientFor(obj)
	if err != nil {
		return err
	}

	pruned, err := r.Applier.Prune(ctx, client, owner, s.previous, apply.PruneOptions{Concurrency: r.Concurrency})
	s.pruned = pruned.Changes

	if len(pruned.Changes) > 0 {
		r.emitFinal(ctx, obj, corev1.EventTypeNormal, actionFinalize, everything(pruned.Changes))
	}

	if err != nil {
		obj.Status.Inventory = inventory(pruned.Survivors, nil)

		return err
	}

	s.memo.removing, s.memo.goal = r.Now(), without(deleted(pruned.Changes), owner.ID)

	return nil
}

func deleted(changes apply.Changes) []access.ID {
	var ids []access.ID

	for _, c := range changes {
		if c.Action == apply.Deleted {
			ids = append(ids, c.ID)
		}
	}

	return ids
}

// terminate waits until everything is gone, or the timeout is over: that is only told.
func (r *reconciler) terminate(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if len(s.memo.goal) == 0 {
		return nil
	}

	owner := ownerOf(obj)
	refs := make([]access.Ref, len(s.memo.goal))

	for i, id := range s.memo.goal {
		refs[i] = access.Ref{ID: id}
	}

	watching, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()

	if err := r.Applier.Adopt(watching, owner, refs); err != nil {
		return fmt.Errorf("wait for termination: %w", err)
	}

	goal := health.Goal{IDs: s.memo.goal, Gone: true}

	blink, stop := context.WithTimeout(ctx, r.Blink)
	report, gone := r.Hub.Settle(blink, owner.ID, goal)

	stop()

	left := obj.GetTimeout() - r.Now().Sub(s.memo.removing)

	switch {
	case gone:
		return nil
	case left <= 0:
		r.emitFinal(ctx, obj, corev1.EventTypeWarning, actionTerminate, "failed to wait for resources termination")

		return nil
	}

	if len(report.Blind) > 0 {
		return r.pollTermination(ctx, obj, owner, left)
	}

	r.Hub.Await(owner.ID, &goal)

	return engine.Await(left, "Waiting for the termination of the objects")
}

// pollTermination looks at objects that cannot be watched.
func (r *reconciler) pollTermination(
	ctx context.Context, obj *kustomizev1.Kustomization, owner apply.Owner, left time.Duration,
) error {
	client, err := r.clientFor(obj)
	if err != nil {
		return err
	}

	if err := r.Hub.Poll(ctx, client, owner.ID); err != nil {
		return fmt.Errorf("wait for termination: %w", err)
	}

	return engine.Await(min(left, lookAgain), "Waiting for the termination of the objects")
}

// emitFinal tells of a deletion. Its reason is that of Ready at the time.
func (r *reconciler) emitFinal(ctx context.Context, obj *kustomizev1.Kustomization, typ, action, message string) {
	reason := meta.ProgressingReason
	if c := engine.Condition(obj, meta.ReadyCondition); c != nil {
		reason = c.Reason
	}

	m := map[string]string{}
	if obj.Status.LastAppliedRevision != "" {
		m[meta.MetaRevisionKey] = obj.Status.LastAppliedRevision
	}

	engine.Emit(ctx, engine.Event{Type: typ, Reason: reason, Action: action, Message: message, Metadata: m})
}
