package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// fetch brings the objects of a bucket into a directory.
type fetch struct {
	bucket *bucket
	root   *os.Root
	limits ingest.Limits
	bytes  atomic.Int64 // that came in
	buffer sync.Pool    // of *[]byte

	mu    sync.Mutex
	etags map[string]string // by key, of objects that changed since they were listed
	gone  map[string]bool   // by key
}

// bufferSize is what copying takes.
const bufferSize = 32 << 10

func newFetch(b *bucket, dir string) (*fetch, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}

	return &fetch{
		bucket: b, root: root, limits: b.buckets.options.Limits, etags: map[string]string{}, gone: map[string]bool{},
		buffer: sync.Pool{New: func() any { return new(make([]byte, bufferSize)) }},
	}, nil
}

func (f *fetch) close() { _ = f.root.Close() }

// earlier is an archive from which files are taken.
type earlier struct {
	past

	open func() (*os.File, error)
}

// all brings the files into the directory: those that are in the earlier archive, which may be nil, from there.
func (f *fetch) all(ctx context.Context, files []file, e *earlier) error {
	have, err := f.take(ctx, files, e)
	if err != nil {
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, cap(f.bucket.buckets.gate)*2/3))

	for _, o := range files {
		if have[o.path] {
			continue
		}

		g.Go(func() error {
			select {
			case f.bucket.buckets.gate <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			defer func() { <-f.bucket.buckets.gate }()

			return f.one(ctx, o)
		})
	}

	return g.Wait() //nolint:wrapcheck // the caller does
}

// one fetches one object. What nobody expects of foreign bytes must not end the process.
func (f *fetch) one(ctx context.Context, o file) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()

	if err := ctx.Err(); err != nil {
		return err
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

	if etag != "" && etag != o.etag {
		f.mu.Lock()
		f.etags[o.key] = etag
		f.mu.Unlock()
	}

	if err := f.write(o.path, content); err != nil {
		return fmt.Errorf("get %q: %w", o.key, err)
	}

	return nil
}

// write makes a file of what comes in, as long as that is not too much.
func (f *fetch) write(name string, content io.Reader) (err error) {
	if dir := path.Dir(name); dir != "." {
		if err := f.root.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}

	out, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}

	defer func() {
		if e := out.Close(); err == nil && e != nil {
			err = fmt.Errorf("close file: %w", e)
		}
	}()

	buffer := f.buffer.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer f.buffer.Put(buffer)

	_, err = io.CopyBuffer(&meter{out: out, fetch: f, name: name}, struct{ io.Reader }{content}, *buffer)

	return err //nolint:wrapcheck // the caller does
}

// meter bounds what is written: the storage may send more than it listed.
type meter struct {
	out   io.Writer
	fetch *fetch
	name  string
	bytes int64
}

// Write implements io.Writer.
func (m *meter) Write(p []byte) (int, error) {
	n := int64(len(p))

	if m.bytes += n; m.bytes > m.fetch.limits.FileBytes {
		return 0, &ingest.LimitError{Names: []string{m.name}, Max: m.fetch.limits.FileBytes, Unit: "bytes per file"}
	}

	if m.fetch.bytes.Add(n) > m.fetch.limits.Bytes {
		return 0, &ingest.LimitError{Max: m.fetch.limits.Bytes, Unit: "bytes in all files"}
	}

	return m.out.Write(p) //nolint:wrapcheck // it names the file
}

// take takes files from an earlier archive, and returns the paths of those that it took. An archive that is not what it should be
// gives none.
func (f *fetch) take(ctx context.Context, files []file, e *earlier) (map[string]bool, error) {
	wanted := map[string]bool{}

	if e != nil {
		for _, o := range files {
			if e.members.has(o.object) {
				wanted[o.path] = true
			}
		}
	}

	if len(wanted) == 0 {
		return nil, nil
	}

	taken, err := f.unpack(ctx, wanted, e)
	if err == nil {
		return taken, nil
	}

	if err := ctx.Err(); err != nil {
		return nil, err
	}

	// All of it is fetched: whatever is wrong with the archive shows when it is checked the next time.
	for name := range taken {
		if err := f.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("remove file: %w", err)
		}
	}

	f.bytes.Store(0)

	return nil, nil
}

// unpack writes the wanted files of an archive, and returns which it wrote or began to, even with an error.
func (f *fetch) unpack(ctx context.Context, wanted map[string]bool, e *earlier) (map[string]bool, error) {
	taken := map[string]bool{}

	in, err := e.open()
	if err != nil {
		return taken, err
	}
	defer in.Close() //nolint:errcheck // it was only read

	sum := e.digest.Verifier()
	all := io.TeeReader(in, sum)

	limits := f.limits
	limits.Ratio = math.MaxInt64 // we made it

	_, err = ingest.ReadTar(ctx, all, limits, func(t ingest.TarFile, content io.Reader) error {
		if !wanted[t.Name] || taken[t.Name] {
			return nil
		}

		taken[t.Name] = true

		return f.write(t.Name, content)
	})
	if err != nil {
		return taken, fmt.Errorf("unpack artifact: %w", err)
	}

	if _, err := io.Copy(io.Discard, all); err != nil {
		return taken, fmt.Errorf("read artifact: %w", err)
	}

	if !sum.Verified() {
		return taken, artifact.ErrDigestMismatch
	}

	return taken, nil
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
