package v2_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

func TestReleaseName(t *testing.T) {
	cases := map[string]struct {
		reason string
		name   string
		spec   v2.HelmReleaseSpec
		want   string
	}{
		"Name":   {reason: "A release is named after its object.", name: "podinfo", want: "podinfo"},
		"Target": {reason: "A target namespace tells namesakes apart.", name: "podinfo", spec: v2.HelmReleaseSpec{TargetNamespace: "apps"}, want: "apps-podinfo"},
		"Set":    {reason: "What is set counts.", name: "podinfo", spec: v2.HelmReleaseSpec{TargetNamespace: "apps", ReleaseName: "web"}, want: "web"},
		"Long": {
			reason: "Helm takes 53 characters; the digest keeps what is cut apart.",
			name:   "with-a-nice-object-name",
			spec:   v2.HelmReleaseSpec{TargetNamespace: "a-very-lengthy-target-namespace"},
			want:   "a-very-lengthy-target-namespace-with-a-n-97af5d7f41f3",
		},
		"JustFits": {
			reason: "What Helm takes is not cut.",
			name:   "a23456789-123456789-123456789-123456789-123456789-123",
			want:   "a23456789-123456789-123456789-123456789-123456789-123",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hr := &v2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Name: tc.name, Namespace: "default"}, Spec: tc.spec}
			if got := hr.GetReleaseName(); got != tc.want {
				t.Errorf("%s\nname is %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// values are all that a HelmRelease has a default for.
type values struct {
	Timeout                                           time.Duration
	MaxHistory                                        int
	ReleaseNamespace, StorageNamespace                string
	PersistentClient                                  bool
	Drift, PostRender, Wait                           string
	InstallStrategy, UpgradeStrategy                  string
	InstallRetry, UpgradeRetry                        time.Duration
	InstallCRDs, UpgradeCRDs                          string
	InstallSSA                                        bool
	UpgradeSSA, RollbackSSA                           string
	InstallIgnoresTests, UpgradeIgnoresTests          bool
	InstallRemediatesLast, UpgradeRemediatesLast      bool
	Remediation, ChartNameChange, DeletionPropagation string
	Timeouts                                          [5]time.Duration
}

func valuesOf(hr *v2.HelmRelease) values {
	install, upgrade, rollback := hr.GetInstall(), hr.GetUpgrade(), hr.GetRollback()
	test, uninstall := hr.GetTest(), hr.GetUninstall()
	out := values{
		Timeout: hr.GetTimeout(), MaxHistory: hr.GetMaxHistory(),
		ReleaseNamespace: hr.GetReleaseNamespace(), StorageNamespace: hr.GetStorageNamespace(),
		PersistentClient: hr.UsesPersistentClient(),
		Drift:            hr.GetDriftDetectionMode(), PostRender: hr.GetPostRenderStrategy(), Wait: hr.GetWaitStrategy(),
		InstallCRDs: install.GetCRDs(), UpgradeCRDs: upgrade.GetCRDs(),
		InstallSSA: install.GetServerSideApply(), UpgradeSSA: upgrade.GetServerSideApply(),
		RollbackSSA:           rollback.GetServerSideApply(),
		InstallIgnoresTests:   install.GetRemediation().IgnoresTestFailures(test.IgnoreFailures),
		UpgradeIgnoresTests:   upgrade.GetRemediation().IgnoresTestFailures(test.IgnoreFailures),
		InstallRemediatesLast: install.GetRemediation().RemediatesLastFailure(),
		UpgradeRemediatesLast: upgrade.GetRemediation().RemediatesLastFailure(),
		Remediation:           upgrade.GetRemediation().GetStrategy(),
		ChartNameChange:       upgrade.GetChartNameChangeStrategy(),
		DeletionPropagation:   uninstall.GetDeletionPropagation(),
		Timeouts: [5]time.Duration{
			install.GetTimeout(hr.GetTimeout()), upgrade.GetTimeout(hr.GetTimeout()), test.GetTimeout(hr.GetTimeout()),
			rollback.GetTimeout(hr.GetTimeout()), uninstall.GetTimeout(hr.GetTimeout()),
		},
	}
	out.InstallStrategy, out.InstallRetry = install.GetStrategy()
	out.UpgradeStrategy, out.UpgradeRetry = upgrade.GetStrategy()

	return out
}

func TestDefaults(t *testing.T) {
	yes, no, ten := true, false, 10
	second := &metav1.Duration{Duration: time.Second}

	byDefault := values{
		Timeout: 5 * time.Minute, MaxHistory: 5, ReleaseNamespace: "default", StorageNamespace: "default",
		PersistentClient: true, Drift: "disabled", PostRender: "combined", Wait: "poller",
		InstallStrategy: "RemediateOnFailure", UpgradeStrategy: "RemediateOnFailure",
		InstallRetry: 5 * time.Minute, UpgradeRetry: 5 * time.Minute,
		InstallCRDs: "Create", UpgradeCRDs: "Create", InstallSSA: true, UpgradeSSA: "auto", RollbackSSA: "auto",
		Remediation: "rollback", ChartNameChange: "Reinstall", DeletionPropagation: "background",
		Timeouts: [5]time.Duration{5 * time.Minute, 5 * time.Minute, 5 * time.Minute, 5 * time.Minute, 5 * time.Minute},
	}
	retries := byDefault
	retries.UpgradeRemediatesLast = true
	retries.InstallIgnoresTests, retries.UpgradeIgnoresTests = true, true

	cases := map[string]struct {
		reason string
		spec   v2.HelmReleaseSpec
		want   values
	}{
		"Unset": {reason: "Everything has its default.", want: byDefault},
		"Empty": {
			reason: "An empty object is as good as none.",
			spec: v2.HelmReleaseSpec{
				DriftDetection: &v2.DriftDetection{}, Install: &v2.Install{Remediation: &v2.InstallRemediation{}},
				Upgrade:  &v2.Upgrade{Remediation: &v2.UpgradeRemediation{}},
				Rollback: &v2.Rollback{}, Test: &v2.Test{}, Uninstall: &v2.Uninstall{},
			},
			want: byDefault,
		},
		"Retries": {
			reason: "Retries and the tests change what remediations do by default.",
			spec: v2.HelmReleaseSpec{
				Test:    &v2.Test{IgnoreFailures: true},
				Install: &v2.Install{Remediation: &v2.InstallRemediation{Retries: 1}},
				Upgrade: &v2.Upgrade{Remediation: &v2.UpgradeRemediation{Retries: 1}},
			},
			want: retries,
		},
		"Set": {
			reason: "What is set counts.",
			spec: v2.HelmReleaseSpec{
				Timeout: &metav1.Duration{Duration: time.Hour}, MaxHistory: &ten, TargetNamespace: "apps", StorageNamespace: "helm",
				PersistentClient: &no, DriftDetection: &v2.DriftDetection{Mode: "warn"}, PostRenderStrategy: "nohooks",
				WaitStrategy: &v2.WaitStrategy{Name: "legacy"},
				Install: &v2.Install{
					Timeout: second, CRDs: "Skip", ServerSideApply: &no,
					Strategy:    &v2.InstallStrategy{Name: "RetryOnFailure", RetryInterval: second},
					Remediation: &v2.InstallRemediation{IgnoreTestFailures: &yes, RemediateLastFailure: &yes},
				},
				Upgrade: &v2.Upgrade{
					Timeout: second, CRDs: "CreateReplace", ServerSideApply: "enabled", ChartNameChangeStrategy: "InPlaceUpdate",
					Strategy:    &v2.UpgradeStrategy{Name: "RetryOnFailure", RetryInterval: second},
					Remediation: &v2.UpgradeRemediation{Retries: 3, RemediateLastFailure: &no, Strategy: "uninstall"},
				},
				Test:      &v2.Test{Timeout: second},
				Rollback:  &v2.Rollback{Timeout: second, ServerSideApply: "disabled"},
				Uninstall: &v2.Uninstall{Timeout: second, DeletionPropagation: "orphan"},
			},
			want: values{
				Timeout: time.Hour, MaxHistory: 10, ReleaseNamespace: "apps", StorageNamespace: "helm",
				Drift: "warn", PostRender: "nohooks", Wait: "legacy",
				InstallStrategy: "RetryOnFailure", UpgradeStrategy: "RetryOnFailure",
				InstallRetry: time.Second, UpgradeRetry: time.Second,
				InstallCRDs: "Skip", UpgradeCRDs: "CreateReplace", UpgradeSSA: "enabled", RollbackSSA: "disabled",
				InstallIgnoresTests: true, InstallRemediatesLast: true,
				Remediation: "uninstall", ChartNameChange: "InPlaceUpdate", DeletionPropagation: "orphan",
				Timeouts: [5]time.Duration{time.Second, time.Second, time.Second, time.Second, time.Second},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hr := &v2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Name: "podinfo", Namespace: "default"}, Spec: tc.spec}
			if diff := cmp.Diff(tc.want, valuesOf(hr)); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRetriesExhausted(t *testing.T) {
	cases := map[string]struct {
		reason   string
		retries  int
		failures int64
		want     bool
	}{
		"FirstAttempt": {reason: "Nothing has failed."},
		"NoRetries":    {reason: "One failure is enough.", failures: 1, want: true},
		"OneLeft":      {reason: "Two retries are three attempts.", retries: 2, failures: 2},
		"NoneLeft":     {reason: "Two retries are three attempts.", retries: 2, failures: 3, want: true},
		"NoLimit":      {reason: "A negative number is no limit.", retries: -1, failures: 99},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (v2.InstallRemediation{Retries: tc.retries}).RetriesExhausted(tc.failures); got != tc.want {
				t.Errorf("%s\ninstall: %v, want %v", tc.reason, got, tc.want)
			}

			if got := (v2.UpgradeRemediation{Retries: tc.retries}).RetriesExhausted(tc.failures); got != tc.want {
				t.Errorf("%s\nupgrade: %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestChart(t *testing.T) {
	hr := &v2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Name: "podinfo", Namespace: "default"}}
	if got := hr.GetHelmChartName(); got != "default-podinfo" {
		t.Errorf("name of the chart is %q", got)
	}

	chart := &v2.HelmChartTemplate{}
	if ns, interval := chart.GetNamespace("default"), chart.GetInterval(time.Hour); ns != "default" || interval != time.Hour {
		t.Errorf("defaults are %q and %s, want those of the release", ns, interval)
	}

	chart.Spec.SourceRef.Namespace, chart.Spec.Interval = "charts", &metav1.Duration{Duration: time.Minute}
	if ns, interval := chart.GetNamespace("default"), chart.GetInterval(time.Hour); ns != "charts" || interval != time.Minute {
		t.Errorf("values are %q and %s, want those of the chart", ns, interval)
	}

	ref := &v2.CrossNamespaceSourceReference{}
	if got := ref.GetNamespace("default"); got != "default" {
		t.Errorf("default namespace of a source is %q", got)
	}
}

// TestTestHooks guards the difference between no tests and tests that were not run.
func TestTestHooks(t *testing.T) {
	for want, hooks := range map[string]map[string]v2.TestHookStatus{
		`null`:                        nil,
		`{}`:                          {},
		`{"a":{"phase":"Succeeded"}}`: {"a": {Phase: "Succeeded"}},
	} {
		data, err := json.Marshal(v2.Snapshot{TestHooks: hooks})
		if err != nil {
			t.Fatal(err)
		}

		var got struct{ TestHooks json.RawMessage }
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}

		if got.TestHooks == nil {
			got.TestHooks = json.RawMessage("null")
		}

		if string(got.TestHooks) != want {
			t.Errorf("test hooks are %s, want %s", got.TestHooks, want)
		}
	}
}

func TestSnapshots(t *testing.T) {
	if got := (v2.Snapshots)(nil).Latest(); got != nil {
		t.Errorf("latest of none is %v", got)
	}

	history := v2.Snapshots{{Namespace: "apps", Name: "web", Version: 2, ChartName: "podinfo", ChartVersion: "6.1.0"}, {}}
	latest := history.Latest()

	if latest != &history[0] {
		t.Error("latest is not the first")
	}

	if got := latest.FullReleaseName(); got != "apps/web.v2" {
		t.Errorf("release is %q", got)
	}

	if got := latest.VersionedChartName(); got != "podinfo@6.1.0" {
		t.Errorf("chart is %q", got)
	}
}
