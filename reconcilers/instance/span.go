package instance

import "time"

// span measures how long something takes that the status says the beginning of. In the life of one process the clock of the machine has no
// say in that: it may jump. A process that finds it begun has nothing but that clock for what was before, and believes it half of what is
// asked for: the other half it has to see itself.
type span struct {
	of     int64         // when it began, as the status says, in seconds since 1970
	begun  bool          // whether there is one
	since  time.Duration // when this process saw it first
	before time.Duration // what is believed of the time before that
}

// lasted returns how long it has lasted since the time that the status says, of the duration that is asked for. A time to come is no
// beginning: it lasts from now on.
func (s *span) lasted(since, now time.Time, process, asked time.Duration) time.Duration {
	if !s.begun || s.of != since.Unix() {
		*s = span{of: since.Unix(), begun: true, since: process, before: min(max(now.Sub(since), 0), asked/2)}
	}
	return s.before + process - s.since
}
