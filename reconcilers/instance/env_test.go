package instance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	kclock "k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/config/crd"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/approval"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/instance"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/release"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/test/cluster"
)

// With controllers, for what an uninstallation relies on is theirs: that a Deployment is there until its pods are gone.
// A cluster has place for one instance: each test has one for itself.
var clusters = cluster.Pool{Options: cluster.Options{Mode: cluster.ControlPlane}, Size: 3}

func TestMain(m *testing.M) { os.Exit(clusters.Main(m)) }

const namespace = "flux-system"

// patience bounds a wait for something that has to happen.
const patience = 60 * time.Second

// env is an operator without its manager: the kind, run by hand whenever it is woken.
type env struct {
	t      *testing.T // of the phase that runs
	whole  *testing.T
	ctx    context.Context
	c      client.WithWatch
	own    *access.Client
	wire   *wire
	clock  *clock
	runner interface {
		Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error)
	}
	image    string            // that this process runs
	operator instance.Operator // its Deployment, if it has one
	woken    chan struct{}
	hub      *health.Hub
	metrics  *prometheus.Registry
	planKey  approval.Source
	carried  func() (*distribution.Distribution, error)
	share    int                                     // of objects that a run migrates; zero is the default
	builder  func(instance.Builder) instance.Builder // what a test makes of the next operator's; nil leaves it as it is

	mu     sync.Mutex
	events []string
}

// clock is the machine's, moved on by a test that does not want to wait.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
	wrong time.Duration // that it was set wrong
	began time.Time
}

// set makes the clock jump, without any time going by.
func (c *clock) set(wrong time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = wrong
}

// uptime is the time that has gone by, whatever the clock says.
func (c *clock) uptime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.began) + c.ahead
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead + c.wrong)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// start makes an operator in a cluster for the test alone. Other tests run meanwhile.
func start(t *testing.T) *env {
	t.Helper()
	t.Parallel()
	config := clusters.Take(t).Config()
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensionsv1.AddToScheme, fluxv1.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme,
	} {
		must(t, add(kinds))
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: kinds})
	must(t, err)
	e := &env{t: t, whole: t, ctx: t.Context(), c: c, wire: &wire{}, clock: &clock{began: time.Now()}, woken: make(chan struct{}, 1), planKey: sameKey, carried: embedded.slim}
	e.image = "registry.example.com/weir:v0.1.0@sha256:" + strings.Repeat("0", 64)
	config = rest.CopyConfig(config)
	config.Wrap(e.wire.wrap)
	factory, err := access.New(config, access.Options{})
	must(t, err)
	e.own = factory.Own()
	e.restart()
	e.define()
	e.namespace()
	t.Cleanup(e.sweep)
	return e
}

// sweep takes away the instance of a test that has failed, so that the others have the cluster for themselves.
func (e *env) sweep() {
	ctx, stop := context.WithTimeout(context.Background(), 2*patience)
	defer stop()
	e.t, e.ctx = e.whole, ctx // those of the phase are over
	if !e.t.Failed() {
		return
	}
	obj := e.instance()
	if obj == nil {
		return
	}
	e.builder, e.operator = nil, nil
	e.wire.cut(false)
	e.restart()
	if obj.DeletionTimestamp.IsZero() {
		must(e.t, e.c.Delete(e.ctx, obj))
	}
	e.run("gone", func(obj *fluxv1.FluxInstance) bool { return obj == nil })
}

// restart makes the operator anew: it knows nothing but what is in the cluster.
func (e *env) restart() {
	e.t.Helper()
	if e.hub != nil {
		e.hub.Close()
	}
	dist, err := e.carried()
	must(e.t, err)
	image, err := distribution.ParseImage(e.image)
	must(e.t, err)
	wake := func(access.ID, health.Cause) {
		select {
		case e.woken <- struct{}{}:
		default:
		}
	}
	hub := health.New(e.own, health.Options{Wake: wake})
	e.whole.Cleanup(hub.Close)
	e.hub, e.metrics = hub, prometheus.NewRegistry()
	metrics, err := apply.NewMetrics(e.metrics)
	must(e.t, err)
	releases := release.New(release.Options{
		Registries: registry.New(registry.Options{Transports: &ingest.Transports{}, Moment: time.Nanosecond}),
		Secrets: secrets.ReaderFunc(func(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
			s := &corev1.Secret{}
			return s, e.c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, s)
		}),
		Embedded: dist, Image: image,
	})
	applier := apply.New(hub, apply.ApplierOptions{Wake: wake, Metrics: metrics, Clock: pace{clock: e.clock}})
	var builder instance.Builder = dist
	if e.builder != nil {
		builder = e.builder(dist)
	}
	kind := instance.Kind(instance.Deps{
		Builder: builder, PlanKey: e.planKey, Image: image, Releases: releases, Now: e.clock.now, Uptime: e.clock.uptime, MigrateShare: e.share, Namespace: namespace, Operator: e.operator,
		Wake: func(types.NamespacedName) { wake(access.ID{}, health.Settled) },
		Home: instance.Place{Client: e.own, Applier: applier, Hub: hub},
	})
	e.runner = engine.New(kind, engine.Options{
		Client: e.c, Recorder: engine.RecorderFunc(e.record), Now: e.clock.now, MinRetryDelay: 10 * time.Millisecond,
	})
}

// pace is the clock as the applier wants it. What it puts off is put off by the machine's.
type pace struct {
	kclock.RealClock
	clock *clock
}

func (p pace) Now() time.Time { return p.clock.now() }

// define installs the definition of the instance, as the operator's install manifest does.
func (e *env) define() {
	content, err := crd.FS().Open("fluxcd.controlplane.io_fluxinstances.yaml")
	must(e.t, err)
	defer func() { _ = content.Close() }()
	raw := make([]byte, 1<<20)
	n, err := content.Read(raw)
	must(e.t, err)
	definition := &apiextensionsv1.CustomResourceDefinition{}
	must(e.t, yaml.Unmarshal(raw[:n], definition))
	if err := e.c.Create(e.ctx, definition); !apierrors.IsAlreadyExists(err) {
		must(e.t, err)
	}
	e.eventually("the definition of FluxInstance is established", func() error {
		if err := e.c.List(e.ctx, &fluxv1.FluxInstanceList{}); err != nil {
			return err
		}
		return nil
	})
}

func (e *env) namespace() {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := e.c.Create(e.ctx, ns); !apierrors.IsAlreadyExists(err) {
		must(e.t, err)
	}
}

func (e *env) record(_ engine.Object, _, _ string, event engine.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, event.Reason+" "+event.Message)
}

// told returns the events since the last call that begin with the text, without the rest of them.
func (e *env) told(prefix string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []string
	for _, event := range e.events {
		if strings.HasPrefix(event, prefix) {
			list = append(list, event)
		}
	}
	e.events = nil
	return list
}

// create makes the instance.
func (e *env) create(spec string, annotations ...string) *fluxv1.FluxInstance {
	e.t.Helper()
	obj := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "flux", Annotations: map[string]string{}}}
	for i := 0; i+1 < len(annotations); i += 2 {
		obj.Annotations[annotations[i]] = annotations[i+1]
	}
	must(e.t, yaml.UnmarshalStrict([]byte(spec), &obj.Spec))
	must(e.t, e.c.Create(e.ctx, obj))
	return obj
}

// change edits the instance.
func (e *env) change(edit func(*fluxv1.FluxInstance)) {
	e.t.Helper()
	obj := e.instance()
	before := obj.DeepCopy()
	edit(obj)
	must(e.t, e.c.Patch(e.ctx, obj, client.MergeFrom(before)))
}

// instance reads the instance; nil if there is none.
func (e *env) instance() *fluxv1.FluxInstance {
	e.t.Helper()
	obj := &fluxv1.FluxInstance{}
	err := e.c.Get(e.ctx, types.NamespacedName{Namespace: namespace, Name: "flux"}, obj)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(e.t, err)
	return obj
}

// once runs the kind once.
func (e *env) once() time.Duration {
	e.t.Helper()
	result, err := e.runner.Reconcile(e.ctx, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: "flux"}})
	must(e.t, err)
	return result.RequeueAfter
}

// run runs the kind, as its queue would, until the instance is as wanted.
func (e *env) run(what string, wanted func(*fluxv1.FluxInstance) bool) *fluxv1.FluxInstance {
	e.t.Helper()
	deadline := time.After(patience)
	for {
		after := e.once()
		obj := e.instance()
		if wanted(obj) {
			return obj
		}
		var due <-chan time.Time
		if after > 0 {
			due = time.After(after)
		}
		select {
		case <-e.woken:
		case <-due:
		case <-deadline:
			status, _ := json.MarshalIndent(obj, "", "  ") //nolint:errchkjson // it is shown as far as it goes
			e.t.Fatalf("the instance does not become %s:\n%s", what, status)
		}
	}
}

func (e *env) ready() *fluxv1.FluxInstance {
	e.t.Helper()
	return e.run("ready", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Ready") && !isTrue(obj, "Reconciling") })
}

// awaken waits for the hub to wake the instance.
func (e *env) awaken(why string) {
	e.t.Helper()
	select {
	case <-e.woken:
	case <-time.After(patience):
		e.t.Fatalf("nobody wakes the instance: %s", why)
	}
}

// calm forgets the wake-ups so far.
func (e *env) calm() {
	select {
	case <-e.woken:
	default:
	}
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

// exists tells whether there is the object.
func (e *env) exists(obj client.Object, name string) bool {
	e.t.Helper()
	key := types.NamespacedName{Name: name}
	if namespaced, err := e.c.IsObjectNamespaced(obj); err == nil && namespaced {
		key.Namespace = namespace
	}
	err := e.c.Get(e.ctx, key, obj)
	if err != nil && !apierrors.IsNotFound(err) {
		must(e.t, err)
	}
	return err == nil
}

// play stands in for the kubelets, from now on until the test ends: every pod runs and is ready as soon as it is there.
func (e *env) play() {
	e.t.Helper()
	watch, err := e.c.Watch(e.ctx, &corev1.PodList{}, client.InNamespace(namespace))
	must(e.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watch.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodRunning {
				before := pod.DeepCopy()
				pod.Status.Phase = corev1.PodRunning
				pod.Status.Conditions = []corev1.PodCondition{{
					Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now(),
				}}
				_ = e.c.Status().Patch(e.ctx, pod, client.MergeFrom(before)) // gone, or the next event tries again
			}
		}
	}()
	e.t.Cleanup(func() { watch.Stop(); <-done })
}

// serve stands in for the controller of an object: it says that it is ready, and holds it by the finalizer.
func (e *env) serve(obj client.Object, name string) {
	e.t.Helper()
	e.eventually("get "+name, func() error {
		return e.c.Get(e.ctx, types.NamespacedName{Namespace: namespace, Name: name}, obj)
	})
	must(e.t, e.c.Patch(e.ctx, obj, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":["finalizers.fluxcd.io"]}}`))))
	must(e.t, e.c.Status().Patch(e.ctx, obj, client.RawPatch(types.MergePatchType, fmt.Appendf(nil,
		`{"status":{"observedGeneration":%d,"conditions":[{"type":"Ready","status":"True","reason":"Succeeded","message":"ok","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`,
		obj.GetGeneration()))))
}

func (e *env) deployment(name string) *appsv1.Deployment {
	e.t.Helper()
	d := &appsv1.Deployment{}
	must(e.t, e.c.Get(e.ctx, types.NamespacedName{Namespace: namespace, Name: name}, d))
	return d
}

func isTrue(obj *fluxv1.FluxInstance, condition string) bool {
	return obj != nil && engine.IsTrue(obj, condition)
}

func has(obj *fluxv1.FluxInstance, id string) bool {
	if obj.Status.Inventory == nil {
		return false
	}
	for _, entry := range obj.Status.Inventory.Entries {
		if entry.ID == id {
			return true
		}
	}
	return false
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
