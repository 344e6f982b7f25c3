package build

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrBusy says that there is no place for a build, because others of the same owner, or of several, take long. It is worth
// another try.
var ErrBusy = errors.New("other builds take long, and there is no place for another")

// gate lets builds in: so many at once, so many of one owner, and alone those that say so. Among those who wait, the owner
// that has the fewest inside comes first, and then who has waited longest.
//
// Who is inside for long, or is abandoned, is slow. Slow ones take the places of nobody else, as long as there are no more of
// them than places. Nobody waits for a place that only slow ones could leave. It is safe for concurrent use.
type gate struct {
	room, share int
	// queue is how many of one owner may wait. Zero means any number.
	queue int
	// patience is after which time who is inside is slow. Zero means never.
	patience time.Duration

	mu      sync.Mutex
	inside  int
	slow    int  // of those inside
	alone   bool // who is inside is alone
	owners  map[string]crowd
	waiting []*visitor // in the order in which they came
}

// crowd are the visitors of one owner.
type crowd struct{ inside, slow, waiting int }

type visitor struct {
	gate  *gate
	owner string
	alone bool
	enter chan struct{} // closed when the visitor is in, or sent away
	err   error         // why it was sent away
	timer *time.Timer
	slow  bool
	gone  bool
}

// newGate returns a gate with room for so many, of which one owner gets as many as share says.
func newGate(room, share int, patience time.Duration) *gate {
	room = max(room, 1)

	return &gate{room: room, share: min(max(share, 1), room), patience: patience, owners: map[string]crowd{}}
}

// pass waits until the visitor is in, who has to leave. An error is ErrBusy, or the cause of the end of the context.
func (g *gate) pass(ctx context.Context, owner string, alone bool) (*visitor, error) {
	v := g.come(owner, alone)

	select {
	case <-v.enter:
	case <-ctx.Done():
	}

	if ctx.Err() != nil {
		v.leave()

		return nil, context.Cause(ctx)
	}

	return v, v.err
}

// try lets the visitor in at once, or returns ErrBusy.
func (g *gate) try(owner string) (*visitor, error) {
	v := g.come(owner, false)

	select {
	case <-v.enter:
		return v, v.err
	default:
		v.leave()

		return nil, ErrBusy
	}
}

// come joins those who wait.
func (g *gate) come(owner string, alone bool) *visitor {
	v := &visitor{gate: g, owner: owner, alone: alone, enter: make(chan struct{})}

	g.mu.Lock()
	defer g.mu.Unlock()

	if g.queue > 0 && g.owners[owner].waiting >= g.queue {
		g.send(v)

		return v
	}

	g.count(owner, 0, 0, 1)
	g.waiting = append(g.waiting, v)
	g.admit()

	return v
}

// count changes how many of the owner are there.
func (g *gate) count(owner string, inside, slow, waiting int) {
	c := g.owners[owner]
	c = crowd{c.inside + inside, c.slow + slow, c.waiting + waiting}
	g.owners[owner] = c

	if c == (crowd{}) {
		delete(g.owners, owner)
	}

	g.inside += inside
	g.slow += slow
}

// send sends somebody away.
func (g *gate) send(v *visitor) {
	v.err, v.gone = ErrBusy, true
	close(v.enter)
}

// abandon says that nobody waits for what the visitor does inside.
func (v *visitor) abandon() {
	g := v.gate

	g.mu.Lock()
	defer g.mu.Unlock()

	if v.gone || v.slow {
		return
	}

	v.slow = true
	g.count(v.owner, 0, 1, 0)
	g.admit()
}

// leave makes room, also among those who wait.
func (v *visitor) leave() {
	g := v.gate

	g.mu.Lock()
	defer g.mu.Unlock()

	if v.gone {
		return
	}

	v.gone = true

	if i := slices.Index(g.waiting, v); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		g.count(v.owner, 0, 0, -1)
		g.admit()

		return
	}

	if v.timer != nil {
		v.timer.Stop()
	}

	if v.slow {
		g.count(v.owner, 0, -1, 0)
	}

	g.alone = false
	g.count(v.owner, -1, 0, 0)
	g.admit()
}

// admit lets in whoever may, and sends away who would wait for slow ones. The lock is held.
func (g *gate) admit() {
	for {
		i := g.next()
		if i < 0 {
			break
		}

		v := g.waiting[i]
		g.waiting = slices.Delete(g.waiting, i, i+1)
		g.count(v.owner, 1, 0, -1)
		g.alone = v.alone

		if g.patience > 0 {
			v.timer = time.AfterFunc(g.patience, v.abandon)
		}

		close(v.enter)
	}

	g.waiting = slices.DeleteFunc(g.waiting, func(v *visitor) bool {
		hopeless := g.owners[v.owner].slow >= g.share || g.slow >= 2*g.room || g.alone && g.slow > 0
		if hopeless {
			g.count(v.owner, 0, 0, -1)
			g.send(v)
		}

		return hopeless
	})
}

// next returns who goes in next, or -1. One who has to be alone and whose turn it is holds up those who came later, or it
// would never find the place empty; not so behind slow ones.
func (g *gate) next() int {
	if g.alone || g.inside-g.slow >= g.room || g.inside >= 2*g.room {
		return -1
	}

	best := -1

	for i, v := range g.waiting {
		if g.owners[v.owner].inside >= g.share || v.alone && g.slow > 0 {
			continue
		}

		if best < 0 || g.owners[v.owner].inside < g.owners[g.waiting[best].owner].inside {
			best = i
		}

		if v.alone {
			break
		}
	}

	if best >= 0 && g.waiting[best].alone && g.inside > 0 {
		return -1
	}

	return best
}
