package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// PruneOptions of one Prune.
type PruneOptions struct {
	// Concurrency is the number of requests in parallel. Zero stands for 8.
	Concurrency int
}

// Pruned is what became of the objects that left a set.
type Pruned struct {
	// Changes has an entry for each object that is dealt with: deleted, or skipped because it is somebody else's or
	// excluded by a marker.
	Changes Changes
	// Survivors could not be deleted and stay in the inventory.
	Survivors []access.Ref
}

// Prune deletes the objects, in the reverse order of application, that carry the owner's labels and no marker against
// it, and that no other owner of this applier has in its set and may write: one that takes an object over gets it as it
// is. An object that is gone counts as deleted. Dependents are deleted in the background. It goes on after an error, and
// returns all of them in one, with the survivors. The result is never nil.
func (a *Applier) Prune(ctx context.Context, c *access.Client, owner Owner, stale []access.Ref, o PruneOptions) (*Pruned, error) {
	out := &Pruned{}
	l, err := a.begin(ctx, owner)
	if err != nil {
		out.Survivors = stale
		return out, err
	}
	defer l.end()
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	order := newOrder(nil)
	stale = slices.Clone(stale)
	slices.SortFunc(stale, func(x, y access.Ref) int { return order.compare(y.ID, x.ID) })
	a.disclaim(l, stale)
	p := &pruning{Applier: a, client: c, owner: owner}
	var failed []string
	var causes []error
	for _, wave := range waves(order, stale, func(r access.Ref) access.ID { return r.ID }) {
		actions, errs := make([]Action, len(wave)), make([]error, len(wave))
		parallel(len(wave), o.Concurrency, func(i int) { actions[i], errs[i] = p.remove(ctx, wave[i]) })
		for i, ref := range wave {
			if errs[i] != nil {
				failed = append(failed, fmt.Sprintf("%s delete failed: %v;", ref.ID, errs[i]))
				causes = append(causes, errs[i])
				out.Survivors = append(out.Survivors, ref)
				continue
			}
			out.Changes = append(out.Changes, Change{Ref: ref, Action: actions[i]})
		}
	}
	a.release(l, out.Changes)
	if len(failed) > 0 {
		return out, &pruneError{text: "delete failed, errors: " + strings.Join(failed, " "), causes: causes}
	}
	return out, nil
}

// pruneError has the words that clients know, and all causes.
type pruneError struct {
	text   string
	causes []error
}

// Error implements error.
func (e *pruneError) Error() string { return e.text }

// Unwrap returns the causes.
func (e *pruneError) Unwrap() []error { return e.causes }

// release stops tracking what is dealt with.
func (a *Applier) release(l *ledger, done Changes) {
	a.mu.Lock()
	for _, c := range done {
		if _, again := l.records[c.ID]; !again {
			delete(l.tracked, c.ID)
		}
	}
	a.mu.Unlock()
	a.track(l)
}

type pruning struct {
	*Applier
	client *access.Client
	owner  Owner
}

// disclaim takes objects out of what the owner has in its set.
func (a *Applier) disclaim(l *ledger, refs []access.Ref) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ref := range refs {
		delete(l.claims, ref.ID)
	}
}

// claim notes whether an answer of the API server to the owner shows that it may write the object. That the set has it is
// not enough to keep others from deleting it: anybody can write anything into a set.
func (a *Applier) claim(l *ledger, id access.ID, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		l.claims[id] = struct{}{}
	case apierrors.IsForbidden(err):
		delete(l.claims, id)
	}
}

// Yielded returns those of the objects that have the labels of another owner by now, as far as is known without asking. Prune
// skips them.
func (a *Applier) Yielded(owner Owner, refs []access.Ref) []access.Ref {
	var out []access.Ref
	for _, ref := range refs {
		if live, knowledge := a.hub.Lookup(ref.ID, owner.nameLabel()); knowledge == health.Present && !owner.owns(live.Labels) {
			out = append(out, ref)
		}
	}
	return out
}

// claimed tells whether another owner has the object in its set, and may write it.
func (p *pruning) claimed(id access.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for owner, l := range p.ledgers {
		if _, ok := l.claims[id]; ok && owner != p.owner.ID {
			return true
		}
	}
	return false
}

// remove deletes one object if it is the owner's to delete. An object that was changed since it was seen is looked at once
// more: it may be somebody else's now.
func (p *pruning) remove(ctx context.Context, ref access.Ref) (Action, error) {
	live, knowledge := p.hub.Lookup(ref.ID, p.owner.nameLabel())
	if knowledge == health.Present {
		action, err := p.delete(ctx, ref, &live)
		if !apierrors.IsConflict(err) {
			return action, err
		}
	}
	const attempts = 5
	for attempt := 1; ; attempt++ {
		m, err := p.client.GetMeta(ctx, access.Ref{ID: ref.ID})
		switch {
		case apierrors.IsNotFound(err) || isNoMatch(err):
			return Deleted, nil
		case err != nil:
			return "", err
		}
		live = health.Of(&m.ObjectMeta)
		action, err := p.delete(ctx, ref, &live)
		if !apierrors.IsConflict(err) || attempt == attempts {
			return action, err
		}
	}
}

func (p *pruning) delete(ctx context.Context, ref access.Ref, live *health.Live) (Action, error) {
	if m := p.owner.liveMarks(live); !p.owner.owns(live.Labels) || m.keep || m.ignore || p.claimed(ref.ID) {
		return Skipped, nil
	}
	if live.Deleting {
		return Deleted, nil
	}
	err := p.client.Delete(ctx, access.Ref{ID: ref.ID}, access.DeleteOptions{
		UID: live.UID, ResourceVersion: live.ResourceVersion, Propagation: metav1.DeletePropagationBackground,
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return "", err
	}
	return Deleted, nil
}
