package state_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

func TestObserve(t *testing.T) {
	at := metav1.NewTime(deployedAt)
	base := v2.Snapshot{
		APIVersion: "v2", Action: v2.ActionInstall, Name: "app", Namespace: "ns", Version: 1, Status: "deployed",
		ChartName: "podinfo", ChartVersion: "1.0.0", AppVersion: "1", FirstDeployed: at, LastDeployed: at, OCIDigest: "sha256:oci",
		ConfigDigest: "sha256:wanted",
	}
	tested := tests(map[string]string{"a": "Succeeded"})

	// is returns the snapshot of a release, made of the base by a change.
	is := func(r *release.Release, change func(*v2.Snapshot)) v2.Snapshot {
		s := base
		change(&s)

		d, err := state.Digest(r, s.OCIDigest, digest.SHA256)
		if err != nil {
			t.Fatal(err)
		}

		s.Digest = d.String()

		return s
	}

	one, two := stored(1, release.StatusDeployed), stored(2, release.StatusDeployed)
	first := is(one, func(s *v2.Snapshot) { s.TestHooks = tested })
	gone := stored(1, release.StatusUninstalled, func(r *release.Release) { r.Info.Deleted = helmtime.Time{Time: deployedAt} })
	superseded, failed := stored(1, release.StatusSuperseded), stored(2, release.StatusFailed)
	upgrade := state.Made{Action: v2.ActionUpgrade, OCIDigest: "sha256:new", ConfigDigest: "sha256:other"}
	second := func(s *v2.Snapshot) {
		s.Version, s.Action, s.OCIDigest, s.ConfigDigest = 2, v2.ActionUpgrade, "sha256:new", "sha256:other"
	}

	cases := map[string]struct {
		reason  string
		history v2.Snapshots
		release *release.Release
		made    state.Made
		want    v2.Snapshots
	}{
		"Installed": {
			reason: "the first one", release: one, made: state.Made{Action: v2.ActionInstall, OCIDigest: "sha256:oci", ConfigDigest: "sha256:wanted"},
			want: v2.Snapshots{is(one, func(*v2.Snapshot) {})},
		},
		"StoredValues": {
			reason: "the digest is of the values that are stored", release: one, made: state.Made{Action: v2.ActionInstall, OCIDigest: "sha256:oci"},
			want: v2.Snapshots{is(one, func(s *v2.Snapshot) { s.ConfigDigest = sha("k: v").String() })},
		},
		"Upgraded": {
			reason: "the newest is the first", history: v2.Snapshots{first}, release: two, made: upgrade,
			want: v2.Snapshots{is(two, second), first},
		},
		"Superseded": {
			reason: "what is known of it stays, and the digest is made with it", history: v2.Snapshots{first}, release: superseded, made: upgrade,
			want: v2.Snapshots{is(superseded, func(s *v2.Snapshot) { s.Status, s.TestHooks = "superseded", tested })},
		},
		"Foreign": {reason: "what somebody else has made is nothing to go back to", release: superseded, made: upgrade},
		"Unlocked": {
			reason: "unlocking makes nothing", history: v2.Snapshots{first}, release: failed, want: v2.Snapshots{first},
		},
		"UnlockedKnown": {
			reason: "but changes what there is", history: v2.Snapshots{is(two, second), first}, release: failed,
			want: v2.Snapshots{is(failed, func(s *v2.Snapshot) { second(s); s.Status = "failed" }), first},
		},
		"Uninstalled": {
			reason: "it says which action it was", history: v2.Snapshots{first}, release: gone, made: state.Made{Action: v2.ActionUninstallRemediation},
			want: v2.Snapshots{is(gone, func(s *v2.Snapshot) {
				s.Status, s.TestHooks, s.Action, s.Deleted = "uninstalled", tested, v2.ActionUninstallRemediation, &at
			})},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := v2.HelmReleaseStatus{History: tc.history}
			before = *before.DeepCopy()

			got, err := state.Observe(tc.history, tc.release, tc.made, digest.SHA256)
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}

			if diff := cmp.Diff(before.History, tc.history); diff != "" {
				t.Errorf("%s: what was given was changed:\n%s", tc.reason, diff)
			}
		})
	}

	if _, err := state.Observe(nil, one, state.Made{Action: v2.ActionInstall}, "md5"); err == nil {
		t.Error("an unknown algorithm makes a snapshot")
	}
}

func TestInterrupted(t *testing.T) {
	recorded := v2.Snapshot{Name: "app", Namespace: "ns", Version: 1}

	cases := map[string]struct {
		reason  string
		history v2.Snapshots
		release *release.Release
		want    string
		last    string
	}{
		"Upgrade":   {"of what was recorded", v2.Snapshots{recorded}, stored(2, release.StatusPendingUpgrade), v2.ActionUpgrade, v2.ActionUpgrade},
		"Rollback":  {"is part of an upgrade", v2.Snapshots{recorded}, stored(3, release.StatusPendingRollback), v2.ActionRollback, v2.ActionUpgrade},
		"Install":   {"nothing was before it", v2.Snapshots{recorded}, stored(2, release.StatusPendingInstall), "", v2.ActionInstall},
		"Uninstall": {"makes nothing", v2.Snapshots{recorded}, stored(1, release.StatusUninstalling), "", v2.ActionInstall},
		"Same":      {"it is there", v2.Snapshots{recorded}, stored(1, release.StatusPendingUpgrade), "", v2.ActionInstall},
		"Foreign":   {"nothing was recorded", nil, stored(2, release.StatusPendingUpgrade), "", v2.ActionInstall},
		"Other": {
			"another release was recorded", v2.Snapshots{{Name: "b", Namespace: "ns", Version: 1}}, stored(2, release.StatusPendingUpgrade),
			"", v2.ActionInstall,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := helmRelease(tc.history...)
			obj.Status.LastAttemptedReleaseAction = v2.ActionInstall

			if got := state.Interrupted(obj, tc.release); got != (state.Made{Action: tc.want}) || obj.Status.LastAttemptedReleaseAction != tc.last {
				t.Errorf("%s: got %v after %s", tc.reason, got, obj.Status.LastAttemptedReleaseAction)
			}
		})
	}
}

func TestTests(t *testing.T) {
	at := metav1.NewTime(deployedAt)
	ran := release.HookExecution{StartedAt: helmtime.Time{Time: deployedAt}, CompletedAt: helmtime.Time{Time: deployedAt}, Phase: release.HookPhaseFailed}
	r := &release.Release{Hooks: []*release.Hook{
		{Name: "a", Events: []release.HookEvent{release.HookTest}, LastRun: ran},
		{Name: "b", Events: []release.HookEvent{release.HookTest}},
		{Name: "job", Events: []release.HookEvent{release.HookPreInstall}},
	}}
	a, b := v2.TestHookStatus{LastStarted: &at, LastCompleted: &at, Phase: "Failed"}, v2.TestHookStatus{}

	cases := map[string]struct {
		reason  string
		filters []v2.Filter
		want    map[string]v2.TestHookStatus
	}{
		"All":      {"no filter", nil, map[string]v2.TestHookStatus{"a": a, "b": b}},
		"Included": {"only what is named", []v2.Filter{{Name: "b"}, {Name: "job"}}, map[string]v2.TestHookStatus{"b": b}},
		"Excluded": {"all but what is named", []v2.Filter{{Name: "b", Exclude: true}}, map[string]v2.TestHookStatus{"a": a}},
		"Both":     {"excluded is excluded", []v2.Filter{{Name: "b"}, {Name: "b", Exclude: true}}, map[string]v2.TestHookStatus{}},
		"None":     {"none is not the same as not run", []v2.Filter{{Name: "c"}}, map[string]v2.TestHookStatus{}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, state.Tests(r, tc.filters)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTruncate(t *testing.T) {
	// history has revisions with the statuses, the newest first.
	history := func(statuses ...release.Status) (h v2.Snapshots) {
		for i, s := range statuses {
			h = append(h, v2.Snapshot{Version: len(statuses) - i, Status: s.String()})
		}

		return h
	}

	testFailed := func(h v2.Snapshots, i int) v2.Snapshots {
		h[i].TestHooks = tests(map[string]string{"a": "Failed"})

		return h
	}

	const d, s, f, u = release.StatusDeployed, release.StatusSuperseded, release.StatusFailed, release.StatusUninstalled

	plain := func(*v2.HelmRelease) {}

	cases := map[string]struct {
		reason  string
		history v2.Snapshots
		change  func(*v2.HelmRelease)
		want    int
	}{
		"Empty":        {"nothing", nil, plain, 0},
		"One":          {"the only one", history(d), plain, 1},
		"Previous":     {"down to the one to roll back to", history(d, s, s, s), plain, 2},
		"AfterFailed":  {"beyond failed ones", history(d, f, u, s, s, f), plain, 4},
		"Deep":         {"however far down", history(d, f, f, f, f, f, f, d, s), plain, 8},
		"NoPrevious":   {"five if there is none", history(d, f, f, f, f, f, f), plain, 5},
		"TestsFailed":  {"failed tests are no way back", testFailed(history(d, s, s, s), 1), plain, 3},
		"TestsIgnored": {"unless they may fail", testFailed(history(d, s, s, s), 1), func(o *v2.HelmRelease) { o.Spec.Test = &v2.Test{IgnoreFailures: true} }, 2},
		"Retried":      {"there is no way back from retries", history(d, s, f, f, s, s, s), retryOnFailure, 5},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := failing(v2.ActionUpgrade, 0, tc.change)
			obj.Status.History = tc.history

			got := state.Truncate(obj)
			if len(got) != tc.want || len(obj.Status.History) != len(tc.history) {
				t.Fatalf("%s: %d are left, want %d", tc.reason, len(got), tc.want)
			}

			for i := range got {
				if got[i].Version != len(tc.history)-i {
					t.Errorf("%s: got %v", tc.reason, got)
				}
			}
		})
	}
}
