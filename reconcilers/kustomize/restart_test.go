package kustomize_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
)

// TestRestartInAllStates holds that a process which starts over looks at each object once, and changes nothing: neither what was
// applied, nor a status that is still true, nor a plan; and that the next run costs nothing.
func TestRestartInAllStates(t *testing.T) {
	e := newEnv(t)
	files := map[string]string{
		"ready/a.yaml": configMap("a", "1"), "bad/b.yaml": "kind: {", "held/c.yaml": configMap("c", "1"), "held/x.yaml": configMap("x", "1"),
		"blocked/d.yaml": configMap("d", "1"), "sick/w.yaml": deployment("web", "a:1"), "planned/p.yaml": configMap("p", "1"),
		"refused/r.yaml": configMap("r", "1") + "immutable: perhaps\n", "suspended/s.yaml": configMap("s", "1"),
	}
	states := map[string]struct {
		change func(*kustomizev1.KustomizationSpec)
		want   map[string]int // of the first run
	}{
		"ready":   {nil, map[string]int{"apply": 1}}, // which the API server finds to change nothing
		"held":    {nil, map[string]int{"apply": 1}},
		"bad":     {nil, nil},
		"refused": {nil, map[string]int{"dry-run": 1, "engine patch": 1}}, // it counts its failures
		"blocked": {func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{{Name: "missing"}} }, nil},
		"sick": {func(s *kustomizev1.KustomizationSpec) {
			s.Wait, s.Timeout = true, &metav1.Duration{Duration: time.Hour}
		}, map[string]int{"apply": 1}},
		"planned":   {func(s *kustomizev1.KustomizationSpec) { s.Plan = kustomizev1.PlanManual }, map[string]int{"dry-run": 1, "get": 2}},
		"suspended": {nil, nil},
	}

	e.publish("repo", "main@sha1:1", files)

	for name, state := range states {
		e.kustomization(name, func(s *kustomizev1.KustomizationSpec) {
			at(name)(s)

			if state.change != nil {
				state.change(s)
			}
		})
		e.once(name)
	}

	e.edit("suspended", func(k *kustomizev1.Kustomization) { k.Spec.Suspend = true })
	delete(files, "held/x.yaml")
	e.publish("repo", "main@sha1:2", files)

	for range 2 {
		for name := range states {
			e.once(name)
		}
	}

	if e.held("held") == "" {
		t.Fatal("nothing is held")
	}

	before := map[string]string{}
	for name := range states {
		before[name] = fmt.Sprint(e.get(name).Status.Conditions, e.get(name).Status.Inventory)
	}

	e.told()
	e.restart()
	e.costs()

	for name, state := range states {
		e.once(name)
		e.wantCosts("the first run of one that is "+name, state.want)
		e.once(name)

		if name != "planned" && name != "refused" { // they look at what they would change each time
			e.wantCosts("the second run of one that is "+name, nil)
		}

		e.costs()

		if now := fmt.Sprint(e.get(name).Status.Conditions, e.get(name).Status.Inventory); now != before[name] {
			t.Errorf("%s: the restart changes it:\n%s\n%s", name, before[name], now)
		}
	}

	for _, event := range e.told() {
		if !strings.Contains(event, "waits for approval") {
			t.Errorf("the restart tells of %q", event)
		}
	}
}
