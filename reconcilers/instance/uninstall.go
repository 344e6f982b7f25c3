package instance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// keep ends the deletion of an instance that is suspended, or that has deployed nothing: what runs goes on running.
func (r *reconciler) keep(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if !obj.Suspended() && len(s.previous) > 0 {
		return s.adopt(ctx, obj, s.previous)
	}
	if err := r.forget(ctx, obj, s); err != nil {
		return err
	}
	return engine.Done()
}

// adopt makes the hub see the objects, so that it can tell of their end.
func (p Place) adopt(ctx context.Context, obj *fluxv1.FluxInstance, inventory []access.Ref) error {
	ctx, cancel := context.WithTimeout(ctx, recheck)
	defer cancel()
	if err := p.Applier.Adopt(ctx, Owner(obj), inventory); err != nil {
		return fmt.Errorf("observe the deployed objects: %w", err)
	}
	return nil
}

// stop takes the controllers out before anything else: one that still runs would undo what it has deployed, as soon as the
// objects that it reconciles are deleted with their definitions.
func (r *reconciler) stop(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	deployments := slices.DeleteFunc(slices.Clone(s.previous), isNoDeployment)
	return s.stopAll(ctx, obj, deployments)
}

// stopAll deletes Deployments of the instance with their pods, and waits until all of it is gone.
func (p Place) stopAll(ctx context.Context, obj *fluxv1.FluxInstance, deployments []access.Ref) error {
	var left []access.Ref
	for _, ref := range deployments {
		gone, err := p.stopOne(ctx, obj, ref)
		if err != nil {
			return err
		}
		if !gone {
			left = append(left, ref)
		}
	}
	if len(left) == 0 {
		return nil
	}
	if err := p.awaitEnd(ctx, obj, left); err != nil {
		return err
	}
	return engine.Await(recheck, "Waiting for "+list(left)+" to stop")
}

// stopOne deletes a Deployment, and tells whether it is gone. In the foreground: it is there until its pods are gone.
func (p Place) stopOne(ctx context.Context, obj *fluxv1.FluxInstance, ref access.Ref) (gone bool, err error) {
	live, err := p.Client.GetMeta(ctx, ref)
	if isGone(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get %q: %w", ref, err)
	}
	if !owns(obj, live) || meta.Disabled(live.Annotations, fluxv1.PruneAnnotation) {
		return true, nil // somebody else's, as far as this instance goes
	}
	if live.DeletionTimestamp != nil {
		return false, nil
	}
	err = p.Client.Delete(ctx, ref, access.DeleteOptions{UID: live.UID, Propagation: metav1.DeletePropagationForeground})
	if err != nil && !isGone(err) {
		return false, fmt.Errorf("delete %q: %w", ref, err)
	}
	return false, nil
}

// remove deletes what is left of the inventory, the definitions last, and waits until these are gone. Volumes stay: whoever installs
// again finds their contents, and nobody else would ask before they are lost.
func (r *reconciler) remove(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	engine.Progress(ctx, "Deleting the deployed objects")
	definitions, others := split(slices.DeleteFunc(slices.Clone(s.previous), isClaim))
	for _, refs := range [][]access.Ref{others, definitions} {
		if _, err := s.Applier.Prune(ctx, s.Client, Owner(obj), refs, apply.PruneOptions{}); err != nil {
			return fmt.Errorf("delete the deployed objects: %w", err)
		}
	}
	left, err := s.lingering(ctx, definitions)
	if err != nil || len(left) == 0 {
		return err
	}
	if err := s.awaitEnd(ctx, obj, left); err != nil {
		return err
	}
	return engine.Await(recheck, "Waiting for "+list(left)+" to be gone")
}

// forget drops what this process knows about the instance.
func (r *reconciler) forget(_ context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	s.Applier.Forget(Owner(obj).ID)
	return nil
}

func isNoKind(err error) bool { return apimeta.IsNoMatchError(err) }

// list names the first few of the objects.
func list(refs []access.Ref) string {
	var names []string
	for i, ref := range refs {
		if i == named {
			names = append(names, "…")
			break
		}
		names = append(names, ref.String())
	}
	return strings.Join(names, ", ")
}
