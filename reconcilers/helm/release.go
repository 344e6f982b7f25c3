package helm

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	if err := r.enter(ctx, obj, s); err != nil {
		return err
	}

	r = s.site
	requests := state.TakeRequests(obj)

	if why, changed := state.TargetChanged(obj, s.metadata.Name); changed {
		logf.FromContext(ctx).Info("Uninstalling the release because its target has changed", "reason", why)

		return r.leave(ctx, obj, s)
	}

	obj.Status.StorageNamespace = obj.GetStorageNamespace()

	config, err := values.Digest(s.values, r.SnapshotDigest)
	if err != nil {
		return engine.Fail(v2.ValuesErrorReason, err)
	}

	state.Begin(obj, state.Attempt{
		Revision: s.metadata.Version, RevisionDigest: s.ociDigest, ConfigDigest: config.String(),
	}, s.values, requests.Reset)

	s.summed = true

	loop := &state.Loop{}
	for {
		if done, err := r.round(ctx, obj, s, loop, requests.Force); done || err != nil {
			return err
		}
	}
}

// round is one turn of the loop. It returns whether it was the last one.
func (r *reconciler) round(ctx context.Context, obj *v2.HelmRelease, s *scope, loop *state.Loop, force bool) (bool, error) {
	b := r.open(ctx, obj, s, obj.GetStorageNamespace())

	latest, err := last(b.Secrets, obj.GetReleaseName())
	if err != nil {
		return true, unsummed(s, engine.Fail(v2.StateErrorReason, err))
	}

	observed, err := state.Detect(obj, latest, s.wanted(), func() (bool, error) {
		return false, errors.New("detection of drift is not supported")
	})
	if err != nil {
		return true, unsummed(s, engine.Fail(v2.StateErrorReason, err))
	}

	logf.FromContext(ctx).V(1).Info("Release observed", "state", observed.State, "reason", observed.Why)

	decision, err := state.Decide(obj, observed.State, loop.Force(force), b.release)

	switch {
	case errors.Is(err, state.ErrRetriesExceeded):
		return true, engine.Stall(v2.RetriesExceededReason, errors.New(state.Exceeded(obj)))
	case errors.Is(err, state.ErrMissingRollbackTarget):
		return true, engine.Stall(v2.MissingRollbackTargetReason, fmt.Errorf("Failed to perform remediation: %w", err)) //nolint:staticcheck // known words
	case err != nil:
		return true, unsummed(s, engine.Fail(v2.StateErrorReason, err))
	}

	if observed.State == state.InSync && decision.Action == state.None {
		settle(obj)

		return true, nil
	}

	if v := loop.Next(obj, decision.Action); v.Outcome != state.Run {
		return true, conclude(obj, v, nil)
	}

	a := &attempt{reconciler: r, obj: obj, s: s, latest: latest, book: b}
	out := a.run(ctx, decision)
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
	case state.CorrectDrift, state.None:
		out = outcome{err: fmt.Errorf("there is no action %q", d.Action)}
	}

	if d.Action == state.Install || d.Action == state.Upgrade {
		obj.Status.LastAttemptedReleaseActionDuration = &metav1.Duration{Duration: a.Now().Sub(started).Round(time.Millisecond)}
	}

	switch {
	case out.err != nil:
		state.CountFailure(obj, d.Action, a.book.stored)
	case d.Action == state.Install || d.Action == state.Upgrade:
		state.CountSuccess(obj)
	}

	out.set(obj)

	if latest := obj.Status.History.Latest(); out.err == nil && out.condition == v2.ReleasedCondition && !out.fails && obj.GetTest().Enable {
		engine.Set(obj, v2.TestSuccessCondition, metav1.ConditionUnknown, v2.AwaitingTestsReason, fmt.Sprintf(
			"Helm release %s with chart %s is awaiting tests", latest.FullReleaseName(), latest.VersionedChartName()))
	}

	return out
}

// conclude ends the run as the loop says.
func conclude(obj *v2.HelmRelease, v state.Verdict, failed error) error {
	switch v.Outcome {
	case state.Retry:
		engine.Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, v.Message)
		obj.Status.ObservedGeneration = obj.Generation

		return engine.Wait(meta.ProgressingWithRetryReason, v.After, errors.New(v.Message))
	case state.Stall:
		return engine.Stall(v2.RetriesExceededReason, errors.New(v.Message))
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
