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

	got, err := hash(name, d.Algorithm())
	if err != nil {
		return err
	}

	if got != d {
		return fmt.Errorf("%w: computed %q, expected %q", ErrDigestMismatch, got, d)
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	s.checks[stampOf(info)] = d // as it was before it was read: a change in between shows

	return nil
}

// trusted returns the digest that a file in this state is known to have, or nothing.
func (s *Store) trusted(info fs.FileInfo) digest.Digest {
	s.mu.RLock()
	defer s.mu.RUnlock()

	return s.checks[stampOf(info)]
}

// trust takes the word of the caller that a file has the digest.
func (s *Store) trust(name string, d digest.Digest) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	s.checks[stampOf(info)] = d

	return nil
}

// distrust forgets about a file.
func (s *Store) distrust(info fs.FileInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()

	delete(s.checks, stampOf(info))
}

func hash(name string, algorithm digest.Algorithm) (digest.Digest, error) {
	if !algorithm.Available() {
		return "", fmt.Errorf("digest algorithm %q is not available", algorithm)
	}

	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("open artifact: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read

	sum := algorithm.Digester()
	if _, err := io.Copy(sum.Hash(), f); err != nil {
		return "", fmt.Errorf("read artifact: %w", err)
	}

	return sum.Digest(), nil
}
