package kustomize

import (
	"context"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// complete writes down what runs now. A run that only confirms what is known writes nothing.
func (r *reconciler) complete(_ context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	defer s.memo.end()

	if confirms(obj, s.artifact, s.memo.set) {
		return nil
	}

	obj.Status.LastAttemptedRevision = s.artifact.Revision
	obj.Status.LastAppliedRevision = s.artifact.Revision
	obj.Status.LastAppliedOriginRevision = s.artifact.Metadata[originRevision]
	s.done = max(r.record(obj, s, meta.ReconciliationSucceededReason), 1)

	return nil
}

// confirms tells whether the status says already all that the success of this run, with the set of the digest, has to say,
// and nobody asked.
func confirms(obj *kustomizev1.Kustomization, a *meta.Artifact, set string) bool {
	if last := obj.Status.History.Latest(); last == nil || last.Digest != set {
		return false // other variables make another set of the same revision
	}

	return engine.IsTrue(obj, meta.ReadyCondition) && !asked(obj) &&
		obj.Status.ObservedGeneration == obj.Generation &&
		obj.Status.LastAppliedRevision == a.Revision && obj.Status.LastAttemptedRevision == a.Revision &&
		obj.Status.LastAppliedOriginRevision == a.Metadata[originRevision]
}
