package instance

import (
	"context"
	"errors"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

const (
	// blink is how long a run waits for health itself, which saves a status that is outdated at once.
	blink = 300 * time.Millisecond

	// recheck is the time between two looks at objects whose recovery wakes nobody: those that failed, and those that cannot be
	// watched; and at the pods of those that are not healthy yet. The looks are at the hub's memory, but for pods.
	recheck = 10 * time.Second

	// soon is when a run goes on whose next step needs the status to be written first.
	soon = time.Millisecond
)

// wait sees to it that what was applied is healthy. It gives the worker back and is woken by the hub.
func (r *reconciler) wait(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	owner := Owner(obj).ID
	if u := obj.Status.Upgrade; s.way == upgrading && u.Phase == fluxv1.UpgradePhaseApplying {
		u.Phase = fluxv1.UpgradePhaseWaiting
	}
	if !obj.GetWait() {
		s.Hub.Await(owner, nil)
		return nil
	}
	goal := health.Goal{IDs: s.awaited()}
	soon, cancel := context.WithTimeout(ctx, blink)
	report, settled := s.Hub.Settle(soon, owner, goal)
	cancel()
	if settled && report.Healthy() {
		s.Hub.Await(owner, nil)
		return nil
	}
	if len(report.Blind) > 0 {
		if err := s.Hub.Poll(ctx, s.Client, owner); err != nil {
			return r.failed(ctx, obj, s, err)
		}
		report = s.Hub.Report(owner, goal.IDs)
	}
	return r.await(ctx, obj, s, goal, report)
}

// awaited are the objects whose health the run waits for. What the last good release synchronizes does not count when that comes
// back: whether it works is up to the contents of a repository.
func (s *scope) awaited() []access.ID {
	ids := s.changes.Applied()
	if s.keeping != nil {
		ids = slices.DeleteFunc(ids, func(id access.ID) bool { return isSync(access.Ref{ID: id}) })
	}
	return ids
}

// await decides how to go on with objects that are not healthy: wait for them while there is time and hope.
func (r *reconciler) await(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, goal health.Goal, report health.Report) error {
	owner := Owner(obj).ID
	if s.way == upgrading && obj.Status.Upgrade.Phase == fluxv1.UpgradePhaseSoaking {
		return r.relapse(ctx, obj, s, report)
	}
	verdict := judge(report, r.diagnose(ctx, s, report), s.patience(obj), r.Now().Sub(s.started))
	if verdict.healthy {
		s.Hub.Await(owner, nil)
		return nil
	}
	if verdict.arm {
		s.Hub.Await(owner, &goal)
	}
	if verdict.failure == "" {
		return s.progress(verdict)
	}
	if verdict.ours {
		if err := r.giveUp(ctx, obj, s, verdict.failure); err != nil {
			return err
		}
	}
	return r.unhealthy(obj, s, verdict)
}

// patience is the time that the target has to become healthy.
func (s *scope) patience(obj *fluxv1.FluxInstance) time.Duration {
	if s.way == upgrading {
		return obj.GetUpgrade().Timeout.Duration
	}
	return obj.GetTimeout()
}

// progress ends a run that waits. While a release is held back, the instance goes on to say why.
func (s *scope) progress(v verdict) error {
	if held, ok := s.heldBy(); ok {
		held.After = v.after
		return held
	}
	return engine.Await(v.after, v.message)
}

// heldBy returns the verdict of a run that holds a release back, if that is not success.
func (s *scope) heldBy() (*engine.Verdict, bool) {
	if s.way != holding || s.keeping.verdict == nil {
		return nil, false
	}
	v := &engine.Verdict{Outcome: engine.Failed, Err: s.keeping.verdict}
	if given, ok := errors.AsType[*engine.Verdict](s.keeping.verdict); ok {
		*v = *given
	}
	return v, true
}

// unhealthy ends a run whose objects are past waiting for.
func (r *reconciler) unhealthy(obj *fluxv1.FluxInstance, s *scope, v verdict) error {
	err := s.mishap(obj, errors.New(v.failure))
	if c := engine.Condition(obj, meta.ReadyCondition); c == nil || c.Message != err.Error() {
		s.failure = err.Error()
		r.remember(obj, s)
	}
	engine.Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, err.Error())
	return engine.Wait(meta.ReconciliationFailedReason, v.after, err)
}
