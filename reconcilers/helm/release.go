package helm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/state"
	"github.com/weir-dev/weir/reconcilers/helm/values"
)

// release observes, decides and acts until nothing is left to do for now.
func (r *reconciler) release(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	defer func() { r.unwatch(obj) }()

	if err := r.enter(ctx, obj, s); err != nil {
		return err
	}

	r = s.site
	requests := state.TakeRequests(obj)

	first, err := r.look(ctx, obj, s)
	if err != nil {
		return engine.Fail(v2.StateErrorReason, err)
	}

	if why, changed := state.TargetChanged(obj, s.metadata.Name); changed {
		logf.FromContext(ctx).Info("Uninstalling the release because its target has changed", "reason", why)

		return r.leave(ctx, obj, s)
	}

	s.saved = obj.Status.StorageNamespace != ""
	obj.Status.StorageNamespace = obj.GetStorageNamespace()

	config, err := values.Digest(s.values, r.SnapshotDigest)
	if err != nil {
		return engine.Fail(v2.ValuesErrorReason, err)
	}

	state.Begin(obj, state.Attempt{
		Revision: s.metadata.Version, RevisionDigest: s.ociDigest, ConfigDigest: config.String(),
	}, s.values, requests.Reset)

	if first.failed != state.None {
		state.CountFailure(obj, first.failed, true)
	}

	s.summed = true

	loop := &state.Loop{}
	for seen := first; ; seen = nil {
		if seen == nil {
			if seen, err = r.look(ctx, obj, s); err != nil {
				return unsummed(s, engine.Fail(v2.StateErrorReason, err))
			}
		}

		if done, err := r.round(ctx, obj, s, seen, loop, requests.Force); done || err != nil {
			return err
		}
	}
}

// sight is what Helm has stored of the release.
type sight struct {
	book   *book
	latest *release.Release // nil if there is none

	// failed is the action of a failure that was not counted yet.
	failed state.Action
}

// look reads what Helm has stored, and recalls what the status does not tell.
func (r *reconciler) look(ctx context.Context, obj *v2.HelmRelease, s *scope) (*sight, error) {
	seen := &sight{book: r.open(ctx, obj, s, obj.GetStorageNamespace())}

	var err error
	if seen.latest, err = seen.book.last(obj.GetReleaseName()); err != nil || seen.latest == nil {
		return seen, err
	}

	known := newestDigest(obj)
	seen.failed, err = seen.book.recall(seen.latest)
	s.recalled = s.recalled || newestDigest(obj) != known

	return seen, err
}

// round is one turn of the loop. It returns whether it was the last one.
func (r *reconciler) round(ctx context.Context, obj *v2.HelmRelease, s *scope, seen *sight, loop *state.Loop, force bool) (bool, error) {
	b, latest := seen.book, seen.latest

	observed, err := state.Detect(obj, latest, s.wanted(), func() (bool, error) { return r.detectDrift(ctx, obj, s, latest) })
	if err != nil {
		return true, unsummed(s, engine.Fail(v2.StateErrorReason, err))
	}

	logf.FromContext(ctx).V(1).Info("Release observed", "state", observed.State, "reason", observed.Why)

	decision, err := state.Decide(obj, observed.State, loop.Force(force), b.release)

	switch {
	case errors.Is(err, state.ErrRetriesExceeded):
		if observed.State == state.Absent {
			assumeUninstalled(obj)
		}

		return true, exceeded(obj, state.Exceeded(obj))
	case errors.Is(err, state.ErrMissingRollbackTarget):
		return true, engine.Stall(v2.MissingRollbackTargetReason, fmt.Errorf("Failed to perform remediation: %w. "+ //nolint:staticcheck // known words
			"There is no release to go back to: change the chart, the values or the spec", err))
	case err != nil:
		return true, unsummed(s, engine.Fail(v2.StateErrorReason, err))
	}

	if decision.Action == state.None && (observed.State == state.InSync || observed.State == state.Drifted) {
		settle(obj)
		settleDrift(obj, observed.State)
		r.restoreInventory(ctx, obj, s, latest)

		return true, nil
	}

	if v := loop.Next(obj, decision.Action); v.Outcome != state.Run {
		return true, conclude(obj, v, nil)
	}

	a := &attempt{reconciler: r, obj: obj, s: s, latest: latest, book: b}
	out := a.run(ctx, decision)

	if a.superseded.Load() && out.err != nil {
		return true, unsummed(s, a.cancel(ctx))
	}

	v := loop.Ran(obj, decision.Action, out.err, b.stored)

	if v.Outcome != state.Return && out.reason != "" {
		engine.Emit(ctx, a.event(out))
	}

	if v.Outcome == state.Continue {
		return false, nil
	}

	return true, conclude(obj, v, engine.Fail(out.reason, errors.New(out.message)))
}

// unsummed marks a run of which the conditions of the actions say nothing.
func unsummed(s *scope, err error) error {
	s.summed = false

	return err
}

// run does what was decided, counts how it went, and sets the condition that tells of it.
func (a *attempt) run(ctx context.Context, d state.Decision) outcome {
	obj := a.obj
	if d.ClearHistory {
		obj.Status.History = nil
	}

	started := a.Now()

	var out outcome

	switch d.Action {
	case state.Install:
		out = a.install(ctx)
	case state.Upgrade:
		out = a.upgrade(ctx)
	case state.Test:
		out = a.test(ctx)
	case state.Rollback:
		out = a.rollback(ctx, d.Target)
	case state.Uninstall:
		out = a.uninstall(ctx)
	case state.Unlock:
		out = a.unlock()
	case state.CorrectDrift:
		out = a.correctDrift(ctx)
	case state.None:
		out = outcome{err: fmt.Errorf("there is no action %q", d.Action)}
	}

	if d.Action == state.Install || d.Action == state.Upgrade {
		obj.Status.LastAttemptedReleaseActionDuration = &metav1.Duration{Duration: a.Now().Sub(started).Round(time.Millisecond)}
	}

	switch {
	case a.superseded.Load():
	case out.err != nil:
		state.CountFailure(obj, a.counts(d.Action), a.book.stored)
	case d.Action == state.Install || d.Action == state.Upgrade:
		state.CountSuccess(obj)
		state.ObserveRendering(obj) // else it would be released anew, for the sake of what it has
	}

	out.set(obj)
	a.takeInventory(ctx, d.Action, out.err != nil)

	if latest := obj.Status.History.Latest(); out.err == nil && out.condition == v2.ReleasedCondition && !out.fails && obj.GetTest().Enable {
		engine.Set(obj, v2.TestSuccessCondition, metav1.ConditionUnknown, v2.AwaitingTestsReason, fmt.Sprintf(
			"Helm release %s with chart %s is awaiting tests", latest.FullReleaseName(), latest.VersionedChartName()))
	}

	return out
}

// cancel ends a run that was interrupted by the next one.
func (a *attempt) cancel(ctx context.Context) error {
	message := fmt.Sprintf("New reconciliation triggered by %s/%s/%s", v2.HelmReleaseKind, a.obj.Namespace, a.obj.Name)
	engine.Emit(ctx, engine.Event{Reason: meta.HealthCheckCanceledReason, Message: message})

	return engine.Wait(meta.HealthCheckCanceledReason, 0, errors.New(message))
}

// exceeded says that no attempt is left, and what to do about it.
func exceeded(obj *v2.HelmRelease, text string) error {
	return engine.Stall(v2.RetriesExceededReason, fmt.Errorf("%s. To try again, change the chart, the values or the spec, or run "+
		"'flux reconcile helmrelease %s -n %s --reset'", text, obj.Name, obj.Namespace))
}

// counts returns as what an action counts that has failed.
func (a *attempt) counts(action state.Action) state.Action {
	if action == state.Upgrade && a.obj.Status.LastAttemptedReleaseAction == v2.ActionInstall {
		return state.Install // see upgradeAs
	}

	return action
}

// conclude ends the run as the loop says.
func conclude(obj *v2.HelmRelease, v state.Verdict, failed error) error {
	switch v.Outcome {
	case state.Retry:
		engine.Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, v.Message)
		obj.Status.ObservedGeneration = obj.Generation

		return engine.Wait(meta.ProgressingWithRetryReason, v.After, errors.New(v.Message))
	case state.Stall:
		return exceeded(obj, v.Message)
	case state.Return:
		return failed
	case state.Requeue:
		message := "reconciliation in progress"
		if c := newest(obj); c != nil {
			message = c.Message
		}

		engine.Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, message)

		return engine.Wait(meta.ProgressingWithRetryReason, backOff(obj.Status.Failures), errors.New(message))
	default:
		if c := newest(obj); c != nil && c.Status != metav1.ConditionTrue {
			obj.Status.ObservedGeneration = obj.Generation

			return engine.Wait(c.Reason, obj.Spec.Interval.Duration, errors.New(c.Message))
		}

		return nil
	}
}

const (
	minBackOff = 750 * time.Millisecond
	maxBackOff = 15 * time.Minute
)

// backOff is the time to the next attempt after so many failures.
func backOff(failures int64) time.Duration {
	d := minBackOff
	for ; failures > 1 && d < maxBackOff; failures-- {
		d *= 2
	}

	return min(d, maxBackOff)
}
