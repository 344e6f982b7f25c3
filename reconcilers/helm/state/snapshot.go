package state

import (
	"cmp"
	"slices"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/values"
)

// maxSnapshots is how long a history gets of which no snapshot can be rolled back to.
const maxSnapshots = 5

// Made says what an action makes. What a rollback makes has the digests of what it goes back to.
type Made struct {
	// Action that makes it. An install, upgrade or rollback adds a snapshot, all others change one that is there.
	Action string

	// OCIDigest is the digest of the chart, if it came from a registry.
	OCIDigest string

	// ConfigDigest is that of the wanted values. Empty means that of the values which Helm has stored: with
	// upgrade.preserveValues these are more than the wanted ones, and the release would never be in sync.
	ConfigDigest string
}

// Observe returns the history after an action has stored a release: the one that it makes, or one before, which it marks as
// superseded or uninstalled. What a snapshot says of the chart and the values in the first place, and of its tests, stays. Of
// releases that somebody else has made, none gets in. The history that is given is not modified.
func Observe(history v2.Snapshots, r *release.Release, m Made, algorithm digest.Algorithm) (v2.Snapshots, error) {
	i := slices.IndexFunc(history, func(h v2.Snapshot) bool {
		return h.Name == r.Name && h.Namespace == r.Namespace && h.Version == r.Version
	})

	if i < 0 && (!adds(m.Action) || statusOf(r) == release.StatusSuperseded) {
		return history, nil
	}

	var tests map[string]v2.TestHookStatus

	if i >= 0 {
		known := history[i]
		tests, m.OCIDigest, m.ConfigDigest = known.TestHooks, known.OCIDigest, known.ConfigDigest

		if adds(m.Action) {
			m.Action = known.Action
		}

		m.Action = cmp.Or(m.Action, known.Action)
	}

	s, err := snapshot(r, m, algorithm)
	if err != nil {
		return nil, err
	}

	s.TestHooks = tests

	if history = slices.Clone(history); i >= 0 {
		history[i] = s

		return history, nil
	}

	history = append(history, s)
	slices.SortStableFunc(history, func(a, b v2.Snapshot) int { return cmp.Compare(b.Version, a.Version) })

	return history, nil
}

// Interrupted says what was made of a release that is Locked, for Observe after it is unlocked; it is to be called before. An
// upgrade or rollback on top of the newest snapshot gets into the history, for what was there before remains to be rolled back to,
// and it counts as an upgrade that was tried. All else stays out of it, and so becomes Unmanaged.
func Interrupted(obj *v2.HelmRelease, r *release.Release) Made {
	latest := obj.Status.History.Latest()
	if latest == nil || latest.Name != r.Name || latest.Namespace != r.Namespace || latest.Version >= r.Version {
		return Made{}
	}

	switch statusOf(r) {
	case release.StatusPendingUpgrade:
		obj.Status.LastAttemptedReleaseAction = v2.ActionUpgrade

		return Made{Action: v2.ActionUpgrade}
	case release.StatusPendingRollback:
		obj.Status.LastAttemptedReleaseAction = v2.ActionUpgrade

		return Made{Action: v2.ActionRollback}
	default:
		return Made{}
	}
}

func adds(action string) bool {
	return action == v2.ActionInstall || action == v2.ActionUpgrade || action == v2.ActionRollback
}

func snapshot(r *release.Release, m Made, algorithm digest.Algorithm) (v2.Snapshot, error) {
	d, err := Digest(r, m.OCIDigest, algorithm)
	if err != nil {
		return v2.Snapshot{}, err
	}

	if m.ConfigDigest == "" {
		config, err := values.Digest(r.Config, algorithm)
		if err != nil {
			return v2.Snapshot{}, err //nolint:wrapcheck // it says what it is about
		}

		m.ConfigDigest = config.String()
	}

	s := v2.Snapshot{
		APIVersion: v2.SnapshotAPIVersion, Digest: d.String(), Action: m.Action, Name: r.Name, Namespace: r.Namespace, Version: r.Version,
		Status: statusOf(r).String(), ChartName: chartOf(r).Name, ChartVersion: chartOf(r).Version, AppVersion: chartOf(r).AppVersion,
		ConfigDigest: m.ConfigDigest, OCIDigest: m.OCIDigest,
	}

	if r.Info != nil {
		s.FirstDeployed, s.LastDeployed = metav1.NewTime(r.Info.FirstDeployed.Time), metav1.NewTime(r.Info.LastDeployed.Time)
		s.Deleted = when(r.Info.Deleted)
	}

	return s, nil
}

// Tests returns how the tests of a release went, empty and not nil if it has none that are selected. Filters select as Helm does: of
// the names that are not excluded all, or those that are named.
func Tests(r *release.Release, filters []v2.Filter) map[string]v2.TestHookStatus {
	tests := map[string]v2.TestHookStatus{}

	for _, h := range r.Hooks {
		if !isTest(h) || !selects(filters, h.Name) {
			continue
		}

		tests[h.Name] = v2.TestHookStatus{
			LastStarted: when(h.LastRun.StartedAt), LastCompleted: when(h.LastRun.CompletedAt), Phase: h.LastRun.Phase.String(),
		}
	}

	return tests
}

func selects(filters []v2.Filter, name string) bool {
	included := true

	for _, f := range filters {
		if f.Exclude && f.Name == name {
			return false
		}

		if !f.Exclude {
			included = false
		}
	}

	return included || slices.Contains(filters, v2.Filter{Name: name})
}

// Tested tells whether the tests of a release were run: there are none, all have succeeded, or one has failed.
func Tested(s *v2.Snapshot) bool {
	if s.TestHooks == nil {
		return false
	}

	if TestFailed(s) {
		return true
	}

	for _, t := range s.TestHooks {
		if t.Phase != release.HookPhaseSucceeded.String() {
			return false
		}
	}

	return true
}

// TestFailed tells whether a test of a release has failed.
func TestFailed(s *v2.Snapshot) bool {
	for _, t := range s.TestHooks {
		if t.Phase == release.HookPhaseFailed.String() {
			return true
		}
	}

	return false
}

// Truncate returns what is kept of the history of a release that is in sync: all down to the one to roll back to, or the newest
// ones if there is none, or if it is not remediated but retried.
func Truncate(obj *v2.HelmRelease) v2.Snapshots {
	history := obj.Status.History
	p, active := activePolicy(obj)
	keep := maxSnapshots

	if !active || p.retry == 0 {
		if i := previous(history, p.ignoreTests); i > 0 {
			keep = i + 1
		}
	}

	return slices.Clone(history[:min(keep, len(history))])
}

// previous returns the index of the newest snapshot but one that can be rolled back to, or -1.
func previous(history v2.Snapshots, ignoreTests bool) int {
	for i := 1; i < len(history); i++ {
		switch release.Status(history[i].Status) {
		case release.StatusDeployed, release.StatusSuperseded:
			if ignoreTests || !TestFailed(&history[i]) {
				return i
			}
		default:
		}
	}

	return -1
}

func when(t helmtime.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}

	return &metav1.Time{Time: t.Time}
}
