package flight

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// Group runs a function once for all who want its result at the same time, and keeps the result for those who come a bit
// later. The function runs as long as anybody waits for it, not only the one who came first. Failures are not kept. Its fields
// must not be changed once it is used; then it is safe for concurrent use.
type Group[K comparable, V any] struct {
	// Age is how long an unused result is kept. Zero means not at all.
	Age time.Duration

	// Room is the weight that all unused results may have together.
	Room int64

	// Weigh returns the weight of a result. Nil means zero.
	Weigh func(V) int64

	// Drop optionally is called once for each result, when nobody needs it any more.
	Drop func(V)

	// Now is the clock. It is required.
	Now func() time.Time

	mu     sync.Mutex
	all    map[K]*flight[K, V]
	unused list.List // of *flight[K, V], the one used last first
	weight int64
}

// flight is one run of the function. Its fields are guarded by the lock of Group; what done guards does not change any more.
type flight[K comparable, V any] struct {
	key     K
	users   int
	cancel  context.CancelFunc // until done
	started time.Time          // zero until the function runs
	left    time.Time          // when the last user left
	resting *list.Element

	done  chan struct{}
	value V
	err   error
}

// Join returns the result of a run that started at the time given or later, which may be one on its way; or of a new one. Runs
// of a key do not overlap: what is asked for while one runs that started too early is shared by all who ask for it. The result
// must not be used after release, which may be called more than once.
func (g *Group[K, V]) Join(ctx context.Context, key K, since time.Time,
	run func(context.Context) (V, error),
) (value V, release func(), err error) {
	fl := g.enter(ctx, key, since, run)

	select {
	case <-fl.done:
	case <-ctx.Done():
		g.leave(fl)

		return value, nil, context.Cause(ctx)
	}

	if fl.err != nil {
		g.leave(fl)

		return value, nil, fl.err
	}

	return fl.value, sync.OnceFunc(func() { g.leave(fl) }), nil
}

// enter returns the flight with one user more.
func (g *Group[K, V]) enter(ctx context.Context, key K, since time.Time,
	run func(context.Context) (V, error),
) *flight[K, V] {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.expire()

	old := g.all[key]
	if old != nil && (old.started.IsZero() || !old.started.Before(since)) {
		g.wake(old)
		old.users++

		return old
	}

	fl := &flight[K, V]{key: key, users: 1, done: make(chan struct{})}

	if g.all == nil {
		g.all = map[K]*flight[K, V]{}
	}

	g.all[key] = fl

	var before <-chan struct{}
	if old != nil {
		before = old.done

		if old.resting != nil {
			g.wake(old)
			g.discard(old)
		}
	}

	ctx, fl.cancel = context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // fly calls it, and leave
	go g.fly(ctx, fl, before, run)

	return fl
}

// fly runs the function, after the flight before.
func (g *Group[K, V]) fly(ctx context.Context, fl *flight[K, V], before <-chan struct{},
	run func(context.Context) (V, error),
) {
	defer fl.cancel()

	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
		}
	}

	g.mu.Lock()
	fl.started = g.Now()
	g.mu.Unlock()

	value, err := guarded(ctx, run)

	g.mu.Lock()
	defer g.mu.Unlock()

	fl.value, fl.err = value, err
	fl.cancel = nil // it holds the context, and all that is in it
	close(fl.done)

	if err != nil {
		g.forget(fl)
	} else if fl.users == 0 {
		g.discard(fl)
	}
}

// guarded runs a function that reads foreign bytes: what it does not expect must not end the process.
func guarded[V any](ctx context.Context, run func(context.Context) (V, error)) (value V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()

	return run(ctx)
}

// leave takes a user away. A run that nobody waits for is stopped, a result that nobody uses is kept for a while.
func (g *Group[K, V]) leave(fl *flight[K, V]) {
	g.mu.Lock()
	defer g.mu.Unlock()

	if fl.users--; fl.users > 0 {
		return
	}

	select {
	case <-fl.done:
	default:
		fl.cancel()
		g.forget(fl)

		return
	}

	switch {
	case fl.err != nil:
	case g.all[fl.key] != fl || g.Age <= 0:
		g.discard(fl)
	default:
		fl.left = g.Now()
		fl.resting = g.unused.PushFront(fl)
		g.weight += g.weightOf(fl)
	}

	g.expire()
}

// expire drops unused results that are too old, and the oldest of those that are too heavy together.
func (g *Group[K, V]) expire() {
	for e := g.unused.Back(); e != nil; e = g.unused.Back() {
		fl := e.Value.(*flight[K, V]) //nolint:forcetypeassert // the list holds nothing else
		if g.weight <= g.Room && g.Now().Sub(fl.left) < g.Age {
			return
		}

		g.wake(fl)
		g.discard(fl)
	}
}

// wake takes a result out of the unused ones.
func (g *Group[K, V]) wake(fl *flight[K, V]) {
	if fl.resting != nil {
		g.unused.Remove(fl.resting)
		g.weight -= g.weightOf(fl)
		fl.resting = nil
	}
}

// discard drops a result that nobody uses.
func (g *Group[K, V]) discard(fl *flight[K, V]) {
	g.forget(fl)

	if g.Drop != nil {
		g.Drop(fl.value)
	}
}

// forget makes the next one who asks start a new flight.
func (g *Group[K, V]) forget(fl *flight[K, V]) {
	if g.all[fl.key] == fl {
		delete(g.all, fl.key)
	}
}

func (g *Group[K, V]) weightOf(fl *flight[K, V]) int64 {
	if g.Weigh == nil {
		return 0
	}

	return g.Weigh(fl.value)
}
