package apply

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// write applies one object.
func (r *run) write(ctx context.Context, k *task) *Error {
	r.writing(r.ledger, k.ID)
	m, err := r.put(ctx, k)
	r.claim(r.ledger, k.ID, err)
	if err != nil {
		r.failed(r.ledger, k.ID)
		return &Error{ID: k.ID, Step: r.step(k, err), Err: err}
	}
	live := health.Of(m)
	r.applied(r.ledger, k, &live, true)
	k.conclude(k.action)
	return nil
}

func (r *run) put(ctx context.Context, k *task) (*metav1.ObjectMeta, error) {
	if k.recreate {
		if err := r.removeFirst(ctx, k); err != nil {
			return nil, err
		}
		k.payload, k.tolerated, k.base = nil, nil, nil
	} else if err := r.screen(ctx, k); err != nil {
		return nil, err
	}
	r.before(ctx, k)
	m, err := r.send(ctx, k, false)
	if err != nil && r.mayRecreate(ctx, k, err) {
		k.recreate = true
		return r.put(ctx, k)
	}
	if err != nil {
		return nil, err
	}
	k.action = outcome(k, m, r.owner.Manager)
	if m, err = r.takeOver(ctx, k, m); err != nil {
		return nil, err
	}
	if k.action == Configured {
		k.fields = r.corrected(k, m)
	}
	return m, nil
}

// step tells a write that was refused as a dry run would have been, with nothing of the set written, from one that was
// not. Both are reported in the words that people know.
func (r *run) step(k *task, err error) Step {
	var answer apierrors.APIStatus
	if r.suspects == 1 && r.from == nil && k.tried == nil && !k.recreate && errors.As(err, &answer) {
		return DryRun
	}
	return Write
}

// outcome tells what an apply did. One that changes nothing is not stored, unless the API server would store the same object in
// another form: with defaults that it did not have, or in another version.
func outcome(k *task, live *metav1.ObjectMeta, manager string) Action {
	before := &k.live
	switch {
	case k.tried != nil:
		before = k.tried
	case k.base != nil:
		before = k.base
	}
	switch {
	case k.recreate, before.ResourceVersion == "", k.known && k.live.UID != live.UID:
		return Created
	case before.ResourceVersion == live.ResourceVersion:
		return Unchanged
	case k.known && k.restored(live, manager):
		return Unchanged
	}
	return Configured
}

// restored tells that a write has changed nothing but the form in which the object is stored. Without a generation, nothing tells that.
func (k *task) restored(m *metav1.ObjectMeta, manager string) bool {
	after := health.Of(m)
	was, before := own(&k.live, manager)
	is, _ := own(&after, manager)
	return before && was == is && after.Generation > 0 && k.live.Generation == after.Generation &&
		maps.Equal(k.live.Labels, after.Labels) && maps.Equal(k.live.Annotations, after.Annotations)
}

// removeFirst deletes the object and waits until it is gone.
func (r *run) removeFirst(ctx context.Context, k *task) error {
	uid := k.live.UID
	if !k.known {
		m, err := r.client.GetMeta(ctx, k.Ref)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		uid = m.UID
	}
	err := r.client.Delete(ctx, k.Ref, access.DeleteOptions{UID: uid, Propagation: metav1.DeletePropagationBackground})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return r.vanish(ctx, k)
}

// each does something with all tasks in parallel and returns the errors in the order of the tasks. What is done to one
// task must not look at the others.
func (r *run) each(ctx context.Context, tasks []*task, fn func(context.Context, *task) *Error) Errors {
	results := make([]*Error, len(tasks))
	parallel(len(tasks), r.options.Concurrency, func(i int) { results[i] = fn(ctx, tasks[i]) })
	return slices.DeleteFunc(results, func(e *Error) bool { return e == nil })
}

// parallel calls fn for each index below n, at most so many at a time.
func parallel(n, most int, fn func(int)) {
	if n == 1 {
		fn(0)
		return
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, most) {
		wg.Go(func() {
			for i := range next {
				fn(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
