package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/health"
)

const (
	defaultMost   = 1000
	defaultMostOf = 250
	defaultMemory = 384 << 20
)

// ErrConnecting says that a cluster is being connected to. Who asked is woken when that is over.
var ErrConnecting = errors.New("connecting to the remote cluster")

// ErrMissing says that there is no object with the name of the kubeconfig, for errors.Is.
var ErrMissing = errors.New("no kubeconfig")

// Configs reads the objects with kubeconfigs. They are read each time.
type Configs interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Options are what Clusters need.
type Options struct {
	// Configs is required.
	Configs Configs
	// Local is the cluster with the service accounts that the provider generic makes tokens of. It is required.
	Local *access.Factory
	// Wake is called when a cluster is connected, or what its hub and applier watch wants attention. It must not block. It is
	// required.
	Wake func(owner access.ID, cause health.Cause)
	// Cloud knows the clusters of clouds. Nil refuses the providers aws, azure and gcp.
	Cloud Cloud
	// Rules say what kubeconfigs may do.
	Rules access.Rules
	// DefaultServiceAccount gives the identity for a ConfigMap that names none.
	DefaultServiceAccount string
	// Access are the options of the clients.
	Access access.Options
	// Metrics of the appliers. Nil means none.
	Metrics *apply.Metrics
	// Patience is how long somebody who needs a cluster waits for the connection. Zero means 300 ms.
	Patience time.Duration
	// Workers is how many visits there are at a time at most, which those to slow clusters must not use up. Zero means 32.
	Workers int
	// Slow is how long a visit may take and not count as slow, and Longest how long any may take. Zero means 5 s and 5 min.
	Slow, Longest time.Duration
	// Most is how many clusters there may be, and MostOf how many for one namespace. Zero means 1000 and 250.
	Most, MostOf int
	// Memory is how many bytes all clusters may take together: half of that for one namespace, and a sixth for one cluster. Zero
	// means 384 MiB.
	Memory int64
}

// Request says who needs a cluster, which, and as whom.
type Request struct {
	// Owner gets the cluster until it asks for another one, or releases it.
	Owner access.ID
	// Ref leads to the kubeconfig, in the namespace of the owner.
	Ref meta.KubeConfigReference
	// ServiceAccount to impersonate in the cluster, of the owner's namespace. Empty means to act as the kubeconfig says.
	ServiceAccount string
}

// Cluster is a remote cluster under one identity. It may be used until its owner releases it.
type Cluster struct {
	Access  *access.Factory // all its clients have the identity
	Hub     *health.Hub
	Applier *apply.Applier
}

// Clusters are all that somebody needs at present. Their methods may be called concurrently.
type Clusters struct {
	Options

	ctx  context.Context //nolint:containedctx // ends connecting when the process does
	stop context.CancelFunc
	runs sync.WaitGroup

	mu     sync.Mutex
	links  map[flight.Fingerprint]*link
	leases map[access.ID]*link
	rooms  map[string]*access.Room // by namespace
	closed bool

	room  *access.Room
	turns *turns
}

// New makes Clusters. Close ends what they run.
func New(o Options) *Clusters {
	o.Patience = cmp.Or(o.Patience, 300*time.Millisecond)
	o.Most, o.MostOf = cmp.Or(o.Most, defaultMost), cmp.Or(o.MostOf, defaultMostOf)
	o.Memory = cmp.Or(o.Memory, defaultMemory)
	ctx, stop := context.WithCancel(context.Background())

	c := &Clusters{
		Options: o, ctx: ctx, stop: stop,
		links: map[flight.Fingerprint]*link{}, leases: map[access.ID]*link{}, rooms: map[string]*access.Room{},
		room: access.NewRoom("all remote clusters", o.Memory, nil),
	}
	c.turns = newTurns(cmp.Or(o.Workers, defaultWorkers), cmp.Or(o.Slow, slowAfter), cmp.Or(o.Longest, maxVisit), c.now,
		func(owner access.ID) { o.Wake(owner, health.Settled) })

	return c
}

// Open returns the cluster that the request is about, and leases it to the owner in place of the one it had. Its kubeconfig
// is read each time; other contents, or another identity, are another cluster. The error is ErrConnecting, an
// *access.UnreachableError, or says what is wrong with the kubeconfig.
func (c *Clusters) Open(ctx context.Context, r Request) (*Cluster, error) {
	to, err := c.resolve(ctx, r)
	if err != nil {
		if _, ok := errors.AsType[*unread](err); !ok { // it was taken away, or is no kubeconfig any more
			c.Release(r.Owner)
		}

		return nil, err
	}

	l, err := c.lease(r.Owner, to)
	if err != nil {
		return nil, err
	}

	return l.wait(ctx, r.Owner, c.Patience)
}

// Release takes back the cluster of the owner, if it has one, and forgets what it applied there. The connection of a cluster
// that nobody has any more is closed in the background.
func (c *Clusters) Release(owner access.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release(owner)
}

func (c *Clusters) release(owner access.ID) {
	l := c.leases[owner]
	if l == nil {
		return
	}

	delete(c.leases, owner)
	c.turns.forget(owner)

	if l.users--; l.users == 0 {
		delete(c.links, l.to.key)
	}

	if c.used(owner.Namespace) == 0 {
		delete(c.rooms, owner.Namespace)
	}

	last := l.users == 0

	if !c.closed {
		c.runs.Go(func() { l.drop(owner, last) })
	}
}

func (c *Clusters) lease(owner access.ID, to destination) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.closed {
		return nil, errors.New("the process ends")
	}

	if had := c.leases[owner]; had != nil {
		if had.to.key == to.key {
			return had, nil
		}

		c.release(owner)
	}

	l := c.links[to.key]
	if l == nil && len(c.links) >= c.Most {
		return nil, fmt.Errorf("there are %d remote clusters already, which is the most that there may be", c.Most)
	}

	if n := c.used(owner.Namespace); n >= c.MostOf && !c.uses(owner.Namespace, l) {
		return nil, fmt.Errorf("namespace %q has %d remote clusters already, which is the most that it may have", owner.Namespace, n)
	}

	if l == nil {
		l = newLink(c, to, access.NewRoom("the remote cluster", c.Memory/6, c.roomOf(owner.Namespace))) //nolint:mnd // see Options
		c.links[to.key] = l
	}

	l.users++
	c.leases[owner] = l

	return l, nil
}

// used returns how many clusters the owners of a namespace have.
func (c *Clusters) used(namespace string) int {
	links := map[*link]struct{}{}

	for owner, l := range c.leases {
		if owner.Namespace == namespace {
			links[l] = struct{}{}
		}
	}

	return len(links)
}

// uses tells whether an owner of the namespace has the link.
func (c *Clusters) uses(namespace string, l *link) bool {
	for owner, has := range c.leases {
		if owner.Namespace == namespace && has == l {
			return true
		}
	}

	return false
}

// roomOf returns the room of the clusters of a namespace.
func (c *Clusters) roomOf(namespace string) *access.Room {
	r := c.rooms[namespace]
	if r == nil {
		r = access.NewRoom(fmt.Sprintf("the remote clusters of namespace %q", namespace), c.Memory/2, c.room) //nolint:mnd // see Options
		c.rooms[namespace] = r
	}

	return r
}

// spawn runs something that Close waits for, unless everything ends.
func (c *Clusters) spawn(fn func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()

	if !c.closed {
		c.runs.Go(fn)
	}

	return !c.closed
}

// owners returns those who have the link.
func (c *Clusters) owners(l *link) []access.ID {
	c.mu.Lock()
	defer c.mu.Unlock()

	var all []access.ID

	for owner, has := range c.leases {
		if has == l {
			all = append(all, owner)
		}
	}

	return all
}

// Len returns how many clusters there are.
func (c *Clusters) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()

	return len(c.links)
}

// Close ends all connections and waits until nothing runs any more.
func (c *Clusters) Close() {
	c.mu.Lock()
	c.closed = true
	links := c.links
	c.links, c.leases = map[flight.Fingerprint]*link{}, map[access.ID]*link{}
	c.mu.Unlock()
	c.stop()

	for _, l := range links {
		l.close()
	}

	c.runs.Wait()
}

// describe names the object with the kubeconfig.
func describe(kind, namespace, name string) string {
	return fmt.Sprintf("%s '%s/%s'", kind, namespace, name)
}
