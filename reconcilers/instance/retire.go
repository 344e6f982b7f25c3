package instance

import (
	"context"
	"fmt"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// retire takes the Deployments of the other topology out before those of this one come. That is the one thing that has to go before what
// replaces it is there, so all of what replaces it has to pass a dry run before.
func (r *reconciler) retire(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	old := superseded(s.previous, wanted(s.set))
	if len(old) == 0 {
		return nil
	}
	standing, err := s.standing(ctx, obj, old)
	if err == nil && standing {
		err = r.rehearse(ctx, obj, s)
	}
	if err == nil {
		err = s.stopAll(ctx, obj, old)
	}
	if err != nil {
		return r.failed(ctx, obj, s, err)
	}
	return nil
}

// standing tells whether one of the Deployments would still be deleted. When the last one is on its way out there is no way back to them.
func (p Place) standing(ctx context.Context, obj *fluxv1.FluxInstance, deployments []access.Ref) (bool, error) {
	for _, ref := range deployments {
		live, err := p.Client.GetMeta(ctx, ref)
		switch {
		case isGone(err):
		case err != nil:
			return false, fmt.Errorf("get %q: %w", ref, err)
		case live.DeletionTimestamp == nil && owns(obj, live):
			return true, nil
		}
	}
	return false, nil
}

// rehearse has the API server try all objects of the target. Nothing is changed.
func (r *reconciler) rehearse(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	engine.Progress(ctx, "Trying revision "+s.set.Revision())
	o := r.applyOptions(s)
	o.Key = []byte(obj.UID) // of a digest that nobody looks at
	_, err := s.Applier.Diff(ctx, s.Client, Owner(obj), s.set.Objects, false, o)
	return err
}
