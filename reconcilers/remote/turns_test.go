package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/access"
)

// lane is turns with what they wake.
type lane struct {
	*turns
	mu    sync.Mutex
	woken []string
}

func newLane(workers int) *lane {
	l := &lane{}
	l.turns = newTurns(workers, 5*time.Second, 5*time.Minute, time.Now, func(owner access.ID) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.woken = append(l.woken, owner.Namespace+"/"+owner.Name)
	})

	return l
}

func (l *lane) took() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()

	woken := l.woken
	l.woken = nil

	return woken
}

// pass lets time pass in the bubble of a test, where it costs nothing.
func pass(d time.Duration) { <-time.After(d) }

func of(namespace, name string) access.ID {
	return access.ID{Kind: "Kustomization", Namespace: namespace, Name: name}
}

func (l *lane) mustBegin(t *testing.T, owner access.ID, at *link) *Visit {
	t.Helper()

	v, err := l.begin(owner, at)
	if err != nil {
		t.Fatalf("%v: %v", owner, err)
	}

	return v
}

// TestSlowClustersNeverHoldAllWorkers shows that a tenant with any number of slow clusters leaves workers to all others.
func TestSlowClustersNeverHoldAllWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(32)

		var visits []*Visit

		for i := range 100 { // clusters that nobody knows yet
			v, err := l.begin(of("greedy", fmt.Sprint(i)), &link{})
			if err == nil {
				visits = append(visits, v)
			} else if !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
		}

		if len(visits) != 8 {
			t.Errorf("%d visits of one namespace are under way, want 8", len(visits))
		}

		for i := range 100 { // tenants with one slow cluster each
			if v, err := l.begin(of(fmt.Sprint("team-", i), "app"), &link{}); err == nil {
				visits = append(visits, v)
			}
		}

		if len(visits) != 24 {
			t.Errorf("%d visits to slow clusters are under way, want 24", len(visits))
		}

		fast := &link{pace: pace{fast: true}}
		for range 100 {
			l.mustBegin(t, of("flux-system", "app"), fast).Leave()
		}

		ctx, cancel := visits[0].Context(t.Context())
		defer cancel()

		pass(5*time.Minute - time.Second)

		if ctx.Err() != nil || visits[0].Err() != nil {
			t.Errorf("a visit with a turn ends early: %v", context.Cause(ctx))
		}

		pass(2 * time.Second)
		<-ctx.Done()

		if want := "the remote cluster is slow: gave up after 5m0s"; context.Cause(ctx).Error() != want || visits[0].Err().Error() != want {
			t.Errorf("a visit ends with %v (%v)", context.Cause(ctx), visits[0].Err())
		}

		l.took()
		visits[0].Leave()
		visits[0].Leave()

		if diff := cmp.Diff([]string{"greedy/8"}, l.took()); diff != "" {
			t.Errorf("woken when a turn is free: -want, +got:\n%s", diff)
		}

		l.forget(of("greedy", "9"))
		visits[1].Leave()

		if diff := cmp.Diff([]string{"greedy/10"}, l.took()); diff != "" {
			t.Errorf("woken when a turn is free and somebody has gone: -want, +got:\n%s", diff)
		}

		for _, v := range visits {
			v.Leave()
		}

		if l.all != 0 || len(l.spaces) != 0 {
			t.Errorf("%d turns are taken by nobody: %v", l.all, l.spaces)
		}
	})
}

// TestFastClusterThatBecomesSlow shows that a visit which lasts takes a turn, or ends.
func TestFastClusterThatBecomesSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(8) // two for a namespace, one for a cluster
		at := &link{pace: pace{fast: true}}

		first, second := l.mustBegin(t, of("a", "1"), at), l.mustBegin(t, of("a", "2"), at)

		ctx1, cancel1 := first.Context(t.Context())
		defer cancel1()

		ctx2, cancel2 := second.Context(t.Context())
		defer cancel2()

		pass(6 * time.Second)
		synctest.Wait()

		var slow *SlowError
		if ended := ctx1.Err() != nil; ended == (ctx2.Err() != nil) {
			t.Fatalf("of two visits to a slow cluster neither or both end: %v", ended)
		}

		if ctx1.Err() != nil {
			first, second, ctx2 = second, first, ctx1
		}

		if err := context.Cause(ctx2); !errors.As(err, &slow) || !slow.Busy ||
			err.Error() != "the remote cluster is slow, and so are others that are waited for: gave up after 5s" {
			t.Errorf("the visit without a turn ends with %v", err)
		}

		second.Leave()

		if _, err := l.begin(of("a", "2"), at); !errors.Is(err, ErrBusy) {
			t.Errorf("a cluster that has become slow can be visited again at once: %v", err)
		}

		first.Leave()

		if diff := cmp.Diff([]string{"a/2"}, l.took()); diff != "" {
			t.Errorf("woken: -want, +got:\n%s", diff)
		}

		pass(5 * time.Second)
		l.mustBegin(t, of("a", "2"), at).Leave() // it is fast again

		for range 8 {
			l.mustBegin(t, of("a", "1"), at)
		}
	})
}

// TestClusterThatIsFastAndSlowByTurns shows that a tenant with any number of clusters that answer at once, then not for a while,
// and so on, does not hold the workers of others for longer each time.
func TestClusterThatIsFastAndSlowByTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, at, owner := newLane(32), &link{}, of("a", "1")

		// unasked is how long it has held workers that no turn was for, within an hour.
		var unasked time.Duration

		for end := time.Now().Add(time.Hour); time.Now().Before(end); {
			l.mustBegin(t, owner, at).Leave()

			v, began := l.mustBegin(t, owner, at), time.Now()

			l.turns.mu.Lock()
			free := v.turn
			l.turns.mu.Unlock()

			pass(6 * time.Second)
			v.Leave()

			if !free {
				unasked += min(time.Since(began), 5*time.Second)
			}
		}

		if unasked == 0 || unasked > time.Minute {
			t.Errorf("it has held workers for %s of an hour, want a minute at most", unasked)
		}

		pass(time.Hour)
		l.mustBegin(t, owner, at).Leave()

		if at.pace.penance != 0 || !at.pace.fast {
			t.Errorf("it is not forgiven: %+v", at.pace)
		}
	})
}

// TestOneWorker shows that bounds leave room for at least one.
func TestOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(1)
		v := l.mustBegin(t, of("a", "1"), &link{})

		if _, err := l.begin(of("b", "1"), &link{}); !errors.Is(err, ErrBusy) {
			t.Errorf("two have a turn of one: %v", err)
		}

		v.Leave()
	})
}
