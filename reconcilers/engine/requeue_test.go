package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

func TestBackOff(t *testing.T) {
	var verdict error

	s := step{Name: "act", Run: func(context.Context, object, *scope) error { return verdict }}
	obj := newObject()
	bench := enginetest.New(t, newKind(s), enginetest.Options{Engine: engine.Options{
		MinRetryDelay: time.Second, MaxRetryDelay: 10 * time.Second,
	}}, obj)

	run := func(err error) time.Duration {
		verdict = err

		return bench.Run(t, obj).Result.RequeueAfter
	}

	failed := errors.New("no")

	var got []time.Duration
	for range 6 {
		got = append(got, run(failed))
	}

	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delays: -want, +got:\n%s", diff)
	}

	for name, verdict := range map[string]error{
		"success": nil, "wait": engine.Wait("", time.Hour, failed), "await": engine.Await(time.Hour, "x"), "stall": engine.Stall("", failed),
	} {
		run(verdict)

		if d := run(failed); d != time.Second {
			t.Errorf("the first failure after %s is tried again after %s", name, d)
		}
	}
}

func TestBackOffEndsWithSuspension(t *testing.T) {
	obj := newObject()
	bench := enginetest.New(t, newKind(act(errors.New("no"))), enginetest.Options{}, obj)
	suspend := func(yes bool) {
		if err := bench.Client.Patch(t.Context(), obj.DeepCopy(), client.RawPatch(types.MergePatchType,
			fmt.Appendf(nil, `{"spec":{"suspend":%v}}`, yes))); err != nil {
			t.Fatal(err)
		}
	}

	bench.Run(t, obj)
	bench.Run(t, obj)
	suspend(true)
	bench.Run(t, obj)
	suspend(false)

	if d := bench.Run(t, obj).Result.RequeueAfter; d != minRetry {
		t.Errorf("the first failure after the suspension is tried again after %s", d)
	}
}

func TestBackOffIsPerObject(t *testing.T) {
	one, two := newObject(), newObject(func(obj object) { obj.Name = "other" })
	bench := enginetest.New(t, newKind(act(errors.New("no"))), enginetest.Options{}, one, two)

	for range 5 {
		bench.Run(t, one)
	}

	if d := bench.Run(t, two).Result.RequeueAfter; d != minRetry {
		t.Errorf("the first failure of the other object is tried again after %s", d)
	}
}

func TestRetryInterval(t *testing.T) {
	k := newKind(act(errors.New("no")))
	k.Retry = func(object) time.Duration { return 2 * time.Minute }
	obj := newObject()
	bench := enginetest.New(t, k, enginetest.Options{}, obj)

	for range 3 {
		if diff := cmp.Diff(again(2*time.Minute, engine.Retry), bench.Run(t, obj).Result); diff != "" {
			t.Errorf("result: -want, +got:\n%s", diff)
		}
	}
}

func TestJitter(t *testing.T) {
	cases := map[string]struct {
		reason   string
		interval time.Duration
		random   float64
		took     time.Duration
		want     time.Duration
	}{
		"Least":    {"an interval is shorter by the jitter at most", 100 * time.Minute, 0, 0, 95 * time.Minute},
		"Middle":   {"or as it is", 100 * time.Minute, 0.5, 0, 100 * time.Minute},
		"Most":     {"or longer, by less than the jitter", 100 * time.Minute, 0.999, 0, 104*time.Minute + 59400*time.Millisecond},
		"Took":     {"it counts from the start of the run", 100 * time.Minute, 0.5, time.Minute, 99 * time.Minute},
		"TookLong": {"a run that takes longer follows itself", time.Minute, 0.5, time.Hour, time.Millisecond},
		"None":     {"without an interval nothing is queued", 0, 0.5, 0, 0},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var bench *enginetest.Bench[object, scope]

			k := newKind(step{Name: "last", Run: func(context.Context, object, *scope) error {
				bench.Clock.Advance(tc.took)

				return nil
			}})
			k.Interval = func(object) time.Duration { return tc.interval }
			bench = enginetest.New(t, k, enginetest.Options{Engine: engine.Options{
				Jitter: 0.05, Random: func() float64 { return tc.random },
			}}, newObject())

			if got := bench.Run(t, newObject()).Result.RequeueAfter; got != tc.want {
				t.Errorf("\n%s\nrequeue: want %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}

func TestAgain(t *testing.T) {
	cases := map[string]struct {
		reason                string
		interval, after, want time.Duration
	}{
		"Sooner":     {"a success may have to be looked at before the interval is over", time.Hour, time.Minute, time.Minute},
		"Later":      {"but never later than that", time.Hour, 2 * time.Hour, time.Hour},
		"NoInterval": {"without an interval, too", 0, time.Minute, time.Minute},
		"Whenever":   {"no time is the interval", time.Hour, 0, time.Hour},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			k := newKind(act(engine.Again(tc.after)))
			k.Interval = func(object) time.Duration { return tc.interval }

			got := enginetest.Run(t, k, newObject())
			if diff := cmp.Diff(again(tc.want, engine.Periodic), got.Result); diff != "" || ready(got.Object)[:4] != "True" {
				t.Errorf("%s: Ready is %q, result (-want +got):\n%s", tc.reason, ready(got.Object), diff)
			}
		})
	}
}

func TestWithoutInterval(t *testing.T) {
	k := newKind(act(nil))
	k.Interval = nil

	if got := enginetest.Run(t, k, newObject()).Result; got != (reconcile.Result{}) {
		t.Errorf("result: want nothing, got %v", got)
	}
}
