package kustomize_test

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

func heldJob(image string) string {
	return `apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: NS, finalizers: [example.com/held]}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: "` + image + `"}]}}}
`
}

// letGo takes the finalizer off the job.
func (e *env) letGo() {
	e.t.Helper()

	job := &batchv1.Job{}
	if !e.fetch(job, "job") {
		e.t.Fatal("there is no job")
	}

	job.Finalizers = nil
	must(e.t, e.c.Update(e.t.Context(), job))
}

// TestApplyGivesTheWorkerBack holds that a forced recreation occupies no worker, and is told as one apply.
func TestApplyGivesTheWorkerBack(t *testing.T) {
	e := newEnv(t, func(d *kustomize.Deps) { d.Blink = time.Millisecond })
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "job.yaml": heldJob("main:1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Force = true })
	e.ready("app")
	e.told()

	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2"), "job.yaml": heldJob("main:2")})
	e.costs()

	obj, after := e.once("app")
	wantConditions(t, obj, map[string]string{
		meta.ReadyCondition:       "Unknown Progressing: Reconciliation in progress",
		meta.ReconcilingCondition: "True Progressing: Detecting drift for revision main@sha1:2 with a timeout of 9m30s",
	})

	if after <= 0 || after > time.Minute {
		t.Errorf("the next run is in %s", after)
	}

	if got := e.data("a")["key"]; got != "2" {
		t.Errorf("a is %q before the job is gone", got)
	}

	e.wantEvents()
	e.wantCosts("a recreation that has to wait", map[string]int{"dry-run": 2, "apply": 1, "delete": 1, "engine patch": 1})

	e.once("app")
	e.wantCosts("a run that finds nothing new", nil)

	e.letGo()

	obj = e.ready("app")
	e.wantEvents("Normal Progressing Apply: ConfigMap/NS/a configured\nJob/NS/job created",
		"Normal ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s")
	e.wantCosts("the rest", map[string]int{"apply": 1, "engine patch": 1})

	if !engine.IsTrue(obj, meta.ReadyCondition) || obj.Status.LastAppliedRevision != "main@sha1:2" {
		t.Errorf("Ready is %q", says(obj, meta.ReadyCondition))
	}

	e.letGo()
}

// TestApplyIsSuperseded holds that a new revision is picked up while an apply waits.
func TestApplyIsSuperseded(t *testing.T) {
	e := newEnv(t, func(d *kustomize.Deps) { d.Blink = time.Millisecond })
	e.publish("repo", "main@sha1:1", map[string]string{"job.yaml": heldJob("main:1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Force = true })
	e.ready("app")
	e.publish("repo", "main@sha1:2", map[string]string{"job.yaml": heldJob("main:2")})
	e.once("app")
	e.publish("repo", "main@sha1:3", map[string]string{"a.yaml": configMap("a", "3")})

	if obj := e.ready("app"); obj.Status.LastAppliedRevision != "main@sha1:3" || e.data("a")["key"] != "3" {
		t.Errorf("applied is %q", obj.Status.LastAppliedRevision)
	}

	e.letGo()

	if e.fetch(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{}}, "job") {
		t.Error("the job is still there")
	}
}
