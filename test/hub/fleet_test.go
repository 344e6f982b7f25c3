package hub

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
)

// many is how many clusters the fleet has, and idle how long it is watched doing nothing. The figures of docs/performance.md are those of
// 50 and 60 s.
var (
	many = flag.Int("clusters", 6, "clusters of the fleet")
	idle = flag.Duration("idle", 0, "how long the fleet is watched doing nothing")
)

// fleet is the operator as a process, and the clusters that it is the hub of.
type fleet struct {
	*env
	manager *platform.Manager
	spokes  []*site
}

func spoke(i int) string { return fmt.Sprintf("spoke-%02d", i) }

// TestFleet holds that one operator brings many clusters up side by side, repairs one while others are dead, and asks for nothing when
// nothing happens. It tells what that costs.
func TestFleet(t *testing.T) {
	var servers [3]cluster.Shared

	t.Cleanup(func() { // at last
		for i := range servers {
			if servers[i].Stop(0) != 0 {
				t.Error("a server could not be stopped")
			}
		}
	})

	e := startIn(t, &servers[0], &servers[1], &servers[2])
	e.stop() // the process does all that
	e.clusters = nil

	define(t, e.c, "fluxreports", &fluxv1.FluxReportList{})

	f := &fleet{env: e, manager: launch(t, servers[0].Start(t))}
	f.tell("alone")

	begun := time.Now()

	for i := range *many {
		f.spokes = append(f.spokes, newSpoke(t, &servers[i%len(servers)], spoke(i), i))
		e.create(spoke(i), "distribution: {version: 2.x, registry: ghcr.io/fluxcd}\nwait: false\n", f.spokes[i])
	}

	f.await("installed", func(i int) error { return f.isReady(i) })
	t.Logf("%d clusters were installed in %s", *many, time.Since(begun).Round(100*time.Millisecond))
	f.tell("installed")

	if *idle > 0 {
		before := f.asked()

		<-time.After(*idle)
		t.Logf("in %s of peace, %d requests were sent to %d clusters", *idle, f.asked()-before, *many)
		f.tell("idle")
	}

	// One in five is dead, and one drifts.
	for i := 1; i < *many; i += 5 {
		f.spokes[i].wire.breakDown()
		e.annotate(spoke(i), meta.ReconcileRequestAnnotation, "dead")
	}

	begun = time.Now()
	must(t, f.spokes[0].client.Delete(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: spoke(0), Name: "source-controller"}}))
	eventually(t, "the Deployment is back", func() error {
		if !f.spokes[0].runs(spoke(0), "source-controller") {
			return fmt.Errorf("it is not")
		}

		return nil
	})
	t.Logf("with one in five dead, a Deployment was back in %s", time.Since(begun).Round(time.Millisecond))
	f.await("told", func(i int) error {
		if i%5 != 1 {
			return f.isReady(i)
		}

		if obj := e.get(spoke(i)); !strings.HasPrefix(says(obj), "False ReconciliationFailed: reconciliation failed: remote cluster: ") {
			return fmt.Errorf("Ready is %q", says(obj))
		}

		return nil
	})
	f.tell("one in five dead")
}

// launch starts the operator as a process of the hub.
func launch(t *testing.T, at *cluster.Cluster) *platform.Manager {
	t.Helper()

	dir := t.TempDir()
	program, err := platform.Build(t.Context(), dir, runtime.GOOS, os.Stderr)
	must(t, err)

	m, err := platform.NewManager(program, at.Kubeconfig(), filepath.Join(dir, "run"), "--controllers=instance", "--image=registry.example.com/weir:v0.1.0")
	must(t, err)
	must(t, m.Start())
	t.Cleanup(func() {
		_ = m.Stop()

		if t.Failed() {
			log, _ := os.ReadFile(m.Log()) //nolint:gosec // the test has named it
			t.Logf("the end of the log:\n%s", log[max(0, len(log)-8192):])
		}
	})

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, m.Ready(ctx))

	return m
}

// isReady returns nil if the instance is ready.
func (f *fleet) isReady(i int) error {
	if obj := f.get(spoke(i)); !engine.IsTrue(obj, meta.ReadyCondition) {
		return fmt.Errorf("Ready is %q", says(obj))
	}

	return nil
}

// await waits until all instances are as wanted.
func (f *fleet) await(what string, wanted func(i int) error) {
	f.t.Helper()

	deadline := time.Now().Add(time.Duration(*many) * patience / 4)

	for i := range *many {
		for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
			err := wanted(i)
			if err == nil {
				tick.Stop()

				break
			}

			if time.Now().After(deadline) {
				f.t.Fatalf("%s is not %s: %v", spoke(i), what, err)
			}
		}
	}
}

// asked returns how many requests all clusters have seen.
func (f *fleet) asked() int64 {
	var n int64
	for _, s := range f.spokes {
		n += s.wire.asked.Load()
	}

	return n
}

// tell logs what the process has.
func (f *fleet) tell(when string) {
	f.t.Helper()

	u, err := f.manager.Usage(f.t.Context())
	must(f.t, err)

	n := 0
	for _, count := range u.Goroutines {
		n += count
	}

	f.t.Logf("%s: %d goroutines without those of connections, %d files, MiB: %s", when, n, u.Files, f.memory())
}

// memory returns what the process has, and has had at most, and how much of it is its own.
func (f *fleet) memory() string {
	f.t.Helper()

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.manager.PID()))
	if err != nil {
		return "unknown on this system"
	}

	var parts []string

	for line := range strings.SplitSeq(string(status), "\n") {
		key, value, _ := strings.Cut(line, ":")
		if name := map[string]string{"VmHWM": "peak", "RssAnon": "anonymous", "RssFile": "file"}[key]; name != "" {
			var kib int

			_, err := fmt.Sscan(value, &kib)
			must(f.t, err)

			parts = append(parts, fmt.Sprintf("%s %d", name, kib>>10))
		}
	}

	return strings.Join(parts, ", ")
}

// newSpoke returns a site that has its own definitions, though its API server has others too: so that one server does for many. Only their
// names differ, and these by the wire.
func newSpoke(t *testing.T, shared *cluster.Shared, namespace string, i int) *site {
	t.Helper()

	s := newSite(t, shared, namespace)
	s.wire.rename = &renaming{inside: "toolkit.fluxcd.io", outside: fmt.Sprintf("toolkit.fl%02dcd.io", i)}
	s.wire.only = fluxv1.OwnerNamespaceLabel + "=" + namespace

	return s
}
