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

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	restored  chan error
}

var benches atomic.Int64

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOn(t, shared.Start(t))
}

func newBenchOn(t testing.TB, on *cluster.Cluster) *bench {
	t.Helper()
	config := on.Config()
	b := &bench{t: t, counter: &accesstest.Counter{}, cutter: &cutter{}, woken: make(chan access.ID, 1000), restored: make(chan error, 10)}
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
	b.hub = health.New(c, health.Options{
		Wake:     func(owner access.ID, _ health.Cause) { b.woken <- owner },
		Restored: func(err error) { b.restored <- err },
	})
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
	bodies map[*body]struct{}
	expire bool
}

// body is what a watch reads.
type body struct {
	io.ReadCloser
	ended atomic.Bool // as an API server ends it, else as a connection breaks
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.ended.Load() {
		err = io.EOF
	}
	return n, err
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
				c.bodies = map[*body]struct{}{}
			}
			b := &body{ReadCloser: resp.Body}
			resp.Body = b
			c.bodies[b] = struct{}{}
			c.mu.Unlock()
		}
		return resp, err
	})
}

// cut breaks all watches, or ends them as an API server does. If expire is set, the next one that is opened is refused as too old.
func (c *cutter) cut(end, expire bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire = expire
	for b := range c.bodies {
		b.ended.Store(end)
		_ = b.Close()
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
