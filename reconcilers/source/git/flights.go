package git

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// flights runs a function once for all who want its result at the same time, and keeps the result for those who come a bit
// later. The function runs as long as anybody waits for it, not only the one who came first. Failures are not kept.
type flights[K comparable, V any] struct {
	age   time.Duration // how long an unused result is kept; zero means not at all
	room  int64         // weight of all unused results
	weigh func(V) int64 // of a result; nil means zero
	drop  func(V)       // is called once for each result when nobody needs it any more; may be nil
	now   func() time.Time

	mu     sync.Mutex
	all    map[K]*flight[K, V]
	unused list.List // of *flight[K, V], the one used last first
	weight int64
}

// flight is one run of the function. Its fields are guarded by the lock of flights; what done guards does not change any more.
type flight[K comparable, V any] struct {
	key     K
	users   int
	cancel  context.CancelFunc
	started time.Time // zero until the function runs
	left    time.Time // when the last user left
	resting *list.Element

	done  chan struct{}
	value V
	err   error
}

// join returns the result of a run that started at the time given or later, which may be one on its way; or of a new one. Runs
// of a key do not overlap: what is asked for while one runs that started too early is shared by all who ask for it. The result
// must not be used after release, which may be called more than once.
func (f *flights[K, V]) join(ctx context.Context, key K, since time.Time,
	run func(context.Context) (V, error),
) (value V, release func(), err error) {
	fl := f.enter(ctx, key, since, run)

	select {
	case <-fl.done:
	case <-ctx.Done():
		f.leave(fl)

		return value, nil, context.Cause(ctx)
	}

	if fl.err != nil {
		f.leave(fl)

		return value, nil, fl.err
	}

	return fl.value, sync.OnceFunc(func() { f.leave(fl) }), nil
}

// enter returns the flight with one user more.
func (f *flights[K, V]) enter(ctx context.Context, key K, since time.Time,
	run func(context.Context) (V, error),
) *flight[K, V] {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.expire()

	old := f.all[key]
	if old != nil && (old.started.IsZero() || !old.started.Before(since)) {
		f.wake(old)
		old.users++

		return old
	}

	fl := &flight[K, V]{key: key, users: 1, done: make(chan struct{})}

	if f.all == nil {
		f.all = map[K]*flight[K, V]{}
	}

	f.all[key] = fl

	var before <-chan struct{}
	if old != nil {
		before = old.done

		if old.resting != nil {
			f.wake(old)
			f.discard(old)
		}
	}

	ctx, fl.cancel = context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // fly calls it, and leave
	go f.fly(ctx, fl, before, run)

	return fl
}

// fly runs the function, after the flight before.
func (f *flights[K, V]) fly(ctx context.Context, fl *flight[K, V], before <-chan struct{},
	run func(context.Context) (V, error),
) {
	defer fl.cancel()

	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
		}
	}

	f.mu.Lock()
	fl.started = f.now()
	f.mu.Unlock()

	value, err := guarded(ctx, run)

	f.mu.Lock()
	defer f.mu.Unlock()

	fl.value, fl.err = value, err
	close(fl.done)

	if err != nil {
		f.forget(fl)
	} else if fl.users == 0 {
		f.discard(fl)
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
func (f *flights[K, V]) leave(fl *flight[K, V]) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if fl.users--; fl.users > 0 {
		return
	}

	select {
	case <-fl.done:
	default:
		fl.cancel()
		f.forget(fl)

		return
	}

	switch {
	case fl.err != nil:
	case f.all[fl.key] != fl || f.age <= 0:
		f.discard(fl)
	default:
		fl.left = f.now()
		fl.resting = f.unused.PushFront(fl)
		f.weight += f.weightOf(fl)
	}

	f.expire()
}

// expire drops unused results that are too old, and the oldest of those that are too heavy together.
func (f *flights[K, V]) expire() {
	for e := f.unused.Back(); e != nil; e = f.unused.Back() {
		fl := e.Value.(*flight[K, V]) //nolint:forcetypeassert // the list holds nothing else
		if f.weight <= f.room && f.now().Sub(fl.left) < f.age {
			return
		}

		f.wake(fl)
		f.discard(fl)
	}
}

// wake takes a result out of the unused ones.
func (f *flights[K, V]) wake(fl *flight[K, V]) {
	if fl.resting != nil {
		f.unused.Remove(fl.resting)
		f.weight -= f.weightOf(fl)
		fl.resting = nil
	}
}

// discard drops a result that nobody uses.
func (f *flights[K, V]) discard(fl *flight[K, V]) {
	f.forget(fl)

	if f.drop != nil {
		f.drop(fl.value)
	}
}

// forget makes the next one who asks start a new flight.
func (f *flights[K, V]) forget(fl *flight[K, V]) {
	if f.all[fl.key] == fl {
		delete(f.all, fl.key)
	}
}

func (f *flights[K, V]) weightOf(fl *flight[K, V]) int64 {
	if f.weigh == nil {
		return 0
	}

	return f.weigh(fl.value)
}

// memo remembers a bounded number of facts that never change, the ones asked for last.
type memo[K comparable, V any] struct {
	size int

	mu    sync.Mutex
	items map[K]*list.Element
	order list.List // of fact[K, V]
}

type fact[K comparable, V any] struct {
	key   K
	value V
}

// get returns what is remembered of the key.
func (m *memo[K, V]) get(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()

	e, ok := m.items[key]
	if !ok {
		return value, false
	}

	m.order.MoveToFront(e)

	return e.Value.(fact[K, V]).value, true //nolint:forcetypeassert // the list holds nothing else
}

// put remembers a fact.
func (m *memo[K, V]) put(key K, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()

	if m.items == nil {
		m.items = map[K]*list.Element{}
	}

	if e, ok := m.items[key]; ok {
		m.order.Remove(e)
	}

	m.items[key] = m.order.PushFront(fact[K, V]{key: key, value: value})

	for m.order.Len() > m.size {
		old := m.order.Remove(m.order.Back()).(fact[K, V]) //nolint:forcetypeassert // the list holds nothing else
		delete(m.items, old.key)
	}
}
