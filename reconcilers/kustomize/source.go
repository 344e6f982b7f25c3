package kustomize

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// originRevision is the key of an artifact's metadata under which OCI artifacts say what code they were made from.
const originRevision = "org.opencontainers.image.revision"

// resolve finds the artifact.
func (r *reconciler) resolve(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	kind, key := SourceKey(obj)
	if err := r.mayRefer(obj, kind, key); err != nil {
		return err
	}

	if kind == sourcev1.ExternalArtifactKind && r.NoExternalArtifacts {
		return engine.Stall(meta.AccessDeniedReason,
			fmt.Errorf("can't access '%s/%s', ExternalArtifact feature gate is disabled", kind, key))
	}

	source, err := r.Sources.Source(ctx, kind, key)

	switch {
	case apierrors.IsNotFound(err):
		return engine.Wait(meta.ArtifactFailedReason, obj.GetRetryInterval(),
			fmt.Errorf("Source '%s/%s' not found", kind, key))
	case err != nil:
		return fmt.Errorf("get source '%s/%s': %w", kind, key, err)
	}

	s.sourceKind, s.source, s.artifact = kind, source, source.GetArtifact()
	if s.artifact == nil {
		return r.artifactMissing("Source artifact not found")
	}

	return nil
}

// artifactMissing ends a run that cannot go on without the artifact. The watch of the source starts the next one.
func (r *reconciler) artifactMissing(what string) error {
	return engine.Wait(meta.ArtifactFailedReason, r.RequeueDependency,
		fmt.Errorf("%s, retrying in %s", what, r.RequeueDependency))
}

// mayRefer stalls references that cross namespaces where that is forbidden.
func (r *reconciler) mayRefer(obj *kustomizev1.Kustomization, kind string, key types.NamespacedName) error {
	if !r.NoCrossNamespaceRefs || key.Namespace == obj.Namespace {
		return nil
	}

	return engine.Stall(meta.AccessDeniedReason,
		fmt.Errorf("can't access '%s/%s', cross-namespace references have been blocked", kind, key))
}

// depend waits for the dependencies.
func (r *reconciler) depend(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	for i, key := range DependencyKeys(obj) {
		if err := r.mayRefer(obj, kustomizev1.KustomizationKind, key); err != nil {
			return err
		}

		dep, err := r.Dependencies.Kustomization(ctx, key)
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("get dependency '%s': %w", key, err)
		}

		expr := obj.Spec.DependsOn[i].ReadyExpr

		switch {
		case err != nil:
			err = fmt.Errorf("dependency '%s' not found: %w", key, err)
		case expr != "":
			err = r.readyBy(ctx, expr, obj, dep, s.artifact.Revision)
		default:
			err = ready(obj, dep, s.artifact.Revision)
		}

		if v, ok := errors.AsType[*engine.Verdict](err); ok {
			return v // An expression that will never be right.
		}

		if err != nil {
			s.silent = !r.speak(ctx, obj, s)

			return engine.Wait(meta.DependencyNotReadyReason, r.RequeueDependency, err)
		}
	}

	return nil
}

// ready says what keeps the dependency from being ready for the revision of the object's artifact. A dependency with the
// same source has to have applied the same revision.
func ready(obj, dep *kustomizev1.Kustomization, revision string) error {
	key := types.NamespacedName{Namespace: dep.Namespace, Name: dep.Name}

	current := dep.Status.ObservedGeneration == dep.Generation && len(dep.Status.Conditions) > 0
	if !current || !engine.IsTrue(dep, meta.ReadyCondition) {
		return fmt.Errorf("dependency '%s' is not ready", key)
	}

	kind, source := SourceKey(obj)
	depKind, depSource := SourceKey(dep)

	if kind == depKind && source == depSource && dep.Status.LastAppliedRevision != revision {
		return fmt.Errorf("dependency '%s' revision is not up to date", key)
	}

	return nil
}
