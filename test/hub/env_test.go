package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/instance"
	"github.com/weir-dev/weir/reconcilers/remote"
	"github.com/weir-dev/weir/test/cluster"
)

// The clusters: that of the operator, and two others. They have controllers, for an uninstallation relies on them.
var home, east, west = cluster.Shared{Options: controlled}, cluster.Shared{Options: controlled}, cluster.Shared{Options: controlled}

var controlled = cluster.Options{Mode: cluster.ControlPlane}

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(west.Stop(east.Stop(home.Main(m))))
}

const (
	// own is the namespace of the operator.
	own = "flux-system"

	// patience bounds a wait for something that has to happen.
	patience = 90 * time.Second

	small = "distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller]\nwait: false\n"
)

// site is a cluster, with a wire to it.
type site struct {
	t      *testing.T
	client client.WithWatch // of the administrator, by another wire
	wire   *wire
	id     string
}

func (s *site) exists(obj client.Object, namespace, name string) bool {
	s.t.Helper()
	err := s.client.Get(s.t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, obj)
	must(s.t, client.IgnoreNotFound(err))

	return err == nil && obj.GetDeletionTimestamp().IsZero()
}

func (s *site) runs(namespace, deployment string) bool {
	s.t.Helper()

	return s.exists(&appsv1.Deployment{}, namespace, deployment)
}

// env is an operator without its manager: the kind, run by hand whenever it is woken.
type env struct {
	t          *testing.T
	c          client.Client // of the hub
	home       *site
	east, west *site
	clock      *clock
	clusters   *remote.Clusters
	hub        *health.Hub
	runner     interface {
		Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error)
	}

	mu     sync.Mutex
	woken  map[string]chan struct{} // by namespace
	events []string
}

// clock is the machine's, moved on by a test that does not want to wait.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

// Now implements clock.PassiveClock.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return time.Now().Add(c.ahead)
}

// Since implements clock.PassiveClock.
func (c *clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.ahead += d
}

func newSite(t *testing.T, shared *cluster.Shared, token string) *site {
	t.Helper()

	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensionsv1.AddToScheme, fluxv1.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme,
	} {
		must(t, add(kinds))
	}

	config := shared.Start(t).Config()
	c, err := client.NewWithWatch(config, client.Options{Scheme: kinds})
	must(t, err)

	ns := &corev1.Namespace{}
	must(t, c.Get(t.Context(), types.NamespacedName{Name: "kube-system"}, ns))

	return &site{t: t, client: c, wire: newWire(t, config, token), id: string(ns.UID)}
}

func start(t *testing.T) *env {
	t.Helper()

	return startIn(t, &home, &east, &west)
}

func startIn(t *testing.T, home, east, west *cluster.Shared) *env {
	t.Helper()

	var begun sync.WaitGroup
	for _, s := range []*cluster.Shared{home, east, west} {
		begun.Go(func() { s.Start(t) })
	}

	begun.Wait()

	e := &env{
		t: t, clock: &clock{}, woken: map[string]chan struct{}{},
		home: newSite(t, home, "home"), east: newSite(t, east, "east"), west: newSite(t, west, "west"),
	}
	e.c = e.home.client
	define(t, e.c, "fluxinstances", &fluxv1.FluxInstanceList{})
	e.namespace(own)
	e.operate()
	t.Cleanup(func() {
		if t.Failed() {
			e.sweep(t)
		} else {
			e.stop()
		}
	})

	return e
}

// operate starts the operator, in place of the one that there was.
func (e *env) operate() {
	e.t.Helper()
	e.stop()

	factory, err := access.New(e.home.wire.config(), access.Options{})
	must(e.t, err)

	dist, err := distribution.Load(manifests.FS(), crd.FS())
	must(e.t, err)

	image, err := distribution.ParseImage("registry.example.com/weir:v0.1.0@sha256:" + strings.Repeat("0", 64))
	must(e.t, err)

	e.hub = health.New(factory.Own(), health.Options{Wake: e.wake})
	e.clusters = remote.New(remote.Options{
		Configs: configs{e.c}, Local: factory, Wake: e.wake, Access: access.Options{Clock: e.clock},
	})
	e.runner = engine.New(instance.Kind(instance.Deps{
		Builder: dist, Image: image, Now: e.clock.Now, Namespace: own, Remote: e.clusters,
		Home: instance.Place{Client: factory.Own(), Applier: apply.New(e.hub, apply.ApplierOptions{Wake: e.wake}), Hub: e.hub},
	}), engine.Options{Client: e.c, Recorder: engine.RecorderFunc(e.record), Now: e.clock.Now, MinRetryDelay: 10 * time.Millisecond})
}

func (e *env) stop() {
	if e.clusters != nil {
		e.clusters.Close()
		e.hub.Close()
	}
}

// define installs a definition, as the operator's install manifest does.
func define(t *testing.T, c client.Client, name string, list client.ObjectList) {
	t.Helper()

	content, err := os.ReadFile("../../config/crd/bases/fluxcd.controlplane.io_" + name + ".yaml")
	must(t, err)

	definition := &apiextensionsv1.CustomResourceDefinition{}
	must(t, yaml.Unmarshal(content, definition))

	if err := c.Create(t.Context(), definition); !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}

	eventually(t, "the definition of "+name+" is established", func() error { return c.List(t.Context(), list) })
}

func (e *env) namespace(name string) {
	e.t.Helper()

	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := e.c.Create(e.t.Context(), ns); !apierrors.IsAlreadyExists(err) {
		must(e.t, err)
	}
}

// configs reads the objects with kubeconfigs.
type configs struct{ c client.Client }

func (r configs) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	obj := &corev1.ConfigMap{}

	return obj, r.c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, obj)
}

func (r configs) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	obj := &corev1.Secret{}

	return obj, r.c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, obj)
}

func (e *env) wake(owner access.ID, _ health.Cause) {
	select {
	case e.bell(owner.Namespace) <- struct{}{}:
	default:
	}
}

func (e *env) bell(namespace string) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()

	if e.woken[namespace] == nil {
		e.woken[namespace] = make(chan struct{}, 1)
	}

	return e.woken[namespace]
}

func (e *env) record(obj engine.Object, _, _ string, event engine.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()

	e.events = append(e.events, obj.GetNamespace()+": "+event.Reason+" "+event.Message)
}

// told returns the events since the last call that begin with the text.
func (e *env) told(prefix string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()

	list := slices.DeleteFunc(e.events, func(event string) bool { return !strings.HasPrefix(event, prefix) })
	e.events = nil

	return list
}

// create makes an instance, with a Secret that has its kubeconfig.
func (e *env) create(namespace, spec string, at *site) {
	e.t.Helper()
	e.namespace(namespace)

	obj := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "flux"}}
	must(e.t, yaml.UnmarshalStrict([]byte(spec), &obj.Spec))

	if at != nil {
		e.kubeconfig(namespace, at, "")
		obj.Spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "cluster"}}
	}

	must(e.t, e.c.Create(e.t.Context(), obj))
}

// kubeconfig writes the Secret with a kubeconfig that leads to the cluster.
func (e *env) kubeconfig(namespace string, at *site, comment string) {
	e.t.Helper()

	obj := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cluster"},
		Data:       map[string][]byte{"value": append(at.wire.kubeconfig(), comment...)},
	}
	if err := e.c.Create(e.t.Context(), obj); apierrors.IsAlreadyExists(err) {
		must(e.t, e.c.Update(e.t.Context(), obj))
	} else {
		must(e.t, err)
	}
}

// lose deletes the Secret with the kubeconfig.
func (e *env) lose(namespace string) {
	e.t.Helper()
	must(e.t, e.c.Delete(e.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cluster"}}))
}

// get reads an instance; nil if there is none.
func (e *env) get(namespace string) *fluxv1.FluxInstance {
	e.t.Helper()

	obj := &fluxv1.FluxInstance{}

	err := e.c.Get(e.t.Context(), types.NamespacedName{Namespace: namespace, Name: "flux"}, obj)
	if apierrors.IsNotFound(err) {
		return nil
	}

	must(e.t, err)

	return obj
}

func (e *env) change(namespace string, edit func(*fluxv1.FluxInstance)) {
	e.t.Helper()

	obj := e.get(namespace)
	before := obj.DeepCopy()
	edit(obj)
	must(e.t, e.c.Patch(e.t.Context(), obj, client.MergeFrom(before)))
}

func (e *env) annotate(namespace, key, value string) {
	e.t.Helper()
	e.change(namespace, func(obj *fluxv1.FluxInstance) { metav1.SetMetaDataAnnotation(&obj.ObjectMeta, key, value) })
}

func (e *env) delete(namespace string) {
	e.t.Helper()
	must(e.t, e.c.Delete(e.t.Context(), e.get(namespace)))
}

// once runs an instance once.
func (e *env) once(namespace string) (*fluxv1.FluxInstance, time.Duration) {
	e.t.Helper()

	result, err := e.runner.Reconcile(e.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: "flux"}})
	must(e.t, err)

	return e.get(namespace), result.RequeueAfter
}

// run runs an instance, as its queue would, until it is as wanted.
func (e *env) run(namespace, what string, wanted func(*fluxv1.FluxInstance) bool) *fluxv1.FluxInstance {
	e.t.Helper()

	deadline := time.After(patience)

	for {
		obj, after := e.once(namespace)
		if wanted(obj) {
			return obj
		}

		var due <-chan time.Time
		if after > 0 {
			due = time.After(after)
		}

		select {
		case <-e.bell(namespace):
		case <-due:
		case <-deadline:
			status, _ := json.MarshalIndent(obj.Status.Conditions, "", "  ") //nolint:errchkjson // it is shown as far as it goes
			e.t.Fatalf("the instance of %s does not become %s:\n%s", namespace, what, status)
		}
	}
}

func (e *env) ready(namespace string) *fluxv1.FluxInstance {
	e.t.Helper()

	return e.run(namespace, "ready", func(obj *fluxv1.FluxInstance) bool {
		return engine.IsTrue(obj, meta.ReadyCondition) && engine.Condition(obj, meta.ReadyCondition).ObservedGeneration == obj.Generation
	})
}

// gone deletes an instance and runs it until it is gone.
func (e *env) gone(namespace string) {
	e.t.Helper()
	e.delete(namespace)
	e.run(namespace, "gone", func(obj *fluxv1.FluxInstance) bool { return obj == nil })
}

// awaken waits for the hub to wake the instance.
func (e *env) awaken(namespace, why string) {
	e.t.Helper()

	select {
	case <-e.bell(namespace):
	case <-time.After(patience):
		e.t.Fatalf("nobody wakes the instance of %s: %s", namespace, why)
	}
}

// calm forgets the wake-ups so far.
func (e *env) calm(namespace string) {
	select {
	case <-e.bell(namespace):
	default:
	}
}

// says returns the status, reason and message of Ready.
func says(obj *fluxv1.FluxInstance) string {
	c := engine.Condition(obj, meta.ReadyCondition)
	if c == nil {
		return ""
	}

	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// eventually tries until the error is gone.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()

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
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}
