package instance

import (
	"context"
	"errors"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// complete writes down what runs now.
func (r *reconciler) complete(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	s.finished = &outcome{took: r.Now().Sub(s.started)}
	if t, ok := s.memory.end(); ok {
		s.finished.log = append(t.changes, altered(s.pruned)...).Log()
	}
	if s.keeping != nil {
		return r.completeKeeping(obj, s)
	}
	err := r.keepRecord(ctx, obj, s)
	unusable, ok := errors.AsType[*unusableError](err)
	if err != nil && !ok {
		return r.failed(ctx, obj, s, err)
	}
	r.succeed(obj, s)
	r.upgraded(obj, s, unusable)
	return nil
}

// completeKeeping ends a run that has put the last good release back, or kept it.
func (r *reconciler) completeKeeping(obj *fluxv1.FluxInstance, s *scope) error {
	if s.way == returning {
		now := metav1.NewTime(r.Now())
		u := obj.Status.Upgrade
		u.Phase, u.FinishedAt = fluxv1.UpgradePhaseRolledBack, &now
		engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionFalse, fluxv1.UpgradeRolledBackReason,
			r.rolledBack(obj).Error()+s.memory.stays())
	}
	if s.way == returning || s.keeping.verdict == nil {
		r.count(obj, s)
	}
	return s.keeping.verdict
}

// stays ends a message with what could not go back.
func (m *memory) stays() string {
	if len(m.newer) == 0 {
		return ""
	}
	names := make([]string, 0, len(m.newer))
	for _, id := range m.newer {
		names = append(names, id.String())
	}
	return ", but for what has stored objects of newer versions: " + strings.Join(names, ", ")
}

// succeed writes down that what was wanted runs.
func (r *reconciler) succeed(obj *fluxv1.FluxInstance, s *scope) {
	obj.Status.Components = s.set.Images
	obj.Status.LastAppliedRevision = s.set.Revision()
	obj.Status.LastAttemptedRevision = s.set.Revision()
	obj.Status.LastArtifactRevision = s.artifact() // empty for embedded manifests
	if at := obj.Annotations[meta.ForceRequestAnnotation]; at != "" && at == obj.Annotations[meta.ReconcileRequestAnnotation] {
		obj.Status.LastHandledForceAt = at
	}
	r.count(obj, s)
}

// count adds the run to the history of its target.
func (r *reconciler) count(obj *fluxv1.FluxInstance, s *scope) {
	obj.Status.History.Record(s.set.Digest, meta.ReconciliationSucceededReason, r.Now(), s.finished.took, historyMetadata(s.set))
}

// upgraded writes down how the last change of the revision went.
func (r *reconciler) upgraded(obj *fluxv1.FluxInstance, s *scope, unusable *unusableError) {
	revision, now := s.set.Revision(), metav1.NewTime(r.Now())
	u := obj.Status.Upgrade
	if u == nil || u.To != revision {
		u = &fluxv1.UpgradeStatus{To: revision}
		obj.Status.Upgrade = u
	}
	if u.Phase != fluxv1.UpgradePhaseSucceeded {
		u.Phase, u.FinishedAt, u.NextWindow, u.Message = fluxv1.UpgradePhaseSucceeded, &now, nil, ""
		if u.HealthyAt == nil && obj.GetWait() {
			u.HealthyAt = &now
		}
	}
	message := "Revision " + revision + " runs"
	if unusable != nil {
		message += "; it cannot be brought back later: " + unusable.Error()
	}
	if c := engine.Condition(obj, fluxv1.MigrationFailedCondition); c != nil {
		message += "; " + c.Message
	}
	engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionTrue, fluxv1.UpgradeSucceededReason, message)
}
