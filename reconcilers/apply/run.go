package apply

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// run is one Apply on its way.
type run struct {
	*Applier
	ledger  *ledger
	client  *access.Client
	owner   Owner
	options Options
	order   order
	tasks   []*task // in the order of application
	refused Errors  // objects that are no tasks, since they cannot be applied at all

	from  *pause    // where the last run stopped, if it did
	since time.Time // when the wait that goes on began; guarded by the applier's lock

	suspects int  // tasks that the plan suspects
	granting bool // a cluster role of the set is still to be written
	granted  bool // one was written
}

func (a *Applier) plan(l *ledger, c *access.Client, owner Owner, objects []desired, refused Errors, o Options) *run {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	see := func(id access.ID) (health.Live, health.Knowledge) { return a.hub.Lookup(id, owner.nameLabel()) }
	a.mu.Lock()
	defer a.mu.Unlock()
	from := l.pause
	l.pause = nil
	full := func(id access.ID) bool { return o.Full && !from.checked(id) }
	tasks := plan(owner, objects, l.records, l.takeovers, see, a.clock.Now(), full)
	for _, k := range tasks {
		if r := l.records[k.ID]; r != nil && k.verdict == clean {
			r.dirty = "" // whatever an event has said before; what one says from now on counts
		}
	}
	r := &run{
		Applier: a, ledger: l, client: c, owner: owner, options: o, order: newOrder(o.Stages),
		tasks: tasks, refused: refused, from: from,
	}
	if from != nil {
		r.granted = from.granted
		for _, k := range tasks {
			from.recall(k)
		}
	}
	return r
}

// execute tries and then writes what the plan asks for.
func (r *run) execute(ctx context.Context) error {
	r.settleOthers()
	if err := r.resume(ctx); err != nil {
		return err
	}
	if err := r.tryAll(ctx); err != nil {
		return err
	}
	for stage := range stages {
		if stage > foundations {
			if refused := r.tryRound(ctx, (*task).untried); len(refused) > 0 {
				return refused
			}
		}
		if err := r.writeStage(ctx, stage); err != nil {
			return err
		}
	}
	return nil
}

// settleOthers concludes what is not suspect.
func (r *run) settleOthers() {
	for _, k := range r.tasks {
		switch k.verdict {
		case clean, slow:
			k.conclude(Unchanged)
		case skip:
			k.conclude(Skipped)
			if !k.hiddenBefore(r) {
				r.skipped(r.ledger, k)
			}
		case suspect:
			r.suspects++
		}
	}
}

// tryAll dry-runs all that can be tried before anything is written: first what depends on nothing in the set, then what
// depends on something that turned out to be there already.
func (r *run) tryAll(ctx context.Context) error {
	refused := slices.Concat(r.refused, r.tryRound(ctx, func(k *task) bool { return k.untried() && len(k.after) == 0 }))
	open := map[access.ID]bool{}
	for _, k := range r.tasks {
		open[k.ID] = !k.settled
	}
	refused = append(refused, r.tryRound(ctx, func(k *task) bool {
		return k.untried() && len(k.after) > 0 && !slices.ContainsFunc(k.after, func(id access.ID) bool { return open[id] })
	})...)
	slices.SortStableFunc(refused, func(a, b *Error) int { return r.order.compare(a.ID, b.ID) })
	return refused.or()
}

func (r *run) tryRound(ctx context.Context, which func(*task) bool) Errors {
	var round []*task
	r.granting = false
	for _, k := range r.tasks {
		if which(k) {
			round = append(round, k)
		}
		r.granting = r.granting || (k.Kind == "ClusterRole" && !k.settled)
	}
	return r.each(ctx, round, r.try)
}

// try dry-runs one object, and concludes it if there is nothing to write.
func (r *run) try(ctx context.Context, k *task) *Error {
	if err := r.screen(ctx, k); err != nil {
		return &Error{ID: k.ID, Step: DryRun, Err: err}
	}
	m, err := r.send(ctx, k, true)
	r.claim(r.ledger, k.ID, err)
	if err == nil && m.ResourceVersion != "" && len(k.ignores) > 0 && !k.screened {
		return r.tryAgain(ctx, k, m) // nobody knew that it is there
	}
	switch {
	case err == nil:
	case r.mayRecreate(ctx, k, err):
		k.recreate, k.try = true, false
		return nil
	case apierrors.IsForbidden(err) && r.granting && r.order.stage(k.ID) > foundations:
		return nil // may be allowed by what the set is about to grant: tried again after that
	default:
		return &Error{ID: k.ID, Step: DryRun, Err: err}
	}
	live := health.Of(m)
	answer := &live
	k.try, k.tried = false, answer
	exists := answer.ResourceVersion != ""
	switch {
	case exists && (k.marks.ifNotPresent || r.exempts(answer)):
		r.skipped(r.ledger, k)
		k.conclude(Skipped)
	case exists && r.same(k, answer):
		r.applied(r.ledger, k, k.seen(answer), false)
		k.conclude(Unchanged)
	}
	return nil
}

// tryAgain tries an object once more that turned out to exist.
func (r *run) tryAgain(ctx context.Context, k *task, m *metav1.ObjectMeta) *Error {
	live := health.Of(m)
	k.tried = &live
	if err := r.screen(ctx, k); err != nil {
		return &Error{ID: k.ID, Step: DryRun, Err: err}
	}
	k.screened = true // even if it has gone meanwhile
	return r.try(ctx, k)
}

// same tells whether the dry run left the object as it is. The answer does not hold the object, but its resource version
// before the dry run, and our entry among the managers, which an apply that changes anything renews.
func (r *run) same(k *task, answer *health.Live) bool {
	after, ok := own(answer, r.owner.Manager)
	if !ok || r.burdened(k, answer) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.ledger.records[k.ID]
	switch {
	case rec != nil && (rec.digest != k.digest || rec.look != 0):
		return false
	case rec != nil && rec.uid == answer.UID && rec.resourceVersion == answer.ResourceVersion:
		return true // nobody has written it since
	case after.young(r.clock.Now()):
		return false
	case k.known:
		before, ok := own(&k.live, r.owner.Manager)
		return ok && before == after && k.live.UID == answer.UID && k.live.Generation == answer.Generation
	}
	return k.knowledge == health.Blind && rec != nil && rec.uid == answer.UID && rec.mark == after && rec.generation == answer.Generation
}

// mayRecreate tells whether an object may be deleted and created anew because of the refusal. A marker on an object that the
// hub does not see is looked for.
func (r *run) mayRecreate(ctx context.Context, k *task, err error) bool {
	switch {
	case k.recreate || !immutable(err):
		return false
	case r.options.Force || k.marks.force || slices.Contains(r.options.Recreate, k.GroupKind()):
		return true
	case k.known:
		return r.owner.liveMarks(&k.live).force
	}
	m, err := r.client.GetMeta(ctx, k.Ref)
	return err == nil && r.owner.marks(m.Labels, m.Annotations).force
}

// send applies one object and returns the metadata of what became of it.
func (r *run) send(ctx context.Context, k *task, dry bool) (*metav1.ObjectMeta, error) {
	o := access.ApplyOptions{Manager: r.owner.Manager, Force: true, DryRun: dry, Strict: r.options.Strict}
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		m, err := r.client.Apply(ctx, k.Ref, k.content(), o)
		if err == nil {
			return &m.ObjectMeta, nil
		}
		if pause > time.Second || !r.comes(k, err) {
			return nil, err
		}
		if err := r.sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// content is what is sent.
func (k *task) content() []byte {
	if k.payload != nil {
		return k.payload
	}
	return k.body
}

// comes tells whether what was refused may soon be possible: a definition has just been established, or a role written,
// and not all parts of the API server notice at once.
func (r *run) comes(k *task, err error) bool {
	return apierrors.IsForbidden(err) && r.granted || apierrors.IsNotFound(err) && slices.ContainsFunc(k.after, isDefinition)
}

func (r *run) sleep(ctx context.Context, d time.Duration) error {
	t := r.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// writeStage writes what is left of a stage, and waits until it has taken effect where others rely on it.
func (r *run) writeStage(ctx context.Context, stage int) error {
	var todo []*task
	for _, k := range r.tasks {
		if !k.settled && r.order.stage(k.ID) == stage {
			todo = append(todo, k)
		}
	}
	for _, wave := range waves(r.order, todo, func(k *task) access.ID { return k.ID }) {
		r.since = time.Time{}
		if errs := r.each(ctx, wave, r.write); len(errs) > 0 {
			return errs.waiting()
		}
	}
	r.granted = r.granted || slices.ContainsFunc(todo, func(k *task) bool { return k.Kind == "ClusterRole" })
	return r.await(ctx, stage, todo)
}

// await waits for what a stage has written: for definitions to be established, and for classes and the caller's own
// stages to be current. Namespaces and roles need no wait.
func (r *run) await(ctx context.Context, stage int, wrote []*task) error {
	var relied []*task
	for _, k := range wrote {
		if k.action != Unchanged && k.action != Skipped && stage != rest && (stage != foundations || isDefinition(k.ID)) {
			relied = append(relied, k)
		}
	}
	if len(relied) == 0 {
		return nil
	}
	r.since = time.Time{}
	return r.established(ctx, relied)
}

// untried tells whether a dry run is still asked for.
func (k *task) untried() bool { return !k.settled && k.try }

// drifted says what was put back, if that is what was done.
func (k *task) drifted() *Drift {
	if !k.correct || k.action == Unchanged || k.action == Skipped {
		return nil
	}
	return &Drift{Manager: k.other, Fields: k.fields, Gone: k.action == Created}
}

// whole returns what was done to the object by this run and those that stopped before it.
func (k *task) whole() Action {
	if k.action == Unchanged && k.before != "" {
		return k.before
	}
	if k.action == Configured && k.before == Created {
		return Created
	}
	return k.action
}

func (k *task) conclude(a Action) { k.action, k.settled = a, true }

// seen returns the live object that a dry run was compared with: the hub's, whose resource version is real.
func (k *task) seen(answer *health.Live) *health.Live {
	if k.known {
		return &k.live
	}
	return answer
}

func (k *task) hiddenBefore(r *run) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.ledger.records[k.ID]
	return rec != nil && rec.hidden
}

// changes returns what was done, in the order of application.
func (r *run) changes() Changes {
	out := make(Changes, 0, len(r.tasks))
	for _, k := range r.tasks {
		if k.settled {
			out = append(out, Change{Ref: k.Ref, Action: k.whole(), Drift: k.drifted()})
		}
	}
	return out
}
