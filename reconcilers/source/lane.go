package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Lane is where those go who wait for slow servers. It has less room than there are workers, and less for one namespace, so that
// servers that do not answer never take all workers: neither those of one tenant from another, nor all from those that are fast.
// Who finds no room gives its worker back, and is tried again with a low priority. It is safe for concurrent use.
type Lane struct {
	room     int           // for all
	share    int           // for one namespace
	patience time.Duration // is how long one may wait and not count as slow

	mu    sync.Mutex
	users map[string]int // by namespace
	all   int
}

// NewLane returns a lane beside a number of workers, of which there are ten if it is zero. Patience is how long one may wait and not
// count as slow; zero means 10 s.
func NewLane(workers int, patience time.Duration) *Lane {
	const (
		defaultWorkers  = 10
		defaultPatience = 10 * time.Second
	)

	workers = cmp.Or(workers, defaultWorkers)

	return &Lane{
		room: max(workers*4/5, 1), share: max(workers/2, 1), //nolint:mnd // parts of the whole
		patience: cmp.Or(patience, defaultPatience), users: map[string]int{},
	}
}

// errBusy says that there is no room for one more who waits.
var errBusy = errors.New("the server is slow, and so are others that are waited for")

// Bounded is Bounded beside those who need not wait for servers: who waits and finds no room in the lane fails.
func (l *Lane) Bounded(ctx context.Context, namespace string, timeout time.Duration, wait func(context.Context) error) error {
	return Bounded(ctx, timeout, func(ctx context.Context) error { return l.run(ctx, namespace, wait) })
}

// run runs what waits for servers. If that lasts, it goes on in the lane, or ends if there is no room.
func (l *Lane) run(ctx context.Context, namespace string, wait func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var slow, ended bool

	timer := time.AfterFunc(l.patience, func() {
		l.mu.Lock()
		defer l.mu.Unlock()

		switch {
		case ended:
		case l.all >= l.room, l.users[namespace] >= l.share:
			cancel(errBusy)
		default:
			slow = true
			l.all++
			l.users[namespace]++
		}
	})

	defer func() { // also if it panics
		timer.Stop()
		l.mu.Lock()
		defer l.mu.Unlock()

		if ended = true; slow {
			l.all--

			if l.users[namespace]--; l.users[namespace] == 0 {
				delete(l.users, namespace)
			}
		}
	}()

	err := wait(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errBusy) {
		return fmt.Errorf("gave up after %s: %w", l.patience, errBusy)
	}

	return err
}
