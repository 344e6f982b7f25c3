package state

import (
	"fmt"
	"time"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

// policy is what the spec says of the failures of installs or upgrades, and how many there were.
type policy struct {
	action   string
	failures int64

	// retry is the time to the next attempt if it is retried instead of remediated, else zero.
	retry time.Duration

	// exhausted tells that no attempt is left.
	exhausted bool

	ignoreTests, remediateLast bool

	// strategy of the remediation.
	strategy string
}

// activePolicy returns the policy for the action that was last tried, if there was one.
func activePolicy(obj *v2.HelmRelease) (policy, bool) {
	switch obj.Status.LastAttemptedReleaseAction {
	case v2.ActionInstall:
		return installPolicy(obj), true
	case v2.ActionUpgrade:
		return upgradePolicy(obj), true
	default:
		return policy{}, false
	}
}

func installPolicy(obj *v2.HelmRelease) policy {
	r, failures := obj.GetInstall().GetRemediation(), obj.Status.InstallFailures

	return policy{
		action: v2.ActionInstall, failures: failures, exhausted: r.RetriesExhausted(failures), strategy: v2.RemediationUninstall,
		ignoreTests: r.IgnoresTestFailures(obj.GetTest().IgnoreFailures), remediateLast: r.RemediatesLastFailure(),
	}.withRetry(obj.GetInstall().GetStrategy())
}

func upgradePolicy(obj *v2.HelmRelease) policy {
	r, failures := obj.GetUpgrade().GetRemediation(), obj.Status.UpgradeFailures

	return policy{
		action: v2.ActionUpgrade, failures: failures, exhausted: r.RetriesExhausted(failures), strategy: r.GetStrategy(),
		ignoreTests: r.IgnoresTestFailures(obj.GetTest().IgnoreFailures), remediateLast: r.RemediatesLastFailure(),
	}.withRetry(obj.GetUpgrade().GetStrategy())
}

// withRetry returns the policy with the strategy of the action: who retries without end is never exhausted.
func (p policy) withRetry(strategy string, interval time.Duration) policy {
	if strategy == v2.StrategyRetryOnFailure {
		p.retry, p.exhausted = max(interval, 1), false
	}

	return p
}

// Exceeded says how often what was last tried has failed, for a release of which no attempt is left.
func Exceeded(obj *v2.HelmRelease) string {
	p, _ := activePolicy(obj)

	return fmt.Sprintf("Failed to %s after %d attempt(s)", p.action, p.failures)
}

// IgnoresTestFailures tells whether the tests of what was last tried may fail.
func IgnoresTestFailures(obj *v2.HelmRelease) bool {
	p, _ := activePolicy(obj)

	return p.ignoreTests
}

// CountFailure counts the failure of an action. It counts against the retries only if Helm has stored a release of the install or
// upgrade: else nothing was tried. A failed test counts as one of what it tests, unless that may fail.
func CountFailure(obj *v2.HelmRelease, a Action, stored bool) {
	obj.Status.Failures++

	switch {
	case a == Install && stored:
		obj.Status.InstallFailures++
	case a == Upgrade && stored:
		obj.Status.UpgradeFailures++
	case a == Test:
		countTest(obj)
	}
}

func countTest(obj *v2.HelmRelease) {
	switch p, _ := activePolicy(obj); {
	case p.ignoreTests:
	case p.action == v2.ActionInstall:
		obj.Status.InstallFailures++
	case p.action == v2.ActionUpgrade:
		obj.Status.UpgradeFailures++
	}
}

// CountSuccess counts the success of an install or upgrade: what is retried without end begins anew.
func CountSuccess(obj *v2.HelmRelease) {
	if p, ok := activePolicy(obj); ok && p.retry > 0 {
		clearFailures(obj)
	}
}

func clearFailures(obj *v2.HelmRelease) {
	obj.Status.Failures, obj.Status.InstallFailures, obj.Status.UpgradeFailures = 0, 0, 0
}
