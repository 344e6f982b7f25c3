package kustomize_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/apply"
)

// TestNothingIsLeft lets Kustomizations in all states come and go, and looks for them in every map that the controller, the family,
// the applier, the hub and the remote clusters have.
func TestNothingIsLeft(t *testing.T) {
	metrics, err := apply.NewMetrics(prometheus.NewRegistry())
	must(t, err)

	e := newEnv(t)
	e.metrics = metrics
	e.restart()
	allow(t, e.c, e.namespace, "deployer")
	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "deployer"}})

	files := map[string]string{
		"good/a.yaml": configMap("a", "1"), "bad/b.yaml": "kind: {", "old/c.yaml": configMap("c", "1"), "old/x.yaml": configMap("x", "1"),
		"never/d.yaml": configMap("d", "1"), "sick/w.yaml": deployment("web", "a:1"), "plan/p.yaml": configMap("p", "1"),
		"as/i.yaml": configMap("i", "1"), "refused/r.yaml": configMap("r", "1") + "immutable: perhaps\n",
	}
	states := map[string]func(*kustomizev1.KustomizationSpec){
		"good": nil, "bad": nil, "old": nil, "refused": nil,
		"never": func(s *kustomizev1.KustomizationSpec) {
			s.DependsOn = []meta.DependencyReference{{Name: "missing"}}
		},
		"sick": func(s *kustomizev1.KustomizationSpec) { s.Wait = true },
		"plan": func(s *kustomizev1.KustomizationSpec) { s.Plan = kustomizev1.PlanManual },
		"as":   func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "deployer" },
		"away": func(s *kustomizev1.KustomizationSpec) { s.KubeConfig = secretRef("missing", "") },
	}

	for round := range 3 {
		e.publish("repo", fmt.Sprintf("main@sha1:%d0", round), files)

		for name, change := range states {
			e.kustomization(name, func(s *kustomizev1.KustomizationSpec) {
				s.Path = name
				if change != nil {
					change(s)
				}
			})
			e.once(name)
		}

		e.ready("good")
		e.ready("old")

		fewer := map[string]string{}
		for name, content := range files {
			if name != "old/x.yaml" {
				fewer[name] = content
			}
		}

		e.patch(&corev1.ConfigMap{}, "a", `{"data":{"key":"edited"}}`)
		e.publish("repo", fmt.Sprintf("main@sha1:%d1", round), fewer)

		for range 2 {
			for name := range states {
				e.once(name)
			}
		}

		for name := range states {
			must(t, e.c.Delete(t.Context(), e.get(name)))
		}

		for left := len(states); left > 0; e.clock.advance(time.Minute) {
			left = 0

			for name := range states {
				if obj, _ := e.once(name); obj != nil {
					left++
				}
			}

			if time.Until(e.clock.now()) > time.Hour*time.Duration(round+1) {
				t.Fatalf("%d do not go", left)
			}
		}
	}

	e.hub.Close() // nothing changes from now on

	w := walk{needle: e.namespace, seen: map[uintptr]bool{}}
	for name, root := range map[string]any{
		"runner": e.runner, "family": e.deps.Family, "applier": e.deps.Applier, "hub": e.hub, "remote": e.deps.Remote, "access": e.factory,
		"metrics": metrics,
	} {
		w.look(name, reflect.ValueOf(root))
	}

	if w.maps < 20 {
		t.Errorf("only %d maps were looked at", w.maps)
	}

	slices.Sort(w.found)

	for _, found := range w.found {
		t.Errorf("left: %s", found)
	}
}

// walk looks for a text in the keys of all maps that can be reached, in the types of this module.
type walk struct {
	needle string
	seen   map[uintptr]bool
	maps   int
	found  []string
}

func (w *walk) look(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || w.seen[v.Pointer()] || !ours(v.Type().Elem()) {
			return
		}

		w.seen[v.Pointer()] = true
		w.look(path, v.Elem())
	case reflect.Interface:
		if !v.IsNil() {
			w.look(path, v.Elem())
		}
	case reflect.Struct:
		if !ours(v.Type()) {
			return
		}

		for i := range v.NumField() {
			w.look(path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			w.look(path+"[]", v.Index(i))
		}
	case reflect.Map:
		w.maps++

		for entries := v.MapRange(); entries.Next(); {
			if key := fmt.Sprint(entries.Key()); strings.Contains(key, w.needle) {
				w.found = append(w.found, path+": "+key)
			}

			w.look(path+"{}", entries.Value())
		}
	default:
	}
}

// ours tells whether the type is of this module, or has no name.
func ours(t reflect.Type) bool {
	return t.Kind() != reflect.Struct || t.PkgPath() == "" || strings.HasPrefix(t.PkgPath(), "github.com/weir-dev/weir/")
}
