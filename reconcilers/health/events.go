package health

import (
	"errors"

	"github.com/weir-dev/weir/reconcilers/access"
)

// notes are what others have to be told once the lock is released.
type notes struct {
	observers []Observer
	seen      []sighting
	fire      []func()
}

type sighting struct {
	owner, id access.ID
	live      *Live
}

// send tells them.
func (n *notes) send() {
	for _, s := range n.seen {
		for _, fn := range n.observers {
			fn(s.owner, s.id, s.live)
		}
	}
	for _, fn := range n.fire {
		fn()
	}
}

// change does something under the lock, and tells others about it afterwards.
func (h *Hub) change(fn func(n *notes)) {
	n := notes{}
	h.mu.Lock()
	n.observers = h.observers
	fn(&n)
	h.mu.Unlock()
	n.send()
}

// show notes that an object is there. The error says that there is no room for it.
func (h *Hub) show(f *feed, s seen) (err error) {
	h.change(func(n *notes) {
		if f.closed {
			return
		}
		rev := Revision(s.live.ResourceVersion)
		o := f.object(s.key)
		if o.live != nil && rev < Revision(o.live.ResourceVersion) {
			o.polled = true
			return // read before, told after
		}
		size := weigh(&s.live)
		if err = h.room.Take(size - o.size); err != nil {
			f.drop(o)
			return
		}
		f.unindex(o)
		live := s.live
		o.live, o.verdicts, o.size, o.polled = &live, s.verdicts, size, true
		f.index(o)
		f.seen = max(f.seen, rev)
		n.changed(o)
		for _, i := range o.watchers {
			if i.rule != nil && s.verdicts == nil || i.unjudged() {
				h.submit(i, hearing{gvk: s.gvk, version: live.ResourceVersion, raw: s.evidence})
			}
		}
	})
	return err
}

// hide notes that an object is not there any more, as of the revision.
func (h *Hub) hide(f *feed, k key, rev uint64) {
	h.change(func(n *notes) {
		f.seen = max(f.seen, rev)
		if o := f.objects[k]; o != nil {
			o.polled = true
			if o.live != nil && Revision(o.live.ResourceVersion) > rev {
				return // made anew since
			}
			f.lose(o)
			n.changed(o)
			f.drop(o)
		}
	})
}

// mark notes that nothing happened up to the revision.
func (h *Hub) mark(f *feed, rev uint64) {
	h.change(func(n *notes) {
		if rev <= f.seen {
			return
		}
		f.seen = rev
		for _, o := range f.objects {
			if o.live == nil && o.floor > 0 {
				n.missed(f, o) // it may have become certain
			}
		}
	})
}

// listed notes that all objects have been shown as of the revision: those not found are gone.
func (h *Hub) listed(f *feed, found map[key]struct{}, rev uint64, version string) {
	h.change(func(n *notes) {
		f.version, f.err = version, nil
		f.seen = max(f.seen, rev)
		f.become(open)
		for k, o := range f.objects {
			_, ok := found[k]
			switch {
			case !ok && o.live != nil && Revision(o.live.ResourceVersion) <= rev:
				f.lose(o)
				n.changed(o)
			case o.live == nil:
				n.missed(f, o)
			default:
				n.settle(o)
			}
			f.drop(o)
		}
	})
}

// vanish notes that the kind is not served, and so has no objects.
func (h *Hub) vanish(f *feed) {
	h.change(func(n *notes) {
		f.become(unserved)
		for _, o := range f.objects {
			if o.live != nil {
				f.lose(o)
				n.changed(o)
			} else {
				n.settle(o)
			}
			f.drop(o)
		}
	})
}

// refuse notes that the objects cannot be watched.
func (h *Hub) refuse(f *feed, err error) {
	h.change(func(n *notes) {
		f.err = err
		full := errors.Is(err, access.ErrNoRoom)
		if f.state == blind && !full {
			return
		}
		f.become(blind)
		for _, o := range f.objects {
			o.polled = false
			if full {
				f.spare(o)
			}
			n.settle(o)
		}
	})
}

// changed tells observers and goals about an object.
func (n *notes) changed(o *object) {
	o.written = false
	for _, i := range o.watchers {
		if i.tracked {
			n.seen = append(n.seen, sighting{i.owner.id, o.id, o.live})
		}
		if i.tell != nil {
			n.tell(i)
		}
	}
	n.settle(o)
}

// missed tells of an object that was written, and was gone before it was seen, if that has become certain: nothing else is going to
// tell observers.
func (n *notes) missed(f *feed, o *object) {
	if o.written && f.knows(o) == Absent {
		n.changed(o)
	} else {
		n.settle(o)
	}
}

// settle tells goals about an object.
func (n *notes) settle(o *object) {
	for _, i := range o.watchers {
		n.fire = append(n.fire, i.owner.settle(i)...)
	}
}

// become moves the feed to another state.
func (f *feed) become(s state) {
	if f.state == opening && s != opening {
		close(f.first)
	}
	f.state = s
}

// object returns the object with the key, made if it is new.
func (f *feed) object(k key) *object {
	o := f.objects[k]
	if o == nil {
		o = &object{id: access.ID{Group: f.gk.Group, Kind: f.gk.Kind, Namespace: k.namespace, Name: k.name}}
		f.objects[k] = o
	}
	return o
}

// drop forgets an object that is neither there nor of interest.
func (f *feed) drop(o *object) {
	if o.live == nil && len(o.watchers) == 0 {
		delete(f.objects, keyOf(o.id))
	}
}

func (f *feed) lose(o *object) {
	f.unindex(o)
	f.hub.room.Give(o.size)
	o.live, o.verdicts, o.size = nil, nil, 0
}

// spare forgets an object that nobody has applied, to make room for those that somebody has.
func (f *feed) spare(o *object) {
	if len(o.watchers) == 0 {
		f.lose(o)
		f.drop(o)
	}
}

// close forgets all objects, and those that are still to come. The hub's lock is held.
func (f *feed) close() {
	f.closed = true
	for _, o := range f.objects {
		f.hub.room.Give(o.size)
		o.size = 0
	}
}

// index files an existing object under the value of its label, which is the name of its owner.
func (f *feed) index(o *object) {
	if f.label == "" {
		return
	}
	value := o.live.Labels[f.label]
	if f.named[value] == nil {
		f.named[value] = map[*object]struct{}{}
	}
	f.named[value][o] = struct{}{}
}

func (f *feed) unindex(o *object) {
	if f.label == "" || o.live == nil {
		return
	}
	value := o.live.Labels[f.label]
	if delete(f.named[value], o); len(f.named[value]) == 0 {
		delete(f.named, value)
	}
}

// rules returns the rules that are in force for an object.
func (h *Hub) rules(f *feed, k key) []Rule {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.ruled == 0 || f.objects[k] == nil {
		return nil
	}
	var out []Rule
	for _, i := range f.objects[k].watchers {
		if i.rule != nil {
			out = append(out, *i.rule)
		}
	}
	return out
}
