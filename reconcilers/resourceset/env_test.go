package resourceset_test

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

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	kclock "k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/config/crd"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/resourceset"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// patience bounds a wait for something that has to happen.
const patience = 60 * time.Second

// namespaces tells those of repeated tests apart.
var namespaces atomic.Int64

// define installs the definitions, once for all tests.
var define sync.Once

// env is an operator without its manager: the kind over a real API server, run by hand whenever an object is woken.
type env struct {
	t         *testing.T
	ctx       context.Context
	c         client.WithWatch // as the administrator
	namespace string
	clock     *clock
	counter   *accesstest.Counter // of the requests of the kind
	deps      resourceset.Deps
	hub       *health.Hub
	runner    interface {
		Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error)
	}
	woken chan types.NamespacedName

	mu     sync.Mutex
	events []string
}

// clock is the machine's, moved on by a test that does not want to wait.
type clock struct {
	kclock.RealClock
	mu    sync.Mutex
	ahead time.Duration
}

// Now implements clock.Clock.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func start(t *testing.T, change ...func(*resourceset.Deps)) *env {
	t.Helper()
	config := shared.Start(t).Config()
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensionsv1.AddToScheme, fluxv1.AddToScheme, kustomizev1.AddToScheme,
	} {
		must(t, add(kinds))
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: kinds})
	must(t, err)
	e := &env{
		t: t, ctx: logr.NewContext(t.Context(), logr.Discard()), c: c, clock: &clock{}, counter: &accesstest.Counter{}, woken: make(chan types.NamespacedName, 100),
		namespace: fmt.Sprintf("rset-%d", namespaces.Add(1)),
	}
	define.Do(e.define)
	must(t, e.c.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}}))
	factory, err := access.New(config, access.Options{Transport: e.counter.Transport})
	must(t, err)
	expressions, err := expression.New()
	must(t, err)
	e.deps = resourceset.Deps{
		Providers: reader{e.c}, Access: factory, Expressions: expressions, Now: e.clock.Now, Links: &resourceset.Links{}, Wake: e.wake,
	}
	for _, fn := range change {
		fn(&e.deps)
	}
	e.restart()
	return e
}

// restart makes the kind anew: it knows nothing but what is in the cluster.
func (e *env) restart() {
	e.t.Helper()
	if e.hub != nil {
		e.hub.Close()
	}
	wake := func(owner access.ID, _ health.Cause) {
		e.wake(types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name})
	}
	e.hub = health.New(e.deps.Access.Own(), health.Options{Wake: wake})
	e.t.Cleanup(e.hub.Close)
	e.deps.Hub = e.hub
	e.deps.Applier = apply.New(e.hub, apply.ApplierOptions{Wake: wake, Clock: e.clock})
	e.runner = engine.New(resourceset.Kind(e.deps), engine.Options{
		Client: e.c, Recorder: engine.RecorderFunc(e.record), Now: e.clock.Now, MinRetryDelay: 10 * time.Millisecond,
	})
}

func (e *env) wake(key types.NamespacedName) {
	select {
	case e.woken <- key:
	default: // enough is queued
	}
}

// reader finds providers without a cache.
type reader struct{ client.Client }

// Provider implements resourceset.Providers.
func (r reader) Provider(ctx context.Context, key types.NamespacedName) (*fluxv1.ResourceSetInputProvider, error) {
	obj := &fluxv1.ResourceSetInputProvider{}
	return obj, r.Get(ctx, key, obj)
}

// Providers implements resourceset.Providers.
func (r reader) Providers(ctx context.Context, namespace string, s labels.Selector) ([]fluxv1.ResourceSetInputProvider, error) {
	list := &fluxv1.ResourceSetInputProviderList{}
	err := r.List(ctx, list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: s})
	return list.Items, err
}

func (e *env) define() {
	for _, file := range []string{
		"fluxcd.controlplane.io_resourcesets.yaml", "fluxcd.controlplane.io_resourcesetinputproviders.yaml",
		"kustomize.toolkit.fluxcd.io_kustomizations.yaml",
	} {
		content, err := fs.ReadFile(crd.FS(), file)
		must(e.t, err)
		definition := &apiextensionsv1.CustomResourceDefinition{}
		must(e.t, yaml.Unmarshal(content, definition))
		if err := e.c.Create(e.ctx, definition); !apierrors.IsAlreadyExists(err) {
			must(e.t, err)
		}
	}
	for _, list := range []client.ObjectList{
		&fluxv1.ResourceSetList{}, &fluxv1.ResourceSetInputProviderList{}, &kustomizev1.KustomizationList{},
	} {
		e.eventually("the definitions are established", func() error { return e.c.List(e.ctx, list) })
	}
}

func (e *env) record(_ engine.Object, _, _ string, event engine.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, event.Reason+" "+event.Message)
}

// told returns the events since the last call that begin with the text, and drops the others.
func (e *env) told(prefix string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := slices.DeleteFunc(e.events, func(event string) bool { return !strings.HasPrefix(event, prefix) })
	e.events = nil
	return list
}

// text makes manifests for the namespace of the test, which NS stands for.
func (e *env) text(text string) string { return strings.ReplaceAll(text, "NS", e.namespace) }

// create makes a ResourceSet.
func (e *env) create(name, spec string, annotations ...string) {
	e.t.Helper()
	obj := &fluxv1.ResourceSet{ObjectMeta: e.named(name)}
	for i := 0; i+1 < len(annotations); i += 2 {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, annotations[i], annotations[i+1])
	}
	must(e.t, yaml.UnmarshalStrict([]byte(e.text(spec)), &obj.Spec))
	must(e.t, e.c.Create(e.ctx, obj))
}

// change replaces the spec of a ResourceSet.
func (e *env) change(name, spec string) {
	e.t.Helper()
	e.edit(name, func(obj *fluxv1.ResourceSet) {
		obj.Spec = fluxv1.ResourceSetSpec{}
		must(e.t, yaml.UnmarshalStrict([]byte(e.text(spec)), &obj.Spec))
	})
}

func (e *env) edit(name string, edit func(*fluxv1.ResourceSet)) {
	e.t.Helper()
	obj := e.get(name)
	before := obj.DeepCopy()
	edit(obj)
	must(e.t, e.c.Patch(e.ctx, obj, client.MergeFrom(before)))
}

func (e *env) annotate(obj client.Object, key, value string) {
	e.t.Helper()
	must(e.t, e.c.Patch(e.ctx, obj, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value))))
}

// provide makes a provider that has exported the inputs, a YAML list, or exports other ones.
func (e *env) provide(name, inputs string, with ...string) {
	e.t.Helper()
	p := &fluxv1.ResourceSetInputProvider{ObjectMeta: e.named(name), Spec: fluxv1.ResourceSetInputProviderSpec{Type: fluxv1.InputProviderStatic}}
	for i := 0; i+1 < len(with); i += 2 {
		metav1.SetMetaDataLabel(&p.ObjectMeta, with[i], with[i+1])
	}
	if err := e.c.Create(e.ctx, p); apierrors.IsAlreadyExists(err) {
		must(e.t, e.c.Get(e.ctx, client.ObjectKeyFromObject(p), p))
	} else {
		must(e.t, err)
	}
	p.Status.ExportedInputs = nil
	must(e.t, yaml.Unmarshal([]byte(e.text(inputs)), &p.Status.ExportedInputs))
	p.Status.LastExportedRevision = fmt.Sprintf("sha256:%x", inputs)
	must(e.t, e.c.Status().Update(e.ctx, p))
}

// get reads a ResourceSet; nil if there is none.
func (e *env) get(name string) *fluxv1.ResourceSet {
	e.t.Helper()
	obj := &fluxv1.ResourceSet{}
	err := e.c.Get(e.ctx, e.key(name), obj)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(e.t, err)
	return obj
}

func (e *env) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: e.namespace, Name: name}
}

func (e *env) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: e.namespace, Name: name}
}

// once runs the ResourceSet once.
func (e *env) once(name string) time.Duration {
	e.t.Helper()
	result, err := e.runner.Reconcile(e.ctx, reconcile.Request{NamespacedName: e.key(name)})
	must(e.t, err)
	return result.RequeueAfter
}

// run runs the ResourceSet, as its queue would, until it is as wanted.
func (e *env) run(name, what string, wanted func(*fluxv1.ResourceSet) bool) *fluxv1.ResourceSet {
	e.t.Helper()
	deadline := time.After(patience)
	for {
		after := e.once(name)
		obj := e.get(name)
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
			if obj != nil {
				e.t.Fatalf("%s does not become %s: %+v, inventory %q", name, what, obj.Status.Conditions, ids(obj))
			}
			e.t.Fatalf("%s does not become %s: it is gone", name, what)
		}
	}
}

func (e *env) ready(name string) *fluxv1.ResourceSet {
	e.t.Helper()
	return e.run(name, "ready", func(obj *fluxv1.ResourceSet) bool {
		return isTrue(obj, "Ready") && !isTrue(obj, "Reconciling") && engine.Condition(obj, "Ready").ObservedGeneration == obj.Generation &&
			obj.Status.LastHandledReconcileAt == obj.Annotations["reconcile.fluxcd.io/requestedAt"]
	})
}

// fails runs the ResourceSet until it is not ready, and returns the reason and the message.
func (e *env) fails(name string) (reason, message string) {
	e.t.Helper()
	c := engine.Condition(e.run(name, "failed", func(obj *fluxv1.ResourceSet) bool {
		c := engine.Condition(obj, "Ready")
		return c != nil && c.Status == metav1.ConditionFalse && c.ObservedGeneration == obj.Generation
	}), "Ready")
	return c.Reason, c.Message
}

// awaits runs the ResourceSet until it waits for something, and returns the message.
func (e *env) awaits(name string) string {
	e.t.Helper()
	obj := e.run(name, "waiting", func(obj *fluxv1.ResourceSet) bool { return isTrue(obj, "Reconciling") })
	return engine.Condition(obj, "Reconciling").Message
}

// awaken waits for somebody to wake the ResourceSet.
func (e *env) awaken(name, why string) {
	e.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case key := <-e.woken:
			if key == e.key(name) {
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

// data returns what a ConfigMap holds; nil if there is none.
func (e *env) data(name string) map[string]string {
	e.t.Helper()
	cm := &corev1.ConfigMap{}
	err := e.c.Get(e.ctx, e.key(name), cm)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(e.t, err)
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	return cm.Data
}

// deployed returns the Deployment; nil if there is none.
func (e *env) deployed(name string) *appsv1.Deployment {
	e.t.Helper()
	d := &appsv1.Deployment{}
	err := e.c.Get(e.ctx, e.key(name), d)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(e.t, err)
	return d
}

// serve stands in for who runs the Deployment: it says that all is there.
func (e *env) serve(name string) {
	e.t.Helper()
	d := e.deployed(name)
	d.Status = appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1,
		Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
			{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
		},
	}
	must(e.t, e.c.Status().Update(e.ctx, d))
}

// configMaps returns the names of those with the labels of the ResourceSet.
func (e *env) configMaps(name string) []string {
	e.t.Helper()
	list := &corev1.ConfigMapList{}
	must(e.t, e.c.List(e.ctx, list, client.InNamespace(e.namespace), client.MatchingLabels{
		"resourceset.fluxcd.controlplane.io/name": name, "resourceset.fluxcd.controlplane.io/namespace": e.namespace,
	}))
	var names []string
	for _, cm := range list.Items {
		names = append(names, cm.Name)
	}
	return names
}

// apply creates objects as somebody else.
func (e *env) apply(manifests ...string) {
	e.t.Helper()
	for _, text := range manifests {
		obj := map[string]any{}
		must(e.t, yaml.Unmarshal([]byte(e.text(text)), &obj))
		must(e.t, e.c.Create(e.ctx, &unstructured.Unstructured{Object: obj}))
	}
}

func ids(obj *fluxv1.ResourceSet) []string {
	var list []string
	if obj.Status.Inventory != nil {
		for _, entry := range obj.Status.Inventory.Entries {
			list = append(list, strings.ReplaceAll(entry.ID, obj.Namespace, "NS"))
		}
	}
	return list
}

func isTrue(obj *fluxv1.ResourceSet, condition string) bool {
	return obj != nil && engine.IsTrue(obj, condition)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
