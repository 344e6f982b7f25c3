package apply

import (
	"slices"
	"time"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// observe is told by the hub of every event about a tracked object.
func (a *Applier) observe(owner, id access.ID, live *health.Live) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.ledgers[owner]; l != nil {
		if r := l.records[id]; r != nil {
			a.judge(l, id, r, live)
		}
	}
}

// judge notes whether an object is dirty, and wakes its owner when it has become so.
func (a *Applier) judge(l *ledger, id access.ID, r *record, live *health.Live) {
	if r.writing || a.stale(l, id, r, live) {
		return
	}
	if live != nil && live.ResourceVersion == r.resourceVersion && r.mode == managed {
		r.mark, _ = own(live, l.owner.Manager) // the echo of our own write
	}
	reason, other := r.drift(l.owner, l.takeovers, live)
	was := r.dirty
	r.dirty = reason
	if reason == "" {
		return
	}
	r.other = other
	if reason == was {
		return
	}
	if now := a.clock.Now(); r.fight.slowed(now) {
		a.later(l.owner.ID, r.fight.until.Sub(now))
		return
	}
	a.later(l.owner.ID, 0)
}

// stale tells what was seen before our own last write from what was seen after it.
func (a *Applier) stale(l *ledger, id access.ID, r *record, live *health.Live) bool {
	if live != nil {
		return health.Revision(live.ResourceVersion) < health.Revision(r.resourceVersion)
	}
	_, k := a.hub.Lookup(id, l.owner.nameLabel())
	return k == health.Unknown || k == health.Behind
}

// later wakes the owner after the delay, and never under the lock.
func (a *Applier) later(owner access.ID, d time.Duration) {
	wake := func() { a.wake(owner, health.Drifted) }
	if d > 0 {
		a.clock.AfterFunc(d, wake)
		return
	}
	go wake()
}

// writing notes that a request is about to change the object. What the hub shows meanwhile may be our own doing.
func (a *Applier) writing(l *ledger, id access.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := l.records[id]
	if r == nil {
		r = &record{}
		l.records[id] = r
	}
	r.writing = true
}

// failed notes that the request failed. Whatever it did is unknown, so the object is to be looked at again.
func (a *Applier) failed(l *ledger, id access.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(l.records, id)
}

// applied notes that the object is as desired, as of the live state. If others have changed or deleted it since, that is
// noticed now.
func (a *Applier) applied(l *ledger, k *task, live *health.Live, wrote bool) {
	if wrote {
		a.hub.Expect(k.ID, l.owner.nameLabel(), live.ResourceVersion)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now, knowledge := a.hub.Lookup(k.ID, l.owner.nameLabel()) // what comes after this is judged after this
	r := l.records[k.ID]
	if r == nil {
		r = &record{}
		l.records[k.ID] = r
	}
	r.mode, r.merge, r.vanishes, r.hidden, r.writing = managed, k.joint(), k.vanishes(), false, false
	r.tolerated = k.tolerated
	if k.marks.ifNotPresent {
		r.mode = initial
	}
	if wrote && k.correct && k.action != Unchanged {
		r.fight.correct(a.clock.Now())
		r.fields = k.fields
	}
	r.accept(k.digest)
	r.take(live, l.owner.Manager)
	switch {
	case knowledge == health.Present:
		a.judge(l, k.ID, r, &now)
	case knowledge == health.Absent && (wrote || k.known):
		a.judge(l, k.ID, r, nil)
	}
}

// skipped notes that the object is left as it is.
func (a *Applier) skipped(l *ledger, k *task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &record{mode: excluded, digest: k.digest, hidden: k.knowledge == health.Absent && k.tried != nil}
	switch {
	case k.marks.ignore:
		r.mode = exempt
	case k.marks.ifNotPresent:
		r.mode = initial
	}
	l.records[k.ID] = r
	if now, knowledge := a.hub.Lookup(k.ID, l.owner.nameLabel()); knowledge == health.Present {
		a.judge(l, k.ID, r, &now)
	}
}

func sortFights(f []Fight) {
	slices.SortFunc(f, func(a, b Fight) int { return a.Compare(b.ID) })
}
