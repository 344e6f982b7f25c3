package process

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/kustomize"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

const (
	killSteps      = 8 // commits
	killDeliveries = 6 // Kustomizations at a time
	killChanges    = 60
)

// TestKill takes two fleets through the same commits: one in peace, and one whose manager is killed again and again, at
// random points, sometimes losing its storage as well. In the end both are the same: nothing is lost, nothing is left over.
// WEIR_SEED repeats a run.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("WEIR_SEED"), 10, 64); err == nil {
		seed = s
	}

	t.Logf("WEIR_SEED=%d", seed)

	s := newStage(t, "--min-retry-delay=100ms", "--max-retry-delay=2s")
	peaceful, disturbed := s.newRun(t, "peaceful"), s.newRun(t, "disturbed")

	for step := range killSteps {
		s.await(t, fmt.Sprintf("step %d is delivered in peace", step), peaceful.push(t, step))
		peaceful.meet(s.view.Now())
	}

	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret: it is to be repeated
	kills, early := 0, 0                     // all, and those before the work was done

	for step := range killSteps {
		delivered := disturbed.push(t, step)

		for range 1 + random.IntN(3) {
			disturbed.changes(t, random.IntN(killChanges), delivered)

			if delivered(s.view.Now()) != nil {
				early++
			}

			s.kill(t, random.IntN(4) == 0)

			kills++
		}
	}

	s.await(t, fmt.Sprintf("the last step is delivered after %d kills, %d of them amid the work", kills, early), disturbed.delivered(t, killSteps-1))

	for _, r := range []*killRun{peaceful, disturbed} {
		if len(r.wanderers) != 1 {
			t.Errorf("WEIR_SEED=%d: an object that moved was deleted on the way: %v", seed, slices.Collect(maps.Keys(r.wanderers)))
		}
	}

	if diff := cmp.Diff(peaceful.state(t), disturbed.state(t)); diff != "" {
		t.Errorf("WEIR_SEED=%d: the fleets differ: -in peace, +disturbed:\n%s", seed, diff)
	}
}

// killRun is one fleet.
type killRun struct {
	*stage

	namespace string
	repo      *gitserver.Repository
	source    *unstructured.Unstructured
	revision  string
	wanderers map[types.UID]bool // of the object that moves from one Kustomization to the next one with each step
}

func (s *stage) newRun(t *testing.T, namespace string) *killRun {
	t.Helper()

	namespace = s.namespace(t, namespace)
	repo := must(s.repos.Create(deadline(t, patience), namespace))(t)
	r := &killRun{
		stage: s, namespace: namespace, repo: repo, source: s.source(namespace, "fleet", s.git.URL(repo)),
		wanderers: map[types.UID]bool{},
	}
	r.apply(t, r.source, s.delivery(namespace, "root", "fleet", "root", map[string]any{
		"wait": true, "retryInterval": "2s", "postBuild": map[string]any{
			"substitute": map[string]any{"set": s.set, "namespace": namespace},
		},
	}))

	return r
}

// push commits the fleet of a step and asks for it. The condition is that it is delivered.
func (r *killRun) push(t *testing.T, step int) func(platform.Snapshot) error {
	t.Helper()

	tree := killTree(step)
	change := gitserver.Change{Files: tree}

	if step > 0 {
		for path := range killTree(step - 1) {
			if _, stays := tree[path]; !stays {
				change.Remove = append(change.Remove, path)
			}
		}
	}

	slices.Sort(change.Remove)
	r.revision = r.commit(t, r.repo, change)
	r.request(t, r.source)

	return r.delivered(t, step)
}

// delivered is a condition: the Kustomizations of the step are ready, and no other is there.
func (r *killRun) delivered(t *testing.T, step int) func(platform.Snapshot) error {
	t.Helper()

	keys, names := [][2]string{{r.namespace, "root"}}, []string{"root"}

	for k := range killDeliveries {
		keys = append(keys, [2]string{r.namespace, killName(step, k)})
		names = append(names, killName(step, k))
	}

	revision := r.revision

	return platform.All(platform.Delivered(revision, keys...), func(s platform.Snapshot) error {
		for _, key := range keys {
			o := s.Get(platform.Kustomization(), key[0], key[1])
			if o == nil {
				return fmt.Errorf("%s is not there", key[1])
			}

			if state, _, message := platform.Condition(o, kustomize.PruneHeldCondition); state != "" {
				return fmt.Errorf("%s: %s", key[1], message)
			}
		}

		for _, o := range s.List(platform.Kustomization(), r.namespace) {
			if !slices.Contains(names, o.GetName()) {
				return fmt.Errorf("%s is still there", platform.Name(o))
			}
		}

		return nil
	})
}

// changes lets the manager work until the cluster has changed n times, or the condition is true.
func (r *killRun) changes(t *testing.T, n int, delivered func(platform.Snapshot) error) {
	t.Helper()

	ctx := deadline(t, patience)

	for range n {
		changed := r.view.Changed()
		now := r.view.Now()

		if r.meet(now); delivered(now) == nil {
			return
		}

		select {
		case <-changed:
		case <-ctx.Done():
			r.fail(t, "delivering", delivered(r.view.Now()))
		}
	}
}

// meet notes which object the wanderer is.
func (r *killRun) meet(s platform.Snapshot) {
	if o := s.Get(platform.Core("ConfigMap"), r.namespace, "wanderer"); o != nil {
		r.wanderers[o.GetUID()] = true
	}
}

// kill ends the manager at once and starts it again, without its artifacts if they are to be lost.
func (s *stage) kill(t *testing.T, loseStorage bool) {
	t.Helper()

	if err := s.manager.Kill(); err != nil {
		t.Fatal(err)
	}

	if loseStorage {
		if err := os.RemoveAll(s.manager.Storage()); err != nil {
			t.Fatal(err)
		}
	}

	s.start(t)
}

// state is what the cluster holds of the fleet, without what differs by nature.
func (r *killRun) state(t *testing.T) map[string]string {
	t.Helper()

	state := map[string]string{}

	for _, kind := range [][2]string{
		{"v1", "ConfigMap"}, {"v1", "ServiceAccount"}, {"v1", "Service"}, {"apps/v1", "Deployment"},
		{"kustomize.toolkit.fluxcd.io/v1", "Kustomization"},
	} {
		for _, o := range r.list(t, r.namespace, kind[0], kind[1]) {
			if o.GetName() == "kube-root-ca.crt" || o.GetName() == "default" {
				continue // the cluster's own
			}

			content := must(yaml.Marshal(essence(&o)))(t)
			state[kind[1]+"/"+o.GetName()] = strings.ReplaceAll(string(content), r.namespace, "NAMESPACE")
		}
	}

	return state
}

// essence is what the fleet says of the object, and what the manager says of its delivery.
func essence(o *unstructured.Unstructured) map[string]any {
	e := map[string]any{
		"labels": o.GetLabels(), "spec": o.Object["spec"], "data": o.Object["data"],
		"finalizers": o.GetFinalizers(), "deleted": o.GetDeletionTimestamp() != nil,
	}

	if o.GetKind() == "Service" {
		delete(o.Object["spec"].(map[string]any), "clusterIP")  //nolint:forcetypeassert // it is the API server's
		delete(o.Object["spec"].(map[string]any), "clusterIPs") //nolint:forcetypeassert // it is the API server's
	}

	if o.GetKind() == "Kustomization" {
		e["revision"] = platform.Text(o, "status", "lastAppliedRevision")
		entries, _, _ := unstructured.NestedSlice(o.Object, "status", "inventory", "entries") //nolint:errcheck // then there are none
		ids := make([]string, 0, len(entries))

		for _, entry := range entries {
			ids = append(ids, fmt.Sprint(entry))
		}

		slices.Sort(ids)
		e["inventory"] = ids
	}

	return e
}

// killName is that of the k-th Kustomization: from the third step on, the last one is another.
func killName(step, k int) string {
	if k == killDeliveries-1 && step >= 2 {
		return "late"
	}

	return fmt.Sprintf("set-%d", k)
}

// killTree is the fleet at a step. Objects come, change, go, and move from one Kustomization to another.
func killTree(step int) map[string]string {
	tree := map[string]string{}

	for k := range killDeliveries {
		name := killName(step, k)
		tree["root/"+name+".yaml"] = killDelivery(step, k)

		for j := range 5 {
			if (j+step+k)%4 != 0 {
				object := fmt.Sprintf("%s-%d", name, j)
				tree[name+"/"+object+".yaml"] = configMap(object, step/(1+j%2))
			}
		}

		tree[name+"/workload.yaml"] = deployment(name, fmt.Sprintf("minReadySeconds: %d", step))
		tree[name+"/account.yaml"] = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: " + name + "\n"
		tree[name+"/service.yaml"] = fmt.Sprintf(
			"apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\nspec:\n  ports:\n    - port: %d\n", name, 80+step)
	}

	tree[killName(step, step)+"/wanderer.yaml"] = configMap("wanderer", step)

	return tree
}

func configMap(name string, value int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  value: \"%d\"\n", name, value)
}

// killDelivery is the manifest of a Kustomization: each but the first depends on the one before.
func killDelivery(step, k int) string {
	dependsOn := ""
	if k > 0 {
		dependsOn = "  dependsOn:\n    - name: " + killName(step, k-1) + "\n"
	}

	return fmt.Sprintf(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: %[1]s
  labels:
    %[2]s: ${set}
spec:
  interval: 10m
  retryInterval: 2s
  timeout: 1m
  prune: true
  wait: true
  path: %[1]s
  targetNamespace: ${namespace}
  sourceRef:
    kind: GitRepository
    name: fleet
%[3]s`, killName(step, k), setLabel, dependsOn)
}
