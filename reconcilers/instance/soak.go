package instance

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// relapseGrace is how long a revision that soaks may be without health: pods are moved now and then, which is nobody's fault.
const relapseGrace = time.Minute

// soak lets a new revision prove itself, before anything is done that cannot be undone.
func (r *reconciler) soak(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	soak := obj.GetUpgrade().Soak.Duration
	if s.way != upgrading || soak <= 0 || !obj.GetWait() {
		return nil
	}
	u, now := obj.Status.Upgrade, r.Now()
	if u.HealthyAt == nil || !s.memory.lost.IsZero() {
		u.HealthyAt, s.memory.lost, s.memory.healthy = &metav1.Time{Time: now}, time.Time{}, span{}
	}
	u.Phase = fluxv1.UpgradePhaseSoaking
	if left := soak - s.memory.healthy.lasted(u.HealthyAt.Time, now, r.Uptime(), soak); left > 0 {
		return engine.Await(min(left, recheck), fmt.Sprintf("Revision %s has to stay healthy for %s", u.To, soak))
	}
	crash, err := r.crash(ctx, s, u.HealthyAt.Time, s.changes.Applied())
	if err != nil {
		return r.failed(ctx, obj, s, err)
	}
	if crash == "" {
		return nil
	}
	return r.unproven(ctx, obj, s, crash)
}

// relapse decides about a revision that is no longer healthy while it soaks.
func (r *reconciler) relapse(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, report health.Report) error {
	pending := slices.Concat(report.Failed, report.InProgress, report.Unknown)
	ours := slices.DeleteFunc(slices.Clone(pending), func(c health.Condition) bool { return !isOurs(c) })
	if len(ours) == 0 {
		return s.progress(verdict{message: "Waiting for " + describe(pending), after: recheck})
	}
	now := r.Now()
	if s.memory.lost.IsZero() {
		s.memory.lost = now
	}
	d := r.diagnose(ctx, s, report)
	why := d.fatal
	if why == "" {
		ids := make([]access.ID, 0, len(ours))
		for _, c := range ours {
			ids = append(ids, c.ID)
		}
		why, _ = r.crash(ctx, s, obj.Status.Upgrade.HealthyAt.Time, ids) // the next look tells
	}
	if why == "" && now.Sub(s.memory.lost) >= relapseGrace {
		why = describe(ours) + d.suffix()
	}
	if why == "" {
		return s.progress(verdict{message: "Waiting for " + describe(pending) + " to be healthy again", after: recheck})
	}
	return r.unproven(ctx, obj, s, why)
}

// crash says which pod of the Deployments among the objects ended in failure since a time, if one did.
func (r *reconciler) crash(ctx context.Context, s *scope, since time.Time, ids []access.ID) (string, error) {
	for _, id := range ids {
		if !isDeployment(access.Ref{ID: id}) {
			continue
		}
		if text, err := s.crashed(ctx, id, since); text != "" || err != nil {
			return text, err
		}
	}
	return "", nil
}

// unproven ends the run of a revision that did not stay healthy. If it cannot be taken back, it has to become healthy again.
func (r *reconciler) unproven(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, why string) error {
	why = "health was lost while soaking: " + why
	if err := r.giveUp(ctx, obj, s, why); err != nil {
		return err
	}
	return r.unhealthy(obj, s, verdict{failure: why, after: recheck})
}
