package helmrepository

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
)

// alias is the name under which the latest index is always found.
const alias = "index.yaml"

// validate refuses a URL that can be none.
func (r *reconciler) validate(_ context.Context, obj *sourcev1.HelmRepository, _ *scope) error {
	err := charts.RepositoryAccess{URL: obj.Spec.URL}.Validate()

	switch {
	case errors.Is(err, charts.ErrScheme):
		return engine.Stall(meta.FailedReason, err)
	case err != nil:
		return engine.Stall(sourcev1.URLInvalidReason, err)
	}

	return nil
}

// connect finds the credentials.
func (r *reconciler) connect(ctx context.Context, obj *sourcev1.HelmRepository, s *scope) (err error) {
	s.access, err = charts.ReadAccess(ctx, r.Secrets, obj)

	return err //nolint:wrapcheck // it is the whole story
}

// fetch gets the index, unless it is the one that is stored.
func (r *reconciler) fetch(ctx context.Context, obj *sourcev1.HelmRepository, s *scope) error {
	since := s.started
	if !source.Asked(obj) {
		since = since.Add(-r.Repositories.Moment())
	}

	var have digest.Digest
	if source.Settled(obj) {
		have = digest.Digest(obj.Status.Artifact.Revision)
	}

	err := r.lane.Bounded(ctx, obj.Namespace, obj.GetTimeout(), func(ctx context.Context) (err error) {
		s.download, s.done, err = r.Repositories.FetchIndex(ctx, s.access, have, since)

		return err
	})
	if err != nil {
		return fmt.Errorf("failed to fetch Helm repository index: %w", err)
	}

	revision := s.download.Digest.String()
	if s.same = source.Settled(obj) && obj.Status.Artifact.HasRevision(revision); s.same {
		return nil
	}

	source.Outdated(ctx, obj, sourcev1.NewRevisionReason, fmt.Sprintf("new index revision '%s'", revision))

	return nil
}

// index brings the index into its normal form, in the store.
func (r *reconciler) index(ctx context.Context, obj *sourcev1.HelmRepository, s *scope) error {
	if s.same {
		return nil
	}

	if known, ok := r.indexes.known(s.download); ok {
		if stored, err := r.link(obj, s, known); err == nil {
			s.stored = stored

			return nil
		}
	}

	var err error
	s.content, s.release, err = r.indexes.add(ctx, s.download)

	if storage, ok := errors.AsType[*storageError](err); ok {
		s.failed = storage.err // is for the next step to tell

		return nil
	}

	if err != nil {
		return fmt.Errorf("failed to load Helm repository from index YAML at %s: %w", ingest.Redact(obj.Spec.URL), err)
	}

	return nil
}

// link makes content of the store the artifact of the object.
func (r *reconciler) link(obj *sourcev1.HelmRepository, s *scope, content digest.Digest) (*meta.Artifact, error) {
	at := r.storage.At(obj, "index-"+s.download.Digest.Encoded()+".yaml")

	return r.Store.Link(at, s.download.Digest.String(), content) //nolint:wrapcheck // the caller does
}

// archive makes the index the artifact of the object, under both of its names.
func (r *reconciler) archive(_ context.Context, obj *sourcev1.HelmRepository, s *scope) error {
	current := obj.Status.Artifact

	if !s.same {
		if s.failed == nil && s.stored == nil {
			s.stored, s.failed = r.link(obj, s, s.content)
		}

		if s.failed != nil {
			return fmt.Errorf("failed to store artifact: %w", s.failed)
		}

		current = s.stored
	}

	url, err := r.Store.Alias(r.storage.At(obj, path.Base(current.Path)), alias)
	if err != nil {
		return engine.Fail(sourcev1.SymlinkUpdateFailedReason, fmt.Errorf("failed to update status URL symlink: %w", err))
	}

	obj.Status.URL = url

	return nil
}

// complete writes down what is stored.
func (r *reconciler) complete(_ context.Context, obj *sourcev1.HelmRepository, s *scope) error {
	if s.same {
		source.Current(obj)

		return nil
	}

	source.Stored(obj, s.stored, meta.SucceededReason, fmt.Sprintf("stored artifact: revision '%s'", s.stored.Revision))

	return nil
}
