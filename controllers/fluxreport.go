package controllers

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/source"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/report"
)

// setupOperator adds the controllers of the operator itself.
func setupOperator(p *Process) error {
	for _, setup := range []func(*Process) error{setupInstance, setupResourceSet, setupReport} {
		if err := setup(p); err != nil {
			return err
		}
	}

	return nil
}

// setupReport adds the controller of the FluxReport. It runs at its interval, when an annotation of it changes, and when the
// FluxInstance has got another outcome or revision. Nobody else writes the report: that its spec has changed is no reason to run.
func setupReport(p *Process) error {
	d := report.Deps{
		Client: p.access.Own(), Interval: p.ReportingInterval,
		Operator: fluxv1.OperatorReport{
			APIVersion: fluxv1.GroupVersion.String(), Version: p.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH,
		},
	}

	var err error
	if d.Metrics, err = report.NewMetrics(metrics.Registry, d.Operator); err != nil {
		return fmt.Errorf("register the metrics of reports: %w", err)
	}

	keeper := &reportKeeper{
		deps: d, reader: p.GetClient(), log: p.GetLogger().WithName("report"), retry: p.MinRetryDelay, gone: make(chan struct{}, 1),
		key: types.NamespacedName{Namespace: p.Namespace, Name: fluxv1.InstanceName},
	}
	d.Gone = keeper.again

	if err := p.Add(keeper); err != nil {
		return fmt.Errorf("add the keeper of the report: %w", err)
	}

	self := own[*fluxv1.FluxReport](true)
	self.UpdateFunc = func(_ context.Context, e event.TypedUpdateEvent[*fluxv1.FluxReport], q queue) {
		if !sameAnnotations(e.ObjectOld.Annotations, e.ObjectNew.Annotations) {
			enqueue(q, client.ObjectKeyFromObject(e.ObjectNew), urgency(e.ObjectNew))
		}
	}

	instance := related(told, func(_ context.Context, i *fluxv1.FluxInstance) []types.NamespacedName {
		if client.ObjectKeyFromObject(i) != keeper.key { // it is about another cluster
			return nil
		}

		return []types.NamespacedName{keeper.key}
	})
	instance.DeleteFunc = func(_ context.Context, e event.TypedDeleteEvent[*fluxv1.FluxInstance], q queue) {
		if client.ObjectKeyFromObject(e.Object) == keeper.key {
			enqueue(q, keeper.key, engine.Changed)
		}
	}

	return handle(p, report.Kind(d), self, newWaker(), 1, source.Kind(p.GetCache(), &fluxv1.FluxInstance{}, instance))
}

// told tells whether an instance has something new to report. Between two outcomes it has not.
func told(before, after *fluxv1.FluxInstance) bool {
	if before.Status.LastAppliedRevision != after.Status.LastAppliedRevision || before.Suspended() != after.Suspended() {
		return true
	}

	was, is := engine.Condition(before, meta.ReadyCondition), engine.Condition(after, meta.ReadyCondition)
	if was == nil || is == nil {
		return was != is
	}

	return is.Reason != meta.ProgressingReason && (was.Status != is.Status || was.Reason != is.Reason)
}

// reportKeeper sees to it that there is a report: when the process begins to lead, and when somebody has deleted it.
type reportKeeper struct {
	deps   report.Deps
	key    types.NamespacedName
	reader client.Reader // a cache
	log    logr.Logger
	retry  time.Duration
	gone   chan struct{}
}

// again has the report made anew.
func (k *reportKeeper) again() {
	select {
	case k.gone <- struct{}{}:
	default: // it is about to be made
	}
}

// Start implements manager.Runnable.
func (k *reportKeeper) Start(ctx context.Context) error {
	k.again()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.gone:
			k.keep(ctx)
		}
	}
}

// keep makes the report if there is none, and tries until it is there.
func (k *reportKeeper) keep(ctx context.Context) {
	for delay := k.retry; ; delay = min(2*delay, maxOutage) {
		if k.reader.Get(ctx, k.key, &fluxv1.FluxReport{}) == nil {
			return
		}

		err := report.Create(ctx, k.deps, k.key.Namespace)
		if err == nil || ctx.Err() != nil {
			return
		}

		k.log.Error(err, "The report could not be made yet")

		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}
