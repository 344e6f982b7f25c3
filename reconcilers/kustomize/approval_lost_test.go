package kustomize_test

import (
	"strings"
	"testing"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
)

// TestPlanOfWhatWasForgotten holds that nothing is deleted without approval: what was applied and is in no inventory, as after a
// crash, is found by the apply that was approved, and so is in no plan yet.
func TestPlanOfWhatWasForgotten(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)
	e.ready("app")
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "2")})
	e.lost("app")
	e.restart()

	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Plan = kustomizev1.PlanManual })
	e.publish("repo", "main@sha1:3", map[string]string{"a.yaml": configMap("a", "3")})
	e.once("app")

	plan := e.data("app-plan")
	if !strings.Contains(plan["plan"], "/a configured") || strings.Contains(plan["plan"], "/b deleted") {
		t.Fatalf("the plan is %v", plan)
	}

	e.approve("app", plan["digest"])
	e.once("app")
	e.once("app")

	if got := e.data("a")["key"]; got != "3" {
		t.Errorf("a is %q: what was approved is not applied", got)
	}

	if e.data("b") == nil {
		t.Fatal("what is in no plan is deleted")
	}

	again := e.data("app-plan")
	if got := strings.ReplaceAll(again["plan"], e.namespace, "NS"); got != "ConfigMap/NS/b deleted\n" {
		t.Fatalf("the next plan is %q", got)
	}

	e.approve("app", again["digest"])
	e.ready("app")

	if e.data("b") != nil {
		t.Error("what was approved is not deleted")
	}
}
