package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
	"github.com/weir-dev/weir/reconcilers/source/bucket"
	"github.com/weir-dev/weir/reconcilers/source/git"
	"github.com/weir-dev/weir/reconcilers/source/helmchart"
	"github.com/weir-dev/weir/reconcilers/source/helmrepository"
	"github.com/weir-dev/weir/reconcilers/source/oci"
)

// sourceWorkers is how many objects of each kind of source run at a time. Most of a run is waiting for the server.
const sourceWorkers = 10

// gitWorkers is how many GitRepositories run at a time. Servers that do not answer hold some of them: see git.Deps.
const gitWorkers = 20

// sourceKinds are the kinds of source-controller.
func sourceKinds() []client.Object {
	return []client.Object{
		&sourcev1.GitRepository{}, &sourcev1.OCIRepository{}, &sourcev1.HelmRepository{}, &sourcev1.HelmChart{}, &sourcev1.Bucket{},
	}
}

// setupSources adds the controllers of the sources. They run when their spec changes, when they are asked to, when what they
// stand on has a new artifact, when their artifact is lost, and at their interval.
func setupSources(p *Process) error {
	store, err := p.sharedStorage()
	if err != nil {
		return err
	}

	n, err := p.sharedNetwork()
	if err != nil {
		return err
	}

	for _, setup := range []func(*Process, *artifact.Store, *network) error{
		setupGit, setupOCI, setupHelmRepository, setupHelmChart, setupBucket,
	} {
		if err := setup(p, store, n); err != nil {
			return err
		}
	}

	return nil
}

// addSource makes the controller of a kind of source that has its artifacts in the store of the process.
func addSource[O source.Object, S any](p *Process, n *network, k engine.Kind[O, S], workers int, more ...watch) error {
	w := newWaker()
	p.storage.route(k.Name, w)

	forget := k.Forget
	k.Forget = func(key types.NamespacedName) {
		n.cloud.Forget(k.Name, key.Namespace, key.Name)
		p.storage.forget(k.Name, key)

		if forget != nil {
			forget(key)
		}
	}

	return add(p, after(p.storage, k), w, false, workers, more...)
}

func setupGit(p *Process, store *artifact.Store, n *network) error {
	trees, err := p.sharedTrees()
	if err != nil {
		return err
	}

	// The context only bounds getting the informer.
	err = index(context.Background(), p, &sourcev1.GitRepository{}, bySource, func(g *sourcev1.GitRepository) []string {
		var refs []string
		for _, key := range git.IncludeKeys(g) {
			refs = append(refs, ref(sourcev1.GitRepositoryKind, key))
		}

		return refs
	})
	if err != nil {
		return err
	}

	kind := git.Kind(git.Deps{
		Store: store, Secrets: p, Trees: trees, Cloud: n.cloud,
		Repositories: git.RepositoriesFunc(func(ctx context.Context, key types.NamespacedName) (*sourcev1.GitRepository, error) {
			return cached(ctx, p, key, &sourcev1.GitRepository{})
		}),
		Remotes: git.NewRemotes(git.RemotesOptions{
			Transports: n.transports, SSHKeyExchanges: p.SSHKeyExchanges, SSHHostKeys: p.SSHHostKeys,
		}),
		RequeueDependency: p.RequeueDependency, Workers: p.workers(gitWorkers),
	})

	return addSource(p, n, kind, gitWorkers,
		watchSource(p, sourcev1.GitRepositoryKind, &sourcev1.GitRepository{}, finder(p, &sourcev1.GitRepositoryList{})))
}

func setupOCI(p *Process, store *artifact.Store, n *network) error {
	dir, err := p.folder("weir-oci-")
	if err != nil {
		return err
	}

	return addSource(p, n, oci.Kind(oci.Deps{
		Store: store, Secrets: p, ServiceAccounts: p, Registries: n.registries, Dir: dir,
		Verifiers: oci.Signatures{Roots: n.roots.TrustedRoot, Client: n.client}, Workers: p.workers(sourceWorkers),
	}), sourceWorkers)
}

func setupHelmRepository(p *Process, store *artifact.Store, n *network) error {
	return addSource(p, n, helmrepository.Kind(helmrepository.Deps{
		Store: store, Secrets: p, Repositories: n.charts, Workers: p.workers(sourceWorkers),
	}), sourceWorkers)
}

func setupHelmChart(p *Process, store *artifact.Store, n *network) error {
	trees, err := p.sharedTrees()
	if err != nil {
		return err
	}

	// The context only bounds getting the informer.
	err = index(context.Background(), p, &sourcev1.HelmChart{}, bySource, func(c *sourcev1.HelmChart) []string {
		return []string{ref(helmchart.SourceKey(c))}
	})
	if err != nil {
		return err
	}

	kind := helmchart.Kind(helmchart.Deps{
		Store: store, Trees: trees, Secrets: p, Sources: chartSources{p}, Repositories: n.charts, Registries: n.registries,
		Roots: n.roots.TrustedRoot, Revocation: n.client,
		Limits:            charts.Limits{Bytes: p.Helm.ChartBytes, FileBytes: p.Helm.ChartFileBytes},
		RequeueDependency: p.RequeueDependency, Workers: p.workers(sourceWorkers),
	})

	find := finder(p, &sourcev1.HelmChartList{})

	return addSource(p, n, kind, sourceWorkers,
		ctrlsource.Kind(p.GetCache(), &sourcev1.HelmRepository{}, related(moved, chartsOf(find))),
		watchSource(p, sourcev1.GitRepositoryKind, &sourcev1.GitRepository{}, find),
		watchSource(p, sourcev1.BucketKind, &sourcev1.Bucket{}, find))
}

// moved tells whether an update of a HelmRepository brings charts that are waited for. One of type oci has no artifact: its
// spec is all there is.
func moved(before, after *sourcev1.HelmRepository) bool {
	return before.Generation != after.Generation || renewed(before, after)
}

// chartsOf returns the charts of a HelmRepository.
func chartsOf(find lookup) func(ctx context.Context, r *sourcev1.HelmRepository) []types.NamespacedName {
	return func(ctx context.Context, r *sourcev1.HelmRepository) []types.NamespacedName {
		return find(ctx, bySource, ref(sourcev1.HelmRepositoryKind, client.ObjectKeyFromObject(r)))
	}
}

// chartSources are the sources of charts in the cache.
type chartSources struct{ *Process }

// Source implements helmchart.Sources.
func (c chartSources) Source(ctx context.Context, kind string, key types.NamespacedName) (source.Object, error) {
	switch kind {
	case sourcev1.HelmRepositoryKind:
		return cached(ctx, c.Process, key, &sourcev1.HelmRepository{})
	case sourcev1.GitRepositoryKind:
		return cached(ctx, c.Process, key, &sourcev1.GitRepository{})
	case sourcev1.BucketKind:
		return cached(ctx, c.Process, key, &sourcev1.Bucket{})
	}

	return nil, unknownKind(kind)
}

// HelmRepositories implements helmchart.Sources.
func (c chartSources) HelmRepositories(ctx context.Context, namespace string) ([]*sourcev1.HelmRepository, error) {
	list := &sourcev1.HelmRepositoryList{}
	if err := c.GetClient().List(ctx, list, client.InNamespace(namespace), client.DisableReadYourWritesConsistency); err != nil {
		return nil, err //nolint:wrapcheck // the steps say what it means
	}

	all := make([]*sourcev1.HelmRepository, 0, len(list.Items))
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}

	return all, nil
}

func setupBucket(p *Process, store *artifact.Store, n *network) error {
	dir, err := p.folder("weir-buckets-")
	if err != nil {
		return err
	}

	buckets, err := bucket.NewBuckets(bucket.Options{Dir: dir, Transports: n.transports, Cloud: n.cloud})
	if err != nil {
		return err //nolint:wrapcheck // says what it could not make
	}

	return addSource(p, n, bucket.Kind(bucket.Deps{
		Store: store, Secrets: p, Buckets: buckets, Workers: p.workers(sourceWorkers),
	}), sourceWorkers)
}
