package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/operator"
)

// Operator is the Deployment that runs this process. *operator.Self is one.
type Operator interface {
	Observe(ctx context.Context) (operator.State, error)
	Upgrade(ctx context.Context, state operator.State, image string, definitions []*unstructured.Unstructured) error
	Restore(ctx context.Context, state operator.State) error
}

// watchOperator is the time between two looks at a rollout of the operator. It takes a few of them, and they are three requests.
const watchOperator = 3 * time.Second

// operator lets the operator's own Deployment follow the release, now that the components run it. A new operator that has come up takes the
// lease of this one, finds the same revision, and ends what this one began. One that does not come up leaves this one in charge, which puts
// its own image back.
func (r *reconciler) operator(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if s.keeping != nil {
		return nil // nobody says what it should run
	}
	return r.followRelease(ctx, obj, s)
}

// oversee brings what was begun with the operator to its end where a run ends early, because the last good release is kept.
func (r *reconciler) oversee(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if last := obj.Status.Operator; s.keeping == nil || last == nil || last.StartedAt == nil && last.Failed == "" {
		return nil
	}
	return r.followRelease(ctx, obj, s)
}

func (r *reconciler) followRelease(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if r.Operator == nil || obj.Spec.KubeConfig != nil { // the operator is not part of other clusters
		obj.Status.Operator = nil
		engine.Unset(obj, fluxv1.OperatorUpToDateCondition)
		return nil
	}
	state, err := r.Operator.Observe(ctx)
	if err != nil {
		return r.operatorUnseen(obj, err)
	}
	x := r.sightOperator(ctx, obj, s, state)
	return r.steerOperator(ctx, obj, s, x)
}

// leads tells whether the operator's own Deployment follows the releases of the instance.
func (r *reconciler) leads(obj *fluxv1.FluxInstance) bool {
	return r.Operator != nil && obj.Spec.KubeConfig == nil && obj.GetUpgrade().Operator == fluxv1.OperatorFollows
}

// successor returns the image that the operator is about to get of a release that makes the same objects as the last one; nothing if that
// has passed the gate, or is not for this operator to change.
func (r *reconciler) successor(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (string, error) {
	want := s.set.Operator.String()
	if want == "" || !r.leads(obj) {
		return "", nil
	}
	good, err := r.lastGood(ctx, obj, s)
	if _, ok := errors.AsType[*unusableError](err); err != nil && !ok {
		return "", err
	}
	if good != nil && good.details.Operator == want {
		return "", nil
	}
	state, err := r.Operator.Observe(ctx)
	if _, nowhere := errors.AsType[*operator.AbsentError](err); nowhere || apierrors.IsForbidden(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reconciliation failed: find the Deployment of the operator: %w", err)
	}
	if state.ManagedBy != "" || state.Unfit != "" || follows(want, state.Wanted.Image) {
		return "", nil
	}
	if obj.Status.Operator == nil {
		obj.Status.Operator = &fluxv1.OperatorStatus{Image: state.Running.Image, ManagedBy: fluxv1.OperatorManagedByWeir}
	}
	return want, nil
}

// operatorUnseen ends a run of an operator that does not see its Deployment.
func (r *reconciler) operatorUnseen(obj *fluxv1.FluxInstance, err error) error {
	_, nowhere := errors.AsType[*operator.AbsentError](err)
	if !nowhere && !apierrors.IsForbidden(err) {
		return fmt.Errorf("reconciliation failed: find the Deployment of the operator: %w", err)
	}
	obj.Status.Operator = nil
	engine.Set(obj, fluxv1.OperatorUpToDateCondition, metav1.ConditionUnknown, fluxv1.OperatorNotDeployedReason,
		"The operator does not follow releases, for it sees no Deployment that runs it: "+err.Error())
	return nil
}

// sighting is what the course of the operator depends on.
type sighting struct {
	state   operator.State
	want    string                // image of the release; empty if there is none to follow
	attempt string                // that it would be tried with
	reports bool                  // whether it is only to be told of
	stays   bool                  // whether what failed is left as it is
	last    fluxv1.OperatorStatus // as the last run left it
	late    bool                  // whether the time of a rollout is up
	fatal   string                // why a rollout has no hope; empty if it has some
	hint    string                // what may be the cause otherwise
}

func (r *reconciler) sightOperator(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, state operator.State) sighting {
	upgrade := obj.GetUpgrade()
	x := sighting{state: state, reports: upgrade.Operator == fluxv1.OperatorReports, stays: !*upgrade.Rollback}
	if last := obj.Status.Operator; last != nil {
		x.last = *last
	}
	if s.keeping == nil {
		x.want, x.attempt = s.set.Operator.String(), s.attempt
	}
	if !state.Rolling() || state.ManagedBy != "" {
		return x
	}
	if x.last.StartedAt != nil {
		timeout := upgrade.Timeout.Duration
		x.late = s.memory.rollout.lasted(x.last.StartedAt.Time, r.Now(), r.Uptime(), timeout) >= timeout
	}
	pods := r.diagnose(ctx, s, health.Report{InProgress: []health.Condition{{ID: state.Deployment, Status: status.InProgressStatus}}})
	x.fatal, x.hint = pods.fatal, pods.hint
	return x
}

// course is what to do about the operator's Deployment.
type course string

const (
	courseCurrent  course = "current"  // it is as it should be
	courseAdvance  course = "advance"  // it gets the image of the release
	courseObserve  course = "observe"  // a rollout takes place
	courseAbandon  course = "abandon"  // that failed: the run ends when it is written down
	courseRestore  course = "restore"  // that failed: it gets the old image back
	courseDesist   course = "desist"   // that failed, and is not tried again
	courseLeave    course = "leave"    // there is another image, which is up to somebody else
	courseUntaught course = "untaught" // nobody says what it should run
)

// course decides. What was written down decides before what is wanted, for a rollout that was begun has to come to an end.
func (x sighting) course() course {
	rolling, have := x.state.Rolling(), x.state.Wanted.Image
	same := x.want != "" && follows(x.want, have)
	failed := x.last.Failed != "" && (x.want == "" || x.last.Attempt == x.attempt)
	switch {
	case x.state.ManagedBy != "":
		return x.foreign(same)
	case rolling && failed && x.last.Failed == have && !x.stays:
		return courseRestore
	case rolling && failed && x.last.Failed == have:
		return courseDesist
	case rolling && x.last.StartedAt != nil && x.last.Available == have && (same || x.want == ""):
		if x.fatal != "" || x.late {
			return courseAbandon
		}
		return courseObserve
	case x.want == "":
		return courseUntaught
	case same && rolling:
		return courseObserve
	case same:
		return courseCurrent
	case x.reports || x.state.Unfit != "":
		return courseLeave
	case failed && x.last.Failed == x.want:
		return courseDesist
	}
	return courseAdvance
}

// foreign is the course of a Deployment that somebody else looks after.
func (x sighting) foreign(same bool) course {
	switch {
	case x.want == "":
		return courseUntaught
	case same:
		return courseCurrent
	}
	return courseLeave
}

// follows tells whether an image is the wanted one already, wherever it comes from: it has the same digest or, if no digest is wanted, the
// same tag.
func follows(want, have string) bool {
	w, err := distribution.ParseImage(want)
	if err != nil {
		return false
	}
	h, err := distribution.ParseImage(have)
	if err != nil {
		return false
	}
	if w.Digest != "" {
		return w.Digest == h.Digest
	}
	return w.Tag == h.Tag
}

// steerOperator does what the course says, and writes it down.
func (r *reconciler) steerOperator(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, x sighting) error {
	now := &fluxv1.OperatorStatus{Image: x.state.Running.Image, ManagedBy: x.state.ManagedBy}
	if now.ManagedBy == "" {
		now.ManagedBy = fluxv1.OperatorManagedByWeir
	}
	obj.Status.Operator = now
	switch x.course() {
	case courseUntaught:
		if s.keeping != nil { // the release is not known, what was found out about it still holds
			*now = x.last
			now.Image = x.state.Running.Image
			return nil
		}
		r.settleOperator(obj, s, x)
		return nil
	case courseCurrent:
		r.settleOperator(obj, s, x)
		return nil
	case courseLeave:
		now.Available = x.want
		r.tellOfOperator(obj, metav1.ConditionFalse, fluxv1.OperatorUpgradeAvailableReason, x.advice())
		return nil
	case courseAdvance:
		return r.advanceOperator(ctx, obj, s, x)
	case courseObserve:
		return r.observeOperator(obj, s, x, x.state.Wanted.Image)
	case courseAbandon:
		return r.abandonOperator(obj, x)
	case courseRestore:
		return r.restoreOperator(ctx, obj, x)
	case courseDesist:
	}
	now.Available, now.Failed, now.Attempt = x.last.Available, x.last.Failed, x.last.Attempt
	return nil // the condition says it
}

func (r *reconciler) tellOfOperator(obj *fluxv1.FluxInstance, is metav1.ConditionStatus, reason, message string) {
	engine.Set(obj, fluxv1.OperatorUpToDateCondition, is, reason, message)
}

// settleOperator tells of an operator that runs what it should, as far as it can run what is wanted of the distribution.
func (r *reconciler) settleOperator(obj *fluxv1.FluxInstance, s *scope, x sighting) {
	if s.release != nil && s.release.Beyond() != "" {
		beyond := s.release.Beyond()
		r.tellOfOperator(obj, metav1.ConditionFalse, fluxv1.OperatorOutdatedReason, fmt.Sprintf(
			"%s holds Flux %s, which this operator cannot run: install the operator of that version", obj.Spec.Distribution.Artifact, beyond))
		return
	}
	r.tellOfOperator(obj, metav1.ConditionTrue, fluxv1.OperatorUpToDateReason, "The operator runs "+x.state.Running.Image)
}

// advice says who has to do what.
func (x sighting) advice() string {
	message := "The operator image " + x.want + " is available, "
	switch {
	case x.state.ManagedBy != "":
		return message + x.state.Deployment.String() + " is managed by " + x.state.ManagedBy
	case x.state.Unfit != "":
		return message + x.state.Deployment.String() + " cannot be given it: " + x.state.Unfit
	}
	return message + "spec.upgrade.operator is " + fluxv1.OperatorReports
}

// advanceOperator gives the Deployment the image of the release, after the definitions that it needs.
func (r *reconciler) advanceOperator(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, x sighting) error {
	obj.Status.Operator.Available = x.want
	var definitions []*unstructured.Unstructured
	if s.release != nil {
		definitions = s.release.Operator()
	}
	err := r.Operator.Upgrade(ctx, x.state, x.want, definitions)
	if blocked, ok := errors.AsType[*operator.BlockedError](err); ok {
		r.tellOfOperator(obj, metav1.ConditionFalse, fluxv1.OperatorUpgradeAvailableReason,
			"The operator image "+x.want+" is available, and needs definitions that have to be brought by hand: "+blocked.Error())
		return nil
	}
	if err != nil {
		return r.operatorUnchanged(err)
	}
	x.last.StartedAt = nil
	return r.observeOperator(obj, s, x, x.want)
}

// operatorUnchanged ends a run that has not changed the Deployment. If somebody else has, it is looked at again.
func (r *reconciler) operatorUnchanged(err error) error {
	if errors.Is(err, operator.ErrChanged) {
		return engine.Await(soon, "Waiting for the Deployment of the operator: "+err.Error())
	}
	return fmt.Errorf("reconciliation failed: %w", err)
}

// observeOperator ends a run while the pods of an image come up.
func (r *reconciler) observeOperator(obj *fluxv1.FluxInstance, s *scope, x sighting, image string) error {
	now := obj.Status.Operator
	now.Available, now.Attempt, now.StartedAt = image, x.attempt, x.last.StartedAt
	if x.want == "" {
		now.Attempt = x.last.Attempt
	}
	if now.StartedAt == nil {
		now.StartedAt = &metav1.Time{Time: r.Now()}
		s.memory.rollout = span{}
		s.memory.rollout.lasted(now.StartedAt.Time, now.StartedAt.Time, r.Uptime(), 0)
	}
	message := "Waiting for " + x.state.Deployment.String() + " to run " + image
	if x.hint != "" {
		message += ": " + x.hint
	}
	r.tellOfOperator(obj, metav1.ConditionUnknown, fluxv1.OperatorUpgradingReason, message)
	return engine.Await(watchOperator, message)
}

// abandonOperator writes down that an image failed, before anything is done about it: who goes on after a restart must not try it again.
func (r *reconciler) abandonOperator(obj *fluxv1.FluxInstance, x sighting) error {
	now, have := obj.Status.Operator, x.state.Wanted.Image
	now.Available, now.Failed, now.Attempt = have, have, x.last.Attempt
	why := x.fatal
	if why == "" {
		why = fmt.Sprintf("it did not come up within %s", obj.GetUpgrade().Timeout.Duration)
		if x.hint != "" {
			why += ": " + x.hint
		}
	}
	message := "Upgrade of the operator to " + have + " failed: " + why
	if x.stays {
		r.tellOfOperator(obj, metav1.ConditionFalse, fluxv1.OperatorUpgradeFailedReason, message+"; not put back: spec.upgrade.rollback is false")
		return nil
	}
	r.tellOfOperator(obj, metav1.ConditionFalse, fluxv1.OperatorUpgradeFailedReason, message+"; "+x.state.Running.Image+" goes on")
	return engine.Await(soon, "Putting "+x.state.Running.Image+" back into "+x.state.Deployment.String())
}

// restoreOperator puts back what this process runs.
func (r *reconciler) restoreOperator(ctx context.Context, obj *fluxv1.FluxInstance, x sighting) error {
	now := obj.Status.Operator
	now.Available, now.Failed, now.Attempt = x.last.Available, x.last.Failed, x.last.Attempt
	if err := r.Operator.Restore(ctx, x.state); err != nil {
		return r.operatorUnchanged(err)
	}
	return nil
}

// operatorEvents tell of each change of the condition once.
func operatorEvents(before, after *fluxv1.FluxInstance) []engine.Event {
	was, is := engine.Condition(before, fluxv1.OperatorUpToDateCondition), engine.Condition(after, fluxv1.OperatorUpToDateCondition)
	if is == nil || was == nil && is.Status == metav1.ConditionTrue {
		return nil
	}
	if was != nil && was.Reason == is.Reason && (was.Message == is.Message || is.Reason == fluxv1.OperatorUpgradingReason) {
		return nil
	}
	e := engine.Event{Reason: is.Reason, Message: is.Message, Metadata: map[string]string{meta.MetaRevisionKey: after.Status.LastAppliedRevision}}
	if is.Reason == fluxv1.OperatorUpgradeFailedReason {
		e.Type = corev1.EventTypeWarning
	}
	return []engine.Event{e}
}

// outdatedEvents tell once for each release, and each artifact, that there is a newer version.
func outdatedEvents(before, after *fluxv1.FluxInstance, s *scope) []engine.Event {
	if s.release == nil || s.set == nil || after.Status.Artifact == nil || s.finished == nil {
		return nil
	}
	known := before.Status.Artifact != nil && before.Status.Artifact.Digest == after.Status.Artifact.Digest
	if known && before.Status.LastAppliedRevision == after.Status.LastAppliedRevision {
		return nil
	}
	latest := s.release.Latest()
	if !distribution.Newer(latest, s.set.Version) {
		return nil
	}
	return []engine.Event{{
		Reason:   fluxv1.OutdatedVersionReason,
		Message:  fmt.Sprintf("Flux %s is outdated, the latest stable version is %s", s.set.Version, latest),
		Metadata: map[string]string{meta.MetaRevisionKey: after.Status.LastAppliedRevision},
	}}
}
