package kustomize_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

func TestDeletionPolicies(t *testing.T) {
	cases := map[string]struct {
		reason  string
		policy  string
		prune   bool
		suspend bool
		deleted bool
	}{
		"mirror":    {"By default objects go if prune is set.", "", true, false, true},
		"keep":      {"They stay if it is not.", "", false, false, false},
		"delete":    {"They go without prune, if the policy says so.", kustomizev1.DeletionPolicyDelete, false, false, true},
		"orphan":    {"They stay with prune, if the policy says so.", kustomizev1.DeletionPolicyOrphan, true, false, false},
		"suspended": {"They stay if the Kustomization is suspended.", kustomizev1.DeletionPolicyDelete, true, true, false},
	}

	e := newEnv(t)

	for name, tc := range cases {
		e.publish("repo-"+name, "main@sha1:1", map[string]string{
			"a.yaml":    configMap("a-"+name, "1"),
			"keep.yaml": strings.Replace(configMap("k-"+name, "1"), "metadata:\n", "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\n", 1),
		})
		e.kustomization(name, func(s *kustomizev1.KustomizationSpec) {
			s.SourceRef.Name = "repo-" + name
			s.Prune, s.DeletionPolicy = tc.prune, tc.policy
		})
		e.ready(name)
		e.edit(name, func(k *kustomizev1.Kustomization) { k.Spec.Suspend = tc.suspend })
		must(t, e.c.Delete(t.Context(), e.get(name)))
		e.told()

		if obj, _ := e.once(name); obj != nil {
			t.Errorf("%s: %s\nthe Kustomization stays: %s", name, tc.reason, says(obj, meta.ReadyCondition))
		}

		if got := e.data("a-"+name) == nil; got != tc.deleted {
			t.Errorf("%s: %s\ndeleted: %v, want %v", name, tc.reason, got, tc.deleted)
		}

		if e.data("k-"+name) == nil {
			t.Errorf("%s: an object that is not to be pruned is gone", name)
		}

		if tc.deleted {
			e.wantEvents("Normal ReconciliationSucceeded Finalize: ConfigMap/NS/k-" + name + " skipped\nConfigMap/NS/a-" + name + " deleted")
		} else {
			e.wantEvents()
		}
	}
}

func TestWaitForTermination(t *testing.T) {
	e := newEnv(t)
	held := strings.Replace(configMap("held", "1"), "metadata:\n", "metadata:\n  finalizers: [example.org/hold]\n", 1)

	for _, name := range []string{"patient", "late"} {
		e.publish("repo-"+name, "main@sha1:1", map[string]string{"a.yaml": strings.ReplaceAll(held, "held", name)})
		e.kustomization(name, func(s *kustomizev1.KustomizationSpec) {
			s.SourceRef.Name, s.DeletionPolicy = "repo-"+name, kustomizev1.DeletionPolicyWaitForTermination
			s.Timeout = &metav1.Duration{Duration: time.Minute}
		})
		e.ready(name)
		must(t, e.c.Delete(t.Context(), e.get(name)))
		e.told()

		obj, after := e.once(name)
		if obj == nil || after <= 0 || after > time.Minute {
			t.Fatalf("the Kustomization does not wait for its objects: %v", after)
		}

		if !engine.IsTrue(obj, meta.ReconcilingCondition) {
			t.Errorf("Reconciling is %q", says(obj, meta.ReconcilingCondition))
		}

		e.wantEvents("Normal ReconciliationSucceeded Finalize: ConfigMap/NS/" + name + " deleted")
	}

	e.phase("Gone", func(t *testing.T) {
		e.calm()

		a := &corev1.ConfigMap{}
		e.fetch(a, "patient")
		before := a.DeepCopy()
		a.Finalizers = nil
		must(t, e.c.Patch(t.Context(), a, client.MergeFrom(before)))
		e.awaken("patient", "its objects are gone")

		if obj, _ := e.once("patient"); obj != nil {
			t.Errorf("the Kustomization stays: %s", says(obj, meta.ReadyCondition))
		}

		e.wantEvents()
	})

	e.phase("Timeout", func(t *testing.T) {
		e.clock.advance(time.Minute)

		if obj, _ := e.once("late"); obj != nil {
			t.Errorf("the Kustomization stays: %s", says(obj, meta.ReadyCondition))
		}

		e.wantEvents("Warning Progressing WaitForTermination: failed to wait for resources termination")
	})
}

// TestRemovedAgain holds that a deletion which is taken up again, because the finalizer could not be removed at first, waits
// for its objects no more than before.
func TestRemovedAgain(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{
		"a.yaml": strings.Replace(configMap("a", "1"), "metadata:\n", "metadata:\n  finalizers: [example.org/hold]\n", 1),
	})
	e.kustomization("app", nil)
	e.ready("app")
	must(t, e.c.Delete(t.Context(), e.get("app")))
	e.told()
	e.interrupted("app")

	if obj, after := e.once("app"); obj != nil {
		t.Errorf("the Kustomization waits %s: %s", after, says(obj, meta.ReconcilingCondition))
	}

	e.wantEvents("Normal ReconciliationSucceeded Finalize: ConfigMap/NS/a deleted")
}

// TestRemoveSelf holds that a Kustomization which applied itself does not wait for its own end.
func TestRemoveSelf(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"app.yaml": `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app, namespace: NS}
spec:
  interval: 10m0s
  prune: true
  deletionPolicy: WaitForTermination
  path: ./
  sourceRef: {kind: GitRepository, name: repo}
`})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.DeletionPolicy = kustomizev1.DeletionPolicyWaitForTermination
	})
	e.ready("app")
	must(t, e.c.Delete(t.Context(), e.get("app")))

	if obj, after := e.once("app"); obj != nil {
		t.Errorf("the Kustomization waits %s: %s", after, says(obj, meta.ReconcilingCondition))
	}
}
