package kustomize

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Actions of events.
const (
	actionReconcile   = "Reconcile"
	actionResolve     = "ResolveSource"
	actionDepend      = "CheckDependencies"
	actionPlan        = "Plan"
	actionApply       = "Apply"
	actionHealthCheck = "HealthCheck"
	actionPrune       = "Prune"
	actionFinalize    = "Finalize"
	actionTerminate   = "WaitForTermination"
)

// events says what a run means to people. Failures are the engine's to tell.
func (r *reconciler) events(before, after *kustomizev1.Kustomization, s *scope) []engine.Event {
	var list []engine.Event

	add := func(reason, action, message string) {
		list = append(list, engine.Event{
			Type: corev1.EventTypeNormal, Severity: meta.EventSeverityInfo,
			Reason: reason, Action: action, Message: message, Metadata: metadata(s.artifact), Related: s.related(),
		})
	}

	if log := s.applied.Log(); log != "" {
		if drift := s.applied.Drift(); drift != "" {
			log += "\n" + drift
		}

		add(meta.ProgressingReason, actionApply, log)
	}

	if len(s.pruned) > 0 && after.DeletionTimestamp.IsZero() {
		add(meta.ProgressingReason, actionPrune, everything(s.pruned))
	}

	if s.passed > 0 {
		add(meta.ProgressingReason, actionHealthCheck, passedMessage(s))
	}

	if s.done > 0 && !r.NoCommitStatus {
		add(meta.ReconciliationSucceededReason, actionReconcile,
			fmt.Sprintf("Reconciliation finished in %s, next run in %s", short(s.done), after.Spec.Interval.Duration))
		list[len(list)-1].Metadata[meta.MetaCommitStatusKey] = meta.MetaCommitStatusUpdate
	}

	if reason, action, message := r.blocked(before, after); message != "" {
		add(reason, action, message)
	}

	return list
}

// blocked returns what is missing, if that is news.
func (r *reconciler) blocked(before, after *kustomizev1.Kustomization) (reason, action, message string) {
	was, is := engine.Condition(before, meta.ReadyCondition), engine.Condition(after, meta.ReadyCondition)
	if is == nil || is.Status != metav1.ConditionFalse || engine.IsTrue(after, meta.StalledCondition) {
		return "", "", ""
	}

	if was != nil && was.Reason == is.Reason && was.Message == is.Message {
		return "", "", ""
	}

	switch {
	case is.Reason == meta.DependencyNotReadyReason &&
		(strings.HasPrefix(is.Message, "dependency ") || strings.HasPrefix(is.Message, "failed to evaluate dependency ")):
		return is.Reason, actionDepend,
			fmt.Sprintf("Dependencies do not meet ready condition, retrying in %s", r.RequeueDependency)
	case is.Reason == meta.ArtifactFailedReason && strings.HasPrefix(is.Message, "Source "):
		return is.Reason, actionResolve, is.Message
	}

	return "", "", ""
}

// everything lists all changes, skipped ones included.
func everything(changes apply.Changes) string {
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = c.String()
	}

	return strings.Join(lines, "\n")
}

// metadata tells which revision an event is about.
func metadata(a *meta.Artifact) map[string]string {
	m := map[string]string{}

	if a == nil {
		return m
	}

	m[meta.MetaRevisionKey] = a.Revision

	if origin := a.Metadata[originRevision]; origin != "" {
		m[meta.MetaOriginRevisionKey] = origin
	}

	return m
}

// failure says which revision of which source failed.
func failure(_ *kustomizev1.Kustomization, s *scope, e engine.Event) engine.Event {
	e.Metadata, e.Related = metadata(s.artifact), s.related()

	return e
}
