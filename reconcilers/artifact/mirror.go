package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// MirrorOptions are the parameters of a Mirror.
type MirrorOptions struct {
	// Store takes the artifacts.
	Store *Store

	// Client fetches from the other store. Nil means one that refuses link-local addresses.
	Client *http.Client

	// MaxBytes of one artifact. Zero means 4 GiB.
	MaxBytes int64

	// Concurrency is how many artifacts are fetched at a time. Zero means 4.
	Concurrency int

	// Timeout of one fetch. Zero means 5 min.
	Timeout time.Duration

	// Retry says how long to wait after a failure. Nil means 500 ms, doubled each time, 1 min at most.
	Retry workqueue.TypedRateLimiter[Owner]

	// Report is told of each attempt to bring the artifact of an owner here, and why it failed, if it did. It is called from
	// several goroutines at a time. Nil means nobody is told.
	Report func(Owner, error)
}

// Mirror keeps the store of a process that stands by like the one of the process that it would follow: it fetches the artifacts
// that it is told of from where they are served. When the process takes over, they are all there. It is safe for concurrent
// use.
type Mirror struct {
	options MirrorOptions
	queue   workqueue.TypedRateLimitingInterface[Owner]

	stop    context.CancelFunc
	workers sync.WaitGroup

	mu     sync.Mutex
	wanted map[Owner]wanted
}

// wanted is what an owner has in the other store.
type wanted struct {
	artifact *meta.Artifact
	aliases  []string
	here     bool
}

// NewMirror returns a mirror that works until the context ends, or until Stop.
func NewMirror(ctx context.Context, o MirrorOptions) *Mirror {
	o = o.withDefaults()
	ctx, stop := context.WithCancel(ctx)

	m := &Mirror{
		options: o, queue: workqueue.NewTypedRateLimitingQueue(o.Retry),
		stop: stop, wanted: map[Owner]wanted{},
	}

	context.AfterFunc(ctx, m.queue.ShutDown)

	for range o.Concurrency {
		m.workers.Go(func() { m.work(ctx) })
	}

	return m
}

func (o MirrorOptions) withDefaults() MirrorOptions {
	if o.Client == nil {
		o.Client = newClient()
	}

	if o.MaxBytes == 0 {
		o.MaxBytes = 4 << 30
	}

	if o.Concurrency == 0 {
		o.Concurrency = 4
	}

	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}

	if o.Retry == nil {
		o.Retry = workqueue.NewTypedItemExponentialFailureRateLimiter[Owner](500*time.Millisecond, time.Minute)
	}

	if o.Report == nil {
		o.Report = func(Owner, error) {}
	}

	return o
}

// Want says which artifact an owner has now, and under which names beside its path, such as latest.tar.gz, it is served. Nil
// means none, as while a lost one is made again: what was here before stays.
func (m *Mirror) Want(owner Owner, a *meta.Artifact, aliases ...string) {
	owner = owner.lower()

	m.mu.Lock()
	defer m.mu.Unlock()

	have, ok := m.wanted[owner]
	if ok && same(have.artifact, a) && slices.Equal(have.aliases, aliases) {
		return
	}

	m.wanted[owner] = wanted{artifact: a.DeepCopy(), aliases: slices.Clone(aliases), here: a == nil}

	m.queue.Forget(owner) // another artifact has nothing to do with the failures of the last one
	m.queue.Add(owner)
}

// same tells whether two artifacts need the same files.
func same(a, b *meta.Artifact) bool {
	if a == nil || b == nil {
		return a == b
	}

	return a.Path == b.Path && a.Digest == b.Digest && a.URL == b.URL && a.LastUpdateTime.Equal(&b.LastUpdateTime)
}

// Drop says that an owner is gone. Its artifacts are removed.
func (m *Mirror) Drop(owner Owner) {
	owner = owner.lower()

	m.mu.Lock()
	defer m.mu.Unlock()

	delete(m.wanted, owner)
	m.queue.Forget(owner)
	m.queue.Add(owner)
}

// Lost says that what the store had of an owner is lost: it is fetched again. It fits StoreOptions.Lost.
func (m *Mirror) Lost(owner Owner) {
	owner = owner.lower()

	m.mu.Lock()
	defer m.mu.Unlock()

	if w, ok := m.wanted[owner]; ok {
		w.here = w.artifact == nil
		m.wanted[owner] = w
		m.queue.Add(owner)
	}
}

// Here tells whether what an owner has now is here, or whether nothing is known of it.
func (m *Mirror) Here(owner Owner) bool {
	m.mu.Lock()
	defer m.mu.Unlock()

	w, ok := m.wanted[owner.lower()]

	return !ok || w.here
}

// Pending returns how many artifacts are wanted and not here.
func (m *Mirror) Pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()

	n := 0

	for _, w := range m.wanted {
		if !w.here {
			n++
		}
	}

	return n
}

// Stop ends the mirror. Once it returns, the store belongs to others; what comes later is ignored.
func (m *Mirror) Stop() {
	m.stop()
	m.workers.Wait()
}

func (m *Mirror) work(ctx context.Context) {
	for {
		owner, down := m.queue.Get()
		if down {
			return
		}

		if ctx.Err() == nil {
			m.one(ctx, owner)
		}

		m.queue.Done(owner)
	}
}

// one brings the store up to date for an owner.
func (m *Mirror) one(ctx context.Context, owner Owner) {
	m.mu.Lock()
	w, ok := m.wanted[owner]
	m.mu.Unlock()

	if !ok {
		_, err := m.options.Store.Remove(owner)
		m.end(owner, err)

		return
	}

	if w.artifact == nil {
		return
	}

	err := m.bring(ctx, owner, w)
	if ctx.Err() != nil {
		return // the attempt says nothing
	}

	m.mu.Lock()
	now, ok := m.wanted[owner]

	if ok && same(now.artifact, w.artifact) {
		now.here = err == nil
		m.wanted[owner] = now
	}
	m.mu.Unlock()

	m.end(owner, err)
}

// end tells how an attempt ended, and lets another one follow if need be.
func (m *Mirror) end(owner Owner, err error) {
	if err != nil {
		m.queue.AddRateLimited(owner)
	} else {
		m.queue.Forget(owner)
	}

	m.options.Report(owner, err)
}

// bring gets an artifact into the store, unless it is there, under all its names.
func (m *Mirror) bring(ctx context.Context, owner Owner, w wanted) error {
	at, d, err := place(w.artifact)
	if err != nil {
		return err
	}

	if path.Dir(w.artifact.Path) != owner.Path() {
		return fmt.Errorf("%w: %q is none of %q", ErrInvalidPath, w.artifact.Path, owner.Path())
	}

	s := m.options.Store

	err = s.Verify(w.artifact)
	if errors.Is(err, ErrDigestMismatch) {
		err = errors.Join(ErrNotFound, s.Discard(w.artifact))
	}

	if errors.Is(err, ErrNotFound) { // another owner may have the same content
		err = s.relink(at, d, w.artifact.LastUpdateTime.Time)
	}

	if errors.Is(err, ErrNotFound) {
		err = m.fetch(ctx, w.artifact)
	}

	if err != nil {
		return err
	}

	for _, name := range w.aliases {
		if _, err := s.Alias(at, name); err != nil {
			return err
		}
	}

	_, err = s.Collect(owner, w.artifact)

	return err
}

// fetch gets an artifact from where it is served.
func (m *Mirror) fetch(ctx context.Context, a *meta.Artifact) error {
	most := m.options.MaxBytes
	if a.Size != nil && *a.Size > most {
		return fmt.Errorf("fetch artifact %q: %w", ingest.Redact(a.URL), tooLarge(most))
	}

	ctx, cancel := context.WithTimeoutCause(ctx, m.options.Timeout, fmt.Errorf("timed out after %s", m.options.Timeout))
	defer cancel()

	err := m.options.Store.Restore(ctx, a, func(w io.Writer) error {
		body, err := download(ctx, m.options.Client, a)
		if err != nil {
			return err
		}
		defer body.Close()

		n, err := io.Copy(w, io.LimitReader(body, most+1))
		if err == nil && n > most {
			err = tooLarge(most)
		}

		if err != nil {
			return fmt.Errorf("fetch artifact %q: %w", ingest.Redact(a.URL), err)
		}

		return nil
	})
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("fetch artifact %q: %w", ingest.Redact(a.URL), context.Cause(ctx))
	}

	return err
}

func tooLarge(most int64) error {
	return &ingest.LimitError{Max: most, Unit: "bytes per artifact"}
}
