package main

import (
	"context"
	"time"
)

// idle watches the fleet while nothing changes.
func idle(ctx context.Context, s *stage, n int) (figures, error) {
	// The intervals of the fleet begin when each object became Ready: after one of them, all have come to rest.
	if err := pass(ctx, s.interval/2); err != nil {
		return nil, err
	}

	before, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}

	if err := pass(ctx, time.Duration(s.settings.idle)*s.interval); err != nil {
		return nil, err
	}

	after, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}

	used, total := after.since(before), 0.0
	for _, v := range used.requests {
		total += v
	}

	intervals := float64(s.settings.idle)

	return figures{
		"requests_per_object_and_interval": total / intervals / float64(n),
		"served_per_interval":              used.served / intervals,
		"manager_cores":                    used.cpu["manager"] / (intervals * s.interval.Seconds()),
	}, nil
}
