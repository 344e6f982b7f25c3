package git

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source"
)

// validate refuses what the kind cannot do: to ignore it would be to do less than was asked for, such as to verify nothing.
func (r *reconciler) validate(_ context.Context, obj *sourcev1.GitRepository, _ *scope) error {
	spec := &obj.Spec
	refused := func(field, reason string) error {
		return engine.Stall(reason, fmt.Errorf("%s is not supported by this version", field))
	}

	switch {
	case spec.Verification != nil:
		return refused("spec.verify", sourcev1.VerificationErrorReason)
	case obj.GetProvider() != meta.ProviderGeneric:
		return refused(fmt.Sprintf("spec.provider %q", spec.Provider), sourcev1.InvalidProviderConfigurationReason)
	case spec.ServiceAccountName != "":
		return refused("spec.serviceAccountName", sourcev1.InvalidProviderConfigurationReason)
	case spec.ProxySecretRef != nil:
		return refused("spec.proxySecretRef", meta.FeatureGateDisabledReason)
	case spec.RecurseSubmodules:
		return refused("spec.recurseSubmodules", meta.FeatureGateDisabledReason)
	case len(spec.Include) > 0:
		return refused("spec.include", meta.FeatureGateDisabledReason)
	}

	if _, err := parseURL(spec.URL); err != nil {
		return engine.Stall(sourcev1.URLInvalidReason, err)
	}

	return nil
}

// connect finds the credentials.
func (r *reconciler) connect(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	var secret *corev1.Secret

	if ref := obj.Spec.SecretRef; ref != nil {
		var err error
		if secret, err = secrets.Get(ctx, r.Secrets, obj.Namespace, ref.Name); err != nil {
			return err //nolint:wrapcheck // it is the whole story
		}
	}

	var err error
	if s.remote, err = r.Remotes.open(obj.Spec.URL, secret); err != nil {
		return fmt.Errorf("failed to configure authentication options: %w", err)
	}

	return nil
}

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

	err := source.Bounded(ctx, obj.GetTimeout(), func(ctx context.Context) (err error) {
		s.listing, err = s.remote.list(ctx, since)

		return err
	})
	if errors.Is(err, errEmpty) {
		return engine.Fail(sourcev1.EmptyGitRepositoryReason, errEmpty)
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

	s.target = s.targets[0]
	if r.unchanged(obj, s) {
		return engine.Done()
	}

	return nil
}

func failed(err error) error { return fmt.Errorf("failed to checkout and determine revision: %w", err) }

// unchanged tells whether the target is what is stored. If so, nothing of an earlier failure is left.
func (r *reconciler) unchanged(obj *sourcev1.GitRepository, s *scope) bool {
	if !settled(obj) || !obj.Status.Artifact.HasRevision(s.target.revision()) {
		return false
	}

	source.Current(obj)

	return true
}

// fetch sees to it that the commit is here, unless its archive is.
func (r *reconciler) fetch(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	if len(s.targets) == 1 {
		r.outdated(ctx, obj, s)
	}

	err := source.Bounded(ctx, obj.GetTimeout(), func(ctx context.Context) error { return r.find(ctx, obj, s) })
	if err != nil {
		return failed(fmt.Errorf("unable to clone '%s': %w", s.remote.shown, err))
	}

	if r.unchanged(obj, s) {
		return engine.Done()
	}

	r.outdated(ctx, obj, s)

	return nil
}

// find chooses among the targets, and gets at the commit.
func (r *reconciler) find(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	for i, t := range s.targets {
		f, release, err := r.look(ctx, s, t, recipeOf(obj))
		if err != nil {
			return err
		}

		if i > 0 && !f.when.After(s.facts.when) {
			release()

			continue
		}

		closeScope(s)

		t.commit = f.hash
		s.target, s.facts, s.clone = t, f, release
	}

	s.digest, _ = r.archives.known(s.facts, recipeOf(obj))

	return nil
}

// look returns what is to know of a target. If its archive is not known, it is cloned, and the clone stays until release.
func (r *reconciler) look(ctx context.Context, s *scope, t target, want recipe) (facts, func(), error) {
	key := cloneKey{remote: s.remote.key, want: t.want, within: t.within}

	if f, ok := r.archives.commits.Get(key); ok {
		if _, ok := r.archives.known(f, want); ok {
			return f, func() {}, nil
		}
	}

	c, release, err := s.remote.clone(ctx, s.listing, t)
	if err != nil {
		return facts{}, nil, err
	}

	f := facts{
		remote: s.remote.key,
		hash:   c.commit.Hash, tree: c.commit.TreeHash, when: c.commit.Committer.When, summary: summary(c.commit.Message),
	}
	r.archives.commits.Put(key, f)

	return f, release, nil
}

// outdated says that the artifact is not the one that is wanted any more.
func (r *reconciler) outdated(ctx context.Context, obj *sourcev1.GitRepository, s *scope) {
	if revision := s.target.revision(); !obj.Status.Artifact.HasRevision(revision) {
		source.Outdated(ctx, obj, sourcev1.NewRevisionReason, fmt.Sprintf("new upstream revision '%s'", revision))
	}
}

// archive stores the files of the commit.
func (r *reconciler) archive(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	at := r.storage.At(obj, s.target.commit.String()+".tar.gz")
	revision := s.target.revision()

	if s.digest != "" {
		if stored, err := r.Store.Link(at, revision, s.digest); err == nil {
			s.stored = stored

			return nil
		}
	}

	err := source.Bounded(ctx, obj.GetTimeout(), func(ctx context.Context) (err error) {
		s.digest, s.release, err = r.archives.add(ctx, s.facts, recipeOf(obj),
			func(ctx context.Context) (*clone, func(), error) { return s.remote.clone(ctx, s.listing, s.target) })

		return err
	})

	_, refused := errors.AsType[*ingest.RefusedError](err)

	switch {
	case errors.Is(err, ingest.ErrNoDirectory):
		return engine.Fail(meta.GitOperationFailedReason, fmt.Errorf("failed to sparse checkout directories : %w", err))
	case refused:
		return fmt.Errorf("failed to archive commit: %w; ignore rules can leave it out", err)
	case err != nil:
		return fmt.Errorf("failed to archive commit: %w", err)
	}

	if s.stored, err = r.Store.Link(at, revision, s.digest); err != nil {
		return fmt.Errorf("failed to store artifact: %w", err)
	}

	return nil
}

// complete writes down what is stored.
func (r *reconciler) complete(_ context.Context, obj *sourcev1.GitRepository, s *scope) error {
	st := &obj.Status
	st.IncludedArtifacts, st.ObservedInclude, st.ObservedRecurseSubmodules = nil, nil, false
	st.ObservedIgnore = obj.Spec.Ignore
	st.ObservedSparseCheckout = obj.Spec.SparseCheckout
	st.SourceVerificationMode, st.SourceVerificationFingerprint = nil, ""

	engine.Unset(obj, meta.SourceVerifiedCondition, meta.IncludeUnavailableCondition)
	source.Stored(obj, s.stored, meta.SucceededReason, fmt.Sprintf("stored artifact for revision '%s'", s.stored.Revision))

	return nil
}
