package kustomize_test

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

func deployment(name, image string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: ` + name + `, namespace: NS}
spec:
  replicas: 1
  selector: {matchLabels: {app: ` + name + `}}
  template:
    metadata: {labels: {app: ` + name + `}}
    spec: {containers: [{name: app, image: "` + image + `"}]}
`
}

// rollOut does what the controller of Deployments would: it says how far the Deployment is.
func (e *env) rollOut(name string, condition *appsv1.DeploymentCondition) {
	e.t.Helper()

	d := &appsv1.Deployment{}
	if !e.fetch(d, name) {
		e.t.Fatalf("Deployment %s is not there", name)
	}

	before := d.DeepCopy()
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1}

	if condition != nil {
		d.Status.Conditions = []appsv1.DeploymentCondition{*condition}
	} else {
		d.Status.ReadyReplicas, d.Status.AvailableReplicas = 1, 1
		d.Status.Conditions = []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
			{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
		}
	}

	must(e.t, e.c.Status().Patch(e.t.Context(), d, client.MergeFrom(before)))
}

func stuck() *appsv1.DeploymentCondition {
	return &appsv1.DeploymentCondition{
		Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded", Message: "too late",
	}
}

// TestWait holds that a run gives its worker back, says what it waits for, and is woken by health, by failure and by a new
// revision.
func TestWait(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"app.yaml": deployment("web", "a:1"), "config.yaml": configMap("c", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait = true
		s.Timeout = &metav1.Duration{Duration: time.Minute}
		s.RetryInterval = &metav1.Duration{Duration: 3 * time.Minute}
		s.HealthChecks = []meta.NamespacedObjectKindReference{{Kind: "Deployment", Name: "ignored"}}
	})

	obj, after := e.once("app")
	if after > time.Minute || after < 50*time.Second {
		t.Errorf("the run after the first one is due in %s", after)
	}

	const waiting = "Running health checks for revision main@sha1:1 with a timeout of 1m0s"

	wantConditions(t, obj, map[string]string{
		"Ready":       "Unknown Progressing: Reconciliation in progress",
		"Reconciling": "True Progressing: " + waiting,
		"Healthy":     "Unknown Progressing: " + waiting,
	})

	if len(ids(obj)) != 2 || obj.Status.LastAppliedRevision != "" || obj.Status.LastAttemptedRevision != "main@sha1:1" {
		t.Errorf("status while waiting is %+v", obj.Status)
	}

	e.wantEvents("Normal Progressing Apply: ConfigMap/NS/c created\nDeployment/NS/web created")

	e.phase("StillWaiting", func(*testing.T) {
		e.costs()
		e.once("app")
		e.wantCosts("a run that still waits", nil)
	})

	e.phase("Healthy", func(t *testing.T) {
		e.calm()
		e.rollOut("web", nil)
		e.awaken("app", "everything is current")
		e.costs()

		obj, _ := e.once("app")
		e.wantCosts("the end of a wait", map[string]int{"engine patch": 1})
		wantConditions(t, obj, map[string]string{
			"Ready":   "True ReconciliationSucceeded: Applied revision: main@sha1:1",
			"Healthy": "True Succeeded: Health check passed in D",
		})
		e.wantEvents(
			"Normal Progressing HealthCheck: Health check passed in D",
			"Normal ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s",
		)
	})

	e.phase("Steady", func(*testing.T) {
		e.once("app")
		e.wantCosts("a healthy object", nil)
		e.wantEvents()
	})

	e.phase("Supersede", func(t *testing.T) {
		e.publish("repo", "main@sha1:2", map[string]string{"app.yaml": deployment("web", "a:2"), "config.yaml": configMap("c", "1")})

		if obj, _ := e.once("app"); !engine.IsTrue(obj, meta.ReconcilingCondition) {
			t.Errorf("the object does not wait: %s", says(obj, meta.ReadyCondition))
		}

		e.clock.advance(50 * time.Second)
		e.publish("repo", "main@sha1:3", map[string]string{"app.yaml": deployment("web", "a:3"), "config.yaml": configMap("c", "1")})

		obj, after := e.once("app")
		if after < 50*time.Second {
			t.Errorf("the new revision inherits the deadline of the old one: %s", after)
		}

		if got := engine.Condition(obj, meta.ReconcilingCondition).Message; !strings.Contains(got, "main@sha1:3") {
			t.Errorf("the object waits for %q", got)
		}

		e.told()
	})

	e.phase("Failed", func(t *testing.T) {
		e.calm()
		e.rollOut("web", stuck())
		e.awaken("app", "an object failed")

		obj, after := e.once("app")
		if after != 3*time.Minute {
			t.Errorf("the next attempt is in %s", after)
		}

		const failure = "health check failed after D: failed early due to stalled resources: [Deployment/NS/web status: 'Failed']"

		wantConditions(t, obj, map[string]string{
			"Ready":       "False HealthCheckFailed: " + failure,
			"Reconciling": "True ProgressingWithRetry: " + failure,
			"Healthy":     "False HealthCheckFailed: " + failure,
		})
		e.wantEvents("Warning HealthCheckFailed : " + failure)

		if h := obj.Status.History; h[0].LastReconciledStatus != "HealthCheckFailed" || obj.Status.LastAppliedRevision != "main@sha1:1" {
			t.Errorf("status is %+v", obj.Status)
		}

		before := engine.Condition(obj, meta.ReadyCondition).Message

		obj, _ = e.once("app")
		if got := engine.Condition(obj, meta.ReadyCondition).Message; got != before || obj.Status.History[0].TotalReconciliations != 2 {
			t.Errorf("the same failure again says %q, total %d", got, obj.Status.History[0].TotalReconciliations)
		}

		e.wantEvents()
	})

	e.phase("Recovered", func(t *testing.T) {
		e.rollOut("web", nil)

		obj := e.ready("app")
		if got := says(obj, meta.HealthyCondition); got != "True Succeeded: Health check passed in D" {
			t.Errorf("Healthy is %q", got)
		}
	})
}

func TestTimeout(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"app.yaml": deployment("web", "a:1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Timeout = &metav1.Duration{Duration: time.Minute}
		s.HealthChecks = []meta.NamespacedObjectKindReference{
			{Kind: "Deployment", Name: "web"},
			{APIVersion: "v1", Kind: "ConfigMap", Name: "elsewhere"},
			{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Name: "app"},
		}
	})
	e.once("app")
	e.clock.advance(time.Minute)

	obj, _ := e.once("app")
	want := "False HealthCheckFailed: health check failed after D: timeout waiting for: " +
		"[ConfigMap/NS/elsewhere status: 'NotFound', Deployment/NS/web status: 'InProgress']"

	if got := says(obj, meta.ReadyCondition); got != want {
		t.Errorf("Ready is %q, want %q", got, want)
	}

	// The next attempt has the whole time again. Objects that are not its own count as well.
	if _, after := e.once("app"); after < 50*time.Second || after > time.Minute {
		t.Errorf("the deadline of the next attempt is in %s", after)
	}

	e.rollOut("web", nil)
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "elsewhere"}})
	e.ready("app")
}

// TestBlink holds that what becomes healthy at once needs a single write of the status.
func TestBlink(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"c.yaml": configMap("c", "1"), "d.yaml": configMap("d", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })

	obj, _ := e.once("app")
	wantConditions(t, obj, map[string]string{
		"Ready":   "True ReconciliationSucceeded: Applied revision: main@sha1:1",
		"Healthy": "True Succeeded: Health check passed in D",
	})

	costs := e.costs()
	if costs["engine patch"] != 2 { // the finalizer, and the status
		t.Errorf("requests: %v", costs)
	}

	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Wait = false })

	if got := says(e.ready("app"), meta.HealthyCondition); got != "" {
		t.Errorf("Healthy without a check is %q", got)
	}
}

func TestDependsOn(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"base/a.yaml": configMap("a", "1"), "app/b.yaml": configMap("b", "1")})
	e.kustomization("base", func(s *kustomizev1.KustomizationSpec) { s.Path = "base" })
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Path = "app"
		s.DependsOn = []meta.DependencyReference{{Name: "base"}}
	})

	obj, after := e.once("app")
	wantConditions(t, obj, map[string]string{"Ready": "False DependencyNotReady: dependency 'NS/base' is not ready"})
	e.wantEvents("Normal DependencyNotReady CheckDependencies: Dependencies do not meet ready condition, retrying in 30s")

	if after != 30*time.Second || e.data("b") != nil {
		t.Errorf("the next look is in %s, applied %v", after, e.data("b"))
	}

	e.ready("base")
	e.ready("app")

	// A new revision goes through the dependency first.
	e.publish("repo", "main@sha1:2", map[string]string{"base/a.yaml": configMap("a", "2"), "app/b.yaml": configMap("b", "2")})

	obj, _ = e.once("app")
	if got := says(obj, meta.ReadyCondition); got != "False DependencyNotReady: dependency 'NS/base' revision is not up to date" {
		t.Errorf("Ready is %q", got)
	}

	e.ready("base")
	e.ready("app")

	if got := e.data("b")["key"]; got != "2" {
		t.Errorf("the object has %q", got)
	}
}

// TestVariableWhileWaiting holds that a variable that changes while health is awaited is applied, with the whole time anew.
func TestVariableWhileWaiting(t *testing.T) {
	e := newEnv(t)
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "vars"}, Data: map[string]string{"TAG": "bad"}})
	e.publish("repo", "main@sha1:1", map[string]string{"app.yaml": deployment("web", "a:${TAG}")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait = true
		s.Timeout = &metav1.Duration{Duration: time.Minute}
		s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "vars"}}}
	})
	e.once("app")
	e.clock.advance(50 * time.Second)

	vars := &corev1.ConfigMap{}
	e.fetch(vars, "vars")
	vars.Data["TAG"] = "good"
	must(t, e.c.Update(t.Context(), vars))

	if _, after := e.once("app"); after < 50*time.Second {
		t.Errorf("the change inherits the deadline of what it replaces: %s", after)
	}

	web := &appsv1.Deployment{}
	if e.fetch(web, "web"); web.Spec.Template.Spec.Containers[0].Image != "a:good" {
		t.Errorf("the object has %q", web.Spec.Template.Spec.Containers[0].Image)
	}
}

// TestDeadline holds that the time for health begins when everything is applied, and anew when somebody asks.
func TestDeadline(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"app.yaml": deployment("web", "a:1")})

	source := &sourcev1.GitRepository{}
	e.fetch(source, "repo")
	must(t, e.store.Discard(source.Status.Artifact))

	missing := source.DeepCopy()
	missing.Status.Artifact.URL = e.serveNothing() + "/none.tar.gz"
	must(t, e.c.Status().Patch(t.Context(), missing, client.MergeFrom(source)))
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait = true
		s.Timeout = &metav1.Duration{Duration: time.Minute}
	})

	if obj, _ := e.once("app"); !strings.Contains(says(obj, meta.ReadyCondition), "ArtifactFailed") {
		t.Fatalf("Ready is %q", says(obj, meta.ReadyCondition))
	}

	e.clock.advance(time.Hour)
	e.publish("repo", "main@sha1:1", map[string]string{"app.yaml": deployment("web", "a:1")})

	if obj, after := e.once("app"); after < 50*time.Second || after > time.Minute {
		t.Errorf("the deadline is in %s: %s", after, says(obj, meta.ReadyCondition))
	}

	e.clock.advance(50 * time.Second)
	e.edit("app", func(k *kustomizev1.Kustomization) {
		k.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	})

	if _, after := e.once("app"); after < 50*time.Second {
		t.Errorf("who asks gets the deadline of before: %s", after)
	}
}
