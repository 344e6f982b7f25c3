package health

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
)

// Condition is the health of one object.
type Condition struct {
	access.ID
	Status  status.Status
	Message string
}

// Report is the health of some objects, each list in the order of their identities.
type Report struct { //nolint:recvcheck // a report is a value; add is how the hub makes one
	Current    []Condition
	InProgress []Condition // those that are missing or being deleted, too
	Failed     []Condition
	// Unknown are objects that the hub has not seen yet, or not since they were written.
	Unknown []Condition
	// Blind are those of the above that cannot be watched: nobody wakes for them, and their status is that of the last
	// Poll.
	Blind []access.ID
}

// Healthy tells whether every object is current.
func (r Report) Healthy() bool {
	return len(r.InProgress) == 0 && len(r.Failed) == 0 && len(r.Unknown) == 0
}

// Report returns the health of the objects, from memory. Nil stands for all that the owner tracks.
func (h *Hub) Report(owner access.ID, ids []access.ID) Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.report(owner, ids)
}

func (h *Hub) report(id access.ID, ids []access.ID) Report {
	var r Report
	w := h.owners[id]
	if w == nil {
		w = &owner{}
	}
	if ids == nil {
		for id := range w.tracked {
			ids = append(ids, id)
		}
	}
	ids = slices.Clone(ids)
	slices.SortFunc(ids, access.ID.Compare)
	for _, id := range slices.Compact(ids) {
		r.add(w.find(id), id)
	}
	return r
}

func (r *Report) add(i *interest, id access.ID) {
	if i == nil {
		r.Unknown = append(r.Unknown, Condition{id, status.UnknownStatus, "not tracked"})
		return
	}
	c, known := i.condition()
	switch {
	case !known:
		r.Unknown = append(r.Unknown, c)
	case c.Status == status.CurrentStatus:
		r.Current = append(r.Current, c)
	case c.Status == status.FailedStatus:
		r.Failed = append(r.Failed, c)
	case c.Status == status.UnknownStatus:
		r.Unknown = append(r.Unknown, c)
	default:
		r.InProgress = append(r.InProgress, c)
	}
	if i.feed.state == blind {
		r.Blind = append(r.Blind, id)
	}
}

// condition returns the health of the object as the owner sees it, and whether it is known.
func (i *interest) condition() (Condition, bool) {
	o, f := i.object, i.feed
	c := Condition{ID: o.id, Status: status.UnknownStatus}
	switch f.knows(o) {
	case Unknown, Behind:
		c.Message = "waiting for the latest state"
		return c, false
	case Blind:
		if !o.polled {
			c.Message = fmt.Sprintf("cannot watch: %v", f.err)
			return c, false
		}
	case Absent, Present:
	}
	if o.live == nil {
		c.Status, c.Message = status.NotFoundStatus, "Resource not found"
		if _, ok := i.owner.vanishing[o.id]; ok {
			c.Status, c.Message = status.CurrentStatus, "Resource has finished"
		}
		return c, true
	}
	if i.rule == nil {
		c.Status, c.Message = o.live.Status, o.live.Message
		return c, true
	}
	v, ok := o.verdicts[i.rule.Key]
	if !ok {
		c.Message = "waiting for the latest state"
		return c, false
	}
	c.Status, c.Message = v.status, v.message
	return c, true
}

// blind returns the owner's interests that cannot be watched.
func (h *Hub) blind(id access.ID) []*interest {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*interest
	w := h.owners[id]
	if w == nil {
		return nil
	}
	for _, i := range w.tracked {
		if i.feed.state == blind {
			out = append(out, i)
		}
	}
	for _, i := range w.named {
		if i.feed.state == blind {
			out = append(out, i)
		}
	}
	return out
}

// fetch reads objects one by one, and judges them. It goes on after an error, and returns all of them.
func (h *Hub) fetch(ctx context.Context, client *access.Client, interests []*interest) error {
	var errs []error
	for _, i := range interests {
		if err := h.read(ctx, client, i.feed, i.object.id); err != nil {
			errs = append(errs, fmt.Errorf("read %q: %w", i.object.id, err))
		}
	}
	return errors.Join(errs...)
}

func (h *Hub) read(ctx context.Context, client *access.Client, f *feed, id access.ID) error {
	m, err := client.Mapping(ctx, f.gk, "")
	if err != nil {
		return err
	}
	known := h.known(f, keyOf(id))
	item, err := client.Read(ctx, access.Ref{ID: id}, !bare(f.gk) || len(h.rules(f, keyOf(id))) > 0)
	if apierrors.IsNotFound(err) {
		h.hide(f, keyOf(id), known)
		return nil
	}
	if err != nil {
		return err
	}
	gvk := schema.GroupVersionKind{Group: m.Group, Version: m.Version, Kind: m.Kind}
	s, err := f.look(item, gvk)
	if err != nil {
		return err
	}
	if rules := h.rules(f, s.key); len(rules) > 0 && s.raw != nil { // who reads it wants to know
		if s.verdicts, err = s.judge(gvk, rules); err != nil {
			return err
		}
	}
	return h.show(f, s)
}

// known returns the version in which the object was seen last.
func (h *Hub) known(f *feed, k key) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := f.objects[k]; o != nil && o.live != nil {
		return Revision(o.live.ResourceVersion)
	}
	return 0
}

func sortRefs(refs []access.Ref) {
	slices.SortFunc(refs, func(a, b access.Ref) int { return a.Compare(b.ID) })
}
