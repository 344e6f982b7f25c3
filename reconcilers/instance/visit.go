package instance

import (
	"context"
	"errors"
	"slices"
	"time"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/remote"
)

// turnAgain is when a run that gave its worker back looks at the latest whether it may go on.
const turnAgain = 30 * time.Second

// there makes a step end when a slow cluster has had its time, so that it never holds the workers of others.
func (r *reconciler) there(run func(context.Context, *fluxv1.FluxInstance, *scope) error) func(context.Context, *fluxv1.FluxInstance, *scope) error {
	return func(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
		if !s.Away() {
			return run(ctx, obj, s)
		}
		return r.visit(ctx, obj, s, func(ctx context.Context) error { return run(ctx, obj, s) })
	}
}

// visit does something in the remote cluster of the run. That others which are slow are waited for is no failure, and leaves no trace of
// one. What was applied stays.
func (r *reconciler) visit(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, do func(context.Context) error) (err error) {
	if s.visiting == nil {
		s.visiting, err = r.Remote.Visit(Owner(obj).ID)
		if errors.Is(err, remote.ErrBusy) {
			return engine.Await(turnAgain, err.Error())
		}
		if err != nil {
			return err
		}
	}
	ctx, stop := s.visiting.Context(ctx)
	defer stop()

	history, conditions := slices.Clone(obj.Status.History), slices.Clone(obj.Status.Conditions)
	err = do(ctx)
	slow, ok := errors.AsType[*remote.SlowError](s.visiting.Err())
	if err == nil || !ok {
		return err
	}
	v, ok := errors.AsType[*engine.Verdict](err)
	if ok && v.Outcome != engine.Failed {
		return err
	}
	if slow.Busy {
		obj.Status.History, obj.Status.Conditions = history, conditions
		return engine.Await(turnAgain, slow.Error())
	}
	return notEntered(slow)
}

// leave ends the visit, if there is one, and lets somebody else have its turn.
func (s *scope) leave() {
	if s.visiting != nil {
		s.visiting.Leave()
		s.visiting = nil
	}
}
