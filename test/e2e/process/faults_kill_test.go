package process

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weir-dev/weir/test/e2e/platform"
)

// remove deletes a Kustomization. The fleet is without it from now on.
func (f *armada) remove(t *testing.T, name string) {
	t.Helper()

	err := f.client.Delete(deadline(t, patience), platform.Object(platform.Kustomization(), f.namespace, name))
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}

	for i, key := range f.keys {
		if key[1] == name {
			f.keys = append(f.keys[:i:i], f.keys[i+1:]...)

			break
		}
	}
}

// gone is a condition: of the Kustomization nothing is left.
func (f *armada) gone(name string) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		if now.Get(platform.Kustomization(), f.namespace, name) != nil {
			return errors.New("the Kustomization is still there")
		}

		return nil
	}
}

// TestFaultKill kills the manager at exact points of a delivery. The next process ends it as if nothing had been: nothing is
// forgotten, nothing is deleted that stays, and it holds on to no more than one that was never disturbed.
func TestFaultKill(t *testing.T) { //nolint:tparallel // its cases share a manager, which is killed in each
	t.Parallel() // each has a manager of its own, and the API server is not disturbed

	s := newFaultStage(t)
	control := s.newFleet(t, "kill-control")
	control.deliver(t, 0)
	installed := control.state(t)
	control.deliver(t, 1)
	changed := control.state(t)
	control.remove(t, "set-3")
	control.await(t, "a part of the fleet is deleted", control.gone("set-3"), control.exact)
	control.audit(t)
	deleted := control.state(t)
	before := s.idle(t)

	const removal = 2 // a step of these cases: after both steps, one of the Kustomizations is deleted

	cases := map[string]struct {
		reason   string
		step     int // that is disturbed
		n        int
		answered bool
		at       func(f *armada) func(platform.Request) bool
		want     map[string]string
	}{
		"first-apply": {
			reason: "the first object was created", step: 0, n: 1, answered: true,
			at: func(f *armada) func(platform.Request) bool { return f.of("apply") }, want: installed,
		},
		"amid-install": {
			reason: "23 objects were created", step: 0, n: 23, answered: true,
			at: func(f *armada) func(platform.Request) bool { return f.of("apply") }, want: installed,
		},
		"amid-change": {
			reason: "10 objects were changed, and one is about to be", step: 1, n: 11,
			at: func(f *armada) func(platform.Request) bool { return f.of("apply") }, want: changed,
		},
		"before-status": {
			reason: "all objects of a Kustomization were applied, and the status is about to be written", step: 1, n: 1,
			at: func(f *armada) func(platform.Request) bool { return f.patched("set-2", "/status", "set-2-11") }, want: changed,
		},
		"before-prune": {
			reason: "the first object is about to be deleted", step: 1, n: 1,
			at: func(f *armada) func(platform.Request) bool { return f.of("delete") }, want: changed,
		},
		"amid-prune": {
			reason: "7 of 15 objects were deleted", step: 1, n: 7, answered: true,
			at: func(f *armada) func(platform.Request) bool { return f.of("delete") }, want: changed,
		},
		"after-prune": {
			reason: "a Kustomization has deleted its objects, and the status is about to be written", step: 1, n: 1,
			at: (*armada).afterPrune, want: changed,
		},
		"amid-removal": {
			reason: "3 objects of a Kustomization that is deleted were deleted", step: removal, n: 3, answered: true,
			at: func(f *armada) func(platform.Request) bool { return f.of("delete") }, want: deleted,
		},
		"before-finalizer": {
			reason: "all objects of a Kustomization that is deleted were deleted, and the finalizer is about to go", step: removal, n: 1,
			at: func(f *armada) func(platform.Request) bool { return f.patched("set-3", "") }, want: deleted,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := s.newFleet(t, "kill-"+name)
			for step := range tc.step {
				f.deliver(t, step)
			}

			trap := s.gate.Set(tc.n, tc.answered, tc.at(f))
			if tc.step == removal {
				f.remove(t, "set-3")
			} else {
				f.push(t, tc.step)
			}

			s.catch(t, trap)

			if err := s.manager.Kill(); err != nil {
				t.Fatal(err)
			}

			trap.Release()
			s.start(t)

			if tc.step == removal {
				f.await(t, "the Kustomization is gone, since "+tc.reason, f.gone("set-3"))
			}

			f.settle(t, "the fleet is delivered, though the manager was killed when "+tc.reason)
			f.same(t, tc.want)
			f.drift(t)
			s.leaks(t, before)
		})
	}
}

// afterPrune is true of the patch of a status after the three objects that left the Kustomization were deleted.
func (f *armada) afterPrune() func(platform.Request) bool {
	var deleted atomic.Int64

	deletes, patched := f.of("delete"), f.patched("set-1", "/status")

	return func(r platform.Request) bool {
		if deletes(r) && strings.Contains(r.Path, "/set-1-") {
			deleted.Add(1)
		}

		return deleted.Load() == 3 && patched(r)
	}
}
