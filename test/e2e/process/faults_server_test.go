package process

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/test/e2e/platform"
)

// blackout kills the API server, and closes the gate to it as its own connections are broken.
func (s *faultStage) blackout(t *testing.T, trap *platform.Trap) {
	t.Helper()

	if err := s.cluster.Kill("kube-apiserver"); err != nil {
		t.Fatal(err)
	}

	if err := s.gate.Close(); err != nil {
		t.Fatal(err)
	}

	trap.Release()
}

// light starts the API server again, with the same etcd and at the same address. The view of the test looks at it at once, where
// the old one would wait.
func (s *faultStage) light(t *testing.T) {
	t.Helper()

	start := time.Now()

	if err := s.cluster.Restart(deadline(t, patience), "kube-apiserver"); err != nil {
		t.Fatal(err)
	}

	if err := s.gate.Open(); err != nil {
		t.Fatal(err)
	}

	s.look(t)
	t.Logf("the API server is back after %.1f s", time.Since(start).Seconds())
}

// renew has each fault meet a process that has seen none: a watch that breaks again and again is tried again later each time.
func (s *faultStage) renew(t *testing.T) {
	t.Helper()

	if err := s.manager.Stop(); err != nil {
		t.Fatal(err)
	}

	s.start(t)
}

// TestFaultServer kills the API server in the middle of a delivery and starts it again: the same process of the manager ends
// the delivery as if nothing had been, and sees everything that happens from then on.
func TestFaultServer(t *testing.T) {
	s := newFaultStage(t)
	control := s.newFleet(t, "server-control")
	control.deliver(t, 0)
	installed := control.state(t)
	control.deliver(t, 1)
	changed := control.state(t)
	before := s.idle(t)

	cases := map[string]struct {
		reason   string
		step     int // that is disturbed
		n        int
		answered bool
		at       func(f *armada) func(platform.Request) bool
		want     map[string]string
	}{
		"install-unanswered": {
			reason: "an object was created, and nobody knows it", step: 0, n: 17, answered: true,
			at: func(f *armada) func(platform.Request) bool { return f.of("apply") }, want: installed,
		},
		"change-lost": {
			reason: "a change never comes to the server", step: 1, n: 14,
			at: func(f *armada) func(platform.Request) bool { return f.of("apply") }, want: changed,
		},
		"prune-unanswered": {
			reason: "an object was deleted, and nobody knows it", step: 1, n: 5, answered: true,
			at: func(f *armada) func(platform.Request) bool { return f.of("delete") }, want: changed,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := s.newFleet(t, "server-"+name)
			if tc.step > 0 {
				f.deliver(t, 0)
			}

			s.renew(t)

			process := s.manager.Ended()
			trap := s.gate.Set(tc.n, tc.answered, tc.at(f))
			f.push(t, tc.step)
			s.catch(t, trap)
			s.blackout(t, trap)
			s.light(t)

			f.settle(t, "the fleet is delivered, though "+tc.reason)
			f.same(t, tc.want)

			if s.manager.Ended() != process {
				t.Error("the manager is another one")
			}

			f.drift(t)
			s.leaks(t, before)
		})
	}
}

// drift changes and deletes objects by hand, and waits until they are put back. No interval is that short: it takes watches.
func (f *armada) drift(t *testing.T) {
	t.Helper()

	changed, deleted := platform.Object(platform.Core("ConfigMap"), f.namespace, "set-1-5"), platform.Object(platform.Deployment(), f.namespace, "set-4-9")
	changed.Object["data"] = map[string]any{"value": "by hand"}
	uid := f.uids[fmt.Sprintf("%s_%s_apps_Deployment", f.namespace, deleted.GetName())]

	version := f.view.Now().Get(platform.Core("ConfigMap"), f.namespace, changed.GetName()).GetResourceVersion()

	f.apply(t, changed)

	if err := f.client.Delete(deadline(t, patience), deleted); err != nil {
		t.Fatal(err)
	}

	f.await(t, "drift is corrected", func(now platform.Snapshot) error {
		o := now.Get(platform.Core("ConfigMap"), f.namespace, changed.GetName())
		if got := platform.Text(o, "data", "value"); got != fmt.Sprint(f.step) || o.GetResourceVersion() == version {
			return fmt.Errorf("%s has the value %q", changed.GetName(), got)
		}

		if o := now.Get(platform.Deployment(), f.namespace, deleted.GetName()); o == nil || o.GetUID() == uid {
			return fmt.Errorf("%s is not there again", deleted.GetName())
		}

		return nil
	})
}

// TestFaultConnection breaks one connection, and nothing else: what was asked for may have been done or not.
func TestFaultConnection(t *testing.T) {
	s := newFaultStage(t)
	control := s.newFleet(t, "connection-control")
	control.deliver(t, 0)
	control.deliver(t, 1)
	want := control.state(t)

	cases := map[string]struct {
		n        int
		answered bool
		at       func(f *armada) func(platform.Request) bool
	}{
		"dry-run":         {n: 7, at: func(f *armada) func(platform.Request) bool { return f.of("dry-run") }},
		"apply":           {n: 12, at: func(f *armada) func(platform.Request) bool { return f.of("apply") }},
		"apply-answered":  {n: 12, answered: true, at: func(f *armada) func(platform.Request) bool { return f.of("apply") }},
		"delete":          {n: 4, at: func(f *armada) func(platform.Request) bool { return f.of("delete") }},
		"delete-answered": {n: 4, answered: true, at: func(f *armada) func(platform.Request) bool { return f.of("delete") }},
		"status":          {n: 1, at: func(f *armada) func(platform.Request) bool { return f.patched("set-1", "/status", "set-1-11") }},
		"status-answered": {
			n: 1, answered: true, at: func(f *armada) func(platform.Request) bool { return f.patched("set-1", "/status", "set-1-11") },
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := s.newFleet(t, "connection-"+name)
			f.deliver(t, 0)

			trap := s.gate.Set(tc.n, tc.answered, tc.at(f))
			f.push(t, 1)
			s.catch(t, trap)
			trap.Release()

			f.settle(t, "the fleet is delivered")
			f.same(t, want)
		})
	}
}

// TestFaultStatus has objects be applied whose inventory does not get through, and the next revision does not have them any more:
// they are not forgotten.
func TestFaultStatus(t *testing.T) {
	s := newFaultStage(t)
	f := s.newFleet(t, "forgotten")
	f.deliver(t, 0)
	first, installed := f.revision, f.state(t)

	// What is new with step 1 is applied, and its inventory is lost, again and again.
	lost := make(chan struct{}, 1)
	refused := f.patched("set-1", "/status", "set-1-11")

	s.gate.Refuse(func(r platform.Request) bool {
		if !refused(r) {
			return false
		}

		select {
		case lost <- struct{}{}:
		default:
		}

		return true
	})
	f.push(t, 1)

	select {
	case <-lost:
	case <-deadline(t, patience).Done():
		s.fail(t, "delivered", errors.New("the inventory was not written"))
	}

	// Back to step 0, which does not have it.
	f.step, f.uids = 0, nil
	f.revision = f.commit(t, f.repo, fleetChange(1, 0))
	f.request(t, f.source)
	f.settle(t, "what was applied in between is pruned")

	for name, content := range installed {
		installed[name] = strings.ReplaceAll(content, first, f.revision)
	}

	f.same(t, installed)
}

// TestFaultServerElected has a leader that loses its lease while there is no API server. It ends, for another one may lead by the
// time that it knows, and whoever runs it, such as a kubelet, starts it again.
func TestFaultServerElected(t *testing.T) {
	s := newFaultStage(t, "--enable-leader-election", "--leader-election-lease-duration=3s", "--leader-election-renew-deadline=2s",
		"--leader-election-retry-period=500ms")
	s.apply(t, platform.Object(platform.Core("Namespace"), "", platform.Namespace))

	control := s.newFleet(t, "elected-control")
	control.deliver(t, 0)

	f := s.newFleet(t, "elected")
	trap := s.gate.Set(23, true, f.of("apply"))
	f.push(t, 0)
	s.catch(t, trap)
	s.blackout(t, trap)

	select {
	case <-s.manager.Ended():
		if err := s.manager.Err(); !strings.Contains(err.Error(), "exit status") {
			t.Errorf("the manager ended by %v", err)
		}
	case <-deadline(t, patience).Done():
		t.Fatal("the manager goes on without a lease")
	}

	s.light(t)
	s.start(t)
	f.settle(t, "the fleet is delivered by the next process")
	f.same(t, control.state(t))
	f.drift(t)
}
