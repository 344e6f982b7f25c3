package kustomize_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestFailingOnesHoldNothing holds that a Kustomization which has failed for long does not put off what others delete, before and
// after a restart: only one that has not looked at the revision yet, or has just begun to fail, is waited for.
func TestFailingOnesHoldNothing(t *testing.T) {
	cases := map[string]struct {
		reason string
		bad    string // a file of the failing one
		change func(*kustomizev1.KustomizationSpec)
	}{
		"Build":      {"it cannot be built", "kind: {", nil},
		"Variables":  {"its variables are missing", configMap("c", "1"), func(s *kustomizev1.KustomizationSpec) { s.PostBuild = fromMissing() }},
		"Dependency": {"its dependency is missing, and so are its variables", configMap("c", "1"), func(s *kustomizev1.KustomizationSpec) { at("bad", "missing")(s); s.PostBuild = fromMissing() }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"old/a.yaml": configMap("a", "1"), "bad/c.yaml": tc.bad}
			for _, name := range []string{"u", "x", "y", "z"} {
				files["old/"+name+".yaml"] = configMap(name, "1")
			}

			e := newEnv(t)
			e.publish("repo", "main@sha1:1", files)
			e.kustomization("old", at("old"))
			e.ready("old")
			e.kustomization("bad", func(s *kustomizev1.KustomizationSpec) {
				at("bad")(s)

				if tc.change != nil {
					tc.change(s)
				}
			})
			e.once("bad")

			// gone publishes a revision without the object, and tells whether that is gone when the failing one has looked at it.
			gone := func(revision, name string) bool {
				delete(files, "old/"+name+".yaml")
				e.publish("repo", revision, files)
				e.calm()
				e.ready("old")

				if e.data(name) == nil {
					t.Errorf("%s: nobody waits until it has looked at the revision", tc.reason)
				}

				e.once("bad")
				e.ready("old")
				e.once("bad") // if it has been asked
				e.ready("old")

				return e.data(name) == nil
			}

			if gone("main@sha1:2", "u") {
				t.Errorf("%s, but not for long: it may have got the object", tc.reason)
			}

			e.clock.advance(5 * time.Minute)
			e.once("bad")
			e.ready("old")

			if e.data("u") != nil {
				t.Errorf("%s for some minutes, and is still waited for", tc.reason)
			}

			if !gone("main@sha1:3", "x") || e.held("old") != "" {
				t.Errorf("%s for long, and puts off what others delete: %q", tc.reason, e.held("old"))
			}

			e.restart()
			e.once("bad")
			e.ready("old")

			if !gone("main@sha1:4", "y") {
				t.Errorf("%s for long, and puts off what others delete after a restart: %q", tc.reason, e.held("old"))
			}

			must(t, e.c.Delete(t.Context(), e.get("old")))

			if obj, _ := e.once("old"); obj != nil {
				t.Errorf("%s for long, and puts off a deletion: %s", tc.reason, says(obj, meta.ReconcilingCondition))
			}
		})
	}
}

func fromMissing() *kustomizev1.PostBuild {
	return &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "missing"}}}
}

// TestDependentsSayWhatTheyWant holds that one that others depend on, which cannot apply the revision before it is ready, waits
// with nothing but what they are going to have: it may not become ready before the rest is gone.
func TestDependentsSayWhatTheyWant(t *testing.T) {
	files := map[string]string{
		"infra/a.yaml": configMap("a", "1"), "infra/x.yaml": configMap("x", "1"), "infra/y.yaml": configMap("y", "1"),
		"app/b.yaml": configMap("b", "1"), "more/c.yaml": configMap("c", "1"),
	}
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", files)
	e.kustomization("infra", at("infra"))
	e.kustomization("app", at("app", "infra"))
	e.kustomization("more", at("more", "app"))

	for _, name := range []string{"infra", "app", "more"} {
		e.ready(name)
	}

	uid := e.uid("x")

	delete(files, "infra/x.yaml")
	delete(files, "infra/y.yaml")
	files["app/x.yaml"], files["infra/web.yaml"] = configMap("x", "1"), deployment("web", "a:1")
	e.publish("repo", "main@sha1:2", files)
	e.edit("infra", func(k *kustomizev1.Kustomization) {
		k.Spec.Wait, k.Spec.Timeout = true, &metav1.Duration{Duration: time.Hour}
	})

	for _, name := range []string{"app", "more"} { // nobody asks yet
		e.once(name)
	}

	e.calm()

	obj, after := e.once("infra")
	if e.data("y") == nil || engine.IsTrue(obj, meta.ReadyCondition) {
		t.Fatal("it does not wait for its dependents, or is ready")
	}

	if after > 5*time.Minute {
		t.Errorf("while it waits for health it looks at what it holds in %s", after)
	}

	for _, name := range []string{"app", "more"} {
		e.awaken(name, "it is asked what it wants")
		e.once(name)
	}

	e.awaken("infra", "its dependents have said what they want")
	e.once("infra")

	if e.data("y") != nil {
		t.Error("what nobody wants is kept until it is healthy")
	}

	if e.uid("x") != uid {
		t.Error("what its dependent wants is deleted")
	}

	e.wantInventory("infra", "NS_a__ConfigMap", "NS_web_apps_Deployment", "NS_x__ConfigMap")
}

// TestUnhealthyOneBeginsToFail holds that one which was unhealthy for long, and so took over what it got, is waited for when it
// cannot be built any more: that is new.
func TestUnhealthyOneBeginsToFail(t *testing.T) {
	for name, restart := range map[string]bool{"Here": false, "AfterRestart": true} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"old/a.yaml": configMap("a", "1"), "old/x.yaml": configMap("x", "1"), "new/web.yaml": deployment("web", "a:1")}
			e := newEnv(t)
			e.publish("repo", "main@sha1:1", files)
			e.kustomization("old", at("old"))
			e.ready("old")
			e.kustomization("new", func(s *kustomizev1.KustomizationSpec) {
				at("new")(s)
				s.Wait, s.Timeout = true, &metav1.Duration{Duration: time.Minute}
			})
			e.once("new")
			e.clock.advance(time.Minute)

			if obj, _ := e.once("new"); engine.Condition(obj, meta.ReadyCondition).Reason != meta.HealthCheckFailedReason {
				t.Fatalf("it is not unhealthy: %s", says(obj, meta.ReadyCondition))
			}

			e.clock.advance(time.Hour)

			if restart {
				e.restart()
			}

			delete(files, "old/x.yaml")
			files["new/x.yaml"] = configMap("x", "1") + "}"
			e.publish("repo", "main@sha1:2", files)
			e.once("new")
			e.ready("old")

			if e.data("x") == nil {
				t.Error("what it is going to take over is deleted")
			}
		})
	}
}
