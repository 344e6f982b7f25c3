package instance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// giveUp takes back an upgrade that failed, if that can be: the run ends, and the next one goes back. Otherwise it returns nil, and what
// was begun stays, for it may recover.
func (r *reconciler) giveUp(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, why string) error {
	u := obj.Status.Upgrade
	if s.way != upgrading || u.Phase == fluxv1.UpgradePhaseFailed {
		return nil
	}
	hindrance, err := r.hindrance(ctx, obj, s)
	if err != nil {
		return err
	}
	why = brief(why)
	u.Message, u.HealthyAt = why, nil
	spend(obj)
	failure := "upgrade to " + u.To + " failed: " + why
	if hindrance != "" {
		now := metav1.NewTime(r.Now())
		u.Phase, u.FinishedAt = fluxv1.UpgradePhaseFailed, &now
		engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionFalse, fluxv1.UpgradeFailedReason,
			failure+"; not rolled back: "+hindrance)
		return nil
	}
	r.remember(obj, s)
	u.Phase = fluxv1.UpgradePhaseRollingBack
	s.undone = failure + "; rolling back to " + obj.Status.LastAppliedRevision
	engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionFalse, fluxv1.UpgradeRollingBackReason, s.undone)
	return engine.Await(soon, "Rolling back to revision "+obj.Status.LastAppliedRevision)
}

// maxWhy is how many bytes the status keeps of the reason of a failure. The API server may find fault with each of many objects.
const maxWhy = 2048

// brief cuts off what nobody reads.
func brief(why string) string {
	if len(why) <= maxWhy {
		return why
	}
	return strings.ToValidUTF8(why[:maxWhy], "") + "…"
}

// hindrance says why an upgrade cannot be taken back; nothing if it can.
func (r *reconciler) hindrance(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (string, error) {
	if !*obj.GetUpgrade().Rollback {
		return "spec.upgrade.rollback is false", nil
	}
	_, err := r.lastGood(ctx, obj, s)
	if why, ok := errors.AsType[*unusableError](err); ok {
		return why.Error(), nil
	}
	return "", err
}

// goBack makes the last good release the target of a run that takes an upgrade back.
func (r *reconciler) goBack(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	good, err := r.lastGood(ctx, obj, s)
	if why, ok := errors.AsType[*unusableError](err); ok {
		return r.stuck(obj, s, why)
	}
	if err != nil {
		return err
	}
	s.set, s.keeping = good.set, &keeping{verdict: s.unavailable}
	if s.unavailable == nil {
		s.keeping.verdict = r.rolledBack(obj)
	}
	return nil
}

// stuck ends a rollback whose record is gone. What was wanted may still recover.
func (r *reconciler) stuck(obj *fluxv1.FluxInstance, s *scope, why *unusableError) error {
	u, now := obj.Status.Upgrade, metav1.NewTime(r.Now())
	u.Phase, u.FinishedAt = fluxv1.UpgradePhaseFailed, &now
	engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionFalse, fluxv1.UpgradeFailedReason,
		fmt.Sprintf("upgrade to %s failed: %s; not rolled back: %s", u.To, u.Message, why))
	if s.unavailable != nil {
		return s.unavailable
	}
	s.way = upgrading
	return nil
}

// rolledBack is the verdict about a revision that failed, and was taken back. It is not tried again before something changes; a
// new artifact wakes nobody, and is looked for.
func (r *reconciler) rolledBack(obj *fluxv1.FluxInstance) error {
	return &engine.Verdict{
		Outcome: engine.Stalled, Reason: fluxv1.UpgradeRolledBackReason, After: interval(obj),
		Err: errors.New(setback(obj) + "; rolled back to " + obj.Status.LastAppliedRevision),
	}
}

// applyBack applies the last good release. A definition whose newer versions have stored objects cannot go back: the API server refuses
// that, for it could not read them any more. It stays as it is, which the older controllers do not mind.
func (r *reconciler) applyBack(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (*apply.Result, error) {
	result, err := r.applySet(ctx, obj, s)
	newer := refusedDefinitions(err)
	if len(newer) == 0 {
		return result, err
	}
	s.memory.newer = append(s.memory.newer, newer...)
	return r.applySet(ctx, obj, s)
}

// refusedDefinitions are those that the API server finds invalid.
func refusedDefinitions(err error) []access.ID {
	var ids []access.ID
	if refused, ok := errors.AsType[apply.Errors](err); ok {
		for _, e := range refused {
			if isDefinition(access.Ref{ID: e.ID}) && apierrors.IsInvalid(e) {
				ids = append(ids, e.ID)
			}
		}
	}
	return ids
}

// setback says which upgrade failed, and why.
func setback(obj *fluxv1.FluxInstance) string {
	u := obj.Status.Upgrade
	return "upgrade to " + u.To + " failed: " + u.Message
}

// mishap says what keeps a run from its end. A rollback that fails is tried again until it succeeds.
func (s *scope) mishap(obj *fluxv1.FluxInstance, why error) error {
	if s.way != returning {
		return fmt.Errorf("reconciliation failed: %w", why)
	}
	err := fmt.Errorf("%s; rollback to %s failed: %w", setback(obj), obj.Status.LastAppliedRevision, why)
	engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionFalse, fluxv1.UpgradeFailedReason, err.Error())
	return err
}
