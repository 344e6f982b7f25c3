package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patience is how long a part may last.
const patience = 20 * time.Minute

// await waits until an object of each name in want meets done, which is given the object and what want says of it. It returns
// when each did, in order. The list says of what kind the objects are.
func await[O client.Object](ctx context.Context, s *stage, list client.ObjectList, want map[string]string, done func(O, string) bool) ([]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	waiting := maps.Clone(want)
	times := make([]time.Time, 0, len(want))

	for len(waiting) > 0 && ctx.Err() == nil { // a watch may end early
		w, err := s.client.Watch(ctx, list, client.InNamespace(namespace))
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", list, err)
		}

		times = append(times, strike(w, waiting, done)...)
		w.Stop()
	}

	for name, what := range waiting {
		return nil, fmt.Errorf("%d of %d %T are not there yet, such as %q, of which %q is wanted: %w",
			len(waiting), len(want), list, name, what, context.Cause(ctx))
	}

	return times, nil
}

// strike takes the objects that meet done off the list, until that is empty or the watch ends, and returns when each did.
func strike[O client.Object](w watch.Interface, waiting map[string]string, done func(O, string) bool) []time.Time {
	var times []time.Time

	for e := range w.ResultChan() {
		obj, ok := e.Object.(O)
		if !ok || e.Type == watch.Deleted {
			continue
		}

		if what, ok := waiting[obj.GetName()]; ok && done(obj, what) {
			delete(waiting, obj.GetName())

			times = append(times, time.Now())
		}

		if len(waiting) == 0 {
			break
		}
	}

	return times
}

// latencies are the seconds until half, 95 of 100 and all of the times, which are in order.
func latencies(start time.Time, times []time.Time) (half, most, all float64) {
	at := func(percent int) float64 { return times[(len(times)*percent+99)/100-1].Sub(start).Seconds() }

	return at(50), at(95), at(100)
}

// hands is how many requests the benchmark itself makes at once.
const hands = 8

// each calls do with 0 to n-1, several at once.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(hands)

	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}

	return g.Wait() //nolint:wrapcheck // nothing to add
}

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // nothing to add
	case <-time.After(d):
		return nil
	}
}
