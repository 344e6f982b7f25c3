package state_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/helm/state"
	"github.com/weir-dev/weir/reconcilers/helm/values"
)

// counts are the failures of all, of installs and of upgrades.
type counts [3]int64

func countsOf(obj *v2.HelmRelease) counts {
	return counts{obj.Status.Failures, obj.Status.InstallFailures, obj.Status.UpgradeFailures}
}

func TestCount(t *testing.T) {
	ignore := func(o *v2.HelmRelease) { o.Spec.Test = &v2.Test{IgnoreFailures: true} }
	some := counts{5, 3, 2}

	cases := map[string]struct {
		reason string
		last   string
		change func(*v2.HelmRelease)
		count  func(*v2.HelmRelease)
		want   counts
	}{
		"Install":          {"counts", v2.ActionInstall, nil, failure(state.Install, true), counts{6, 4, 2}},
		"Upgrade":          {"counts", v2.ActionUpgrade, nil, failure(state.Upgrade, true), counts{6, 3, 3}},
		"InstallNotStored": {"nothing was tried", v2.ActionInstall, nil, failure(state.Install, false), counts{6, 3, 2}},
		"UpgradeNotStored": {"nothing was tried", v2.ActionUpgrade, nil, failure(state.Upgrade, false), counts{6, 3, 2}},
		"Retried":          {"counts too", v2.ActionUpgrade, retryOnFailure, failure(state.Upgrade, true), counts{6, 3, 3}},
		"TestOfInstall":    {"a test counts as what it tests", v2.ActionInstall, nil, failure(state.Test, true), counts{6, 4, 2}},
		"TestOfUpgrade":    {"a test counts as what it tests", v2.ActionUpgrade, nil, failure(state.Test, true), counts{6, 3, 3}},
		"TestIgnored":      {"unless it may fail", v2.ActionUpgrade, ignore, failure(state.Test, true), counts{6, 3, 2}},
		"TestOfNothing":    {"nothing was tried", "", nil, failure(state.Test, true), counts{6, 3, 2}},
		"Rollback":         {"is no attempt", v2.ActionUpgrade, nil, failure(state.Rollback, true), counts{6, 3, 2}},
		"Uninstall":        {"is no attempt", v2.ActionInstall, nil, failure(state.Uninstall, true), counts{6, 3, 2}},
		"Unlock":           {"is no attempt", v2.ActionInstall, nil, failure(state.Unlock, true), counts{6, 3, 2}},
		"Drift":            {"is no attempt", v2.ActionInstall, nil, failure(state.CorrectDrift, true), counts{6, 3, 2}},
		"Success":          {"a success does not undo failures", v2.ActionUpgrade, nil, state.CountSuccess, some},
		"SuccessRetried":   {"unless it is retried without end", v2.ActionUpgrade, retryOnFailure, state.CountSuccess, counts{}},
		"SuccessOfNothing": {"nothing was tried", "", retryOnFailure, state.CountSuccess, some},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := failing(tc.last, 0)
			obj.Status.Failures, obj.Status.InstallFailures, obj.Status.UpgradeFailures = some[0], some[1], some[2]

			if tc.change != nil {
				tc.change(obj)
			}

			if tc.count(obj); countsOf(obj) != tc.want {
				t.Errorf("%s: got %v, want %v", tc.reason, countsOf(obj), tc.want)
			}
		})
	}
}

func failure(a state.Action, stored bool) func(*v2.HelmRelease) {
	return func(o *v2.HelmRelease) { state.CountFailure(o, a, stored) }
}

func TestTakeRequests(t *testing.T) {
	const reconcile, force, reset = meta.ReconcileRequestAnnotation, meta.ForceRequestAnnotation, meta.ResetRequestAnnotation

	cases := map[string]struct {
		reason      string
		annotations map[string]string
		reconciled  string
		forced      string
		want        state.Requests
		forceAt     string
		resetAt     string
	}{
		"None":    {reason: "nobody asks", annotations: map[string]string{reconcile: "1"}, forced: "0", forceAt: "0"},
		"Force":   {reason: "asked for", annotations: map[string]string{reconcile: "1", force: "1"}, want: state.Requests{Force: true}, forceAt: "1"},
		"Reset":   {reason: "asked for", annotations: map[string]string{reconcile: "1", reset: "1"}, want: state.Requests{Reset: true}, resetAt: "1"},
		"Both":    {reason: "asked for", annotations: map[string]string{reconcile: "1", reset: "1", force: "1"}, want: state.Requests{Force: true, Reset: true}, forceAt: "1", resetAt: "1"},
		"Other":   {reason: "not with this reconcile, but seen", annotations: map[string]string{reconcile: "2", force: "1"}, forceAt: "1"},
		"Alone":   {reason: "no reconcile is asked for, but seen", annotations: map[string]string{force: "1"}, forceAt: "1"},
		"Empty":   {reason: "no token", annotations: map[string]string{reconcile: "", force: ""}, forced: "0"},
		"Handled": {reason: "once", annotations: map[string]string{reconcile: "1", force: "1"}, forced: "1", forceAt: "1"},
		"Done":    {reason: "the reconcile was done", annotations: map[string]string{reconcile: "1", force: "1"}, reconciled: "1", forceAt: "1"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &v2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Annotations: tc.annotations}}
			obj.Status.LastHandledReconcileAt, obj.Status.LastHandledForceAt = tc.reconciled, tc.forced

			if diff := cmp.Diff(tc.want, state.TakeRequests(obj)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}

			if obj.Status.LastHandledForceAt != tc.forceAt || obj.Status.LastHandledResetAt != tc.resetAt {
				t.Errorf("%s: handled %q and %q, want %q and %q", tc.reason,
					obj.Status.LastHandledForceAt, obj.Status.LastHandledResetAt, tc.forceAt, tc.resetAt)
			}

			if state.TakeRequests(obj) != (state.Requests{}) {
				t.Errorf("%s: counts twice", tc.reason)
			}
		})
	}
}

func TestBegin(t *testing.T) {
	wanted := map[string]any{"k": "v"}

	config, err := values.Digest(wanted, "sha512")
	if err != nil {
		t.Fatal(err)
	}

	attempt := state.Attempt{Revision: "1.0.0", RevisionDigest: "sha256:oci", ConfigDigest: config.String()}

	cases := map[string]struct {
		reason string
		change func(*v2.HelmRelease)
		reset  bool
		want   string
	}{
		"Same":       {"the same as before", func(*v2.HelmRelease) {}, false, ""},
		"Generation": {"the spec changed", func(o *v2.HelmRelease) { o.Generation++ }, false, "generation changed"},
		"Chart":      {"the chart changed", func(o *v2.HelmRelease) { o.Status.LastAttemptedRevision = "0.9.0" }, false, "chart version changed"},
		"Values": {
			"the values changed", func(o *v2.HelmRelease) { o.Status.LastAttemptedConfigDigest = sha("k: w").String() }, false, "values changed",
		},
		"Algorithm": {
			"another algorithm is no change", func(o *v2.HelmRelease) { o.Status.LastAttemptedConfigDigest = sha("k: v").String() }, false, "",
		},
		"Reset": {"asked for", func(*v2.HelmRelease) {}, true, "reset requested"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := helmRelease()
			obj.Status = v2.HelmReleaseStatus{
				LastAttemptedGeneration: 2, LastAttemptedRevision: "1.0.0", LastAttemptedConfigDigest: config.String(),
				LastAttemptedValuesChecksum: "old", LastReleaseRevision: 7, Failures: 3, InstallFailures: 2, UpgradeFailures: 1,
			}
			tc.change(obj)

			if got := state.Begin(obj, attempt, wanted, tc.reset); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}

			left := counts{3, 2, 1}
			if tc.want != "" {
				left = counts{}
			}

			want := v2.HelmReleaseStatus{
				LastAttemptedGeneration: obj.Generation, LastAttemptedRevision: "1.0.0", LastAttemptedRevisionDigest: "sha256:oci",
				LastAttemptedConfigDigest: config.String(), Failures: left[0], InstallFailures: left[1], UpgradeFailures: left[2],
			}
			if diff := cmp.Diff(want, obj.Status); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTargetChanged(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*v2.HelmRelease)
		chart  string
		want   string
	}{
		"Same":       {"the same as before", func(*v2.HelmRelease) {}, "podinfo", ""},
		"NoStorage":  {"nothing was released", func(o *v2.HelmRelease) { o.Status.StorageNamespace = ""; o.Spec.ReleaseName = "b" }, "other", ""},
		"NoHistory":  {"nothing is known", func(o *v2.HelmRelease) { o.Status.History = nil; o.Spec.ReleaseName = "b" }, "other", ""},
		"Storage":    {"it is stored elsewhere", func(o *v2.HelmRelease) { o.Spec.StorageNamespace = "b" }, "podinfo", "storage namespace changed"},
		"Namespace":  {"it is elsewhere", func(o *v2.HelmRelease) { o.Spec.TargetNamespace, o.Spec.ReleaseName = "b", "app" }, "podinfo", "target namespace changed"},
		"Name":       {"it has another name", func(o *v2.HelmRelease) { o.Spec.ReleaseName = "b" }, "podinfo", "release name changed"},
		"Chart":      {"it is something else", func(*v2.HelmRelease) {}, "other", "chart name changed"},
		"ChartStays": {"it may become something else", inPlace, "other", ""},
		"LongName": {
			"the short name is the one that counts", func(o *v2.HelmRelease) {
				o.Name, o.Spec.TargetNamespace = "with-a-nice-object-name", "a-very-lengthy-target-namespace"
				o.Status.History[0].Name, o.Status.History[0].Namespace = "a-very-lengthy-target-namespace-with-a-n-97af5d7f41f3", o.Spec.TargetNamespace
			}, "podinfo", "",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := helmRelease(v2.Snapshot{Name: "app", Namespace: "ns", Version: 1, ChartName: "podinfo"})
			tc.change(obj)

			if why, changed := state.TargetChanged(obj, tc.chart); why != tc.want || changed != (tc.want != "") {
				t.Errorf("%s: got %q, want %q", tc.reason, why, tc.want)
			}
		})
	}
}

func inPlace(o *v2.HelmRelease) {
	o.Spec.Upgrade = &v2.Upgrade{ChartNameChangeStrategy: v2.ChartNameChangeInPlaceUpdate}
}
