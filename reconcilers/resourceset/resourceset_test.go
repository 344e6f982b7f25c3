package resourceset_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestSteady: a run that finds all as it should be sends no request and says nothing, and a request is answered.
func TestSteady(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.provide("p", "[{id: '1'}]")
	e.create("rs", "inputsFrom: [{name: p}]\nresources: ["+config("cm-<< inputs.id >>", "1")+"]")
	obj := e.ready("rs")
	if h := obj.Status.History; len(h) != 1 || h[0].LastReconciledStatus != "ReconciliationSucceeded" || h[0].Digest != obj.Status.LastAppliedRevision ||
		!strings.HasPrefix(obj.Status.LastAppliedRevision, "sha256:") {
		t.Errorf("applied %q, history %+v", obj.Status.LastAppliedRevision, h)
	}
	if diff := cmp.Diff(map[string]string{"inputs": "1", "resources": "1"}, obj.Status.History[0].Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	c := engine.Condition(obj, "Ready")
	if c.Reason != "ReconciliationSucceeded" || !strings.HasPrefix(c.Message, "Reconciliation finished in ") {
		t.Errorf("Ready is %+v", c)
	}
	if told := e.told(""); len(told) != 2 || told[0] != e.text("ApplySucceeded ConfigMap/NS/cm-1 created") ||
		!strings.HasPrefix(told[1], "ReconciliationSucceeded Reconciliation finished in ") {
		t.Errorf("events: %q", told)
	}
	e.counter.Take()
	e.once("rs")
	if requests := e.counter.Take("watch", "list", "discover"); len(requests) != 0 {
		t.Errorf("a run that finds nothing to do sends %v", requests)
	}
	if again := e.get("rs"); again.ResourceVersion != obj.ResourceVersion || e.told("") != nil {
		t.Errorf("a run that finds nothing to do writes the status: %+v", again.Status)
	}
	e.annotate(obj, "reconcile.fluxcd.io/requestedAt", "now")
	if obj := e.ready("rs"); obj.Status.LastHandledReconcileAt != "now" || obj.Status.History[0].TotalReconciliations != 2 {
		t.Errorf("after a request: %+v", obj.Status)
	}
}

// TestDrift: what somebody deletes or edits wakes the ResourceSet and is put back.
func TestDrift(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.create("rs", "steps: [{name: first, resources: ["+config("one", "1")+"]}, {name: second, resources: ["+config("two", "1")+"]}]")
	e.ready("rs")
	for _, name := range []string{"one", "two"} {
		cm := &corev1.ConfigMap{ObjectMeta: e.named(name)}
		for reason, spoil := range map[string]func() error{
			"deleted": func() error { return e.c.Delete(e.ctx, cm) },
			"edited": func() error {
				return e.c.Patch(e.ctx, cm, client.RawPatch(types.MergePatchType, []byte(`{"data":{"value":"2"}}`)))
			},
		} {
			e.calm()
			must(t, spoil())
			e.awaken("rs", name+" was "+reason)
			e.run("rs", "repaired", func(obj *fluxv1.ResourceSet) bool { return isTrue(obj, "Ready") && e.data(name)["value"] == "1" })
		}
	}
}

// TestMarkers: annotations of the operator's group steer single objects.
func TestMarkers(t *testing.T) {
	t.Parallel()
	e := start(t)
	immutable := func(name, value string) string {
		return strings.TrimSuffix(config(name, value), "}") + ", immutable: true}"
	}
	e.create("rs", "resources: ["+config("frozen", "1")+", "+config("kept", "1")+", "+immutable("forced", "1")+", "+config("gone", "1")+"]")
	e.ready("rs")
	for name, key := range map[string]string{
		"frozen": "fluxcd.controlplane.io/reconcile", "kept": "fluxcd.controlplane.io/prune",
	} {
		e.annotate(&corev1.ConfigMap{ObjectMeta: e.named(name)}, key, "disabled")
	}
	e.annotate(&corev1.ConfigMap{ObjectMeta: e.named("forced")}, "fluxcd.controlplane.io/force", "enabled")
	e.change("rs", "resources: ["+config("frozen", "2")+", "+immutable("forced", "2")+"]")
	e.annotate(e.get("rs"), "reconcile.fluxcd.io/requestedAt", "now")
	e.ready("rs")
	got := map[string]string{}
	for _, name := range []string{"frozen", "kept", "forced", "gone"} {
		got[name] = e.data(name)["value"]
	}
	if diff := cmp.Diff(map[string]string{"frozen": "1", "kept": "1", "forced": "2", "gone": ""}, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	e.create("all", "resources: ["+immutable("a", "1")+"]", "fluxcd.controlplane.io/force", "enabled")
	e.ready("all")
	e.change("all", "resources: ["+immutable("a", "2")+"]")
	e.ready("all")
	if e.data("a")["value"] != "2" {
		t.Error("the annotation of the ResourceSet does not count for its objects")
	}
	e.create("out", "inputs: [{mode: enabled}, {mode: disabled}]\nresources: [{apiVersion: v1, kind: ConfigMap, metadata: {name: 'cm-<< inputs.mode >>', namespace: NS, "+
		"annotations: {fluxcd.controlplane.io/reconcile: '<< inputs.mode >>'}}}]")
	if obj := e.ready("out"); !slices.Equal(ids(obj), []string{"NS_cm-enabled__ConfigMap"}) {
		t.Errorf("a template that is disabled makes %q", ids(obj))
	}
}

// TestJobs: a Job that has failed is created anew if its template says so.
func TestJobs(t *testing.T) {
	t.Parallel()
	e := start(t)
	job := func(name, annotations string) string {
		return "{apiVersion: batch/v1, kind: Job, metadata: {name: " + name + ", namespace: NS, annotations: {" + annotations + "}}, " +
			"spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: main}]}}}}"
	}
	e.create("rs", "resources: ["+job("again", "fluxcd.controlplane.io/recreateOnFailure: enabled")+", "+job("once", "")+"]")
	e.ready("rs")
	before := map[string]types.UID{}
	get := func(name string) *batchv1.Job {
		j := &batchv1.Job{}
		must(t, e.c.Get(e.ctx, e.key(name), j))
		return j
	}
	for _, name := range []string{"again", "once"} {
		j := get(name)
		before[name] = j.UID
		now := metav1.Now()
		j.Status.StartTime = &now
		for _, typ := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
			j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: typ, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded"})
		}
		must(t, e.c.Status().Update(e.ctx, j))
	}
	e.once("rs") // as at the interval
	if get("again").UID == before["again"] || get("once").UID != before["once"] {
		t.Errorf("created anew: again %t, once %t", get("again").UID != before["again"], get("once").UID != before["once"])
	}
	uid := get("again").UID
	if e.once("rs"); get("again").UID != uid {
		t.Error("a Job that runs is created anew")
	}
}

// TestKustomizationsFirst: what deploys others goes first, and what it may need to delete these goes when it is gone.
func TestKustomizationsFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		begin func(*env)
		end   func(*fluxv1.ResourceSet) bool
	}{
		"prune": {
			func(e *env) { e.change("rs", "resources: ["+config("other", "1")+"]") },
			func(obj *fluxv1.ResourceSet) bool { return isTrue(obj, "Ready") && len(ids(obj)) == 1 },
		},
		"delete": {
			func(e *env) { must(e.t, e.c.Delete(e.ctx, e.get("rs"))) },
			func(obj *fluxv1.ResourceSet) bool { return obj == nil },
		},
	} {
		for how, free := range map[string]func(*env){
			"gone": func(e *env) {
				must(e.t, e.c.Patch(e.ctx, &kustomizev1.Kustomization{ObjectMeta: e.named("apps")},
					client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))
				e.awaken("rs", "the Kustomization is gone")
			},
			"late": func(e *env) { e.clock.advance(2 * time.Minute) },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				e := start(t)
				e.create("rs", "resources: ["+config("settings", "1")+", {apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, "+
					"metadata: {name: apps, namespace: NS, finalizers: [example.com/held]}, "+
					"spec: {interval: 1m, prune: true, sourceRef: {kind: GitRepository, name: apps}}}]")
				e.ready("rs")
				tc.begin(e)
				e.run("rs", "waiting", func(obj *fluxv1.ResourceSet) bool {
					c := engine.Condition(obj, "Reconciling")
					return c != nil && c.Message == "Waiting for the termination of Kustomizations and HelmReleases"
				})
				if e.data("settings") == nil || !slices.Contains(ids(e.get("rs")), "NS_apps_kustomize.toolkit.fluxcd.io_Kustomization") {
					t.Error("what the Kustomization may need is gone, or it is forgotten")
				}
				e.calm()
				free(e)
				e.run("rs", "pruned", tc.end)
				if e.data("settings") != nil {
					t.Error("not everything was deleted")
				}
			})
		}
	}
}

// TestSuspended: what is created disabled says so and does nothing, and a disabled ResourceSet leaves what it has applied.
func TestSuspended(t *testing.T) {
	t.Parallel()
	e := start(t)
	const disable = "fluxcd.controlplane.io/reconcile"
	e.create("new", "resources: ["+config("new", "1")+"]", disable, "Disabled")
	e.once("new")
	if c := engine.Condition(e.get("new"), "Ready"); c == nil || c.Status != metav1.ConditionTrue || c.Reason != "ReconciliationDisabled" ||
		c.Message != "Initialized with reconciliation suspended" || e.data("new") != nil {
		t.Errorf("Ready is %+v", c)
	}
	e.create("rs", "resources: ["+config("cm", "1")+"]")
	e.ready("rs")
	e.annotate(e.get("rs"), disable, "disabled")
	e.told("")
	e.once("rs")
	if diff := cmp.Diff([]string{"ReconciliationDisabled Reconciliation is disabled"}, e.told("")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	must(t, e.c.Delete(e.ctx, e.get("rs")))
	e.run("rs", "gone", func(obj *fluxv1.ResourceSet) bool { return obj == nil })
	if e.data("cm") == nil {
		t.Error("a disabled ResourceSet takes along what it has applied")
	}
}

// TestForgotten: what was applied by a process that ended before it wrote the inventory is pruned when it is no longer rendered.
func TestForgotten(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.create("rs", "resources: ["+config("one", "1")+", "+config("two", "1")+"]")
	e.ready("rs")
	obj := e.get("rs") // as it was before the first run
	obj.Status = fluxv1.ResourceSetStatus{}
	must(t, e.c.Status().Update(e.ctx, obj))
	e.restart()
	e.change("rs", "resources: ["+config("one", "1")+"]")
	if obj := e.ready("rs"); e.data("two") != nil || !slices.Equal(ids(obj), []string{"NS_one__ConfigMap"}) {
		t.Errorf("what was forgotten is still there; the inventory has %q", ids(obj))
	}
}

// TestRetry: a set that could not be applied is tried again, keeps both inventories, and tells no secret.
func TestRetry(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.create("rs", "resources: ["+config("one", "1")+"]")
	e.ready("rs")
	secret := func(value string) string {
		return "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}, data: {password: '" + value + "'}}"
	}
	e.change("rs", "resources: ["+config("two", "1")+", "+secret("no-base64-hunter2")+"]")
	reason, message := e.fails("rs")
	if reason != "ReconciliationFailed" || !strings.HasPrefix(message, "reconciliation failed: ") || strings.Contains(message, "hunter2") {
		t.Errorf("it fails with %s %q", reason, message)
	}
	if obj := e.get("rs"); !slices.Contains(ids(obj), "NS_one__ConfigMap") || obj.Status.History[0].LastReconciledStatus != "ReconciliationFailed" {
		t.Errorf("status %+v", obj.Status)
	}
	for _, event := range e.told("") {
		if strings.Contains(event, "hunter2") {
			t.Errorf("told was %q", event)
		}
	}
	e.change("rs", "resources: ["+config("two", "1")+", "+secret("aHVudGVyMg==")+"]")
	e.ready("rs")
}

// TestNeverReported: that a provider has no inputs yet, because it has not run, deletes nothing.
func TestNeverReported(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.provide("p", "[{id: '1'}]")
	e.create("rs", "inputsFrom: [{name: p}]\nresources: ["+config("cm-<< inputs.id >>", "1")+"]")
	e.ready("rs")
	p := &fluxv1.ResourceSetInputProvider{ObjectMeta: e.named("p")}
	must(t, e.c.Delete(e.ctx, p))
	must(t, e.c.Create(e.ctx, &fluxv1.ResourceSetInputProvider{
		ObjectMeta: e.named("p"), Spec: fluxv1.ResourceSetInputProviderSpec{Type: fluxv1.InputProviderStatic},
	}))
	reason, message := e.fails("rs")
	if want := e.text("Retrying dependency check: ResourceSetInputProvider/NS/p has not exported inputs yet"); reason != "DependencyNotReady" || message != want {
		t.Errorf("it fails with %s %q", reason, message)
	}
	if e.data("cm-1") == nil {
		t.Error("what was applied is gone")
	}
}
