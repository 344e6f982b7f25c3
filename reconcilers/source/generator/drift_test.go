package generator_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

func TestDrift(t *testing.T) {
	cases := map[string]struct {
		reason string
		harm   func(t *testing.T, w *world, obj *v1beta1.ArtifactGenerator)

		event string // beside that of the artifact
		again bool   // the artifact counts as new for those who wait for it
	}{
		"Spec": {
			reason: "Another spec makes another artifact.",
			harm: func(t *testing.T, w *world, obj *v1beta1.ArtifactGenerator) {
				w.spec(t, obj, func(o *v1beta1.ArtifactGenerator) { o.Spec.Artifacts[0].Copy[0].To = "@artifact/y/" })
			},
			again: true,
		},
		"FileGone": {
			reason: "A lost file is made again.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				check(t, os.Remove(filepath.Join(w.root, w.artifact(t, "a").Status.Artifact.Path)))
			},
			again: true,
		},
		"StorageGone": {
			reason: "So is a lost storage.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				check(t, os.RemoveAll(filepath.Join(w.root, "externalartifact")))
			},
			again: true,
		},
		"FileWrong": {
			reason: "A file that is not what it was is replaced, and people are told.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				check(t, os.WriteFile(filepath.Join(w.root, w.artifact(t, "a").Status.Artifact.Path), []byte("rot"), 0o600))
			},
			event: "ArtifactVerificationFailed: failed to verify integrity of artifact 'apps/a': digest mismatch", again: true,
		},
		"ObjectGone": {
			reason: "What somebody deletes comes back.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				check(t, w.c.Client.Delete(t.Context(), w.artifact(t, "a")))
			},
			again: true,
		},
		"StatusGone": {
			reason: "What somebody takes away comes back.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				ea := w.artifact(t, "a")
				ea.Status = sourcev1.ExternalArtifactStatus{}
				check(t, w.c.Client.Status().Update(t.Context(), ea))
			},
			again: true,
		},
		"StatusWrong": {
			reason: "What somebody writes is written over.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				ea := w.artifact(t, "a")
				ea.Status.Artifact.URL = "http://evil.test/x.tar.gz"
				check(t, w.c.Client.Status().Update(t.Context(), ea))
			},
		},
		"Label": {
			reason: "Labels are what the spec says.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				ea := w.artifact(t, "a")
				ea.Labels["team"] = "two"
				check(t, w.c.Update(t.Context(), ea))
			},
		},
		"NoLabels": {
			reason: "A generator knows its own without them.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				ea := w.artifact(t, "a")
				ea.Labels = nil
				check(t, w.c.Update(t.Context(), ea))
			},
		},
		"Source": {
			reason: "And where it comes from.",
			harm: func(t *testing.T, w *world, _ *v1beta1.ArtifactGenerator) {
				ea := w.artifact(t, "a")
				ea.Spec.SourceRef = nil
				check(t, w.c.Update(t.Context(), ea))
			},
		},
		"Interrupted": {
			reason: "A run that was not finished is done again, whatever the status says.",
			harm: func(t *testing.T, w *world, obj *v1beta1.ArtifactGenerator) {
				check(t, w.c.Get(t.Context(), client.ObjectKeyFromObject(obj), obj))
				obj.Status.Conditions[0].Status = metav1.ConditionUnknown
				obj.Status.Conditions[0].Reason = meta.ProgressingReason
				check(t, w.c.Client.Status().Update(t.Context(), obj))
				check(t, w.c.Client.Delete(t.Context(), w.artifact(t, "a")))
			},
			again: true,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"))
			obj.Spec.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"team": "one"}}
			w := newWorld(t, nil, obj)
			w.push(t, "repo", "main@sha1:1", repo())
			w.run(t, obj)

			before := w.artifact(t, "a")
			w.clock.Advance(time.Minute)
			tc.harm(t, w, obj)

			got := w.run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 1 artifact(s)")

			if tc.event != "" && (len(got.Events) == 0 || !strings.HasPrefix(told(got.Events)[0], tc.event)) {
				t.Errorf("%s events %q", tc.reason, told(got.Events))
			}

			after := w.artifact(t, "a")
			if len(w.files(t, "a")) != 1 {
				t.Errorf("%s files %q", tc.reason, w.files(t, "a"))
			}

			same(t, "labels", before.Labels, after.Labels)
			same(t, "spec", before.Spec, after.Spec)
			expect(t, after, meta.ReadyCondition, "True Succeeded: Artifact is ready")

			if again := !after.Status.Artifact.LastUpdateTime.Equal(&before.Status.Artifact.LastUpdateTime); again != tc.again {
				t.Errorf("%s it is new: %t", tc.reason, again)
			}

			third := w.run(t, obj)
			same(t, "events", []string{"trace NoDriftDetected: No drift detected, 1 artifact(s) up to date"}, told(third.Events))
		})
	}
}

// TestOneFails shows that what is wrong with one artifact does not keep the others back.
func TestOneFails(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"),
		withArtifact("b", "@repo/apps/b/**", "@artifact/"), withArtifact("c", "@repo/README.md", "@artifact/"))
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())
	w.run(t, obj)

	before := w.artifact(t, "b").Status.Artifact

	files := repo()
	delete(files, "apps/b/b.yaml")
	delete(files, "apps/b/sub/c.yaml")
	files["README.md"] = "new"
	w.push(t, "repo", "main@sha1:2", files)

	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "False BuildFailed: b build failed: failed to apply copy operation from "+
		"'@repo/apps/b/**' to '@artifact/': no files match pattern 'apps/b/**' in source 'repo'")
	expect(t, got.Object, meta.ReconcilingCondition, "True ProgressingWithRetry: b build failed")
	same(t, "c", map[string]string{"README.md": "new"}, w.files(t, "c"))
	same(t, "b", before, w.artifact(t, "b").Status.Artifact)
	check(t, w.store.Verify(before))

	if n := len(got.Object.Status.Inventory); n != 3 {
		t.Errorf("%d artifacts in the inventory", n)
	}

	files["apps/b/new.yaml"] = "b"
	w.push(t, "repo", "main@sha1:3", files)

	got = w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True")
	same(t, "b", map[string]string{"new.yaml": "b"}, w.files(t, "b"))
}

func TestOrphans(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"),
		withArtifact("b", "@repo/apps/b/**", "@artifact/"))
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())
	w.run(t, obj)

	b := w.artifact(t, "b")
	w.spec(t, obj, func(o *v1beta1.ArtifactGenerator) { o.Spec.Artifacts = o.Spec.Artifacts[:1] })

	// What cannot be deleted now is deleted later.
	w.c.fail = func(verb string, _ client.Object) error {
		if verb == "delete" {
			return errors.New("no")
		}

		return nil
	}

	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "False ReconciliationFailed: delete ExternalArtifact 'apps/b': no")

	if len(got.Object.Status.Inventory) != 2 || w.store.Verify(b.Status.Artifact) != nil {
		t.Errorf("inventory %v", got.Object.Status.Inventory)
	}

	w.c.fail = nil
	got = w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 1 artifact(s)")

	if w.artifact(t, "b") != nil || len(got.Object.Status.Inventory) != 1 {
		t.Errorf("inventory %v", got.Object.Status.Inventory)
	}

	if _, err := os.Stat(filepath.Join(w.root, "externalartifact", "apps", "b")); !os.IsNotExist(err) {
		t.Errorf("the files are there: %v", err)
	}
}

// TestUnlisted shows that an artifact of a run that was cut short is found again.
func TestUnlisted(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"))
	w := newWorld(t, nil, obj, &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: "left", Labels: map[string]string{v1beta1.GeneratorLabel: "uid-of-gen"},
	}})
	w.push(t, "repo", "main@sha1:1", repo())
	expect(t, w.run(t, obj).Object, meta.ReadyCondition, "True")

	if w.artifact(t, "left") != nil {
		t.Error("it is still there")
	}
}

func TestDeletion(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"),
		withArtifact("b", "@repo/apps/b/**", "@artifact/"))
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())
	w.run(t, obj)

	// Somebody else has made one of them theirs.
	b := w.artifact(t, "b")
	b.Labels[v1beta1.GeneratorLabel], b.Spec.SourceRef.Name = "uid-of-other", "other"
	check(t, w.c.Update(t.Context(), b))

	check(t, w.c.Client.Delete(t.Context(), obj))

	got := w.run(t, obj)
	if !got.Gone || w.artifact(t, "a") != nil {
		t.Errorf("%+v", got.Object)
	}

	if w.artifact(t, "b") == nil || w.store.Verify(b.Status.Artifact) != nil {
		t.Error("what is not its own is gone, too")
	}

	if _, err := os.Stat(filepath.Join(w.root, "externalartifact", "apps", "a")); !os.IsNotExist(err) {
		t.Errorf("the files are there: %v", err)
	}
}

// TestForeignInventory shows that a status that somebody has written does not reach the artifacts of others.
func TestForeignInventory(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"))
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())
	expect(t, w.run(t, obj).Object, meta.ReadyCondition, "True")

	other := put(t, w.store, sourcev1.ExternalArtifactKind, "elsewhere", "other", "main@sha1:2", repo())
	source := put(t, w.store, sourcev1.GitRepositoryKind, "elsewhere", "source", "main@sha1:3", repo())
	digest := "sha256:" + strings.Repeat("0", 64)

	live := &v1beta1.ArtifactGenerator{}
	check(t, w.c.Get(t.Context(), client.ObjectKeyFromObject(obj), live))
	live.Status.Inventory = append(live.Status.Inventory,
		v1beta1.ExternalArtifactReference{Namespace: "elsewhere", Name: "other", Digest: digest, Filename: filepath.Base(other.Path)},
		v1beta1.ExternalArtifactReference{
			Namespace: namespace, Name: "../../gitrepository/elsewhere/source", Digest: digest, Filename: filepath.Base(source.Path),
		})
	check(t, w.c.Client.Status().Update(t.Context(), live))

	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 1 artifact(s)")

	if len(got.Object.Status.Inventory) != 1 {
		t.Errorf("inventory %v", got.Object.Status.Inventory)
	}

	for _, a := range []*meta.Artifact{other, source} {
		if err := w.store.Verify(a); err != nil {
			t.Errorf("artifact %q of another: %v", a.Path, err)
		}
	}
}
