package oci

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/source"
)

// latest is the second name of the current artifact.
const latest = "latest.tar.gz"

// fetch sees to it that the content is here, and ends the run if it is what is stored.
func (r *reconciler) fetch(ctx context.Context, obj *sourcev1.OCIRepository, s *scope) error {
	if settled(obj) && obj.Status.Artifact.HasRevision(s.revision) {
		source.Current(obj)
		obj.Status.URL = r.Store.URL(r.storage.At(obj, latest).Path())

		return engine.Done()
	}

	err := r.bounded(ctx, obj, func(ctx context.Context) error { return r.find(ctx, obj, s) })

	switch {
	case errors.Is(err, errArchive):
		s.failed = err
	case errors.Is(err, errLayer):
		return engine.Fail(sourcev1.OCILayerOperationFailedReason, err)
	case err != nil:
		return fmt.Errorf("failed to pull artifact from '%s': %w", obj.Spec.URL, err)
	}

	return nil
}

// find gets the content of the layer that the object selects.
func (r *reconciler) find(ctx context.Context, obj *sourcev1.OCIRepository, s *scope) error {
	var err error
	if s.manifest, err = s.repository.Manifest(ctx, s.digest); err != nil {
		return err //nolint:wrapcheck // the step does
	}

	layer, err := selectLayer(s.manifest, obj.GetLayerMediaType())
	if err != nil {
		return err
	}

	w := wantedOf(obj, layer)

	if d, ok := r.contents.known(s.repository, w); ok {
		if s.stored, err = r.Store.Link(r.at(obj, s), s.revision, d); err == nil {
			return nil
		}
	}

	s.content.digest, s.release, err = r.contents.add(ctx, s.repository, w)

	return err
}

// selectLayer returns the first layer with the media type, or the first one if that is empty.
func selectLayer(m *registry.Manifest, mediaType string) (v1.Descriptor, error) {
	for _, l := range m.Layers {
		if mediaType == "" || string(l.MediaType) == mediaType {
			return l, nil
		}
	}

	return v1.Descriptor{}, noLayerError{mediaType}
}

// noLayerError says that there is no layer with the media type, or none at all.
type noLayerError struct{ mediaType string }

// Error implements error.
func (e noLayerError) Error() string {
	if e.mediaType == "" {
		return "no layers found in artifact"
	}

	return fmt.Sprintf("failed to find layer with media type '%s' in artifact", e.mediaType)
}

// Is implements the interface of errors.Is.
func (noLayerError) Is(target error) bool { return target == errLayer }
