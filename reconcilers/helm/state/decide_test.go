package state_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/release"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// failing is a release of which something has failed.
func failing(action string, failures int64, change ...func(*v2.HelmRelease)) *v2.HelmRelease {
	obj := helmRelease()
	obj.Status.LastAttemptedReleaseAction = action
	obj.Spec.Install = &v2.Install{Remediation: &v2.InstallRemediation{}}
	obj.Spec.Upgrade = &v2.Upgrade{Remediation: &v2.UpgradeRemediation{}}

	if action == v2.ActionInstall {
		obj.Status.InstallFailures = failures
	} else {
		obj.Status.UpgradeFailures = failures
	}

	for _, c := range change {
		c(obj)
	}

	return obj
}

// retries sets the retries of both remediations.
func retries(n int) func(*v2.HelmRelease) {
	return func(o *v2.HelmRelease) { o.Spec.Install.Remediation.Retries, o.Spec.Upgrade.Remediation.Retries = n, n }
}

func remediateLast(o *v2.HelmRelease) {
	yes := true
	o.Spec.Install.Remediation.RemediateLastFailure, o.Spec.Upgrade.Remediation.RemediateLastFailure = &yes, &yes
}

func uninstalls(o *v2.HelmRelease) { o.Spec.Upgrade.Remediation.Strategy = v2.RemediationUninstall }

// retryOnFailure retries both actions without end.
func retryOnFailure(o *v2.HelmRelease) {
	o.Spec.Install.Strategy = &v2.InstallStrategy{Name: v2.StrategyRetryOnFailure}
	o.Spec.Upgrade.Strategy = &v2.UpgradeStrategy{Name: v2.StrategyRetryOnFailure}
}

func mode(m string) func(*v2.HelmRelease) {
	return func(o *v2.HelmRelease) { o.Spec.DriftDetection = &v2.DriftDetection{Mode: m} }
}

// TestDecide has the rows of the table of actions, in its order.
func TestDecide(t *testing.T) {
	one, two := stored(1, release.StatusSuperseded), stored(2, release.StatusFailed)
	deployed := stored(1, release.StatusDeployed)

	// history has the second revision failed, after the first one.
	history := func(first *release.Release, change ...func(*v2.Snapshot)) func(*v2.HelmRelease) {
		return func(o *v2.HelmRelease) {
			o.Status.History = v2.Snapshots{snapshot(t, two), snapshot(t, first, change...)}
		}
	}

	testFailed := func(s *v2.Snapshot) { s.TestHooks = tests(map[string]string{"a": "Failed"}) }
	to := func(r *release.Release, change ...func(*v2.Snapshot)) state.Decision {
		s := snapshot(t, r, change...)

		return state.Decision{Action: state.Rollback, Target: &s}
	}

	upgrade := state.Decision{Action: state.Upgrade}
	install := state.Decision{Action: state.Install, ClearHistory: true}

	cases := map[string]struct {
		reason string
		obj    *v2.HelmRelease
		state  state.State
		force  bool
		stored *release.Release
		want   state.Decision
		err    string
	}{
		"InSync":       {reason: "nothing to do", obj: helmRelease(), state: state.InSync},
		"InSyncForced": {reason: "asked for", obj: helmRelease(), state: state.InSync, force: true, want: upgrade},
		"Locked":       {reason: "unlocked", obj: helmRelease(), state: state.Locked, force: true, want: state.Decision{Action: state.Unlock}},

		"Absent":          {reason: "installed", obj: helmRelease(), state: state.Absent, want: install},
		"AbsentRetry":     {reason: "one is left", obj: failing(v2.ActionInstall, 1, retries(1)), state: state.Absent, want: install},
		"AbsentUnlimited": {reason: "no limit", obj: failing(v2.ActionInstall, 99, retries(-1)), state: state.Absent, want: install},
		"AbsentExhausted": {
			reason: "none is left", obj: failing(v2.ActionInstall, 2, retries(1)), state: state.Absent,
			err: "exceeded maximum retries: cannot install release",
		},
		"AbsentNoRetries": {
			reason: "no retries are one attempt", obj: failing(v2.ActionInstall, 1), state: state.Absent,
			err: "exceeded maximum retries: cannot install release",
		},
		"AbsentForced":       {reason: "asked for", obj: failing(v2.ActionInstall, 2), state: state.Absent, force: true, want: install},
		"AbsentRetried":      {reason: "retried without end", obj: failing(v2.ActionInstall, 9, retryOnFailure), state: state.Absent, want: install},
		"AbsentAfterUpgrade": {reason: "counts for itself", obj: failing(v2.ActionUpgrade, 9), state: state.Absent, want: install},

		"Unmanaged": {
			reason: "taken over, however often it has failed", obj: failing(v2.ActionUpgrade, 9), state: state.Unmanaged,
			want: state.Decision{Action: state.Upgrade, ClearHistory: true},
		},

		"OutOfSync":      {reason: "upgraded", obj: helmRelease(), state: state.OutOfSync, want: upgrade},
		"OutOfSyncRetry": {reason: "one is left", obj: failing(v2.ActionUpgrade, 1, retries(1)), state: state.OutOfSync, want: upgrade},
		"OutOfSyncExhausted": {
			reason: "none is left", obj: failing(v2.ActionUpgrade, 1), state: state.OutOfSync, err: "exceeded maximum retries: cannot upgrade release",
		},
		"OutOfSyncForced":  {reason: "asked for", obj: failing(v2.ActionUpgrade, 1), state: state.OutOfSync, force: true, want: upgrade},
		"OutOfSyncRetried": {reason: "retried without end", obj: failing(v2.ActionUpgrade, 9, retryOnFailure), state: state.OutOfSync, want: upgrade},

		"Drifted": {
			reason: "corrected", obj: failing("", 0, mode(v2.DriftDetectionEnabled)), state: state.Drifted,
			want: state.Decision{Action: state.CorrectDrift},
		},
		"DriftedWarn": {reason: "only told", obj: failing("", 0, mode(v2.DriftDetectionWarn)), state: state.Drifted},
		"Untested":    {reason: "tested", obj: helmRelease(), state: state.Untested, want: state.Decision{Action: state.Test}},

		"FailedRetried":     {reason: "retried by upgrade", obj: failing(v2.ActionInstall, 9, retryOnFailure), state: state.Failed, want: upgrade},
		"FailedNothing":     {reason: "nothing was tried", obj: failing("", 9), state: state.Failed, want: upgrade},
		"FailedSpecChanged": {reason: "the failures are forgotten", obj: failing(v2.ActionUpgrade, 0), state: state.Failed, want: upgrade},
		"FailedForced":      {reason: "asked for", obj: failing(v2.ActionUpgrade, 9), state: state.Failed, force: true, want: upgrade},
		"FailedExhausted": {
			reason: "without retries the last failure stays", obj: failing(v2.ActionUpgrade, 1, history(one)), state: state.Failed,
			err: "exceeded maximum retries: cannot remediate failed release",
		},
		"FailedInstallExhausted": {
			reason: "the last failure of an install stays", obj: failing(v2.ActionInstall, 3, retries(2)), state: state.Failed,
			err: "exceeded maximum retries: cannot remediate failed release",
		},
		"FailedInstall": {
			reason: "an install is uninstalled", obj: failing(v2.ActionInstall, 1, retries(1)), state: state.Failed,
			want: state.Decision{Action: state.Uninstall},
		},
		"FailedInstallLast": {
			reason: "also the last one, if asked for", obj: failing(v2.ActionInstall, 1, remediateLast), state: state.Failed,
			want: state.Decision{Action: state.Uninstall},
		},
		"FailedUpgradeUninstall": {
			reason: "an upgrade is uninstalled", obj: failing(v2.ActionUpgrade, 1, retries(1), uninstalls), state: state.Failed,
			want: state.Decision{Action: state.Uninstall},
		},
		"FailedRollback": {
			reason: "an upgrade is rolled back", obj: failing(v2.ActionUpgrade, 1, retries(1), history(one)), state: state.Failed, stored: one,
			want: to(one),
		},
		"FailedRollbackLast": {
			reason: "with retries, also the last one", obj: failing(v2.ActionUpgrade, 2, retries(1), history(deployed)), state: state.Failed,
			stored: deployed, want: to(deployed),
		},
		"FailedNoTarget": {
			reason: "no release is known", obj: failing(v2.ActionUpgrade, 1, retries(1), history(stored(1, release.StatusFailed))), state: state.Failed,
			err: "missing target release for rollback: cannot remediate failed release",
		},
		"FailedTargetFailedTests": {
			reason: "one whose tests failed is none", obj: failing(v2.ActionUpgrade, 1, retries(1), history(one, testFailed)), state: state.Failed,
			err: "missing target release for rollback: cannot remediate failed release",
		},
		"FailedTargetIgnoredTests": {
			reason: "unless they may fail", state: state.Failed, stored: one,
			obj:  failing(v2.ActionUpgrade, 1, retries(1), history(one, testFailed), func(o *v2.HelmRelease) { o.Spec.Test = &v2.Test{IgnoreFailures: true} }),
			want: to(one, testFailed),
		},
		"FailedTargetGone": {
			reason: "the release is gone", obj: failing(v2.ActionUpgrade, 1, retries(1), history(one)), state: state.Failed, want: upgrade,
		},
		"FailedTargetChanged": {
			reason: "the release is another one", obj: failing(v2.ActionUpgrade, 1, retries(1), history(one)), state: state.Failed,
			stored: stored(1, release.StatusSuperseded, manifest("kind: Pod\n")), want: upgrade,
		},
		"NoState": {reason: "no such state", obj: helmRelease(), state: "Other", err: `unable to determine state: "Other" is no state`},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := state.Decide(tc.obj, tc.state, tc.force, func(s *v2.Snapshot) (*release.Release, error) {
				if s.Version != 1 {
					t.Errorf("revision %d was asked for", s.Version)
				}

				return tc.stored, nil
			})

			text := ""
			if err != nil {
				text = err.Error()
			}

			if diff := cmp.Diff(tc.err, text); diff != "" {
				t.Errorf("%s: -want error, +got:\n%s", tc.reason, diff)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDecideErrors(t *testing.T) {
	down := errors.New("the API server is down")
	obj := failing(v2.ActionUpgrade, 1, retries(1))
	obj.Status.History = v2.Snapshots{snapshot(t, stored(2, release.StatusFailed)), snapshot(t, stored(1, release.StatusSuperseded))}

	_, err := state.Decide(obj, state.Failed, false, func(*v2.Snapshot) (*release.Release, error) { return nil, down })
	if !errors.Is(err, down) || err.Error() != "verify rollback target 'ns/app.v1': the API server is down" {
		t.Errorf("got %v", err)
	}

	for err, obj := range map[error]*v2.HelmRelease{
		state.ErrRetriesExceeded: failing(v2.ActionUpgrade, 1), state.ErrMissingRollbackTarget: failing(v2.ActionUpgrade, 1, retries(1)),
	} {
		if _, got := state.Decide(obj, state.Failed, false, nil); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
	}
}
