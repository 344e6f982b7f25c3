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

// held returns what the Kustomization says of the objects that it holds.
func (e *env) held(name string) string {
	e.t.Helper()

	return says(e.get(name), kustomize.PruneHeldCondition)
}

// at changes the spec to a path.
func at(path string, dependsOn ...string) func(*kustomizev1.KustomizationSpec) {
	return func(s *kustomizev1.KustomizationSpec) {
		s.Path = path
		for _, name := range dependsOn {
			s.DependsOn = append(s.DependsOn, meta.DependencyReference{Name: name})
		}
	}
}

// TestMoveToOneThatFails holds that an object is kept for a Kustomization that is going to have it and could not apply it yet,
// and that what it is not going to have is not kept, if that can be known.
func TestMoveToOneThatFails(t *testing.T) {
	broken := map[string]struct {
		reason string
		file   string
		known  bool // what it is going to have
	}{
		"Apply": {"the API server refuses one of its objects", configMap("b", "1") + "immutable: perhaps\n", true},
		"Build": {"it cannot be built", "kind: {", false},
	}
	for name, tc := range broken {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.publish("repo", "main@sha1:1", map[string]string{
				"old/a.yaml": configMap("a", "1"), "old/x.yaml": configMap("x", "1"), "old/y.yaml": configMap("y", "1"), "new/b.yaml": configMap("b", "1"),
			})
			e.kustomization("old", at("old"))
			e.kustomization("new", at("new"))
			e.ready("old")
			e.ready("new")

			uid := e.uid("x")
			files := map[string]string{"old/a.yaml": configMap("a", "1"), "new/b.yaml": tc.file, "new/x.yaml": configMap("x", "1")}
			e.publish("repo", "main@sha1:2", files)

			for range 2 {
				if obj, _ := e.once("new"); engine.IsTrue(obj, meta.ReadyCondition) {
					t.Fatalf("%s, and yet it is ready", tc.reason)
				}

				e.ready("old")
			}

			if e.uid("x") != uid {
				t.Fatalf("%s, and the object is deleted", tc.reason)
			}

			if kept := e.data("y") != nil; kept == tc.known {
				t.Errorf("%s: what nobody takes over is there: %t (%s)", tc.reason, kept, says(e.get("new"), meta.ReadyCondition))
			}

			files["new/b.yaml"] = configMap("b", "2")
			e.publish("repo", "main@sha1:3", files)
			e.ready("old")
			e.calm()
			e.ready("new")
			e.awaken("old", "the new one has come")
			e.ready("old")

			if e.uid("x") != uid || e.data("y") != nil || e.held("old") != "" {
				t.Errorf("the object was deleted, or another one is held: %q", e.held("old"))
			}

			e.wantInventory("old", "NS_a__ConfigMap")
		})
	}
}

// TestMoveWithApproval holds that an object is kept for a Kustomization whose plan waits for approval.
func TestMoveWithApproval(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"old/a.yaml": configMap("a", "1"), "old/x.yaml": configMap("x", "1"), "new/b.yaml": configMap("b", "1")})
	e.kustomization("old", at("old"))
	e.kustomization("new", at("new"))
	e.ready("old")
	e.ready("new")
	e.edit("new", func(k *kustomizev1.Kustomization) { k.Spec.Plan = kustomizev1.PlanManual })

	uid := e.uid("x")

	e.move()
	e.once("new")
	e.ready("old")

	plan := &corev1.ConfigMap{}
	if !e.fetch(plan, "new-plan") || e.uid("x") != uid {
		t.Fatal("there is no plan, or the object is deleted")
	}

	e.edit("new", func(k *kustomizev1.Kustomization) {
		k.Annotations = map[string]string{kustomizev1.ApprovedPlanAnnotation: plan.Data["digest"]}
	})
	e.ready("new")
	e.ready("old")

	if e.uid("x") != uid {
		t.Error("the object was deleted")
	}

	e.wantInventory("old", "NS_a__ConfigMap")
	e.wantInventory("new", "NS_b__ConfigMap", "NS_x__ConfigMap")
}

// TestMoveBetweenSources holds that nobody waits for the Kustomizations of other sources, as in Flux: who has the object when
// it is given up keeps it.
func TestMoveBetweenSources(t *testing.T) {
	for name, adopted := range map[string]bool{"NewFirst": true, "OldFirst": false} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "x.yaml": configMap("x", "1")})
			e.publish("other", "main@sha1:1", map[string]string{"b.yaml": configMap("b", "1")})
			e.kustomization("old", nil)
			e.kustomization("new", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Name = "other" })
			e.ready("old")
			e.ready("new")

			uid := e.uid("x")

			e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "1")})
			e.publish("other", "main@sha1:2", map[string]string{"b.yaml": configMap("b", "1"), "x.yaml": configMap("x", "1")})

			if adopted {
				e.ready("new")
			}

			e.ready("old")

			if !adopted && e.data("x") != nil {
				t.Error("the old one waits for one of another source")
			}

			e.ready("new")

			if got := e.uid("x"); got == "" || (got == uid) != adopted {
				t.Errorf("the object is there: %t, the same: %t, want %t", got != "", got == uid, adopted)
			}
		})
	}
}

// TestMoveToAnotherNamespace holds that a Kustomization which moves to another namespace, or gets another name, takes what it
// has applied with it.
func TestMoveToAnotherNamespace(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"x.yaml": configMap("x", "1")})
	e.kustomization("app", nil)
	e.ready("app")

	uid, home := e.uid("x"), e.namespace
	there := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home + "-b"}}
	e.create(there)

	moved := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: there.Name, Name: "app"}}
	e.get("app").Spec.DeepCopyInto(&moved.Spec)
	moved.Spec.SourceRef.Namespace = home
	e.create(moved)
	must(t, e.c.Delete(t.Context(), e.get("app")))

	if obj, _ := e.once("app"); obj == nil || e.uid("x") != uid {
		t.Fatal("the old one does not wait")
	}

	e.calm()

	e.namespace = there.Name
	e.ready("app")
	e.namespace = home
	e.awaken("app", "the new one has come")

	if obj, _ := e.once("app"); obj != nil {
		t.Errorf("the old one stays: %s", says(obj, meta.ReconcilingCondition))
	}

	x := &corev1.ConfigMap{}
	if !e.fetch(x, "x") || x.UID != uid || x.Labels[kustomizev1.OwnerNamespaceLabel] != there.Name {
		t.Errorf("the object was deleted, or has another owner: %v", x.Labels)
	}
}

// TestMoveToOneThatIsMade holds that an object which moves to a Kustomization that another one makes at the same revision is
// kept: the one that makes it is waited for first, and then the new one.
func TestMoveToOneThatIsMade(t *testing.T) {
	child := func(name string) string {
		return `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: ` + name + `, namespace: NS}
spec: {interval: 1h, prune: true, path: ` + name + `, sourceRef: {kind: GitRepository, name: repo}}
`
	}
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{
		"root/old.yaml": child("old"), "old/a.yaml": configMap("a", "1"), "old/x.yaml": configMap("x", "1"),
	})
	e.kustomization("root", at("root"))
	e.ready("root")
	e.ready("old")

	uid := e.uid("x")

	e.publish("repo", "main@sha1:2", map[string]string{
		"root/old.yaml": child("old"), "root/new.yaml": child("new"), "old/a.yaml": configMap("a", "1"), "new/x.yaml": configMap("x", "1"),
	})
	e.ready("old")
	e.ready("root")
	e.ready("old")

	if e.uid("x") != uid || e.held("old") == "" {
		t.Fatal("the old one does not wait for one that was just made")
	}

	e.restart()
	e.ready("old")

	if e.uid("x") != uid || e.held("old") == "" {
		t.Fatal("the old one does not wait any more after a restart")
	}

	e.calm()
	e.ready("new")
	e.awaken("old", "the new one has come")
	e.ready("old")

	if e.uid("x") != uid || e.held("old") != "" {
		t.Errorf("the object was deleted, or is held: %q", e.held("old"))
	}

	e.phase("Renamed", func(t *testing.T) {
		e.publish("repo", "main@sha1:3", map[string]string{
			"root/old.yaml": child("old"), "root/newer.yaml": child("newer"), "old/a.yaml": configMap("a", "1"), "newer/x.yaml": configMap("x", "1"),
		})
		e.ready("root")
		e.ready("old")
		e.ready("root")

		if e.get("new").DeletionTimestamp != nil {
			t.Fatal("the one that has another name now is deleted before that has come")
		}

		e.calm()
		e.ready("newer")
		e.awaken("root", "the one with the other name has come")
		e.ready("root")

		if obj, _ := e.once("new"); obj != nil {
			t.Errorf("the one without a name stays: %s", says(obj, meta.ReconcilingCondition))
		}

		if e.uid("x") != uid {
			t.Error("the object was deleted")
		}
	})
}

// TestWaitedInVain holds that one who never comes is waited for once: after that, others have to be patient for seconds only.
func TestWaitedInVain(t *testing.T) {
	files := map[string]string{"old/a.yaml": configMap("a", "1"), "old/x.yaml": configMap("x", "1"), "old/y.yaml": configMap("y", "1")}
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", files)
	e.kustomization("old", at("old"))
	e.kustomization("never", at("never", "missing"))
	e.ready("old")
	e.once("never")

	delete(files, "old/x.yaml")
	e.publish("repo", "main@sha1:2", files)
	e.told()

	if _, after := e.once("old"); after > 5*time.Minute || e.data("x") == nil {
		t.Fatalf("the object is deleted at once, or looked for in %s", after)
	}

	e.clock.advance(5 * time.Minute)
	e.told()
	e.ready("old")
	e.wantEvents(
		"Warning AwaitingOthers Prune: No longer waiting for 'NS/never' to apply main@sha1:2: what it has not taken over is deleted",
		"Normal Progressing Prune: ConfigMap/NS/x deleted",
	)

	delete(files, "old/y.yaml")
	e.publish("repo", "main@sha1:3", files)

	if _, after := e.once("old"); after > 10*time.Second || e.data("y") == nil {
		t.Fatalf("the object is deleted at once, or looked for in %s", after)
	}

	e.clock.advance(10 * time.Second)
	e.told()
	e.ready("old")
	e.wantEvents("Normal Progressing Prune: ConfigMap/NS/y deleted")

	must(t, e.c.Delete(t.Context(), e.get("old")))
	e.once("old")
	e.clock.advance(10 * time.Second)

	if obj, _ := e.once("old"); obj != nil {
		t.Errorf("the old one stays: %s", says(obj, meta.ReconcilingCondition))
	}
}

// TestChainDeletedTogether holds that a chain of dependencies is deleted from its end, each one woken by the one before, and
// that one whose objects do not go is waited for as long as it waits for them, which counts from when its turn has come.
func TestChainDeletedTogether(t *testing.T) {
	e := newEnv(t)
	names := []string{"infra", "middle", "app"}
	files := map[string]string{}

	for _, name := range names {
		files[name+"/c.yaml"] = strings.Replace(configMap(name, "1"), "metadata:\n", "metadata:\n  finalizers: [example.org/hold]\n", 1)
	}

	e.publish("repo", "main@sha1:1", files)

	for i, name := range names {
		e.kustomization(name, func(s *kustomizev1.KustomizationSpec) {
			at(name, names[max(i-1, 0):i]...)(s)
			s.Timeout, s.DeletionPolicy = &metav1.Duration{Duration: time.Minute}, kustomizev1.DeletionPolicyWaitForTermination
		})
		e.ready(name)
	}

	for _, name := range names {
		must(t, e.c.Delete(t.Context(), e.get(name)))
	}

	// all runs everybody who is there, and returns who has begun to delete what it has.
	all := func() (begun string) {
		for _, name := range names {
			if e.get(name) != nil {
				e.once(name)
			}

			if x := new(corev1.ConfigMap); e.fetch(x, name) && x.DeletionTimestamp != nil {
				begun += name + " "
			}
		}

		return begun
	}

	for _, step := range []struct {
		reason string
		after  time.Duration
		want   string
		gone   string
	}{
		{"it goes from the end", 0, "app ", ""},
		{"everybody waits for the app", 55 * time.Second, "app ", ""},
		{"the app has waited for long enough", 10 * time.Second, "app ", "app"},
		{"the turn of the middle has come", 0, "middle app ", "app"},
		{"infra waits for the middle, which has its own time", 50 * time.Second, "middle app ", "app"},
		{"the middle has waited for long enough", 15 * time.Second, "middle app ", "middle"},
		{"the turn of infra has come", 0, "infra middle app ", "middle"},
		{"infra has waited for long enough", time.Minute, "infra middle app ", "infra"},
	} {
		e.clock.advance(step.after)

		if got := all(); got != step.want {
			t.Fatalf("%s: deletes %q, want %q", step.reason, got, step.want)
		}

		if step.gone != "" && e.get(step.gone) != nil {
			t.Fatalf("%s: %s stays", step.reason, step.gone)
		}
	}

	for _, name := range names {
		x := &corev1.ConfigMap{}
		e.fetch(x, name)
		before := x.DeepCopy()
		x.Finalizers = nil
		must(t, e.c.Patch(t.Context(), x, client.MergeFrom(before)))
	}
}

// TestNamespaceDeleted holds that nobody waits for others when everything is deleted, the source included.
func TestNamespaceDeleted(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a/a.yaml": configMap("a", "1"), "b/b.yaml": configMap("b", "1")})
	e.kustomization("a", at("a"))
	e.kustomization("b", at("b", "missing"))
	e.ready("a")
	e.once("b")

	source, err := e.deps.Sources.Source(t.Context(), "GitRepository", types.NamespacedName{Namespace: e.namespace, Name: "repo"})
	must(t, err)
	must(t, e.c.Delete(t.Context(), source))

	for _, name := range []string{"a", "b"} {
		must(t, e.c.Delete(t.Context(), e.get(name)))
	}

	for _, name := range []string{"a", "b"} {
		if obj, _ := e.once(name); obj != nil {
			t.Errorf("%s stays: %s", name, says(obj, meta.ReconcilingCondition))
		}
	}
}
