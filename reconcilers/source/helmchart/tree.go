package helmchart

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"bytes"

	"helm.sh/helm/v3/pkg/chart"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
)

// tree is a chart among the files of another artifact.
type tree struct {
	*reconciler

	obj   *sourcev1.HelmChart
	files *charts.Source
	path  string // of the chart

	revision string       // of the source
	packaged *chart.Chart // the chart, if somebody else has packaged it; set by find
}

// openTree unpacks the artifact of a source.
func (r *reconciler) openTree(ctx context.Context, obj *sourcev1.HelmChart, src source.Object, s *scope) (origin, error) {
	a := src.GetArtifact()

	unpacked, err := r.Trees.Open(ctx, a)
	if gone(err) {
		return nil, r.noArtifact(obj)
	}

	if err != nil {
		return nil, engine.Fail(sourcev1.SourceUnavailableReason, fmt.Errorf("failed to open artifact of source: %w", err))
	}

	s.later(unpacked.Close)

	files, err := charts.OpenSource(unpacked.Dir, r.Limits)
	if err != nil {
		return nil, engine.Fail(sourcev1.SourceUnavailableReason, fmt.Errorf("failed to open artifact of source: %w", err))
	}

	s.later(func() { _ = files.Close() })

	return &tree{reconciler: r, obj: obj, files: files, path: charts.Clean(obj.Spec.Chart), revision: a.Revision}, nil
}

// find implements origin.
func (o *tree) find(ctx context.Context) (found, error) {
	m, err := o.metadata(ctx)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("no chart found at path '%s'", o.obj.Spec.Chart)
		}

		return found{}, failed(sourcev1.InvalidChartReferenceReason, err)
	}

	metadata := ""
	if o.obj.GetReconcileStrategy() == sourcev1.ReconcileStrategyRevision {
		metadata = short(o.revision)
	}

	version, err := withGeneration(o.obj, m.Version, metadata)

	return found{name: m.Name, version: version}, err
}

func (o *tree) metadata(ctx context.Context) (*chart.Metadata, error) {
	packaged, err := o.files.IsPackaged(o.path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says which path
	}

	if !packaged {
		return o.files.Metadata(o.path) //nolint:wrapcheck // it says what is wrong with the chart
	}

	if o.packaged, err = o.files.Load(ctx, o.path); err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong with the chart
	}

	return o.packaged.Metadata, nil
}

// short returns the beginning of the hash in a revision, such as main@sha1:<hash>. The version goes into labels, which are short.
func short(revision string) string {
	const length = 12

	hash := revision[strings.LastIndexAny(revision, "@:/")+1:]

	return hash[:min(len(hash), length)]
}

// build implements origin.
func (o *tree) build(ctx context.Context, f found) (built, error) {
	c := o.packaged
	if c != nil && f.version == c.Metadata.Version && len(o.obj.Spec.ValuesFiles) == 0 {
		return o.copy(ctx)
	}

	if c == nil {
		var err error
		if c, err = o.files.Load(ctx, o.path); err != nil {
			return built{}, failed(sourcev1.ChartPackageErrorReason, fmt.Errorf("failed to load chart: %w", err))
		}
	}

	used, err := o.merge(ctx, o.obj, c, o.files.Files())
	if err != nil {
		return built{}, err
	}

	b := built{values: used}

	if o.packaged == nil {
		if b.dependencies, err = o.resolveDependencies(ctx, c); err != nil {
			return built{}, failed(sourcev1.DependencyBuildErrorReason, err)
		}
	}

	return o.pack(ctx, f, c, b)
}

// copy stores a packaged chart as it is.
func (o *tree) copy(ctx context.Context) (built, error) {
	data, err := o.files.Package(o.path)
	if err != nil {
		return built{}, failed(sourcev1.ChartPackageErrorReason, err)
	}

	c, err := o.add(ctx, artifact.File(bytes.NewReader(data)))
	if err != nil {
		return built{}, failed(sourcev1.ChartPackageErrorReason, err)
	}

	return built{content: c}, nil
}
