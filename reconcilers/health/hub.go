package health

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/weir-dev/weir/reconcilers/access"
)

// Cause says why an owner is woken.
type Cause string

const (
	// Settled: what was awaited has come, or cannot come any more.
	Settled Cause = "Settled"
	// Drifted: an applied object is not as it was applied.
	Drifted Cause = "Drifted"
)

// closeDelay is how long a watch outlives the last interest in it, so that a set that comes and goes does not list
// again and again.
const closeDelay = 30 * time.Second

// Options of a Hub.
type Options struct {
	// Wake is called, never under the hub's lock, when what an owner awaits has come. It must not block. It is required.
	Wake func(owner access.ID, cause Cause)
	// Restored is called when the API server knows less than it did, because its storage was restored from a backup. Resource versions are
	// then given out a second time, so that neither the hub nor who compares them is right any more: the hub has to be replaced by another
	// one. It must not wait for that, and may be called more than once. Nil leaves it at that.
	Restored func(error)
	// Clock is for delays. Nil stands for the machine's.
	Clock clock.WithDelayedExecution
	// Room is for what is kept of the objects. Nil has no bounds.
	Room *access.Room
}

// Observer is told of every event about a tracked object. Live is nil when the object has gone, or lost the label.
type Observer func(owner, id access.ID, live *Live)

// Hub watches the objects that owners track in one cluster. Its methods may be called concurrently.
type Hub struct {
	client *access.Client
	wake   func(access.ID, Cause)
	clock  clock.WithDelayedExecution
	room   *access.Room

	restored func(error)

	ctx  context.Context // of all watches
	stop context.CancelFunc
	runs sync.WaitGroup

	mu        sync.Mutex // held for look-ups and counting only
	observers []Observer
	feeds     map[source]*feed
	owners    map[access.ID]*owner
	docket    docket
	closed    bool
}

// New makes a hub that watches with the rights of the client. It sends no request before something is tracked. Close
// ends its watches.
func New(client *access.Client, o Options) *Hub {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Hub{
		client: client, wake: o.Wake, clock: o.Clock, room: o.Room, restored: o.Restored, ctx: ctx, stop: stop,
		feeds: map[source]*feed{}, owners: map[access.ID]*owner{},
	}
}

// Close ends all watches and waits until nothing runs any more.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.stop()
	h.runs.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		f.close()
	}
}

// Observe registers a function that is told of every event about a tracked object, never under the hub's lock and in
// order for each object. It must not block. All observers register before the first Track.
func (h *Hub) Observe(fn Observer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.observers = append(h.observers, fn)
}

// Expect says that the object was written: what the hub has seen of it before this resource version counts as unknown.
// Without a label, it is one that some owner has named.
func (h *Hub) Expect(id access.ID, label, resourceVersion string) {
	from := labelled(id.GroupKind(), label)
	if label == "" {
		from = named(id)
	}
	h.change(func(n *notes) {
		f := h.feeds[from]
		if f == nil {
			return
		}
		if o := f.objects[keyOf(id)]; o != nil {
			o.floor, o.written = max(o.floor, Revision(resourceVersion)), true
			n.settle(o)
		}
		if f.state == unserved { // it is, now
			f.kick()
		}
	})
}

// Lookup returns what is known of an object that some owner tracks under the label key.
func (h *Hub) Lookup(id access.ID, label string) (Live, Knowledge) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[labelled(id.GroupKind(), label)]
	if f == nil {
		return Live{}, Unknown
	}
	o := f.objects[keyOf(id)]
	k := f.knows(o)
	if o != nil && o.live != nil && (k == Present || k == Blind) {
		return *o.live, k
	}
	return Live{}, k
}

// Ready waits until the hub knows everything about what the owner tracks and follows, or finds that it cannot (Blind), or until ctx
// ends, whose error it returns.
func (h *Hub) Ready(ctx context.Context, id access.ID) error {
	for _, f := range h.pending(id) {
		select {
		case <-f.first:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// pending returns the feeds of the owner that have seen nothing yet.
func (h *Hub) pending(id access.ID) []*feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*feed
	last := (*feed)(nil)
	if w := h.owners[id]; w != nil {
		for _, m := range []map[access.ID]*interest{w.tracked, w.followed} {
			for _, i := range m {
				if i.feed != last && i.feed.state == opening {
					out, last = append(out, i.feed), i.feed
				}
			}
		}
	}
	return out
}

// Labelled returns all objects of the watched kinds, tracked or not, that carry the label key with the owner's name and
// the second key with its namespace, and are not being deleted.
func (h *Hub) Labelled(id access.ID, label, namespaceLabel string) []access.Ref {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []access.Ref
	for s, f := range h.feeds {
		if s.label != label {
			continue
		}
		for o := range f.named[id.Name] {
			if !o.live.Deleting && o.live.Labels[namespaceLabel] == id.Namespace {
				out = append(out, access.Ref{ID: o.id, Version: f.version})
			}
		}
	}
	sortRefs(out)
	return out
}

// Blind tells whether the owner tracks objects that cannot be watched.
func (h *Hub) Blind(owner access.ID) bool { return len(h.blind(owner)) > 0 }

// Poll reads the objects of the owner that cannot be watched, with the rights of the client, one request each. Who
// awaits them calls it from time to time.
func (h *Hub) Poll(ctx context.Context, client *access.Client, owner access.ID) error {
	return h.fetch(ctx, client, h.blind(owner))
}

func labelled(gk schema.GroupKind, label string) source {
	return source{gk: gk, label: label}
}

func keyOf(id access.ID) key { return key{id.Namespace, id.Name} }
