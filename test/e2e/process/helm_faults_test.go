package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/e2e/platform"
)

// helmFault is an action of a release that is disturbed.
type helmFault struct {
	reason string
	// before is what the release is taken to first.
	before func(*testing.T, *story)
	act    func(*testing.T, *story)
	ends   []string // as words
	value  string
	// points are the writes at which the manager is killed by default.
	points []int
}

func helmFaults() map[string]helmFault {
	installed := func(t *testing.T, s *story) {
		t.Helper()
		s.apply(t, s.release(s.namespace, "app", "plain", map[string]any{
			"upgrade": map[string]any{"remediation": map[string]any{"retries": int64(0), "remediateLastFailure": true}},
		}))
		s.await(t, "installed", s.became("True InstallSucceeded"))
	}
	done := []string{"True InstallSucceeded", "True UpgradeSucceeded"}

	return map[string]helmFault{
		"install": {
			reason: "an install", act: func(t *testing.T, s *story) {
				t.Helper()
				s.apply(t, s.release(s.namespace, "app", "plain", nil))
			},
			ends: done, value: "one", points: []int{2, 5, 7},
		},
		"upgrade": {
			reason: "an upgrade", before: installed, act: func(t *testing.T, s *story) {
				t.Helper()
				s.values(t, `{"value":"two"}`)
			},
			ends: done, value: "two", points: []int{2, 4, 7},
		},
		"rollback": {
			reason: "an upgrade that fails, and is rolled back", before: installed, act: func(t *testing.T, s *story) {
				t.Helper()
				s.values(t, `{"value":{"not":"text"}}`)
			},
			ends: []string{"False RollbackSucceeded, stalled RetriesExceeded"}, value: "one", points: []int{3, 6, 9},
		},
		"undo": {
			reason: "an install that fails, and is undone", act: func(t *testing.T, s *story) {
				t.Helper()
				s.apply(t, s.release(s.namespace, "app", "plain", map[string]any{
					"values":  map[string]any{"value": map[string]any{"not": "text"}},
					"install": map[string]any{"remediation": map[string]any{"retries": int64(0), "remediateLastFailure": true}},
				}))
			},
			ends: []string{"False UninstallSucceeded, stalled RetriesExceeded"}, value: "absent", points: []int{2, 5, 7},
		},
		"uninstall": {
			reason: "an uninstall", before: installed, act: func(t *testing.T, s *story) {
				t.Helper()

				if err := s.client.Delete(deadline(t, patience), platform.Object(helmRelease(), s.namespace, "app")); err != nil {
					t.Fatal(err)
				}
			},
			ends: []string{"absent"}, value: "absent", points: []int{1, 3, 6},
		},
	}
}

// most is how many writes an action has at most.
const most = 60

// TestHelmFaultKill kills the manager at exact writes of an action: every other write is done and its answer lost, the others are lost
// themselves. The next process brings the release to the end that it would have come to. With WEIR_KILLS=all, it is killed at each
// write.
func TestHelmFaultKill(t *testing.T) { //nolint:tparallel // its cases share a manager, which is killed in each
	t.Parallel()

	c := pretended.Start(t)
	gate := must(platform.NewGate(c.Config(), t.TempDir()))(t)
	t.Cleanup(func() { _ = gate.Close() }) //nolint:errcheck // nobody comes any more

	s := newHelmStageBy(t, c, gate.Kubeconfig())
	s.push(t, "plain", "1.0.0", plainChart())

	for name, f := range helmFaults() {
		t.Run(name, func(t *testing.T) {
			points := f.points
			if os.Getenv("WEIR_KILLS") == "all" {
				points = nil
				for n := range most {
					points = append(points, n+1)
				}
			}

			for _, n := range points {
				if !f.at(t, s, gate, fmt.Sprintf("helm-kill-%s-%d", name, n), n) {
					break
				}
			}
		})
	}
}

// at kills the manager at the n-th write. It returns whether there was one.
func (f *helmFault) at(t *testing.T, h *helmStage, gate *platform.Gate, namespace string, n int) bool {
	t.Helper()

	s := &story{helmStage: h, namespace: h.namespace(t, namespace)}
	s.apply(t, s.chart(s.namespace, "plain", "1.0.0"))
	s.await(t, "the chart is there", func(now platform.Snapshot) error {
		return platform.Current(now.Get(kind("OCIRepository"), s.namespace, "plain"), "the chart")
	})

	if f.before != nil {
		f.before(t, s)
	}

	trap := gate.Set(n, n%2 == 0, func(r platform.Request) bool {
		switch r.Verb {
		case "create", "update", "patch", "apply", "delete":
			return strings.Contains(r.Path, "/namespaces/"+s.namespace+"/") && !strings.Contains(r.Path, "/events")
		default:
			return false
		}
	})
	f.act(t, s)

	caught := s.caught(t, trap, f.ended(s))
	if caught {
		if err := s.manager.Kill(); err != nil {
			t.Fatal(err)
		}
	}

	trap.Release()

	if caught {
		s.start(t)
	}

	s.await(t, fmt.Sprintf("%s has ended, though the manager was killed at write %d", f.reason, n), f.ended(s))

	for name, status := range s.records(t) {
		if strings.HasPrefix(status, "pending") || status == "uninstalling" || f.value == "absent" {
			t.Errorf("killed at write %d: %s is %s", n, name, status)
		}
	}

	return caught
}

func (f *helmFault) ended(s *story) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		var errs []error

		for _, words := range f.ends {
			err := platform.All(s.became(words), s.value(f.value))(now)
			if err == nil {
				return nil
			}

			errs = append(errs, err)
		}

		return errors.Join(errs...)
	}
}

// caught tells whether the trap has sprung before the condition came true.
func (s *story) caught(t *testing.T, trap *platform.Trap, condition func(platform.Snapshot) error) bool {
	t.Helper()

	ctx, cancel := context.WithCancel(deadline(t, patience))
	defer cancel()

	go func() {
		select {
		case <-trap.Sprung():
		case <-ctx.Done():
		}

		cancel()
	}()

	err := s.view.Until(ctx, condition)

	select {
	case <-trap.Sprung():
		return true
	default:
	}

	if err != nil {
		s.fail(t, "caught", err)
	}

	return false
}
