package state_test

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

var deployedAt = time.Date(2026, 11, 20, 10, 0, 0, 123456789, time.UTC)

// stored returns what Helm has stored of a revision of the release ns/app, of version 1.0.0 of a chart.
func stored(revision int, status release.Status, change ...func(*release.Release)) *release.Release {
	r := &release.Release{
		Name: "app", Namespace: "ns", Version: revision, Manifest: "kind: ConfigMap\n", Config: map[string]any{"k": "v"},
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "podinfo", Version: "1.0.0", AppVersion: "1"}},
		Info:  &release.Info{FirstDeployed: helmtime.Time{Time: deployedAt}, LastDeployed: helmtime.Time{Time: deployedAt}, Status: status},
	}

	for _, c := range change {
		c(r)
	}

	return r
}

// snapshot returns the snapshot of what Helm has stored.
func snapshot(t *testing.T, r *release.Release, change ...func(*v2.Snapshot)) v2.Snapshot {
	t.Helper()

	// In the middle of an action, a release that is superseded was another one before.
	before := *r
	before.Info = &release.Info{}
	*before.Info = *r.Info
	before.Info.Status = release.StatusDeployed

	history, err := state.Observe(nil, &before, state.Made{Action: v2.ActionInstall}, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}

	if history, err = state.Observe(history, r, state.Made{}, digest.SHA256); err != nil {
		t.Fatal(err)
	}

	s := history[0]
	for _, c := range change {
		c(&s)
	}

	return s
}

// wanted is what is in sync with a stored release.
func wanted() state.Wanted {
	return state.Wanted{Chart: &chart.Metadata{Name: "podinfo", Version: "1.0.0"}, Values: map[string]any{"k": "v"}}
}

// helmRelease returns one that has seen the snapshots.
func helmRelease(history ...v2.Snapshot) *v2.HelmRelease {
	return &v2.HelmRelease{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "ns", Generation: 2},
		Status:     v2.HelmReleaseStatus{ObservedGeneration: 2, StorageNamespace: "ns", History: history},
	}
}

// tests returns how tests went, by their names.
func tests(phases map[string]string) map[string]v2.TestHookStatus {
	all := map[string]v2.TestHookStatus{}
	for name, phase := range phases {
		all[name] = v2.TestHookStatus{Phase: phase}
	}

	return all
}
