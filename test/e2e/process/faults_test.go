package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

// faulty is the API server that has to bear the faults. Nothing acts on its objects but the managers of the tests.
var faulty = cluster.Shared{Options: cluster.Options{EtcdLine: true}}

// faultStage is a stage whose manager reaches the API server through a gate.
type faultStage struct {
	*stage

	cluster *cluster.Cluster
	gate    *platform.Gate
}

// newFaultStage starts a manager that tries again soon.
func newFaultStage(t *testing.T, args ...string) *faultStage {
	t.Helper()

	return newFaultStageOn(t, faulty.Start(t), args...)
}

func newFaultStageOn(t *testing.T, c *cluster.Cluster, args ...string) *faultStage {
	t.Helper()

	gate := must(platform.NewGate(c.Config(), t.TempDir()))(t)
	t.Cleanup(func() { _ = gate.Close() }) //nolint:errcheck // nobody comes any more

	s := &faultStage{cluster: c, gate: gate}
	s.stage = newStageBy(t, c, gate.Kubeconfig(), delivering(t, append([]string{
		"--min-retry-delay=100ms", "--max-retry-delay=2s",
	}, args...)...)...)
	s.raise(t)
	s.track(t, fleetKinds()...)
	t.Cleanup(func() { s.view.Close() }) // that of the end

	return s
}

// look gives the stage a new view.
func (s *faultStage) look(t *testing.T) {
	t.Helper()

	s.view.Close()
	s.view = must(platform.NewView(s.cluster.Config()))(t)
	s.track(t, fleetKinds()...)
}

// catch waits until the trap has sprung.
func (s *faultStage) catch(t *testing.T, trap *platform.Trap) {
	t.Helper()

	select {
	case <-trap.Sprung():
	case <-s.manager.Ended():
		s.fail(t, "caught", errors.New("the manager has ended"))
	case <-deadline(t, patience).Done():
		s.fail(t, "caught", errors.New("the request has not come"))
	}
}

// The fleet of most faults: Kustomizations of one source, with fifty objects at first.
const (
	fleetSets    = 5
	fleetObjects = 10
)

// armada is one of them.
type armada struct {
	*killRun

	keys [][2]string
	step int
	uids map[string]types.UID // of the objects, when it was delivered last
}

// newFleet makes one that is not delivered yet.
func (s *faultStage) newFleet(t *testing.T, name string) *armada {
	t.Helper()

	namespace := s.namespace(t, name)
	f := &armada{killRun: &killRun{stage: s.stage, namespace: namespace}}
	f.repo = must(s.repos.Create(deadline(t, patience), namespace))(t)
	f.source = s.source(namespace, "fleet", s.git.URL(f.repo))

	for k := range fleetSets {
		f.keys = append(f.keys, [2]string{namespace, fmt.Sprintf("set-%d", k)})
	}

	bystander := platform.Object(platform.Core("ConfigMap"), namespace, "bystander")
	bystander.Object["data"] = map[string]any{"mine": "yes"}
	s.apply(t, bystander)

	return f
}

// push commits the fleet of a step, 0 or 1, and asks for it.
func (f *armada) push(t *testing.T, step int) {
	t.Helper()

	f.revision, f.step = f.commit(t, f.repo, fleetChange(step-1, step)), step

	if step > 0 {
		f.request(t, f.source)

		return
	}

	objects := []*unstructured.Unstructured{f.source}
	for _, key := range f.keys {
		objects = append(objects, f.delivery(key[0], key[1], "fleet", key[1], map[string]any{"retryInterval": "1s"}))
	}

	f.apply(t, objects...)
}

// deliver pushes a step and waits for it.
func (f *armada) deliver(t *testing.T, step int) {
	t.Helper()

	f.push(t, step)
	f.settle(t, fmt.Sprintf("step %d of %s is delivered", step, f.namespace))
}

// settle waits until everything that was pushed is delivered, and checks the books.
func (f *armada) settle(t *testing.T, what string) {
	t.Helper()

	f.await(t, what, platform.Delivered(f.revision, f.keys...), f.exact)
	f.audit(t)
}

// fleetKinds are those of the objects in a fleet.
func fleetKinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		platform.Core("ConfigMap"), platform.Core("ServiceAccount"), platform.Core("Service"), platform.Deployment(),
	}
}

// exact is a condition: the inventories hold what the step has, and of what the step does not have nothing is left. Objects
// may be deleted after their Kustomization is Ready: they are held back as long as they may have moved to another one.
func (f *armada) exact(now platform.Snapshot) error {
	wanted := map[string]bool{"bystander": true, "kept": true, "default": true, "kube-root-ca.crt": true}

	for _, key := range f.keys {
		var want []string

		for path := range fleetTree(f.step) {
			if name, ok := strings.CutPrefix(path, key[1]+"/"); ok {
				want = append(want, strings.TrimSuffix(name, ".yaml"))
			}
		}

		var got []string

		for id := range inventoryOf(now.Get(platform.Kustomization(), key[0], key[1])) {
			got = append(got, strings.Split(id, "_")[1])
		}

		slices.Sort(want)
		slices.Sort(got)

		if !slices.Equal(got, want) {
			return fmt.Errorf("the inventory of %s is %q, not %q", key[1], got, want)
		}

		for _, name := range want {
			wanted[name] = true
		}
	}

	for _, kind := range fleetKinds() {
		for _, o := range now.List(kind, f.namespace) {
			if !wanted[o.GetName()] {
				return fmt.Errorf("%s is still there", platform.Name(o))
			}
		}
	}

	return nil
}

// audit compares the objects that carry the labels of an owner with the inventories, and what stayed with what it was.
func (f *armada) audit(t *testing.T) {
	t.Helper()

	books := map[string]string{} // whose it is, by the name in the inventory
	for _, k := range f.list(t, f.namespace, "kustomize.toolkit.fluxcd.io/v1", "Kustomization") {
		for id := range inventoryOf(&k) {
			if other, twice := books[id]; twice {
				t.Errorf("%s is in the inventories of %s and %s", id, other, k.GetName())
			}

			books[id] = k.GetName()
		}
	}

	uids := map[string]types.UID{}

	for _, kind := range fleetKinds() {
		for _, o := range f.list(t, f.namespace, kind.GroupVersion().String(), kind.Kind) {
			id := fmt.Sprintf("%s_%s_%s_%s", f.namespace, o.GetName(), kind.Group, kind.Kind)
			if name := owner(&o); name != books[id] && o.GetAnnotations()[pruneAnnotation] == "" {
				t.Errorf("%s belongs to %q, and is in the inventory of %q", id, name, books[id])
			}

			uids[id] = o.GetUID()
			delete(books, id)
		}
	}

	for id, name := range books {
		t.Errorf("%s is in the inventory of %s, and not there", id, name)
	}

	for id, uid := range uids {
		if before, ok := f.uids[id]; ok && before != uid {
			t.Errorf("%s was deleted and created again", id)
		}
	}

	f.uids = uids
}

const pruneAnnotation = "kustomize.toolkit.fluxcd.io/prune"

func owner(o *unstructured.Unstructured) string {
	return o.GetLabels()["kustomize.toolkit.fluxcd.io/name"]
}

func inventoryOf(k *unstructured.Unstructured) map[string]bool {
	ids := map[string]bool{}
	entries, _, _ := unstructured.NestedSlice(k.Object, "status", "inventory", "entries") //nolint:errcheck // then there are none

	for _, entry := range entries {
		if e, ok := entry.(map[string]any); ok {
			ids[fmt.Sprint(e["id"])] = true
		}
	}

	return ids
}

// same checks that the fleet is as the other one, to which nothing has happened.
func (f *armada) same(t *testing.T, control map[string]string) {
	t.Helper()

	sameAs(t, control, f.state(t))
}

func sameAs(t *testing.T, want, got map[string]string) {
	t.Helper()

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the fleet is not what it would be without the fault: -without, +with:\n%s", diff)
	}
}

// of tells whether a request is about the fleet.
func (f *armada) of(verb string) func(platform.Request) bool {
	return func(r platform.Request) bool {
		return r.Verb == verb && strings.Contains(r.Path, "/namespaces/"+f.namespace+"/") && !strings.Contains(r.Path, ".fluxcd.io/")
	}
}

// patched tells whether a request is a patch of the Kustomization, with all of the texts in it.
func (f *armada) patched(name, subresource string, texts ...string) func(platform.Request) bool {
	return func(r platform.Request) bool {
		return r.Verb == "patch" && strings.HasSuffix(r.Path, "/namespaces/"+f.namespace+"/kustomizations/"+name+subresource) &&
			!slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(string(r.Body), text) })
	}
}

// fleetTree is the fleet at a step: in step 1, of each set three objects are gone, four others have changed and two are new.
func fleetTree(step int) map[string]string {
	tree := map[string]string{}

	for k := range fleetSets {
		for j := 3 * step; j < fleetObjects+2*step; j++ {
			name := fmt.Sprintf("set-%d-%d", k, j)

			value := 0
			if j < 7 {
				value = step
			}

			tree[fmt.Sprintf("set-%d/%s.yaml", k, name)] = fleetObject(j, name, value)
		}
	}

	if step == 0 { // it stays nonetheless
		tree["set-0/kept.yaml"] = strings.Replace(configMap("kept", 0), "metadata:\n", "metadata:\n  annotations:\n    "+pruneAnnotation+": disabled\n", 1)
	}

	return tree
}

// fleetChange is what leads from one step to another. There is nothing before step 0.
func fleetChange(from, to int) gitserver.Change {
	change := gitserver.Change{Files: fleetTree(to)}

	if from >= 0 {
		for path := range fleetTree(from) {
			if _, stays := change.Files[path]; !stays {
				change.Remove = append(change.Remove, path)
			}
		}
	}

	slices.Sort(change.Remove)

	return change
}

func fleetObject(j int, name string, value int) string {
	switch j % 5 {
	case 2:
		return fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: %s\n  labels:\n    value: v%d\n", name, value)
	case 3:
		return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\nspec:\n  ports:\n    - port: %d\n", name, 80+value)
	case 4:
		return deployment(name, fmt.Sprintf("minReadySeconds: %d", value))
	default:
		return configMap(name, value)
	}
}

// holding is what the manager holds on to.
type holding struct {
	platform.Usage

	watches map[string]int
}

func (s *faultStage) hold(ctx context.Context) (holding, error) {
	u, err := s.manager.Usage(ctx)

	return holding{Usage: u, watches: s.gate.Watches()}, err
}

// idle returns what the manager holds when that no longer changes.
func (s *faultStage) idle(t *testing.T) holding {
	t.Helper()

	var last holding

	s.poll(t, "idle", func(ctx context.Context) error {
		now, err := s.hold(ctx)
		if err != nil {
			return err
		}

		if diff := cmp.Diff(last, now, cmp.AllowUnexported(holding{})); diff != "" {
			last = now

			return errors.New(diff)
		}

		return nil
	})

	return last
}

// The manager keeps connections that nobody uses for a while, to be used again: to the Git server, to its own artifacts, and to the API
// server more than one while there is much to do. A leak grows with every object or fault, of which there are more.
const spareFiles = 8

// leaks waits until the manager holds no more than it did. Watches have to be exactly the same: one that is missing is blind.
func (s *faultStage) leaks(t *testing.T, before holding) {
	t.Helper()

	s.poll(t, "as before", func(ctx context.Context) error {
		now, err := s.hold(ctx)
		if err != nil {
			return err
		}

		var errs []error
		if diff := cmp.Diff(before.watches, now.watches); diff != "" {
			errs = append(errs, fmt.Errorf("watches, -before, +after:\n%s", diff))
		}

		for _, origin := range slices.Sorted(maps.Keys(now.Goroutines)) {
			if n, was := now.Goroutines[origin], before.Goroutines[origin]; n > was {
				errs = append(errs, fmt.Errorf("%d goroutines of %s, not %d", n, origin, was))
			}
		}

		if now.Files > before.Files+spareFiles {
			errs = append(errs, fmt.Errorf("%d files, not %d", now.Files, before.Files))
		}

		return errors.Join(errs...)
	})
}

// poll asks for what cannot be watched, until there is no error.
func (s *faultStage) poll(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()

	ctx, start := deadline(t, patience), time.Now()
	tick := time.NewTicker(100 * time.Millisecond)

	defer tick.Stop()

	var last error

	for {
		err := condition(ctx)
		if err == nil {
			t.Logf("%s after %.1f s", what, time.Since(start).Seconds())

			return
		}

		if ctx.Err() == nil { // else it says only that
			last = err
		}

		select {
		case <-tick.C:
		case <-s.manager.Ended():
			t.Fatalf("not %s: the manager has ended: %v", what, s.manager.Err())
		case <-ctx.Done():
			t.Fatalf("not %s: %v", what, last)
		}
	}
}
