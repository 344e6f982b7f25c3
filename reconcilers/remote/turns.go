package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weir-dev/weir/reconcilers/access"
)

const (
	defaultWorkers = 32
	// slowAfter is how long a visit may take and not count as slow.
	slowAfter = 5 * time.Second
	// maxVisit is how long any visit may take.
	maxVisit = 5 * time.Minute
	// maxPenance is how long a cluster that was fast and became slow, again and again, counts as slow at most.
	maxPenance = 10 * time.Minute
)

// ErrBusy says that so many are held up by slow clusters that there is no room for one more. Who asked is woken when there may be.
var ErrBusy = errors.New("waiting for a turn: remote clusters are slow")

// SlowError says that a visit took longer than it may.
type SlowError struct {
	// After is how long it took.
	After time.Duration
	// Busy says that it might have gone on, had there not been others that are slow.
	Busy bool
}

// Error implements error.
func (e *SlowError) Error() string {
	if e.Busy {
		return fmt.Sprintf("the remote cluster is slow, and so are others that are waited for: gave up after %s", e.After)
	}

	return fmt.Sprintf("the remote cluster is slow: gave up after %s", e.After)
}

// turns see to it that slow clusters never hold all workers: neither those of one tenant those of another, nor all together those
// of clusters that are fast. A visit takes a turn if it lasts, or from the beginning if its cluster is not known to be fast.
type turns struct {
	room, share, each int // for all, for one namespace and for one cluster
	slow, most        time.Duration
	now               func() time.Time
	wake              func(access.ID)

	mu      sync.Mutex
	all     int
	spaces  map[string]int // by namespace
	waiting []waiter
}

// pace is what is known of a link. It is guarded by the lock of turns.
type pace struct {
	turns int
	fast  bool // its last visit was, and no penance is left

	// penance is how long it has counted as slow the last time that it became slow, and until when. Without it, a cluster that is
	// fast and slow by turns would hold a worker that nobody has given it each time.
	penance time.Duration
	until   time.Time
}

// slows notes that a visit is slow.
func (p *pace) slows(least time.Duration) {
	if p.fast {
		p.penance = min(max(2*p.penance, least), maxPenance)
	}

	p.fast = false
}

// ends notes the end of a visit.
func (p *pace) ends(slow bool, now time.Time) {
	switch {
	case slow:
		p.until = now.Add(p.penance)
	case !now.Before(p.until):
		p.fast = true

		if now.Sub(p.until) >= maxPenance {
			p.penance = 0
		}
	}
}

type waiter struct {
	owner access.ID
	link  *link
}

func newTurns(workers int, slow, most time.Duration, now func() time.Time, wake func(access.ID)) *turns {
	return &turns{
		room: max(workers*3/4, 1), share: max(workers/4, 1), each: max(workers/8, 1), //nolint:mnd // parts of the whole
		slow: slow, most: most, now: now, wake: wake, spaces: map[string]int{},
	}
}

// Visit is what one run does in a cluster. Its methods may be called concurrently.
type Visit struct {
	turns *turns
	owner access.ID
	link  *link
	ended chan struct{} // closed when it may not go on
	timer *time.Timer   // guarded by the lock of turns, as are the fields below
	turn  bool
	slow  bool
	over  bool
	err   *SlowError
}

// Visit begins a visit of the owner to the cluster that it has. The error is ErrBusy, or says that it has none. Leave ends it.
func (c *Clusters) Visit(owner access.ID) (*Visit, error) {
	c.mu.Lock()
	l := c.leases[owner]
	c.mu.Unlock()

	if l == nil {
		return nil, errors.New("there is no remote cluster to go to")
	}

	return c.turns.begin(owner, l)
}

func (t *turns) begin(owner access.ID, l *link) (*Visit, error) {
	t.mu.Lock()
	defer t.mu.Unlock()

	v := &Visit{turns: t, owner: owner, link: l, ended: make(chan struct{})}

	if !l.pace.fast && !t.take(v) {
		if !slices.ContainsFunc(t.waiting, func(w waiter) bool { return w.owner == owner }) {
			t.waiting = append(t.waiting, waiter{owner, l})
		}

		return nil, ErrBusy
	}

	t.waiting = slices.DeleteFunc(t.waiting, func(w waiter) bool { return w.owner == owner })
	v.timer = time.AfterFunc(t.slow, v.lasts)

	return v, nil
}

// free tells whether there is a turn for the owner.
func (t *turns) free(owner access.ID, l *link) bool {
	return t.all < t.room && t.spaces[owner.Namespace] < t.share && l.pace.turns < t.each
}

func (t *turns) take(v *Visit) bool {
	if !t.free(v.owner, v.link) {
		return false
	}

	v.turn = true
	t.all++
	t.spaces[v.owner.Namespace]++
	v.link.pace.turns++

	return true
}

// lasts is called when a visit turns out to be slow.
func (v *Visit) lasts() {
	t := v.turns
	t.mu.Lock()
	defer t.mu.Unlock()

	switch {
	case v.over:
		return
	case v.slow: // for long enough
		v.end(&SlowError{After: t.most})

		return
	}

	v.slow = true
	v.link.pace.slows(t.slow)

	if !v.turn && !t.take(v) {
		v.end(&SlowError{After: t.slow, Busy: true})

		return
	}

	v.timer.Reset(max(t.most-t.slow, 0))
}

func (v *Visit) end(err *SlowError) {
	v.err = err
	close(v.ended)
}

// Context returns one that ends when the visit may not go on. Who gets it cancels it.
func (v *Visit) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})

	go func() {
		select {
		case <-v.ended:
			cancel(v.Err())
		case <-stop:
		}
	}()

	return ctx, sync.OnceFunc(func() {
		close(stop)
		cancel(nil)
	})
}

// Err returns a *SlowError if the visit may not go on, or nil.
func (v *Visit) Err() error {
	v.turns.mu.Lock()
	defer v.turns.mu.Unlock()

	if v.err == nil {
		return nil
	}

	return v.err
}

// Leave ends the visit, and lets somebody else take its turn. It may be called again.
func (v *Visit) Leave() {
	t := v.turns
	t.mu.Lock()
	defer t.mu.Unlock()

	if v.over {
		return
	}

	v.over = true
	v.timer.Stop()

	v.link.pace.ends(v.slow, t.now())

	if v.turn {
		t.give(v)
	}

	t.call()
}

func (t *turns) give(v *Visit) {
	t.all--

	if t.spaces[v.owner.Namespace]--; t.spaces[v.owner.Namespace] == 0 {
		delete(t.spaces, v.owner.Namespace)
	}

	v.link.pace.turns--
}

// call wakes those who may have a turn now: the first one whose cluster is not known to be fast, and all others.
func (t *turns) call() {
	called := false

	t.waiting = slices.DeleteFunc(t.waiting, func(w waiter) bool {
		may := w.link.pace.fast || !called && t.free(w.owner, w.link)
		if !may {
			return false
		}

		called = called || !w.link.pace.fast

		go t.wake(w.owner)

		return true
	})
}

// forget says that an owner does not wait any more.
func (t *turns) forget(owner access.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.waiting = slices.DeleteFunc(t.waiting, func(w waiter) bool { return w.owner == owner })
}
