package state_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// TestDetect has the rows of the table of states, in its order.
func TestDetect(t *testing.T) {
	type args struct {
		obj    *v2.HelmRelease
		latest *release.Release
		want   state.Wanted
		drift  state.Drift
	}

	deployed := stored(1, release.StatusDeployed)

	// inSync returns a release that is in sync, but for a change.
	inSync := func(change func(*args)) args {
		a := args{obj: helmRelease(snapshot(t, deployed)), latest: deployed, want: wanted(), drift: func() (bool, error) {
			return false, errors.New("not asked for")
		}}
		change(&a)

		return a
	}

	// of returns one whose latest release has a status, with a snapshot of it.
	of := func(status release.Status) args {
		return inSync(func(a *args) { a.latest = stored(1, status); a.obj = helmRelease(snapshot(t, a.latest)) })
	}

	// tested returns one whose tests are enabled and went as given.
	tested := func(hooks map[string]v2.TestHookStatus, change func(*v2.HelmRelease)) args {
		return inSync(func(a *args) {
			a.obj.Spec.Test = &v2.Test{Enable: true}
			a.obj.Status.LastAttemptedReleaseAction = v2.ActionUpgrade
			a.obj.Status.History[0].TestHooks = hooks
			change(a.obj)
		})
	}

	drifts := func(mode string, drifted bool) args {
		return inSync(func(a *args) {
			a.obj.Spec.DriftDetection = &v2.DriftDetection{Mode: mode}
			a.drift = func() (bool, error) { return drifted, nil }
		})
	}

	nothing, yes := func(*v2.HelmRelease) {}, true

	cases := map[string]struct {
		reason string
		args   args
		want   state.State
		why    string
	}{
		"1 Absent": {"no release", inSync(func(a *args) { a.latest = nil }), state.Absent, "there is no release"},

		"2 Locked":   {"Helm was interrupted", of(release.StatusPendingUpgrade), state.Locked, "the release is in the state 'pending-upgrade'"},
		"2 Install":  {"in any action", of(release.StatusPendingInstall), state.Locked, "the release is in the state 'pending-install'"},
		"2 Rollback": {"in any action", of(release.StatusPendingRollback), state.Locked, "the release is in the state 'pending-rollback'"},
		"2 Unknown": {
			"also without history", inSync(func(a *args) { a.latest = stored(1, release.StatusPendingInstall); a.obj.Status.History = nil }),
			state.Locked, "the release is in the state 'pending-install'",
		},
		"2 Uninstall": {
			"an uninstall that was interrupted must not last", of(release.StatusUninstalling), state.Locked, "the release is in the state 'uninstalling'",
		},

		"3 Unmanaged": {
			"somebody else's", inSync(func(a *args) { a.obj.Status.History = nil }),
			state.Unmanaged, "the release was not made by this HelmRelease",
		},
		"3 Uninstalled": {
			"somebody else's that is gone", inSync(func(a *args) { a.latest = stored(1, release.StatusUninstalled); a.obj.Status.History = nil }),
			state.Absent, "the release is uninstalled",
		},

		"4 Digest": {
			"somebody has changed it", inSync(func(a *args) { a.latest = stored(1, release.StatusDeployed, manifest("kind: Pod\n")) }),
			state.Unmanaged, "the release is not as it was left",
		},
		"4 Revision": {
			"somebody has released meanwhile", inSync(func(a *args) { a.latest = stored(2, release.StatusDeployed) }),
			state.Unmanaged, "the release is not as it was left",
		},
		"4 NoDigest": {
			"a digest that cannot be read is of nothing", inSync(func(a *args) { a.obj.Status.History[0].Digest = "sha256:" }),
			state.Unmanaged, "the release is not as it was left",
		},
		"4 OldVersion": {
			"a digest that was made in another way is not looked at",
			inSync(func(a *args) { a.obj.Status.History[0].APIVersion, a.obj.Status.History[0].Digest = "v1", "sha256:" }), state.InSync, "",
		},
		"4 OldVersionOfOther": {
			"but another revision is another release",
			inSync(func(a *args) { a.obj.Status.History[0].APIVersion = "v1"; a.latest = stored(2, release.StatusDeployed) }),
			state.Unmanaged, "the release is not as it was left",
		},

		"5 Failed":      {"Helm says so", of(release.StatusFailed), state.Failed, "the release has failed"},
		"5 Uninstalled": {"Helm has kept the history", of(release.StatusUninstalled), state.Absent, "the release is uninstalled"},

		"6 Name": {
			"another chart", inSync(func(a *args) { a.want.Chart = &chart.Metadata{Name: "other", Version: "1.0.0"} }),
			state.OutOfSync, "release chart changed",
		},
		"6 Version": {
			"another version", inSync(func(a *args) { a.want.Chart = &chart.Metadata{Name: "podinfo", Version: "1.0.0+abc"} }),
			state.OutOfSync, "release chart changed",
		},
		"6 Values": {
			"other values", inSync(func(a *args) { a.want.Values = map[string]any{"k": 1.0} }), state.OutOfSync, "release config values changed",
		},

		"7 PostRenderers": {
			"other post-renderers", inSync(func(a *args) { a.obj.Generation, a.obj.Spec.PostRenderers = 3, []v2.PostRenderer{{}} }),
			state.OutOfSync, "post-renderers changed",
		},
		"7 NoPostRenderers": {
			"none any more", inSync(func(a *args) { a.obj.Generation, a.obj.Status.ObservedPostRenderersDigest = 3, "sha256:x" }),
			state.OutOfSync, "post-renderers changed",
		},
		"7 CommonMetadata": {
			"other labels", inSync(func(a *args) { a.obj.Generation, a.obj.Spec.CommonMetadata = 3, &meta.CommonMetadata{} }),
			state.OutOfSync, "common metadata changed",
		},
		"7 Observed": {
			"seen already", inSync(func(a *args) {
				a.obj.Generation, a.obj.Spec.PostRenderers, a.obj.Spec.CommonMetadata = 3, []v2.PostRenderer{{}}, &meta.CommonMetadata{}
				state.ObserveRendering(a.obj)
			}), state.InSync, "",
		},
		"7 SameGeneration": {
			"a digest that was made in another way is no change",
			inSync(func(a *args) {
				a.obj.Status.ObservedPostRenderersDigest, a.obj.Status.ObservedCommonMetadataDigest = "a", "b"
			}),
			state.InSync, "",
		},

		"8 Untested": {"tests were not run", tested(nil, nothing), state.Untested, "release has not been tested"},
		"8 Running": {
			"not all of them", tested(tests(map[string]string{"a": "Succeeded", "b": "Running"}), nothing),
			state.Untested, "release has not been tested",
		},
		"8 NoTests":   {"there are none", tested(tests(nil), nothing), state.InSync, ""},
		"8 Succeeded": {"all of them", tested(tests(map[string]string{"a": "Succeeded", "b": "Succeeded"}), nothing), state.InSync, ""},
		"8 Failed": {
			"one is enough", tested(tests(map[string]string{"a": "Running", "b": "Failed"}), nothing),
			state.Failed, "release has test in failed phase",
		},
		"8 Ignored": {
			"tests may fail", tested(tests(map[string]string{"b": "Failed"}), func(o *v2.HelmRelease) { o.Spec.Test.IgnoreFailures = true }),
			state.InSync, "",
		},
		"8 IgnoredByUpgrade": {
			"the remediation of what was tried says it", tested(tests(map[string]string{"b": "Failed"}), func(o *v2.HelmRelease) {
				o.Spec.Upgrade = &v2.Upgrade{Remediation: &v2.UpgradeRemediation{IgnoreTestFailures: &yes}}
			}), state.InSync, "",
		},
		"8 IgnoredByOther": {
			"not that of another action", tested(tests(map[string]string{"b": "Failed"}), func(o *v2.HelmRelease) {
				o.Spec.Install = &v2.Install{Remediation: &v2.InstallRemediation{IgnoreTestFailures: &yes}}
			}), state.Failed, "release has test in failed phase",
		},
		"8 Disabled": {
			"nobody wants to know", tested(tests(map[string]string{"b": "Failed"}), func(o *v2.HelmRelease) { o.Spec.Test.Enable = false }),
			state.InSync, "",
		},

		"9 Drifted":  {"the cluster differs", drifts(v2.DriftDetectionEnabled, true), state.Drifted, "the cluster differs from the release"},
		"9 Warn":     {"also if it is only told", drifts(v2.DriftDetectionWarn, true), state.Drifted, "the cluster differs from the release"},
		"9 Same":     {"the cluster is the same", drifts(v2.DriftDetectionEnabled, false), state.InSync, ""},
		"9 Disabled": {"nobody asks", inSync(func(*args) {}), state.InSync, ""},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := state.Detect(tc.args.obj, tc.args.latest, tc.args.want, tc.args.drift)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}

			if diff := cmp.Diff(state.Observed{State: tc.want, Why: tc.why}, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDetectErrors(t *testing.T) {
	superseded := stored(3, release.StatusSuperseded)

	_, err := state.Detect(helmRelease(snapshot(t, superseded)), superseded, wanted(), nil)
	if !errors.Is(err, state.ErrStatus) || err.Error() != `unable to determine state: release 'ns/app.v3' has the status "superseded"` {
		t.Errorf("superseded: %v", err)
	}

	deployed, down := stored(1, release.StatusDeployed), errors.New("the API server is down")
	obj := helmRelease(snapshot(t, deployed))
	obj.Spec.DriftDetection = &v2.DriftDetection{Mode: v2.DriftDetectionWarn}

	if _, err := state.Detect(obj, deployed, wanted(), func() (bool, error) { return false, down }); !errors.Is(err, down) {
		t.Errorf("drift: %v", err)
	}

	// What Helm has stored may be anything.
	if got, err := state.Detect(helmRelease(snapshot(t, deployed)), &release.Release{}, wanted(), nil); err != nil || got.State != state.Unmanaged {
		t.Errorf("empty: %v, %v", got, err)
	}
}

func manifest(text string) func(*release.Release) {
	return func(r *release.Release) { r.Manifest = text }
}
