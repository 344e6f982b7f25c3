package process

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

const slowSets = 30 // Kustomizations, of three objects each

// TestFaultEtcd takes Kustomizations through the same steps with an etcd that is quick and with one that is slow. They come to
// the same, and a slow answer is no reason to ask again.
func TestFaultEtcd(t *testing.T) {
	s := newFaultStage(t)
	t.Cleanup(func() { s.cluster.DelayEtcd(0, 0) })

	quick := s.newSlow(t, "etcd-quick")
	want, normal := s.take(t, quick)
	before := s.idle(t)

	s.cluster.DelayEtcd(200*time.Millisecond, 400*time.Millisecond)

	slow := s.newSlow(t, "etcd-slow")
	got, requests := s.take(t, slow)

	s.cluster.DelayEtcd(0, 0)

	for step := range want {
		sameAs(t, want[step], got[step])
	}

	for step, count := range requests {
		t.Logf("requests of step %d: %v with a quick etcd, %v with a slow one", step, normal[step], count)

		for _, verb := range []string{"dry-run", "apply", "delete"} {
			if now, then := count[verb], normal[step][verb]; now != then {
				t.Errorf("step %d took %d requests of the kind %s with a slow etcd, and %d with a quick one", step, now, verb, then)
			}
		}

		// A status that would be outdated before the next one is saved where all is quick: there is a second one, and one of progress.
		for _, verb := range []string{"patch", "create", "get"} {
			if now, then := count[verb], normal[step][verb]; now > then+2*slowSets {
				t.Errorf("step %d took %d requests of the kind %s with a slow etcd, and %d with a quick one", step, now, verb, then)
			}
		}
	}

	s.leaks(t, before)
}

// slowFleet are Kustomizations of one source.
type slowFleet struct {
	*killRun

	keys [][2]string
}

func (s *faultStage) newSlow(t *testing.T, name string) *slowFleet {
	t.Helper()

	namespace := s.namespace(t, name)
	f := &slowFleet{killRun: &killRun{stage: s.stage, namespace: namespace}}
	f.repo = must(s.repos.Create(deadline(t, patience), namespace))(t)
	f.source = s.source(namespace, "fleet", s.git.URL(f.repo))

	for k := range slowSets {
		f.keys = append(f.keys, [2]string{namespace, fmt.Sprintf("slow-%02d", k)})
	}

	return f
}

// take brings the fleet through its steps. It returns its state after each, and what requests that took.
func (s *faultStage) take(t *testing.T, f *slowFleet) (states []map[string]string, requests []map[string]int) {
	t.Helper()

	for step := range 3 {
		before := s.gate.Requests()
		change := gitserver.Change{Files: map[string]string{}}

		for k := range slowSets {
			for j := range 3 {
				name := fmt.Sprintf("slow-%02d-%d", k, j)
				path := fmt.Sprintf("slow-%02d/%s.yaml", k, name)

				if step == 2 && j == 2 {
					change.Remove = append(change.Remove, path)
				} else {
					change.Files[path] = fleetObject(j, name, min(step, 1))
				}
			}
		}

		f.revision = f.commit(t, f.repo, change)

		if step == 0 {
			f.install(t)
		} else {
			f.request(t, f.source)
		}

		s.await(t, fmt.Sprintf("step %d of %s is delivered", step, f.namespace), platform.Delivered(f.revision, f.keys...), f.holds(step))

		states = append(states, f.state(t))
		after := s.gate.Requests()

		for verb, n := range before {
			after[verb] -= n
		}

		requests = append(requests, after)
	}

	return states, requests
}

func (f *slowFleet) install(t *testing.T) {
	t.Helper()

	objects := []*unstructured.Unstructured{f.source}
	for _, key := range f.keys {
		objects = append(objects, f.delivery(key[0], key[1], "fleet", key[1], map[string]any{"retryInterval": "1s"}))
	}

	f.apply(t, objects...)
}

// holds is a condition: the inventories have come to their end.
func (f *slowFleet) holds(step int) func(platform.Snapshot) error {
	want := 3
	if step == 2 {
		want = 2
	}

	return func(now platform.Snapshot) error {
		for _, key := range f.keys {
			if n := len(inventoryOf(now.Get(platform.Kustomization(), key[0], key[1]))); n != want {
				return fmt.Errorf("the inventory of %s has %d entries", key[1], n)
			}
		}

		return nil
	}
}
