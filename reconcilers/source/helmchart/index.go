package helmchart

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// indexed is a chart in a repository with an index.
type indexed struct {
	*reconciler

	obj     *sourcev1.HelmChart
	repo    *sourcev1.HelmRepository
	access  charts.RepositoryAccess
	index   digest.Digest
	started time.Time

	entry charts.Entry // set by find
}

// openIndex finds the credentials for a repository, and its index.
func (r *reconciler) openIndex(ctx context.Context, obj *sourcev1.HelmChart, repo *sourcev1.HelmRepository, s *scope) (origin, error) {
	access, err := charts.ReadAccess(ctx, r.Secrets, repo)
	if err != nil {
		return nil, err //nolint:wrapcheck // it is the whole story
	}

	o := &indexed{
		reconciler: r, obj: obj, repo: repo, access: access, index: digest.Digest(repo.Status.Artifact.Digest), started: s.started,
	}

	f, err := r.Store.Open(o.index)
	if gone(err) {
		return nil, r.noArtifact(obj)
	}

	if err != nil {
		return nil, fmt.Errorf("failed to open index: %w", err)
	}

	return o, f.Close() //nolint:wrapcheck // it was only opened
}

// stored returns an index that is stored.
func (r *reconciler) stored(ctx context.Context, index digest.Digest) (*charts.Index, func(), error) {
	x, release, err := r.Repositories.Index(ctx, index, func() (io.ReadCloser, error) { return r.Store.Open(index) })
	if err != nil && ctx.Err() == nil {
		r.Store.Doubt(index) // it was read once before it was stored: if it is another one now, its owner has to know
	}

	return x, release, err //nolint:wrapcheck // the caller says what for
}

// lookup returns a version of a chart in an index that is stored.
func (r *reconciler) lookup(ctx context.Context, index digest.Digest, name, version string) (charts.Entry, error) {
	x, release, err := r.stored(ctx, index)
	if err != nil {
		return charts.Entry{}, failed(sourcev1.ChartPullErrorReason, fmt.Errorf("failed to load index: %w", err))
	}
	defer release()

	e, err := x.Find(name, version)
	if err != nil {
		return charts.Entry{}, failed(sourcev1.InvalidChartReferenceReason, errNoVersion(name, version, err))
	}

	return e, nil
}

// find implements origin.
func (o *indexed) find(ctx context.Context) (f found, err error) {
	o.entry, err = bounded(ctx, o.reconciler, o.obj, o.repo.GetTimeout(), sourcev1.ChartPullErrorReason, func(ctx context.Context) (charts.Entry, error) {
		return o.lookup(ctx, o.index, o.obj.Spec.Chart, o.obj.GetVersion())
	})
	if err != nil {
		return found{}, err
	}

	version, err := withGeneration(o.obj, o.entry.Version, "")

	return found{name: o.entry.Name, version: version}, err
}

// build implements origin.
func (o *indexed) build(ctx context.Context, f found) (built, error) {
	url, err := o.access.ChartURL(o.entry)
	if err != nil {
		return built{}, failed(sourcev1.ChartPullErrorReason, err)
	}

	who := o.access.Fingerprint()
	key := flight.FingerprintOf("index", string(who[:]), url, o.entry.Digest)

	since := o.started
	if o.entry.Digest != "" {
		since = time.Time{} // it does not change
	}

	return bounded(ctx, o.reconciler, o.obj, o.repo.GetTimeout(), sourcev1.ChartPullErrorReason, func(ctx context.Context) (built, error) {
		c, err := o.pull(ctx, key, since, func(ctx context.Context) ([]byte, error) {
			return o.Repositories.FetchChart(ctx, o.access, o.entry, o.Limits.MaxBytes())
		})
		if err != nil {
			err = fmt.Errorf("failed to download chart for remote reference: %w", ingest.RedactError(err))

			return built{}, failed(sourcev1.ChartPullErrorReason, err)
		}

		return o.remade(ctx, o.obj, f, c)
	})
}
