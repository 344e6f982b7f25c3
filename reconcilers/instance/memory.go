package instance

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/release"
)

// memory is what this process knows about one instance, beyond its status. One instance never runs twice at a time, so nobody
// else is there when a step looks at it.
type memory struct {
	cut         time.Time // since when the remote cluster keeps the instance out, or zero
	uid         types.UID
	built       built
	fetched     fetched
	transaction *transaction
	looked      time.Time // when something was last applied, or found to be
	arrived     bool      // the last run got as far as that
	missed      bool      // one since looked did not
	checked     time.Time
	fights      map[access.ID]bool
	good        *record     // of the last good release, once it was read or written
	newer       []access.ID // definitions that cannot go back to those of the last good release
	lost        time.Time   // when a revision that soaks was no longer healthy; zero if it is
	healthy     span        // of a revision that soaks
	rollout     span        // of the operator's image
	storage     storage     // of the cluster
	interim     interim
	plans       plans
	held        held
}

// manyPlans is how many plans of a revision are remembered.
const manyPlans = 32

// plans are those of one revision that somebody was told of. What is changed by hand is in a plan until it is put back, and then the plan is
// the one before.
type plans struct {
	of      string
	digests []string
}

func (p *plans) has(u *fluxv1.UpgradeStatus) bool {
	return p.of == u.To && slices.Contains(p.digests, u.Plan)
}

func (p *plans) add(u *fluxv1.UpgradeStatus) {
	switch {
	case p.of != u.To:
		*p = plans{of: u.To, digests: []string{u.Plan}}
	case p.has(u):
	default:
		p.digests = append(p.digests[max(0, len(p.digests)-manyPlans+1):], u.Plan)
	}
}

// memories holds those of all instances.
type memories struct {
	mu sync.Mutex
	of map[types.NamespacedName]*memory
}

// get returns the memory of the instance. One that was created anew under the same name has none.
func (m *memories) get(obj *fluxv1.FluxInstance) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[types.NamespacedName]*memory{}
	}
	key := client.ObjectKeyFromObject(obj)
	one := m.of[key]
	if one == nil || one.uid != obj.UID {
		one = &memory{uid: obj.UID}
		m.of[key] = one
	}
	return one
}

// forget drops what is known about an instance that is gone.
func (m *memories) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, key)
}

// built is the last build: what wakes an instance is mostly not its spec.
type built struct {
	key string // digest of the spec, and the key of the release
	set *distribution.Set
}

// fetched is what was fetched last: what wakes an instance is mostly not its registry, and the registry may be away.
type fetched struct {
	spec    string // its digest
	request string // that it answered, and the versions of the Secrets that it used
	at      time.Time
	release *release.Release
}

// get returns what was fetched for the spec, and whether it may be used without another look.
func (f *fetched) get(spec, request string, now time.Time, interval time.Duration) (*release.Release, bool) {
	if f.spec != spec {
		return nil, false
	}
	return f.release, f.release != nil && f.request == request && now.Sub(f.at) < interval*9/10
}

// transaction is what one attempt to reach a revision has done so far. It spans the runs from the first apply to health. A
// process that is started anew begins a new one: only the time it has and the change log are counted from there.
type transaction struct {
	revision   string
	generation int64
	requested  string
	started    time.Time
	changes    apply.Changes
}

// record adds the changes of a run to the transaction of the instance and returns it. A new revision, spec or request begins a new
// one, with the time to become healthy anew; what changed before is still told at its end. Time in which nobody could tell how the
// revision was doing does not count.
func (m *memory) record(obj *fluxv1.FluxInstance, revision string, now time.Time, changes apply.Changes) transaction {
	requested := obj.Annotations[meta.ReconcileRequestAnnotation]
	current := m.transaction
	if current == nil {
		current = &transaction{}
	}
	if current.revision != revision || current.generation != obj.Generation || current.requested != requested {
		current = &transaction{
			revision: revision, generation: obj.Generation, requested: requested, started: now, changes: current.changes,
		}
	} else if m.missed {
		current.started = current.started.Add(max(now.Sub(m.looked), 0))
	}
	m.arrived, m.missed, m.looked = true, false, now
	current.changes = append(current.changes, changes...)
	m.transaction = current
	return *current
}

// begin notes that a run begins. If the one before did not get as far as to apply, because the API server was away or the instance
// suspended, nobody could tell how a revision was doing.
func (m *memory) begin() {
	m.missed, m.arrived = m.missed || !m.arrived, false
}

// since returns when the transaction of the revision began; if there is none, the time that is given.
func (m *memory) since(revision string, otherwise time.Time) time.Time {
	if m.transaction == nil || m.transaction.revision != revision {
		return otherwise
	}
	return m.transaction.started
}

// end closes the transaction and returns it.
func (m *memory) end() (transaction, bool) {
	current := m.transaction
	if m.transaction = nil; current == nil {
		return transaction{}, false
	}
	return *current, true
}

// due tells whether the instance is to be checked against the API server, whatever the hub has seen: when its interval has passed,
// give or take the jitter, and when somebody asks for a reconcile. A process that has just started has nothing to rely on and
// checks anyway.
func (m *memory) due(obj *fluxv1.FluxInstance, now time.Time) bool {
	last := m.checked
	request, asked := obj.Annotations[meta.ReconcileRequestAnnotation]
	asked = asked && request != obj.Status.LastHandledReconcileAt
	if !last.IsZero() && !asked && now.Sub(last) < obj.GetInterval()*9/10 {
		return false
	}
	m.checked = now
	return !last.IsZero()
}

// news returns the fights that were not under way at the last look.
func (m *memory) news(fights []apply.Fight) []apply.Fight {
	now := map[access.ID]bool{}
	var news []apply.Fight
	for _, f := range fights {
		now[f.ID] = true
		if !m.fights[f.ID] {
			news = append(news, f)
		}
	}
	m.fights = now
	return news
}

// gone drops what this process knows about an instance that is gone, whether it has seen it go or not.
func (r *reconciler) gone(key types.NamespacedName) {
	r.memories.forget(key)
	r.credentials.forget(key)
	r.Home.Applier.Forget(identity(key))
	if r.Remote != nil {
		r.Remote.Release(identity(key))
	}
}
