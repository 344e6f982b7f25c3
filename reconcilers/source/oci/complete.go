package oci

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"unicode"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
)

// at returns where the artifact lies.
func (r *reconciler) at(obj *sourcev1.OCIRepository, s *scope) artifact.Location {
	return r.storage.At(obj, s.digest.String()+".tar.gz")
}

// store puts the content in its place.
func (r *reconciler) store(_ context.Context, obj *sourcev1.OCIRepository, s *scope) error {
	if s.failed != nil {
		return s.failed
	}

	var err error

	if s.stored == nil {
		if s.stored, err = r.Store.Link(r.at(obj, s), s.revision, s.content.digest); err != nil {
			return fmt.Errorf("failed to store artifact: %w", err)
		}
	}

	if obj.Status.URL, err = r.Store.Alias(r.at(obj, s), latest); err != nil {
		return engine.Fail(sourcev1.SymlinkUpdateFailedReason, fmt.Errorf("failed to update status URL symlink: %w", err))
	}

	return nil
}

// complete writes down what is stored.
func (r *reconciler) complete(_ context.Context, obj *sourcev1.OCIRepository, s *scope) error {
	st := &obj.Status
	st.ObservedIgnore = obj.Spec.Ignore
	st.ObservedLayerSelector = obj.Spec.LayerSelector.DeepCopy()

	s.stored.Metadata = metadata(s.manifest.Annotations)
	source.Stored(obj, s.stored, meta.SucceededReason, fmt.Sprintf("stored artifact for digest '%s'", s.revision))

	return nil
}

// Annotations that say where an artifact comes from.
const (
	originSource   = "org.opencontainers.image.source"
	originRevision = "org.opencontainers.image.revision"
	originCreated  = "org.opencontainers.image.created"
)

// Bounds of the annotations in a status, in bytes: more could make it too large to be written.
const (
	maxMetadata = 64 << 10
	maxOrigin   = 4 << 10
)

// metadata returns the annotations that go into the status: all, or if they are too many, those that others look at.
func metadata(annotations map[string]string) map[string]string {
	if len(annotations) == 0 {
		return nil
	}

	size := 0
	for k, v := range annotations {
		size += len(k) + len(v)
	}

	if size <= maxMetadata {
		return maps.Clone(annotations)
	}

	few := map[string]string{}

	for _, k := range []string{originSource, originRevision, originCreated} {
		if v, ok := annotations[k]; ok && len(v) <= maxOrigin {
			few[k] = v
		}
	}

	return few
}

// events tells of a new artifact, and of the end of a failure.
func events(before, after *sourcev1.OCIRepository, _ *scope) []engine.Event {
	a := after.Status.Artifact
	if a == nil {
		return nil
	}

	message := fmt.Sprintf("stored artifact with revision '%s' from '%s'", a.Revision, after.Spec.URL)

	if origin := readable(a.Metadata[originSource]); origin != "" {
		message += fmt.Sprintf(", origin source '%s'", origin)
	}

	var more map[string]string

	if origin := readable(a.Metadata[originRevision]); origin != "" {
		message += fmt.Sprintf(", origin revision '%s'", origin)
		more = map[string]string{meta.MetaOriginRevisionKey: origin}
	}

	return source.Events(before, after, message, more)
}

// maxReadable bounds an annotation in an event, in bytes.
const maxReadable = 512

// readable returns an annotation as people may see it: who pushes an artifact can write anything into it, such as the lines of
// another event.
func readable(annotation string) string {
	if len(annotation) > maxReadable || strings.ContainsFunc(annotation, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}

	return annotation
}
