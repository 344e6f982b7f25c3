package controllers

import (
	"context"
	"fmt"

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

	kind := kustomize.Kind(kustomize.Deps{
		Sources: kustomize.SourceFunc(p.source), Dependencies: kustomize.DependencyFunc(p.kustomization), Configs: configs,
		Trees: trees, Builder: build.New(build.Options{}),
		Access: p.access, Applier: d.applier, Hub: d.hub,
		NoCrossNamespaceRefs: p.NoCrossNamespaceRefs, DefaultServiceAccount: p.DefaultServiceAccount,
		RequeueDependency: p.RequeueDependency, Concurrency: p.ConcurrentApply, Takeovers: p.takeovers(),
	})

	watches := append(p.watchSources(), p.watchDependencies())
	watches = append(watches, p.watchConfigs(configs)...)

	return add(p, kind, w, false, kustomizationWorkers, watches...)
}

// source finds a source in the cache.
func (p *Process) source(ctx context.Context, kind string, key types.NamespacedName) (kustomize.Source, error) {
	var obj kustomize.Source

	switch kind {
	case sourcev1.GitRepositoryKind:
		obj = &sourcev1.GitRepository{}
	case sourcev1.OCIRepositoryKind:
		obj = &sourcev1.OCIRepository{}
	case sourcev1.BucketKind:
		obj = &sourcev1.Bucket{}
	case sourcev1.ExternalArtifactKind:
		obj = &sourcev1.ExternalArtifact{}
	default:
		return nil, fmt.Errorf("%q is no kind of source", kind)
	}

	// Another process may have written it, or the status was: either way its event is what counts.
	if err := p.GetClient().Get(ctx, key, obj, client.DisableReadYourWritesConsistency); err != nil {
		return nil, err //nolint:wrapcheck // the steps say what it means
	}

	return obj, nil
}

// kustomization finds a Kustomization in the cache.
func (p *Process) kustomization(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	obj := &kustomizev1.Kustomization{}
	if err := p.GetClient().Get(ctx, key, obj); err != nil {
		return nil, err //nolint:wrapcheck // the steps say what it means
	}

	return obj, nil
}

// watchSources makes Kustomizations run when a source has a new artifact.
func (p *Process) watchSources() []watch {
	return []watch{
		watchSource(p, sourcev1.GitRepositoryKind, &sourcev1.GitRepository{}),
		watchSource(p, sourcev1.OCIRepositoryKind, &sourcev1.OCIRepository{}),
		watchSource(p, sourcev1.BucketKind, &sourcev1.Bucket{}),
		watchSource(p, sourcev1.ExternalArtifactKind, &sourcev1.ExternalArtifact{}),
	}
}

func watchSource[T kustomize.Source](p *Process, kind string, obj T) watch {
	return source.Kind(p.GetCache(), obj, related(renewed[T], func(ctx context.Context, s T) []types.NamespacedName {
		return p.find(ctx, bySource, ref(kind, client.ObjectKeyFromObject(s)))
	}))
}

// renewed tells whether an update brings an artifact that Kustomizations may wait for: another one, or the same one stored
// anew, after it was lost.
func renewed[T kustomize.Source](before, after T) bool {
	was, is := before.GetArtifact(), after.GetArtifact()
	if was == nil || is == nil {
		return is != nil
	}

	return was.Revision != is.Revision || was.Digest != is.Digest || !was.LastUpdateTime.Equal(&is.LastUpdateTime)
}

// watchDependencies makes Kustomizations run when one that they depend on has come further.
func (p *Process) watchDependencies() watch {
	return source.Kind(p.GetCache(), &kustomizev1.Kustomization{}, related(advanced,
		func(ctx context.Context, k *kustomizev1.Kustomization) []types.NamespacedName {
			return p.find(ctx, byDependency, ref(kustomizev1.KustomizationKind, client.ObjectKeyFromObject(k)))
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
func (p *Process) watchConfigs(known *configs) []watch {
	var watches []watch

	for _, kind := range configKinds() {
		obj := &metav1.PartialObjectMetadata{}
		obj.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))

		watches = append(watches, source.Kind(p.GetCache(), obj, configEvents(known, kind, p.find)))
	}

	return watches
}

// configEvents handles the events of ConfigMaps or Secrets. Find returns the Kustomizations that an index has under a value.
func configEvents(
	known *configs, kind string, find func(ctx context.Context, field, value string) []types.NamespacedName,
) handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request] {
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
