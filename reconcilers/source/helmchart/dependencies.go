package helmchart

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/chart"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
)

// resolveDependencies adds the charts to a chart that it depends on, and returns how many they are.
func (o *tree) resolveDependencies(ctx context.Context, c *chart.Chart) (n int, err error) {
	repos, err := o.Sources.HelmRepositories(ctx, o.obj.Namespace)
	if err != nil {
		return 0, fmt.Errorf("failed to list HelmRepositories: %w", err)
	}

	repos = slices.Clone(repos)
	slices.SortFunc(repos, func(a, b *sourcev1.HelmRepository) int { return strings.Compare(a.Name, b.Name) })

	d := charts.Dependencies{Source: o.files, Path: o.path, Fetch: func(ctx context.Context, d charts.Dependency) ([]byte, error) {
		return o.dependency(ctx, repositoryOf(d.Repository, repos), d)
	}}

	err = o.lane.Bounded(ctx, o.obj.Namespace, maxResolve, func(ctx context.Context) (err error) {
		n, err = d.Resolve(ctx, c)

		return err //nolint:wrapcheck // it says which dependency
	})

	return n, err //nolint:wrapcheck // as above
}

// maxResolve is how long it may take to find all charts that a chart depends on. Each repository has its own timeout, too.
const maxResolve = 5 * time.Minute

// repositoryOf returns the HelmRepository with the URL, or one that stands for it and that nobody has made.
func repositoryOf(url string, repos []*sourcev1.HelmRepository) *sourcev1.HelmRepository {
	i := slices.IndexFunc(repos, func(repo *sourcev1.HelmRepository) bool {
		return charts.NormalizeURL(repo.Spec.URL) == charts.NormalizeURL(url)
	})
	if i >= 0 {
		return repos[i]
	}

	return &sourcev1.HelmRepository{Spec: sourcev1.HelmRepositorySpec{URL: url}}
}

// dependency gets the package of a chart from a repository.
func (r *reconciler) dependency(ctx context.Context, repo *sourcev1.HelmRepository, d charts.Dependency) (data []byte, err error) {
	get := r.fromIndex
	if strings.HasPrefix(strings.ToLower(repo.Spec.URL), ociScheme) {
		get = r.fromRegistry
	}

	err = source.Bounded(ctx, repo.GetTimeout(), func(ctx context.Context) (err error) {
		data, err = get(ctx, repo, d)

		return err
	})
	if err != nil {
		return nil, fmt.Errorf("repository '%s': %w", ingest.Redact(repo.Spec.URL), err)
	}

	return data, nil
}

// fromIndex gets a chart from a repository with an index.
func (r *reconciler) fromIndex(ctx context.Context, repo *sourcev1.HelmRepository, d charts.Dependency) ([]byte, error) {
	access, err := charts.ReadAccess(ctx, r.Secrets, repo)
	if err != nil {
		return nil, err //nolint:wrapcheck // it is the whole story
	}

	x, release, err := r.indexOf(ctx, repo, access)
	if err != nil {
		return nil, err
	}
	defer release()

	e, err := x.Find(d.Name, d.Version)
	if err != nil {
		return nil, fmt.Errorf("version '%s': %w", d.Version, err)
	}

	return r.Repositories.FetchChart(ctx, access, e, r.Limits.MaxBytes()) //nolint:wrapcheck // it is the whole story
}

// indexOf returns the index of a repository: the one that is stored, or else the one that the server has.
func (r *reconciler) indexOf(ctx context.Context, repo *sourcev1.HelmRepository, access charts.RepositoryAccess,
) (*charts.Index, func(), error) {
	if a := repo.Status.Artifact; a != nil {
		x, release, err := r.stored(ctx, digest.Digest(a.Digest))
		if !gone(err) {
			return x, release, err
		}
	}

	return r.Repositories.Latest(ctx, access, r.Repositories.Now().Add(-r.Repositories.Moment())) //nolint:wrapcheck // it is the whole story
}

// fromRegistry gets a chart from a registry.
func (r *reconciler) fromRegistry(ctx context.Context, repo *sourcev1.HelmRepository, d charts.Dependency) ([]byte, error) {
	repository, err := r.openRegistry(ctx, repo, d.Name)
	if err != nil {
		return nil, err
	}

	since := r.Repositories.Now().Add(-r.Registries.Moment())

	_, tag, err := choose(ctx, repository, d.Version, since)
	if err != nil {
		return nil, fmt.Errorf("version '%s': %w", d.Version, err)
	}

	m, err := repository.Pull(ctx, tag, since)
	if err != nil {
		return nil, fmt.Errorf("failed to get '%s%s:%s': %w", ociScheme, repository.Name(), tag, err)
	}

	return r.fetchImage(ctx, repository, m)
}
