package kustomize_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// uid returns the UID of a ConfigMap, or nothing.
func (e *env) uid(name string) types.UID {
	e.t.Helper()

	obj := &corev1.ConfigMap{}
	e.fetch(obj, name)

	return obj.UID
}

func (e *env) wantInventory(name string, want ...string) {
	e.t.Helper()

	if diff := cmp.Diff(want, ids(e.get(name))); diff != "" {
		e.t.Errorf("inventory of %s: -want, +got:\n%s", name, diff)
	}
}

// TestHandOver holds that an object which moves from one Kustomization to another is adopted as it is, in whatever order the
// two run, and that nobody waits for ever.
func TestHandOver(t *testing.T) {
	const x = "NS_x__ConfigMap"

	cases := map[string]struct {
		reason string
		change func(s *kustomizev1.KustomizationSpec) // of the new one
		steps  func(t *testing.T, e *env)
		gone   bool
	}{
		"NewFirst": {
			reason: "the new one takes it over, and the old one leaves it",
			steps: func(_ *testing.T, e *env) {
				e.ready("new")
				e.ready("old")
			},
		},
		"OldFirst": {
			reason: "the old one waits with what it would delete, and is ready meanwhile",
			steps: func(t *testing.T, e *env) {
				e.ready("old")
				e.wantInventory("old", "NS_a__ConfigMap", x)
				e.told()
				e.costs()

				if obj, _ := e.once("old"); !engine.IsTrue(obj, meta.ReadyCondition) {
					t.Errorf("Ready is %q", says(obj, meta.ReadyCondition))
				} else if got, want := says(obj, kustomize.PruneHeldCondition), "True AwaitingOthers: Not deleted before all other Kustomizations "+
					"of GitRepository 'NS/repo' have applied main@sha1:2, for one of them may take it over: ConfigMap/NS/x"; got != want {
					t.Errorf("PruneHeld is %q, want %q", got, want)
				}

				e.wantCosts("a prune that is held back", nil)
				e.calm()
				e.ready("new")
				e.awaken("old", "the new one has come")
				e.told()

				if obj := e.ready("old"); says(obj, kustomize.PruneHeldCondition) != "" {
					t.Errorf("PruneHeld is %q", says(obj, kustomize.PruneHeldCondition))
				}

				e.wantEvents("Normal Progressing Prune: ConfigMap/NS/x skipped")
			},
		},
		"OldAgain": {
			reason: "the old one runs once more at the old revision, and takes it back, before it hears of the new one",
			steps: func(_ *testing.T, e *env) {
				e.ready("new")
				e.publish("repo", "main@sha1:1", map[string]string{"old/a.yaml": configMap("a", "1"), "old/x.yaml": configMap("x", "1"), "new/b.yaml": configMap("b", "1")})
				e.ready("old")
				e.move()
				e.ready("old")
				e.ready("new")
			},
		},
		"OldDeleted": {
			reason: "an old one that is deleted waits for the new one",
			steps: func(t *testing.T, e *env) {
				must(t, e.c.Delete(t.Context(), e.get("old")))

				obj, after := e.once("old")
				if obj == nil || after <= 0 || after > 2*time.Minute {
					t.Fatalf("the old one is gone, or waits too long: %s", after)
				}

				if got, want := says(obj, meta.ReconcilingCondition), "True Progressing: Waiting for the other Kustomizations of "+
					"GitRepository 'NS/repo', which may take objects over"; got != want {
					t.Errorf("Reconciling is %q, want %q", got, want)
				}

				e.calm()
				e.ready("new")
				e.awaken("old", "the new one has come")

				if obj, _ := e.once("old"); obj != nil {
					t.Errorf("the old one stays: %q", says(obj, meta.ReconcilingCondition))
				}
			},
		},
		"OldDeletedLast": {
			reason: "so does one that is deleted when the new one has it",
			steps: func(t *testing.T, e *env) {
				e.ready("new")
				must(t, e.c.Delete(t.Context(), e.get("old")))

				if obj, _ := e.once("old"); obj != nil {
					t.Errorf("the old one stays: %q", says(obj, meta.ReconcilingCondition))
				}
			},
		},
		"Dependent": {
			reason: "the new one depends on the old one, which must not wait for it then",
			change: func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{{Name: "old"}} },
			steps: func(_ *testing.T, e *env) {
				e.once("new")
				e.ready("old")
				e.ready("new")
				e.ready("old")
			},
		},
		"NewNeverRuns": {
			reason: "after a while the object goes, whoever may want it",
			change: func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{{Name: "missing"}} },
			steps: func(_ *testing.T, e *env) {
				e.once("new")
				e.ready("old")
				e.wantInventory("old", "NS_a__ConfigMap", x)
				e.clock.advance(5 * time.Minute)
				e.ready("old")
			},
			gone: true,
		},
		"NewIsEmpty": {
			reason: "nobody waits for one whose path is not there any more",
			change: func(s *kustomizev1.KustomizationSpec) { s.Path = "missing" },
			steps: func(_ *testing.T, e *env) {
				e.once("new")
				e.ready("old")
			},
			gone: true,
		},
		"NewIsSuspended": {
			reason: "nobody waits for one that is suspended",
			change: func(s *kustomizev1.KustomizationSpec) { s.Suspend = true },
			steps:  func(_ *testing.T, e *env) { e.ready("old") },
			gone:   true,
		},
		"DeletedWhileNewNeverRuns": {
			reason: "a deletion does not wait long",
			change: func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{{Name: "missing"}} },
			steps: func(t *testing.T, e *env) {
				must(t, e.c.Delete(t.Context(), e.get("old")))
				e.once("old")
				e.clock.advance(2 * time.Minute)

				if obj, _ := e.once("old"); obj != nil {
					t.Errorf("the old one stays: %q", says(obj, meta.ReconcilingCondition))
				}
			},
			gone: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.publish("repo", "main@sha1:1", map[string]string{"old/a.yaml": configMap("a", "1"), "old/x.yaml": configMap("x", "1"), "new/b.yaml": configMap("b", "1")})
			e.kustomization("old", func(s *kustomizev1.KustomizationSpec) { s.Path = "old" })
			e.ready("old")
			e.kustomization("new", func(s *kustomizev1.KustomizationSpec) {
				s.Path = "new"
				if tc.change != nil {
					tc.change(s)
				}
			})
			e.once("new")

			uid := e.uid("x")
			e.move()
			tc.steps(t, e)

			switch got := e.uid("x"); {
			case tc.gone && got != "":
				t.Errorf("%s: it is still there", tc.reason)
			case tc.gone:
			case got != uid:
				t.Errorf("%s: the object was deleted", tc.reason)
			default:
				x := &corev1.ConfigMap{}
				e.fetch(x, "x")

				if x.Labels[kustomizev1.OwnerNameLabel] != "new" {
					t.Errorf("%s: x is that of %q", tc.reason, x.Labels[kustomizev1.OwnerNameLabel])
				}

				e.wantInventory("new", "NS_b__ConfigMap", "NS_x__ConfigMap")
			}

			if e.get("old") != nil {
				e.wantInventory("old", "NS_a__ConfigMap")
			}
		})
	}
}

// move publishes a revision in which x is that of the new one.
func (e *env) move() {
	e.t.Helper()
	e.publish("repo", "main@sha1:2", map[string]string{
		"old/a.yaml": configMap("a", "1"), "new/b.yaml": configMap("b", "1"), "new/x.yaml": configMap("x", "1"),
	})
}

// TestHeldForAWhile holds that a prune is not put off by each new revision, as long as somebody never runs, and that one who
// has just come is waited for at a revision that all the others have come to.
func TestHeldForAWhile(t *testing.T) {
	files := map[string]string{"old/a.yaml": configMap("a", "1"), "new/b.yaml": configMap("b", "1")}

	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"old/a.yaml": configMap("a", "1"), "old/x.yaml": configMap("x", "1")})
	e.kustomization("old", func(s *kustomizev1.KustomizationSpec) { s.Path = "old" })
	e.ready("old")
	e.kustomization("new", func(s *kustomizev1.KustomizationSpec) {
		s.Path, s.DependsOn = "new", []meta.DependencyReference{{Name: "missing"}}
	})
	e.publish("repo", "main@sha1:2", files)
	e.ready("old")
	e.clock.advance(4 * time.Minute)
	e.publish("repo", "main@sha1:3", files)
	e.ready("old")
	e.wantInventory("old", "NS_a__ConfigMap", "NS_x__ConfigMap")
	e.clock.advance(time.Minute)
	e.ready("old")
	e.wantInventory("old", "NS_a__ConfigMap")

	e.phase("Newcomer", func(t *testing.T) {
		e.edit("new", func(k *kustomizev1.Kustomization) { k.Spec.DependsOn = nil })
		e.ready("new")
		e.publish("repo", "main@sha1:4", map[string]string{"old/y.yaml": configMap("y", "1"), "new/b.yaml": configMap("b", "1")})
		e.ready("new")
		e.ready("old") // deletes a, and so finds that all have come
		e.wantInventory("old", "NS_y__ConfigMap")
		e.kustomization("third", func(s *kustomizev1.KustomizationSpec) { s.Path = "old" })
		must(t, e.c.Delete(t.Context(), e.get("old")))

		if obj, _ := e.once("old"); obj == nil || e.data("y") == nil {
			t.Fatal("the old one does not wait for the third one")
		}

		e.ready("third")

		if obj, _ := e.once("old"); obj != nil || e.data("y") == nil {
			t.Error("the old one stays, or takes the object with it")
		}
	})
}

// TestHeldByTheLeaving holds that a prune does not wait for the Kustomizations that it is going to delete.
func TestHeldByTheLeaving(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"old/a.yaml": configMap("a", "1"), "old/child.yaml": `
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: child, namespace: ` + e.namespace + `}
spec: {interval: 1h, prune: true, path: child, dependsOn: [{name: missing}], sourceRef: {kind: GitRepository, name: repo}}
`})
	e.kustomization("old", func(s *kustomizev1.KustomizationSpec) { s.Path = "old" })
	e.ready("old")

	if e.get("child") == nil {
		t.Fatal("there is no child")
	}

	e.publish("repo", "main@sha1:2", map[string]string{"old/a.yaml": configMap("a", "1")})
	e.ready("old")
	e.wantInventory("old", "NS_a__ConfigMap")
}

// TestForeignFinalizer holds that a deletion does not wait for a dependent that is done with its own, and is kept by others.
func TestForeignFinalizer(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"infra/i.yaml": configMap("i", "1"), "app/a.yaml": configMap("a", "1")})
	e.kustomization("infra", func(s *kustomizev1.KustomizationSpec) { s.Path = "infra" })
	e.ready("infra")
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Path, s.DependsOn = "app", []meta.DependencyReference{{Name: "infra"}}
	})
	e.ready("app")
	e.edit("app", func(k *kustomizev1.Kustomization) { k.Finalizers = append(k.Finalizers, "example.com/keep") })

	for _, name := range []string{"app", "infra"} {
		must(t, e.c.Delete(t.Context(), e.get(name)))
		e.once(name)
	}

	if e.get("infra") != nil {
		t.Error("a finalizer of somebody else on the app keeps what it depends on")
	}

	e.edit("app", func(k *kustomizev1.Kustomization) { k.Finalizers = nil })
}

// TestDeletedTogether holds that what others depend on goes after them, if all are deleted.
func TestDeletedTogether(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"infra/i.yaml": configMap("i", "1"), "app/a.yaml": configMap("a", "1"), "late/l.yaml": configMap("l", "1")})
	on := func(path string, names ...string) func(*kustomizev1.KustomizationSpec) {
		return func(s *kustomizev1.KustomizationSpec) {
			s.Path = path
			for _, name := range names {
				s.DependsOn = append(s.DependsOn, meta.DependencyReference{Name: name})
			}
		}
	}
	e.kustomization("infra", on("infra"))
	e.kustomization("app", on("app", "infra"))
	e.ready("infra")
	e.ready("app")

	for _, name := range []string{"infra", "app"} {
		must(t, e.c.Delete(t.Context(), e.get(name)))
	}

	obj, after := e.once("infra")
	if obj == nil || e.data("i") == nil || after <= 0 {
		t.Fatal("what the app depends on goes first")
	}

	if got, want := says(obj, meta.ReconcilingCondition), "True Progressing: Waiting for the deletion of 'NS/app', which depends on this"; got != want {
		t.Errorf("Reconciling is %q, want %q", got, want)
	}

	if obj, _ := e.once("app"); obj != nil || e.data("a") != nil {
		t.Error("the app stays")
	}

	if obj, _ := e.once("infra"); obj != nil || e.data("i") != nil {
		t.Error("what the app depended on stays")
	}

	e.phase("Cycle", func(t *testing.T) {
		e.kustomization("infra", on("infra"))
		e.kustomization("app", on("app", "infra"))
		e.ready("infra")
		e.ready("app")
		e.edit("infra", func(k *kustomizev1.Kustomization) { k.Spec.DependsOn = []meta.DependencyReference{{Name: "app"}} })

		for _, name := range []string{"infra", "app"} {
			must(t, e.c.Delete(t.Context(), e.get(name)))
		}

		for _, name := range []string{"infra", "app"} {
			if obj, _ := e.once(name); obj != nil {
				t.Errorf("%s stays: %q", name, says(obj, meta.ReconcilingCondition))
			}
		}
	})

	e.phase("Kept", func(t *testing.T) {
		e.kustomization("infra", on("infra"))
		e.kustomization("app", on("app", "infra"))
		e.ready("infra")
		e.ready("app")
		must(t, e.c.Delete(t.Context(), e.get("infra")))

		if obj, _ := e.once("infra"); obj != nil {
			t.Errorf("one waits for a dependent that is not deleted: %q", says(obj, meta.ReconcilingCondition))
		}
	})
}

// TestKilledDuringPrune holds that a process which is killed between the apply and the end of the prune loses no entry.
func TestKilledDuringPrune(t *testing.T) {
	cases := map[string]struct {
		reason string
		kill   int // at which deletion
	}{
		"Before": {"nothing was deleted", 1},
		"Amidst": {"one of two was deleted", 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) { d.Concurrency = 1 })
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1"), "c.yaml": configMap("c", "1")})

			ctx, kill := context.WithCancel(t.Context())
			defer kill()

			deletions := 0
			e.front = rest.CopyConfig(e.config)
			e.front.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(req *http.Request) (*http.Response, error) {
					if req.Method == http.MethodDelete && ctx.Err() == nil {
						if deletions++; deletions == tc.kill {
							kill()

							return nil, ctx.Err()
						}
					}

					return next.RoundTrip(req)
				})
			})
			e.restart()
			e.kustomization("app", nil)
			e.ready("app")
			e.publish("repo", "main@sha1:2", map[string]string{"d.yaml": configMap("d", "1"), "a.yaml": configMap("a", "1")})

			_, _ = e.runner.Reconcile(ctx, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: e.namespace, Name: "app"}})
			if ctx.Err() == nil {
				t.Fatal("nobody was killed")
			}

			if e.data("b") == nil && e.data("c") == nil {
				t.Fatal("everything was deleted")
			}

			e.restart()
			e.ready("app")

			if e.data("b") != nil || e.data("c") != nil {
				t.Errorf("%s: an object that left the set is still there", tc.reason)
			}

			e.wantInventory("app", "NS_a__ConfigMap", "NS_d__ConfigMap")
		})
	}
}

// TestForgottenAndHeld holds that a deletion that has to wait does not forget what it has found that the status did not tell.
func TestForgottenAndHeld(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"infra/a.yaml": configMap("a", "1"), "app/x.yaml": configMap("x", "1")})
	e.kustomization("infra", func(s *kustomizev1.KustomizationSpec) { s.Path = "infra" })
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Path, s.DependsOn = "app", []meta.DependencyReference{{Name: "infra"}}
	})
	e.ready("infra")
	e.ready("app")
	e.publish("repo", "main@sha1:2", map[string]string{
		"infra/a.yaml": configMap("a", "1"), "infra/b.yaml": configMap("b", "1"), "app/x.yaml": configMap("x", "1"),
	})
	e.lost("infra")
	e.restart()

	for _, name := range []string{"infra", "app"} {
		must(t, e.c.Delete(t.Context(), e.get(name)))
	}

	e.once("infra")
	e.wantInventory("infra", "NS_a__ConfigMap", "NS_b__ConfigMap")
	e.once("app")

	if obj, _ := e.once("infra"); obj != nil || e.data("a") != nil || e.data("b") != nil {
		t.Error("an object that was forgotten stays")
	}
}
