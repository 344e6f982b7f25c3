package build

import (
	"context"
	"sync"
)

// gate lets builds in: so many at once, so many of one owner, and alone those that say so. Among those who wait, the owner
// that has the fewest inside comes first, and then who has waited longest. It is safe for concurrent use.
type gate struct {
	room, share int

	mu      sync.Mutex
	inside  int
	lost    int  // of those inside, nobody waits for them any more
	alone   bool // who is inside is alone
	owners  map[string]int
	waiting []*visitor // in the order in which they came
}

type visitor struct {
	gate  *gate
	owner string
	alone bool
	lost  bool // nobody waits for it any more
	gone  bool
	enter chan struct{} // closed when the visitor is in
}

// newGate returns a gate with room for so many, of which one owner gets as many as share says.
func newGate(room, share int) *gate {
	return &gate{room: max(room, 1), share: min(max(share, 1), max(room, 1)), owners: map[string]int{}}
}

// pass waits until the visitor is in, who has to leave. An error is the cause of the end of the context.
func (g *gate) pass(ctx context.Context, owner string, alone bool) (*visitor, error) {
	v := &visitor{gate: g, owner: owner, alone: alone, enter: make(chan struct{})}

	g.mu.Lock()
	g.waiting = append(g.waiting, v)
	g.admit()
	g.mu.Unlock()

	select {
	case <-v.enter:
	case <-ctx.Done():
	}

	if ctx.Err() == nil {
		return v, nil
	}

	if !g.withdraw(v) {
		v.leave()
	}

	return nil, context.Cause(ctx)
}

// abandon says that nobody waits for what the visitor does inside. Those who have to be alone hold up nobody meanwhile: it
// may take long.
func (v *visitor) abandon() {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()

	if v.gone {
		return
	}

	v.lost = true
	v.gate.lost++
	v.gate.admit()
}

// leave makes room.
func (v *visitor) leave() {
	g := v.gate

	g.mu.Lock()
	defer g.mu.Unlock()

	v.gone = true
	g.inside--
	g.alone = false

	if v.lost {
		g.lost--
	}

	if g.owners[v.owner]--; g.owners[v.owner] == 0 {
		delete(g.owners, v.owner)
	}

	g.admit()
}

// withdraw takes the visitor out of those who wait, and tells whether it was among them.
func (g *gate) withdraw(v *visitor) bool {
	g.mu.Lock()
	defer g.mu.Unlock()

	for i, w := range g.waiting {
		if w == v {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			g.admit() // who stood behind it may go in now

			return true
		}
	}

	return false
}

// admit lets in whoever may. The lock is held.
func (g *gate) admit() {
	for {
		i := g.next()
		if i < 0 {
			return
		}

		v := g.waiting[i]
		g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
		g.inside++
		g.owners[v.owner]++
		g.alone = v.alone
		close(v.enter)
	}
}

// next returns who goes in next, or -1. One who has to be alone and whose turn it is holds up those who came later, or it
// would never find the place empty.
func (g *gate) next() int {
	best := -1

	for i, v := range g.waiting {
		if g.owners[v.owner] >= g.share || v.alone && g.lost > 0 {
			continue
		}

		if best < 0 || g.owners[v.owner] < g.owners[g.waiting[best].owner] {
			best = i
		}

		if v.alone {
			break
		}
	}

	if best < 0 || g.alone || g.inside >= g.room || g.waiting[best].alone && g.inside > 0 {
		return -1
	}

	return best
}
