package kustomize_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// TestHealthCheckExprs holds that expressions decide about health, at the events of the objects.
func TestHealthCheckExprs(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "app.yaml": deployment("web", "a:1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait = true
		s.Timeout = &metav1.Duration{Duration: time.Minute}
		s.HealthCheckExprs = []meta.CustomHealthCheck{
			{APIVersion: "v1", Kind: "ConfigMap", HealthCheckExpressions: meta.HealthCheckExpressions{
				Failed: "data.?state.orValue('') == 'broken'", Current: "data.state == 'done'",
			}},
			{APIVersion: "apps/v1beta1", HealthCheckExpressions: meta.HealthCheckExpressions{Current: "spec.replicas == 1"}},
		}
	})

	state := func(value string) {
		must(t, e.c.Patch(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "a"}},
			client.RawPatch(types.MergePatchType, []byte(`{"data":{"state":"`+value+`"}}`)), client.FieldOwner("somebody")))
	}

	obj := e.run("app", "waiting", func(obj *kustomizev1.Kustomization) bool {
		return strings.Contains(says(obj, meta.HealthyCondition), "Unknown")
	})
	if engine.IsTrue(obj, meta.ReadyCondition) {
		t.Error("it is ready before the expression says so")
	}

	e.calm()
	state("broken")
	e.awaken("app", "an object has failed")
	obj = e.run("app", "failed", func(obj *kustomizev1.Kustomization) bool {
		return strings.HasPrefix(says(obj, meta.HealthyCondition), "False")
	})
	wantConditions(t, obj, map[string]string{
		"Ready":       "False HealthCheckFailed: health check failed after D: failed early due to stalled resources: [ConfigMap/NS/a status: 'Failed']",
		"Healthy":     "False HealthCheckFailed: health check failed after D: failed early due to stalled resources: [ConfigMap/NS/a status: 'Failed']",
		"Reconciling": "True ProgressingWithRetry: " + durations(strings.SplitN(says(obj, meta.ReconcilingCondition), ": ", 2)[1]),
	})
	state("done")
	e.ready("app")
}

// TestInvalidExpressions holds that an expression that does not compile stalls the object, with the words that clients know.
func TestInvalidExpressions(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})

	const prefix = "False InvalidCELExpression: Reconciliation failed terminally due to configuration error: "

	cases := map[string]struct {
		reason string
		change func(*kustomizev1.KustomizationSpec)
		want   string
	}{
		"health": {"Health checks compile before anything else.", func(s *kustomizev1.KustomizationSpec) {
			s.HealthCheckExprs = []meta.CustomHealthCheck{{APIVersion: "v1", Kind: "A", HealthCheckExpressions: meta.HealthCheckExpressions{Current: "1 +"}}}
		}, prefix + `health check for A of group "": current: parse the expression: `},
		"twice": {"There is one check for a kind.", func(s *kustomizev1.KustomizationSpec) {
			c := meta.CustomHealthCheck{APIVersion: "v1", Kind: "A", HealthCheckExpressions: meta.HealthCheckExpressions{Current: "true"}}
			s.HealthCheckExprs = []meta.CustomHealthCheck{c, c}
		}, prefix + `duplicate health check for A of group ""`},
		"ready": {"Dependencies are evaluated when they are there.", func(s *kustomizev1.KustomizationSpec) {
			s.DependsOn = []meta.DependencyReference{{Name: "base", ReadyExpr: "nobody.is == 1"}}
		}, prefix + "failed to evaluate dependency 'NS/base': check the expression: "},
	}

	e.kustomization("base", nil)

	for name, tc := range cases {
		e.kustomization(name, tc.change)

		obj, after := e.once(name)
		if got := says(obj, meta.ReadyCondition); !strings.HasPrefix(got, tc.want) || !engine.IsTrue(obj, meta.StalledCondition) ||
			after != 0 || obj.Status.ObservedGeneration != obj.Generation {
			t.Errorf("%s: %s\nReady is %q, want %q; next run in %s", name, tc.reason, got, tc.want, after)
		}
	}
}

// TestReadyExpr holds that an expression decides about a dependency, alone or together with what is looked at anyway.
func TestReadyExpr(t *testing.T) {
	cases := map[string]struct {
		reason   string
		expr     string
		additive bool
		ready    bool // the dependency
		want     string
	}{
		"Holds":    {"The expression alone decides.", "dep.metadata.labels['stage'] == self.metadata.labels['stage']", false, false, ""},
		"Additive": {"With the gate it does not.", "true", true, false, "dependency 'NS/base' is not ready"},
		"Both":     {"Then both have to hold.", "dep.kind == 'Kustomization' && dep.status.conditions.exists(c, c.type == 'Ready')", true, true, ""},
		"Not":      {"It says no.", "dep.spec.path == self.spec.path + 'x'", false, true, "dependency 'NS/base' is not ready according to readyExpr eval"},
		"Error": {"It says nothing yet.", "dep.status.nothing == 1", false, true,
			"failed to evaluate dependency 'NS/base': evaluate the expression: no such key: nothing"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) { d.AdditiveReadyExpr = tc.additive })
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
			e.kustomization("base", func(s *kustomizev1.KustomizationSpec) { s.Prune = false })
			e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
				s.DependsOn = []meta.DependencyReference{{Name: "base", ReadyExpr: tc.expr}}
			})

			for _, name := range []string{"base", "app"} {
				e.edit(name, func(k *kustomizev1.Kustomization) { k.Labels = map[string]string{"stage": "one"} })
			}

			if tc.ready {
				e.ready("base")
				e.told()
			}

			obj, after := e.once("app")
			if tc.want == "" {
				if !engine.IsTrue(obj, meta.ReadyCondition) {
					t.Errorf("%s: Ready is %q", tc.reason, says(obj, meta.ReadyCondition))
				}

				return
			}

			if got := says(obj, meta.ReadyCondition); got != "False DependencyNotReady: "+tc.want || after != 30*time.Second {
				t.Errorf("%s: Ready is %q, want %q; next run in %s", tc.reason, got, tc.want, after)
			}

			e.wantEvents("Normal DependencyNotReady CheckDependencies: Dependencies do not meet ready condition, retrying in 30s")
		})
	}
}
