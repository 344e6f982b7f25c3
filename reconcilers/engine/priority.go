package engine

// Priority orders the objects that want to run; the higher goes first, and equal ones in the order of their asking.
type Priority int

// The priorities: what a person asked for, what changed, what drifted, what failed before, what is
// merely due, and what a starting process finds.
const (
	Asked    Priority = 100
	Changed  Priority = 80
	Drift    Priority = 60
	Retry    Priority = 40
	Periodic Priority = 0
	Startup  Priority = -100
)
