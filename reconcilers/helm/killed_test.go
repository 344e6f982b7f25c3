package helm_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestKilled goes on after the process was killed at some point of an action, with a status of before.
func TestKilled(t *testing.T) {
	t.Parallel()

	const done = " succeeded for release NS/app.v"

	install := func(*env) {}
	upgrade := func(e *env) {
		e.once()
		e.edit(func(obj *v2.HelmRelease) { obj.Spec.Values = inline(`{"key":"set"}`) })
	}
	failing := func(e *env) {
		e.once()
		e.publish("2.0.0", map[string]string{"config": broken})
	}

	cases := map[string]struct {
		reason string
		before func(e *env)
		status release.Status
		ready  string
		stored map[int]release.Status
		action string // that was tried last
	}{
		"Installed": {
			reason: "all was done but to write it down", before: install, ready: "InstallSucceeded: Helm install" + done + "1",
			stored: map[int]release.Status{1: release.StatusDeployed}, action: v2.ActionInstall,
		},
		"Installing": {
			reason: "what was begun is finished", before: install, status: release.StatusPendingInstall,
			ready:  "UpgradeSucceeded: Helm upgrade" + done + "2",
			stored: map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusDeployed}, action: v2.ActionInstall,
		},
		"Replacing": {
			reason: "what Helm marks on the way is no wreck", before: install, status: release.StatusSuperseded,
			ready:  "UpgradeSucceeded: Helm upgrade" + done + "2",
			stored: map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusDeployed}, action: v2.ActionUpgrade,
		},
		"Uninstalling": {
			reason: "what was begun to go away is put in order", before: install, status: release.StatusUninstalling,
			ready:  "UpgradeSucceeded: Helm upgrade" + done + "2",
			stored: map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusDeployed}, action: v2.ActionInstall,
		},
		"Upgraded": {
			reason: "all was done but to write it down", before: upgrade, ready: "UpgradeSucceeded: Helm upgrade" + done + "2",
			stored: map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusDeployed}, action: v2.ActionUpgrade,
		},
		"Upgrading": {
			reason: "what was begun is finished", before: upgrade, status: release.StatusPendingUpgrade,
			ready:  "UpgradeSucceeded: Helm upgrade" + done + "3",
			stored: map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusSuperseded, 3: release.StatusDeployed},
			action: v2.ActionUpgrade,
		},
		"RolledBack": {
			reason: "all was done but to write it down", before: failing, ready: "RollbackSucceeded: Helm rollback to release NS/app.v3",
			stored: map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusFailed, 3: release.StatusDeployed},
			action: v2.ActionUpgrade,
		},
		"RollingBack": {
			reason: "a rollback that was begun is done again", before: failing, status: release.StatusPendingRollback,
			ready:  "RollbackSucceeded: Helm rollback to previous release NS/app.v1",
			stored: map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusFailed, 3: release.StatusFailed, 4: release.StatusDeployed},
			action: v2.ActionUpgrade,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newEnv(t)
			e.publish("1.0.0", map[string]string{"config": config})
			e.declare(func(spec *v2.HelmReleaseSpec) {
				always := true
				spec.Upgrade = &v2.Upgrade{Remediation: &v2.UpgradeRemediation{RemediateLastFailure: &always}}
			})
			tc.before(e)

			e.once()
			e.kill(e.begun(), tc.status)

			for range 3 {
				obj := e.once()
				if engine.IsTrue(obj, meta.ReadyCondition) || engine.IsTrue(obj, meta.StalledCondition) {
					break
				}
			}

			obj := e.get()
			c := engine.Condition(obj, meta.ReadyCondition)

			if got := strings.ReplaceAll(c.Reason+": "+c.Message, e.namespace, "NS"); !strings.HasPrefix(got, tc.ready) {
				t.Errorf("%s: Ready is %q", tc.reason, got)
			}

			same(t, tc.reason, tc.stored, e.releases())
			same(t, "tried", tc.action, obj.Status.LastAttemptedReleaseAction)
		})
	}
}

// TestKilledAfterFailure counts a failure that nobody has written down, and does not try again.
func TestKilledAfterFailure(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config})
	e.declare(nil)

	before := e.once().Status

	e.publish("2.0.0", map[string]string{"config": broken})
	e.once()
	e.kill(before, "")

	obj := e.once()
	stored := map[int]release.Status{1: release.StatusDeployed, 2: release.StatusFailed}
	same(t, "not tried again", stored, e.releases())
	same(t, "Ready", v2.UpgradeFailedReason, engine.Condition(obj, meta.ReadyCondition).Reason)
	same(t, "Stalled", v2.RetriesExceededReason, engine.Condition(obj, meta.StalledCondition).Reason)
	same(t, "failures", int64(1), obj.Status.UpgradeFailures)
}
