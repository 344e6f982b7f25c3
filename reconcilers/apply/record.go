package apply

import (
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// mode is how an object of a set is treated.
type mode int

const (
	managed  mode = iota
	exempt        // a marker on the desired object keeps the live one as it is
	excluded      // a marker on the live object does
	initial       // only its existence is wanted
)

// mark is our own entry among the field managers of a live object. It tells whether anybody has changed a field that we
// own, however and to whatever value, since doing so takes the field out of our entry: no copy of the object is needed
// to notice, and what others own, such as the replicas of an autoscaled Deployment, is no drift.
type mark struct {
	time   int64
	fields uint64
}

// record is what is remembered about an applied object.
type record struct {
	mode            mode
	digest          uint64
	proven          []uint64 // digests that the API server has accepted before, latest last
	uid             types.UID
	resourceVersion string
	generation      int64
	mark            mark
	merge           bool // the fields of other managers are left alone
	tolerated       []health.Manager
	vanishes        bool // goes away by itself
	hidden          bool // exists without our labels, so that the hub does not see it
	writing         bool // a request is under way, so what is seen meanwhile may be ours
	dirty           string
	other           string // field manager that made it dirty
	fight           fight
	fields          []string // that the last correction put back

	// look is how the object looked when it was checked and our mark did not tell everything, or zero. Any other look is a change.
	look uint64
	// deviation is what a check has found, or nil.
	deviation *deviation
}

// provenLimit is how many earlier forms of an object are remembered, so that a revert needs no dry run.
const provenLimit = 4

// accept notes that the API server has accepted the digest.
func (r *record) accept(digest uint64) {
	r.digest = digest
	r.proven = slices.DeleteFunc(r.proven, func(d uint64) bool { return d == digest })
	if r.proven = append(r.proven, digest); len(r.proven) > provenLimit {
		r.proven = slices.Delete(r.proven, 0, 1)
	}
}

// take notes the state of the object after our own write, or one that was found to be as desired.
func (r *record) take(l *health.Live, manager string) {
	r.uid, r.resourceVersion, r.generation = l.UID, l.ResourceVersion, l.Generation
	r.mark, _ = own(l, manager)
	r.dirty = "" // who made it dirty is remembered, for the report of a fight
	r.look, r.deviation = 0, nil
}

// watch notes the state of an object that was checked, nil if there is none. Complete says that we own all that is desired of it.
func (r *record) watch(l *health.Live, d *deviation, manager string, complete bool) {
	if l == nil {
		r.take(&health.Live{}, manager)
	} else {
		r.take(l, manager)
	}
	r.deviation = d
	if d != nil || !complete {
		r.look = appearance(l)
	}
}

// appearance is a fingerprint of an object as far as it is watched: of everything but its status. It is never zero.
func appearance(l *health.Live) uint64 {
	if l == nil {
		return 1
	}
	hash := xxhash.New()
	_, _ = fmt.Fprintf(hash, "%q %d %q %q %v", l.UID, l.Generation, l.Labels, l.Annotations, l.Managers) // maps are written sorted
	if l.Generation == 0 {
		_, _ = hash.WriteString(l.ResourceVersion)
	}
	return max(hash.Sum64(), 2)
}

// live returns what the record tells of the live object.
func (r *record) live(owner Owner) health.Live {
	return health.Live{
		UID: r.uid, ResourceVersion: r.resourceVersion, Generation: r.generation, Labels: owner.Labels(),
		Managers: []health.Manager{{Name: owner.Manager, Applied: true, Time: r.mark.time, Fields: r.mark.fields}},
	}
}

// own returns our entry among the managers.
func own(l *health.Live, manager string) (mark, bool) {
	for _, m := range l.Managers {
		if m.Applied && m.Name == manager {
			return mark{m.Time, m.Fields}, true
		}
	}
	return mark{}, false
}

// young tells a mark that may be as of the same second as a later change: it proves nothing yet.
func (m mark) young(now time.Time) bool { return now.Unix()-m.time <= 2 }

// Reasons why an object is dirty.
const (
	gone     = "gone"
	replaced = "replaced"
	changed  = "changed"
	claimed  = "claimed by another manager"
	disowned = "labelled as another owner's"
	released = "no longer excluded"
)

// drift decides whether a live object is no longer as it was applied, and says why, and who did it if that is known. A
// live object of nil is gone. Status is never drift, nor is what we do not own, except that fields of the managers that
// are taken over do not stay.
func (r *record) drift(owner Owner, t takeovers, l *health.Live) (reason, manager string) {
	switch {
	case r.mode == exempt, l == nil && (r.vanishes || r.look == appearance(nil)):
		return "", ""
	case l == nil:
		return gone, ""
	case l.Deleting:
		return "", "" // when it is gone, it is drift
	case r.look != 0 && appearance(l) == r.look:
		return "", ""
	case r.look != 0:
		return changed, latest(owner, l)
	case owner.liveMarks(l).ignore:
		return "", ""
	case r.mode == excluded && owner.liveMarks(l).undetected:
		return "", ""
	case r.mode == excluded:
		return released, ""
	case r.mode == initial:
		return "", ""
	case l.UID != r.uid:
		return replaced, latest(owner, l)
	}
	if !owner.owns(l.Labels) {
		// Another owner with the same field manager leaves no other trace within the same second.
		return disowned, l.Labels[owner.namespaceLabel()] + "/" + l.Labels[owner.nameLabel()]
	}
	if m, ok := own(l, owner.Manager); !ok || m != r.mark {
		return changed, latest(owner, l)
	}
	if name := t.foreign(owner, l, r.tolerated); name != "" && !r.merge {
		return claimed, name
	}
	return "", ""
}

// foreign returns a manager of the object whose fields are taken over, but for those that are tolerated.
func (t takeovers) foreign(owner Owner, l *health.Live, tolerated []health.Manager) string {
	for _, m := range l.Managers {
		if t.match(m.Name, m.Applied, owner.Manager) && !tolerates(tolerated, m) {
			return m.Name
		}
	}
	return ""
}

func tolerates(tolerated []health.Manager, m health.Manager) bool {
	m.Time = 0
	return slices.Contains(tolerated, m)
}

// latest returns the manager other than us that wrote last.
func latest(owner Owner, l *health.Live) string {
	name, at := "", int64(-1)
	for _, m := range l.Managers {
		if m.Time > at && (m.Name != owner.Manager || !m.Applied) {
			name, at = m.Name, m.Time
		}
	}
	return name
}

// fight paces the corrections of one object.
type fight struct {
	count int
	last  time.Time
	until time.Time
}

const (
	fightWindow = 10 * time.Minute // corrections further apart are no fight
	fightLimit  = 5                // corrections that are made at once
	fightDelay  = 10 * time.Second // of the first one after that, doubled for each further one
	fightMost   = 30 * time.Minute
)

// correct notes a correction.
func (f *fight) correct(now time.Time) {
	if now.Sub(f.last) > fightWindow && now.Sub(f.until) > fightWindow {
		f.count = 0
	}
	f.count++
	f.last = now
	if over := f.count - fightLimit; over >= 0 {
		f.until = now.Add(min(fightMost, fightDelay<<min(over, 16)))
	}
}

// slowed tells whether the object is left alone for now.
func (f *fight) slowed(now time.Time) bool { return now.Before(f.until) }

// report returns the fight as a result tells it.
func (r *record) report(id access.ID) Fight {
	return Fight{ID: id, Manager: r.other, Fields: r.fields, Corrections: r.fight.count, Until: r.fight.until}
}
