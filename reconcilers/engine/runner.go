package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/api/meta"
)

// Client is what the runner needs of the API. Get may read from a cache, if that cache shows the runner's own writes.
type Client interface {
	Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error
	Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error
	Status() client.SubResourceWriter
}

// Options are the parts of a Runner that are the same for all kinds of a process.
type Options struct {
	// Client reads and patches the objects.
	Client Client

	// Recorder takes the events. Nil drops them.
	Recorder Recorder

	// Metrics takes the figures of each run. Nil drops them.
	Metrics *Metrics

	// MinRetryDelay and MaxRetryDelay bound the back-off of failing objects. Zero means 750 ms and 15 min.
	MinRetryDelay, MaxRetryDelay time.Duration

	// Jitter is the fraction, 0 to 1, by which an interval may be longer or shorter. Zero means none.
	Jitter float64

	// ProgressAfter is how long a run may last before its progress is written to the status. Zero means 2 s.
	ProgressAfter time.Duration

	// Now is the clock and Random gives numbers in [0,1). Nil means the ones of the machine.
	Now    func() time.Time
	Random func() float64
}

// Runner reconciles the objects of one kind. It is safe for concurrent use for different objects; the work queue sees to
// it that one object never runs twice at a time.
type Runner[O Object, S any] struct {
	kind    Kind[O, S]
	options Options
	requeue *requeue
	told    told
	ignored ignored
}

// New returns a runner of the kind.
func New[O Object, S any](k Kind[O, S], o Options) *Runner[O, S] {
	o = o.withDefaults()

	return &Runner[O, S]{kind: k, options: o, requeue: newRequeue(o)}
}

// run is one reconcile of one object.
type run[O Object, S any] struct {
	*Runner[O, S]
	obj      O
	original O // as it was when the run began
	before   O // as the API server has it now
	scope    S
	started  time.Time
	progress *progress
	events   *emitted
	verdict  *Verdict
	gone     bool // there is nothing left to do for the object, now or later
}

// Reconcile runs the object once. It returns an error only when the API server could not be read or written.
func (r *Runner[O, S]) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	obj := r.kind.New()
	if err := r.options.Client.Get(ctx, req.NamespacedName, obj); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)

			return reconcile.Result{}, nil
		}

		return reconcile.Result{}, fmt.Errorf("get %s %q: %w", r.kind.Name, req, err)
	}

	x := &run[O, S]{Runner: r, obj: obj, started: r.options.Now(), events: &emitted{}}
	x.original, x.before = copyOf(obj), copyOf(obj)

	result, err := x.do(ctx)
	r.options.Metrics.observe(r.kind.Name, obj, r.options.Now().Sub(x.started))

	switch {
	case apierrors.IsConflict(err):
		// Somebody else wrote first: the event of that write is on its way.
		return reconcile.Result{RequeueAfter: r.options.MinRetryDelay, Priority: priority(Changed)}, nil
	case apierrors.IsNotFound(err):
		x.gone, err = true, nil
	}

	if x.gone {
		r.forget(req.NamespacedName)
	}

	return result, err
}

func (x *run[O, S]) do(ctx context.Context) (reconcile.Result, error) {
	if x.isIgnored() {
		return reconcile.Result{}, nil
	}

	deleting := !x.obj.GetDeletionTimestamp().IsZero()
	if deleting && !x.holdsFinalizer() {
		x.gone = true

		return reconcile.Result{}, nil
	}

	if !deleting && x.isStatic() {
		return x.renounce(ctx)
	}

	if err := x.addFinalizer(ctx, deleting); err != nil {
		return reconcile.Result{}, err
	}

	if x.obj.Suspended() && !deleting {
		return reconcile.Result{}, x.suspend(ctx)
	}

	steps := x.kind.Steps
	if deleting {
		steps = x.kind.Delete
	}

	x.verdict = x.run(ctx, steps)
	if deleting && x.verdict.Outcome == Succeeded {
		return reconcile.Result{}, x.removeFinalizer(ctx)
	}

	return x.finish(ctx, deleting)
}

// run opens the scope, runs the steps and closes the scope.
func (x *run[O, S]) run(ctx context.Context, steps Steps[O, S]) *Verdict {
	x.progress = newProgress(x.options.ProgressAfter, x.progressWriter(ctx))
	defer x.progress.stop()

	ctx = context.WithValue(ctx, runKey{}, &notes{progress: x.progress, events: x.events, save: x.save})

	if x.kind.Close != nil {
		defer x.kind.Close(&x.scope)
	}

	if x.kind.Open != nil {
		open := Step[O, S]{Name: "open", Reason: meta.FailedReason, Run: x.kind.Open}
		if v := x.step(ctx, open); v != nil {
			return v
		}
	}

	for _, s := range steps {
		if v := x.step(ctx, s); v != nil {
			return v
		}
	}

	return &Verdict{Outcome: Succeeded}
}

// step runs one step. Nil means that the run goes on.
func (x *run[O, S]) step(ctx context.Context, s Step[O, S]) (v *Verdict) {
	log := logf.FromContext(ctx)

	defer func() {
		if p := recover(); p != nil {
			log.Error(fmt.Errorf("panic: %v", p), "A step panicked", "step", s.Name, "stack", string(debug.Stack()))
			v = &Verdict{Outcome: Failed, Reason: s.Reason, Err: fmt.Errorf("internal error: %v", p)}
		}

		if s.Condition == "" {
			return
		}

		if v != nil && (v.Outcome == Failed || v.Outcome == Stalled || v.Outcome == Blocked) {
			Set(x.obj, s.Condition, metav1.ConditionTrue, v.Reason, v.Error())
		} else {
			Unset(x.obj, s.Condition)
		}
	}()

	v = verdictOf(s.Run(ctx, x.obj, &x.scope), s.Reason)
	if v != nil && v.Outcome != Succeeded {
		log.V(1).Info("Step ended the run", "step", s.Name, "outcome", v.Outcome.String(), "reason", v.Reason)
	}

	return v
}

// finish turns the verdict into conditions, one patch, events and the time of the next run.
func (x *run[O, S]) finish(ctx context.Context, deleting bool) (reconcile.Result, error) {
	if ctx.Err() != nil && x.verdict.Outcome != Succeeded {
		// The process is going down, or the run took longer than it may: what failed because of that says nothing about
		// the object, and nothing can be written. It has to run again.
		return reconcile.Result{RequeueAfter: x.options.MinRetryDelay, Priority: priority(Retry)}, nil
	}

	x.conclude()
	if err := x.patchStatus(ctx); err != nil {
		return reconcile.Result{}, err
	}

	x.record(ctx, deleting)

	return x.requeue.next(x.key(), x.verdict, x.interval(), x.retry(), x.options.Now().Sub(x.started)), nil
}

// suspend answers what a suspended object asks for, and does nothing else.
func (x *run[O, S]) suspend(ctx context.Context) error {
	x.requeue.reset(x.key())

	if !x.kind.SilentWhenSuspended {
		x.handled()
	}

	var events []Event
	if x.kind.Suspend != nil {
		events = x.kind.Suspend(x.obj)
	}

	if err := x.patchStatus(ctx); err != nil {
		return err
	}

	x.tell(ctx, events)

	return nil
}

// record sends the events of the run and updates the metrics of the object.
func (x *run[O, S]) record(ctx context.Context, deleting bool) {
	x.options.Metrics.condition(x.kind.Name, x.obj)

	events := x.events.take()
	if !deleting && x.kind.Events != nil {
		events = append(events, x.kind.Events(x.original, x.obj, &x.scope)...)
	}

	x.tell(ctx, events)

	if e := x.failure(); e != nil {
		logf.FromContext(ctx).Error(x.verdict, "Reconciliation "+x.verdict.Outcome.String(), "reason", x.verdict.Reason)
		x.send(*e)
	}
}

// tell logs and sends events: what is news to people is news to those who read logs.
func (x *run[O, S]) tell(ctx context.Context, events []Event) {
	log := logf.FromContext(ctx)

	for _, e := range events {
		level := 0
		if e.Severity == meta.EventSeverityTrace {
			level = 1
		}

		log.V(level).Info(e.Message, "reason", e.Reason)
		x.send(e)
	}
}

func (x *run[O, S]) send(e Event) {
	if x.options.Recorder != nil {
		x.options.Recorder.Record(x.obj, x.kind.Name, x.kind.Controller, e)
	}
}

// failure returns the event of a run that failed in a new way. The same failure of the same thing again is no news.
func (x *run[O, S]) failure() *Event {
	v := x.verdict
	if v.Outcome != Failed && v.Outcome != Stalled {
		x.told.reset(x.key())

		return nil
	}

	e := Event{Type: corev1.EventTypeWarning, Reason: v.Reason, Message: v.Error()}
	if x.kind.Failure != nil {
		e = x.kind.Failure(x.obj, &x.scope, e)
	}

	if other := x.told.differs(x.key(), e.Metadata); !other && x.failedBefore() {
		return nil
	}

	return &e
}

// failedBefore tells whether the run before ended in the same way, at the same generation.
func (x *run[O, S]) failedBefore() bool {
	typ := meta.ReconcilingCondition
	if x.verdict.Outcome == Stalled {
		typ = meta.StalledCondition
	}

	before, after := Condition(x.original, typ), Condition(x.obj, typ)

	return before != nil && after != nil && before.Message == after.Message && before.Reason == after.Reason &&
		before.ObservedGeneration == after.ObservedGeneration
}

func (x *run[O, S]) key() types.NamespacedName { return client.ObjectKeyFromObject(x.obj) }

func (x *run[O, S]) interval() time.Duration {
	if x.kind.Interval == nil {
		return 0
	}

	return x.kind.Interval(x.obj)
}

func (x *run[O, S]) retry() time.Duration {
	if x.kind.Retry == nil {
		return 0
	}

	return x.kind.Retry(x.obj)
}

func (r *Runner[O, S]) forget(key types.NamespacedName) {
	r.requeue.reset(key)
	r.told.reset(key)
	r.ignored.reset(key)
	r.options.Metrics.forget(r.kind.Name, key)

	if r.kind.Forget != nil {
		r.kind.Forget(key)
	}
}

func copyOf[O Object](obj O) O {
	return obj.DeepCopyObject().(O) //nolint:forcetypeassert // a deep copy has the type of what it copies
}

func conditionsOf(obj Object) []metav1.Condition {
	if c := obj.StatusFields().Conditions; c != nil {
		return append([]metav1.Condition(nil), *c...)
	}

	return nil
}
