package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/engine"
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

	if err := p.indexKustomizations(context.Background()); err != nil { // the context only bounds getting the informer
		return err
	}

	w := newWaker()
	d.route(kustomizev1.KustomizationKind, w)

	configs := newConfigs(p.GetAPIReader(), p.GetCache())
	if p.Kustomizations.NoConfigWatches {
		configs = newConfigs(p.GetAPIReader(), nil)
	}

	expressions, err := expression.New()
	if err != nil {
		return err
	}

	n, err := p.sharedNetwork()
	if err != nil {
		return err
	}

	clusters, err := p.clusters(d, n, configs, kustomizationWorkers)
	if err != nil {
		return err
	}

	family := p.newFamily(w)
	fetcher, err := p.remoteBases()
	if err != nil {
		return err
	}

	kind := kustomize.Kind(kustomize.Deps{
		Sources: kustomize.SourceFunc(p.kustomizationSource), Dependencies: kustomize.DependencyFunc(p.kustomization), Configs: configs,
		Trees: trees, Builder: build.New(build.Options{Lenient: p.Kustomizations.Lenient, Fetcher: fetcher}),
		Access: p.access, Applier: d.applier, Hub: d.hub, Remote: clusters, Expressions: expressions, PlanKey: d.plans.get,
		AdditiveReadyExpr:    p.AdditiveReadyExpr,
		Family:               family,
		Decryption:           p.decryption(n, configs),
		NoCrossNamespaceRefs: p.NoCrossNamespaceRefs, DefaultServiceAccount: p.DefaultServiceAccount,
		RequeueDependency: p.RequeueDependency, Concurrency: p.ConcurrentApply, Takeovers: p.takeovers(),
		Stages: p.Kustomizations.Stages, NoExternalArtifacts: p.Kustomizations.NoExternalArtifacts,
		NoFailFast: p.Kustomizations.NoFailFast, NoCommitStatus: p.Kustomizations.NoCommitStatus,
	})

	forget := kind.Forget
	kind.Forget = func(key types.NamespacedName) {
		n.cloud.Forget(kind.Name, key.Namespace, key.Name)
		forget(key)
	}

	find := finder(p, &kustomizev1.KustomizationList{})
	watches := append(p.watchSources(find), p.watchDependencies(find), p.watchFamily(family))
	if !p.Kustomizations.NoConfigWatches {
		watches = append(watches, p.watchConfigs(configs, find)...)
	}

	return add(p, kind, w, false, kustomizationWorkers, watches...)
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

// indexKustomizations makes Kustomizations findable by the objects that they refer to.
func (p *Process) indexKustomizations(ctx context.Context) error {
	for field, values := range map[string]func(k *kustomizev1.Kustomization) []string{
		bySource:     func(k *kustomizev1.Kustomization) []string { return []string{ref(kustomize.SourceKey(k))} },
		byDependency: dependenciesOf,
		byConfig:     configsOf,
	} {
		if err := index(ctx, p, &kustomizev1.Kustomization{}, field, values); err != nil {
			return err
		}
	}

	return nil
}

func dependenciesOf(k *kustomizev1.Kustomization) []string {
	var refs []string
	for _, key := range kustomize.DependencyKeys(k) {
		refs = append(refs, ref(kustomizev1.KustomizationKind, key))
	}

	return refs
}

// configKinds are the kinds of objects that hold variables.
func configKinds() []string { return []string{"ConfigMap", "Secret"} }

func configsOf(k *kustomizev1.Kustomization) []string {
	var refs []string

	for _, kind := range configKinds() {
		for _, key := range kustomize.ConfigKeys(k, kind) {
			refs = append(refs, ref(kind, key))
		}
	}

	return refs
}

// watchSources makes Kustomizations run when a source has a new artifact.
func (p *Process) watchSources(find lookup) []watch {
	return []watch{
		watchSource(p, sourcev1.GitRepositoryKind, &sourcev1.GitRepository{}, find),
		watchSource(p, sourcev1.OCIRepositoryKind, &sourcev1.OCIRepository{}, find),
		watchSource(p, sourcev1.BucketKind, &sourcev1.Bucket{}, find),
		watchSource(p, sourcev1.ExternalArtifactKind, &sourcev1.ExternalArtifact{}, find),
	}
}

// watchDependencies makes Kustomizations run when one that they depend on has come further.
func (p *Process) watchDependencies(find lookup) watch {
	return source.Kind(p.GetCache(), &kustomizev1.Kustomization{}, related(advanced,
		func(ctx context.Context, k *kustomizev1.Kustomization) []types.NamespacedName {
			return find(ctx, byDependency, ref(kustomizev1.KustomizationKind, client.ObjectKeyFromObject(k)))
		}))
}

// advanced tells whether an update may have made a Kustomization ready for those that depend on it.
func advanced(before, after *kustomizev1.Kustomization) bool {
	if !engine.IsTrue(after, meta.ReadyCondition) {
		return false
	}

	return !engine.IsTrue(before, meta.ReadyCondition) ||
		before.Status.ObservedGeneration != after.Status.ObservedGeneration ||
		before.Status.LastAppliedRevision != after.Status.LastAppliedRevision
}

// watchConfigs makes Kustomizations run when a ConfigMap or Secret that they take variables from has changed. Only those with
// the label that the command line names are watched; the memory of those that are gone is given back.
func (p *Process) watchConfigs(known *configs, find lookup) []watch {
	var watches []watch

	for _, kind := range configKinds() {
		obj := &metav1.PartialObjectMetadata{}
		obj.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))

		watches = append(watches, source.Kind(p.GetCache(), obj, configEvents(known, kind, find)))
	}

	return watches
}

// configEvents handles the events of ConfigMaps or Secrets. Find returns the Kustomizations that an index has under a value.
func configEvents(known *configs, kind string, find lookup) handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request] {
	changed := func(before, after *metav1.PartialObjectMetadata) bool {
		return before.ResourceVersion != after.ResourceVersion
	}

	events := related(changed, func(ctx context.Context, c *metav1.PartialObjectMetadata) []types.NamespacedName {
		return find(ctx, byConfig, ref(kind, client.ObjectKeyFromObject(c)))
	})
	events.DeleteFunc = func(_ context.Context, e event.TypedDeleteEvent[*metav1.PartialObjectMetadata], _ queue) {
		known.forget(kind, client.ObjectKeyFromObject(e.Object))
	}

	return events
}
