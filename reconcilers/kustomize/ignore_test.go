package kustomize_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
)

// TestIgnore holds that drift of what is ignored is left alone and not told, and that other drift is put back.
func TestIgnore(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Ignore = []meta.IgnoreRule{{Paths: []string{"/data/key"}, Target: &meta.Selector{Kind: "ConfigMap", Name: "a"}}}
	})
	e.ready("app")
	e.told()
	e.costs()

	change := func(name string) {
		obj := &corev1.ConfigMap{}
		if !e.fetch(obj, name) {
			t.Fatalf("%s is not there", name)
		}

		obj.Data["key"] = "edited"
		must(t, e.c.Update(t.Context(), obj, client.FieldOwner("somebody")))
	}

	e.calm()
	change("a")
	e.awaken("app", "somebody has an ignored field now")
	e.ready("app")
	e.wantEvents()
	e.wantCosts("ignored drift", map[string]int{"get": 1, "apply": 1})

	change("b")
	e.awaken("app", "drift")
	e.ready("app")
	e.costs()

	if a, b := e.data("a")["key"], e.data("b")["key"]; a != "edited" || b != "1" {
		t.Errorf("a is %q, b is %q", a, b)
	}

	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Ignore = nil })
	e.ready("app")

	if a := e.data("a")["key"]; a != "1" {
		t.Errorf("without the rule, a is %q", a)
	}

	e.told()
	e.edit("app", func(k *kustomizev1.Kustomization) {
		k.Spec.Ignore = []meta.IgnoreRule{{Paths: []string{"data"}}}
	})

	obj, _ := e.once("app")
	wantConditions(t, obj, map[string]string{
		meta.ReadyCondition: `False ReconciliationFailed: invalid ignore rule 1: path "data" is not a JSON pointer: it does not begin with a slash`,
		meta.ReconcilingCondition: `True ProgressingWithRetry: invalid ignore rule 1: path "data" is not a JSON pointer: ` +
			`it does not begin with a slash`,
	})
}
