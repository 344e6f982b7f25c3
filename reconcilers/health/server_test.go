package health_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

const (
	label     = "kustomize.toolkit.fluxcd.io/name"
	namespace = "kustomize.toolkit.fluxcd.io/namespace"
	patience  = 30 * time.Second
)

// bench is a hub over a real API server, with a namespace of its own.
type bench struct {
	t         testing.TB
	counter   *accesstest.Counter
	cutter    *cutter
	factory   *access.Factory
	admin     *access.Client
	hub       *health.Hub
	namespace string
	woken     chan access.ID
}

var benches atomic.Int64

func newBench(t testing.TB) *bench {
	t.Helper()
	config := shared.Start(t).Config()
	b := &bench{t: t, counter: &accesstest.Counter{}, cutter: &cutter{}, woken: make(chan access.ID, 1000)}
	transport := func(next http.RoundTripper) http.RoundTripper { return b.cutter.transport(b.counter.Transport(next)) }
	var err error
	if b.factory, err = access.New(config, access.Options{Transport: transport}); err != nil {
		t.Fatal(err)
	}
	admin, err := access.New(config, access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.admin = admin.Own()
	b.namespace = fmt.Sprintf("hub-%d", benches.Add(1))
	b.create(`{apiVersion: v1, kind: Namespace, metadata: {name: NS}}`)
	b.start(b.factory.Own())
	return b
}

func (b *bench) start(c *access.Client) {
	if b.hub != nil {
		b.hub.Close()
	}
	b.hub = health.New(c, health.Options{Wake: func(owner access.ID, _ health.Cause) { b.woken <- owner }})
	b.t.Cleanup(b.hub.Close)
}

func (b *bench) ctx() context.Context { return b.t.Context() }

func (b *bench) create(doc string) {
	b.t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(doc, "NS", b.namespace)), &u.Object); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.admin.Create(b.ctx(), u, "tester"); err != nil {
		b.t.Fatal(err)
	}
}

// config creates a ConfigMap with the owner's label.
func (b *bench) config(name, owner string) access.ID {
	b.t.Helper()
	b.create(fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: NS, labels: {%s: %s, %s: NS}}}`, name, label, owner, namespace))
	return b.id("", "ConfigMap", name)
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: NS, labels: {kustomize.toolkit.fluxcd.io/name: app}}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: app}]}
`

func (b *bench) deployment(name string) access.ID {
	b.t.Helper()
	b.create(strings.ReplaceAll(deployment, "NAME", name))
	return b.id("apps", "Deployment", name)
}

func (b *bench) id(group, kind, name string) access.ID {
	return access.ID{Group: group, Kind: kind, Namespace: b.namespace, Name: name}
}

func (b *bench) owner(name string) access.ID {
	return b.id("kustomize.toolkit.fluxcd.io", "Kustomization", name)
}

func (b *bench) patch(id access.ID, subresource, patch string) string {
	b.t.Helper()
	m, err := b.admin.Patch(b.ctx(), access.Ref{ID: id}, types.MergePatchType, []byte(patch), access.PatchOptions{Manager: "tester", Subresource: subresource})
	if err != nil {
		b.t.Fatal(err)
	}
	return m.ResourceVersion
}

func (b *bench) delete(id access.ID) {
	b.t.Helper()
	if err := b.admin.Delete(b.ctx(), access.Ref{ID: id}, access.DeleteOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// available makes a Deployment look as its controller would.
func (b *bench) available(id access.ID) string {
	b.t.Helper()
	return b.patch(id, "status", `{"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1,
		"conditions":[{"type":"Available","status":"True"},{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable"}]}}`)
}

// settle waits for a goal that has to come.
func (b *bench) settle(owner access.ID, g health.Goal) health.Report {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), patience)
	defer cancel()
	r, ok := b.hub.Settle(ctx, owner, g)
	if !ok {
		b.t.Fatalf("not settled: %+v", r)
	}
	return r
}

func (b *bench) wake() access.ID {
	b.t.Helper()
	select {
	case id := <-b.woken:
		return id
	case <-time.After(patience):
		b.t.Fatal("nobody was woken")
		return access.ID{}
	}
}

// sees waits until the hub knows as much of an object.
func (b *bench) sees(id access.ID, want health.Knowledge) health.Live {
	b.t.Helper()
	for {
		live, k := b.hub.Lookup(id, label)
		if k == want {
			return live
		}
		b.pause()
	}
}

// pause gives the watches a moment.
func (b *bench) pause() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), 5*time.Millisecond)
	defer cancel()
	b.hub.Settle(ctx, b.owner("nobody"), health.Goal{IDs: []access.ID{{Kind: "None", Name: "none"}}})
	if b.ctx().Err() != nil {
		b.t.Fatal("the test has ended")
	}
}

func same[T any](t testing.TB, reason string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

func names(conditions []health.Condition) []string {
	out := []string{}
	for _, c := range conditions {
		out = append(out, c.Name)
	}
	return out
}

// cutter ends watches from outside.
type cutter struct {
	mu     sync.Mutex
	bodies map[io.Closer]struct{}
	expire bool
}

func (c *cutter) transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if accesstest.Verb(req) != "watch" {
			return next.RoundTrip(req)
		}
		c.mu.Lock()
		expire := c.expire
		c.expire = false
		c.mu.Unlock()
		if expire {
			const gone = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`
			return &http.Response{StatusCode: http.StatusGone, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(gone))}, nil
		}
		resp, err := next.RoundTrip(req)
		if err == nil {
			c.mu.Lock()
			if c.bodies == nil {
				c.bodies = map[io.Closer]struct{}{}
			}
			c.bodies[resp.Body] = struct{}{}
			c.mu.Unlock()
		}
		return resp, err
	})
}

// cut ends all watches. If expire is set, the next one that is opened is refused as too old.
func (c *cutter) cut(expire bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire = expire
	for body := range c.bodies {
		_ = body.Close()
	}
	c.bodies = nil
}

// open returns how many watches there are.
func (c *cutter) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bodies)
}

// watches waits until so many watches are open.
func (b *bench) watches(n int) {
	b.t.Helper()
	for b.cutter.open() < n {
		b.pause()
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestHealthIsAnEvent(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	config, app := b.config("config", "app"), b.deployment("app")
	b.hub.Track(owner, label, []access.ID{config, app})
	if err := b.hub.Ready(b.ctx(), owner); err != nil {
		t.Fatal(err)
	}
	r := b.hub.Report(owner, nil)
	same(t, "a ConfigMap is current when it is there", []string{"config"}, names(r.Current))
	same(t, "a Deployment is not", []string{"app"}, names(r.InProgress))

	b.hub.Await(owner, &health.Goal{})
	same(t, "nobody is woken too early", 0, len(b.woken))
	b.available(app)
	same(t, "the owner is woken", owner, b.wake())
	same(t, "by health", true, b.hub.Report(owner, nil).Healthy())

	b.hub.Await(owner, &health.Goal{})
	same(t, "a goal that is reached wakes at once", owner, b.wake())

	b.patch(app, "", `{"spec":{"replicas":2}}`)
	for b.hub.Report(owner, nil).Healthy() {
		b.pause()
	}
	b.hub.Await(owner, &health.Goal{})
	b.patch(app, "status", `{"status":{"observedGeneration":2,"conditions":[{"type":"Progressing","status":"False","reason":"ProgressDeadlineExceeded"}]}}`)
	same(t, "a failure wakes", owner, b.wake())
	same(t, "and is reported", []health.Condition{{ID: app, Status: status.FailedStatus, Message: "Progress deadline exceeded"}}, b.hub.Report(owner, nil).Failed)
	r = b.settle(owner, health.Goal{Patient: true})
	same(t, "patience is for the others", []int{1, 1}, []int{len(r.Current), len(r.Failed)})
	b.watches(2)
	same(t, "two lists and two watches, and nothing else", map[string]int{"discover": 2, "list": 2, "watch": 2}, b.counter.Take())
}

func TestStaleHealthDoesNotCount(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	config := b.config("config", "app")
	b.hub.Track(owner, label, []access.ID{config})
	b.settle(owner, health.Goal{})

	b.hub.Expect(config, label, "999999999")
	r := b.hub.Report(owner, nil)
	same(t, "after a write, what was seen before counts no more", []string{"config"}, names(r.Unknown))
	_, k := b.hub.Lookup(config, label)
	same(t, "and is known to be behind", health.Behind, k)

	missing := b.id("", "ConfigMap", "missing")
	b.hub.Track(owner, label, []access.ID{config, missing})
	b.sees(missing, health.Absent)
	b.config("missing", "app")
	b.settle(owner, health.Goal{IDs: []access.ID{missing}})
}

func TestGoals(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	config := b.config("config", "app")
	b.hub.Track(owner, label, []access.ID{config})
	b.settle(owner, health.Goal{})
	b.hub.Await(owner, &health.Goal{Gone: true})
	b.delete(config)
	same(t, "being gone is a goal", owner, b.wake())
	b.hub.Check(owner, health.Checks{Vanishing: []access.ID{config}})
	same(t, "what goes by itself is current", true, b.hub.Report(owner, nil).Healthy())
	b.hub.Await(owner, &health.Goal{Gone: true, IDs: []access.ID{b.id("", "ConfigMap", "unknown")}})
	b.hub.Await(owner, nil)
	b.hub.Untrack(owner)
	same(t, "nobody is left", health.Report{}, b.hub.Report(owner, nil))
	same(t, "nobody is woken", 0, len(b.woken))
}

func TestWatchesGoOn(t *testing.T) {
	cases := map[string]struct {
		reason string
		expire bool
		want   map[string]int
	}{
		"cut":     {"a watch that breaks goes on where it was", false, map[string]int{"watch": 1}},
		"expired": {"one that cannot lists again", true, map[string]int{"watch": 1, "list": 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			owner := b.owner("app")
			kept, lost := b.config("kept", "app"), b.config("lost", "app")
			b.hub.Track(owner, label, []access.ID{kept, lost})
			b.settle(owner, health.Goal{})
			b.watches(1)
			b.counter.Take()
			b.cutter.cut(c.expire)
			b.delete(lost)
			b.patch(kept, "", `{"metadata":{"annotations":{"a":"b"}}}`)
			for b.sees(kept, health.Present).Annotations["a"] == "" {
				b.pause()
			}
			b.sees(lost, health.Absent)
			same(t, c.reason, c.want, b.counter.Take())
		})
	}
}

func TestObserversSeeEverything(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var seen []string
	b.hub.Observe(func(_, id access.ID, live *health.Live) {
		mu.Lock()
		defer mu.Unlock()
		what := "gone"
		if live != nil {
			what = live.Labels[namespace]
		}
		seen = append(seen, id.Name+" "+strings.ReplaceAll(what, b.namespace, "NS"))
	})
	owner := b.owner("app")
	config := b.config("config", "app")
	b.config("untracked", "app")
	b.hub.Track(owner, label, []access.ID{config})
	b.settle(owner, health.Goal{})
	b.patch(config, "", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/namespace":"other"}}}`)
	b.patch(config, "", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":null}}}`)
	b.sees(config, health.Absent)
	b.delete(config)
	b.config("config", "app")
	b.sees(config, health.Present)
	mu.Lock()
	defer mu.Unlock()
	same(t, "all events of what is tracked", []string{"config NS", "config other", "config gone", "config NS"}, seen)
	same(t, "what carries the owner's labels", []access.Ref{
		{ID: config, Version: "v1"}, {ID: b.id("", "ConfigMap", "untracked"), Version: "v1"},
	}, b.hub.Labelled(owner, label, namespace))
}

func TestChecksOfOthersObjects(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	b.create(strings.ReplaceAll(strings.ReplaceAll(deployment, "NAME", "theirs"), "kustomize.toolkit.fluxcd.io/name", "other"))
	theirs, missing := b.id("apps", "Deployment", "theirs"), b.id("", "ConfigMap", "missing")
	b.hub.Check(owner, health.Checks{Named: []access.ID{theirs, missing}})
	b.hub.Await(owner, &health.Goal{IDs: []access.ID{theirs, missing}})
	b.available(theirs)
	b.create(`{apiVersion: v1, kind: ConfigMap, metadata: {name: missing, namespace: NS}}`)
	same(t, "they are watched by name", owner, b.wake())
	b.watches(2)
	same(t, "one watch each", map[string]int{"discover": 2, "list": 2, "watch": 2}, b.counter.Take())
}

func TestRules(t *testing.T) {
	b := newBench(t)
	owner, other := b.owner("app"), b.owner("other")
	app := b.deployment("app")
	ids := []access.ID{app}
	rule := health.Rule{Key: "paused", Evaluate: func(object map[string]any) (status.Status, string) {
		if paused, _, _ := unstructured.NestedBool(object, "spec", "paused"); paused {
			return status.CurrentStatus, "it is paused"
		}
		return status.FailedStatus, "it is not paused"
	}}
	b.hub.Track(other, label, ids)
	if err := b.hub.Ready(b.ctx(), other); err != nil {
		t.Fatal(err)
	}
	b.hub.Check(owner, health.Checks{Rules: map[schema.GroupKind]health.Rule{{Group: "apps"}: rule}})
	b.hub.Track(owner, label, ids) // seen before the rule was in force
	r := b.settle(owner, health.Goal{})
	same(t, "the rule decides", []health.Condition{{ID: app, Status: status.FailedStatus, Message: "it is not paused"}}, r.Failed)
	b.patch(app, "", `{"spec":{"paused":true}}`)
	r = b.settle(owner, health.Goal{IDs: ids, Patient: true})
	for len(r.Current) == 0 {
		b.pause()
		r = b.hub.Report(owner, nil)
	}
	same(t, "at each event", "it is paused", r.Current[0].Message)
	same(t, "for its owner only", []string{"app"}, names(b.hub.Report(other, nil).InProgress))
	b.patch(app, "status", `{"status":{"observedGeneration":1}}`)
	for b.hub.Report(owner, nil).Healthy() {
		b.pause()
	}
	same(t, "but not before its controller", "generation is 2, but latest observed generation is 1", b.hub.Report(owner, nil).InProgress[0].Message)
}

func TestKindThatIsNotServedYet(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	group := b.namespace + ".example.com"
	gadget := b.id(group, "Gadget", "gadget")
	b.hub.Track(owner, label, []access.ID{gadget})
	if err := b.hub.Ready(b.ctx(), owner); err != nil {
		t.Fatal(err)
	}
	same(t, "there are no objects of it", []string{"gadget"}, names(b.hub.Report(owner, nil).InProgress))
	b.create(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.NS.example.com}
spec:
  group: NS.example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`)
	crd := access.Ref{ID: access.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "gadgets." + group}}
	b.hub.Check(owner, health.Checks{Named: []access.ID{crd.ID}})
	b.settle(owner, health.Goal{IDs: []access.ID{crd.ID}})
	definition, err := b.admin.Get(b.ctx(), crd)
	if err != nil {
		t.Fatal(err)
	}
	b.factory.Learn(definition)
	b.admin.Factory().Learn(definition)
	for {
		_, err := b.admin.Apply(b.ctx(), access.Ref{ID: gadget, Version: "v1"}, fmt.Appendf(nil,
			`{"apiVersion":"%s/v1","kind":"Gadget","metadata":{"name":"gadget","namespace":"%s","labels":{"%s":"app"}}}`, group, b.namespace, label),
			access.ApplyOptions{Manager: "tester"})
		if err == nil {
			break
		}
		if !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		b.pause()
	}
	b.hub.Expect(gadget, label, "1") // a write tells that the kind is served
	b.settle(owner, health.Goal{})
	b.delete(crd.ID)
	b.settle(owner, health.Goal{Gone: true})
}
