package controllers

import (
	"context"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/helm"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
)

const (
	// releaseWorkers is how many HelmReleases are in a run at a time. An action of Helm's lasts as long as what it waits for, and
	// whoever waits has no permit: so this is how many may wait.
	releaseWorkers = 200

	// releasePermits is how many HelmReleases render and write at a time, and remotePermits how many of them in remote clusters.
	releasePermits = 16
	remotePermits  = 8
)

// releaseKinds are the kinds of helm-controller.
func releaseKinds() []client.Object { return []client.Object{&helmv2.HelmRelease{}} }

// setupHelmRelease adds the controller of the HelmRelease. It runs when its spec changes, its chart has a new artifact, a dependency
// has become ready, values with the watch label change, what it released is no longer as it was, and at its interval.
func setupHelmRelease(p *Process) error {
	d, err := p.sharedDelivery()
	if err != nil {
		return err
	}

	trees, err := p.sharedTrees()
	if err != nil {
		return err
	}

	if err := indexAll(p, &helmv2.HelmRelease{}, releaseReferences()); err != nil {
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

	expressions, err := expression.New()
	if err != nil {
		return err
	}

	configs := p.sharedConfigs()
	permits := kube.NewPermits(p.workers(releasePermits))

	kind := helm.Kind(helm.Deps{
		Sources: helm.SourceFunc(p.releaseSource), Dependencies: helm.DependencyFunc(p.helmRelease), Configs: valueConfigs{configs},
		Trees: trees, Access: p.access, Applier: d.applier, Hub: d.hub, Remote: clusters, Builder: builder, Expressions: expressions,
		Permits: permits, RemotePermits: kube.NewPermits(p.workers(remotePermits)),
		ChartLimits: charts.Limits{
			Bytes: p.Helm.ChartBytes, FileBytes: p.Helm.ChartFileBytes, Turns: make(chan struct{}, runtime.GOMAXPROCS(0)),
		},
		SnapshotDigest: p.Releases.SnapshotDigest, AdditiveReadyExpr: p.AdditiveReadyExpr, NoCrossNamespaceRefs: p.NoCrossNamespaceRefs,
		NoExternalArtifacts: p.NoExternalArtifacts, NoChartDigest: p.Releases.NoChartDigest, AllowDNS: p.Releases.AllowDNS,
		Helm3Defaults: p.Releases.Helm3Defaults, RetryByDefault: p.Releases.RetryByDefault,
		DefaultServiceAccount: p.DefaultServiceAccount, RequeueDependency: p.RequeueDependency,
	})

	forget := kind.Forget
	kind.Forget = func(key types.NamespacedName) {
		n.cloud.Forget(kind.Name, key.Namespace, key.Name)
		forget(key)
	}

	w := newWaker()
	d.route(helmv2.HelmReleaseKind, w)

	find := finder(p, &helmv2.HelmReleaseList{})
	watches := []watch{
		watchCharts(p, sourcev1.HelmChartKind, &sourcev1.HelmChart{}, find),
		watchCharts(p, sourcev1.OCIRepositoryKind, &sourcev1.OCIRepository{}, find),
		watchSource(p, sourcev1.ExternalArtifactKind, &sourcev1.ExternalArtifact{}, find),
		watchDependencies(p, helmv2.HelmReleaseKind, &helmv2.HelmRelease{}, released, find),
	}

	// The command line bounds those that work. Those that wait need no more than memory.
	return control(p, kind, admitted(permits, engine.New(kind, p.engine)), own[*helmv2.HelmRelease](false), w,
		max(releaseWorkers, p.Concurrent), append(watches, p.watchConfigs(configs, find)...)...)
}

// releaseReferences are what HelmReleases refer to, by index.
func releaseReferences() map[string]func(*helmv2.HelmRelease) []string {
	return map[string]func(*helmv2.HelmRelease) []string{
		bySource: func(r *helmv2.HelmRelease) []string {
			if r.Spec.Chart == nil && r.Spec.ChartRef == nil {
				return nil
			}

			return []string{ref(helm.SourceKey(r))}
		},
		byDependency: func(r *helmv2.HelmRelease) []string { return refs(helmv2.HelmReleaseKind, helm.DependencyKeys(r)) },
		byConfig: func(r *helmv2.HelmRelease) []string {
			return configRefs(func(kind string) []types.NamespacedName { return helm.ConfigKeys(r, kind) })
		},
	}
}

// releaseSource finds a source that a HelmRelease may have.
func (p *Process) releaseSource(ctx context.Context, kind string, key types.NamespacedName) (client.Object, error) {
	return p.source(ctx, kind, key)
}

// helmRelease finds a HelmRelease in the cache.
func (p *Process) helmRelease(ctx context.Context, key types.NamespacedName) (*helmv2.HelmRelease, error) {
	return cached(ctx, p, key, &helmv2.HelmRelease{})
}

// released tells whether an update may have made a HelmRelease ready for those that depend on it.
func released(before, after *helmv2.HelmRelease) bool {
	was, is := before.Status.History.Latest(), after.Status.History.Latest()

	return ripened(before, after, before.Status.ObservedGeneration != after.Status.ObservedGeneration ||
		was != nil && is != nil && was.Digest != is.Digest)
}

// chartSource is a source with a status of its own.
type chartSource interface {
	artifacts
	engine.Object
}

// watchCharts makes HelmReleases run when a source may be released from.
func watchCharts[T chartSource](p *Process, kind string, obj T, find lookup) watch {
	return source.Kind(p.GetCache(), obj, related(usable[T], func(ctx context.Context, s T) []types.NamespacedName {
		return find(ctx, bySource, ref(kind, client.ObjectKeyFromObject(s)))
	}))
}

// usable tells whether an update of a source may have made it one that can be released from. One whose spec has changed is not,
// until it was looked at again, which need not bring another artifact.
func usable[T chartSource](before, after T) bool {
	return renewed(before, after) || engine.IsTrue(after, meta.ReadyCondition) &&
		(!engine.IsTrue(before, meta.ReadyCondition) || observed(before) != observed(after))
}

// observed returns the generation that the status of an object is about.
func observed(obj engine.Object) int64 {
	if at := obj.StatusFields().ObservedGeneration; at != nil {
		return *at
	}

	return 0
}

// valueConfigs are the ConfigMaps and Secrets with values.
type valueConfigs struct{ *configs }

// ConfigMap implements values.Reader.
func (c valueConfigs) ConfigMap(ctx context.Context, key types.NamespacedName) (*corev1.ConfigMap, error) {
	return c.configs.ConfigMap(ctx, key.Namespace, key.Name)
}

// Secret implements values.Reader.
func (c valueConfigs) Secret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	return c.configs.Secret(ctx, key.Namespace, key.Name)
}
