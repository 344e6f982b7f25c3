package helmchart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/chart"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/flight"
)

// content is something in the store, which stays there until release.
type content struct {
	digest  digest.Digest
	release func()
}

// pulled is a packaged chart in the store, as somebody else has made it.
type pulled struct {
	content

	size int64
}

// pull puts a packaged chart into the store, once for all who want it at the same time. The key stands for the chart and for
// the credentials; fetch gets it.
func (r *reconciler) pull(ctx context.Context, key flight.Fingerprint, since time.Time,
	fetch func(context.Context) ([]byte, error),
) (content, error) {
	for {
		p, release, err := r.pulls.Join(ctx, key, since, func(ctx context.Context) (*pulled, error) {
			data, err := fetch(ctx)
			if err != nil {
				return nil, err
			}

			if _, err := charts.Load(ctx, bytes.NewReader(data), r.Limits); err != nil {
				return nil, fmt.Errorf("failed to load chart: %w", err)
			}

			c, err := r.add(ctx, artifact.File(bytes.NewReader(data)))

			return &pulled{content: c, size: int64(len(data))}, err
		})
		if err != nil {
			return content{}, err //nolint:wrapcheck // it is that of the function
		}

		// What was pulled a while ago may have been lost since.
		f, err := r.Store.Open(p.digest)
		if err == nil {
			_ = f.Close()

			return content{digest: p.digest, release: release}, nil
		}

		release()

		now := r.Repositories.Now()
		if !gone(err) || !since.Before(now) {
			return content{}, fmt.Errorf("find what was pulled: %w", err)
		}

		since = now
	}
}

// add stores content.
func (r *reconciler) add(ctx context.Context, c artifact.Content) (content, error) {
	d, release, err := r.Store.Add(ctx, c)
	if err != nil {
		return content{}, fmt.Errorf("failed to store chart: %w", err)
	}

	return content{digest: d, release: release}, nil
}

// remade makes what the object wants of a chart that somebody else has packaged.
func (r *reconciler) remade(ctx context.Context, obj *sourcev1.HelmChart, f found, original content) (built, error) {
	if len(obj.Spec.ValuesFiles) == 0 {
		return built{content: original}, nil
	}
	defer original.release()

	file, err := r.Store.Open(original.digest)
	if err != nil {
		return built{}, failed(sourcev1.ChartPackageErrorReason, err)
	}
	defer file.Close() //nolint:errcheck // it was only read

	c, err := charts.Load(ctx, file, r.Limits)
	if err != nil {
		return built{}, failed(sourcev1.ChartPackageErrorReason, fmt.Errorf("failed to load chart: %w", err))
	}

	used, err := r.merge(ctx, obj, c, charts.FilesOf(c))
	if err != nil {
		return built{}, err
	}

	return r.pack(ctx, f, c, built{values: used})
}

// merge makes the values files of the object the values of a chart.
func (r *reconciler) merge(ctx context.Context, obj *sourcev1.HelmChart, c *chart.Chart, files charts.Files) (used []string, err error) {
	spec := &obj.Spec
	if len(spec.ValuesFiles) == 0 {
		return nil, nil
	}

	values, used, err := charts.MergeValues(ctx, files, spec.ValuesFiles, spec.IgnoreMissingValuesFiles, r.Limits)
	if err == nil && values != nil {
		err = charts.SetValues(c, values, r.Limits)
	}

	if err != nil {
		return nil, failed(sourcev1.ValuesFilesErrorReason, err)
	}

	return used, nil
}

// pack stores a package of a chart, with the version that it is to have.
func (r *reconciler) pack(ctx context.Context, f found, c *chart.Chart, b built) (built, error) {
	c.Metadata.Version = f.version

	var err error
	if b.content, err = r.add(ctx, r.Store.Tarball(charts.Pack(c))); err != nil {
		return built{}, failed(sourcev1.ChartPackageErrorReason, err)
	}

	b.packaged = true

	return b, nil
}

// errNoVersion says that no version is one that is wanted.
func errNoVersion(name, version string, err error) error {
	switch {
	case errors.Is(err, charts.ErrNoVersion):
		err = fmt.Errorf("no '%s' chart with version matching '%s' found", name, version)
	case errors.Is(err, charts.ErrNoChart):
		err = fmt.Errorf("no '%s' chart found", name)
	}

	return fmt.Errorf("failed to get chart version for remote reference: %w", err)
}
