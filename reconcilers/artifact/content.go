package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Add stores what content writes without a location, for several owners that will Link it. Without one, it goes with the call
// of release.
func (s *Store) Add(ctx context.Context, content Content) (d digest.Digest, release func(), err error) {
	return s.add(ctx, content, s.options.Algorithm, func(digest.Digest) error { return nil })
}

// add stores what content writes by its digest of the algorithm, if that is accepted.
func (s *Store) add(ctx context.Context, content Content, algorithm digest.Algorithm, accept func(digest.Digest) error,
) (d digest.Digest, release func(), err error) {
	// The directory is made again if somebody cleared the storage.
	dir := filepath.Join(s.options.Root, tempDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make directory: %w", err)
	}

	temp, err := os.CreateTemp(dir, "put-*")
	if err != nil {
		return "", nil, fmt.Errorf("make temporary file: %w", err)
	}

	defer os.Remove(temp.Name()) //nolint:errcheck // it is usually gone

	sum := algorithm.Digester()

	err = content(&contextWriter{ctx: ctx, w: io.MultiWriter(temp, sum.Hash())})
	if e := temp.Close(); err == nil && e != nil {
		err = fmt.Errorf("close temporary file: %w", e)
	}

	if err == nil {
		err = accept(sum.Digest())
	}

	if err != nil {
		return "", nil, err
	}

	_ = s.check(s.blob(sum.Digest()), sum.Digest()) // what has to be read is read without the lock

	if err := s.adopt(temp.Name(), sum.Digest()); err != nil {
		return "", nil, err
	}

	return sum.Digest(), sync.OnceFunc(func() { s.unpin(sum.Digest()) }), nil
}

// adopt makes a finished file the content of the digest, unless there is one already, and pins it.
func (s *Store) adopt(file string, d digest.Digest) error {
	s.write.Lock()
	defer s.write.Unlock()

	blob := s.blob(d)
	if s.sound(d) != nil {
		if err := os.MkdirAll(filepath.Dir(blob), 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}

		if err := os.Rename(file, blob); err != nil {
			return fmt.Errorf("store content: %w", err)
		}

		info, err := os.Lstat(blob)
		if err != nil {
			return fmt.Errorf("store content: %w", err)
		}

		s.trust(info, d)
	}

	s.pins[d]++

	return nil
}

func (s *Store) unpin(d digest.Digest) {
	s.write.Lock()
	defer s.write.Unlock()

	if s.pins[d]--; s.pins[d] == 0 {
		delete(s.pins, d)
		s.reap(d)
	}
}

// Open returns the content of the digest, or ErrNotFound. The content is not checked: who reads it and
// finds it wrong is to say so by Doubt.
func (s *Store) Open(d digest.Digest) (*os.File, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", d, err)
	}

	f, err := os.Open(s.blob(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("content of digest %s: %w", d, ErrNotFound)
	}

	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}

	return f, nil
}

// Doubt says that the content of the digest turned out to be another one when it was read. If that is so, its owners are told.
func (s *Store) Doubt(d digest.Digest) {
	if info, err := os.Lstat(s.blob(d)); err == nil {
		s.distrust(info)
	}

	if err := s.check(s.blob(d), d); !errors.Is(err, ErrDigestMismatch) { // read without the lock
		return
	}

	s.write.Lock()
	defer s.write.Unlock()

	_ = s.sound(d)
}

// index makes content known by its digest. Without that, it is stored again when it comes again. The caller holds the write
// lock.
func (s *Store) index(at Location, d digest.Digest) {
	if err := os.MkdirAll(filepath.Dir(s.blob(d)), 0o700); err == nil {
		_ = os.Link(s.file(at.Path()), s.blob(d))
	}
}

// contextWriter fails once its context has ended.
type contextWriter struct {
	ctx context.Context //nolint:containedctx // it lives as long as the call that was given the context
	w   io.Writer
}

// Write implements io.Writer.
func (c *contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}

	return c.w.Write(p)
}
