package instance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// contestedInterval is how often an instance runs while somebody fights over its objects: nobody tells when they give up.
const contestedInterval = time.Minute

// pace is how often an instance runs that nobody wakes: as usual, unless somebody fights over its objects.
func pace(usual func(*fluxv1.FluxInstance) time.Duration) func(*fluxv1.FluxInstance) time.Duration {
	return func(obj *fluxv1.FluxInstance) time.Duration {
		if engine.IsTrue(obj, fluxv1.ContestedCondition) {
			return min(usual(obj), contestedInterval)
		}
		return usual(obj)
	}
}

// tellDrift says what others have done to the objects of the instance, as the apply of this run has found it.
func (r *reconciler) tellDrift(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, result *apply.Result, err error) {
	drifted := driftOf(result.Changes, s.previous, repairing(obj, s.way))
	if len(drifted) > 0 {
		emit(ctx, obj, corev1.EventTypeNormal, fluxv1.DriftCorrectedReason, drifted.Drift())
	}
	refused, isRefusal := errors.AsType[apply.Errors](err)
	c := engine.Condition(obj, fluxv1.DriftedCondition)
	switch {
	case isRefusal && repairing(obj, s.way):
		engine.Set(obj, fluxv1.DriftedCondition, metav1.ConditionTrue, fluxv1.DriftCorrectionFailedReason, refused.Error())
	case len(drifted) > 0:
		engine.Set(obj, fluxv1.DriftedCondition, metav1.ConditionFalse, fluxv1.DriftCorrectedReason, recent(c, drifted))
	case err == nil && c != nil && (s.full || c.Status == metav1.ConditionTrue):
		engine.Unset(obj, fluxv1.DriftedCondition)
	}
	for _, f := range s.memory.news(result.Fights) {
		emit(ctx, obj, corev1.EventTypeWarning, fluxv1.DriftContestedReason, f.String())
	}
	contest(obj, result.Fights)
}

func emit(ctx context.Context, obj *fluxv1.FluxInstance, kind, reason, message string) {
	engine.Emit(ctx, engine.Event{
		Type: kind, Reason: reason, Message: message,
		Metadata: map[string]string{meta.MetaRevisionKey: obj.Status.LastAttemptedRevision},
	})
}

// contest says which objects somebody fights over.
func contest(obj *fluxv1.FluxInstance, fights []apply.Fight) {
	lines := make([]string, 0, len(fights))
	for _, f := range fights {
		lines = append(lines, f.String())
	}
	if len(lines) == 0 {
		engine.Unset(obj, fluxv1.ContestedCondition)
		return
	}
	engine.Set(obj, fluxv1.ContestedCondition, metav1.ConditionTrue, fluxv1.DriftContestedReason, shorten(lines))
}

// repairing tells whether there is nothing to apply but what was applied before.
func repairing(obj *fluxv1.FluxInstance, w way) bool {
	if w != steady && w != holding {
		return false
	}
	u := obj.Status.Upgrade
	return u == nil || u.To == obj.Status.LastAppliedRevision ||
		u.Phase == fluxv1.UpgradePhasePending || u.Phase == fluxv1.UpgradePhaseRolledBack
}

// driftOf returns the changes that put back what others have done. A process that has just started knows it of none; then
// everything is that is not as it was applied last, if there is nothing else to apply.
func driftOf(changes apply.Changes, previous []access.Ref, repairing bool) apply.Changes {
	var out apply.Changes
	for _, c := range changes {
		changed := c.Action == apply.Created || c.Action == apply.Configured
		if c.Drift == nil && repairing && changed && len(without([]access.Ref{c.Ref}, previous)) == 0 {
			c.Drift = &apply.Drift{Gone: c.Action == apply.Created}
		}
		if c.Drift != nil {
			out = append(out, c)
		}
	}
	return out
}

// recent is the message about the corrections, followed by those before as far as there is room and they are about other objects.
func recent(before *metav1.Condition, drifted apply.Changes) string {
	lines := strings.Split(drifted.Drift(), "\n")
	if before != nil && before.Status == metav1.ConditionFalse {
		now := slices.Clone(lines)
		for line := range strings.Lines(before.Message) {
			line = strings.TrimSuffix(line, "\n")
			object, _, _ := strings.Cut(line, " ")
			if !slices.ContainsFunc(now, func(l string) bool { return strings.HasPrefix(l, object+" ") }) {
				lines = append(lines, line)
			}
		}
	}
	return shorten(lines)
}

// shorten leaves out the lines that nobody reads.
func shorten(lines []string) string {
	if len(lines) > named {
		lines = append(slices.Clone(lines[:named]), "…")
	}
	return strings.Join(lines, "\n")
}
