package kustomize_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
)

func TestKilledBeforeStatus(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)
	e.ready("app")
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	e.lost("app")

	a := &corev1.ConfigMap{}
	e.fetch(a, "a")
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "copy", Labels: a.Labels}})
	e.restart()
	e.publish("repo", "main@sha1:3", map[string]string{"a.yaml": configMap("a", "1")})
	e.ready("app")

	if e.data("b") != nil {
		t.Error("an object that was applied and forgotten is still there")
	}

	if !e.fetch(&corev1.ConfigMap{}, "copy") {
		t.Error("an object with copied labels was deleted")
	}
}

// TestDeletedBeforeStatus holds that a deletion takes along what was applied by a process that was killed before it could
// write that down.
func TestDeletedBeforeStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		before func(e *env)
	}{
		"FirstRun": {"nothing was ever written down", func(*env) {}},
		"NewRevision": {"the source has a revision that the status does not tell of", func(e *env) {
			e.ready("app")
			e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
			e.kustomization("app", nil)
			tc.before(e)
			e.lost("app")

			a := &corev1.ConfigMap{}
			e.fetch(a, "a")
			e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "copy", Labels: a.Labels}})
			e.restart()
			must(t, e.c.Delete(t.Context(), e.get("app")))

			if obj, after := e.once("app"); obj != nil {
				t.Errorf("it is still there, and looked at in %s", after)
			}

			if e.data("a") != nil || e.data("b") != nil {
				t.Errorf("%s: an object that was applied and forgotten is still there", tc.reason)
			}

			if !e.fetch(&corev1.ConfigMap{}, "copy") {
				t.Error("an object with copied labels was deleted")
			}
		})
	}
}

// TestDeletedAfterRestart holds that a deletion looks for nothing that was forgotten where the status tells everything.
func TestDeletedAfterRestart(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)
	e.ready("app")
	e.restart()
	must(t, e.c.Delete(t.Context(), e.get("app")))
	e.counter.Take()
	e.once("app")

	if e.data("a") != nil {
		t.Error("the object is still there")
	}

	if n := e.counter.Take()["list"]; n > 0 {
		t.Errorf("%d kinds were listed", n)
	}
}

// TestStatusLost holds that what was applied is in the inventory even if the status could not be written at first.
func TestStatusLost(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)
	e.ready("app")

	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	e.lost("app")
	e.costs()

	obj, _ := e.once("app")
	if diff := cmp.Diff([]string{"NS_a__ConfigMap", "NS_b__ConfigMap"}, ids(obj)); diff != "" {
		t.Errorf("inventory: -want, +got:\n%s", diff)
	}

	e.wantCosts("the run after a lost status", map[string]int{"engine patch": 1})

	e.publish("repo", "main@sha1:3", map[string]string{"a.yaml": configMap("a", "1")})
	e.ready("app")

	if e.data("b") != nil {
		t.Error("an object that left the set is still there")
	}
}

// TestLeftUnpruned holds that what left the set while nothing was pruned is not taken for something that was forgotten.
func TestLeftUnpruned(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Prune = false })
	e.ready("app")
	e.clock.advance(2 * time.Second)
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "1")})
	e.once("app")
	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Prune = true })
	e.restart()
	e.ready("app")

	if e.data("b") == nil {
		t.Error("it was deleted")
	}
}

// TestLeftByAnother holds the same for what an earlier Kustomization of the name has left.
func TestLeftByAnother(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.DeletionPolicy = kustomizev1.DeletionPolicyOrphan })
	e.ready("app")
	must(t, e.c.Delete(t.Context(), e.get("app")))
	e.once("app")

	left := &corev1.ConfigMap{}
	e.fetch(left, "b")
	e.eventually("the next second begins", func() error {
		if !time.Now().Truncate(time.Second).After(left.CreationTimestamp.Time) {
			return errors.New("it does not")
		}

		return nil
	})
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)
	e.ready("app")

	if e.data("b") == nil {
		t.Error("it was deleted")
	}
}
