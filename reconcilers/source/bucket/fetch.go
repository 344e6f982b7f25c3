package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

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

	var next atomic.Int64

	g, ctx := errgroup.WithContext(ctx)

	for range min(len(todo), f.bucket.buckets.options.Parallel) {
		g.Go(func() error {
			s, err := f.spool()
			if err != nil {
				return err
			}

			for n := next.Add(1); n <= int64(len(todo)); n = next.Add(1) {
				if err := f.one(ctx, todo[n-1], s); err != nil {
					return err
				}
			}

			return nil
		})
	}

	return g.Wait() //nolint:wrapcheck // the caller does
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
