package kustomize

import (
	"context"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
)

// Relatives finds Kustomizations by what they refer to, in a cache. They are shared with others, and not to be changed.
type Relatives interface {
	// OfSource returns those that have the source.
	OfSource(ctx context.Context, kind string, key types.NamespacedName) ([]*kustomizev1.Kustomization, error)
	// DependingOn returns those that depend on the Kustomization.
	DependingOn(ctx context.Context, key types.NamespacedName) ([]*kustomizev1.Kustomization, error)
	// Kustomization returns the one of the name. If there is none, it is an IsNotFound error.
	Kustomization(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error)
}

// Family knows how far Kustomizations have come that have something to do with each other, and which of them wait for which
// before they delete anything. It holds only what the statuses do not tell, so that nothing is lost with it. Its size is that
// of the fleet. It is safe for concurrent use.
type Family struct {
	relatives Relatives
	wake      func(types.NamespacedName)

	mu       sync.Mutex // never held while anybody is asked
	arrivals map[types.NamespacedName]arrival
	applying map[types.NamespacedName]time.Time // since when
	children map[types.NamespacedName]child     // what applies have made, and the cache may not show yet
	slow     map[types.NamespacedName]bool      // those who were waited for in vain
	freed    map[types.NamespacedName]time.Time
	vigils   map[types.NamespacedName]*vigil
	last     types.NamespacedName // who was found to be late last, and may well be the next one, too
}

// arrival is how far a Kustomization has come in this process: everything is applied, or, if wants is not nil, only what it is
// going to apply is known, by the IDs of inventories.
type arrival struct {
	uid        types.UID
	generation int64
	revision   string
	wants      map[string]struct{}
	at         time.Time
	// stuck is since when it cannot apply, if nobody knows what it wants at the revision, or zero. A silent one is going to say
	// it when it is woken.
	stuck  time.Time
	silent bool
}

// child is a Kustomization that another one has written.
type child struct {
	generation int64
	at         time.Time
}

// vigil is the wait of one Kustomization for another one.
type vigil struct {
	owner  types.NamespacedName
	on     types.NamespacedName // who is waited for; guarded by the family
	first  answer               // when the wait began
	until  time.Time            // when a deletion goes on at the latest; zero for others
	source string               // of both, if it is about what moves between them
	// ask looks who is to be waited for, and still whether somebody is. Without them, any news of him wake the owner.
	ask   func(ctx context.Context) (answer, error)
	still func(ctx context.Context, key types.NamespacedName) bool
}

// NewFamily returns an empty family. Wake makes a Kustomization run, and must not block. Whoever makes it calls Changed.
func NewFamily(relatives Relatives, wake func(types.NamespacedName)) *Family {
	return &Family{
		relatives: relatives, wake: wake,
		arrivals: map[types.NamespacedName]arrival{}, applying: map[types.NamespacedName]time.Time{},
		children: map[types.NamespacedName]child{}, slow: map[types.NamespacedName]bool{},
		freed: map[types.NamespacedName]time.Time{}, vigils: map[types.NamespacedName]*vigil{},
	}
}

// nobody has no relatives.
type nobody struct{}

func (nobody) OfSource(context.Context, string, types.NamespacedName) ([]*kustomizev1.Kustomization, error) {
	return nil, nil
}

func (nobody) Kustomization(_ context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{Group: kustomizev1.Group, Resource: "kustomizations"}, key.Name)
}

func (nobody) DependingOn(context.Context, types.NamespacedName) ([]*kustomizev1.Kustomization, error) {
	return nil, nil
}

// Changed says that the cache shows something new of the Kustomization, or that it is gone: those who wait for it look again.
func (f *Family) Changed(ctx context.Context, key types.NamespacedName) {
	for _, v := range f.waiting(key) {
		if v.ask != nil {
			a, err := f.bind(ctx, v)
			if err == nil && a.again == 0 && a.patience > 0 && a.patience >= v.first.patience {
				continue // it has to wait for somebody else just as much
			}
		}

		f.wake(v.owner)
	}
}

// waiting returns those who wait for the Kustomization.
func (f *Family) waiting(key types.NamespacedName) []*vigil {
	f.mu.Lock()
	defer f.mu.Unlock()

	var all []*vigil

	for _, v := range f.vigils {
		if v.on == key {
			all = append(all, v)
		}
	}

	return all
}

// watch makes the owner of the vigil wait, instead of whatever it has waited for before.
func (f *Family) watch(v *vigil) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.vigils[v.owner] = v
}

// release ends the wait of the Kustomization.
func (f *Family) release(owner types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()

	delete(f.vigils, owner)
}

// heldUntil returns how long the deletion of the Kustomization waits for others at most, or zero.
func (f *Family) heldUntil(owner types.NamespacedName) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()

	if v := f.vigils[owner]; v != nil {
		return v.until
	}

	return time.Time{}
}

// holdUntil says how long a deletion waits for others at most.
func (f *Family) holdUntil(owner types.NamespacedName, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if v := f.vigils[owner]; v != nil {
		v.until = until
	}
}

// bind finds whom the owner of the vigil waits for. When it returns somebody, his coming wakes the owner, even if it was while
// this looked.
func (f *Family) bind(ctx context.Context, v *vigil) (answer, error) {
	for {
		a, err := v.ask(ctx)
		if err != nil || a.on == (types.NamespacedName{}) {
			return a, err
		}

		f.mu.Lock()
		v.on = a.on
		f.mu.Unlock()

		if v.still(ctx, a.on) {
			return a, nil
		}
	}
}

// begin notes that the Kustomization is about to apply, and may change others.
func (f *Family) begin(key types.NamespacedName, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.applying[key] = now
}

// end notes that the Kustomization has stopped to apply. A nil arrival means that nobody knows what it wants.
func (f *Family) end(ctx context.Context, key types.NamespacedName, a *arrival) {
	f.mu.Lock()

	_, applying := f.applying[key]
	known, ok := f.arrivals[key]
	news := applying || (a != nil && (!ok || known.wants != nil || !known.stuck.IsZero() || known.revision != a.revision || known.generation != a.generation))

	delete(f.applying, key)

	if a != nil {
		delete(f.slow, key)

		f.arrivals[key] = *a
	}

	f.mu.Unlock()

	if news {
		f.Changed(ctx, key)
	}
}

// arrival returns how far the Kustomization has come in this process.
func (f *Family) arrival(key types.NamespacedName) (arrival, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()

	a, ok := f.arrivals[key]

	return a, ok
}

// isApplying tells whether the Kustomization applies just now. One that began long ago may never have gone on.
func (f *Family) isApplying(key types.NamespacedName, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	began, ok := f.applying[key]

	return ok && now.Sub(began) < deletionPatience
}

// expect notes generations of Kustomizations that the cache is going to show.
func (f *Family) expect(written map[types.NamespacedName]int64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.lapse(now)

	for key, generation := range written {
		f.children[key] = child{generation: generation, at: now}
	}
}

// expected returns what the cache has to show yet, but for what is so old that it never will: it may be of another shard.
func (f *Family) expected(now time.Time) map[types.NamespacedName]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.lapse(now)

	var open map[types.NamespacedName]int64

	for key, c := range f.children {
		if open == nil {
			open = map[types.NamespacedName]int64{}
		}

		open[key] = c.generation
	}

	return open
}

// lapse drops what is not expected any more. The lock is held.
func (f *Family) lapse(now time.Time) {
	maps.DeleteFunc(f.children, func(_ types.NamespacedName, c child) bool { return now.Sub(c.at) >= shortPatience })
}

// seen notes that the cache shows the generation.
func (f *Family) seen(key types.NamespacedName, generation int64) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if f.children[key].generation <= generation {
		delete(f.children, key)
	}
}

// isSlow tells whether the Kustomization was waited for in vain, and has not come since.
func (f *Family) isSlow(key types.NamespacedName) bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.slow[key]
}

// giveUp notes that the Kustomization was waited for in vain, and tells whether that is news. One that has come to any revision
// since then is only behind.
func (f *Family) giveUp(key types.NamespacedName, since time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()

	if f.arrivals[key].at.After(since) {
		return false
	}

	known := f.slow[key]
	f.slow[key] = true

	return !known
}

// free notes that nothing but its own objects keeps the Kustomization, which is deleted.
func (f *Family) free(key types.NamespacedName, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()

	delete(f.vigils, key)

	f.freed[key] = now
}

// freedAt returns since when nothing but its own objects keeps the Kustomization, or zero.
func (f *Family) freedAt(key types.NamespacedName) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.freed[key]
}

// hint returns who was late last, or remembers it.
func (f *Family) hint(late *types.NamespacedName) types.NamespacedName {
	f.mu.Lock()
	defer f.mu.Unlock()

	if late != nil {
		f.last = *late
	}

	return f.last
}

// forget drops a Kustomization that is gone.
func (f *Family) forget(ctx context.Context, key types.NamespacedName) {
	f.mu.Lock()
	delete(f.arrivals, key)
	delete(f.applying, key)
	delete(f.children, key)
	delete(f.slow, key)
	delete(f.freed, key)
	delete(f.vigils, key)
	f.mu.Unlock()

	f.Changed(ctx, key)
}

// come notes that the Kustomization has applied everything, or that there is nothing to apply, or else what it is going to.
func (f *Family) come(
	ctx context.Context, obj *kustomizev1.Kustomization, revision string, wants map[string]struct{}, now time.Time,
) {
	f.end(ctx, client.ObjectKeyFromObject(obj), &arrival{
		uid: obj.UID, generation: obj.Generation, revision: revision, wants: wants, at: now,
	})
}
