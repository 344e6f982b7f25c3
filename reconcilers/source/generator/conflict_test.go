package generator_test

import (
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

func TestConflict(t *testing.T) {
	first := generatorOf("first", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"))
	second := generatorOf("second", withRepo, withArtifact("a", "@repo/apps/b/**", "@artifact/"),
		withArtifact("b", "@repo/apps/b/**", "@artifact/"), withArtifact("hand", "@repo/apps/b/**", "@artifact/"))
	hand := &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "hand"}}
	w := newWorld(t, nil, first, second, hand)
	w.push(t, "repo", "main@sha1:1", repo())
	expect(t, w.run(t, first).Object, meta.ReadyCondition, "True")

	before := w.artifact(t, "a")
	got := w.run(t, second)
	expect(t, got.Object, meta.ReadyCondition, "False ReconciliationFailed: a reconcile failed: "+
		"ExternalArtifact 'apps/a' belongs to ArtifactGenerator 'apps/first'; hand reconcile failed: "+
		"ExternalArtifact 'apps/hand' was not made by an ArtifactGenerator, and is not taken over")
	same(t, "a", before, w.artifact(t, "a"))
	same(t, "files", map[string]string{"a.yaml": "a"}, w.files(t, "a"))
	same(t, "b", map[string]string{"b.yaml": "b", "sub/c.yaml": "c"}, w.files(t, "b"))

	if entries, _ := os.ReadDir(filepath.Join(w.root, "externalartifact", "apps", "a")); len(entries) != 1 {
		t.Errorf("%d files", len(entries))
	}

	// Once the name is free, it can be taken.
	check(t, w.c.Client.Delete(t.Context(), first))
	w.run(t, first)
	check(t, w.c.Client.Delete(t.Context(), hand))
	expect(t, w.run(t, second).Object, meta.ReadyCondition, "True")
	same(t, "files", map[string]string{"b.yaml": "b", "sub/c.yaml": "c"}, w.files(t, "a"))
}

// TestRace shows that two generators that want a name at the same time do not take it from each other.
func TestRace(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"))
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())

	other := &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: "a", Labels: map[string]string{v1beta1.GeneratorLabel: "uid-of-other"},
	}}
	w.c.fail = func(verb string, _ client.Object) error {
		if verb == "create" {
			return w.c.Client.Create(t.Context(), other.DeepCopy())
		}

		return nil
	}

	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "False ReconciliationFailed: a reconcile failed: failed to create ExternalArtifact: ")

	if w.artifact(t, "a").Status.Artifact != nil || len(got.Object.Status.Inventory) > 0 {
		t.Error("it was taken over")
	}
}

// TestBackup shows that a generator that was made anew, with another UID, still knows its own.
func TestBackup(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"))
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())
	w.run(t, obj)

	live := &v1beta1.ArtifactGenerator{}
	check(t, w.c.Get(t.Context(), client.ObjectKeyFromObject(obj), live))
	live.Finalizers = nil
	check(t, w.c.Update(t.Context(), live))
	check(t, w.c.Client.Delete(t.Context(), live))

	anew := generatorOf("gen")
	anew.UID, anew.Spec = "uid-anew", obj.Spec
	check(t, w.c.Client.Create(t.Context(), anew))
	expect(t, w.run(t, anew).Object, meta.ReadyCondition, "True")

	if label := w.artifact(t, "a").Labels[v1beta1.GeneratorLabel]; label != "uid-anew" {
		t.Errorf("it belongs to %q", label)
	}
}

func TestLoop(t *testing.T) {
	first := generatorOf("first", withRepo, withArtifact("a", "@repo/**", "@artifact/"))
	second := generatorOf("second", withSource("in", "ExternalArtifact", "a"), withArtifact("b", "@in/**", "@artifact/"))
	w := newWorld(t, nil, first, second)
	w.push(t, "repo", "main@sha1:1", repo())
	expect(t, w.run(t, first).Object, meta.ReadyCondition, "True")
	expect(t, w.run(t, second).Object, meta.ReadyCondition, "True")
	same(t, "b", repo(), w.files(t, "b"))

	w.spec(t, first, func(o *v1beta1.ArtifactGenerator) {
		withSource("back", "ExternalArtifact", "b")(o)
		o.Spec.Artifacts[0].Copy[0].From = "@back/**"
	})

	for _, obj := range []*v1beta1.ArtifactGenerator{first, second} {
		expect(t, w.run(t, obj).Object, meta.ReadyCondition, "False ValidationFailed: source ")
	}
}
