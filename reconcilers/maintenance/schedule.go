package maintenance

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	// maxExpression bounds a cron expression, in bytes: it is quoted in errors.
	maxExpression = 256

	// horizon is how many years are searched for the next time. The longest time between two 29ths of February is eight.
	horizon = 9
)

// Zone returns the time zone of the IANA database with the name. None means UTC.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New(`time zone "Local" is another one on each machine`)
	}

	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %.64q is not in the IANA database", name)
	}

	return zone, nil
}

// Schedule is a time that comes again and again.
type Schedule struct {
	times cron.Schedule // of a clock that is never put back or forward
	zone  *time.Location
}

// Cron returns the times of an expression with the five fields minute, hour, day of the month, month and day of the week. One that
// never comes is an error.
func Cron(expression string, zone *time.Location) (*Schedule, error) {
	switch {
	case len(expression) > maxExpression:
		return nil, fmt.Errorf("cron expression has %d bytes, want %d at most", len(expression), maxExpression)
	case strings.ContainsAny(expression, "=@"):
		// A zone in the expression would be another one than that of the schedule.
		return nil, fmt.Errorf("cron expression %q: want five fields, without a zone or a macro", expression)
	}

	times, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(expression)
	if err != nil {
		return nil, fmt.Errorf("cron expression %q: %w", expression, err)
	}

	s := &Schedule{times: times, zone: zone}
	if s.first(time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("cron expression %q: no day is ever like this", expression)
	}

	return s, nil
}

// Next returns the first time after the given one, in the zone of the schedule.
func (s *Schedule) Next(after time.Time) time.Time {
	limit := after.AddDate(horizon, 0, 0)

	// Between two changes of the offset the clock on the wall is as good as one in UTC.
	for at := after.In(s.zone); at.Before(limit); {
		end := bound(at)

		if wall := s.first(face(at)); !wall.IsZero() {
			if next := at.Add(wall.Sub(face(at))); end.IsZero() || next.Before(end) {
				return next
			}
		}

		if end.IsZero() {
			break
		}

		if s.jumps(end) {
			return end
		}

		at = end
	}

	return time.Time{}
}

// bound returns up to when the offset does not change, or an earlier time, but one after the given. It is zero for ever.
func bound(at time.Time) time.Time {
	_, end := at.ZoneBounds()
	if !end.IsZero() && !end.After(at) {
		return at.Add(time.Hour) // time takes the 31st of December of a leap year for the next year's
	}

	return end
}

// jumps tells whether a time comes at the moment when the offset changes: the one that the clock shows then, or one that it
// skips.
func (s *Schedule) jumps(end time.Time) bool {
	to := face(end)

	from := face(end.Add(-time.Second)).Add(time.Second)
	if from.After(to) {
		from = to
	}

	wall := s.first(from.Add(-time.Second))

	return !wall.IsZero() && !wall.After(to)
}

// first returns the first time after the given one as a clock that is never put back or forward shows it.
func (s *Schedule) first(after time.Time) time.Time {
	wall := s.times.Next(after)
	if wall.IsZero() {
		wall = s.times.Next(after.AddDate(horizon/2, 0, 0)) // a search ends after five years
	}

	return wall
}

// face returns what the clock on the wall shows at the time, as if it was in UTC.
func face(t time.Time) time.Time {
	_, offset := t.Zone()

	return t.UTC().Add(time.Duration(offset) * time.Second)
}
