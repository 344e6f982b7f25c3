package maintenance

import (
	"fmt"
	"time"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// shortest is how long a window is open at least. One that is shorter could pass while nobody looks.
const shortest = time.Minute

// Window opens at the times of a schedule.
type Window struct {
	schedule *Schedule
	duration time.Duration
}

// Windows are all that there are. Without any, the time is always right.
type Windows []Window

// Parse reads windows. Its errors begin with the path of the field, under the path of the list.
func Parse(path string, specs []fluxv1.UpgradeWindow) (Windows, error) {
	windows := make(Windows, 0, len(specs))

	for i, spec := range specs {
		zone, err := Zone(spec.TimeZone)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].timeZone: %w", path, i, err)
		}

		schedule, err := Cron(spec.Schedule, zone)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].schedule: %w", path, i, err)
		}

		if spec.Duration.Duration < shortest {
			return nil, fmt.Errorf("%s[%d].duration: %s is too short, want %s at least", path, i, spec.Duration.Duration, shortest)
		}

		windows = append(windows, Window{schedule: schedule, duration: spec.Duration.Duration})
	}

	return windows, nil
}

// Open tells whether one of the windows is open. One that closes at the given time is not.
func (w Windows) Open(at time.Time) bool {
	for _, window := range w {
		if opened := window.schedule.Next(at.Add(-window.duration)); !opened.IsZero() && !opened.After(at) {
			return true
		}
	}

	return len(w) == 0
}

// Next returns when the first of the windows opens after the given time, in its zone. It is zero if none does in the next years.
func (w Windows) Next(after time.Time) time.Time {
	var first time.Time
	for _, window := range w {
		next := window.schedule.Next(after)
		if !next.IsZero() && (first.IsZero() || next.Before(first)) {
			first = next
		}
	}

	return first
}
