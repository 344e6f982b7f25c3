package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/test/e2e/platform"
)

// TestAvailability runs two replicas of each component and takes leaders away: by killing the process, and by cutting its network. The other
// one leads, and delivers what is committed then.
func TestAvailability(t *testing.T) {
	s := newStage(t)

	cases := []struct {
		topology   string
		components []string
	}{
		{fluxv1.TopologyDistributed, []string{"source-controller", "kustomize-controller"}},
		{fluxv1.TopologyUnified, []string{"weir"}},
	}
	for _, tc := range cases {
		ok := t.Run(tc.topology, func(t *testing.T) {
			r := &run{stage: s, topology: tc.topology}
			a := newArmada(t, s, 20) //nolint:mnd // enough to see that all are delivered

			r.duplicate(t)
			r.view = s.view(t)

			if err := r.view.Track(deadline(t, patience), lease()); err != nil {
				t.Fatal(err)
			}

			r.await(t, "two of each component run", r.view, platform.Running(components(r.topology)...), r.twins)
			a.launch(t, r.view)

			for _, component := range tc.components {
				r.fails(t, a, component, "was killed", r.kill)
				r.fails(t, a, component, "has no network", r.cut)
			}

			r.withdraw(t)
			a.scuttle(t)
		})
		if !ok {
			return // what is left would make the other fail too
		}
	}
}

func lease() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"}
}

// duplicate creates the instance.
func (r *run) duplicate(t *testing.T) {
	t.Helper()

	o := platform.Object(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)
	o.Object["spec"] = map[string]any{
		"distribution": map[string]any{"version": "2.x", "registry": r.cluster.Registry()},
		"topology":     r.topology,
		"workloads":    []any{map[string]any{"replicas": int64(2)}},
	}

	if err := r.client.Apply(deadline(t, patience), o); err != nil {
		t.Fatal(err)
	}
}

// twins is a condition: of each component two pods are ready, and no other is there.
func (r *run) twins(s platform.Snapshot) error {
	for _, key := range components(r.topology) {
		ready := 0

		for _, p := range s.List(platform.Core("Pod"), key[0]) {
			if p.GetLabels()["app"] != key[1] {
				continue
			}

			if err := platform.Current(p, ""); err != nil {
				return err
			}

			ready++
		}

		if ready != 2 { //nolint:mnd // twins
			return fmt.Errorf("%d pods of %s are ready", ready, key[1])
		}
	}

	return nil
}

// leader returns who holds the lease of a component: the name of the pod, and of the process in it.
func (r *run) leader(component string) (pod, identity string) {
	l := r.view.Now().Get(lease(), platform.Namespace, component+"-leader-election")
	if l == nil {
		return "", ""
	}

	identity = platform.Text(l, "spec", "holderIdentity")
	pod, _, _ = strings.Cut(identity, "_")

	return pod, identity
}

// fails takes the leader of a component away and says how long it took until another one leads, and until a commit that was made at once is
// delivered.
func (r *run) fails(t *testing.T, a *armada, component, how string, fault func(t *testing.T, pod string)) {
	t.Helper()

	pod, before := r.leader(component)
	if pod == "" {
		t.Fatalf("nobody leads %s", component)
	}

	fault(t, pod)

	start := time.Now()

	if err := a.commit(deadline(t, patience), true); err != nil {
		t.Fatal(err)
	}

	what := fmt.Sprintf("the leader of %s %s", component, how)
	r.await(t, "another one leads, since "+what, r.view, func(platform.Snapshot) error {
		if _, now := r.leader(component); now == before || now == "" {
			return fmt.Errorf("%q still leads", now)
		}

		return nil
	})

	led := time.Since(start)

	now, _ := r.leader(component)
	if now == pod {
		now += ", which was restarted"
	}

	r.await(t, "the commit is delivered, though "+what, r.view, platform.Delivered(a.last, a.keys...), a.laden)
	t.Logf("%s, %s: after %.1f s %s leads, after %.1f s a new commit is everywhere", what, pod, led.Seconds(), now, time.Since(start).Seconds())

	// The next case needs both again.
	o := platform.Object(platform.Core("Pod"), platform.Namespace, pod)
	if err := r.client.Delete(deadline(t, patience), o); err != nil {
		t.Fatal(err)
	}

	r.await(t, "two of each run again", r.view, func(s platform.Snapshot) error {
		if s.Get(platform.Core("Pod"), platform.Namespace, pod) != nil {
			return errors.New("the old pod is still there")
		}

		return r.twins(s)
	})
}

func (r *run) kill(t *testing.T, pod string) {
	t.Helper()

	if err := syscall.Kill(processOf(t, pod), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// cut takes the network away from a pod. The process goes on, and nobody hears of it.
func (r *run) cut(t *testing.T, pod string) {
	t.Helper()

	network := fmt.Sprintf("--net=/proc/%d/ns/net", processOf(t, pod))

	out, err := exec.CommandContext(t.Context(), "nsenter", network, "ip", "link", "set", "eth0", "down").CombinedOutput() //nolint:gosec // our own
	if err != nil {
		t.Fatalf("cut the network of %s: %v: %s", pod, err, out)
	}
}

// processOf finds the manager of a pod among the processes of this machine.
func processOf(t *testing.T, pod string) int {
	t.Helper()

	folders := must(filepath.Glob("/proc/[0-9]*"))(t)
	for _, folder := range folders {
		program, err := os.ReadFile(filepath.Join(folder, "cmdline")) //nolint:gosec // of the kernel
		if err != nil || !bytes.HasPrefix(program, []byte("/manager\x00")) {
			continue // another's, or just gone
		}

		environment, err := os.ReadFile(filepath.Join(folder, "environ")) //nolint:gosec // of the kernel
		if err == nil && bytes.Contains(append([]byte{0}, environment...), []byte("\x00HOSTNAME="+pod+"\x00")) {
			return must(strconv.Atoi(filepath.Base(folder)))(t)
		}
	}

	t.Fatalf("%s has no process", pod)

	return 0
}
