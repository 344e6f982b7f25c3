package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
)

// Verify checks that the file of the artifact is there and has its digest. It reads the file only if it changed since it was
// written or verified by this process. It returns ErrNotFound or ErrDigestMismatch if something is wrong with the file; when an
// artifact of the owner is stored again, its update time differs from the one of this.
func (s *Store) Verify(a *meta.Artifact) error {
	at, err := parsePath(a.Path)
	if err != nil {
		return err
	}

	d, err := digest.Parse(a.Digest)
	if err != nil {
		return fmt.Errorf("%w: digest %q: %w", ErrDigestMismatch, a.Digest, err)
	}

	err = s.check(s.file(at.Path()), d)

	switch {
	case err == nil:
		s.confirm(at, link{digest: d, verified: true, made: a.LastUpdateTime.Time, updated: a.LastUpdateTime.Time})
	case errors.Is(err, ErrNotFound):
		s.missing(at.Path()) // the caller knows
		s.mourn(at.Owner, a.LastUpdateTime.Time)
	case errors.Is(err, ErrDigestMismatch):
		s.mourn(at.Owner, a.LastUpdateTime.Time)
	}

	return err
}

// confirm remembers a path that an earlier process has written.
func (s *Store) confirm(at Location, found link) {
	if have, ok := s.known(at.Path()); ok && have.verified && have.digest == found.digest {
		return
	}

	s.write.Lock()
	defer s.write.Unlock()

	// It may have been removed, or stored anew, in between.
	if info, err := os.Lstat(s.file(at.Path())); err != nil || s.trusted(info) != found.digest {
		return
	}

	s.remember(at, found)
	s.index(at, found.digest)
}

// Discard removes the file of an artifact that turned out to be wrong, and with it the other names of that file. The owners of
// those are told.
func (s *Store) Discard(a *meta.Artifact) error {
	at, err := parsePath(a.Path)
	if err != nil {
		return err
	}

	s.write.Lock()
	defer s.write.Unlock()

	if l, ok := s.known(at.Path()); ok && l.digest.String() == a.Digest && s.check(s.file(at.Path()), l.digest) != nil {
		s.tell(s.spoilAt(at.Path(), l.digest))
	}

	return s.unlink(at.Path())
}

// Restore stores what content writes at the path of an artifact that another process has stored, if it has the digest of the
// artifact; else it fails with ErrDigestMismatch and stores nothing.
func (s *Store) Restore(ctx context.Context, a *meta.Artifact, content Content) error {
	at, d, err := place(a)
	if err != nil {
		return err
	}

	_, release, err := s.add(ctx, content, d.Algorithm(), func(got digest.Digest) error {
		if got != d {
			return fmt.Errorf("%w: computed %q, expected %q", ErrDigestMismatch, got, d)
		}

		return nil
	})
	if err != nil {
		return err
	}
	defer release()

	return s.relink(at, d, a.LastUpdateTime.Time)
}

// relink makes content that is stored already appear where another process has stored it.
func (s *Store) relink(at Location, d digest.Digest, updated time.Time) error {
	_ = s.check(s.blob(d), d) // what has to be read is read without the lock

	s.write.Lock()
	defer s.write.Unlock()

	if err := s.sound(d); err != nil {
		return err
	}

	if _, _, err := s.link(at, d); err != nil {
		return err
	}

	s.remember(at, link{digest: d, verified: true, made: s.options.Now(), updated: updated})

	return nil
}

// place returns where an artifact lies and what it holds.
func place(a *meta.Artifact) (Location, digest.Digest, error) {
	at, err := parsePath(a.Path)
	if err != nil {
		return at, "", err
	}

	d, err := digest.Parse(a.Digest)
	if err != nil {
		return at, "", fmt.Errorf("digest %q: %w", a.Digest, err)
	}

	return at, d, nil
}
