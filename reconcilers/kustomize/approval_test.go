package kustomize_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

func secret(name, value string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: NS}\nstringData: {password: " + value + "}\n"
}

// approve says that the plan of the digest may be applied.
func (e *env) approve(name, digest string) {
	e.t.Helper()
	e.edit(name, func(k *kustomizev1.Kustomization) {
		k.Annotations = map[string]string{kustomizev1.ApprovedPlanAnnotation: digest}
	})
}

// wantPending runs a Kustomization that waits for an approval, and returns the digest of its plan.
func (e *env) wantPending(name, plan string) string {
	e.t.Helper()

	obj, _ := e.once(name)
	data := e.data(name + "-plan")
	digest := data["digest"]

	wantConditions(e.t, obj, map[string]string{
		meta.ReadyCondition:       "Unknown Progressing: Reconciliation in progress",
		meta.ReconcilingCondition: "True Progressing: Waiting for the approval of plan " + digest + " in ConfigMap 'NS/app-plan'",
	})

	if diff := cmp.Diff(plan, strings.ReplaceAll(data["plan"], e.namespace, "NS")); diff != "" {
		e.t.Errorf("plan: -want, +got:\n%s", diff)
	}

	return digest
}

func TestPlan(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1"), "s.yaml": secret("s", "hunter2")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Plan = kustomizev1.PlanNever })
	e.ready("app")
	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Plan = kustomizev1.PlanManual })
	e.ready("app") // nothing changes, so there is nothing to approve

	if e.data("app-plan") != nil {
		t.Error("there is a plan that changes nothing")
	}

	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2"), "c.yaml": configMap("c", "2"), "s.yaml": secret("s", "swordfish")})
	e.told()

	const plan = `ConfigMap/NS/a configured
  ~ .data.key: "1" -> "2"
ConfigMap/NS/c created
  + .apiVersion: "v1"
  + .data.key: "2"
  + .kind: "ConfigMap"
  + .metadata.labels.kustomize.toolkit.fluxcd.io/name: "app"
  + .metadata.labels.kustomize.toolkit.fluxcd.io/namespace: "NS"
  + .metadata.name: "c"
  + .metadata.namespace: "NS"
Secret/NS/s configured
  ~ .data.password: *** -> ***
ConfigMap/NS/b deleted
`

	digest := e.wantPending("app", plan)
	e.wantEvents("Normal Progressing Plan: Plan " + digest + " waits for approval: 1 created, 2 configured, 1 deleted")

	e.phase("Waiting", func(t *testing.T) {
		e.wantPending("app", plan)
		e.wantEvents()
		e.approve("app", "sha256:0")
		e.wantPending("app", plan)

		if e.data("a")["key"] != "1" || e.data("b") == nil || e.data("c") != nil {
			t.Error("something was changed without approval")
		}
	})

	e.phase("AnotherPlan", func(t *testing.T) {
		b := &corev1.ConfigMap{}
		e.fetch(b, "a")
		b.Data["key"] = "edited"
		must(t, e.c.Update(t.Context(), b, client.FieldOwner("somebody")))
		e.approve("app", digest)

		other := e.wantPending("app", strings.Replace(plan, `"1" -> "2"`, `"edited" -> "2"`, 1))
		if other == digest {
			t.Error("another plan has the same digest")
		}

		e.told()
		e.approve("app", other)
	})

	obj := e.ready("app")
	e.wantEvents("Normal Progressing Apply: ConfigMap/NS/a configured\nConfigMap/NS/c created\nSecret/NS/s configured",
		"Normal Progressing Prune: ConfigMap/NS/b deleted",
		"Normal ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s")

	if obj.Status.LastAppliedRevision != "main@sha1:2" || e.data("b") != nil || e.data("c")["key"] != "2" {
		t.Errorf("applied is %q", obj.Status.LastAppliedRevision)
	}

	e.phase("Drift", func(t *testing.T) {
		e.calm()
		must(t, e.c.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "c"}}))
		e.awaken("app", "drift")

		if obj, _ := e.once("app"); engine.IsTrue(obj, meta.ReadyCondition) || e.data("c") != nil {
			t.Error("drift is put back without approval")
		}
	})

	e.phase("NotAPlan", func(t *testing.T) {
		must(t, e.c.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "app-plan"}}))
		e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "app-plan"}})

		obj, _ := e.once("app")
		if got := says(obj, meta.ReadyCondition); got != "False ReconciliationFailed: write the plan: ConfigMap/NS/app-plan exists, and is not a plan" {
			t.Errorf("Ready is %q", got)
		}
	})
}

// TestPlanGoesOn holds that an approved apply which has to wait goes on without another approval.
func TestPlanGoesOn(t *testing.T) {
	e := newEnv(t, func(d *kustomize.Deps) { d.Blink = 1 })
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "job.yaml": heldJob("main:1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Force, s.Plan = true, kustomizev1.PlanManual })
	e.once("app")
	e.approve("app", e.data("app-plan")["digest"])
	e.ready("app")

	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2"), "job.yaml": heldJob("main:2")})
	e.once("app")

	if plan := e.data("app-plan")["plan"]; !strings.Contains(plan, "/job created") {
		t.Errorf("the plan does not tell of the recreation: %s", plan)
	}

	e.approve("app", e.data("app-plan")["digest"])
	e.once("app")

	if e.data("a")["key"] != "2" {
		t.Error("the approved plan is not applied")
	}

	e.letGo()

	if obj := e.ready("app"); obj.Status.LastAppliedRevision != "main@sha1:2" {
		t.Errorf("applied is %q", obj.Status.LastAppliedRevision)
	}

	e.letGo()
}

// TestPlanRestart holds that an approval outlives the process: what was approved is applied, and nothing else.
func TestPlanRestart(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "s.yaml": secret("s", "hunter2")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Plan = kustomizev1.PlanManual })
	e.once("app")
	digest := e.data("app-plan")["digest"]
	e.approve("app", digest)
	e.restart()

	if e.ready("app"); e.data("a")["key"] != "1" {
		t.Error("what was approved before a restart is not applied after it")
	}

	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2"), "s.yaml": secret("s", "hunter2")})
	e.once("app")
	digest = e.data("app-plan")["digest"]
	e.approve("app", digest)

	a := &corev1.ConfigMap{}
	e.fetch(a, "a")
	a.Data["key"] = "edited"
	must(t, e.c.Update(t.Context(), a, client.FieldOwner("somebody")))
	e.restart()

	if obj, _ := e.once("app"); engine.IsTrue(obj, meta.ReadyCondition) || e.data("a")["key"] != "edited" || e.data("app-plan")["digest"] == digest {
		t.Error("something else than was approved is applied after a restart")
	}

	// With another key, as when it was lost, nothing is approved any more.
	e.approve("app", e.data("app-plan")["digest"])
	e.deps.PlanKey = func(context.Context) ([]byte, error) { return []byte("another"), nil }
	e.restart()

	if e.once("app"); e.data("a")["key"] != "edited" {
		t.Error("an approval that nobody can check is taken for one")
	}

	for name, key := range map[string]func(context.Context) ([]byte, error){
		"get the key for the digests of plans: no":                            func(context.Context) ([]byte, error) { return nil, errors.New("no") },
		"get the key for the digests of plans: it is empty":                   func(context.Context) ([]byte, error) { return nil, nil },
		"spec.plan is not possible: there is no key for the digests of plans": nil,
	} {
		e.deps.PlanKey = key
		e.restart()

		obj, _ := e.once("app")
		if got, want := says(obj, meta.ReadyCondition), "False ReconciliationFailed: "+name; got != want {
			t.Errorf("Ready is %q, want %q", got, want)
		}
	}
}

// TestPlanOfAnother holds that equal plans of two Kustomizations have digests that do not show it.
func TestPlanOfAnother(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"s.yaml": secret("s", "hunter2")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Plan = kustomizev1.PlanManual })
	e.once("app")
	first := e.data("app-plan")["digest"]
	must(t, e.c.Delete(t.Context(), e.get("app")))
	e.run("app", "gone", func(obj *kustomizev1.Kustomization) bool { return obj == nil })
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Plan = kustomizev1.PlanManual })
	must(t, client.IgnoreNotFound(e.c.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "app-plan"}})))
	e.once("app")

	if second := e.data("app-plan")["digest"]; first == "" || first == second {
		t.Errorf("the digests are %q and %q", first, second)
	}
}

// TestPlanEditedMeanwhile holds that what somebody changes while an approved apply waits is not put back without approval.
func TestPlanEditedMeanwhile(t *testing.T) {
	e := newEnv(t, func(d *kustomize.Deps) { d.Blink = 1 })
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "job.yaml": heldJob("main:1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Force, s.Plan = true, kustomizev1.PlanManual })
	e.once("app")
	e.approve("app", e.data("app-plan")["digest"])
	e.ready("app")
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2"), "job.yaml": heldJob("main:2")})
	e.once("app")
	e.approve("app", e.data("app-plan")["digest"])
	e.once("app") // a is applied, and the job waits for its end

	a := &corev1.ConfigMap{}
	e.fetch(a, "a")
	a.Data["key"] = "edited"
	must(t, e.c.Update(t.Context(), a, client.FieldOwner("somebody")))
	e.letGo()
	e.once("app")
	e.once("app")

	if got := e.data("a")["key"]; got != "edited" {
		t.Errorf("a is %q: it was changed without approval", got)
	}

	e.approve("app", e.data("app-plan")["digest"])

	if e.ready("app"); e.data("a")["key"] != "2" {
		t.Error("what was approved is not applied")
	}

	e.letGo()
}
