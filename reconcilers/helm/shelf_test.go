package helm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
)

// TestShelf loads a chart once for all who want it at the same time, and keeps none that nobody wants.
func TestShelf(t *testing.T) {
	t.Parallel()

	const many = 20

	var (
		s     shelf
		loads atomic.Int32
		wg    sync.WaitGroup
		all   sync.WaitGroup
		gives = make([]func(), many)
	)

	load := func(context.Context) (*chart.Chart, error) {
		loads.Add(1)

		return &chart.Chart{}, nil
	}

	all.Add(many)

	for i := range many {
		wg.Go(func() {
			c, give, err := s.take(t.Context(), "a", load)
			if err != nil || c == nil {
				t.Errorf("got %v, %v", c, err)
			}

			gives[i] = give

			all.Done()
			all.Wait() // nobody gives it back before all have it
			give()
			give()
		})
	}

	wg.Wait()

	if n := loads.Load(); n != 1 || len(s.charts) != 0 {
		t.Errorf("loaded %d times, and %d are left", n, len(s.charts))
	}
}

func TestShelfFails(t *testing.T) {
	t.Parallel()

	var s shelf

	broken := errors.New("broken")
	if _, _, err := s.take(t.Context(), "a", func(context.Context) (*chart.Chart, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}

	c, give, err := s.take(t.Context(), "a", func(context.Context) (*chart.Chart, error) { return &chart.Chart{}, nil })
	if err != nil || c == nil {
		t.Fatalf("who comes next does not try again: %v", err)
	}

	ended, end := context.WithCancel(t.Context())
	end()

	if _, _, err := s.take(ended, "b", func(ctx context.Context) (*chart.Chart, error) { return nil, ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	if give(); len(s.charts) != 0 {
		t.Errorf("%d are left", len(s.charts))
	}
}
