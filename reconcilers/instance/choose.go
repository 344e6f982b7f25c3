package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// way is where a run goes.
type way string

const (
	installing way = "installing" // nothing was good before
	steady     way = "steady"     // what is wanted is what was good last
	beginning  way = "beginning"  // another revision is wanted, and nothing was done for it yet: the run ends when that is written down
	upgrading  way = "upgrading"  // it is under way
	returning  way = "returning"  // it failed, and the last good one is on its way back
	holding    way = "holding"    // the last good one is kept
)

// situation is what the way depends on.
type situation struct {
	applied string                // the revision that was good last; empty if none was
	built   string                // the revision that is wanted; empty if there is none now
	attempt string                // identifies what it would be begun with
	upgrade *fluxv1.UpgradeStatus // as the last run left it
}

// choose decides the way. Without a wanted revision, there is a good one.
func choose(x situation) way {
	phase := ""
	if x.upgrade != nil {
		phase = x.upgrade.Phase
	}
	switch {
	case x.applied == "":
		return installing
	case x.built == "" && phase == fluxv1.UpgradePhaseRollingBack:
		return returning
	case x.built == "":
		return holding
	case x.built == x.applied:
		return steady
	case x.upgrade == nil || x.upgrade.To != x.built:
		return beginning
	}
	same := x.upgrade.Attempt == x.attempt
	switch phase {
	case fluxv1.UpgradePhaseApplying, fluxv1.UpgradePhaseWaiting, fluxv1.UpgradePhaseSoaking, fluxv1.UpgradePhaseFailed:
		return upgrading
	case fluxv1.UpgradePhaseRollingBack:
		if same {
			return returning
		}
	case fluxv1.UpgradePhaseRolledBack:
		if same {
			return holding
		}
	}
	return beginning
}

// attempt identifies what a revision is begun with.
func attempt(obj *fluxv1.FluxInstance, revision, artifact string) (string, error) {
	content, err := json.Marshal([]any{revision, obj.Generation, obj.Annotations[meta.ReconcileRequestAnnotation], artifact})
	if err != nil {
		return "", fmt.Errorf("encode attempt: %w", err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8]), nil
}

// keeping says why the last good release is the target, and not what the spec makes.
type keeping struct {
	verdict error // that the run ends with, once the last good release is as it should be; nil is success
}

// choose sets the target of the run.
func (r *reconciler) choose(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if s.unavailable != nil && obj.Status.LastAppliedRevision == "" {
		return s.unavailable
	}
	x := situation{applied: obj.Status.LastAppliedRevision, upgrade: obj.Status.Upgrade}
	if s.unavailable == nil {
		x.built = s.built.Revision()
		var err error
		if x.attempt, err = attempt(obj, x.built, s.artifact()); err != nil {
			return err
		}
	}
	s.attempt, s.way, s.set = x.attempt, choose(x), s.built
	switch s.way {
	case returning:
		return r.goBack(ctx, obj, s)
	case holding:
		if s.unavailable == nil {
			return r.hold(ctx, obj, s, r.rolledBack(obj))
		}
		return r.hold(ctx, obj, s, s.unavailable)
	case upgrading:
		r.goOn(obj, s)
	case installing, steady:
		obj.Status.LastAttemptedRevision = x.built
	case beginning:
	}
	return nil
}

// hold makes the last good release the target of the run, which puts back what was changed by hand as always, and ends with the
// verdict; nil is success. What was begun of another release is undone. Without a good release that may be used, the run ends here.
// Steps between choose and begin call it to keep what is wanted from being applied.
func (r *reconciler) hold(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, verdict error) error {
	good, err := r.lastGood(ctx, obj, s)
	if u, ok := errors.AsType[*unusableError](err); ok {
		return unheld(verdict, u)
	}
	if err != nil {
		return err
	}
	if s.away && s.isOf(obj, good) && !isRefused(obj) {
		verdict = nil
	}
	s.way, s.set, s.keeping = holding, good.set, &keeping{verdict: verdict}
	s.shelve(obj)
	return nil
}

// isOf tells whether the spec is that of the release. When the registry is away, that is what an operator knows that was started anew,
// and as much as another one knows that was not.
func (s *scope) isOf(obj *fluxv1.FluxInstance, good *record) bool {
	digest, err := specDigest(obj)
	return err == nil && digest == good.details.Spec
}

// isRefused tells whether the release was refused when it was looked at last. Nobody gets around that by taking the registry away.
func isRefused(obj *fluxv1.FluxInstance) bool {
	c := engine.Condition(obj, fluxv1.DistributionVerifiedCondition)
	return c != nil && c.Status == metav1.ConditionFalse
}

// shelve writes down that an upgrade that was under way is undone, until it can be begun again.
func (s *scope) shelve(obj *fluxv1.FluxInstance) {
	u := obj.Status.Upgrade
	if u == nil || !isUnderWay(u.Phase) {
		return
	}
	u.Phase, u.HealthyAt, u.FinishedAt, u.Message = fluxv1.UpgradePhasePending, nil, nil, ""
	for _, why := range []error{s.keeping.verdict, s.unavailable} {
		if why != nil {
			u.Message = why.Error()
			break
		}
	}
	engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionUnknown, fluxv1.UpgradeProgressingReason,
		"Upgrade to "+u.To+" was taken back for now: "+u.Message)
}

// isUnderWay tells whether something of the revision may be in the cluster.
func isUnderWay(phase string) bool {
	return slices.Contains([]string{
		fluxv1.UpgradePhaseApplying, fluxv1.UpgradePhaseWaiting, fluxv1.UpgradePhaseSoaking, fluxv1.UpgradePhaseFailed,
		fluxv1.UpgradePhaseRollingBack,
	}, phase)
}

// unheld is the verdict of a run that has nothing to hold on to.
func unheld(verdict error, why *unusableError) error {
	if verdict == nil {
		return engine.Done()
	}
	if why.missing {
		return verdict
	}
	v := &engine.Verdict{Outcome: engine.Failed, Err: verdict}
	if given, ok := errors.AsType[*engine.Verdict](verdict); ok {
		*v = *given
	}
	v.Err = fmt.Errorf("%w; meanwhile nothing is put back: %w", v.Err, why)
	return v
}

// goOn continues an upgrade. A new spec or request that leads to the same revision gives it new time.
func (r *reconciler) goOn(obj *fluxv1.FluxInstance, s *scope) {
	u := obj.Status.Upgrade
	if u.Attempt == s.attempt {
		return
	}
	u.Attempt, u.Message = s.attempt, ""
	if u.Phase == fluxv1.UpgradePhaseFailed {
		u.Phase, u.FinishedAt = fluxv1.UpgradePhaseApplying, nil
	}
}

// begin writes down that another revision is on its way, and what is going to be there, before anything of it is: an operator that is
// killed from here on knows what to go on with, or to take out.
func (r *reconciler) begin(_ context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if s.way != beginning {
		return nil
	}
	now := metav1.NewTime(r.Now())
	plan := ""
	if u := obj.Status.Upgrade; u != nil && u.To == s.set.Revision() {
		plan = u.Plan
	}
	obj.Status.Upgrade = &fluxv1.UpgradeStatus{
		Phase: fluxv1.UpgradePhaseApplying, From: obj.Status.LastAppliedRevision, To: s.set.Revision(), Attempt: s.attempt,
		Plan: plan, StartedAt: &now,
	}
	obj.Status.LastAttemptedRevision = s.set.Revision()
	obj.Status.Inventory = inventory(s.previous, wanted(s.set))
	s.memory.end()
	s.memory.record(obj, s.set.Revision(), s.started, nil)
	s.memory.newer, s.memory.lost = nil, time.Time{}
	s.began = true
	engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionUnknown, fluxv1.UpgradeProgressingReason,
		"Upgrading from "+obj.Status.LastAppliedRevision+" to "+s.set.Revision())
	return engine.Await(soon, "Upgrading to revision "+s.set.Revision())
}
