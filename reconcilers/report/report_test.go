package report_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api"
	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/report"
	"github.com/weir-dev/weir/test/cluster"
)

var shared = cluster.Shared{}

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func operator() fluxv1.OperatorReport {
	return fluxv1.OperatorReport{APIVersion: "fluxcd.controlplane.io/v1", Version: "v0.1.0", Platform: "linux/amd64"}
}

// env is an operator without its manager.
type env struct {
	t        testing.TB
	ctx      context.Context
	c        client.Client
	requests *accesstest.Counter
	registry *prometheus.Registry
	deps     report.Deps
	ns       string
	gone     int
	runner   interface {
		Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error)
	}
}

func start(t testing.TB, ns string) *env {
	t.Helper()
	config := shared.Start(t).Config()
	kinds := kruntime.NewScheme()
	for _, add := range []func(*kruntime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme, api.AddToScheme} {
		must(t, add(kinds))
	}
	_, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{Paths: []string{"../../config/crd/bases"}})
	must(t, err)
	e := &env{t: t, ctx: t.Context(), ns: ns, requests: &accesstest.Counter{}, registry: prometheus.NewPedanticRegistry()}
	e.c, err = client.New(config, client.Options{Scheme: kinds})
	must(t, err)
	factory, err := access.New(config, access.Options{Transport: e.requests.Transport})
	must(t, err)
	metrics, err := report.NewMetrics(e.registry, operator())
	must(t, err)
	e.deps = report.Deps{Client: factory.Own(), Operator: operator(), Metrics: metrics, Gone: func() { e.gone++ }}
	e.runner = engine.New(report.Kind(e.deps), engine.Options{Client: e.c, MinRetryDelay: 10 * time.Millisecond})
	must(t, e.c.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
	return e
}

func (e *env) key() types.NamespacedName { return types.NamespacedName{Namespace: e.ns, Name: "flux"} }

func (e *env) once() time.Duration {
	e.t.Helper()
	result, err := e.runner.Reconcile(e.ctx, reconcile.Request{NamespacedName: e.key()})
	must(e.t, err)
	return result.RequeueAfter.Round(time.Minute) // less what the run took
}

func (e *env) report() *fluxv1.FluxReport {
	e.t.Helper()
	obj := &fluxv1.FluxReport{}
	must(e.t, e.c.Get(e.ctx, e.key(), obj))
	return obj
}

// make creates an object from its YAML, with its status.
func (e *env) make(obj client.Object, text string) {
	e.t.Helper()
	must(e.t, yaml.Unmarshal([]byte(text), obj))
	obj.SetNamespace(e.ns)
	want, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		e.t.Fatalf("%T is no object", obj)
	}
	must(e.t, e.c.Create(e.ctx, obj))
	want.SetResourceVersion(obj.GetResourceVersion())
	want.SetUID(obj.GetUID())
	must(e.t, e.c.Status().Update(e.ctx, want))
	e.t.Cleanup(func() { _ = e.c.Delete(context.Background(), obj) })
}

func TestReport(t *testing.T) {
	e := start(t, "reported")
	must(t, report.Create(e.ctx, e.deps, e.ns))

	first := e.report()
	if d := first.Spec.Distribution; d.Entitlement != "Unknown" || d.Status != "Installed" || d.Version != "" {
		t.Errorf("the distribution whose definitions are there is reported as %+v", d)
	}
	version, err := e.deps.Client.ServerVersion(e.ctx)
	must(t, err)
	cluster := &fluxv1.ClusterReport{ServerVersion: version.GitVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if diff := cmp.Diff(cluster, first.Spec.Cluster); diff != "" {
		t.Errorf("the cluster (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(operator(), *first.Spec.Operator); diff != "" {
		t.Errorf("the operator (-want +got):\n%s", diff)
	}
	if first.Spec.Sync != nil || len(first.Spec.Components) > 0 {
		t.Errorf("nothing is there, and reported are %+v and %+v", first.Spec.Sync, first.Spec.Components)
	}
	if n := len(first.Spec.Reconcilers); n != 18 {
		t.Errorf("%d kinds are reported, want all 18", n)
	}

	e.fleet()
	if after := e.once(); after != 5*time.Minute {
		t.Errorf("the next report comes after %s, want 5m", after)
	}
	e.checkSpec()
	e.checkStatus(first)
	e.checkSteady()
	e.checkDeletion()
}

// fleet is what there is to report.
func (e *env) fleet() {
	e.t.Helper()
	e.make(&corev1.Node{}, `{metadata: {name: node-1}}`)
	e.make(&fluxv1.FluxInstance{}, `
metadata: {name: flux}
spec:
  distribution: {version: 2.x, registry: ghcr.io/fluxcd}
  sync: {name: fleet, kind: GitRepository, url: https://git.example.com/fleet, ref: refs/heads/main, path: clusters/a}
status:
  lastAppliedRevision: v2.9.5@sha256:1
  conditions: [{type: Ready, status: "True", reason: ReconciliationSucceeded, message: ok, lastTransitionTime: "2026-01-01T00:00:00Z"}]`)
	e.make(&sourcev1.GitRepository{}, `
metadata: {name: fleet}
spec: {interval: 1m, url: https://git.example.com/fleet}
status:
  artifact: {digest: "sha256:`+digest+`", path: p, url: "http://x/p", revision: main@sha1:1, lastUpdateTime: "2026-01-01T00:00:00Z", size: 2097152}
  conditions: [{type: Ready, status: "False", reason: GitOperationFailed, message: no route to host, lastTransitionTime: "2026-01-01T00:00:00Z"}]`)
	e.make(&kustomizev1.Kustomization{}, `
metadata: {name: fleet}
spec: {interval: 1m, prune: true, path: clusters/a, suspend: true, sourceRef: {kind: GitRepository, name: fleet}}
status:
  lastAppliedRevision: main@sha1:1
  conditions: [{type: Ready, status: "True", reason: ReconciliationSucceeded, message: "Applied revision: main@sha1:1", lastTransitionTime: "2026-01-01T00:00:00Z"}]`)
	e.make(&appsv1.Deployment{}, deployment("source-controller", 1))
	e.make(&appsv1.Deployment{}, deployment("kustomize-controller", 0))
}

const digest = "0000000000000000000000000000000000000000000000000000000000000000"

func deployment(name string, available int) string {
	return fmt.Sprintf(`
metadata: {name: %[1]s, labels: {app.kubernetes.io/part-of: flux}}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: manager, image: "example.com/%[1]s:v1"}]}
status:
  observedGeneration: 1
  replicas: 1
  updatedReplicas: 1
  readyReplicas: %[2]d
  availableReplicas: %[2]d
  conditions:
  - {type: Available, status: "%[3]s", reason: x, message: x}
  - {type: Progressing, status: "True", reason: NewReplicaSetAvailable, message: x}`, name, available, map[int]string{0: "False", 1: "True"}[available])
}

func (e *env) checkSpec() {
	e.t.Helper()
	spec := e.report().Spec
	components := []fluxv1.ComponentReport{
		{Name: "kustomize-controller", Status: "InProgress Available: 0/1", Image: "example.com/kustomize-controller:v1"},
		{Name: "source-controller", Ready: true, Status: "Current Deployment is available. Replicas: 1", Image: "example.com/source-controller:v1"},
	}
	if diff := cmp.Diff(components, spec.Components); diff != "" {
		e.t.Errorf("the components (-want +got):\n%s", diff)
	}
	sync := &fluxv1.SyncReport{
		ID: "kustomization/fleet", Path: "clusters/a", Ready: true, Source: "https://git.example.com/fleet",
		Status: "Suspended Applied revision: main@sha1:1 no route to host",
	}
	if diff := cmp.Diff(sync, spec.Sync); diff != "" {
		e.t.Errorf("the sync (-want +got):\n%s", diff)
	}
	want := map[string]fluxv1.ReconcilerStats{
		"fluxcd.controlplane.io/v1 FluxInstance":                {Running: 1},
		"source.toolkit.fluxcd.io/v1 GitRepository":             {Running: 1, Failing: 1, TotalSize: "2.0 MiB"},
		"kustomize.toolkit.fluxcd.io/v1 Kustomization":          {Suspended: 1},
		"notification.toolkit.fluxcd.io/v1beta3 Alert":          {},
		"fluxcd.controlplane.io/v1 ResourceSet":                 {},
		"source.extensions.fluxcd.io/v1beta1 ArtifactGenerator": {},
	}
	got := map[string]fluxv1.ReconcilerStats{}
	for _, r := range spec.Reconcilers {
		if name := r.APIVersion + " " + r.Kind; want[name] != (fluxv1.ReconcilerStats{}) || r.Stats != (fluxv1.ReconcilerStats{}) {
			got[name] = r.Stats
		} else if _, ok := want[name]; ok {
			got[name] = r.Stats
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		e.t.Errorf("the kinds (-want +got):\n%s", diff)
	}
	if spec.Cluster.Nodes != 1 {
		e.t.Errorf("there is a node, and reported are %d", spec.Cluster.Nodes)
	}
	if n := testutil.CollectAndCount(e.deps.Metrics, "flux_resource_info"); n != 2 {
		e.t.Errorf("the metrics tell of %d objects, want 2", n)
	}
}

func (e *env) checkStatus(before *fluxv1.FluxReport) {
	e.t.Helper()
	obj := e.report()
	c := engine.Condition(obj, meta.ReadyCondition)
	want := &metav1.Condition{
		Type: "Ready", Status: "True", Reason: "Succeeded", ObservedGeneration: before.Generation + 1,
		Message: "Reporting finished in ",
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime"), cmp.Comparer(func(a, b string) bool {
		return a == b || min(len(a), len(b)) > 20 && a[:22] == b[:22]
	})); diff != "" {
		e.t.Errorf("Ready (-want +got):\n%s", diff)
	}
	if len(obj.Finalizers) > 0 {
		e.t.Errorf("the report has the finalizers %q, and nothing to finish", obj.Finalizers)
	}
}

// checkSteady runs again, with nothing new but a request.
func (e *env) checkSteady() {
	e.t.Helper()
	obj := e.report()
	before := obj.DeepCopy()
	obj.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now", fluxv1.ReconcileEveryAnnotation: "1h"}
	must(e.t, e.c.Patch(e.ctx, obj, client.MergeFrom(before)))
	e.requests.Take()
	if after := e.once(); after != time.Hour {
		e.t.Errorf("the annotation of the interval is not heeded: %s", after)
	}
	requests := e.requests.Take("discover")
	if diff := cmp.Diff(map[string]int{"list": 20, "get": 2}, requests); diff != "" {
		e.t.Errorf("requests of a report with nothing new (-want +got):\n%s", diff)
	}
	again := e.report()
	if again.Generation != before.Generation || again.Status.LastHandledReconcileAt != "now" {
		e.t.Errorf("after a request, the report is of generation %d (was %d) and has handled %q",
			again.Generation, before.Generation, again.Status.LastHandledReconcileAt)
	}
	if was, is := engine.Condition(before, "Ready"), engine.Condition(again, "Ready"); was.Message == is.Message {
		e.t.Errorf("nobody sees that this is a new report: %+v", is)
	}
}

// checkDeletion deletes the report.
func (e *env) checkDeletion() {
	e.t.Helper()
	must(e.t, e.c.Delete(e.ctx, e.report()))
	if e.once(); e.gone != 1 {
		e.t.Error("nobody is told that the report is gone")
	}
	must(e.t, report.Create(e.ctx, e.deps, e.ns))
	if e.report().Spec.Sync == nil {
		e.t.Error("the new report is not what there is")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}
