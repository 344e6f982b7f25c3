package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/release"
)

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	memories    memories
	home        ownCluster
	credentials credentials
}

func (r *reconciler) open(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	s.started = r.Now()
	s.previous = references(obj.Status.Inventory)
	s.memory = r.memories.get(obj)
	s.memory.begin()
	s.credentials = r.credentials.current(ctx, obj)
	return r.locate(ctx, obj, s)
}

// build makes the objects. What it cannot make now, it cannot make again before the spec changes.
func (r *reconciler) build(_ context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	digest, err := specDigest(obj)
	if err == nil && s.unavailable == nil {
		s.built, s.unavailable = r.tryBuild(obj, s, digest)
	}
	return err
}

// tryBuild returns the objects, or the verdict about an instance that has none.
func (r *reconciler) tryBuild(obj *fluxv1.FluxInstance, s *scope, digest string) (*distribution.Set, error) {
	set, err := r.make(obj, digest, s)
	if err == nil {
		err = distribution.CheckUpgrade(obj.Status.LastAppliedRevision, set.Revision())
	}
	if err != nil {
		return nil, r.buildFailed(obj, s, digest, err)
	}
	return set, nil
}

// buildFailed is the verdict about an instance whose spec, or artifact, makes no objects. Nobody tells of a new artifact: it is looked for.
func (r *reconciler) buildFailed(obj *fluxv1.FluxInstance, s *scope, digest string, err error) error {
	obj.Status.History.Record(digest, meta.BuildFailedReason, r.Now(), r.Now().Sub(s.started), nil)
	v := &engine.Verdict{Outcome: engine.Stalled, Reason: meta.BuildFailedReason, Err: fmt.Errorf("build failed: %w", err)}
	if release.Remote(obj) {
		v.After = obj.GetArtifactInterval()
	}
	return v
}

// make builds, unless that was the last thing that it did.
func (r *reconciler) make(obj *fluxv1.FluxInstance, digest string, s *scope) (*distribution.Set, error) {
	key, builder := digest, r.Builder
	if s.release != nil {
		key, builder = key+"\n"+s.release.Key(), s.release
	}
	if s.memory.built.key == key {
		return s.memory.built.set, nil
	}
	set, err := builder.Build(placed(obj), distribution.Options{Image: r.Image})
	if err != nil {
		return nil, err
	}
	s.memory.built = built{key: key, set: set}
	return set, nil
}

// specDigest identifies the spec.
func specDigest(obj *fluxv1.FluxInstance) (string, error) {
	content, err := json.Marshal(obj.Spec)
	if err != nil {
		return "", fmt.Errorf("encode spec: %w", err)
	}
	return digestOf(content), nil
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// wanted are the references to the objects of the set.
func wanted(set *distribution.Set) []access.Ref {
	refs := make([]access.Ref, 0, len(set.Objects))
	for _, o := range set.Objects {
		refs = append(refs, access.Of(o))
	}
	return refs
}

// apply brings the objects into the cluster. The inventory keeps what was there before, until it is pruned.
func (r *reconciler) apply(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	engine.Progress(ctx, "Applying revision "+s.set.Revision())
	s.full = s.memory.due(obj, r.Now())
	put := r.applySet
	if s.keeping != nil {
		put = r.applyBack
	}
	result, err := put(ctx, obj, s)
	if result != nil {
		s.changes = result.Changes
		r.tellDrift(ctx, obj, s, result, err)
		obj.Status.Inventory = inventory(references(result.Changes.Inventory()), s.previous)
	}
	s.started = s.memory.record(obj, s.set.Revision(), s.started, altered(s.changes)).started
	if err != nil {
		return r.failed(ctx, obj, s, err)
	}
	return nil
}

// applySet applies the target, but for what is known not to go back to it.
func (r *reconciler) applySet(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (*apply.Result, error) {
	objects, o := s.set.Objects, r.applyOptions(s)
	if newer := s.spared(); len(newer) > 0 {
		objects = slices.DeleteFunc(slices.Clone(objects), func(u *unstructured.Unstructured) bool {
			return slices.Contains(newer, access.Of(u).ID)
		})
	}
	return s.Applier.Apply(ctx, s.Client, Owner(obj), objects, o)
}

func (r *reconciler) applyOptions(s *scope) apply.Options {
	return apply.Options{
		Digest:    s.digest(),
		Labels:    s.Labels,
		Inventory: s.previous,
		Full:      s.full,
		// Those of flux bootstrap, flux install and the Helm charts: their installations are adopted in place.
		Takeovers: append([]apply.Takeover{
			{Manager: "flux"}, {Manager: "helm"}, {Manager: "kustomize-controller"},
		}, r.Takeovers...),
		// Their selectors and roles cannot be changed, and a new version may have others. They hold nothing that would be lost.
		Recreate: []schema.GroupKind{
			{Group: appsv1.GroupName, Kind: "Deployment"}, {Group: rbacv1.GroupName, Kind: "RoleBinding"},
			{Group: rbacv1.GroupName, Kind: "ClusterRoleBinding"},
		},
		// It belongs to many: what others add is theirs, whatever they add it with.
		Shared:          []schema.GroupKind{{Kind: "Namespace"}},
		DropLabels:      []string{fluxv1.HubLabel, "kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"},
		DropAnnotations: []string{"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"},
	}
}

// altered leaves out what was found as it should be.
func altered(changes apply.Changes) apply.Changes {
	return slices.DeleteFunc(slices.Clone(changes), func(c apply.Change) bool {
		return c.Action == apply.Unchanged || c.Action == apply.Skipped
	})
}

// failed records a failure that another attempt may not meet. What an upgrade meets too long takes it back.
func (r *reconciler) failed(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, err error) error {
	if verdict, ok := errors.AsType[*engine.Verdict](err); ok && verdict.Outcome != engine.Failed {
		return err
	}
	switch {
	case unreachable(err):
		s.memory.arrived = false
	case s.way == upgrading && r.Now().Sub(s.memory.since(s.set.Revision(), s.started)) >= s.patience(obj):
		if verdict := r.giveUp(ctx, obj, s, err.Error()); verdict != nil {
			return verdict
		}
	}
	r.remember(obj, s)
	return engine.Fail(meta.ReconciliationFailedReason, s.mishap(obj, err))
}

// unreachable tells that the API server did not answer, which is nobody's fault.
func unreachable(err error) bool {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	return errors.Is(err, context.Canceled) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
}

// remember records the failure of a revision in the history.
func (r *reconciler) remember(obj *fluxv1.FluxInstance, s *scope) {
	obj.Status.History.Record(s.set.Digest, meta.ReconciliationFailedReason, r.Now(), r.Now().Sub(s.started), historyMetadata(s.set))
}

func historyMetadata(set *distribution.Set) map[string]string {
	return map[string]string{"flux": set.Version}
}
