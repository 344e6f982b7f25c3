package enginetest

import (
	"sync"
	"time"
)

// Start is the time at which the clock of every bench begins.
func Start() time.Time { return time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC) }

// Clock stands still until it is moved. It may be used by several goroutines.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.now = c.now.Add(d)
}
