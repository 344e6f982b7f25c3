package artifact

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Audit looks whether all files that this process knows are still there and as they were, and tells the owners of those that
// are not. It reads a file only if it looks changed: thousands of paths take milliseconds. It is meant to be called every few
// seconds.
func (s *Store) Audit(ctx context.Context) {
	s.mu.RLock()
	links := maps.Clone(s.links)
	s.mu.RUnlock()

	var gone []string

	for p, l := range links {
		if ctx.Err() != nil {
			return
		}

		if s.audit(p, l) {
			gone = append(gone, p)
		}
	}

	s.tell(s.missing(gone...))
	s.tidy()
}

// audit looks at one path. It tells whether the file is gone.
func (s *Store) audit(p string, l link) bool {
	info, err := os.Lstat(s.file(p))

	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode().IsRegular():
		return true
	case err != nil:
		s.troubled(p)

		return false
	case s.trusted(info) == l.digest:
		if l.trouble {
			s.settled(p)
		}

		return false
	case !l.verified, // what was only found is read when somebody wants it
		l.trouble && l.wrong == stampOf(info): // and what is known to be wrong not again and again
		return false
	}

	err = s.check(s.file(p), l.digest)

	switch {
	case errors.Is(err, ErrNotFound):
		return true
	case errors.Is(err, ErrDigestMismatch):
		s.corrupt(p, l.digest, info)
	case err != nil:
		s.troubled(p)
	}

	return false
}

// missing forgets the paths that have no file, and returns their owners.
func (s *Store) missing(paths ...string) []Owner {
	s.write.Lock()
	defer s.write.Unlock()

	var owners []Owner

	for _, p := range paths {
		l, ok := s.known(p)
		if info, err := os.Lstat(s.file(p)); !ok || err == nil && info.Mode().IsRegular() {
			continue // it was removed, or stored anew, in between
		}

		owners = append(owners, s.forget(p))
		s.orphans[l.digest] = s.options.Now()
	}

	return owners
}

// corrupt clears away the file of a path that does not have its digest, if it is still the one that was looked at, and tells
// all owners of it.
func (s *Store) corrupt(p string, d digest.Digest, looked fs.FileInfo) {
	s.write.Lock()
	defer s.write.Unlock()

	l, ok := s.known(p)
	if info, err := os.Lstat(s.file(p)); !ok || l.digest != d || err != nil || !os.SameFile(info, looked) {
		return // it was removed, or stored anew, in between
	}

	s.tell(s.spoilAt(p, d))
	s.stuck(p, looked)
}

// stuck tells the owner of a path once that its file is wrong and cannot be removed, as on a disk that takes no more writes.
func (s *Store) stuck(p string, looked fs.FileInfo) {
	s.mu.Lock()
	l, ok := s.links[p]

	if ok {
		l.wrong = stampOf(looked)
		s.links[p] = l
	}
	s.mu.Unlock()

	if ok {
		s.troubled(p)
	}
}

// spoilAt clears away the file of a path, which does not have the digest, under all its names, and returns all owners. The
// caller holds the write lock.
func (s *Store) spoilAt(p string, d digest.Digest) []Owner {
	info, err := os.Lstat(s.file(p))
	if err != nil {
		return nil
	}

	return s.spoil(d, info)
}

// spoil clears away a file that does not have the digest, under all its names, and returns their owners. The caller holds the
// write lock.
func (s *Store) spoil(d digest.Digest, info fs.FileInfo) []Owner {
	s.distrust(info)

	if blob, err := os.Lstat(s.blob(d)); err == nil && os.SameFile(blob, info) {
		_ = os.Remove(s.blob(d))
	}

	s.mu.RLock()
	links := maps.Clone(s.links)
	s.mu.RUnlock()

	var owners []Owner

	for p, l := range links {
		have, err := os.Lstat(s.file(p))
		if l.digest == d && err == nil && os.SameFile(have, info) && os.Remove(s.file(p)) == nil {
			owners = append(owners, s.forget(p))
		}
	}

	return owners
}

// troubled tells the owner of a path once that its file cannot be looked at: whether it is lost is not known.
func (s *Store) troubled(p string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	l, ok := s.links[p]
	if !ok || l.trouble {
		return
	}

	l.trouble = true
	s.links[p] = l
	s.tell([]Owner{ownerOf(p)})
}

// settled says that the trouble with a path is over.
func (s *Store) settled(p string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if l, ok := s.links[p]; ok {
		l.trouble = false
		s.links[p] = l
	}
}

// forget drops a path that was lost, and returns its owner. The caller holds the write lock.
func (s *Store) forget(p string) Owner {
	owner := ownerOf(p)

	s.mu.Lock()
	updated := s.links[p].updated
	delete(s.links, p)
	s.mu.Unlock()

	s.mourn(owner, updated)

	return owner
}

// mourn remembers the update time of an artifact that was lost.
func (s *Store) mourn(o Owner, updated time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if old, ok := s.lost[o.Path()]; !updated.IsZero() && (!ok || updated.After(old)) {
		s.lost[o.Path()] = updated
	}
}

// renewed returns the update time of an artifact that is stored now. Times have whole seconds; the one of an artifact that
// takes the place of a lost one is later, or those who wait for it would not notice.
func (s *Store) renewed(o Owner, now time.Time) time.Time {
	updated := now.UTC().Truncate(time.Second)

	s.mu.Lock()
	defer s.mu.Unlock()

	lost, ok := s.lost[o.Path()]

	switch {
	case ok && !updated.After(lost):
		return lost.UTC().Truncate(time.Second).Add(time.Second)
	case ok:
		delete(s.lost, o.Path())
	}

	return updated
}

// tell tells the owners, each once, that something of theirs is lost.
func (s *Store) tell(owners []Owner) {
	if s.options.Lost == nil || len(owners) == 0 {
		return
	}

	slices.SortFunc(owners, func(a, b Owner) int { return strings.Compare(a.Path(), b.Path()) })
	owners = slices.Compact(owners)

	go func() {
		for _, o := range owners {
			s.options.Lost(o)
		}
	}()
}

// ownerOf returns the owner of a path that is known.
func ownerOf(p string) Owner {
	at, _ := parsePath(p) // it was made of a location

	return at.Owner
}

// tidy removes the contents whose paths were lost, and that nobody has linked for a while, and forgets the files that are gone.
func (s *Store) tidy() {
	s.write.Lock()
	defer s.write.Unlock()

	for d, since := range s.orphans {
		if s.options.Now().Sub(since) > s.options.RetentionTTL {
			s.reap(d)
			delete(s.orphans, d)
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	const room = 64
	if len(s.checks) <= 2*len(s.links)+room {
		return
	}

	live := map[digest.Digest]bool{}
	for _, l := range s.links {
		live[l.digest] = true
	}

	maps.DeleteFunc(s.checks, func(_ stamp, d digest.Digest) bool { return !live[d] && s.pins[d] == 0 })
}
