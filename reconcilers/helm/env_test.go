package helm_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	v2 "github.com/weir-dev/weir/api/helm/v2"
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
	"github.com/weir-dev/weir/reconcilers/helm"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
	records "github.com/weir-dev/weir/reconcilers/helm/storage"
	"github.com/weir-dev/weir/reconcilers/remote"
	"github.com/weir-dev/weir/test/cluster"
)

// Pods become Ready without running.
var shared = cluster.Shared{Options: cluster.Options{Mode: cluster.ControlPlane, FakeNode: true}}

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

var namespaces atomic.Int64

// env is a helm-controller without its manager: the kind over a real API server, a real store and real trees, run by hand.
type env struct {
	t         *testing.T
	c         client.Client
	secrets   kubernetes.Interface
	access    *access.Factory
	namespace string
	store     *artifact.Store
	runner    interface {
		Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error)
	}

	hub     *health.Hub
	counter *accesstest.Counter
	restart func()         // with nothing in memory
	woken   chan access.ID // by drift
	ahead   time.Duration  // of the clock of the kind

	mu     sync.Mutex
	events []string
	saved  []v2.HelmReleaseStatus // each that was written
}

func newEnv(t *testing.T) *env {
	t.Helper()

	config := shared.Start(t).Config()

	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensionsv1.AddToScheme, sourcev1.AddToScheme, v2.AddToScheme,
	} {
		must(t, add(all))
	}

	direct, err := client.NewWithWatch(config, client.Options{Scheme: all})
	must(t, err)

	e := &env{t: t, namespace: fmt.Sprintf("release-%d", namespaces.Add(1))}
	e.counter, e.woken = &accesstest.Counter{}, make(chan access.ID, 1000)
	c := interceptor.NewClient(direct, interceptor.Funcs{SubResourcePatch: e.patched})
	e.c = c
	e.secrets, err = kubernetes.NewForConfig(config)
	must(t, err)
	e.define()
	e.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}})

	e.store, err = artifact.NewStore(artifact.StoreOptions{Root: t.TempDir(), Address: "127.0.0.1:1"})
	must(t, err)
	trees, err := artifact.NewTrees(artifact.TreesOptions{Dir: t.TempDir(), Store: e.store, Attempts: 1})
	must(t, err)
	factory, err := access.New(config, access.Options{Transport: e.counter.Transport})
	must(t, err)
	expressions, err := expression.New()
	must(t, err)

	e.access = factory
	wake := func(owner access.ID, cause health.Cause) {
		if cause == health.Drifted {
			e.woken <- owner
		}
	}

	clusters := remote.New(remote.Options{
		Configs: remoteConfigs{c}, Local: factory, Wake: wake, Patience: time.Minute,
	})
	t.Cleanup(clusters.Close)

	e.restart = func() {
		if e.hub != nil {
			e.hub.Close()
		}

		hub := health.New(factory.Own(), health.Options{Wake: wake})
		t.Cleanup(hub.Close)

		e.hub = hub

		e.runner = engine.New(helm.Kind(helm.Deps{
			Sources: helm.SourceFunc(e.source), Configs: configs{c}, Trees: trees, Expressions: expressions,
			Dependencies: helm.DependencyFunc(func(ctx context.Context, key types.NamespacedName) (*v2.HelmRelease, error) {
				obj := &v2.HelmRelease{}

				return obj, c.Get(ctx, key, obj)
			}),
			Access: factory, Hub: hub, Applier: apply.New(hub, apply.ApplierOptions{Wake: wake}), Permits: kube.NewPermits(4),
			RemotePermits: kube.NewPermits(4), Builder: build.New(build.Options{}), Remote: clusters,
			Now: func() time.Time { return time.Now().Add(e.ahead) },
		}), engine.Options{
			Client: c, Recorder: engine.RecorderFunc(e.record), MinRetryDelay: time.Millisecond, ProgressAfter: time.Hour,
		})
	}
	e.restart()

	return e
}

func (e *env) source(ctx context.Context, kind string, key types.NamespacedName) (client.Object, error) {
	objects := map[string]client.Object{
		"OCIRepository": &sourcev1.OCIRepository{}, "HelmChart": &sourcev1.HelmChart{}, "ExternalArtifact": &sourcev1.ExternalArtifact{},
	}

	return objects[kind], e.c.Get(ctx, key, objects[kind])
}

// remoteConfigs reads the objects with kubeconfigs.
type remoteConfigs struct{ client.Reader }

func (c remoteConfigs) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	return configs(c).ConfigMap(ctx, types.NamespacedName{Namespace: namespace, Name: name})
}

func (c remoteConfigs) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return configs(c).Secret(ctx, types.NamespacedName{Namespace: namespace, Name: name})
}

// configs reads the objects with values.
type configs struct{ client.Reader }

func (c configs) ConfigMap(ctx context.Context, key types.NamespacedName) (*corev1.ConfigMap, error) {
	obj := &corev1.ConfigMap{}

	return obj, c.Get(ctx, key, obj)
}

func (c configs) Secret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	obj := &corev1.Secret{}

	return obj, c.Get(ctx, key, obj)
}

// patched notes the status that was written.
func (e *env) patched(ctx context.Context, c client.Client, name string, obj client.Object, p client.Patch, o ...client.SubResourcePatchOption) error {
	err := c.SubResource(name).Patch(ctx, obj, p, o...)
	if written, ok := obj.(*v2.HelmRelease); ok && err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.saved = append(e.saved, *written.Status.DeepCopy())
	}

	return err
}

// begun returns what was written before the last run ended.
func (e *env) begun() v2.HelmReleaseStatus {
	e.mu.Lock()
	defer e.mu.Unlock()

	return e.saved[len(e.saved)-2]
}

func (e *env) record(_ engine.Object, _, _ string, ev engine.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, strings.ReplaceAll(ev.Reason+": "+ev.Message, e.namespace, "NS"))
}

func (e *env) told() []string {
	e.mu.Lock()
	defer e.mu.Unlock()

	told := e.events
	e.events = nil

	return told
}

// define installs the custom resource definitions.
func (e *env) define() {
	e.t.Helper()

	for _, file := range []string{
		"helm.toolkit.fluxcd.io_helmreleases.yaml", "source.toolkit.fluxcd.io_ocirepositories.yaml", "source.toolkit.fluxcd.io_helmcharts.yaml",
	} {
		content, err := fs.ReadFile(crd.FS(), file)
		must(e.t, err)

		definition := &apiextensionsv1.CustomResourceDefinition{}
		must(e.t, yaml.Unmarshal(content, definition))

		if err := e.c.Create(e.t.Context(), definition); !apierrors.IsAlreadyExists(err) {
			must(e.t, err)
		}
	}

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()

	for deadline := time.After(time.Minute); ; {
		err := e.c.List(e.t.Context(), &v2.HelmReleaseList{})
		for _, list := range []client.ObjectList{&sourcev1.OCIRepositoryList{}, &sourcev1.HelmChartList{}} {
			if err == nil {
				err = e.c.List(e.t.Context(), list)
			}
		}

		if err == nil {
			return
		}

		select {
		case <-tick.C:
		case <-deadline:
			e.t.Fatal(err)
		}
	}
}

// pack stores a chart of templates. Names with a dot are those of files.
func (e *env) pack(kind, name, version, revision string, templates map[string]string) *meta.Artifact {
	e.t.Helper()

	files := map[string]string{"app/Chart.yaml": fmt.Sprintf("{apiVersion: v2, name: app, version: %s, appVersion: '7'}", version)}
	for name, text := range templates {
		if strings.Contains(name, ".") {
			files["app/"+name] = text
		} else {
			files["app/templates/"+name+".yaml"] = text
		}
	}

	at := artifact.Location{
		Owner: artifact.Owner{Kind: kind, Namespace: e.namespace, Name: name}, File: strings.ReplaceAll(revision, ":", "-") + ".tgz",
	}
	a, err := e.store.Put(e.t.Context(), at, revision, e.store.Tarball(func(tar *artifact.Tar) error {
		names := make([]string, 0, len(files))
		for n := range files {
			names = append(names, n)
		}

		slices.Sort(names)

		for _, n := range names {
			if err := tar.File(n, false, int64(len(files[n])), strings.NewReader(files[n])); err != nil {
				return err
			}
		}

		return nil
	}))
	must(e.t, err)

	return a
}

// publish gives an OCIRepository the chart.
func (e *env) publish(version string, templates map[string]string) {
	e.t.Helper()

	a := e.pack("OCIRepository", "app", version, version+"@sha256:"+strings.Repeat("ab", 32), templates)
	source := &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "app"}}
	source.Spec.URL, source.Spec.Interval = "oci://example.org/app", metav1.Duration{Duration: time.Hour}

	if err := e.c.Create(e.t.Context(), source); !apierrors.IsAlreadyExists(err) {
		must(e.t, err)
	}

	must(e.t, e.c.Get(e.t.Context(), client.ObjectKeyFromObject(source), source))
	before := source.DeepCopy()
	source.Status.Artifact, source.Status.ObservedGeneration = a, source.Generation
	must(e.t, e.c.Status().Patch(e.t.Context(), source, client.MergeFrom(before)))
}

// declare makes a HelmRelease of the OCIRepository.
func (e *env) declare(change func(*v2.HelmReleaseSpec)) {
	e.t.Helper()

	obj := &v2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "app"}}
	obj.Spec.Interval = metav1.Duration{Duration: 10 * time.Minute}
	obj.Spec.ChartRef = &v2.CrossNamespaceSourceReference{Kind: "OCIRepository", Name: "app"}

	if change != nil {
		change(&obj.Spec)
	}

	e.create(obj)
}

func (e *env) edit(change func(*v2.HelmRelease)) {
	e.t.Helper()

	obj := e.get()
	before := obj.DeepCopy()
	change(obj)
	must(e.t, e.c.Patch(e.t.Context(), obj, client.MergeFrom(before)))
}

// get reads the HelmRelease; nil if there is none.
func (e *env) get() *v2.HelmRelease {
	e.t.Helper()

	obj := &v2.HelmRelease{}
	if err := e.c.Get(e.t.Context(), types.NamespacedName{Namespace: e.namespace, Name: "app"}, obj); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}

		e.t.Fatal(err)
	}

	return obj
}

// once runs the HelmRelease once.
func (e *env) once() *v2.HelmRelease {
	e.t.Helper()

	_, err := e.runner.Reconcile(e.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: e.namespace, Name: "app"}})
	must(e.t, err)

	return e.get()
}

func (e *env) create(obj client.Object) {
	e.t.Helper()
	must(e.t, e.c.Create(e.t.Context(), obj))
}

// data returns a value of a ConfigMap, or that it is not there.
func (e *env) data(name string) string {
	e.t.Helper()

	obj := &corev1.ConfigMap{}
	if err := e.c.Get(e.t.Context(), types.NamespacedName{Namespace: e.namespace, Name: name}, obj); err != nil {
		if apierrors.IsNotFound(err) {
			return "absent"
		}

		e.t.Fatal(err)
	}

	return obj.Data["key"]
}

// releases returns the status of all revisions that Helm has stored.
func (e *env) releases() map[int]release.Status {
	e.t.Helper()

	all, err := e.helm().ListReleases()
	must(e.t, err)

	found := map[int]release.Status{}
	for _, r := range all {
		found[r.Version] = r.Info.Status
	}

	return found
}

func (e *env) helm() *storage.Storage {
	return storage.Init(driver.NewSecrets(e.secrets.CoreV1().Secrets(e.namespace)))
}

// records are the releases as the kind keeps them.
func (e *env) records() *records.Secrets {
	return records.New(e.t.Context(), e.access.Own(), e.namespace, records.Options{Manager: helm.Controller})
}

// kill takes back what was written into the status since then, and puts the newest release into a state, as if the process had been
// killed in the middle of a run.
func (e *env) kill(before v2.HelmReleaseStatus, status release.Status) {
	e.t.Helper()

	obj := e.get()
	obj.Status = before
	must(e.t, e.c.Status().Update(e.t.Context(), obj))

	if status == "" {
		return
	}

	kept := e.records()
	r, err := storage.Init(kept).Last("app")
	must(e.t, err)

	r.Info.Status = status
	must(e.t, kept.Update(records.Key("app", r.Version), r))
}

// wantReady compares the Ready condition.
func (e *env) wantReady(obj *v2.HelmRelease, want string) {
	e.t.Helper()

	got := "none"
	if c := engine.Condition(obj, meta.ReadyCondition); c != nil {
		got = strings.ReplaceAll(fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message), e.namespace, "NS")
	}

	same(e.t, "Ready", want, got)
}

func same[T any](t *testing.T, what string, want, got T) {
	t.Helper()

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want, +got:\n%s", what, diff)
	}
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// config is a template with a value.
const config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: '{{ .Values.key | default \"none\" }} {{ .Chart.Version }}'}\n"
