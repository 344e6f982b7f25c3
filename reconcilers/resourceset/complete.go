package resourceset

import (
	"context"
	"maps"
	"slices"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// complete writes down what runs now. A run that only confirms what is known writes nothing.
func (r *reconciler) complete(_ context.Context, obj *fluxv1.ResourceSet, s *scope) error {
	defer s.memo.end()
	if !s.memo.attempt.changed && len(s.pruned) == 0 && confirms(obj, s.memo.last) {
		return nil
	}
	last := s.memo.last
	obj.Status.LastAppliedRevision = last.revision
	obj.Status.ExternalChecksumRefs = slices.Clone(last.external)
	took := r.Now().Sub(s.memo.attempt.began)
	obj.Status.History.Record(last.revision, meta.ReconciliationSucceededReason, r.Now(), took, maps.Clone(last.metadata))
	s.done = max(took, 1)
	return nil
}

// confirms tells whether the status says already all that the success of a run with the set has to say, and nobody asked.
func confirms(obj *fluxv1.ResourceSet, last summary) bool {
	c, h := engine.Condition(obj, meta.ReadyCondition), obj.Status.History.Latest()
	return engine.IsTrue(obj, meta.ReadyCondition) && c.Reason == meta.ReconciliationSucceededReason &&
		c.ObservedGeneration == obj.Generation && !asked(obj) && h != nil && h.Digest == last.revision && maps.Equal(h.Metadata, last.metadata) &&
		obj.Status.LastAppliedRevision == last.revision && slices.Equal(obj.Status.ExternalChecksumRefs, last.external)
}
