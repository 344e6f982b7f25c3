package kustomize_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
)

// TestLife takes a Kustomization from its first apply to a steady state, a change, a prune, drift and a restart, and holds
// what each of them costs.
func TestLife(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{
		"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1"), "c.yaml": configMap("c", "1"),
	})
	e.kustomization("app", nil)

	obj := e.ready("app")
	wantConditions(t, obj, map[string]string{"Ready": "True ReconciliationSucceeded: Applied revision: main@sha1:1"})
	e.wantEvents(
		"Normal Progressing Apply: ConfigMap/NS/a created\nConfigMap/NS/b created\nConfigMap/NS/c created",
		"Normal ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s",
	)

	if diff := cmp.Diff([]string{"NS_a__ConfigMap", "NS_b__ConfigMap", "NS_c__ConfigMap"}, ids(obj)); diff != "" {
		t.Errorf("inventory: -want, +got:\n%s", diff)
	}

	status := obj.Status
	if status.ObservedGeneration != obj.Generation || status.LastAppliedRevision != "main@sha1:1" || status.LastAttemptedRevision != "main@sha1:1" {
		t.Errorf("status is %+v", status)
	}

	first := status.History
	if len(first) != 1 || first[0].LastReconciledStatus != "ReconciliationSucceeded" || first[0].TotalReconciliations != 1 ||
		first[0].Metadata["revision"] != "main@sha1:1" {
		t.Errorf("history is %+v", first)
	}

	a := &corev1.ConfigMap{}
	if !e.fetch(a, "a") || a.Labels[kustomizev1.OwnerNameLabel] != "app" || a.Labels[kustomizev1.OwnerNamespaceLabel] != e.namespace ||
		len(a.ManagedFields) != 1 || a.ManagedFields[0].Manager != "kustomize-controller" || a.ManagedFields[0].Operation != "Apply" {
		t.Errorf("applied object is %+v", a)
	}

	e.phase("Steady", func(t *testing.T) {
		e.costs()

		for range 3 {
			_, after := e.once("app")
			if after < 9*time.Minute || after > 10*time.Minute {
				t.Errorf("next run in %s", after)
			}
		}

		e.wantCosts("three runs in which nothing changed", nil)
		e.wantEvents()
	})

	e.phase("Change", func(t *testing.T) {
		e.publish("repo", "main@sha1:2", map[string]string{
			"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "2"), "c.yaml": configMap("c", "1"),
		})
		e.costs()
		obj := e.ready("app")

		e.wantCosts("a change of one object of three", map[string]int{"apply": 1, "engine patch": 1})
		e.wantEvents(
			"Normal Progressing Apply: ConfigMap/NS/b configured",
			"Normal ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s",
		)
		wantConditions(t, obj, map[string]string{"Ready": "True ReconciliationSucceeded: Applied revision: main@sha1:2"})

		if got := e.data("b")["key"]; got != "2" {
			t.Errorf("the object has %q", got)
		}

		if h := obj.Status.History; len(h) != 2 || h[0].Metadata["revision"] != "main@sha1:2" || h[1].Digest != first[0].Digest {
			t.Errorf("history is %+v", h)
		}
	})

	e.phase("SameContent", func(t *testing.T) {
		e.publish("repo", "main@sha1:3", map[string]string{
			"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "2"), "c.yaml": configMap("c", "1"),
		})
		e.costs()
		obj := e.ready("app")
		e.wantCosts("a revision that changes nothing", map[string]int{"engine patch": 1})

		if h := obj.Status.History; len(h) != 2 || h[0].TotalReconciliations != 2 || h[0].Metadata["revision"] != "main@sha1:3" {
			t.Errorf("history is %+v", h)
		}

		e.told()
	})

	e.phase("Prune", func(t *testing.T) {
		e.publish("repo", "main@sha1:4", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "2")})
		e.costs()
		obj := e.ready("app")
		e.wantCosts("an object that left the set", map[string]int{"delete": 1, "engine patch": 1})
		e.wantEvents(
			"Normal Progressing Prune: ConfigMap/NS/c deleted",
			"Normal ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s",
		)

		if e.data("c") != nil {
			t.Error("the object is still there")
		}

		if diff := cmp.Diff([]string{"NS_a__ConfigMap", "NS_b__ConfigMap"}, ids(obj)); diff != "" {
			t.Errorf("inventory: -want, +got:\n%s", diff)
		}
	})

	e.phase("Drift", func(t *testing.T) {
		e.costs()
		e.calm()

		a := &corev1.ConfigMap{}
		e.fetch(a, "a")
		a.Data["key"] = "by hand"
		must(t, e.c.Update(t.Context(), a))
		must(t, e.c.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: b(e)}))

		e.awaken("app", "somebody changed an object")
		e.eventually("the drift is put back", func() error {
			e.once("app")

			return wants("a", e.data("a")["key"], "1", "b", e.data("b")["key"], "2")
		})

		for verb := range e.costs() {
			if verb == "engine patch" {
				t.Error("putting back drift changes the status")
			}
		}

		for _, event := range e.told() {
			const a = "\nConfigMap/NS/a drift corrected: .data.key, changed by \"kustomize.test\""
			const b = "\nConfigMap/NS/b drift corrected: it was deleted"

			if event != "Normal Progressing Apply: ConfigMap/NS/a configured"+a && event != "Normal Progressing Apply: ConfigMap/NS/b created"+b &&
				event != "Normal Progressing Apply: ConfigMap/NS/a configured\nConfigMap/NS/b created"+a+b {
				t.Errorf("event %q", event)
			}
		}
	})

	e.phase("Restart", func(t *testing.T) {
		e.restart()
		e.costs()
		e.ready("app")

		got := e.costs()
		if got["apply"] != 0 || got["engine patch"] != 0 || got["delete"] != 0 {
			t.Errorf("a restart writes: %v", got)
		}

		e.wantEvents()
		e.once("app")
		e.wantCosts("the run after the first one", nil)
	})

	e.phase("Asked", func(t *testing.T) {
		e.edit("app", func(k *kustomizev1.Kustomization) {
			k.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
		})
		e.costs()
		obj := e.ready("app")
		e.wantCosts("a request of a person", map[string]int{"dry-run": 2, "engine patch": 1})
		e.wantEvents("Normal ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s")

		if obj.Status.LastHandledReconcileAt != "now" {
			t.Errorf("the request is not answered: %+v", obj.Status)
		}
	})

	e.phase("Suspended", func(t *testing.T) {
		e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Suspend = true })
		e.publish("repo", "main@sha1:5", map[string]string{"a.yaml": configMap("a", "5")})
		e.costs()
		e.once("app")
		e.wantCosts("a suspended object", nil)

		if got := e.data("a")["key"]; got != "1" {
			t.Errorf("the object has %q", got)
		}
	})
}
