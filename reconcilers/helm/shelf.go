package helm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"helm.sh/helm/v3/pkg/chart"

	"github.com/weir-dev/weir/reconcilers/helm/render"
)

// shelf holds the charts that are in use, each once, however many releases are made of it at the same time. When nobody needs a chart any
// more, it is gone.
type shelf struct {
	mu     sync.Mutex
	charts map[string]*shelved
}

// shelved is a chart, or one on its way. Users are guarded by the lock of the shelf; the rest does not change once it is there.
type shelved struct {
	users int
	there chan struct{}
	chart *chart.Chart
	err   error
}

// take returns a chart that nobody may change, and what gives it back. The first one who wants it loads it.
func (s *shelf) take(ctx context.Context, key string, load func(context.Context) (*chart.Chart, error)) (*chart.Chart, func(), error) {
	s.mu.Lock()

	if s.charts == nil {
		s.charts = map[string]*shelved{}
	}

	c, found := s.charts[key]
	if !found {
		c = &shelved{there: make(chan struct{})}
		s.charts[key] = c
	}

	c.users++
	s.mu.Unlock()

	if !found {
		c.chart, c.err = load(ctx)
		if c.err != nil {
			s.drop(key, c) // who comes next tries again
		}

		close(c.there)
	}

	give := sync.OnceFunc(func() { s.give(key, c) })

	select {
	case <-c.there:
	case <-ctx.Done():
		give()

		return nil, nil, ctx.Err()
	}

	if c.err != nil {
		give()

		if found && errors.Is(c.err, context.Canceled) && ctx.Err() == nil { // it was only the run of the first one that ended
			return s.take(ctx, key, load)
		}

		return nil, nil, c.err
	}

	return c.chart, give, nil
}

func (s *shelf) give(key string, c *shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if c.users--; c.users == 0 && s.charts[key] == c {
		delete(s.charts, key)
	}
}

func (s *shelf) drop(key string, c *shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.charts[key] == c {
		delete(s.charts, key)
	}
}

// chart returns the whole chart, for one action: Helm changes what it is given. What is large in it is shared, and kept until the run is
// over.
func (r *reconciler) chart(ctx context.Context, s *scope) (*chart.Chart, error) {
	if s.chart == nil {
		key := s.artifact.Digest + " " + s.path

		shared, give, err := r.shelf.take(ctx, key, func(ctx context.Context) (*chart.Chart, error) { return s.files.Load(ctx, s.path) })
		if err != nil {
			return nil, fmt.Errorf("load chart: %w", err)
		}

		s.chart, s.giveChart = shared, give
	}

	c := render.Clone(s.chart)
	c.Metadata.Version = s.metadata.Version

	return c, nil
}
