package charts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"helm.sh/helm/v3/pkg/chart"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// resolution is one run of Resolve.
type resolution struct {
	Dependencies

	mu   sync.Mutex // is held while a chart is loaded, one at a time
	left *budget    // for all charts together; guarded by mu
}

// guarded is find on a goroutine of its own: what is not expected of foreign bytes must not end the process.
func (r *resolution) guarded(ctx context.Context, dep Dependency) (c *chart.Chart, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("internal error: %v", p)
		}
	}()

	return r.find(ctx, dep)
}

// find gets one chart.
func (r *resolution) find(ctx context.Context, dep Dependency) (*chart.Chart, error) {
	if _, err := Range(dep.Version); err != nil {
		return nil, err
	}

	var (
		c   *chart.Chart
		err error
	)

	switch {
	case dep.Repository == "":
		return nil, errors.New("it has no repository, and is not in charts/")
	case strings.HasPrefix(dep.Repository, localScheme):
		c, err = r.local(ctx, dep)
	case IsRemote(dep.Repository):
		c, err = r.remote(ctx, dep)
	default:
		return nil, fmt.Errorf("repository '%s': only URLs of file, http, https and oci are supported, and no names of repositories",
			ingest.Redact(dep.Repository))
	}

	switch {
	case err != nil:
		return nil, err
	case c.Name() != dep.Name:
		return nil, fmt.Errorf("the chart found is called '%s'", c.Name())
	case !allows(dep.Version, c.Metadata.Version):
		return nil, fmt.Errorf("the chart found has version '%s', want '%s'", c.Metadata.Version, dep.Version)
	}

	return c, nil
}

// local loads a chart beside the one that depends on it.
func (r *resolution) local(ctx context.Context, dep Dependency) (*chart.Chart, error) {
	name := path.Join(r.Path, strings.TrimPrefix(dep.Repository, localScheme))
	if name == ".." || strings.HasPrefix(name, "../") {
		return nil, fmt.Errorf("repository '%s' leads out of the source", dep.Repository)
	}

	return r.load(ctx, func(b *budget) (*chart.Chart, error) { return r.Source.load(b, name) })
}

// remote gets a chart from a repository.
func (r *resolution) remote(ctx context.Context, dep Dependency) (*chart.Chart, error) {
	data, err := r.Fetch(ctx, dep)
	if err != nil {
		return nil, err
	}

	c, err := r.load(ctx, func(b *budget) (*chart.Chart, error) { return b.whole(bytes.NewReader(data)) })
	if err != nil {
		return nil, fmt.Errorf("repository '%s': %w", ingest.Redact(dep.Repository), err)
	}

	return c, nil
}

// errOver ends what comes too late, because what there is already is too much.
var errOver = errors.New("there is no room for it")

// load loads a chart with a budget of its own, which then counts with that of all.
func (r *resolution) load(ctx context.Context, read func(*budget) (*chart.Chart, error)) (*chart.Chart, error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if r.left.over() != nil {
		return nil, errOver
	}

	done, err := r.Source.limits.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()

	b := newBudget(ctx, r.Source.limits)

	c, err := read(b)
	if err != nil {
		return nil, err
	}

	whole := newBudget(ctx, r.Source.limits)
	r.left.bytes -= whole.bytes - b.bytes
	r.left.files -= whole.files - b.files
	r.left.values -= whole.values - b.values

	return c, nil
}

// spend takes a chart that is there already out of the budget, with those in it.
func (b *budget) spend(c *chart.Chart) {
	for _, f := range c.Raw {
		b.bytes -= int64(len(f.Data))
		b.files--
	}

	b.spendValues(c)
}

func (b *budget) spendValues(c *chart.Chart) {
	for _, f := range c.Raw {
		if yamlFile(f.Name) {
			b.values -= countValues(f.Data)
		}
	}

	for _, sub := range c.Dependencies() {
		b.spendValues(sub)
	}
}

// over tells what there is too much of.
func (b *budget) over() error {
	switch {
	case b.bytes < 0:
		return &ingest.LimitError{Max: b.limits.Bytes * growth, Unit: "bytes in a chart and those that it depends on"}
	case b.files < 0:
		return &ingest.LimitError{Max: maxFiles, Unit: "files in a chart and those that it depends on"}
	case b.values < 0:
		return &ingest.LimitError{Max: maxValues, Unit: "values in the YAML of a chart and those that it depends on"}
	}

	return nil
}
