package kustomize_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	k8sclock "k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/config/crd"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/kustomize"
	"github.com/weir-dev/weir/reconcilers/remote"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) {
	code := shared.Main(m)

	if elsewhere.cluster != nil {
		if err := elsewhere.cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}

	os.Exit(code)
}

// patience bounds a wait for something that has to happen.
const patience = 60 * time.Second

// namespaces tells those of repeated tests apart.
var namespaces atomic.Int64

// env is a kustomize-controller without its manager: the kind over a real API server, a real store and real trees, run by
// hand whenever an object is woken.
type env struct {
	t         *testing.T
	cleanup   func(func())
	c         client.WithWatch // as the administrator, not counted
	namespace string
	clock     *clock
	store     *artifact.Store
	counter   *accesstest.Counter    // of everything but the manager's client
	patches   *accesstest.Counter    // of the manager's client
	outage    atomic.Pointer[string] // the API server refuses requests to paths that end like this
	config    *rest.Config
	front     *rest.Config // by which the applier and the hub reach the cluster; nil for config
	deps      kustomize.Deps
	remote    func(*remote.Options) // changes the options of remote clusters; may be nil

	applierClock k8sclock.WithDelayedExecution
	metrics      *apply.Metrics // of the applier; may be nil

	factory *access.Factory
	hub     *health.Hub
	runner  interface {
		Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error)
	}
	woken chan types.NamespacedName

	mu      sync.Mutex
	events  []string
	notices []string // the same events with all that they say

	progressAfter time.Duration // an hour, unless a test wants to see progress
}

// clock is the machine's, moved on by a test that does not want to wait.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return time.Now().Add(c.ahead)
}

// passive is the clock for those who only read it.
type passive struct{ *clock }

// Now implements clock.PassiveClock.
func (p passive) Now() time.Time { return p.now() }

// Since implements clock.PassiveClock.
func (p passive) Since(t time.Time) time.Duration { return p.now().Sub(t) }

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func newEnv(t *testing.T, change ...func(*kustomize.Deps)) *env {
	t.Helper()

	config := shared.Start(t).Config()

	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensionsv1.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme,
	} {
		must(t, add(all))
	}

	c, err := client.NewWithWatch(config, client.Options{Scheme: all})
	must(t, err)

	e := &env{
		t: t, cleanup: t.Cleanup, progressAfter: time.Hour, c: c, clock: &clock{}, config: config,
		counter: &accesstest.Counter{}, patches: &accesstest.Counter{},
		namespace: fmt.Sprintf("%s-%d", strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")), namespaces.Add(1)),
	}
	e.define("kustomize.toolkit.fluxcd.io_kustomizations.yaml", "source.toolkit.fluxcd.io_gitrepositories.yaml")
	e.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}})

	e.store, err = artifact.NewStore(artifact.StoreOptions{Root: t.TempDir(), Address: "127.0.0.1:1"})
	must(t, err)
	trees, err := artifact.NewTrees(artifact.TreesOptions{Dir: t.TempDir(), Store: e.store, Attempts: 1})
	must(t, err)

	e.deps = kustomize.Deps{
		Sources: kustomize.SourceFunc(func(ctx context.Context, _ string, key types.NamespacedName) (kustomize.Source, error) {
			obj := &sourcev1.GitRepository{}

			return obj, c.Get(ctx, key, obj)
		}),
		Dependencies: kustomize.DependencyFunc(func(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
			obj := &kustomizev1.Kustomization{}

			return obj, c.Get(ctx, key, obj)
		}),
		Configs: configs{c}, Trees: trees, Builder: build.New(build.Options{}), Now: e.clock.now,
		PlanKey: func(context.Context) ([]byte, error) { return []byte("the key of a test"), nil },
	}
	e.deps.Expressions, err = expression.New()
	must(t, err)

	for _, f := range change {
		f(&e.deps)
	}

	e.restart()

	return e
}

// ahead is a clock that is an hour ahead.
type ahead struct{ k8sclock.RealClock }

// Now implements clock.Clock.
func (ahead) Now() time.Time { return time.Now().Add(time.Hour) }

// configs reads ConfigMaps and Secrets. The answers stay out of the log of a run: the manager has no level at which client-go writes
// them down.
type configs struct{ client.Reader }

// Get implements client.Reader.
func (c configs) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	return c.Reader.Get(logr.NewContext(ctx, logr.Discard()), key, obj, opts...)
}

func (c configs) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	obj := &corev1.ConfigMap{}

	return obj, c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, obj)
}

func (c configs) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	obj := &corev1.Secret{}

	return obj, c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, obj)
}

// restart starts the controller over, with nothing in memory.
func (e *env) restart() {
	e.t.Helper()

	if e.hub != nil {
		e.hub.Close()
	}

	config := e.config
	if e.front != nil {
		config = e.front
	}

	var err error
	e.factory, err = access.New(config, access.Options{Transport: e.counter.Transport})
	must(e.t, err)

	woken := make(chan types.NamespacedName, 1000)
	e.woken = woken
	wake := func(owner access.ID, _ health.Cause) {
		woken <- types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}
	}

	e.deps.Family = kustomize.NewFamily(relatives{e.c}, func(key types.NamespacedName) { woken <- key })
	e.hub = health.New(e.factory.Own(), health.Options{Wake: wake})
	e.cleanup(e.hub.Close)

	e.deps.Access, e.deps.Hub = e.factory, e.hub
	o := remote.Options{
		Configs: e.deps.Configs, Local: e.factory, Wake: wake, Access: access.Options{
			Transport: e.counter.Transport, Clock: passive{e.clock},
		},
	}
	if e.remote != nil {
		e.remote(&o)
	}

	clusters := remote.New(o)
	e.cleanup(clusters.Close)
	e.deps.Remote = clusters

	if e.applierClock == nil {
		e.applierClock = ahead{} // so that nothing that the API server has written is so recent that its time proves nothing
	}

	e.deps.Applier = apply.New(e.hub, apply.ApplierOptions{Wake: wake, Clock: e.applierClock, Metrics: e.metrics})

	counted := rest.CopyConfig(e.config)
	counted.Wrap(e.patches.Transport)
	counted.Wrap(e.unreliable)
	manager, err := client.New(counted, client.Options{Scheme: e.c.Scheme(), Mapper: e.c.RESTMapper()})
	must(e.t, err)

	e.runner = engine.New(kustomize.Kind(e.deps), engine.Options{
		Client: typed{manager}, Recorder: engine.RecorderFunc(e.record), Now: e.clock.now, MinRetryDelay: 10 * time.Millisecond,
		ProgressAfter: e.progressAfter,
	})
}

// typed is a client whose objects know their kind, as those of a cache do.
type typed struct{ client.Client }

// Get implements client.Reader.
func (c typed) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	gvk, err := c.GroupVersionKindFor(obj)
	if err == nil {
		err = c.Client.Get(ctx, key, obj, opts...)
	}

	obj.GetObjectKind().SetGroupVersionKind(gvk)

	return err
}

// phase runs a part of a test that goes on with the same objects.
func (e *env) phase(name string, f func(t *testing.T)) {
	e.t.Helper()

	whole := e.t
	defer func() { e.t = whole }()

	whole.Run(name, func(t *testing.T) {
		e.t = t
		f(t)
	})
}

// define installs custom resource definitions.
func (e *env) define(files ...string) {
	e.t.Helper()

	for _, file := range files {
		content, err := fs.ReadFile(crd.FS(), file)
		must(e.t, err)

		definition := &apiextensionsv1.CustomResourceDefinition{}
		must(e.t, yaml.Unmarshal(content, definition))

		if err := e.c.Create(e.t.Context(), definition); !apierrors.IsAlreadyExists(err) {
			must(e.t, err)
		}
	}

	e.eventually("the definitions are established", func() error {
		if err := e.c.List(e.t.Context(), &sourcev1.GitRepositoryList{}); err != nil {
			return err
		}

		return e.c.List(e.t.Context(), &kustomizev1.KustomizationList{})
	})
}

// publish makes an artifact of the files and gives it to the source.
func (e *env) publish(name, revision string, files map[string]string) {
	e.t.Helper()

	at := artifact.Location{
		Owner: artifact.Owner{Kind: "GitRepository", Namespace: e.namespace, Name: name}, File: strings.ReplaceAll(revision, ":", "-") + ".tar.gz",
	}
	a, err := e.store.Put(e.t.Context(), at, revision, e.store.Tarball(func(tar *artifact.Tar) error {
		names := make([]string, 0, len(files))
		for n := range files {
			names = append(names, n)
		}

		slices.Sort(names)

		for _, n := range names {
			content := files[n]
			if !strings.Contains(content, "ENC[") { // in encrypted files it may be anything
				content = strings.ReplaceAll(content, "NS", e.namespace)
			}

			if err := tar.File(n, false, int64(len(content)), strings.NewReader(content)); err != nil {
				return err
			}
		}

		return nil
	}))
	must(e.t, err)

	source := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}
	source.Spec.URL, source.Spec.Interval = "https://example.org/repo", metav1.Duration{Duration: time.Hour}

	if err := e.c.Create(e.t.Context(), source); !apierrors.IsAlreadyExists(err) {
		must(e.t, err)
	}

	must(e.t, e.c.Get(e.t.Context(), client.ObjectKeyFromObject(source), source))
	before := source.DeepCopy()
	source.Status.Artifact = a
	must(e.t, e.c.Status().Patch(e.t.Context(), source, client.MergeFrom(before)))
}

// kustomization makes a Kustomization that applies what the source holds.
func (e *env) kustomization(name string, change func(*kustomizev1.KustomizationSpec)) {
	e.t.Helper()

	obj := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}
	obj.Spec = kustomizev1.KustomizationSpec{
		Interval: metav1.Duration{Duration: 10 * time.Minute}, Prune: true, Path: "./",
		SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "repo"},
	}

	if change != nil {
		change(&obj.Spec)
	}

	e.create(obj)
}

// edit changes a Kustomization.
func (e *env) edit(name string, change func(*kustomizev1.Kustomization)) {
	e.t.Helper()

	obj := e.get(name)
	before := obj.DeepCopy()
	change(obj)
	must(e.t, e.c.Patch(e.t.Context(), obj, client.MergeFrom(before)))
}

// get reads a Kustomization; nil if there is none.
func (e *env) get(name string) *kustomizev1.Kustomization {
	e.t.Helper()

	obj := &kustomizev1.Kustomization{}
	err := e.c.Get(e.t.Context(), types.NamespacedName{Namespace: e.namespace, Name: name}, obj)

	if apierrors.IsNotFound(err) {
		return nil
	}

	must(e.t, err)

	return obj
}

// once runs a Kustomization once, and returns it with the time to its next run.
func (e *env) once(name string) (*kustomizev1.Kustomization, time.Duration) {
	e.t.Helper()

	result, err := e.runner.Reconcile(e.t.Context(), reconcile.Request{
		NamespacedName: types.NamespacedName{Namespace: e.namespace, Name: name},
	})
	must(e.t, err)

	return e.get(name), result.RequeueAfter
}

// lost runs a Kustomization once, and loses the status that it writes.
func (e *env) lost(name string) {
	e.t.Helper()
	e.refused(name, "/status")
}

// interrupted runs a Kustomization once, and loses what it writes to the object itself.
func (e *env) interrupted(name string) {
	e.t.Helper()
	e.refused(name, "/"+name)
}

func (e *env) refused(name, path string) {
	e.t.Helper()

	e.outage.Store(&path)
	defer e.outage.Store(nil)

	_, err := e.runner.Reconcile(e.t.Context(), reconcile.Request{
		NamespacedName: types.NamespacedName{Namespace: e.namespace, Name: name},
	})
	if !apierrors.IsServiceUnavailable(err) {
		e.t.Fatalf("a run whose writes are refused returns %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// unreliable refuses writes during an outage.
func (e *env) unreliable(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		path := e.outage.Load()
		if path == nil || req.Method != http.MethodPatch || !strings.HasSuffix(req.URL.Path, *path) {
			return next.RoundTrip(req)
		}

		answer := httptest.NewRecorder()
		answer.WriteHeader(http.StatusServiceUnavailable)

		return answer.Result(), nil
	})
}

// awaken waits until the Kustomization is woken.
func (e *env) awaken(name, why string) {
	e.t.Helper()

	deadline := time.After(patience)

	for {
		select {
		case key := <-e.woken:
			if key.Name == name {
				return
			}
		case <-deadline:
			e.t.Fatalf("nobody wakes %s: %s", name, why)
		}
	}
}

// calm forgets the wake-ups so far.
func (e *env) calm() {
	for {
		select {
		case <-e.woken:
		default:
			return
		}
	}
}

// run runs a Kustomization, as its queue would, until it is as wanted.
func (e *env) run(name, what string, wanted func(*kustomizev1.Kustomization) bool) *kustomizev1.Kustomization {
	e.t.Helper()

	deadline := time.After(patience)

	for {
		obj, _ := e.once(name)
		if wanted(obj) {
			return obj
		}

		select {
		case <-e.woken:
		case <-deadline:
			status, err := yaml.Marshal(obj.Status)
			e.t.Fatalf("%s does not become %s (%v):\n%s", name, what, err, status)
		}
	}
}

func (e *env) ready(name string) *kustomizev1.Kustomization {
	e.t.Helper()

	return e.run(name, "ready", func(obj *kustomizev1.Kustomization) bool { return engine.IsTrue(obj, meta.ReadyCondition) })
}

// costs returns the requests since the last call: those of the applier and the hub, and the writes of the engine.
// Watches, lists and discovery come once per kind, and are not counted.
func (e *env) costs() map[string]int {
	all := e.counter.Take("watch", "list", "discover")
	for verb, n := range e.patches.Take("get", "discover") {
		all["engine "+verb] += n
	}

	return all
}

func (e *env) wantCosts(what string, want map[string]int) {
	e.t.Helper()

	if want == nil {
		want = map[string]int{}
	}

	if diff := cmp.Diff(want, e.costs()); diff != "" {
		e.t.Errorf("requests of %s: -want, +got:\n%s", what, diff)
	}
}

func (e *env) create(obj client.Object) {
	e.t.Helper()
	must(e.t, e.c.Create(e.t.Context(), obj))
}

// fetch reads an object of the namespace, and tells whether it is there.
func (e *env) fetch(obj client.Object, name string) bool {
	e.t.Helper()

	err := e.c.Get(e.t.Context(), types.NamespacedName{Namespace: e.namespace, Name: name}, obj)
	if !apierrors.IsNotFound(err) {
		must(e.t, err)
	}

	return err == nil
}

// data returns the data of a ConfigMap, or nil if it is not there.
func (e *env) data(name string) map[string]string {
	e.t.Helper()

	obj := &corev1.ConfigMap{}
	if !e.fetch(obj, name) {
		return nil
	}

	return obj.Data
}

// eventually tries until the error is gone.
func (e *env) eventually(what string, try func() error) {
	e.t.Helper()

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()

	deadline := time.After(patience)

	for {
		err := try()
		if err == nil {
			return
		}

		select {
		case <-tick.C:
		case <-deadline:
			e.t.Fatalf("%s: %v", what, err)
		}
	}
}

func ids(obj *kustomizev1.Kustomization) []string {
	if obj.Status.Inventory == nil {
		return nil
	}

	var list []string
	for _, entry := range obj.Status.Inventory.Entries {
		list = append(list, strings.ReplaceAll(entry.ID, obj.Namespace, "NS"))
	}

	return list
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func configMap(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n  namespace: NS\ndata:\n  key: \"" + value + "\"\n"
}

// serveNothing returns the address of a server that has no artifacts.
func (e *env) serveNothing() string {
	e.t.Helper()

	server := httptest.NewServer(http.NotFoundHandler())
	e.cleanup(server.Close)

	return server.URL
}

// wants compares pairs of got and want, each after a name.
func wants(pairs ...string) error {
	for i := 0; i+2 < len(pairs); i += 3 {
		if pairs[i+1] != pairs[i+2] {
			return fmt.Errorf("%s is %q, want %q", pairs[i], pairs[i+1], pairs[i+2])
		}
	}

	return nil
}

// b names the ConfigMap b.
func b(e *env) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: e.namespace, Name: "b"} }
