package instance

import (
	"context"
	"encoding/json"
	"fmt"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// held is what was found out about a revision that waits, and holds as long as nothing changes: neither what is wanted, nor what is in the
// cluster. A revision waits for days, and its runs are to cost next to nothing. Before it is begun, all of it is found out anew.
type held struct {
	intent  string // what it is about; empty for nothing
	claimed bool   // its objects are nobody else's
	checked bool   // it loses no objects
	plan    *plan  // nil if none was made
}

// consider returns what is known about what the run is to begin. It is new if something has changed, or is not as it should be.
func (r *reconciler) consider(obj *fluxv1.FluxInstance, s *scope) (*held, error) {
	intent, err := r.intent(obj, s)
	if err != nil {
		return nil, err
	}
	if s.memory.held.intent != intent || !r.undisturbed(obj, s) {
		s.memory.held = held{intent: intent}
	}
	return &s.memory.held, nil
}

// intent identifies all that a plan is made of, but for the cluster.
func (r *reconciler) intent(obj *fluxv1.FluxInstance, s *scope) (string, error) {
	status := obj.Status
	content, err := json.Marshal([]any{
		obj.UID, obj.Spec, obj.Annotations[meta.ReconcileRequestAnnotation], s.built.Revision(), s.artifact(), s.built.Operator.String(),
		status.LastAppliedRevision, status.LastArtifactRevision, status.Components, status.Operator, status.Inventory,
	})
	if err != nil {
		return "", fmt.Errorf("encode what is wanted: %w", err)
	}
	return digestOf(content), nil
}

// undisturbed tells, from memory, whether the last good release is in the cluster as it was applied.
func (r *reconciler) undisturbed(obj *fluxv1.FluxInstance, s *scope) bool {
	good := s.memory.good
	if good == nil || good.details.Revision != obj.Status.LastAppliedRevision {
		return false
	}
	digest := good.set.Digest
	if len(s.memory.newer) > 0 {
		digest = partial(digest)
	}
	return s.Applier.Clean(Owner(obj).ID, digest)
}

// planned returns the plan of the target. One that was made before is as good as another one, but for being carried out.
func (r *reconciler) planned(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, x crossing) (*plan, error) {
	known, err := r.consider(obj, s)
	if err != nil {
		return nil, err
	}
	if p := known.plan; p != nil {
		x.plan = p.digest
		if x.awaits() != "" {
			return p, nil
		}
	}
	known.plan = nil
	p, err := r.plan(ctx, obj, s)
	if err == nil && r.undisturbed(obj, s) {
		known.plan = p
	}
	return p, err
}
