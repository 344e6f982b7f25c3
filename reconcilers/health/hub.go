package health

import (
	"context"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
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

// Options of a Hub.
type Options struct {
	// Wake is called, never under the hub's lock, when what an owner awaits has come. It must not block. It is required.
	Wake func(owner access.ID, cause Cause)
	// Clock is for delays. Nil stands for the machine's.
	Clock clock.WithTicker
}

// Hub watches the objects that owners track in one cluster. Its methods may be called concurrently.
type Hub struct{}

// New makes a hub that watches with the rights of the client. It sends no request before something is tracked. Close
// ends its watches.
func New(client *access.Client, o Options) *Hub { return nil }

// Close ends all watches and waits until nothing runs any more.
func (h *Hub) Close() {}

// Observe registers a function that is told of every event about a tracked object, never under the hub's lock and in
// order for each object. Live is nil when the object has gone, or lost the label. It must not block. All observers
// register before the first Track.
func (h *Hub) Observe(fn func(owner, id access.ID, live *Live)) {}

// Track declares all objects that the owner has applied, which carry the label key. It replaces what was declared
// before, costs little when nothing changed, and does not wait: watches open as needed, and close some time after the
// last owner of a kind has gone.
func (h *Hub) Track(owner access.ID, label string, ids []access.ID) {}

// Rule computes the status of the objects of a kind instead of kstatus.
type Rule struct {
	// Key identifies what Evaluate does. Rules with the same key are taken to be the same.
	Key string
	// Evaluate gets the object as JSON decodes, without managed fields, and must not keep it.
	Evaluate func(object map[string]any) (status.Status, string)
}

// Checks are what an owner wants to know beyond the objects that it tracks.
type Checks struct {
	// Named are objects that the owner has not applied. They are watched by name.
	Named []access.ID
	// Rules by kind, for tracked and named objects. A rule for an empty Kind is for each kind of the group that has none.
	Rules map[schema.GroupKind]Rule
	// Vanishing are objects that go away by themselves when they are done (a Job with a time to live), so that an absent
	// one is Current.
	Vanishing []access.ID
}

// Check declares the checks of the owner, in place of those declared before.
func (h *Hub) Check(owner access.ID, c Checks) {}

// Untrack forgets the owner: its objects, checks and wake-ups.
func (h *Hub) Untrack(owner access.ID) {}

// Expect says that the object was written: what the hub has seen of it before this resource version counts as unknown.
func (h *Hub) Expect(id access.ID, label, resourceVersion string) {}

// Lookup returns what is known of an object that some owner tracks under the label key.
func (h *Hub) Lookup(id access.ID, label string) (Live, Knowledge) { return Live{}, Unknown }

// Ready waits until the hub knows everything about what the owner tracks, or finds that it cannot (Blind), or until ctx
// ends, whose error it returns.
func (h *Hub) Ready(ctx context.Context, owner access.ID) error { return nil }

// Orphans returns the objects of the kinds in force that carry the label key with the owner's name, and the owner's
// namespace under the second key, but are not tracked by it.
func (h *Hub) Orphans(owner access.ID, nameLabel, namespaceLabel string) []access.Ref { return nil }

// Condition is the health of one object.
type Condition struct {
	access.ID
	Status  status.Status
	Message string
}

// Report is the health of some objects, each list in the order of their identities.
type Report struct {
	Current    []Condition
	InProgress []Condition // Terminating and NotFound too
	Failed     []Condition
	// Unknown are objects that the hub has not seen yet, or not since they were written.
	Unknown []Condition
	// Blind are those of the above that cannot be watched: nobody wakes for them, and their status is that of the last
	// Poll.
	Blind []access.ID
}

// Healthy tells whether every object is current.
func (r Report) Healthy() bool {
	return len(r.InProgress) == 0 && len(r.Failed) == 0 && len(r.Unknown) == 0
}

// Goal says what is awaited of which objects.
type Goal struct {
	// IDs of tracked or named objects. Nil stands for all that the owner tracks.
	IDs []access.ID
	// Patient goals are reached when every object is current or failed; others as soon as one has failed, too.
	Patient bool
	// Gone asks that the objects are gone instead of current.
	Gone bool
}

// Report returns the health of the objects, from memory.
func (h *Hub) Report(owner access.ID, ids []access.ID) Report { return Report{} }

// Settle waits until the goal is reached or ctx ends, and reports.
func (h *Hub) Settle(ctx context.Context, owner access.ID, g Goal) (Report, bool) {
	return Report{}, false
}

// Await arms one wake-up of the owner with cause Settled for when the goal is reached, in place of one armed before. If
// it is reached already, the wake-up comes at once. Untrack, and a nil goal, disarm it.
func (h *Hub) Await(owner access.ID, g *Goal) {}

// Poll reads the objects of the owner that cannot be watched, with the rights of the client, one request each. Who
// awaits them calls it from time to time.
func (h *Hub) Poll(ctx context.Context, client *access.Client, owner access.ID) error { return nil }
