package apply_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// patience bounds waits for something that comes at once when it comes. It is no measurement.
const patience = 30 * time.Second

// ahead is a clock that is an hour ahead.
type ahead struct{ clock.RealClock }

func (ahead) Now() time.Time { return time.Now().Add(time.Hour) }

// benches tells namespaces of repeated tests apart.
var benches atomic.Int64

// bench is an applier and its hub over a real API server, with a namespace of its own.
type bench struct {
	t         testing.TB
	counter   *accesstest.Counter
	factory   *access.Factory
	admin     *access.Client // not counted
	hub       *health.Hub
	applier   *apply.Applier
	owner     apply.Owner
	namespace string
	woken     chan health.Cause
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOn(t, shared.Start(t).Config())
}

func newBenchOn(t testing.TB, config *rest.Config) *bench {
	t.Helper()
	b := &bench{t: t, counter: &accesstest.Counter{}, woken: make(chan health.Cause, 1000)}
	var err error
	if b.factory, err = access.New(config, access.Options{Transport: b.counter.Transport}); err != nil {
		t.Fatal(err)
	}
	uncounted, err := access.New(config, access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.admin = uncounted.Own()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	b.namespace = fmt.Sprintf("%s-%d", strings.Trim(name[:min(40, len(name))], "-"), benches.Add(1))
	b.create(fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %q}}`, b.namespace))
	b.owner = apply.Owner{
		ID:      access.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: b.namespace, Name: "app"},
		Prefix:  "kustomize.toolkit.fluxcd.io",
		Manager: "kustomize-controller",
	}
	b.restart()
	return b
}

// restart starts over with nothing in memory.
func (b *bench) restart() {
	if b.hub != nil {
		b.hub.Close()
	}
	wake := func(_ access.ID, cause health.Cause) { b.woken <- cause }
	b.hub = health.New(b.factory.Own(), health.Options{Wake: wake})
	b.t.Cleanup(b.hub.Close)
	// An hour ahead, nothing that the API server has written is so recent that its time proves nothing.
	b.applier = apply.New(b.hub, apply.ApplierOptions{Wake: wake, Clock: ahead{}})
}

func (b *bench) ctx() context.Context { return b.t.Context() }

// objects reads YAML documents, with NS for the namespace.
func (b *bench) objects(docs string) []*unstructured.Unstructured {
	b.t.Helper()
	var out []*unstructured.Unstructured
	for doc := range strings.SplitSeq(strings.ReplaceAll(docs, "NS", b.namespace), "\n---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

func (b *bench) create(doc string) {
	b.t.Helper()
	for _, u := range b.objects(doc) {
		if _, err := b.admin.Create(b.ctx(), u, "tester"); err != nil {
			b.t.Fatal(err)
		}
	}
}

// edit changes an object as somebody else.
func (b *bench) edit(ref access.Ref, manager, patch string) {
	b.t.Helper()
	if _, err := b.admin.Patch(b.ctx(), ref, types.MergePatchType, []byte(patch), access.PatchOptions{Manager: manager}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get(ref access.Ref) *unstructured.Unstructured {
	b.t.Helper()
	u, err := b.admin.Get(b.ctx(), ref)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

func (b *bench) apply(set string, o apply.Options) (*apply.Result, error) {
	return b.applier.Apply(b.ctx(), b.factory.Own(), b.owner, b.objects(set), o)
}

// mustApply applies and returns the lines of the change log.
func (b *bench) mustApply(set string, o apply.Options) []string {
	b.t.Helper()
	r, err := b.apply(set, o)
	if err != nil {
		b.t.Fatalf("apply: %v", err)
	}
	return lines(r.Changes)
}

func lines(c apply.Changes) []string {
	out := []string{}
	if log := c.Log(); log != "" {
		out = strings.Split(log, "\n")
	}
	return out
}

// wake waits until the owner is woken.
func (b *bench) wake() health.Cause {
	b.t.Helper()
	select {
	case c := <-b.woken:
		return c
	case <-time.After(patience):
		b.t.Fatal("nobody was woken")
		return ""
	}
}

func (b *bench) ref(kind, name string) access.Ref {
	group := map[string]string{"Deployment": "apps", "Job": "batch"}[kind]
	return access.Ref{ID: access.ID{Group: group, Kind: kind, Namespace: b.namespace, Name: name}}
}

// requests compares what was sent since the last call, but for watches and what comes with them.
func (b *bench) requests(reason string, want map[string]int) {
	b.t.Helper()
	got := b.counter.Take("watch", "list", "discover")
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("%s: requests (-want +got):\n%s", reason, diff)
	}
}

func same[T any](t testing.TB, reason string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

const three = `
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: NS}
data: {key: value}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: NS}
spec: {selector: {app: app}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: NS}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: app:1, env: [{name: "A<B>&C", value: x}]}]}
`

func TestBudget(t *testing.T) {
	b := newBench(t)
	same(t, "first", []string{
		"ConfigMap/NS/config created", "Service/NS/app created", "Deployment/NS/app created",
	}, b.anonymous(b.mustApply(three, apply.Options{Digest: "1"})))
	b.requests("a first apply tries all and then writes all", map[string]int{"dry-run": 3, "apply": 3})

	same(t, "again", []string{}, b.mustApply(three, apply.Options{Digest: "1"}))
	same(t, "other digest", []string{}, b.mustApply(three, apply.Options{Digest: "2"}))
	b.requests("what is unchanged costs nothing", map[string]int{})

	two := strings.ReplaceAll(three, "key: value", "key: other")
	same(t, "one changed", []string{"ConfigMap/NS/config configured"}, b.anonymous(b.mustApply(two, apply.Options{Digest: "3"})))
	b.requests("one change is its own transaction", map[string]int{"apply": 1})

	all := strings.ReplaceAll(strings.ReplaceAll(three, "port: 80", "port: 81"), "app:1", "app:2")
	same(t, "all changed", []string{
		"ConfigMap/NS/config configured", "Service/NS/app configured", "Deployment/NS/app configured",
	}, b.anonymous(b.mustApply(all, apply.Options{})))
	b.requests("what was accepted before is not tried again", map[string]int{"dry-run": 2, "apply": 3})

	same(t, "reverted", []string{
		"Service/NS/app configured", "Deployment/NS/app configured",
	}, b.anonymous(b.mustApply(three, apply.Options{})))
	b.requests("a revert needs no trial", map[string]int{"apply": 2})

	b.restart()
	same(t, "after a restart", []string{}, b.mustApply(three, apply.Options{}))
	b.requests("a restart looks at each object once", map[string]int{"dry-run": 3})
	same(t, "after that", []string{}, b.mustApply(three, apply.Options{}))
	b.requests("and then remembers", map[string]int{})
}

// anonymous puts NS for the namespace again.
func (b *bench) anonymous(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ReplaceAll(s, b.namespace, "NS")
	}
	return out
}

// settleBriefly gives the watches a moment: it returns at the next event, or soon.
func (b *bench) settleBriefly() {
	ctx, cancel := context.WithTimeout(b.ctx(), 5*time.Millisecond)
	defer cancel()
	b.hub.Settle(ctx, b.owner.ID, health.Goal{Gone: true})
}

// tenant returns the client of a service account that may do these things to these resources, once the API server
// has noticed.
func (b *bench) tenant(resources, verbs string) *access.Client {
	b.t.Helper()
	b.create(fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tenant, namespace: NS}
rules: [{apiGroups: ["", apps], resources: [%s], verbs: [%s]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}
subjects: [{kind: ServiceAccount, name: tenant, namespace: NS}]
`, resources, verbs))
	tenant, err := b.factory.As(b.namespace, "tenant")
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		if _, err := tenant.GetMeta(b.ctx(), b.ref("ConfigMap", "any")); !apierrors.IsForbidden(err) {
			b.counter.Take()
			return tenant
		}
		b.settleBriefly()
	}
}
