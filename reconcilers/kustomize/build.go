package kustomize

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// build makes the objects, if there is anything to do.
func (r *reconciler) build(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if !s.decision.work {
		return nil
	}

	s.memo.inputs, s.memo.set = "", ""

	set, err := r.objects(ctx, obj, s, func(what string) { progress(ctx, obj, s, what) })

	if _, missing := errors.AsType[*build.PathError](err); missing {
		s.memo.end()
		r.Family.come(ctx, obj, s.artifact.Revision, nil, r.Now()) // there is nothing that it could take over

		return engine.Fail(meta.ArtifactFailedReason, fmt.Errorf("kustomization path not found: %w", err))
	}

	if v, ok := errors.AsType[*engine.Verdict](err); ok {
		return v // There is no artifact.
	}

	obj.Status.LastAttemptedRevision = s.artifact.Revision

	if errors.Is(err, build.ErrBusy) { // a worker does not wait for builds that take long
		return engine.Wait(meta.BuildFailedReason, r.RequeueDependency, err)
	}

	if err != nil {
		s.memo.end()

		return engine.Fail(meta.BuildFailedReason, redact(err, s))
	}

	s.set, s.memo.set = set, set.Digest

	if s.memo.fetched = (time.Time{}); set.Fetched {
		s.memo.fetched = r.Now()
	}

	if err := encrypted(set.Objects); err != nil {
		return r.failed(obj, s, meta.ReconciliationFailedReason, err)
	}

	return nil
}

// objects returns what the artifact holds, and tells what it does. An unchanged build needs no tree.
func (r *reconciler) objects(
	ctx context.Context, obj *kustomizev1.Kustomization, s *scope, tell func(string),
) (*build.Set, error) {
	request := requestFor(obj, s)
	if set, err := r.Builder.Lookup(request); set != nil || err != nil {
		return set, err
	}

	tell("Fetching manifests")

	tree, err := r.Trees.Open(ctx, s.artifact)
	if err != nil {
		return nil, r.unavailable(s, err)
	}
	defer tree.Close()

	tell("Building manifests")

	request.Dir = tree.Dir

	return r.Builder.Build(ctx, request)
}

// unavailable says why there is no tree.
func (r *reconciler) unavailable(s *scope, err error) error {
	switch {
	case errors.Is(err, artifact.ErrNotFound):
		return r.artifactMissing("Source is not ready, artifact not found")
	case errors.Is(err, artifact.ErrDigestMismatch):
		return r.artifactMissing("Source is not ready, artifact digest changed")
	case errors.Is(err, artifact.ErrUnavailable): // its server restarts, as a rule
		return r.artifactMissing("Source is not ready, " + err.Error())
	}

	s.memo.end()

	return engine.Fail(meta.ArtifactFailedReason, err)
}

// requestFor says what to build, but for where it is.
func requestFor(obj *kustomizev1.Kustomization, s *scope) build.Request {
	request := build.Request{
		Digest: s.artifact.Digest,
		Owner:  obj.Namespace,
		Path:   obj.Spec.Path,
		Spec: build.Spec{
			TargetNamespace:         obj.Spec.TargetNamespace,
			NamePrefix:              obj.Spec.NamePrefix,
			NameSuffix:              obj.Spec.NameSuffix,
			CommonMetadata:          obj.Spec.CommonMetadata,
			Patches:                 obj.Spec.Patches,
			Images:                  obj.Spec.Images,
			Components:              obj.Spec.Components,
			IgnoreMissingComponents: obj.Spec.IgnoreMissingComponents,
			BuildMetadata:           obj.Spec.BuildMetadata,
		},
		Variables: s.variables,
		Always: obj.Spec.PostBuild != nil &&
			obj.Spec.PostBuild.GetSubstituteStrategy() == kustomizev1.SubstituteAlways,
	}

	if s.session != nil {
		request.Decrypter = s.session
	}

	return request
}

// encrypted refuses Secrets that are still encrypted: they would be applied as rubbish.
func encrypted(objects []*unstructured.Unstructured) error {
	for _, u := range objects {
		if u.GetKind() != meta.KindSecret || u.GroupVersionKind().Group != "" {
			continue
		}

		if _, ok := u.Object["sops"].(map[string]any); ok {
			return fmt.Errorf("%s is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
				access.Of(u).ID)
		}
	}

	return nil
}
