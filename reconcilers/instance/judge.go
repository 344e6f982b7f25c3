package instance

import (
	"fmt"
	"slices"
	"time"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// verdict is what to do about objects that were applied.
type verdict struct {
	healthy bool
	failure string        // what is wrong, if it is past waiting for
	ours    bool          // whether that is up to the release
	message string        // what is awaited otherwise
	after   time.Duration // when to look again at the latest
	arm     bool          // whether the hub is to wake the instance when all is well
}

// judge decides from the health of the objects and of their pods, the time that they have and the time that went by.
func judge(report health.Report, d diagnosis, timeout, elapsed time.Duration) verdict {
	if report.Healthy() {
		return verdict{healthy: true}
	}
	pending := slices.Concat(report.InProgress, report.Unknown)
	v := verdict{after: recheck, arm: len(report.Failed) == 0} // what failed has reached its goal: it would wake at once, and again
	remaining := timeout - elapsed
	late := remaining <= 0
	v.ours = d.fatal != "" || slices.ContainsFunc(report.Failed, isOurs) || late && slices.ContainsFunc(pending, isOurs)
	switch {
	case d.fatal != "":
		v.failure = "health check failed: " + d.fatal
	case len(report.Failed) > 0:
		v.failure = "health check failed: " + describe(report.Failed, pending) + d.suffix()
	case late:
		v.failure = fmt.Sprintf("health check timed out after %s: %s", timeout, describe(pending)+d.suffix())
	default:
		v.message = "Waiting for " + describe(pending)
		v.after = remaining
		if len(report.Blind) > 0 || slices.ContainsFunc(pending, hasPods) {
			v.after = min(remaining, recheck)
		}
	}
	return v
}

// suffix ends a message with what may be the cause.
func (d diagnosis) suffix() string {
	if d.hint == "" {
		return ""
	}
	return "; " + d.hint
}

func hasPods(c health.Condition) bool { return isDeployment(access.Ref{ID: c.ID}) }
