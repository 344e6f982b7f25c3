package apply

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// Deviation is how an object differs from what is desired. A correction changes so many fields, and nothing else.
type Deviation struct {
	access.Ref
	// Gone says that there is no such object.
	Gone bool
	// Added, Changed and Removed count the fields that a correction adds, changes and removes. A field that is there as a whole, or not at
	// all, counts once.
	Added, Changed, Removed int
}

// String says in a few words what has happened to the object.
func (d Deviation) String() string {
	if d.Gone {
		return d.ID.String() + " removed"
	}
	return fmt.Sprintf("%s changed (%d additions, %d changes, %d removals)", d.ID, d.Added, d.Changed, d.Removed)
}

// Deviations are all of a set.
type Deviations struct {
	// All of them, in the order of application.
	All []Deviation
	// Excluded are the objects that nobody looks at, because a marker or a rule says so.
	Excluded []access.Ref
	// News says that an object that deviated already does so in another way than before.
	News bool
}

// deviation is what is remembered of one.
type deviation struct {
	Deviation
	digest uint64 // of the differences
}

// Check tells how the objects of a set differ from what is desired, and changes nothing in the cluster. From then on the set is tracked,
// and the owner is woken when an object becomes another one than it is now, whether it deviates or not. What is as it was when it was
// applied or checked last costs no request.
//
// Unlike an Apply, it leaves alone what others have added, whoever they are, and the objects with the marker driftDetection: disabled or
// that are ignored as a whole. Of what could not be checked it returns Errors, besides all that could. Of the options, Digest, Full,
// Ignore, Labels, Annotations and Concurrency count. The result is never nil.
func (a *Applier) Check(ctx context.Context, c *access.Client, owner Owner, set []*unstructured.Unstructured, o Options) (*Deviations, error) {
	l, err := a.begin(ctx, owner)
	if err != nil {
		return &Deviations{}, err
	}
	defer l.end()
	o.drift = true
	objects, refused, err := prepare(ctx, owner, set, c.Mapping, o)
	if err != nil {
		return &Deviations{}, err
	}
	a.adopt(l, owner, objects, o)
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	_ = a.hub.Ready(ready, owner.ID) // if it is not, more has to be asked
	cancel()

	r := a.plan(l, c, owner, objects, refused, o)
	r.settleOthers()
	todo := slices.DeleteFunc(slices.Clone(r.tasks), func(k *task) bool { return k.settled })
	news := make([]bool, len(todo))
	errs := slices.Clone(refused)
	each := make([]*Error, len(todo))
	parallel(len(todo), r.options.Concurrency, func(i int) { news[i], each[i] = r.check(ctx, todo[i]) })
	for _, err := range each {
		if err != nil {
			a.failed(l, err.ID)
			errs = append(errs, err)
		}
	}
	a.finish(l, r, errs.or())
	a.looked(l, o.Full)
	out := a.deviations(l)
	out.News = slices.Contains(news, true)
	return out, errs.or()
}

// Deviations returns, from memory, what the last Check with this digest has found, and whether that still holds.
func (a *Applier) Deviations(owner access.ID, digest string) (*Deviations, bool) {
	if !a.Clean(owner, digest) {
		return nil, false
	}
	a.mu.Lock()
	l := a.ledgers[owner]
	a.mu.Unlock()
	if l == nil {
		return nil, false
	}
	return a.deviations(l), true
}

// Checked returns when a Check has compared all objects of the owner with the API server last: the first one, or one that was Full. Zero
// if there was none.
func (a *Applier) Checked(owner access.ID) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.ledgers[owner]; l != nil {
		return l.checked
	}
	return time.Time{}
}

func (a *Applier) looked(l *ledger, full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if full || l.checked.IsZero() {
		l.checked = a.clock.Now()
	}
}

func (a *Applier) deviations(l *ledger) *Deviations {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := &Deviations{}
	for id, r := range l.records {
		switch {
		case r.deviation != nil:
			out.All = append(out.All, r.deviation.Deviation)
		case r.mode == exempt || r.mode == excluded:
			out.Excluded = append(out.Excluded, access.Ref{ID: id})
		}
	}
	o := newOrder(nil)
	slices.SortFunc(out.All, func(x, y Deviation) int { return o.compare(x.ID, y.ID) })
	slices.SortFunc(out.Excluded, func(x, y access.Ref) int { return o.compare(x.ID, y.ID) })
	return out
}

// check compares one object with what is desired: with a dry run, which is enough for what is as desired, and then in detail.
func (r *run) check(ctx context.Context, k *task) (news bool, failed *Error) {
	if err := r.try(ctx, k); err != nil {
		return false, err
	}
	if k.settled {
		return false, nil
	}
	if k.tried != nil && k.tried.ResourceVersion == "" {
		return r.note(k, nil, &deviation{Deviation: Deviation{Ref: k.Ref, Gone: true}}), nil
	}
	live, d, err := r.deviate(ctx, k)
	if err != nil {
		return false, &Error{ID: k.ID, Step: DryRun, Err: err}
	}
	if k.settled {
		return false, nil
	}
	return r.note(k, live, d), nil
}

// deviate compares one object field by field. Without a deviation, it is as desired.
func (r *run) deviate(ctx context.Context, k *task) (*health.Live, *deviation, error) {
	obj, err := r.client.Get(ctx, k.Ref)
	if apierrors.IsNotFound(err) || isNoMatch(err) {
		return nil, &deviation{Deviation: Deviation{Ref: k.Ref, Gone: true}}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	live := health.Of(&metav1.ObjectMeta{
		UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(), Generation: obj.GetGeneration(),
		Labels: obj.GetLabels(), Annotations: obj.GetAnnotations(), ManagedFields: obj.GetManagedFields(),
	})
	if r.exempts(&live) {
		r.skipped(r.ledger, k)
		k.conclude(Skipped)
		return &live, nil, nil
	}
	after, err := r.attempt(ctx, k, obj)
	if err != nil {
		return nil, nil, err
	}
	before, want := tidy(obj.Object), tidy(after)
	if reflect.DeepEqual(before, want) {
		return &live, nil, nil
	}
	d := &deviation{Deviation: Deviation{Ref: k.Ref}, digest: xxhash.Sum64String(fmt.Sprintf("%q", differences(before, want, false)))}
	d.count(before, want)
	return &live, d, nil
}

// exempts tells whether a marker on a live object keeps it as it is.
func (r *run) exempts(live *health.Live) bool {
	return r.owner.exempts(live, r.options.drift)
}

// count counts what has to be done to a value to make it another one.
func (d *deviation) count(before, after any) {
	if reflect.DeepEqual(before, after) {
		return
	}
	if was, ok := before.(map[string]any); ok {
		if is, ok := after.(map[string]any); ok {
			d.countFields(was, is)
			return
		}
	}
	was, ok1 := before.([]any)
	is, ok2 := after.([]any)
	if !ok1 || !ok2 {
		d.Changed++
		return
	}
	common := min(len(was), len(is))
	for i := range common {
		d.count(was[i], is[i])
	}
	d.Added += len(is) - common
	d.Removed += len(was) - common
}

func (d *deviation) countFields(before, after map[string]any) {
	for name, v := range after {
		if was, ok := before[name]; ok {
			d.count(was, v)
		} else {
			d.Added++
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			d.Removed++
		}
	}
}

// note remembers how an object was found: as desired, or with a deviation. It tells whether one that deviated already does so in another
// way now. Of an object that is as desired though others have set some of it, our entry does not tell of all changes, so that it is watched
// like one that deviates: any change counts.
func (r *run) note(k *task, live *health.Live, d *deviation) (news bool) {
	a, l := r.Applier, r.ledger
	a.mu.Lock()
	defer a.mu.Unlock()
	now, knowledge := a.hub.Lookup(k.ID, l.owner.nameLabel()) // what comes after this is judged after this
	rec := l.records[k.ID]
	if rec == nil {
		rec = &record{}
		l.records[k.ID] = rec
	}
	if knowledge == health.Present && live != nil && now.ResourceVersion == live.ResourceVersion {
		live = &now
	}
	was, again := rec.deviation, rec.look != 0 && k.correct
	rec.mode, rec.merge, rec.vanishes, rec.hidden, rec.writing, rec.tolerated = managed, true, k.vanishes(), false, false, k.tolerated
	rec.accept(k.digest)
	rec.watch(live, d, l.owner.Manager, r.complete(k, live))
	if knowledge == health.Absent && rec.look != 0 {
		rec.look = appearance(nil) // it is there without our label, if it is
	}
	if again && rec.look != 0 {
		rec.fight.correct(a.clock.Now()) // what changes all the time is looked at ever more slowly
	}
	switch {
	case knowledge == health.Present:
		a.judge(l, k.ID, rec, &now)
	case knowledge == health.Absent && k.known:
		a.judge(l, k.ID, rec, nil)
	}
	k.conclude(Unchanged)
	return was != nil && d != nil && was.digest != d.digest
}

// complete tells whether we own all that is desired of a live object, so that our entry tells of changes.
func (r *run) complete(k *task, live *health.Live) bool {
	if live == nil || k.tried == nil {
		return false
	}
	is, ok := own(live, r.owner.Manager)
	would, _ := own(k.tried, r.owner.Manager)
	return ok && is.fields == would.fields
}

// Correct makes the objects as desired of which the last Check has found that they are not, and touches no other one. One that is refused
// does not hold up the others: the result has all that were corrected, also with Errors. The set and the options are those of the Check.
// The result is never nil.
func (a *Applier) Correct(ctx context.Context, c *access.Client, owner Owner, set []*unstructured.Unstructured, o Options) (*Result, error) {
	l, err := a.begin(ctx, owner)
	if err != nil {
		return &Result{}, err
	}
	defer l.end()
	o.drift = true
	objects, _, err := prepare(ctx, owner, set, c.Mapping, o) // what is refused has not been checked either
	if err != nil {
		return &Result{}, err
	}
	r := a.correction(l, c, owner, objects, o)
	var errs Errors
	for _, wave := range waves(r.order, r.tasks, func(k *task) access.ID { return k.ID }) {
		failed := r.each(ctx, wave, r.write)
		errs = append(errs, failed...)
		if len(failed) > 0 {
			continue
		}
		if err := r.await(ctx, r.order.stage(wave[0].ID), wave); err != nil {
			errs = append(errs, &Error{ID: wave[0].ID, Step: Await, Err: err})
		}
	}
	if len(errs) > 0 {
		a.doubt(l)
	}
	result := &Result{Changes: r.changes(), Fights: a.fights(l)}
	a.metrics.corrected(owner.ID, result.Changes)
	return result, errs.or()
}

// doubt says that not all of a set is known any more.
func (a *Applier) doubt(l *ledger) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l.digest = ""
}

// correction returns the run that corrects what is remembered to deviate.
func (a *Applier) correction(l *ledger, c *access.Client, owner Owner, objects []desired, o Options) *run {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	o.Blink = 0
	r := &run{Applier: a, ledger: l, client: c, owner: owner, options: o, order: newOrder(o.Stages)}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range objects {
		d := &objects[i]
		rec := l.records[d.ID]
		if rec == nil || rec.deviation == nil || rec.digest != d.digest {
			continue
		}
		k := &task{desired: d, verdict: suspect, correct: true, dirty: changed, other: rec.other}
		k.live, k.knowledge = a.hub.Lookup(d.ID, owner.nameLabel())
		k.known = k.knowledge == health.Present
		if !k.known && !rec.deviation.Gone {
			k.tried = &health.Live{UID: rec.uid, ResourceVersion: rec.resourceVersion} // it is there, though nobody sees it
		}
		r.tasks = append(r.tasks, k)
	}
	depend(r.tasks)
	return r
}
