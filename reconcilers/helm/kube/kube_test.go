package kube_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
	"github.com/weir-dev/weir/test/cluster"
)

// Pods become Ready without running.
var shared = cluster.Shared{Options: cluster.Options{Mode: cluster.ControlPlane, FakeNode: true}}

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// patience bounds waits for something that comes. It is no measurement.
const patience = time.Minute

var benches atomic.Int64

// bench is a cluster with what all releases share, a namespace, and the storage of one release.
type bench struct {
	t         testing.TB
	admin     *access.Client // neither counted nor interfered with
	factory   *access.Factory
	counter   *accesstest.Counter
	hub       *health.Hub
	applier   *apply.Applier
	storage   *storage.Storage
	namespace string

	mu   sync.Mutex
	meet func(*http.Request) *http.Response // sees each request of the clients; nil lets it through
	logs []string
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOn(t, shared.Start(t))
}

func newBenchOn(t testing.TB, on *cluster.Cluster) *bench {
	t.Helper()
	b := &bench{t: t, counter: &accesstest.Counter{}, storage: storage.Init(driver.NewMemory()), namespace: fmt.Sprintf("helm-%d", benches.Add(1))}
	var err error
	b.factory, err = access.New(on.Config(), access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return b.interfere(b.counter.Transport(next))
	}})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := access.New(on.Config(), access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.admin = admin.Own()
	b.hub = health.New(b.admin, health.Options{Wake: func(access.ID, health.Cause) {}})
	t.Cleanup(b.hub.Close)
	b.applier = apply.New(b.hub, apply.ApplierOptions{Wake: func(access.ID, health.Cause) {}})
	b.create(`{apiVersion: v1, kind: Namespace, metadata: {name: NS}}`)
	return b
}

func (b *bench) interfere(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		b.mu.Lock()
		meet := b.meet
		b.mu.Unlock()
		if meet != nil {
			if resp := meet(req); resp != nil {
				resp.Request = req
				return resp, nil
			}
		}
		return next.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (b *bench) ctx() context.Context { return b.t.Context() }

// once does something when a client first writes to such a path.
func (b *bench) once(path func(string) bool, do func()) {
	var done sync.Once
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meet = func(req *http.Request) *http.Response {
		if req.Method != http.MethodGet && path(req.URL.Path) {
			done.Do(do)
		}
		return nil
	}
}

// options of a client that takes over nothing and applies on the server's side, or not.
func (b *bench) options(ssa bool) kube.Options {
	return kube.Options{
		Client: b.factory.Own(), Hub: b.hub, Applier: b.applier, Release: "app", Namespace: b.namespace, ServerSide: ssa,
		Owner: apply.Owner{
			ID:     access.ID{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease", Namespace: b.namespace, Name: "app"},
			Prefix: "helm.toolkit.fluxcd.io", Manager: "helm-controller",
		},
		Log: func(format string, args ...any) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.logs = append(b.logs, fmt.Sprintf(format, args...))
		},
	}
}

func (b *bench) configuration(c *kube.Client) *action.Configuration {
	b.t.Helper()
	cfg, err := c.Configuration(b.storage)
	if err != nil {
		b.t.Fatal(err)
	}
	return cfg
}

// install installs a chart and waits.
func (b *bench) install(c *kube.Client, chart *chart.Chart) (*release.Release, error) {
	b.t.Helper()
	in := action.NewInstall(b.configuration(c))
	in.ReleaseName, in.Namespace, in.Wait, in.WaitForJobs, in.Timeout = "app", b.namespace, true, true, patience
	in.TakeOwnership = c.TakeOwnership
	return in.Run(chart, nil)
}

// upgrade upgrades the release and waits.
func (b *bench) upgrade(c *kube.Client, chart *chart.Chart, force bool) (*release.Release, error) {
	b.t.Helper()
	up := action.NewUpgrade(b.configuration(c))
	up.Namespace, up.Wait, up.WaitForJobs, up.Timeout, up.Force = b.namespace, true, true, patience, force
	up.TakeOwnership = c.TakeOwnership
	return up.Run("app", chart, nil)
}

func (b *bench) uninstall(c *kube.Client) error {
	b.t.Helper()
	un := action.NewUninstall(b.configuration(c))
	un.Wait, un.Timeout, un.DeletionPropagation = true, patience, "foreground"
	_, err := un.Run("app")
	return err
}

// charted makes a chart of templates. L stands for the label that a post-renderer sets.
func charted(t testing.TB, templates map[string]string) *chart.Chart {
	t.Helper()
	files := []*loader.BufferedFile{{Name: "Chart.yaml", Data: []byte("{apiVersion: v2, name: app, version: 1.0.0}")}}
	for name, text := range templates {
		text = strings.ReplaceAll(text, "L}", "labels: {helm.toolkit.fluxcd.io/name: app, helm.toolkit.fluxcd.io/namespace: '{{ .Release.Namespace }}'}}")
		files = append(files, &loader.BufferedFile{Name: "templates/" + name + ".yaml", Data: []byte(text)})
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bench) create(doc string) *unstructured.Unstructured {
	b.t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(doc, "NS", b.namespace)), &u.Object); err != nil {
		b.t.Fatal(err)
	}
	out, err := b.admin.Create(b.ctx(), u, "tester")
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) ref(kind, name string) access.Ref {
	group := map[string]string{"Deployment": "apps", "Job": "batch"}[kind]
	return access.Ref{ID: access.ID{Group: group, Kind: kind, Namespace: b.namespace, Name: name}}
}

// patch changes an object as somebody else.
func (b *bench) patch(ref access.Ref, subresource, patch string) {
	b.t.Helper()
	_, err := b.admin.Patch(b.ctx(), ref, types.MergePatchType, []byte(patch), access.PatchOptions{Manager: "tester", Subresource: subresource})
	if err != nil {
		b.t.Fatal(err)
	}
}

// data returns what a ConfigMap holds, or nil if there is none.
func (b *bench) data(name string) map[string]string {
	b.t.Helper()
	u, err := b.admin.Get(b.ctx(), b.ref("ConfigMap", name))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	m, _, _ := unstructured.NestedStringMap(u.Object, "data")
	return m
}

// managers returns who has written the object itself, and how.
func (b *bench) managers(ref access.Ref) []string {
	b.t.Helper()
	u, err := b.admin.GetMeta(b.ctx(), ref)
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, m := range u.ManagedFields {
		if m.Subresource == "" && m.Manager != "kube-controller-manager" {
			out = append(out, m.Manager+" "+string(m.Operation))
		}
	}
	return out
}

// status returns the states of the release's revisions.
func (b *bench) status() map[int]release.Status {
	b.t.Helper()
	out := map[int]release.Status{}
	history, err := b.storage.History("app")
	if err != nil {
		return out
	}
	for _, r := range history {
		out[r.Version] = r.Info.Status
	}
	return out
}

// eventually waits until something is as wanted.
func (b *bench) eventually(what string, fn func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("%s: it never came; releases are %v, the cluster has\n%s\nand Helm said:\n%s", what, b.status(), b.scene(), strings.Join(b.logs, "\n"))
		}
	}
}

// scene tells which Jobs and pods there are, and what has happened to them.
func (b *bench) scene() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var lines []string
	for _, gk := range []schema.GroupKind{{Group: "batch", Kind: "Job"}, {Kind: "Pod"}, {Kind: "Event"}} {
		objects, err := b.admin.List(ctx, gk, access.Query{Namespace: b.namespace})
		if err != nil {
			lines = append(lines, err.Error())
		}
		for _, o := range objects {
			lines = append(lines, fmt.Sprintf("%s %s %s at %s, deleted %v: %v %v %v", gk.Kind, o.GetName(), o.GetUID(), o.GetResourceVersion(),
				o.GetDeletionTimestamp(), o.Object["status"], o.Object["involvedObject"], o.Object["message"]))
		}
	}
	return strings.Join(lines, "\n")
}

func (b *bench) exists(ref access.Ref) bool {
	_, err := b.admin.GetMeta(b.ctx(), ref)
	return err == nil
}

func same[T any](t testing.TB, reason string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

func failsWith(t testing.TB, reason string, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: no error", reason)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: want %q in %q", reason, text, err)
		}
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, L}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: app}]}
`

func config(name, value string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, L}, data: {key: %q}}", name, value)
}
