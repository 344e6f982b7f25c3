package engine

import (
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func (o Options) withDefaults() Options {
	if o.MinRetryDelay <= 0 {
		o.MinRetryDelay = 750 * time.Millisecond
	}

	if o.MaxRetryDelay <= 0 {
		o.MaxRetryDelay = 15 * time.Minute
	}

	if o.ProgressAfter <= 0 {
		o.ProgressAfter = 2 * time.Second
	}

	if o.Now == nil {
		o.Now = time.Now
	}

	if o.Random == nil {
		o.Random = rand.Float64
	}

	return o
}

// requeue decides when an object runs again. Each failing object backs off on its own clock and asks with a low priority,
// so that it never stands in the way of a healthy one.
type requeue struct {
	min, max time.Duration
	jitter   float64
	random   func() float64

	mu       sync.Mutex
	failures map[types.NamespacedName]int
}

func newRequeue(o Options) *requeue {
	return &requeue{
		min: o.MinRetryDelay, max: o.MaxRetryDelay, jitter: o.Jitter, random: o.Random,
		failures: map[types.NamespacedName]int{},
	}
}

// next returns when the object runs again after the verdict. A zero retry means back-off; the interval counts from the
// start of the run, so what the run took is taken off.
func (r *requeue) next(key types.NamespacedName, v *Verdict, interval, retry, took time.Duration) reconcile.Result {
	if v.Outcome != Failed {
		r.reset(key)
	}

	switch v.Outcome {
	case Succeeded:
		if after := r.periodic(interval, took); after > 0 && (v.After <= 0 || after < v.After) {
			return reconcile.Result{RequeueAfter: after, Priority: priority(Periodic)}
		}

		if v.After > 0 {
			return reconcile.Result{RequeueAfter: v.After, Priority: priority(Periodic)}
		}
	case Blocked, Awaiting:
		after := v.After
		if after <= 0 {
			after = r.min
		}

		return reconcile.Result{RequeueAfter: after, Priority: priority(Retry)}
	case Failed:
		delay := r.backOff(key)
		if retry > 0 {
			delay = retry
		}

		return reconcile.Result{RequeueAfter: delay, Priority: priority(Retry)}
	case Stalled:
		if v.After > 0 {
			return reconcile.Result{RequeueAfter: v.After, Priority: priority(Periodic)}
		}
	}

	return reconcile.Result{}
}

// periodic returns when the interval has passed; zero if there is none.
func (r *requeue) periodic(interval, took time.Duration) time.Duration {
	if interval <= 0 {
		return 0
	}

	return max(r.jittered(interval)-took, time.Millisecond)
}

// backOff doubles with each failure in a row.
func (r *requeue) backOff(key types.NamespacedName) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()

	n := r.failures[key]
	r.failures[key] = n + 1

	delay := r.min
	for ; n > 0 && delay < r.max; n-- {
		delay *= 2
	}

	return min(delay, r.max)
}

func (r *requeue) jittered(d time.Duration) time.Duration {
	return d + time.Duration((2*r.random()-1)*r.jitter*float64(d))
}

func (r *requeue) reset(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()

	delete(r.failures, key)
}

func priority(p Priority) *int {
	i := int(p)

	return &i
}
