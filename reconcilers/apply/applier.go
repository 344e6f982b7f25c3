package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

const (
	defaultTimeout     = time.Minute
	defaultConcurrency = 8
	// readyTimeout is how long an Apply waits for the watches of new kinds to show what is there. Without them it asks
	// the API server for what it would have known.
	readyTimeout = 10 * time.Second
)

// Options of one Apply.
type Options struct {
	// Digest identifies the set and the options, for Clean. It may be empty.
	Digest string
	// Inventory of the last set, as the owner's status has it. What is no longer in the set stays known until it is
	// pruned, or missing here.
	Inventory []access.Ref
	// Full checks every object against the API server, whatever is remembered and seen. It is meant to be rare.
	Full bool
	// Ignore are fields whose drift is ignored: they are as desired when an object is created, and left alone from then on.
	Ignore []meta.IgnoreRule
	// Force deletes and creates objects anew whose change is refused because a field is immutable.
	Force bool
	// Recreate are kinds of which that is so in any case.
	Recreate []schema.GroupKind
	// Labels and Annotations are set on every object, over those that it has.
	Labels, Annotations map[string]string
	// Stages are kinds that are applied, and waited for, in a stage of their own before most others.
	Stages []schema.GroupKind
	// Takeovers beyond those that are always done: kubectl*, before-first-apply, and the owner's manager itself where it
	// has not used server-side apply.
	Takeovers []Takeover
	// Shared are kinds whose objects nothing is taken over of: what the set does not have of them belongs to whoever set it.
	Shared []schema.GroupKind
	// DropLabels and DropAnnotations are removed from live objects that are written, unless the set has them: keys of
	// tools that the owner replaces. kubectl's copy of the last applied object is always one of them.
	DropLabels, DropAnnotations []string
	// Timeout of the wait for one stage, and for the end of an object that is created anew. Zero stands for a minute.
	Timeout time.Duration
	// Blink is how long an Apply waits in one go. If what it waits for takes longer, it ends with a *Waiting, and goes on
	// when it is called again. Zero waits to the end.
	Blink time.Duration
	// Concurrency is the number of requests in parallel. Zero stands for 8.
	Concurrency int
	// Strict makes duplicate fields an error, too; unknown fields always are.
	Strict bool
	// Key of the digests of a Diff, which needs one: a digest that anybody can compute lets those who may read it, and not the
	// Secrets that it is about, guess what is in these. The same key makes the same digests.
	Key []byte

	drift bool // it is about drift only: see Check
}

// ApplierOptions are the dependencies of an Applier.
type ApplierOptions struct {
	// Wake is called with cause Drifted when something that the owner applied is no longer as it was applied. It must
	// not block. It is required.
	Wake func(owner access.ID, cause health.Cause)
	// Metrics counts corrections. It may be nil.
	Metrics *Metrics
	// Clock is for the pace of fights. Nil stands for the machine's.
	Clock clock.WithDelayedExecution
}

// Applier applies sets to one cluster and remembers how. Its methods may be called concurrently; calls of Apply for the
// same owner wait for each other.
type Applier struct {
	hub     *health.Hub
	wake    func(access.ID, health.Cause)
	clock   clock.WithDelayedExecution
	metrics *Metrics

	mu      sync.Mutex // never held during a request
	ledgers map[access.ID]*ledger
}

// ledger is what is remembered about the set of one owner.
type ledger struct {
	busy chan struct{} // holds a token while an Apply or Prune runs

	owner     Owner
	takeovers takeovers
	records   map[access.ID]*record
	claims    map[access.ID]struct{} // what of the set the API server lets the owner write
	tracked   map[access.ID]struct{} // the set, and what is to be pruned
	digest    string                 // of the last Apply, if it succeeded
	changes   Changes                // of the last Apply, none of which is a change any more
	checked   time.Time              // when everything was compared with the API server last, by a Check
	pause     *pause                 // where the last Apply stopped, if it waits for something
}

// New makes an applier over the hub of its cluster.
func New(hub *health.Hub, o ApplierOptions) *Applier {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	a := &Applier{hub: hub, wake: o.Wake, clock: o.Clock, metrics: o.Metrics, ledgers: map[access.ID]*ledger{}}
	hub.Observe(a.observe)
	return a
}

// Apply makes the cluster have the objects. The set is not changed. Before anything is written, everything that is about
// to change is tried, and all that is refused is returned as one Errors; only what depends on a definition or a namespace
// of the same set is tried after these. The objects are tracked in the hub, with those of the inventory. The result is
// never nil.
func (a *Applier) Apply(ctx context.Context, c *access.Client, owner Owner, set []*unstructured.Unstructured, o Options) (*Result, error) {
	l, err := a.begin(ctx, owner)
	if err != nil {
		return &Result{}, err
	}
	defer l.end()
	if !o.Full && a.Clean(owner.ID, o.Digest) {
		return &Result{Changes: slices.Clone(l.changes), Fights: a.fights(l)}, nil
	}
	objects, refused, err := prepare(ctx, owner, set, c.Mapping, o)
	if err != nil {
		return &Result{}, err
	}
	a.adopt(l, owner, objects, o)
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	_ = a.hub.Ready(ready, owner.ID) // if it is not, more has to be asked
	cancel()

	r := a.plan(l, c, owner, objects, refused, o)
	err = r.execute(ctx)
	result := &Result{Changes: r.changes()}
	a.metrics.corrected(owner.ID, result.Changes)
	a.finish(l, r, err)
	result.Fights = a.fights(l)
	return result, err
}

// Clean tells, from memory, whether the last Apply of the owner succeeded with this digest, and everything is still as
// it was applied, or is left alone because somebody fights over it. An Apply would then do nothing.
func (a *Applier) Clean(owner access.ID, digest string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.ledgers[owner]
	if l == nil || digest == "" || l.digest != digest {
		return false
	}
	now := a.clock.Now()
	for _, r := range l.records {
		if r.dirty != "" && !r.fight.slowed(now) {
			return false
		}
	}
	return !a.hub.Blind(owner)
}

// Adopt makes the objects of an inventory known without applying anything, so that they can be pruned, reported on and
// waited for, as on deletion.
func (a *Applier) Adopt(ctx context.Context, owner Owner, inventory []access.Ref) error {
	l, err := a.begin(ctx, owner)
	if err != nil {
		return err
	}
	defer l.end()
	a.mu.Lock()
	l.owner = owner
	for _, ref := range inventory {
		l.tracked[ref.ID] = struct{}{}
	}
	a.mu.Unlock()
	a.track(l)
	if err := a.hub.Ready(ctx, owner.ID); err != nil {
		return fmt.Errorf("wait for the watches: %w", err)
	}
	return nil
}

// Orphans returns the objects that the owner has applied, but that are not in the inventory: forgotten by a crash. Labels
// alone do not count, since controllers copy them to what they make. Only kinds that are watched are looked through.
func (a *Applier) Orphans(owner Owner, inventory []access.Ref) []access.Ref {
	known := make(map[access.ID]struct{}, len(inventory))
	for _, ref := range inventory {
		known[ref.ID] = struct{}{}
	}
	var out []access.Ref
	for _, ref := range a.hub.Labelled(owner.ID, owner.nameLabel(), owner.namespaceLabel()) {
		if _, ok := known[ref.ID]; ok {
			continue
		}
		live, _ := a.hub.Lookup(ref.ID, owner.nameLabel())
		if _, ok := own(&live, owner.Manager); ok {
			out = append(out, ref)
		}
	}
	return out
}

// Forget drops all that is known about the owner, and the hub's interest in its objects. It deletes nothing.
func (a *Applier) Forget(owner access.ID) {
	a.mu.Lock()
	_, known := a.ledgers[owner]
	delete(a.ledgers, owner)
	a.mu.Unlock()
	a.hub.Untrack(owner)
	if known { // the metrics are shared with the appliers of other clusters
		a.metrics.forget(owner)
	}
}

// begin waits for the owner's turn.
func (a *Applier) begin(ctx context.Context, owner Owner) (*ledger, error) {
	a.mu.Lock()
	l := a.ledgers[owner.ID]
	if l == nil {
		l = &ledger{
			busy: make(chan struct{}, 1), owner: owner, takeovers: owner.takeovers(nil),
			records: map[access.ID]*record{}, claims: map[access.ID]struct{}{}, tracked: map[access.ID]struct{}{},
		}
		a.ledgers[owner.ID] = l
	}
	a.mu.Unlock()
	select {
	case l.busy <- struct{}{}:
		return l, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another apply of %s: %w", owner.ID, context.Cause(ctx))
	}
}

func (l *ledger) end() { <-l.busy }

// adopt makes the set and the inventory what is tracked.
func (a *Applier) adopt(l *ledger, owner Owner, objects []desired, o Options) {
	a.mu.Lock()
	l.owner, l.takeovers = owner, owner.takeovers(o.Takeovers)
	l.digest, l.changes = "", nil
	l.tracked = make(map[access.ID]struct{}, len(objects)+len(o.Inventory))
	claims := l.claims
	l.claims = make(map[access.ID]struct{}, len(objects))
	records := make(map[access.ID]*record, len(objects))
	for i := range objects {
		id := objects[i].ID
		l.tracked[id] = struct{}{}
		if _, ok := claims[id]; ok {
			l.claims[id] = struct{}{}
		}
		if r := l.records[id]; r != nil {
			records[id] = r
		}
	}
	for _, ref := range o.Inventory {
		l.tracked[ref.ID] = struct{}{}
	}
	l.records = records
	a.mu.Unlock()
	a.track(l)
}

func (a *Applier) track(l *ledger) {
	a.mu.Lock()
	ids := make([]access.ID, 0, len(l.tracked))
	for id := range l.tracked {
		ids = append(ids, id)
	}
	owner := l.owner
	a.mu.Unlock()
	a.hub.Track(owner.ID, owner.nameLabel(), ids)
}

// finish remembers the outcome.
func (a *Applier) finish(l *ledger, r *run, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w, ok := errors.AsType[*Waiting](err); ok {
		l.pause = r.pause(w)
	}
	if err != nil {
		return
	}
	l.digest = r.options.Digest
	l.changes = make(Changes, 0, len(r.tasks))
	for _, c := range r.changes() {
		if c.Action != Skipped {
			c.Action, c.Drift = Unchanged, nil
		}
		l.changes = append(l.changes, c)
	}
}

// Fights returns the objects of the owner that somebody else keeps changing back, and whose corrections are slowed down.
func (a *Applier) Fights(owner access.ID) []Fight {
	a.mu.Lock()
	l := a.ledgers[owner]
	a.mu.Unlock()
	if l == nil {
		return nil
	}
	return a.fights(l)
}

func (a *Applier) fights(l *ledger) []Fight {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Fight
	now := a.clock.Now()
	for id, r := range l.records {
		if r.fight.slowed(now) {
			out = append(out, r.report(id))
		}
	}
	sortFights(out)
	return out
}
