package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// kustomizationWorkers is how many Kustomizations run at a time. None waits for health beyond a blink, but those that never
// become healthy use up theirs: with twice as many workers as keep a small machine busy, one in ten of them costs the others
// nothing. The requests to the API server are bounded by package access.
const kustomizationWorkers = 32

// setupKustomization adds the controller of the Kustomization. It runs when its spec changes, its source has a new artifact,
// a dependency has become ready, variables with the watch label change, what it applied is no longer as it was or has become
// healthy, and at its interval.
func setupKustomization(p *Process) error {
	d, err := p.sharedDelivery()
	if err != nil {
		return err
	}

	trees, err := p.sharedTrees()
	if err != nil {
		return err
	}

	if err := indexAll(p, &kustomizev1.Kustomization{}, kustomizationReferences()); err != nil {
		return err
	}

	w := newWaker()
	d.route(kustomizev1.KustomizationKind, w)

	configs := p.sharedConfigs()

	expressions, err := expression.New()
	if err != nil {
		return err
	}

	n, err := p.sharedNetwork()
	if err != nil {
		return err
	}

	clusters, err := p.sharedClusters()
	if err != nil {
		return err
	}

	builder, err := p.sharedBuilder()
	if err != nil {
		return err
	}

	family := p.newFamily(w)

	kind := kustomize.Kind(kustomize.Deps{
		Sources: kustomize.SourceFunc(p.kustomizationSource), Dependencies: kustomize.DependencyFunc(p.kustomization), Configs: configs,
		Trees: trees, Builder: builder,
		Access: p.access, Applier: d.applier, Hub: d.hub, Remote: clusters, Expressions: expressions, PlanKey: d.plans.get,
		AdditiveReadyExpr:    p.AdditiveReadyExpr,
		Family:               family,
		Decryption:           p.decryption(n, configs),
		NoCrossNamespaceRefs: p.NoCrossNamespaceRefs, DefaultServiceAccount: p.DefaultServiceAccount,
		RequeueDependency: p.RequeueDependency, Concurrency: p.ConcurrentApply, Takeovers: p.takeovers(),
		Stages: p.Kustomizations.Stages, NoExternalArtifacts: p.NoExternalArtifacts,
		NoFailFast: p.Kustomizations.NoFailFast, NoCommitStatus: p.Kustomizations.NoCommitStatus,
	})

	forget := kind.Forget
	kind.Forget = func(key types.NamespacedName) {
		n.cloud.Forget(kind.Name, key.Namespace, key.Name)
		forget(key)
	}

	find := finder(p, &kustomizev1.KustomizationList{})
	watches := append(p.watchKustomizationSources(find),
		watchDependencies(p, kustomizev1.KustomizationKind, &kustomizev1.Kustomization{}, advanced, find), p.watchFamily(family))

	return add(p, kind, w, false, kustomizationWorkers, append(watches, p.watchConfigs(configs, find)...)...)
}

// kustomizationSource finds a source that a Kustomization may have.
func (p *Process) kustomizationSource(ctx context.Context, kind string, key types.NamespacedName) (kustomize.Source, error) {
	return p.source(ctx, kind, key)
}

// kustomization finds a Kustomization in the cache.
func (p *Process) kustomization(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	obj := &kustomizev1.Kustomization{}
	if err := p.GetClient().Get(ctx, key, obj); err != nil {
		return nil, err //nolint:wrapcheck // the steps say what it means
	}

	return obj, nil
}

// kustomizationReferences are what Kustomizations refer to, by index.
func kustomizationReferences() map[string]func(k *kustomizev1.Kustomization) []string {
	return map[string]func(k *kustomizev1.Kustomization) []string{
		bySource: func(k *kustomizev1.Kustomization) []string { return []string{ref(kustomize.SourceKey(k))} },
		byDependency: func(k *kustomizev1.Kustomization) []string {
			return refs(kustomizev1.KustomizationKind, kustomize.DependencyKeys(k))
		},
		byConfig: func(k *kustomizev1.Kustomization) []string {
			return configRefs(func(kind string) []types.NamespacedName { return kustomize.ConfigKeys(k, kind) })
		},
	}
}

// watchKustomizationSources makes Kustomizations run when a source has a new artifact.
func (p *Process) watchKustomizationSources(find lookup) []watch {
	return []watch{
		watchSource(p, sourcev1.GitRepositoryKind, &sourcev1.GitRepository{}, find),
		watchSource(p, sourcev1.OCIRepositoryKind, &sourcev1.OCIRepository{}, find),
		watchSource(p, sourcev1.BucketKind, &sourcev1.Bucket{}, find),
		watchSource(p, sourcev1.ExternalArtifactKind, &sourcev1.ExternalArtifact{}, find),
	}
}

// advanced tells whether an update may have made a Kustomization ready for those that depend on it.
func advanced(before, after *kustomizev1.Kustomization) bool {
	return ripened(before, after, before.Status.ObservedGeneration != after.Status.ObservedGeneration ||
		before.Status.LastAppliedRevision != after.Status.LastAppliedRevision)
}
