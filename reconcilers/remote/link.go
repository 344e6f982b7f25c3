package remote

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

const (
	// connectTimeout bounds one attempt to connect.
	connectTimeout = 45 * time.Second
	// refusedPeace is how long a cluster that refused to be connected to is left in peace.
	refusedPeace = 10 * time.Second
)

// link is the connection to one cluster.
type link struct {
	all   *Clusters
	to    destination
	users int // guarded by the lock of all
	room  *access.Room
	pace  pace // guarded by the lock of all turns

	ctx  context.Context //nolint:containedctx // of what is connected; ends with the link
	stop context.CancelFunc

	mu         sync.Mutex
	cluster    *Cluster // nil: not connected yet
	err        *access.UnreachableError
	connecting chan struct{} // nil: nobody tries; closed when the try is over
	waiting    map[access.ID]struct{}
	closed     bool
}

func newLink(all *Clusters, to destination, room *access.Room) *link {
	ctx, stop := context.WithCancel(all.ctx)

	return &link{all: all, to: to, room: room, ctx: ctx, stop: stop, waiting: map[access.ID]struct{}{}}
}

// wait returns the cluster if it answers, or begins to connect and gives that a moment.
func (l *link) wait(ctx context.Context, owner access.ID, patience time.Duration) (*Cluster, error) {
	cluster, trying, err := l.look()
	if trying == nil {
		return cluster, err
	}

	timer := time.NewTimer(patience)
	defer timer.Stop()

	select {
	case <-trying:
	case <-timer.C:
	case <-ctx.Done():
	}

	cluster, trying, err = l.look()
	if trying == nil {
		return cluster, err
	}

	l.mu.Lock()
	defer l.mu.Unlock()

	if l.connecting == nil { // just over
		l.all.spawn(func() { l.all.Wake(owner, health.Settled) })
	} else {
		l.waiting[owner] = struct{}{}
	}

	return nil, ErrConnecting
}

// look returns the cluster, or that somebody tries to connect, or why nobody does.
func (l *link) look() (*Cluster, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.connecting != nil {
		return nil, l.connecting, nil
	}

	now := l.now()

	if l.cluster != nil {
		if down := l.cluster.Access.Down(); down != nil {
			return nil, nil, down
		}

		if l.err == nil && !l.cluster.Access.Broken() {
			return l.cluster, nil, nil
		}
	}

	if l.err != nil && now.Before(l.err.Until) {
		return nil, nil, l.err
	}

	if l.closed || !l.all.spawn(l.connect) {
		return nil, nil, &access.UnreachableError{Until: now, Err: context.Canceled}
	}

	l.connecting = make(chan struct{})

	return nil, l.connecting, nil
}

func (l *link) now() time.Time {
	if c := l.all.Access.Clock; c != nil {
		return c.Now()
	}

	return time.Now()
}

// connect makes the cluster, or looks whether it is back, and wakes who waits for that.
func (l *link) connect() {
	ctx, cancel := context.WithTimeout(l.ctx, connectTimeout)
	defer cancel()

	l.mu.Lock() // held by who started this until connecting is set
	cluster := l.cluster
	l.mu.Unlock()

	factory, err := l.factory(ctx, cluster)
	if err == nil {
		err = factory.Probe(ctx)
	}

	if err == nil && cluster == nil {
		cluster = l.open(factory)
	}

	if cluster != nil && errors.Is(err, errMoved) {
		l.move(cluster)
	}

	l.mu.Lock()

	switch {
	case err != nil:
		l.err = &access.UnreachableError{Until: l.now().Add(refusedPeace), Err: err}

		if cluster == nil && factory != nil {
			factory.Close()
		}
	case l.closed:
		l.mu.Unlock()
		shut(cluster)
		l.mu.Lock()
	default:
		l.cluster, l.err = cluster, nil
	}

	waiting := l.waiting
	l.waiting = map[access.ID]struct{}{}

	close(l.connecting)
	l.connecting = nil
	l.mu.Unlock()

	for owner := range waiting {
		l.all.Wake(owner, health.Settled)
	}
}

// move takes away a cluster that is elsewhere by now, so that the next attempt looks for it, and wakes those who have it.
func (l *link) move(cluster *Cluster) {
	l.mu.Lock()
	ours := l.cluster == cluster // else the link has ended meanwhile

	if ours {
		l.cluster = nil

		for _, owner := range l.all.owners(l) {
			l.waiting[owner] = struct{}{}
		}
	}
	l.mu.Unlock()

	if ours {
		shut(cluster)
	}
}

// factory returns that of the cluster, if there is one.
func (l *link) factory(ctx context.Context, cluster *Cluster) (*access.Factory, error) {
	if cluster != nil {
		return cluster.Access, nil
	}

	target, err := l.to.target(ctx)
	if err != nil {
		return nil, err
	}

	o := l.all.Access
	o.Room = l.room

	return access.NewRemote(target, o)
}

func (l *link) open(factory *access.Factory) *Cluster {
	cluster := &Cluster{Access: factory}
	cluster.Hub = health.New(factory.Own(), health.Options{
		Wake: l.all.Wake, Room: l.room, Restored: func(error) { l.all.spawn(func() { l.renew(cluster) }) },
	})
	cluster.Applier = apply.New(cluster.Hub, apply.ApplierOptions{Wake: l.all.Wake, Metrics: l.all.Metrics})

	return cluster
}

// renew takes away a cluster that was restored from a backup, of which nothing is true that is known: those who have it look at all of it
// again.
func (l *link) renew(cluster *Cluster) {
	l.move(cluster)

	for _, owner := range l.all.owners(l) {
		l.all.Wake(owner, health.Drifted)
	}
}

// drop forgets an owner; if it was the last one, the link ends.
func (l *link) drop(owner access.ID, last bool) {
	l.mu.Lock()
	delete(l.waiting, owner)
	cluster := l.cluster
	l.mu.Unlock()

	if last {
		l.close()
	} else if cluster != nil {
		cluster.Applier.Forget(owner)
	}
}

func (l *link) close() {
	l.stop()
	l.mu.Lock()
	cluster := l.cluster
	l.cluster, l.closed = nil, true
	l.mu.Unlock()
	shut(cluster)
}

// shut ends the watches, and then the connections that they leave behind.
func shut(cluster *Cluster) {
	if cluster != nil {
		cluster.Hub.Close()
		cluster.Access.Close()
	}
}
