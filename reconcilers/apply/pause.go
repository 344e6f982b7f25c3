package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// look is the time between two looks at what the hub does not see.
const look = 2 * time.Second

// Waiting is the error of an Apply with a blink that has come to a stage whose effect is not there yet. What was applied
// counts. The next Apply of the owner goes on where this one stopped.
type Waiting struct { //nolint:errname // it is no failure
	// Goal is what is awaited, for the hub. It has no IDs if the hub sees nothing of that.
	Goal health.Goal
	// After is when to apply again at the latest, whatever the hub says.
	After time.Duration

	unseen []access.ID // what the hub does not see
}

// Error implements error.
func (w *Waiting) Error() string {
	var names []string
	for _, id := range slices.Concat(w.Goal.IDs, w.unseen) {
		names = append(names, id.String())
	}
	return "waiting for " + strings.Join(names, ", ")
}

// pause is where an Apply stopped.
type pause struct {
	since   time.Time
	ids     map[access.ID]bool // what it waits for, and whether the hub sees it
	gone    bool               // what is awaited is the end of these
	trials  map[access.ID]trial
	done    map[access.ID]Action // what was done so far, and nobody was told
	granted bool                 // a cluster role was written
}

// trial is the answer of a dry run that is still to be followed by a write.
type trial struct {
	digest   uint64
	version  string // of the live object that it was compared with
	answer   *health.Live
	recreate bool
}

// pause remembers where the run stopped.
func (r *run) pause(w *Waiting) *pause {
	p := &pause{
		since: r.since, gone: w.Goal.Gone, granted: r.granted,
		ids: map[access.ID]bool{}, trials: map[access.ID]trial{}, done: map[access.ID]Action{},
	}
	for _, id := range w.Goal.IDs {
		p.ids[id] = true
	}
	for _, id := range w.unseen {
		p.ids[id] = false
	}
	for _, k := range r.tasks {
		switch {
		case k.settled:
			p.done[k.ID] = k.whole()
		case k.tried != nil || k.recreate:
			p.trials[k.ID] = trial{digest: k.digest, version: k.live.ResourceVersion, answer: k.tried, recreate: k.recreate}
		}
	}
	return p
}

// recall takes over from the run that stopped what it has found out about an object.
func (p *pause) recall(k *task) {
	k.before = p.done[k.ID]
	t, ok := p.trials[k.ID]
	if ok && k.verdict == suspect && t.digest == k.digest && t.version == k.live.ResourceVersion {
		k.try, k.tried, k.recreate = false, t.answer, t.recreate
	}
}

// checked tells whether the run that stopped has dealt with the object already, as far as it is in this set.
func (p *pause) checked(id access.ID) bool {
	if p == nil {
		return false
	}
	_, ok := p.done[id]
	return ok
}

// resume waits on for what the last run has waited for, unless the set has changed and makes that void.
func (r *run) resume(ctx context.Context) error {
	p := r.from
	if p == nil {
		return nil
	}
	var wait []*task
	for _, k := range r.tasks {
		if _, ok := p.ids[k.ID]; ok && (p.gone || k.verdict == clean) {
			wait = append(wait, k)
		}
	}
	if len(wait) == 0 {
		return nil
	}
	r.since = p.since
	if !p.gone {
		return r.established(ctx, wait)
	}
	if errs := r.each(ctx, wait, func(ctx context.Context, k *task) *Error {
		_, knowledge := r.hub.Lookup(k.ID, r.owner.nameLabel())
		if !p.ids[k.ID] || knowledge != health.Absent {
			if err := r.vanish(ctx, k); err != nil {
				return &Error{ID: k.ID, Step: Write, Err: err}
			}
		}
		k.live, k.known, k.knowledge = health.Live{}, false, health.Absent
		k.tried, k.try, k.recreate = nil, false, false
		return nil
	}); len(errs) > 0 {
		return errs.waiting()
	}
	return nil
}

// waiting returns the one wait that the errors come to if there is nothing else among them.
func (e Errors) waiting() error {
	var sum *Waiting
	var others Errors
	for _, err := range e {
		w, ok := errors.AsType[*Waiting](err.Err)
		switch {
		case !ok:
			others = append(others, err)
		case sum == nil:
			sum = &Waiting{Goal: w.Goal, After: w.After, unseen: w.unseen}
		default:
			sum.Goal.IDs = slices.Concat(sum.Goal.IDs, w.Goal.IDs)
			sum.unseen = slices.Concat(sum.unseen, w.unseen)
			sum.After = min(sum.After, w.After)
		}
	}
	if sum == nil || len(others) > 0 {
		return others.or()
	}
	return sum
}

// established waits until all of a stage has taken effect.
func (r *run) established(ctx context.Context, wrote []*task) error {
	ids := make([]access.ID, len(wrote))
	for i, k := range wrote {
		ids[i] = k.ID
	}
	if err := r.settle(ctx, health.Goal{IDs: ids}); err != nil {
		return err
	}
	for _, k := range wrote {
		if isDefinition(k.ID) {
			r.client.Factory().Learn(&unstructured.Unstructured{Object: k.object})
		}
	}
	return nil
}

// vanish waits until an object that was deleted is gone.
func (r *run) vanish(ctx context.Context, k *task) error {
	if _, knowledge := r.hub.Lookup(k.ID, r.owner.nameLabel()); k.known && knowledge != health.Blind {
		return r.settle(ctx, health.Goal{IDs: []access.ID{k.ID}, Gone: true})
	}
	return r.unseen(ctx, k)
}

// settle waits for a goal. What cannot be watched is read now and then. With a blink, it does not wait longer than that.
func (r *run) settle(ctx context.Context, g health.Goal) error {
	left := r.left()
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(min(left, r.options.Blink), left))
	defer cancel()
	const poll = 500 * time.Millisecond
	for {
		step, stop := ctx, context.CancelFunc(func() {})
		blind := r.hub.Blind(r.owner.ID)
		if blind {
			_ = r.hub.Poll(ctx, r.client, r.owner.ID) // what cannot be read is reported when time is up
			step, stop = context.WithTimeout(ctx, poll)
		}
		report, ok := r.hub.Settle(step, r.owner.ID, g)
		stop()
		if ok && len(report.Failed) == 0 {
			return nil
		}
		if !ok && r.blinked(ctx, left) {
			w := &Waiting{Goal: g, After: left}
			if blind {
				w.After = min(left, look)
			}
			return w
		}
		if ok || ctx.Err() != nil {
			return unsettled(report, g, ctx.Err())
		}
	}
}

// left returns how long the wait that goes on may still last. The first call begins it.
func (r *run) left() time.Duration {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		r.since = now
	}
	return max(r.options.Timeout-now.Sub(r.since), time.Nanosecond)
}

// blinked tells whether a wait ended only because it may not take longer in one go.
func (r *run) blinked(ctx context.Context, left time.Duration) bool {
	return r.options.Blink > 0 && r.options.Blink < left && errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

func unsettled(report health.Report, g health.Goal, cause error) error {
	var errs Errors
	for _, c := range slices.Concat(report.Failed, report.InProgress, report.Unknown) {
		errs = append(errs, &Error{ID: c.ID, Step: Await, Err: fmt.Errorf("status: '%s': %s", c.Status, c.Message)})
	}
	if g.Gone {
		for _, c := range report.Current {
			errs = append(errs, &Error{ID: c.ID, Step: Await, Err: errors.New("it is still there")})
		}
	}
	if len(errs) == 0 {
		return cause
	}
	return errs
}

// unseen waits until an object that the hub does not see is gone.
func (r *run) unseen(ctx context.Context, k *task) error {
	left := r.left()
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		if _, err := r.client.GetMeta(ctx, k.Ref); apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		if r.options.Blink > 0 && pause > r.options.Blink && left > time.Nanosecond {
			return &Waiting{Goal: health.Goal{Gone: true}, After: min(left, look), unseen: []access.ID{k.ID}}
		}
		if err := r.sleep(ctx, pause); err != nil {
			return err
		}
	}
}
