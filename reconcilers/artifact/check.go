package artifact

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// stamp identifies a file and its state, as far as that can be told without reading it.
type stamp struct {
	device, inode uint64
	size          int64
	modified      int64 // nanoseconds since 1970
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(sys.Dev), sys.Ino //nolint:unconvert // not an uint64 everywhere
	}

	return s
}

// maxReading is how many files are read at a time to tell their digests.
const maxReading = 2

// sumKey is what a digest is computed of.
type sumKey struct {
	stamp
	algorithm digest.Algorithm
}

// sum is a digest that is being computed, for all who want to know it.
type sum struct {
	done   chan struct{}
	digest digest.Digest
	err    error
}

// check compares a file with a digest, and reads it only if it is not known to have it.
func (s *Store) check(name string, d digest.Digest) error {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w in storage", ErrNotFound)
	}

	if err != nil {
		return fmt.Errorf("stat artifact: %w", err)
	}

	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w in storage: no regular file", ErrNotFound)
	}

	if s.trusted(info) == d {
		return nil
	}

	f, err := open(name)
	if err != nil {
		return fmt.Errorf("open artifact: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read

	_, err = s.examine(f, d)

	return err
}

// open opens a file, and follows no link in its place.
func open(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
}

// examine compares an open file with a digest, and reads it only if it is not known to have it.
func (s *Store) examine(f *os.File, d digest.Digest) (fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat artifact: %w", err)
	}

	if s.trusted(info) == d {
		return info, nil
	}

	got, err := s.sum(f, info, d.Algorithm())
	if err != nil {
		return info, err
	}

	if got != d {
		return info, fmt.Errorf("%w: computed %q, expected %q", ErrDigestMismatch, got, d)
	}

	s.trust(info, d) // as it was before it was read: a change in between shows

	return info, nil
}

// trusted returns the digest that a file in this state is known to have, or nothing.
func (s *Store) trusted(info fs.FileInfo) digest.Digest {
	s.mu.RLock()
	defer s.mu.RUnlock()

	return s.checks[stampOf(info)]
}

// trust takes the word of the caller that a file has the digest.
func (s *Store) trust(info fs.FileInfo, d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.checks[stampOf(info)] = d
}

// distrust forgets about a file.
func (s *Store) distrust(info fs.FileInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()

	delete(s.checks, stampOf(info))
}

// sum reads a file, once for all who ask at the same time, and few files at a time.
func (s *Store) sum(f *os.File, info fs.FileInfo, algorithm digest.Algorithm) (digest.Digest, error) {
	if !algorithm.Available() {
		return "", fmt.Errorf("digest algorithm %q is not available", algorithm)
	}

	key := sumKey{stampOf(info), algorithm}

	s.mu.Lock()

	if other, ok := s.sums[key]; ok {
		s.mu.Unlock()
		<-other.done

		return other.digest, other.err
	}

	mine := &sum{done: make(chan struct{})}
	s.sums[key] = mine
	s.mu.Unlock()

	s.reading <- struct{}{}
	mine.digest, mine.err = read(f, algorithm)
	<-s.reading

	s.mu.Lock()
	delete(s.sums, key)
	s.mu.Unlock()

	close(mine.done)

	return mine.digest, mine.err
}

// read returns the digest of a file, and leaves its offset alone.
func read(f *os.File, algorithm digest.Algorithm) (digest.Digest, error) {
	const most = 1 << 62

	digester := algorithm.Digester()
	if _, err := io.Copy(digester.Hash(), io.NewSectionReader(f, 0, most)); err != nil {
		return "", fmt.Errorf("read artifact: %w", err)
	}

	return digester.Digest(), nil
}
