package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

// resolve finds out which commit is meant, and ends the run if it is the one that is stored.
func (r *reconciler) resolve(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	// A commit that was found stays what it is.
	if ref := obj.Spec.Reference; ref != nil && isCommit(ref.Commit) && obj.Generation == obj.Status.ObservedGeneration {
		s.target = pinned(ref)
		if r.unchanged(obj, s) {
			return engine.Done()
		}
	}

	since := s.started
	if !source.Asked(obj) {
		since = since.Add(-r.Remotes.options.Moment)
	}

	err := r.bounded(ctx, obj, func(ctx context.Context) (err error) {
		s.listing, err = s.remote.list(ctx, since)

		return err
	})
	if errors.Is(err, transport.ErrEmpty) {
		return engine.Fail(sourcev1.EmptyGitRepositoryReason, transport.ErrEmpty)
	}

	if errors.Is(err, transport.ErrDenied) && s.denied != nil {
		s.denied()
	}

	if err != nil {
		return failed(fmt.Errorf("unable to list remote for '%s': %w", s.remote.shown, err))
	}

	if s.targets, err = resolve(obj.Spec.Reference, s.listing); err != nil {
		return failed(fmt.Errorf("'%s': %w", s.remote.shown, err))
	}

	if len(s.targets) > 1 {
		return nil // which one is meant is not known yet
	}

	return r.found(ctx, obj, s, s.targets[0])
}

func failed(err error) error { return fmt.Errorf("failed to checkout and determine revision: %w", err) }

// found takes note of the target, and ends the run if it is what is stored.
func (r *reconciler) found(ctx context.Context, obj *sourcev1.GitRepository, s *scope, t target) error {
	s.target = t
	if r.unchanged(obj, s) {
		return engine.Done()
	}

	outdated(ctx, obj, s)

	return nil
}

// unchanged tells whether the target is what is stored, and nothing is left to be verified. If so, nothing of an earlier
// failure is left.
func (r *reconciler) unchanged(obj *sourcev1.GitRepository, s *scope) bool {
	if !stored(obj, s) || due(obj, s) {
		return false
	}

	source.Current(obj)

	return true
}

// outdated says that the artifact is not the one that is wanted any more.
func outdated(ctx context.Context, obj *sourcev1.GitRepository, s *scope) {
	a := obj.Status.Artifact

	switch revision := s.target.revision(); {
	case !a.HasRevision(revision):
		source.Outdated(ctx, obj, sourcev1.NewRevisionReason, fmt.Sprintf("new upstream revision '%s'", revision))
	case !sameIncludes(obj, s):
		source.Outdated(ctx, obj, sourcev1.IncludeChangeReason, "included artifacts differ from last observed includes")
	}
}

// look reads the commit, without its files where that is possible, if something has to be known of it first: which of several
// is the youngest, and who signed it.
func (r *reconciler) look(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	if len(s.targets) == 1 && obj.Spec.Verification == nil {
		return nil
	}

	var chosen target

	err := r.bounded(ctx, obj, func(ctx context.Context) error {
		for i, t := range s.targets {
			f, err := s.remote.look(ctx, s.listing, t)
			if err != nil {
				return err
			}

			if t.commit = f.hash; i == 0 || f.when.After(s.facts.when) {
				chosen, s.facts = t, f
			}
		}

		return nil
	})
	if err != nil {
		return failed(fmt.Errorf("unable to clone '%s': %w", s.remote.shown, err))
	}

	return r.found(ctx, obj, s, chosen)
}

// fetch sees to it that the commit is here with all its files, unless its archive is.
func (r *reconciler) fetch(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	want := recipeOf(obj, s)

	if f, ok := r.Remotes.facts.Get(s.target.key(s.remote)); ok {
		s.facts, s.target.commit = f, f.hash

		if err := r.found(ctx, obj, s, s.target); err != nil || r.linked(obj, s, want) {
			return err
		}
	}

	err := r.bounded(ctx, obj, func(ctx context.Context) error { return r.clone(ctx, obj, s, want) })
	if errors.Is(err, ingest.ErrNoDirectory) {
		return fmt.Errorf("failed to sparse checkout directories : %w", err)
	}

	if err != nil {
		return failed(fmt.Errorf("unable to clone '%s': %w", s.remote.shown, err))
	}

	return r.found(ctx, obj, s, s.target)
}

// linked makes the artifact of an archive that was made before, if it is in the store.
func (r *reconciler) linked(obj *sourcev1.GitRepository, s *scope, want recipe) bool {
	d, ok := r.archives.known(s.facts, want)
	if !ok {
		return false
	}

	a, err := r.Store.Link(r.at(obj, s.target), s.target.revision(), d)
	if err != nil {
		return false // it is made anew, and fails then if it has to
	}

	s.stored = a

	return true
}

// at is where the artifact of a target lies.
func (r *reconciler) at(obj *sourcev1.GitRepository, t target) artifact.Location {
	return r.storage.At(obj, t.commit.String()+".tar.gz")
}

// clone fetches a commit, and its submodules if they are wanted. They stay until the run ends.
func (r *reconciler) clone(ctx context.Context, obj *sourcev1.GitRepository, s *scope, want recipe) error {
	c, release, err := s.remote.clone(ctx, s.listing, s.target)
	if err != nil {
		return err
	}

	s.closers = append(s.closers, release)
	s.facts, s.target.commit = c.facts, c.facts.hash

	if !want.submodules {
		return c.check(ctx, want.under, r.Limits)
	}

	if r.linked(obj, s, want) {
		return nil
	}

	m, err := newModules(ctx, s.remote, c, r.Limits)
	if err != nil {
		return err
	}

	s.closers = append(s.closers, m.close)

	return m.fetch(ctx, want.under)
}

// archive stores the files of the commit.
func (r *reconciler) archive(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	want := recipeOf(obj, s)
	if s.stored != nil || r.linked(obj, s, want) {
		return nil
	}

	var made digest.Digest

	// What is fetched is here, but how long it takes to unpack is up to who packed it, and submodules are looked up once more.
	err := r.bounded(ctx, obj, func(ctx context.Context) error {
		d, release, err := r.archives.add(ctx, s.remote, s.facts, want,
			func(ctx context.Context) (*clone, func(), error) { return s.remote.clone(ctx, s.listing, s.target) })
		if err == nil {
			made, s.closers = d, append(s.closers, release)
		}

		return err
	})

	_, refused := errors.AsType[*ingest.RefusedError](err)
	_, copying := errors.AsType[*copyError](err)

	switch {
	case copying:
		return engine.Fail(sourcev1.CopyFailureReason, err)
	case refused:
		return fmt.Errorf("failed to archive commit: %w; ignore rules can leave it out", err)
	case err != nil:
		return fmt.Errorf("failed to archive commit: %w", err)
	}

	if s.stored, err = r.Store.Link(r.at(obj, s.target), s.target.revision(), made); err != nil {
		return fmt.Errorf("failed to store artifact: %w", err)
	}

	return nil
}

// complete writes down what is stored.
func (r *reconciler) complete(_ context.Context, obj *sourcev1.GitRepository, s *scope) error {
	st := &obj.Status
	st.IncludedArtifacts = nil

	for _, part := range s.includes {
		st.IncludedArtifacts = append(st.IncludedArtifacts, part.artifact)
	}

	st.ObservedInclude = obj.Spec.Include
	st.ObservedIgnore = obj.Spec.Ignore
	st.ObservedRecurseSubmodules = obj.Spec.RecurseSubmodules
	st.ObservedSparseCheckout = obj.Spec.SparseCheckout

	verified(obj, s)
	source.Stored(obj, s.stored, meta.SucceededReason, fmt.Sprintf("stored artifact for revision '%s'", s.stored.Revision))

	return nil
}
