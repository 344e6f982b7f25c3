package generator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Why artifacts are made again, in the order in which it is looked for. Source: reference §2.9.
const (
	driftNotReady   = "NotReady"
	driftGeneration = "GenerationChanged"
	driftSources    = "SourcesChanged"
	driftArtifacts  = "ArtifactsChanged"
	driftMissing    = "ArtifactMissing"
	driftCorrupted  = "ArtifactCorrupted"
	driftNotFound   = "ExternalArtifactsNotFound"
	driftChanged    = "ExternalArtifactsChanged"
	driftNone       = "NoDriftDetected"
)

// state is what the decision whether to make the artifacts again is made from.
type state struct {
	sources string            // digest of the sources
	files   map[string]string // drift of the stored files, by the name of the artifact
	live    published
	recipe  *recipe
	url     func(path string) string
}

// check ends the run if all is as it was when the artifacts were made.
func (r *reconciler) check(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error {
	if err := r.find(ctx, obj, s); err != nil {
		return err
	}

	files, err := r.verify(ctx, obj, s.live)
	if err != nil {
		return err
	}

	s.lost = map[string]bool{}
	for name := range files {
		s.lost[name] = true
	}

	reason := drift(obj, state{
		sources: s.digest, files: files, live: s.live, recipe: s.recipe, url: r.Store.URL,
	})
	logf.FromContext(ctx).V(1).Info("Drift was looked for", "reason", reason)

	if reason != driftNone {
		return nil
	}

	engine.Emit(ctx, engine.Event{
		Severity: meta.EventSeverityTrace, Reason: driftNone,
		Message: fmt.Sprintf("No drift detected, %d artifact(s) up to date", len(obj.Status.Inventory)),
	})

	return engine.Done()
}

// find looks up the ExternalArtifacts of the generator.
func (r *reconciler) find(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) (err error) {
	s.live, err = r.published(ctx, obj)

	return err
}

// verify returns what is wrong with stored files. Those with a wrong content are removed. Others may write statuses, too: what
// the inventory says of other namespaces is none of the generator's, and wrong.
func (r *reconciler) verify(ctx context.Context, obj *v1beta1.ArtifactGenerator, live published) (map[string]string, error) {
	wrong := map[string]string{}

	for _, e := range obj.Status.Inventory {
		if e.Namespace != obj.Namespace {
			wrong[e.Name] = driftMissing

			continue
		}

		at := artifact.Location{Owner: ownerOf(e.Namespace, e.Name), File: e.Filename}
		a := &meta.Artifact{Path: at.Path(), Digest: e.Digest}

		if ea := live[e.Name]; ea != nil && ea.Status.Artifact != nil {
			a.LastUpdateTime = ea.Status.Artifact.LastUpdateTime
		}

		err := r.Store.Verify(a)

		switch {
		case err == nil:
		case errors.Is(err, artifact.ErrNotFound), errors.Is(err, artifact.ErrInvalidPath):
			wrong[e.Name] = driftMissing
		case errors.Is(err, artifact.ErrDigestMismatch):
			wrong[e.Name] = driftCorrupted

			engine.Emit(ctx, engine.Event{
				Type: corev1.EventTypeWarning, Reason: sourcev1.ArtifactVerificationFailedReason, Action: "ReconcileStorage",
				Message: fmt.Sprintf("failed to verify integrity of artifact '%s/%s': %s", e.Namespace, e.Name, err),
			})

			if err := r.Store.Discard(a); err != nil {
				return nil, fmt.Errorf("remove corrupt artifact: %w", err)
			}
		default:
			return nil, fmt.Errorf("verify artifact '%s/%s': %w", e.Namespace, e.Name, err)
		}
	}

	return wrong, nil
}

// drift returns why the artifacts have to be made again, or driftNone.
func drift(obj *v1beta1.ArtifactGenerator, s state) string {
	ready := engine.Condition(obj, meta.ReadyCondition)

	switch {
	case !engine.IsTrue(obj, meta.ReadyCondition):
		return driftNotReady
	case ready.ObservedGeneration != obj.Generation:
		return driftGeneration
	case obj.Status.ObservedSourcesDigest != s.sources:
		return driftSources
	case obj.Spec.PathPattern == "" && len(obj.Status.Inventory) != len(obj.Spec.Artifacts):
		return driftArtifacts
	}

	for _, e := range obj.Status.Inventory {
		if reason := s.files[e.Name]; reason != "" {
			return reason
		}
	}

	for _, e := range obj.Status.Inventory {
		if s.live[e.Name] == nil {
			return driftNotFound
		}
	}

	if len(s.live) != len(obj.Status.Inventory) {
		return driftChanged
	}

	for i := range obj.Status.Inventory {
		if changed(obj, &obj.Status.Inventory[i], s) {
			return driftChanged
		}
	}

	return driftNone
}

// changed tells whether an ExternalArtifact is not what it was made.
func changed(obj *v1beta1.ArtifactGenerator, e *v1beta1.ExternalArtifactReference, s state) bool {
	ea := s.live[e.Name]
	at := artifact.Location{Owner: ownerOf(e.Namespace, e.Name), File: e.Filename}.Path()
	a := ea.Status.Artifact

	if a == nil || a.Digest != e.Digest || a.Path != at || a.URL != s.url(at) || !engine.IsTrue(ea, meta.ReadyCondition) {
		return true
	}

	// What variables make of the metadata is not known without the sources: it only has to be there.
	o := &output{OutputArtifact: v1beta1.OutputArtifact{Name: e.Name}, labels: map[string]string{}}
	if s.recipe.pattern == nil {
		maps.Copy(o.labels, s.recipe.labels)
	}

	return !includes(ea, desired(obj, o)) ||
		slices.ContainsFunc(s.recipe.labelNames(), func(name string) bool { _, ok := ea.Labels[name]; return !ok })
}

// labelNames returns the names of the labels that all artifacts have.
func (r *recipe) labelNames() []string {
	names := slices.Collect(maps.Keys(r.labels))
	if r.pattern != nil {
		names = append(names, r.pattern.captures...)
	}

	return names
}
