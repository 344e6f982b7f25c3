package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// fetch brings the objects of a bucket here.
type fetch struct {
	bucket *bucket
	limits ingest.Limits
	bytes  atomic.Int64 // that came in

	mu     sync.Mutex
	spools []*spool
	pieces map[string]piece  // by path
	etags  map[string]string // by key, of objects that changed since they were listed
	gone   map[string]bool   // by key
}

func newFetch(b *bucket) *fetch {
	return &fetch{
		bucket: b, limits: b.buckets.options.Limits,
		pieces: map[string]piece{}, etags: map[string]string{}, gone: map[string]bool{},
	}
}

// close gives the disk back.
func (f *fetch) close() {
	for _, s := range f.spools {
		s.close()
	}
}

// spool returns a new spool for one worker.
func (f *fetch) spool() (*spool, error) {
	s, err := newSpool(f.bucket.buckets.options.Dir)
	if err != nil {
		return nil, err
	}

	f.mu.Lock()
	defer f.mu.Unlock()

	f.spools = append(f.spools, s)

	return s, nil
}

// all brings the files here: those that are in the earlier archive, which may be nil, from there.
func (f *fetch) all(ctx context.Context, files []file, e *earlier) error {
	if err := f.take(ctx, files, e); err != nil {
		return err
	}

	todo := make([]file, 0, len(files)-len(f.pieces))
	for _, o := range files {
		if _, ok := f.pieces[o.path]; !ok {
			todo = append(todo, o)
		}
	}

	q := &queue{left: len(todo), running: map[int]context.CancelFunc{}}

	var all sync.WaitGroup

	for range min(len(todo), f.bucket.buckets.options.Parallel) {
		s, err := f.spool()
		if err != nil {
			q.fail(0, err)

			break
		}

		all.Go(func() {
			for {
				n, own := q.next(ctx)
				if own == nil {
					return
				}

				q.fail(n, f.one(own, todo[n], s))
			}
		})
	}

	all.Wait()

	return q.err
}

// queue hands out the numbers of what is to be done. Of what fails, the one with the lowest number counts, and what comes after it
// is given up: the same bucket fails with the same words each time, although many objects are asked for at once.
type queue struct {
	left int

	mu      sync.Mutex
	taken   int
	failed  int // the number of err
	err     error
	running map[int]context.CancelFunc
}

// next returns the next number and the context for it, which is nil if there is nothing left to do. The context is given back to
// fail.
func (q *queue) next(ctx context.Context) (n int, own context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()

	if q.err != nil || q.taken == q.left {
		return 0, nil
	}

	n = q.taken
	q.taken++
	own, q.running[n] = context.WithCancel(ctx) //nolint:gosec // fail calls it

	return n, own
}

// fail ends the work on a number. Without an error, it is done.
func (q *queue) fail(n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()

	if cancel := q.running[n]; cancel != nil {
		cancel()
		delete(q.running, n)
	}

	if err == nil || q.err != nil && n >= q.failed {
		return
	}

	q.failed, q.err = n, err

	for other, cancel := range q.running {
		if other > n {
			cancel()
		}
	}
}

// one fetches one object. What nobody expects of foreign bytes must not end the process.
func (f *fetch) one(ctx context.Context, o file, s *spool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()

	if ctx.Err() != nil {
		return context.Cause(ctx)
	}

	content, etag, err := f.bucket.open(ctx, o.object)
	if errors.Is(err, errGone) {
		f.mu.Lock()
		defer f.mu.Unlock()

		f.gone[o.key] = true

		return nil
	}

	if err != nil {
		return fmt.Errorf("get %q: %w", o.key, err)
	}
	defer content.Close() //nolint:errcheck // it was only read

	p, err := s.add(&meter{Reader: content, fetch: f, name: o.path})
	if err != nil {
		return fmt.Errorf("get %q: %w", o.key, ingest.RedactError(err))
	}

	f.mu.Lock()
	defer f.mu.Unlock()

	f.pieces[o.path] = p

	if etag != "" && etag != o.etag {
		f.etags[o.key] = etag
	}

	return nil
}

// meter bounds what comes in: the storage may send more than it listed.
type meter struct {
	io.Reader

	fetch *fetch
	name  string
	bytes int64
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)

	if m.bytes += int64(n); m.bytes > m.fetch.limits.FileBytes {
		return 0, &ingest.LimitError{Names: []string{m.name}, Max: m.fetch.limits.FileBytes, Unit: "bytes per file"}
	}

	if m.fetch.bytes.Add(int64(n)) > m.fetch.limits.Bytes {
		return 0, &ingest.LimitError{Max: m.fetch.limits.Bytes, Unit: "bytes in all files"}
	}

	return n, err //nolint:wrapcheck // the caller does
}

// now returns the object as it was found, and whether it was.
func (f *fetch) now(o object) (object, bool) {
	if etag, ok := f.etags[o.key]; ok {
		o.etag = etag
	}

	return o, !f.gone[o.key]
}

// found returns the objects that were found, as they were.
func (f *fetch) found(objects []object) []object {
	found := make([]object, 0, len(objects))

	for _, o := range objects {
		if o, ok := f.now(o); ok {
			found = append(found, o)
		}
	}

	return found
}
