package kustomize_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// patch changes an object of the namespace as somebody else.
func (e *env) patch(obj client.Object, name, patch string) {
	e.t.Helper()
	obj.SetName(name)
	obj.SetNamespace(e.namespace)
	must(e.t, e.c.Patch(e.t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody")))
}

const dressed = `apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: NS, labels: {tier: one}, annotations: {note: one}}
data: {key: "1"}
`

// TestDrift holds that whatever somebody does to what was applied is put back at the event of it, and told with the fields, also
// while something is awaited.
func TestDrift(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": dressed, "app.yaml": deployment("web", "a:1")})
	e.kustomization("app", nil)
	e.ready("app")

	recreate := func() {
		a := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "a"}}
		must(t, e.c.Delete(t.Context(), a))
		e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "a", Labels: map[string]string{
			"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": e.namespace,
		}}, Data: map[string]string{"key": "other"}})
	}

	const put = "Normal Progressing Apply: ConfigMap/NS/a configured\nConfigMap/NS/a drift corrected: "

	steps := []struct {
		name   string
		change func()
		want   string // how the event begins
	}{
		{"a value", func() { e.patch(&corev1.ConfigMap{}, "a", `{"data":{"key":"x"}}`) }, put + `.data.key, changed by "somebody"`},
		{"a value that is removed", func() { e.patch(&corev1.ConfigMap{}, "a", `{"data":{"key":null}}`) }, put + `.data.key`},
		{"a label", func() { e.patch(&corev1.ConfigMap{}, "a", `{"metadata":{"labels":{"tier":"two"}}}`) },
			put + `.metadata.labels.tier, changed by "somebody"`},
		{"an annotation", func() { e.patch(&corev1.ConfigMap{}, "a", `{"metadata":{"annotations":{"note":null}}}`) }, put + `.metadata.annotations.note`},
		{"another object of the name", recreate, put},
		{"a deletion", func() {
			must(t, e.c.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "a"}}))
		}, "Normal Progressing Apply: ConfigMap/NS/a created\nConfigMap/NS/a drift corrected: it was deleted"},
	}

	check := func(wanted func(*kustomizev1.Kustomization) bool) {
		t.Helper()

		for _, step := range steps {
			e.told()
			e.calm()
			step.change()
			e.awaken("app", step.name)

			a := &corev1.ConfigMap{}

			var events []string

			e.run("app", "corrected: "+step.name, func(obj *kustomizev1.Kustomization) bool {
				events = append(events, e.told()...)
				*a = corev1.ConfigMap{}

				return e.fetch(a, "a") && a.Data["key"] == "1" && a.Labels["tier"] == "one" && a.Annotations["note"] == "one" && wanted(obj)
			})

			if all := strings.Join(events, "\n"); !strings.Contains(all, step.want) {
				t.Errorf("%s: the events are\n%s\nwant %s", step.name, all, step.want)
			}

			e.clock.advance(0)
		}
	}

	check(func(obj *kustomizev1.Kustomization) bool { return engine.IsTrue(obj, "Ready") })

	// A wait is not over when something is put back, and does not keep it from being put back.
	fresh := newEnv(t)
	e = fresh
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": dressed, "app.yaml": deployment("web", "a:1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	e.run("app", "waiting", func(*kustomizev1.Kustomization) bool { return e.data("a") != nil })
	check(func(obj *kustomizev1.Kustomization) bool {
		return strings.HasPrefix(says(obj, "Reconciling"), "True Progressing: Running health checks")
	})
}

// TestEditsDuringApply holds that what is edited while an apply is under way is put back in the end, whichever came first.
func TestEditsDuringApply(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:0", map[string]string{"a.yaml": configMap("a", "0"), "b.yaml": configMap("b", "0")})
	e.kustomization("app", nil)
	e.ready("app")

	for n := 1; n <= 4; n++ { // fewer than a fight takes
		e.publish("repo", fmt.Sprint("main@sha1:", n), map[string]string{"a.yaml": configMap("a", fmt.Sprint(n)), "b.yaml": configMap("b", fmt.Sprint(n))})

		var edits sync.WaitGroup

		edits.Go(func() {
			a := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "a"}}
			if err := e.c.Patch(t.Context(), a, client.RawPatch(types.MergePatchType, []byte(`{"data":{"key":"edited"}}`)), client.FieldOwner("somebody")); err != nil {
				t.Error(err)
			}
		})
		e.once("app")
		edits.Wait()
		e.run("app", "as desired", func(obj *kustomizev1.Kustomization) bool {
			return e.data("a")["key"] == fmt.Sprint(n) && e.data("b")["key"] == fmt.Sprint(n) && engine.IsTrue(obj, "Ready")
		})
	}
}

// TestSecretValuesNeverAppear plants values in Secrets, lets them drift, be fought over, planned, refused and approved, and looks
// for them in all that anybody may read.
func TestSecretValuesNeverAppear(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := apply.NewMetrics(registry)
	must(t, err)

	var mu sync.Mutex

	var logs strings.Builder

	log := funcr.New(func(prefix, args string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(&logs, prefix, args)
	}, funcr.Options{Verbosity: 10})

	e := newEnv(t)
	e.metrics = metrics
	e.restart()

	var events []string

	run := func() *kustomizev1.Kustomization {
		t.Helper()

		_, err := e.runner.Reconcile(logf.IntoContext(t.Context(), log), reconcile.Request{
			NamespacedName: types.NamespacedName{Namespace: e.namespace, Name: "app"},
		})
		must(t, err)

		events = append(events, e.told()...)

		return e.get("app")
	}
	read := func() string {
		var all strings.Builder

		status, err := yaml.Marshal(e.get("app"))
		must(t, err)
		fmt.Fprintf(&all, "%s\n%s\n%v\n", status, strings.Join(events, "\n"), e.data("app-plan"))

		families, err := registry.Gather()
		must(t, err)

		for _, family := range families {
			fmt.Fprintln(&all, family)
		}

		mu.Lock()
		defer mu.Unlock()

		return all.String() + logs.String()
	}
	planted := []string{"hunter-one", "hunter-two", "edited-value", "from-a-variable", "aHVudGVyLW9uZQ", "aHVudGVyLXR3bw", "ZWRpdGVkLXZhbHVl", "ZnJvbS1hLXZhcmlhYmxl"}
	check := func(what string) {
		t.Helper()

		all := read()
		for _, value := range planted {
			if at := strings.Index(all, value); at >= 0 {
				t.Errorf("%s: a planted value is to be read: %q", what, all[max(at-100, 0):min(at+len(value)+20, len(all))])
			}
		}
	}

	e.secret("vars", "variable", []byte("from-a-variable"))
	e.publish("repo", "main@sha1:1", map[string]string{"s.yaml": secret("s", "hunter-one"), "v.yaml": configMap("v", "${variable}")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "Secret", Name: "vars"}}}
	})
	run()
	check("applied")

	for range 6 { // until it is a fight
		e.calm()
		e.patch(&corev1.Secret{}, "s", `{"stringData":{"password":"edited-value","added-by-hand":"edited-value"}}`)
		e.patch(&corev1.ConfigMap{}, "v", `{"data":{"key":"edited-value"}}`)
		e.eventually("it is seen", func() error {
			if len(e.woken) == 0 {
				return fmt.Errorf("nobody is woken")
			}

			return nil
		})
		run()
		run()

		if len(e.get("app").Status.Conditions) > 2 {
			break
		}
	}

	check("fought over")

	if all := read(); !strings.Contains(all, ".data.password") {
		t.Errorf("the field of a Secret that was put back is not named:\n%s", strings.Join(events, "\n"))
	}

	e.publish("repo", "main@sha1:2", map[string]string{"s.yaml": secret("s", "hunter-two"), "v.yaml": configMap("v", "${variable}")})
	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Plan = kustomizev1.PlanManual })
	run()
	check("planned")
	e.approve("app", e.data("app-plan")["digest"])
	run()
	check("approved")
	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Plan = "" })

	e.publish("repo", "main@sha1:3", map[string]string{
		"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: NS}\ndata: {password: hunter-one}\n",
		"t.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: t, namespace: NS}\ntype: kubernetes.io/tls\nstringData: {tls.crt: hunter-two}\n",
		"v.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: v, namespace: NS}\nspec: {type: \"${variable}\", ports: [{port: 80}]}\n",
	})

	if obj := run(); engine.IsTrue(obj, "Ready") {
		t.Error("what is not valid is not refused")
	}

	check("refused")

	if got := says(e.get("app"), kustomize.ContestedCondition); strings.Contains(got, "value") {
		t.Errorf("Contested is %q", got)
	}
}
