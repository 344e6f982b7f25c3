package health

import (
	"context"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
)

// Rule computes the status of the objects of a kind instead of kstatus.
type Rule struct {
	// Key identifies what Evaluate does. Rules with the same key are taken to be the same.
	Key string
	// Evaluate gets the object as JSON decodes, without managed fields, and must not keep it: what the hub keeps is the
	// answer. Objects of kinds that are watched as metadata only are read for it at each of their events. It is not asked
	// about objects that are being deleted, or whose controller has not observed the latest generation. It must not block,
	// nor call the hub.
	Evaluate func(object map[string]any) (status.Status, string)
}

// Checks are what an owner wants to know beyond the objects that it tracks.
type Checks struct {
	// Named are objects that the owner has not applied. They are watched by name.
	Named []access.ID
	// Rules by kind, for tracked and named objects. A rule for an empty Kind is for each kind of the group that has none.
	Rules map[schema.GroupKind]Rule
	// Vanishing are objects that go away by themselves when they are done (a Job with a time to live), so that an absent
	// one is current.
	Vanishing []access.ID
}

// owner is somebody with an interest in objects.
type owner struct {
	id        access.ID
	label     string
	tracked   map[access.ID]*interest
	named     map[access.ID]*interest
	followed  map[access.ID]*interest
	rules     map[schema.GroupKind]Rule
	vanishing map[access.ID]struct{}
	waits     []*wait
}

// interest is that of one owner in one object.
type interest struct {
	owner   *owner
	object  *object
	feed    *feed
	rule    *Rule
	tracked bool // applied by the owner, not only named

	tell func(id access.ID, live *Live) // if it is followed

	hearing *hearing // what waits to be judged, or nil
	trial   trial    // what is being judged
}

// Track declares all objects that the owner has applied, which carry the label key. It replaces what was declared
// before, costs little when nothing changed, and does not wait: watches open as needed, and close some time after the
// last interest in a kind has gone.
func (h *Hub) Track(id access.ID, label string, ids []access.ID) {
	h.edit(id, func(w *owner) {
		if w.label != label {
			h.forget(w.tracked)
			w.label = label
		}
		h.declare(w, w.tracked, ids, func(id access.ID) source { return labelled(id.GroupKind(), label) })
	})
}

// Check declares the checks of the owner, in place of those declared before.
func (h *Hub) Check(id access.ID, c Checks) {
	h.edit(id, func(w *owner) {
		w.vanishing = make(map[access.ID]struct{}, len(c.Vanishing))
		for _, id := range c.Vanishing {
			w.vanishing[id] = struct{}{}
		}
		w.rules = c.Rules
		for _, m := range []map[access.ID]*interest{w.tracked, w.named} {
			for _, i := range m {
				i.setRule(w.ruleFor(i.object.id))
			}
		}
		h.declare(w, w.named, c.Named, named)
	})
}

// named is where a single object is seen.
func named(id access.ID) source {
	return source{gk: id.GroupKind(), namespace: id.Namespace, name: id.Name}
}

// Untrack forgets the owner: its objects, checks and goals.
func (h *Hub) Untrack(id access.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.owners[id]; w != nil {
		w.waits = nil
		h.forget(w.tracked)
		h.forget(w.named)
		h.forget(w.followed)
		delete(h.owners, id)
	}
}

// edit changes an owner's interests.
func (h *Hub) edit(id access.ID, fn func(*owner)) {
	h.change(func(n *notes) {
		w := h.ensure(id)
		fn(w)
		for _, i := range w.unjudged() {
			h.submit(i, hearing{version: i.object.live.ResourceVersion})
		}
		n.fire = append(n.fire, w.review()...)
	})
}

// ensure returns the owner, made if it is new.
func (h *Hub) ensure(id access.ID) *owner {
	w := h.owners[id]
	if w == nil {
		w = &owner{
			id: id, tracked: map[access.ID]*interest{}, named: map[access.ID]*interest{}, followed: map[access.ID]*interest{},
		}
		h.owners[id] = w
	}
	return w
}

// declare makes the interests those in the identities.
func (h *Hub) declare(w *owner, have map[access.ID]*interest, ids []access.ID, from func(access.ID) source) {
	want := make(map[access.ID]struct{}, len(ids))
	for _, id := range ids {
		want[id] = struct{}{}
		if have[id] == nil {
			have[id] = h.interest(w, id, from(id))
		}
	}
	if len(have) == len(want) {
		return
	}
	for id, i := range have {
		if _, ok := want[id]; !ok {
			h.lose(i)
			delete(have, id)
		}
	}
}

func (h *Hub) interest(w *owner, id access.ID, s source) *interest {
	f := h.feeds[s]
	if f == nil {
		f = h.open(s)
	}
	f.refs++
	i := &interest{owner: w, object: f.object(keyOf(id)), feed: f, tracked: s.label != ""}
	i.object.watchers = append(i.object.watchers, i)
	i.setRule(w.ruleFor(id))
	return i
}

func (h *Hub) forget(interests map[access.ID]*interest) {
	for id, i := range interests {
		h.lose(i)
		delete(interests, id)
	}
}

// lose ends an interest, and in a while the watch if it was the last one.
func (h *Hub) lose(i *interest) {
	i.setRule(nil)
	o, f := i.object, i.feed
	o.watchers = slices.DeleteFunc(o.watchers, func(other *interest) bool { return other == i })
	f.drop(o)
	if f.refs--; f.refs > 0 {
		return
	}
	f.idle++
	idle := f.idle
	h.clock.AfterFunc(closeDelay, func() { h.shut(f, idle) })
}

func (h *Hub) open(s source) *feed {
	ctx, cancel := context.WithCancel(h.ctx)
	f := &feed{
		source: s, hub: h, cancel: cancel, first: make(chan struct{}), wakeup: make(chan struct{}, 1),
		objects: map[key]*object{}, named: map[string]map[*object]struct{}{},
	}
	h.feeds[s] = f
	if !h.closed {
		h.runs.Go(func() { f.run(ctx) })
	}
	return f
}

// shut ends a watch that nobody has become interested in since.
func (h *Hub) shut(f *feed, idle int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.refs == 0 && f.idle == idle && h.feeds[f.source] == f {
		f.cancel()
		f.close()
		delete(h.feeds, f.source)
	}
}

func (w *owner) ruleFor(id access.ID) *Rule {
	if r, ok := w.rules[id.GroupKind()]; ok {
		return &r
	}
	if r, ok := w.rules[schema.GroupKind{Group: id.Group}]; ok {
		return &r
	}
	return nil
}

func (i *interest) setRule(r *Rule) {
	if i.rule != nil {
		i.feed.ruled--
	}
	if r != nil {
		i.feed.ruled++
	}
	i.rule = r
}

// unjudged returns the interests whose object was seen before their rule was in force.
func (w *owner) unjudged() []*interest {
	if len(w.rules) == 0 {
		return nil
	}
	var out []*interest
	for _, m := range []map[access.ID]*interest{w.tracked, w.named} {
		for _, i := range m {
			if i.unjudged() {
				out = append(out, i)
			}
		}
	}
	return out
}
