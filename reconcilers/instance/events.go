package instance

import (
	corev1 "k8s.io/api/core/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// events tells of the begin of an installation or upgrade, of its end with what changed, and of what stands in its way.
func events(before, after *fluxv1.FluxInstance, s *scope) []engine.Event {
	var list []engine.Event
	revision := after.Status.LastAttemptedRevision
	metadata := map[string]string{meta.MetaRevisionKey: revision}
	if s.began || s.way == installing && revision != before.Status.LastAttemptedRevision {
		list = append(list, engine.Event{
			Reason: meta.ProgressingReason, Message: announcement(before, revision), Metadata: metadata,
		})
	}
	if s.outage != "" {
		list = append(list, engine.Event{
			Type: corev1.EventTypeWarning, Reason: meta.ArtifactFailedReason, Message: s.outage, Metadata: metadata,
		})
	}
	if s.undone != "" {
		list = append(list, engine.Event{
			Type: corev1.EventTypeWarning, Reason: fluxv1.UpgradeRollingBackReason, Message: s.undone, Metadata: metadata,
		})
	}
	if s.failure != "" {
		list = append(list, engine.Event{
			Type: corev1.EventTypeWarning, Reason: meta.ReconciliationFailedReason, Message: s.failure, Metadata: metadata,
		})
	}
	if s.finished != nil && s.finished.log != "" {
		list = append(list, engine.Event{
			Reason: meta.ReconciliationSucceededReason, Message: report(before, s),
			Metadata: map[string]string{meta.MetaRevisionKey: s.set.Revision()},
		})
	}
	list = append(list, operatorEvents(before, after)...)
	return append(list, outdatedEvents(before, after, s)...)
}

func announcement(before *fluxv1.FluxInstance, revision string) string {
	if before.Status.LastAppliedRevision == "" {
		return "Installing revision " + revision
	}
	return "Upgrading to revision " + revision
}

func report(before *fluxv1.FluxInstance, s *scope) string {
	verb := "updated"
	if s.way == returning {
		verb = "rolled back"
	}
	if before.Status.LastAppliedRevision == "" {
		verb = "installed"
	}
	return "Flux " + s.set.Version + " " + verb + "\n" + s.finished.log
}
