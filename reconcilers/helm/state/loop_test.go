package state_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// TestLoopNext holds that each kind of action runs once.
func TestLoopNext(t *testing.T) {
	run, done, requeue := state.Verdict{Outcome: state.Run}, state.Verdict{Outcome: state.Done}, state.Verdict{Outcome: state.Requeue}
	inFive := state.Verdict{Outcome: state.Retry, After: 5 * time.Minute, Message: "retrying after 5m0s"}

	inOne := func(o *v2.HelmRelease) {
		retryOnFailure(o)
		o.Spec.Upgrade.Strategy.RetryInterval = &metav1.Duration{Duration: time.Minute}
	}

	cases := map[string]struct {
		reason string
		obj    *v2.HelmRelease
		ran    []state.Action
		next   state.Action
		want   state.Verdict
	}{
		"First":       {"nothing has run", helmRelease(), nil, state.Install, run},
		"Nothing":     {"nothing is to be done", helmRelease(), nil, state.None, done},
		"OtherKinds":  {"each kind once", helmRelease(), []state.Action{state.Unlock, state.Upgrade, state.Test, state.CorrectDrift}, state.Rollback, run},
		"Release":     {"installs and upgrades are one kind", failing(v2.ActionInstall, 0), []state.Action{state.Install}, state.Upgrade, requeue},
		"Remediation": {"so are rollback and uninstall", failing(v2.ActionUpgrade, 0), []state.Action{state.Rollback}, state.Uninstall, requeue},
		"Test":        {"tests once", failing(v2.ActionUpgrade, 0), []state.Action{state.Test}, state.Test, requeue},
		"Unlock":      {"unlock once", failing(v2.ActionUpgrade, 0), []state.Action{state.Unlock}, state.Unlock, requeue},
		"Drift":       {"correct once", failing(v2.ActionUpgrade, 0), []state.Action{state.CorrectDrift}, state.CorrectDrift, requeue},
		"Retried":     {"after the interval", failing(v2.ActionInstall, 1, retryOnFailure), []state.Action{state.Install}, state.Upgrade, inFive},
		"RetriedSoon": {
			"after its own interval", failing(v2.ActionUpgrade, 1, inOne), []state.Action{state.Upgrade}, state.Upgrade,
			state.Verdict{Outcome: state.Retry, After: time.Minute, Message: "retrying after 1m0s"},
		},
		"RetriesLeft": {"soon again", failing(v2.ActionUpgrade, 1, retries(1)), []state.Action{state.Upgrade}, state.Upgrade, requeue},
		"Exhausted":   {"that is all", failing(v2.ActionUpgrade, 2, retries(1)), []state.Action{state.Upgrade}, state.Upgrade, done},
		"Nobody":      {"nothing says when to give up", helmRelease(), []state.Action{state.Unlock}, state.Unlock, requeue},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var l state.Loop

			for _, a := range tc.ran {
				if v := l.Next(tc.obj, a); v.Outcome != state.Run {
					t.Fatalf("%s: %v", a, v)
				}
			}

			if diff := cmp.Diff(tc.want, l.Next(tc.obj, tc.next)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLoopRan(t *testing.T) {
	failed := errors.New("failed")
	stall := func(text string) state.Verdict { return state.Verdict{Outcome: state.Stall, Message: text} }
	goOn, requeue := state.Verdict{Outcome: state.Continue}, state.Verdict{Outcome: state.Requeue}

	cases := map[string]struct {
		reason string
		obj    *v2.HelmRelease
		action state.Action
		err    error
		stored bool
		want   state.Verdict
	}{
		"Succeeded": {"look again", failing(v2.ActionUpgrade, 0), state.Upgrade, nil, true, goOn},
		"Failed":    {"look again", failing(v2.ActionUpgrade, 1), state.Upgrade, failed, true, goOn},
		"NotStored": {"nothing was tried", failing(v2.ActionUpgrade, 0), state.Upgrade, failed, false, state.Verdict{Outcome: state.Return}},
		"NotStoredRetried": {
			"nothing was tried", failing(v2.ActionUpgrade, 0, retryOnFailure), state.Upgrade, failed, false,
			state.Verdict{Outcome: state.Retry, After: 5 * time.Minute, Message: "retrying after 5m0s"},
		},
		"NotStoredRemediation": {
			"nothing was tried", failing(v2.ActionUpgrade, 1), state.Rollback, failed, false, state.Verdict{Outcome: state.Return},
		},
		"RetryLeft":         {"again", failing(v2.ActionUpgrade, 1, retries(1)), state.Rollback, nil, true, requeue},
		"InstallRetryLeft":  {"again", failing(v2.ActionInstall, 1, retries(1)), state.Uninstall, nil, true, requeue},
		"Reinstall":         {"an install follows, which counts for itself", failing(v2.ActionUpgrade, 2, retries(1), uninstalls), state.Uninstall, nil, true, requeue},
		"Exhausted":         {"at once", failing(v2.ActionUpgrade, 2, retries(1)), state.Rollback, nil, true, stall("Failed to upgrade after 2 attempt(s)")},
		"InstallExhausted":  {"at once", failing(v2.ActionInstall, 1), state.Uninstall, nil, true, stall("Failed to install after 1 attempt(s)")},
		"RemediationFailed": {"at once", failing(v2.ActionUpgrade, 1), state.Rollback, failed, true, stall("Failed to upgrade after 1 attempt(s)")},
		"Nobody":            {"nothing says when to give up", helmRelease(), state.Uninstall, nil, true, requeue},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var l state.Loop

			if diff := cmp.Diff(tc.want, l.Ran(tc.obj, tc.action, tc.err, tc.stored)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestLoopForce holds that one release answers a request.
func TestLoopForce(t *testing.T) {
	var l state.Loop

	if l.Force(false) || !l.Force(true) {
		t.Error("before a release, a request is one")
	}

	l.Next(helmRelease(), state.Unlock)

	if !l.Force(true) {
		t.Error("an unlock is no release")
	}

	if l.Next(helmRelease(), state.Upgrade); l.Force(true) {
		t.Error("a request is answered once")
	}
}
