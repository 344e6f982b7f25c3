package instance

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
)

// transaction is what one attempt to reach a revision has done so far. It spans the runs from the first apply to health. A
// process that is started anew begins a new one: only the time it has and the change log are counted from there.
type transaction struct {
	revision   string
	generation int64
	requested  string
	started    time.Time
	changes    apply.Changes
}

// transactions holds the one that is under way for each instance.
type transactions struct {
	mu   sync.Mutex
	open map[types.UID]transaction
}

// record adds the changes of a run to the transaction of the instance and returns it. A new revision, spec or request begins a new
// one, with the time to become healthy anew; what changed before is still told at its end.
func (t *transactions) record(obj *fluxv1.FluxInstance, revision string, now time.Time, changes apply.Changes) transaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[types.UID]transaction{}
	}
	requested := obj.Annotations[meta.ReconcileRequestAnnotation]
	current, ok := t.open[obj.UID]
	if !ok || current.revision != revision || current.generation != obj.Generation || current.requested != requested {
		current = transaction{
			revision: revision, generation: obj.Generation, requested: requested, started: now, changes: current.changes,
		}
	}
	current.changes = append(slices.Clip(current.changes), changes...)
	t.open[obj.UID] = current
	return current
}

// end closes the transaction and returns it.
func (t *transactions) end(uid types.UID) (transaction, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	current, ok := t.open[uid]
	delete(t.open, uid)
	return current, ok
}

// checks knows when each instance was last checked against the API server, whatever the hub has seen.
type checks struct {
	mu   sync.Mutex
	done map[types.UID]time.Time
}

// due tells whether the instance is to be checked: when its interval has passed, give or take the jitter, and when somebody asks
// for a reconcile. A process that has just started has nothing to rely on and checks anyway.
func (c *checks) due(obj *fluxv1.FluxInstance, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = map[types.UID]time.Time{}
	}
	last, ok := c.done[obj.UID]
	request, asked := obj.Annotations[meta.ReconcileRequestAnnotation]
	asked = asked && request != obj.Status.LastHandledReconcileAt
	if ok && !asked && now.Sub(last) < obj.GetInterval()*9/10 {
		return false
	}
	c.done[obj.UID] = now
	return ok
}

// disputes knows which fights were told of.
type disputes struct {
	mu   sync.Mutex
	told map[types.UID]map[access.ID]bool
}

// news returns the fights that were not under way at the last look.
func (d *disputes) news(uid types.UID, fights []apply.Fight) []apply.Fight {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told == nil {
		d.told = map[types.UID]map[access.ID]bool{}
	}
	now := map[access.ID]bool{}
	var news []apply.Fight
	for _, f := range fights {
		now[f.ID] = true
		if !d.told[uid][f.ID] {
			news = append(news, f)
		}
	}
	d.told[uid] = now
	return news
}
