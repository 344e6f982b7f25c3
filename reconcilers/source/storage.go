package source

import (
	"context"
	"errors"
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Storage is the artifact store, as the objects of one kind use it.
type Storage struct {
	// Store keeps the artifacts.
	Store *artifact.Store

	// Kind of the objects, such as GitRepository.
	Kind string
}

// Owner returns the object as the owner of artifacts.
func (s Storage) Owner(obj Object) artifact.Owner {
	return artifact.Owner{Kind: s.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// At returns where an artifact of the object lies.
func (s Storage) At(obj Object, file string) artifact.Location {
	return artifact.Location{Owner: s.Owner(obj), File: file}
}

// CheckStep returns the step that removes superseded artifacts, and checks that the current one is still there.
func CheckStep[O Object, S any](s Storage) engine.Step[O, S] {
	return engine.Step[O, S]{
		Name: "storage", Reason: sourcev1.StatOperationFailedReason, Condition: meta.StorageOperationFailedCondition,
		Run: func(ctx context.Context, obj O, _ *S) error { return s.check(ctx, obj) },
	}
}

// RemoveStep returns the step that removes all artifacts of an object that goes.
func RemoveStep[O Object, S any](s Storage) engine.Step[O, S] {
	return engine.Step[O, S]{
		Name: "remove", Reason: sourcev1.GarbageCollectionFailedReason,
		Run: func(_ context.Context, obj O, _ *S) error { return s.Remove(obj) },
	}
}

// Remove removes all artifacts of an object.
func (s Storage) Remove(obj Object) error {
	if _, err := s.Store.Remove(s.Owner(obj)); err != nil {
		return fmt.Errorf("garbage collection for deleted resource failed: %w", err)
	}

	return nil
}

func (s Storage) check(ctx context.Context, obj Object) error {
	s.collect(ctx, obj)

	a := obj.GetArtifact()
	if a == nil {
		engine.Unset(obj, meta.ArtifactInStorageCondition)
		engine.Progress(ctx, "building artifact")

		return nil
	}

	err := s.verify(a, obj)

	switch {
	case err == nil:
		s.Store.Relocate(a)

		return nil
	case errors.Is(err, artifact.ErrDigestMismatch):
		engine.Emit(ctx, engine.Event{
			Type: corev1.EventTypeWarning, Reason: sourcev1.ArtifactVerificationFailedReason, Action: "ReconcileStorage",
			Message: "failed to verify integrity of artifact: " + err.Error(),
		})

		if err := s.Store.Discard(a); err != nil {
			return fmt.Errorf("remove corrupt artifact: %w", err)
		}
	case errors.Is(err, artifact.ErrNotFound), errors.Is(err, artifact.ErrInvalidPath):
	default:
		return fmt.Errorf("verify artifact: %w", err)
	}

	*obj.StatusFields().Artifact = nil
	engine.Unset(obj, meta.ArtifactInStorageCondition)
	engine.Progress(ctx, "building artifact: disappeared from storage")

	return nil
}

// verify checks that an artifact is there, and is one of the object: others may write statuses too, and what is wrong with an
// artifact is removed.
func (s Storage) verify(a *meta.Artifact, obj Object) error {
	if path.Dir(a.Path) != s.Owner(obj).Path() {
		return artifact.ErrInvalidPath
	}

	return s.Store.Verify(a) //nolint:wrapcheck // the caller tells its errors apart
}

// collect removes superseded artifacts. That it fails is no reason to fail.
func (s Storage) collect(ctx context.Context, obj Object) {
	removed, err := s.Store.Collect(s.Owner(obj), obj.GetArtifact())
	if err != nil {
		engine.Emit(ctx, engine.Event{
			Type: corev1.EventTypeWarning, Reason: sourcev1.GarbageCollectionFailedReason, Action: "GarbageCollect",
			Message: "garbage collection of artifacts failed: " + err.Error(),
		})
	}

	if len(removed) > 0 {
		engine.Emit(ctx, engine.Event{
			Severity: meta.EventSeverityTrace, Reason: sourcev1.GarbageCollectionSucceededReason, Action: "GarbageCollect",
			Message: fmt.Sprintf("garbage collected %d artifacts", len(removed)),
		})
	}
}
