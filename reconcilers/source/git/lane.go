package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/source"
)

// maxTimeout is the longest that an object may wait for a server, whatever its spec says.
const maxTimeout = time.Hour

// lane is where those go who wait for slow servers. It has less room than there are workers, and less for one namespace, so that
// servers that do not answer never take all workers: neither those of one tenant from another, nor all from those that are fast.
// Who finds no room gives its worker back, and is tried again with a low priority.
type lane struct {
	room     int           // for all
	share    int           // for one namespace
	patience time.Duration // is how long one may wait and not count as slow

	mu    sync.Mutex
	users map[string]int // by namespace
	all   int
}

// newLane returns a lane beside the number of workers.
func newLane(workers int, patience time.Duration) *lane {
	const (
		defaultWorkers  = 10
		defaultPatience = 10 * time.Second
	)

	workers = cmp.Or(workers, defaultWorkers)

	return &lane{
		room: max(workers*4/5, 1), share: max(workers/2, 1), //nolint:mnd // parts of the whole
		patience: cmp.Or(patience, defaultPatience), users: map[string]int{},
	}
}

// errBusy says that there is no room for one more who waits.
var errBusy = errors.New("the server is slow, and so are others that are waited for")

// run runs what waits for servers. If that lasts, it goes on in the lane, or ends if there is no room.
func (l *lane) run(ctx context.Context, namespace string, wait func(context.Context) error) error {
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

	err := wait(ctx)

	timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()

	if ended = true; slow {
		l.all--

		if l.users[namespace]--; l.users[namespace] == 0 {
			delete(l.users, namespace)
		}
	}

	if err != nil && errors.Is(context.Cause(ctx), errBusy) {
		return fmt.Errorf("gave up after %s: %w", l.patience, errBusy)
	}

	return err
}

// bounded runs what waits for servers: not longer than the object says, and beside those who need not wait.
func (r *reconciler) bounded(ctx context.Context, obj *sourcev1.GitRepository, wait func(context.Context) error) error {
	return source.Bounded(ctx, timeout(obj), func(ctx context.Context) error {
		return r.lane.run(ctx, obj.Namespace, wait)
	})
}

// timeout of each operation.
func timeout(obj *sourcev1.GitRepository) time.Duration { return min(obj.GetTimeout(), maxTimeout) }
