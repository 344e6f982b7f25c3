package instance

import (
	"fmt"
	"time"

	"github.com/weir-dev/weir/reconcilers/health"
)

// verdict is what to do about objects that were applied.
type verdict struct {
	healthy bool
	failure string        // what is wrong, if it is past waiting for
	message string        // what is awaited otherwise
	after   time.Duration // when to look again at the latest
	arm     bool          // whether the hub is to wake the instance when all is well
}

// judge decides from the health of the objects, the time that they have and the time that went by.
func judge(report health.Report, timeout, elapsed time.Duration) verdict {
	if report.Healthy() {
		return verdict{healthy: true}
	}
	v := verdict{after: recheck, arm: len(report.Failed) == 0} // what failed has reached its goal: it would wake at once, and again
	remaining := timeout - elapsed
	switch {
	case len(report.Failed) > 0:
		v.failure = "health check failed: " + describe(report.Failed, report.InProgress, report.Unknown)
	case remaining <= 0:
		v.failure = fmt.Sprintf("health check timed out after %s: %s", timeout, describe(report.InProgress, report.Unknown))
	default:
		v.message = "Waiting for " + describe(report.InProgress, report.Unknown)
		if v.after = remaining; len(report.Blind) > 0 {
			v.after = min(remaining, recheck)
		}
	}
	return v
}
