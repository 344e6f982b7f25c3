package controllers

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
)

// maxOutage is the longest delay between two attempts to reach the API server.
const maxOutage = 30 * time.Second

// watch is a source of events of a controller.
type watch = source.Source

// add makes the controller of a kind: its own objects, what wakes them, and further watches. The concurrency is what suits the
// kind.
func add[O engine.Object, S any](p *Process, k engine.Kind[O, S], w *waker, anyAnnotation bool, concurrent int, more ...watch) error {
	return handle(p, k, own[O](anyAnnotation), w, p.workers(concurrent), more...)
}

// handle makes the controller of a kind whose own objects are handled in its own way, with exactly so many workers.
func handle[O engine.Object, S any](
	p *Process, k engine.Kind[O, S], own handler.TypedFuncs[O, reconcile.Request], w *waker, workers int, more ...watch,
) error {
	return control(p, k, engine.New(k, p.engine), own, w, workers, more...)
}

// control makes the controller of a kind, and of what reconciles it.
func control[O engine.Object, S any](
	p *Process, k engine.Kind[O, S], r reconcile.Reconciler, own handler.TypedFuncs[O, reconcile.Request], w *waker, workers int, more ...watch,
) error {
	c, err := controller.New(strings.ToLower(k.Name), p.Manager, controller.Options{
		Reconciler:              r,
		MaxConcurrentReconciles: workers,
		LogConstructor:          p.logger(k.Name),
		// For what the runner itself could not read or write: the API server is back in seconds, as a rule.
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](p.MinRetryDelay, min(p.MaxRetryDelay, maxOutage)),
	})
	if err != nil {
		return fmt.Errorf("make controller of %s: %w", k.Name, err)
	}

	watches := append([]watch{source.Kind(p.GetCache(), k.New(), own), w}, more...)
	for _, s := range watches {
		if err := c.Watch(s); err != nil {
			return fmt.Errorf("watch for %s: %w", k.Name, err)
		}
	}

	return nil
}

// admitted is a reconciler whose runs begin with a permit to work. Those that wait for one are in no run yet, so that nobody tells in
// a status how they get on.
func admitted(permits *kube.Permits, r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		ctx, done, err := permits.Admit(ctx)
		defer done()

		if err != nil {
			return reconcile.Result{}, nil // the process ends
		}

		return r.Reconcile(ctx, req) //nolint:wrapcheck // it is its own
	})
}

// workers is how many objects of a kind run at a time: as many as suit the kind, unless the command line says otherwise.
func (p *Process) workers(kind int) int { return cmp.Or(p.Concurrent, kind) }

// logger returns how the log names the object of a run: by the keys that flux logs reads.
func (p *Process) logger(kind string) func(*reconcile.Request) logr.Logger {
	base := p.GetLogger().WithValues("controller", strings.ToLower(kind), "controllerKind", kind)

	return func(req *reconcile.Request) logr.Logger {
		if req == nil {
			return base
		}

		return base.WithValues("namespace", req.Namespace, "name", req.Name)
	}
}
