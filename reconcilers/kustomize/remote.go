package kustomize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/remote"
)

const (
	// connectAgain is when a run looks at the latest whether its cluster is connected to, if nothing wakes it before.
	connectAgain = time.Minute

	// kubeconfigGrace is how long a deletion waits for a kubeconfig that does not exist, in case that somebody is about to put
	// it back.
	kubeconfigGrace = 5 * time.Minute
)

// turnAgain is when a run that gave its worker back looks at the latest whether it may go on.
const turnAgain = 30 * time.Second

type step func(r *reconciler, ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error

// there runs the step in the cluster that the run is about.
func (r *reconciler) there(run step) func(context.Context, *kustomizev1.Kustomization, *scope) error {
	return func(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
		if s.site == nil {
			return run(r, ctx, obj, s)
		}

		if s.visit == nil && s.site.mayTakeLong(obj, s) {
			var err error
			if s.visit, err = r.Remote.Visit(ownerOf(obj).ID); errors.Is(err, remote.ErrBusy) {
				return engine.Await(turnAgain, err.Error())
			} else if err != nil {
				return err
			}
		}

		if s.visit == nil {
			return run(s.site, ctx, obj, s)
		}

		ctx, stop := s.visit.Context(ctx)
		defer stop()

		undo := undoing(obj, s)

		return s.timely(run(s.site, ctx, obj, s), undo)
	}
}

// undoing returns a function that takes back what a run that is now found not to have failed has noted of its failure. What it has
// applied stays.
func undoing(obj *kustomizev1.Kustomization, s *scope) func() {
	history, attempt, approved := slices.Clone(obj.Status.History), s.memo.attempt, s.memo.approved
	healthy := engine.Condition(obj, meta.HealthyCondition).DeepCopy()

	return func() {
		obj.Status.History, s.memo.attempt, s.memo.approved = history, attempt, approved

		if healthy == nil {
			engine.Unset(obj, meta.HealthyCondition)
		} else {
			engine.Set(obj, healthy.Type, healthy.Status, healthy.Reason, healthy.Message)
		}
	}
}

// mayTakeLong tells whether the rest of a run may send requests, and so wait for the cluster.
func (r *reconciler) mayTakeLong(obj *kustomizev1.Kustomization, s *scope) bool {
	return s.decision.work || !obj.DeletionTimestamp.IsZero() || len(s.memo.foreign) > 0 || r.Hub.Blind(ownerOf(obj).ID)
}

// timely returns the verdict of a step, or, if it failed because the visit had to end, what that means: others that are slow are
// waited for, as if nothing had failed, and a cluster that takes too long has failed.
func (s *scope) timely(err error, undo func()) error {
	slow, ok := errors.AsType[*remote.SlowError](s.visit.Err())
	if err == nil || !ok {
		return err
	}

	reason := ""

	if v, ok := errors.AsType[*engine.Verdict](err); ok {
		if v.Outcome != engine.Failed {
			return err
		}

		reason = v.Reason
	}

	if slow.Busy {
		undo()

		return engine.Await(turnAgain, slow.Error())
	}

	return engine.Fail(reason, slow)
}

// connect finds the cluster that the kubeconfig leads to.
func (r *reconciler) connect(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	owner := ownerOf(obj).ID

	if obj.Spec.KubeConfig == nil {
		r.Remote.Release(owner) // there may have been one before
		s.memo.at(r.Access)

		return nil
	}

	r.Applier.Forget(owner) // it may have been applied here before

	err := r.enter(ctx, obj, s)

	switch {
	case errors.Is(err, remote.ErrConnecting):
		return engine.Await(connectAgain, "Connecting to the remote cluster")
	case err != nil:
		s.memo.end()

		return engine.Fail(meta.ReconciliationFailedReason, fmt.Errorf("failed to build kube client: %w", err))
	}

	return nil
}

// enter makes the cluster of the kubeconfig the one that the run is about.
func (r *reconciler) enter(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if err := r.checkAccount(obj); err != nil {
		return err
	}

	cluster, err := r.Remote.Open(ctx, remote.Request{
		Owner: ownerOf(obj).ID, Ref: *obj.Spec.KubeConfig, ServiceAccount: r.account(obj),
	})
	if err != nil {
		return err
	}

	site := *r
	site.Access, site.Hub, site.Applier = cluster.Access, cluster.Hub, cluster.Applier
	s.site = &site
	s.memo.at(site.Access)

	return nil
}

// reach connects to the cluster with the objects of a Kustomization that is deleted, if something may have to be done there. A
// cluster that cannot be reached keeps the finalizer as long as the inventory holds something: whoever wants to leave it
// behind suspends the object. A kubeconfig that is gone keeps it for a while only, for nothing says that it will be back.
func (r *reconciler) reach(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if obj.Spec.KubeConfig == nil || removalOf(obj) == leave {
		return nil
	}

	known := len(s.previous) > 0
	if !known && r.accounted(ctx, obj, s) {
		return nil
	}

	missing, err := r.accountMissing(ctx, obj)
	if err != nil {
		return fmt.Errorf("pruning for deleted resource failed: %w", err)
	}

	if missing != nil {
		r.emitFinal(ctx, obj, corev1.EventTypeWarning, actionFinalize, fmt.Sprintf("unable to prune objects: \n%v", missing))

		return engine.Done() // and never here instead of there
	}

	err = r.enter(ctx, obj, s)

	switch {
	case errors.Is(err, remote.ErrConnecting):
		return engine.Await(connectAgain, "Connecting to the remote cluster")
	case errors.Is(err, remote.ErrMissing) && r.Now().Sub(obj.DeletionTimestamp.Time) > kubeconfigGrace:
		r.emitFinal(ctx, obj, corev1.EventTypeWarning, actionFinalize, fmt.Sprintf("unable to prune objects: \n%v", err))

		return engine.Done()
	case err != nil && known:
		return fmt.Errorf("pruning for deleted resource failed: %w", err)
	}

	return nil // that nothing is known to be there is no reason to keep the object
}
