package resourceset

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Actions of events.
const (
	actionApply    = "Apply"
	actionPrune    = "Prune"
	actionDepend   = "CheckDependencies"
	actionFinalize = "Finalize"
)

const (
	// ContestedCondition is True as long as somebody else keeps changing back what the ResourceSet applies, so that
	// corrections are slowed down. Otherwise it is not there.
	ContestedCondition = "Contested"

	// DriftContestedReason is the reason of the condition and of the event that comes with it.
	DriftContestedReason = "DriftContested"

	// maxContested is how many objects the condition names.
	maxContested = 10
)

// events says what a run means to people. Failures are the engine's to tell.
func events(before, after *fluxv1.ResourceSet, s *scope) []engine.Event {
	var all []engine.Event
	add := func(reason, action, message string) {
		all = append(all, engine.Event{Reason: reason, Action: action, Message: message, Metadata: metadata(s.revision())})
	}
	steps := stages(after)
	for _, st := range s.applied {
		message := st.changes.Log()
		if drift := st.changes.Drift(); drift != "" {
			message += "\n" + drift
		}
		if st.index < len(steps)-1 {
			message = fmt.Sprintf("step %q: %s", steps[st.index].name, message)
		}
		add(fluxv1.ApplySucceededReason, actionApply, message)
	}
	if log := s.pruned.Log(); log != "" && after.DeletionTimestamp.IsZero() {
		add(fluxv1.ApplySucceededReason, actionPrune, log)
	}
	if s.done > 0 {
		add(meta.ReconciliationSucceededReason, "", "Reconciliation finished in "+short(s.done))
	}
	if message := blocked(before, after); message != "" {
		add(meta.DependencyNotReadyReason, actionDepend, message)
	}
	return all
}

// blocked returns what is missing, if that is news.
func blocked(before, after *fluxv1.ResourceSet) string {
	was, is := engine.Condition(before, meta.ReadyCondition), engine.Condition(after, meta.ReadyCondition)
	if is == nil || is.Status != metav1.ConditionFalse || is.Reason != meta.DependencyNotReadyReason {
		return ""
	}
	if was != nil && was.Reason == is.Reason && was.Message == is.Message {
		return ""
	}
	return is.Message
}

// failure says of which revision a failure is.
func failure(_ *fluxv1.ResourceSet, s *scope, e engine.Event) engine.Event {
	e.Metadata = metadata(s.revision())
	return e
}

// revision is what is being applied, or what was applied last.
func (s *scope) revision() string {
	switch {
	case s.set != nil:
		return s.set.revision
	case s.obj != nil:
		return s.obj.Status.LastAppliedRevision
	}
	return ""
}

// metadata tells which revision an event is about.
func metadata(revision string) map[string]string {
	if revision == "" {
		return nil
	}
	return map[string]string{meta.MetaRevisionKey: revision}
}

// reportFights tells once of each object that somebody else keeps changing back, and says so in the status as long as it lasts.
func (r *reconciler) reportFights(ctx context.Context, obj *fluxv1.ResourceSet, s *scope, fights []apply.Fight) {
	known := map[access.ID]bool{}
	var lines []string
	for _, f := range fights {
		known[f.ID] = true
		lines = append(lines, f.String())
		if !s.memo.fights[f.ID] {
			engine.Emit(ctx, engine.Event{
				Type: corev1.EventTypeWarning, Reason: DriftContestedReason, Action: actionApply,
				Message: f.String(), Metadata: metadata(s.revision()),
			})
		}
	}
	s.memo.fights = known
	if len(lines) == 0 {
		engine.Unset(obj, ContestedCondition)
		return
	}
	if more := len(lines) - maxContested; more > 0 {
		lines = append(slices.Clone(lines[:maxContested]), fmt.Sprintf("and %d more", more))
	}
	engine.Set(obj, ContestedCondition, metav1.ConditionTrue, DriftContestedReason, strings.Join(lines, "\n"))
}
