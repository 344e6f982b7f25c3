package health

import (
	"context"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"

	"github.com/weir-dev/weir/reconcilers/access"
)

// Goal says what is awaited of which objects.
type Goal struct {
	// IDs of tracked or named objects. Nil stands for all that the owner tracks.
	IDs []access.ID
	// Patient goals are reached when every object is current or failed. Others are also reached as soon as one has
	// failed.
	Patient bool
	// Gone asks that the objects are gone instead of current.
	Gone bool
}

// wait is a goal that somebody waits for.
type wait struct {
	Goal
	members map[*interest]struct{}
	pending map[*interest]struct{}
	fire    func()
	armed   bool // by Await: one for each owner
}

// Settle waits until the goal is reached or ctx ends, reports, and tells whether the goal is reached.
func (h *Hub) Settle(ctx context.Context, id access.ID, g Goal) (Report, bool) {
	reached := make(chan struct{})
	w := h.await(id, g, false, func() { close(reached) })
	ok := true
	select {
	case <-reached:
	case <-ctx.Done():
		ok = false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.owners[id]; o != nil {
		o.waits = slices.DeleteFunc(o.waits, func(other *wait) bool { return other == w })
	}
	return h.report(id, g.IDs), ok
}

// Await arms one wake-up of the owner with cause Settled for when the goal is reached, in place of one armed before. If
// it is reached already, the wake-up comes at once. Untrack, and a nil goal, disarm it.
func (h *Hub) Await(id access.ID, g *Goal) {
	if g != nil {
		h.await(id, *g, true, func() { h.wake(id, Settled) })
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.owners[id]; o != nil {
		o.disarm()
	}
}

func (h *Hub) await(id access.ID, g Goal, armed bool, fire func()) *wait {
	w := &wait{Goal: g, fire: fire, armed: armed}
	h.edit(id, func(o *owner) {
		if armed {
			o.disarm()
		}
		o.waits = append(o.waits, w)
	})
	return w
}

func (o *owner) disarm() {
	o.waits = slices.DeleteFunc(o.waits, func(w *wait) bool { return w.armed })
}

// members returns the interests that the identities stand for, and whether there is one for each.
func (o *owner) members(ids []access.ID) (map[*interest]struct{}, bool) {
	out := map[*interest]struct{}{}
	if ids == nil {
		for _, i := range o.tracked {
			out[i] = struct{}{}
		}
		return out, true
	}
	all := true
	for _, id := range ids {
		if i := o.find(id); i != nil {
			out[i] = struct{}{}
		} else {
			all = false
		}
	}
	return out, all
}

func (o *owner) find(id access.ID) *interest {
	if i := o.tracked[id]; i != nil {
		return i
	}
	return o.named[id]
}

// review starts the goals of the owner over, because its interests have changed, and returns what to tell of those
// that are reached.
func (o *owner) review() []func() {
	var fire []func()
	o.waits = slices.DeleteFunc(o.waits, func(w *wait) bool {
		members, all := o.members(w.IDs)
		w.members, w.pending = members, map[*interest]struct{}{}
		failed := false
		for i := range members {
			done, bad := w.reached(i)
			if !done {
				w.pending[i] = struct{}{}
			}
			failed = failed || bad
		}
		if failed || (all && len(w.pending) == 0) {
			fire = append(fire, w.fire)
			return true
		}
		if !all {
			w.pending[nil] = struct{}{} // never comes
		}
		return false
	})
	return fire
}

// settle tells the goals of the owner that one object has changed, and returns what to tell of those that are reached.
func (o *owner) settle(i *interest) []func() {
	if len(o.waits) == 0 {
		return nil
	}
	var fire []func()
	o.waits = slices.DeleteFunc(o.waits, func(w *wait) bool {
		if _, ok := w.members[i]; !ok {
			return false
		}
		done, failed := w.reached(i)
		if done {
			delete(w.pending, i)
		} else {
			w.pending[i] = struct{}{}
		}
		if failed || len(w.pending) == 0 {
			fire = append(fire, w.fire)
			return true
		}
		return false
	})
	return fire
}

// reached tells whether one object is as the goal asks, and whether its failure ends the wait.
func (w *wait) reached(i *interest) (done, failed bool) {
	c, known := i.condition()
	switch {
	case !known:
		return false, false
	case w.Gone:
		return c.Status == status.NotFoundStatus, false
	case c.Status == status.FailedStatus:
		return w.Patient, !w.Patient
	}
	return c.Status == status.CurrentStatus, false
}
