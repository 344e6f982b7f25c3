package resourceset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// lookAgain is the time between two looks at objects that cannot be watched.
const lookAgain = 5 * time.Second

// await sees to it that the objects of a step are healthy. It gives the worker back and is woken by the hub.
func (r *reconciler) await(ctx context.Context, obj *fluxv1.ResourceSet, s *scope, all []stage, i int) error {
	if !all[i].waits || i >= len(s.memo.goals) || len(s.memo.goals[i]) == 0 {
		return nil
	}
	a, owner := s.memo.attempt, ownerOf(obj).ID
	if a.waits[i].IsZero() {
		a.waits[i] = r.Now()
	}
	engine.Progress(ctx, awaiting(obj, all, i))
	goal := health.Goal{IDs: s.memo.goals[i]}
	report, err := r.inspect(ctx, s, owner, goal)
	if err != nil {
		return r.failed(obj, s, inStep(all[i], "", fmt.Errorf("health check failed: %w", err)))
	}
	verdict := judge(report, r.Now().Sub(a.waits[i]), all[i].timeout)
	switch {
	case verdict.passed:
		return nil
	case verdict.failure != "":
		r.Hub.Await(owner, nil)
		return r.failed(obj, s, inStep(all[i], "", errors.New("health check failed: "+verdict.failure)))
	}
	r.Hub.Await(owner, &goal)
	return engine.Await(verdict.after, awaiting(obj, all, i))
}

// awaiting says what is waited for.
func awaiting(obj *fluxv1.ResourceSet, all []stage, i int) string {
	if all[i].name == "" {
		return fmt.Sprintf("Running health checks with a timeout of %s", all[i].timeout)
	}
	return applying(obj, all, i)
}

// inspect asks the hub. After an apply it gives what was applied a blink to become healthy, and at any time it gives the hub one to
// learn what it does not know.
func (r *reconciler) inspect(ctx context.Context, s *scope, owner access.ID, goal health.Goal) (health.Report, error) {
	report := r.Hub.Report(owner, goal.IDs)
	if len(report.Unknown) > 0 || s.decision.work && !report.Healthy() {
		blink, cancel := context.WithTimeout(ctx, r.Blink)
		report, _ = r.Hub.Settle(blink, owner, goal)
		cancel()
	}
	if len(report.Blind) == 0 {
		return report, nil
	}
	if err := r.Hub.Poll(ctx, s.client, owner); err != nil {
		return report, err
	}
	return r.Hub.Report(owner, goal.IDs), nil
}

// judgement is what follows from a look at health.
type judgement struct {
	passed bool
	// failure says what went wrong, if there is no point in waiting on.
	failure string
	// after is when to look again at the latest.
	after time.Duration
}

// judge decides whether to go on, wait on or give up: when one object has failed, or time is up.
func judge(report health.Report, elapsed, timeout time.Duration) judgement {
	switch {
	case report.Healthy():
		return judgement{passed: true}
	case len(report.Failed) > 0:
		return judgement{failure: "failed early due to stalled resources: " + list(report.Failed)}
	case elapsed >= timeout:
		return judgement{failure: fmt.Sprintf("timeout of %s waiting for: %s", timeout, list(report.InProgress, report.Unknown))}
	}
	after := timeout - elapsed
	if len(report.Blind) > 0 {
		after = min(after, lookAgain)
	}
	return judgement{after: after}
}

// list writes the conditions in the way that clients know.
func list(lists ...[]health.Condition) string {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b health.Condition) int { return a.Compare(b.ID) })
	parts := make([]string, len(all))
	for i, c := range all {
		parts[i] = fmt.Sprintf("%s status: '%s'", c.ID, c.Status)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
