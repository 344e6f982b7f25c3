package instance

import (
	"context"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// Place is a cluster that an instance is deployed to.
type Place struct {
	// Client acts as the operator.
	Client *access.Client

	// Applier applies with Client's cluster, and Hub is the one it was made with. Who made them sees to it that the instance
	// runs when they wake its owner.
	Applier *apply.Applier
	Hub     *health.Hub
}

// locate finds the cluster of the instance.
func (r *reconciler) locate(_ context.Context, _ *fluxv1.FluxInstance, s *scope) error {
	s.Place = r.Home
	return nil
}
