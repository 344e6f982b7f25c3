package state_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/release"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// world is a model of Helm and of a reconciler that drives it.
type world struct {
	*testing.T

	obj      *v2.HelmRelease
	releases []*release.Release
	want     state.Wanted

	// fails tells how an action ends: 'f' fails with a stored release, 'e' fails without one, 'k' kills the process.
	fails func(a state.Action) byte

	trace []string
}

var errAction = errors.New("the action failed")

// reconcile runs until an outcome ends it, and returns that.
func (w *world) reconcile(force bool) state.Outcome {
	var l state.Loop

	state.Begin(w.obj, state.Attempt{Revision: w.want.Chart.Version, ConfigDigest: sha("k: v").String()}, w.want.Values, false)

	for range 20 {
		seen, err := state.Detect(w.obj, w.latest(), w.want, nil)
		if err != nil {
			w.Fatal(err)
		}

		decided, err := state.Decide(w.obj, seen.State, l.Force(force), w.stored)
		if err != nil {
			w.trace = append(w.trace, "stall")

			return state.Stall
		}

		if v := l.Next(w.obj, decided.Action); v.Outcome != state.Run {
			w.trace = append(w.trace, string(v.Outcome))

			return v.Outcome
		}

		before := w.obj.DeepCopy()
		how, wrote, err := w.run(decided)

		if how == 'k' {
			w.obj = before // nobody has written the status
			w.trace = append(w.trace, "killed")

			return state.Requeue
		}

		if err != nil {
			state.CountFailure(w.obj, decided.Action, wrote)
		}

		if v := l.Ran(w.obj, decided.Action, err, wrote); v.Outcome != state.Continue {
			w.trace = append(w.trace, string(v.Outcome))

			return v.Outcome
		}
	}

	w.Fatal("a reconcile does not end")

	return ""
}

// run is Helm.
func (w *world) run(d state.Decision) (how byte, wrote bool, err error) {
	w.trace = append(w.trace, string(d.Action))

	if d.ClearHistory {
		w.obj.Status.History = nil
	}

	if how = w.fails(d.Action); how == 'e' {
		return how, false, errAction
	}

	if how == 'f' {
		err = errAction
	}

	switch d.Action {
	case state.Install, state.Upgrade:
		w.obj.Status.LastAttemptedReleaseAction = string(d.Action)
		w.make(d.Action, w.want.Chart.Version, how)
	case state.Rollback:
		w.make(d.Action, d.Target.ChartVersion, how)
	case state.Uninstall:
		w.releases = nil

		if how == 'k' {
			w.releases = []*release.Release{stored(1, release.StatusUninstalling)}
		}
	case state.Unlock:
		made := state.Interrupted(w.obj, w.latest())
		w.latest().SetStatus(release.StatusFailed, "unlocked")
		w.observe(w.latest(), made.Action)
	case state.Test:
		w.obj.Status.History[0].TestHooks = tests(map[string]string{"t": map[bool]string{true: "Failed", false: "Succeeded"}[how == 'f']})
	case state.None, state.CorrectDrift:
	}

	return how, true, err
}

// make makes a revision.
func (w *world) make(a state.Action, version string, how byte) {
	pending := map[state.Action]release.Status{
		state.Install: release.StatusPendingInstall, state.Upgrade: release.StatusPendingUpgrade, state.Rollback: release.StatusPendingRollback,
	}

	next := stored(1, pending[a])
	if last := w.latest(); last != nil {
		next.Version = last.Version + 1
	}

	next.Chart.Metadata.Version = version
	w.releases = append(w.releases, next)
	w.observe(next, string(a))

	switch how {
	case 'k':
		return
	case 'f':
		next.Info.Status = release.StatusFailed
	default:
		for _, r := range w.releases {
			if r.Info.Status == release.StatusDeployed {
				r.Info.Status = release.StatusSuperseded
				w.observe(r, string(a))
			}
		}

		next.Info.Status = release.StatusDeployed
	}

	w.observe(next, string(a))
}

func (w *world) observe(r *release.Release, action string) {
	h, err := state.Observe(w.obj.Status.History, r, state.Made{Action: action, ConfigDigest: sha("k: v").String()}, digest.SHA256)
	if err != nil {
		w.Fatal(err)
	}

	w.obj.Status.History = h
}

func (w *world) latest() *release.Release {
	if len(w.releases) == 0 {
		return nil
	}

	return w.releases[len(w.releases)-1]
}

func (w *world) stored(s *v2.Snapshot) (*release.Release, error) {
	i := slices.IndexFunc(w.releases, func(r *release.Release) bool { return r.Version == s.Version })
	if i < 0 {
		return nil, nil //nolint:nilnil // that is what a release that is gone is
	}

	return w.releases[i], nil
}

// TestScenarios drives releases from reconcile to reconcile, as long as the outcome says that another one follows at once.
func TestScenarios(t *testing.T) {
	// upgrading has a release of another version, deployed and recorded.
	upgrading := func(w *world) {
		w.obj.Status.LastAttemptedReleaseAction = v2.ActionInstall
		w.make(state.Install, "0.9.0", 0)
	}

	always := func(actions ...state.Action) func(state.Action, int) byte {
		return func(a state.Action, _ int) byte {
			if slices.Contains(actions, a) {
				return 'f'
			}

			return 0
		}
	}

	cases := map[string]struct {
		reason string
		given  func(*world)
		spec   func(*v2.HelmRelease)
		fails  func(a state.Action, n int) byte
		force  bool
		want   string
	}{
		"Install": {"one action", nil, nil, always(), false, "install done"},
		"InstallTested": {
			"tests follow", nil, func(o *v2.HelmRelease) { o.Spec.Test = &v2.Test{Enable: true} }, always(), false, "install test done",
		},
		"InstallFails":   {"without retries it is left as it is", nil, nil, always(state.Install), false, "install stall"},
		"InstallRetries": {"uninstalled in between", nil, retries(2), always(state.Install), false, "install uninstall requeue install uninstall requeue install stall"},
		"InstallRemediated": {
			"uninstalled at last", nil, func(o *v2.HelmRelease) { retries(1)(o); remediateLast(o) }, always(state.Install), false,
			"install uninstall requeue install uninstall stall",
		},
		"Upgrade":      {"one action", upgrading, nil, always(), false, "upgrade done"},
		"UpgradeFails": {"without retries it is left as it is", upgrading, nil, always(state.Upgrade), false, "upgrade stall"},
		"UpgradeRollsBack": {
			"rolled back in between and at last", upgrading, retries(1), always(state.Upgrade), false,
			"upgrade rollback requeue upgrade rollback stall",
		},
		"UpgradeSecondTime": {
			"the second attempt succeeds", upgrading, retries(1), func(a state.Action, n int) byte {
				if a == state.Upgrade && n == 0 {
					return 'f'
				}

				return 0
			}, false, "upgrade rollback requeue upgrade done",
		},
		"UpgradeReinstalls": {
			"an uninstall is followed by an install", upgrading, func(o *v2.HelmRelease) { retries(1)(o); uninstalls(o) }, always(state.Upgrade),
			false, "upgrade uninstall requeue install done",
		},
		"UpgradeRetries": {"retried by upgrade", upgrading, retryOnFailure, always(state.Upgrade), false, "upgrade retry"},
		"TestsFail": {
			"failed tests fail the release", upgrading, func(o *v2.HelmRelease) { retries(1)(o); o.Spec.Test = &v2.Test{Enable: true} },
			always(state.Test), false, "upgrade test rollback requeue upgrade test rollback stall",
		},
		"NotStored": {
			"nothing was tried", upgrading, retries(1), func(state.Action, int) byte { return 'e' }, false, "upgrade return",
		},
		"Forced": {
			"one upgrade answers", func(w *world) { w.make(state.Install, "1.0.0", 0) }, nil, always(), true, "upgrade done",
		},
		"KilledInstall": {
			"its release is taken over and finished", nil, nil, killed(state.Install, 0), false, "install killed unlock upgrade done",
		},
		"KilledUpgrade": {
			"its release is finished", upgrading, retries(1), killed(state.Upgrade, 0), false, "upgrade killed unlock upgrade done",
		},
		"KilledUpgradeFails": {
			"there is still a way back", upgrading, retries(1), func(a state.Action, n int) byte {
				if a == state.Upgrade && n > 0 {
					return 'f'
				}

				return killed(state.Upgrade, 0)(a, n)
			}, false, "upgrade killed unlock upgrade rollback requeue upgrade rollback stall",
		},
		"KilledRollback": {
			"it is rolled back to the end", upgrading, retries(1), func(a state.Action, n int) byte {
				if a == state.Upgrade {
					return 'f'
				}

				return killed(state.Rollback, 0)(a, n)
			}, false, "upgrade rollback killed unlock rollback requeue upgrade rollback stall",
		},
		"KilledAfterRetriedInstall": {
			"failures of an install do not uninstall an upgrade", func(w *world) {
				w.obj.Status.LastAttemptedReleaseAction, w.obj.Status.InstallFailures = v2.ActionInstall, 1
				w.make(state.Install, "0.9.0", 0)
				state.Begin(w.obj, state.Attempt{Revision: "1.0.0", ConfigDigest: sha("k: v").String()}, w.want.Values, false)
				w.obj.Status.InstallFailures = 1
			}, retries(1), killed(state.Upgrade, 0), false, "upgrade killed unlock upgrade done",
		},
		"KilledUninstall": {
			"it is uninstalled to the end", nil, retries(1), func(a state.Action, n int) byte {
				if a == state.Install {
					return 'f'
				}

				return killed(state.Uninstall, 0)(a, n)
			}, false, "install uninstall killed unlock uninstall requeue install stall",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n := map[state.Action]int{}
			w := &world{T: t, obj: failing("", 0), want: wanted(), fails: func(a state.Action) byte {
				n[a]++

				return tc.fails(a, n[a]-1)
			}}

			if tc.spec != nil {
				tc.spec(w.obj)
			}

			if tc.given != nil {
				tc.given(w)
			}

			for range 20 {
				if w.reconcile(tc.force) != state.Requeue {
					break
				}
			}

			if diff := cmp.Diff(tc.want, strings.Join(w.trace, " ")); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}

			if l := w.latest(); l != nil && (l.Info.Status.IsPending() || l.Info.Status == release.StatusUninstalling) {
				t.Errorf("%s: the release ends %s", tc.reason, l.Info.Status)
			}
		})
	}
}

// killed kills the process in an action, at the n-th time.
func killed(action state.Action, at int) func(state.Action, int) byte {
	return func(a state.Action, n int) byte {
		if a == action && n == at {
			return 'k'
		}

		return 0
	}
}
