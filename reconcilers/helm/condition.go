package helm

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// outcome of an action, for people.
type outcome struct {
	condition, reason, message string

	// err of the action, nil if it succeeded.
	err error

	// fails sets the condition to false though the action has succeeded.
	fails bool
}

// set writes the outcome into the conditions.
func (o outcome) set(obj *v2.HelmRelease) {
	if o.condition == "" {
		return
	}

	status := metav1.ConditionTrue
	if o.err != nil || o.fails {
		status = metav1.ConditionFalse
	}

	engine.Set(obj, o.condition, status, o.reason, o.message)
}

// unbegun is the outcome of an action that was not begun.
func unbegun(err error) outcome { return outcome{err: err, message: err.Error()} }

// event tells of the outcome.
func (a *attempt) event(o outcome) engine.Event {
	e := engine.Event{Reason: o.reason, Message: o.message, Metadata: metadata(a.obj, a.s)}
	if o.err != nil {
		e.Type, e.Message = corev1.EventTypeWarning, o.message+a.lastWords()
	}

	return e
}

// metadata of events: what was released.
func metadata(obj *v2.HelmRelease, s *scope) map[string]string {
	m := map[string]string{}
	if s.metadata == nil || !s.summed {
		return m
	}

	m[meta.MetaRevisionKey] = s.metadata.Version
	m[meta.MetaTokenKey] = obj.Status.LastAttemptedConfigDigest

	if s.metadata.AppVersion != "" {
		m[v2.EventAppVersionKey] = s.metadata.AppVersion
	}

	if s.ociDigest != "" {
		m[v2.EventOCIDigestKey] = s.ociDigest
	}

	return m
}

// failure says which release failed.
func failure(obj *v2.HelmRelease, s *scope, e engine.Event) engine.Event {
	e.Metadata = metadata(obj, s)

	return e
}

// newest returns the condition that says how the release is: of those that count, the one of the newest generation.
func newest(obj *v2.HelmRelease) *metav1.Condition {
	types := []string{v2.RemediatedCondition, v2.ReleasedCondition}
	if t := obj.GetTest(); t.Enable && !t.IgnoreFailures {
		types = []string{v2.RemediatedCondition, v2.TestSuccessCondition, v2.ReleasedCondition}
	}

	var found *metav1.Condition

	for _, t := range types {
		if c := engine.Condition(obj, t); c != nil && (found == nil || c.ObservedGeneration > found.ObservedGeneration) {
			found = c
		}
	}

	return found
}

// summarize makes Ready. A release that was remediated is not the wanted one, however well that went.
func summarize(obj *v2.HelmRelease, s *scope, v *engine.Verdict) (metav1.ConditionStatus, string, string) {
	if c := newest(obj); s.summed && c != nil {
		if c.Type == v2.RemediatedCondition {
			return metav1.ConditionFalse, c.Reason, c.Message
		}

		return c.Status, c.Reason, c.Message
	}

	if v.Outcome == engine.Awaiting {
		return metav1.ConditionUnknown, meta.ProgressingReason, "reconciliation in progress"
	}

	return metav1.ConditionFalse, v.Reason, v.Error()
}

// settle brings the status of a release in sync in order.
func settle(obj *v2.HelmRelease) {
	obj.Status.History = state.Truncate(obj)

	if !obj.GetTest().Enable {
		engine.Unset(obj, v2.TestSuccessCondition)
	}

	remediated, released := engine.Condition(obj, v2.RemediatedCondition), engine.Condition(obj, v2.ReleasedCondition)
	latest := obj.Status.History.Latest()

	if latest != nil && (released == nil || released.Status != metav1.ConditionTrue || remediated != nil) {
		reason, verb := v2.UpgradeSucceededReason, "upgrade"
		if remediated == nil && latest.Action == v2.ActionInstall {
			reason, verb = v2.InstallSucceededReason, "install"
		}

		engine.Unset(obj, v2.RemediatedCondition)
		engine.Set(obj, v2.ReleasedCondition, metav1.ConditionTrue, reason, succeeded(verb, latest))
	}

	if c := newest(obj); c != nil && c.Status == metav1.ConditionTrue {
		state.ObserveRendering(obj)
	}
}

func succeeded(verb string, s *v2.Snapshot) string {
	return fmt.Sprintf("Helm %s succeeded for release %s with chart %s", verb, s.FullReleaseName(), s.VersionedChartName())
}

// failed returns the outcome of an install or upgrade that failed.
func (a *attempt) failed(reason, verb string, err error) outcome {
	return outcome{
		condition: v2.ReleasedCondition, reason: reason, err: err,
		message: fmt.Sprintf("Helm %s failed for release %s/%s with chart %s@%s: %s",
			verb, a.obj.GetReleaseNamespace(), a.name(), a.s.metadata.Name, a.s.metadata.Version, err),
	}
}
