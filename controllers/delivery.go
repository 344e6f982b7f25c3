package controllers

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// delivery is what the kinds that apply objects share: the hub that watches what they applied, the applier, and the
// key of their plans. Who is woken depends on the kind of the owner.
type delivery struct {
	hub     *health.Hub
	applier *apply.Applier
	metrics *apply.Metrics
	plans   *planKey

	mu     sync.RWMutex
	wakers map[string]*waker // by kind of the owner
}

// delivery returns the one of the process, and makes it if it is not there.
func (p *Process) sharedDelivery() (*delivery, error) {
	if p.delivery != nil {
		return p.delivery, nil
	}

	corrections, err := apply.NewMetrics(metrics.Registry)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of corrections: %w", err)
	}

	d := &delivery{
		wakers: map[string]*waker{}, metrics: corrections,
		plans: &planKey{namespace: p.Namespace, live: p.GetAPIReader(), writer: p.GetClient()},
	}
	d.hub = health.New(p.access.Own(), health.Options{Wake: d.wake, Restored: p.history.rewritten})
	d.applier = apply.New(d.hub, apply.ApplierOptions{Wake: d.wake, Metrics: corrections})
	p.delivery = d

	return d, p.Add(d)
}

// route sends the wake-ups of owners of the kind to the waker.
func (d *delivery) route(kind string, w *waker) {
	d.mu.Lock()
	defer d.mu.Unlock()

	d.wakers[kind] = w
}

func (d *delivery) wake(owner access.ID, cause health.Cause) {
	d.mu.RLock()
	w := d.wakers[owner.Kind]
	d.mu.RUnlock()

	if w == nil {
		return
	}

	p := engine.Changed
	if cause == health.Drifted {
		p = engine.Drift
	}

	w.Wake(types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}, p)
}

// Start implements manager.Runnable: the watches of the hub end with the process.
func (d *delivery) Start(ctx context.Context) error {
	<-ctx.Done()
	d.hub.Close()

	return nil
}
