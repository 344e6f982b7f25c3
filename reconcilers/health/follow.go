package health

import (
	"github.com/weir-dev/weir/reconcilers/access"
)

// Follow tells fn of every event about objects that the owner has not applied, each watched by its name, in place of those followed
// before: that it is there, that it has changed, or, with nil, that it has gone. Nobody is told of what may not be watched. Fn is
// never called under the hub's lock, and must not block. Ready waits until all of them were told of once.
func (h *Hub) Follow(id access.ID, ids []access.ID, fn func(id access.ID, live *Live)) {
	h.change(func(n *notes) {
		w := h.ensure(id)
		known := make(map[access.ID]bool, len(w.followed))
		for id := range w.followed {
			known[id] = true
		}
		h.declare(w, w.followed, ids, named)
		for id, i := range w.followed {
			i.tell = fn
			if !known[id] && i.object.live != nil { // somebody else follows it too
				n.tell(i)
			}
		}
	})
}

// tell notes that who follows the object is to be told how it is now.
func (n *notes) tell(i *interest) {
	tell, id, live := i.tell, i.object.id, i.object.live
	n.fire = append(n.fire, func() { tell(id, live) })
}
