package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/maintenance"
)

// windowsField is where the maintenance windows are.
const windowsField = "spec.upgrade.windows"

// crossing is what decides whether another revision may be begun.
type crossing struct {
	release bool   // it is of another release
	open    bool   // a maintenance window is open, or somebody asks for it now
	manual  bool   // it takes an approval
	plan    string // digest of what would be done; empty without approvals
	granted string // digest that was approved
	edits   error  // why edits of the spec wait too
	image   string // that only the operator would get; empty if there is more to it
}

// awaits is what the crossing waits for, as a reason of the condition Upgraded; nothing if it may begin.
func (x crossing) awaits() string {
	switch {
	case x.manual && (x.plan == "" || x.granted != x.plan):
		return fluxv1.UpgradeApprovalReason
	case x.release && !x.open:
		return fluxv1.UpgradeWindowReason
	}
	return ""
}

// gate holds another revision back until its plan is approved and a maintenance window is open, as the spec asks. The first revision of an
// instance waits for nobody, and neither does what has begun, or goes back.
func (r *reconciler) gate(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if !slices.Contains([]way{installing, steady, beginning}, s.way) {
		return nil
	}
	upgrade := obj.GetUpgrade()
	windows, err := maintenance.Parse(windowsField, upgrade.Windows)
	if err != nil {
		return r.barred(ctx, obj, s, engine.Stall(fluxv1.InvalidSpecReason, err))
	}
	x := crossing{
		open: forcing(obj) || windows.Open(r.Now()), manual: upgrade.Mode == fluxv1.UpgradeManual,
		granted: obj.Annotations[fluxv1.ApprovedPlanAnnotation],
	}
	if crosses, err := r.crosses(ctx, obj, s, &x); err != nil || !crosses {
		return err
	}
	p, now := &plan{}, r.Now()
	if x.manual {
		if p, err = r.planned(ctx, obj, s, x); err != nil {
			err = fmt.Errorf("reconciliation failed: plan revision %s: %w", s.built.Revision(), err)
			return r.barred(ctx, obj, s, engine.Fail(meta.ReconciliationFailedReason, err))
		}
		if p.refused {
			return nil // by the next step
		}
		x.plan = p.digest
	}
	var next time.Time
	if x.release && !x.open {
		next = windows.Next(now)
	}
	return r.pass(ctx, obj, s, x, p, next)
}

// crosses tells whether the run is about to do what may have to wait, and notes what that is.
func (r *reconciler) crosses(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, x *crossing) (crosses bool, err error) {
	switch {
	case s.way == beginning:
		x.release = !sameRelease(&obj.Status, s.built, s.artifact())
		return true, nil
	case s.way == steady && (x.manual || !x.open):
		x.image, err = r.successor(ctx, obj, s)
		x.release = x.image != ""
	}
	return x.release, err
}

// pass lets the revision begin, or something in its place, or holds it back.
func (r *reconciler) pass(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, x crossing, p *plan, next time.Time) error {
	switch {
	case x.awaits() == "":
		if x.manual {
			obj.Status.Upgrade = pending(obj, s, p.digest)
		}
		if s.claimed { // that was a while ago
			return r.owned(ctx, obj, s, wanted(s.set))
		}
		return nil
	case x.manual, x.image != "":
		return r.queue(ctx, obj, s, x, p, next)
	}
	built, rel := s.built, s.release
	ok, why := r.detour(ctx, obj, s)
	if ok {
		s.wake, s.waiting = until(next, r.Now()), true
		return r.choose(ctx, obj, s)
	}
	s.built, s.release, x.edits = built, rel, why
	return r.queue(ctx, obj, s, x, p, next)
}

// until returns the time until a window opens; zero if none does.
func until(next, now time.Time) time.Duration {
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(now), soon)
}

// barred keeps what runs for an instance that cannot go on, and ends with the verdict. One of which nothing runs is not begun.
func (r *reconciler) barred(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, verdict error) error {
	switch s.way {
	case installing:
		return verdict
	case steady:
		s.way, s.keeping = holding, &keeping{verdict: verdict}
		return nil
	default:
		return r.hold(ctx, obj, s, verdict)
	}
}

// linger keeps what runs as it is, whatever waits.
func (r *reconciler) linger(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if s.way != steady {
		return r.hold(ctx, obj, s, nil)
	}
	s.way, s.keeping = holding, &keeping{}
	return nil
}

// queue holds the revision back, and says what it waits for. It is told once, also when the operator is started anew. While somebody fights
// over an object, the plan is another one each time that it is made: that is not told.
func (r *reconciler) queue(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, x crossing, p *plan, next time.Time) error {
	wanted := pending(obj, s, x.plan)
	before, reason := obj.Status.Upgrade, x.awaits()
	if reason == fluxv1.UpgradeApprovalReason {
		if err := r.publish(ctx, obj, s, p); err != nil {
			err = fmt.Errorf("reconciliation failed: write the plan of revision %s: %w", wanted.To, err)
			return r.barred(ctx, obj, s, engine.Fail(meta.ReconciliationFailedReason, err))
		}
	}
	c := engine.Condition(obj, fluxv1.UpgradedCondition)
	waited := before != nil && before.Phase == fluxv1.UpgradePhasePending && before.To == wanted.To && c != nil && c.Reason == reason
	told := waited && (before.Plan == wanted.Plan || s.memory.plans.has(wanted) || engine.IsTrue(obj, fluxv1.ContestedCondition))
	err := r.linger(ctx, obj, s)
	if verdict, ok := errors.AsType[*engine.Verdict](err); err != nil && (!ok || verdict.Outcome != engine.Succeeded) {
		return err
	}
	wanted.Message = x.message(obj, wanted.To, p, next)
	if err != nil {
		wanted.Message += ". Meanwhile nothing is put back, for there is no last good release that may be used"
	}
	if s.wake = until(next, r.Now()); s.wake > 0 {
		wanted.NextWindow = &metav1.Time{Time: next}
	}
	obj.Status.Upgrade = wanted
	engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionUnknown, reason, wanted.Message)
	s.memory.plans.add(wanted)
	if !told {
		engine.Emit(ctx, engine.Event{
			Reason: reason, Message: wanted.Message, Metadata: map[string]string{meta.MetaRevisionKey: wanted.To},
		})
	}
	if err != nil {
		return engine.Again(s.wake)
	}
	return nil
}

// message says what the revision waits for.
func (x crossing) message(obj *fluxv1.FluxInstance, revision string, p *plan, next time.Time) string {
	window := "the next maintenance window, and none opens in the next years"
	if !next.IsZero() {
		window = "the maintenance window that opens at " + next.Format(time.RFC3339)
	}
	what, name := "Revision ", revision
	if x.image != "" {
		what, name = "Operator image ", x.image
	}
	switch {
	case x.awaits() == fluxv1.UpgradeWindowReason && x.manual:
		return fmt.Sprintf("Plan %s is approved: %s%s waits for %s", p.digest, strings.ToLower(what[:1])+what[1:], name, window)
	case x.awaits() == fluxv1.UpgradeWindowReason:
		text := fmt.Sprintf("%s%s waits for %s", what, name, window)
		if x.edits != nil {
			text += ". The spec was edited, and that waits with it: " + x.edits.Error()
		}
		return text
	}
	text := fmt.Sprintf("%s%s waits for the approval of plan %s (%s)", what, name, p.digest, p.counts)
	if x.granted != "" {
		text += ", which is not the one that was approved"
	}
	text += fmt.Sprintf(". Read it in ConfigMap '%s/%s', and approve it with: kubectl -n %s annotate --overwrite fluxinstance/%s %s=%s",
		obj.Namespace, planName, obj.Namespace, obj.Name, fluxv1.ApprovedPlanAnnotation, p.digest)
	if x.release && !x.open {
		text += " It is then applied in " + window
	}
	return text
}

// pending is the status of a revision that nothing was done for yet.
func pending(obj *fluxv1.FluxInstance, s *scope, digest string) *fluxv1.UpgradeStatus {
	return &fluxv1.UpgradeStatus{
		Phase: fluxv1.UpgradePhasePending, From: obj.Status.LastAppliedRevision, To: s.built.Revision(), Plan: digest,
	}
}

// again ends a run whose instance is held back: when the next window opens, or at once if the plan was made while something was as it
// should not be. Such a plan is another one now. So does one that has come to an interim revision, to tell what waits.
func (r *reconciler) again(_ context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	u := obj.Status.Upgrade
	if s.waiting && s.keeping == nil {
		return engine.Again(soon)
	}
	if s.keeping == nil || u == nil || u.Phase != fluxv1.UpgradePhasePending {
		return nil
	}
	if u.Plan != "" && slices.ContainsFunc(s.changes, func(c apply.Change) bool { return c.Drift != nil }) {
		return engine.Again(soon)
	}
	return engine.Again(s.wake)
}

// sameRelease tells whether what was built is of the release that was good last: of its version, of its artifact, and with its images, as
// far as the same components run them.
func sameRelease(was *fluxv1.FluxInstanceStatus, built *distribution.Set, artifact string) bool {
	version, _, _ := strings.Cut(was.LastAppliedRevision, "@")
	if version != built.Version || was.LastArtifactRevision != artifact {
		return false
	}
	return !slices.ContainsFunc(built.Images, func(is fluxv1.ComponentImage) bool {
		return slices.ContainsFunc(was.Components, func(c fluxv1.ComponentImage) bool { return c.Name == is.Name && c != is })
	})
}

// forcing tells whether somebody asks for the change now, whatever the windows are.
func forcing(obj *fluxv1.FluxInstance) bool {
	at := obj.Annotations[meta.ForceRequestAnnotation]
	return at != "" && at == obj.Annotations[meta.ReconcileRequestAnnotation] && at != obj.Status.LastHandledForceAt
}

// spend notes that a request for a change was answered by an upgrade that failed: it is not meant for the next one.
func spend(obj *fluxv1.FluxInstance) {
	if forcing(obj) {
		obj.Status.LastHandledForceAt = obj.Annotations[meta.ForceRequestAnnotation]
	}
}
