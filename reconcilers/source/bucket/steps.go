package bucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
)

// latest is the name under which the artifact of a Bucket is always found.
const latest = "latest.tar.gz"

// connect finds the credentials.
func (r *reconciler) connect(ctx context.Context, obj *sourcev1.Bucket, s *scope) error {
	a, err := find(ctx, r.Secrets, obj)
	if err != nil {
		return err
	}

	return r.bounded(ctx, obj, func(ctx context.Context) (err error) {
		s.bucket, err = r.Buckets.open(ctx, a)

		return err
	})
}

// bounded runs what waits for servers: not longer than the object says, and beside those who need not wait.
func (r *reconciler) bounded(ctx context.Context, obj *sourcev1.Bucket, wait func(context.Context) error) error {
	return r.lane.Bounded(ctx, obj.Namespace, obj.GetTimeout(), wait) //nolint:wrapcheck // it is the error of wait
}

// list finds out which objects are meant, and ends the run if they are those that are stored.
func (r *reconciler) list(ctx context.Context, obj *sourcev1.Bucket, s *scope) error {
	since := s.started
	if !source.Asked(obj) {
		since = since.Add(-r.Buckets.options.Moment)
	}

	err := r.bounded(ctx, obj, func(ctx context.Context) error {
		l, release, err := s.bucket.list(ctx, obj.Spec.Prefix, since)
		if err != nil {
			return err
		}
		defer release()

		s.objects, err = l.choose(ctx, obj.Spec.Ignore)
		if err != nil {
			return &listError{confirmed: true, err: err}
		}

		return nil
	})
	if err != nil {
		return unlisted(obj.Spec.BucketName, err)
	}

	s.revision, s.files = revision(s.objects), len(s.objects)
	if r.unchanged(obj, s) {
		return engine.Done()
	}

	r.outdated(ctx, obj, s)

	return nil
}

// unlisted says why it is not known what is in a bucket.
func unlisted(name string, err error) error {
	l, ok := errors.AsType[*listError](err)

	switch {
	case errors.Is(err, errNoBucket):
		return fmt.Errorf("bucket '%s' not found", name)
	case ok && !l.confirmed:
		return fmt.Errorf("failed to confirm existence of '%s' bucket: %w", name, err)
	default:
		return fmt.Errorf("indexation of objects from bucket '%s' failed: %w", name, err)
	}
}

// unchanged tells whether the objects are what is stored. If so, nothing of an earlier failure is left.
func (r *reconciler) unchanged(obj *sourcev1.Bucket, s *scope) bool {
	if !source.Settled(obj) || !obj.Status.Artifact.HasRevision(s.revision.String()) ||
		!equal(obj.Status.ObservedIgnore, obj.Spec.Ignore) {
		return false
	}

	url, err := r.Store.Alias(r.at(obj, s), latest)
	if err != nil {
		return false
	}

	obj.Status.URL = url
	source.Current(obj)

	return true
}

// outdated says that the artifact is not the one that is wanted any more.
func (r *reconciler) outdated(ctx context.Context, obj *sourcev1.Bucket, s *scope) {
	if !obj.Status.Artifact.HasRevision(s.revision.String()) {
		source.Outdated(ctx, obj, sourcev1.NewRevisionReason, fmt.Sprintf("new upstream revision '%s'", s.revision))
	}
}

// fetch sees to it that the archive of the objects is in the store.
func (r *reconciler) fetch(ctx context.Context, obj *sourcev1.Bucket, s *scope) error {
	if known, ok := r.archives.known.Get(archiveKey{bucket: s.bucket.key, revision: s.revision}); ok {
		s.digest = known.digest

		stored, err := r.link(obj, s)
		if err == nil {
			s.stored = stored

			return nil
		}
	}

	err := r.bounded(ctx, obj, func(ctx context.Context) error {
		a, release, err := r.archives.add(ctx, s.bucket, seriesOf(s.bucket, obj), s.objects)
		if err != nil {
			return err
		}

		s.digest, s.revision, s.files, s.release = a.digest, a.revision, a.files, release

		return nil
	})

	if e, ok := errors.AsType[*storeError](err); ok {
		s.unstored = e.err

		return nil
	}

	if _, refused := errors.AsType[*ingest.RefusedError](err); refused {
		return fmt.Errorf("fetch from bucket '%s' failed: %w; ignore rules can leave it out", obj.Spec.BucketName, err)
	}

	if err != nil {
		return fmt.Errorf("fetch from bucket '%s' failed: %w", obj.Spec.BucketName, err)
	}

	return nil
}

// seriesOf returns what the artifacts of the object have in common.
func seriesOf(b *bucket, obj *sourcev1.Bucket) seriesKey {
	key := seriesKey{listKey: listKey{bucket: b.key, prefix: obj.Spec.Prefix}}
	if obj.Spec.Ignore != nil {
		key.ignore = flight.FingerprintOf(*obj.Spec.Ignore)
	}

	return key
}

// at is where the artifact of the revision lies.
func (r *reconciler) at(obj *sourcev1.Bucket, s *scope) artifact.Location {
	return r.storage.At(obj, s.revision.Encoded()+".tar.gz")
}

func (r *reconciler) link(obj *sourcev1.Bucket, s *scope) (*meta.Artifact, error) {
	return r.Store.Link(r.at(obj, s), s.revision.String(), s.digest) //nolint:wrapcheck // the caller does
}

// archive makes the artifact of the archive.
func (r *reconciler) archive(_ context.Context, obj *sourcev1.Bucket, s *scope) error {
	if s.unstored != nil {
		return fmt.Errorf("unable to archive artifact to storage: %w", s.unstored)
	}

	var err error
	if s.stored == nil {
		if s.stored, err = r.link(obj, s); err != nil {
			return fmt.Errorf("failed to store artifact: %w", err)
		}
	}

	s.url, err = r.Store.Alias(r.at(obj, s), latest)
	if err != nil {
		return engine.Fail(sourcev1.SymlinkUpdateFailedReason, fmt.Errorf("failed to update status URL symlink: %w", err))
	}

	return nil
}

// complete writes down what is stored.
func (r *reconciler) complete(_ context.Context, obj *sourcev1.Bucket, s *scope) error {
	obj.Status.ObservedIgnore = obj.Spec.Ignore
	obj.Status.URL = s.url

	source.Stored(obj, s.stored, meta.SucceededReason, fmt.Sprintf("stored artifact: revision '%s'", s.stored.Revision))

	return nil
}

func equal(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}

	return *a == *b
}
