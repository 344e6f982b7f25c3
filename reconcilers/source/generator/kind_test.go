package generator_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/source/generator"
)

func repo() map[string]string {
	return map[string]string{"apps/a/a.yaml": "a", "apps/b/b.yaml": "b", "apps/b/sub/c.yaml": "c", "README.md": "read"}
}

func TestFirstRun(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"),
		withArtifact("b", "@repo/apps/b/**", "@artifact/x/"))
	obj.Finalizers = nil
	obj.Spec.CommonMetadata = &meta.CommonMetadata{
		Labels: map[string]string{"team": "one", "app.kubernetes.io/managed-by": "me"}, Annotations: map[string]string{"note": "{x}"},
	}
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())

	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 2 artifact(s)")
	expect(t, got.Object, meta.ReconcilingCondition, "")

	if got.Result.RequeueAfter != time.Hour {
		t.Errorf("next run after %s", got.Result.RequeueAfter)
	}

	same(t, "finalizers", []string{"source.extensions.fluxcd.io/finalizer"}, got.Object.Finalizers)

	for _, p := range got.Patches {
		if p.Owner != "source-watcher" {
			t.Errorf("patch of %s", p.Owner)
		}
	}

	ea := w.artifact(t, "a")
	same(t, "labels", map[string]string{
		"app.kubernetes.io/managed-by": "source-watcher", "source.extensions.fluxcd.io/generator": "uid-of-gen", "team": "one",
	}, ea.Labels)
	same(t, "annotations", map[string]string{"note": "{x}"}, ea.Annotations)
	same(t, "source", &meta.NamespacedObjectKindReference{
		APIVersion: "source.extensions.fluxcd.io/v1beta1", Kind: "ArtifactGenerator", Name: "gen", Namespace: "apps",
	}, ea.Spec.SourceRef)
	expect(t, ea, meta.ReadyCondition, "True Succeeded: Artifact is ready")

	a := ea.Status.Artifact
	match := regexp.MustCompile(`^externalartifact/apps/a/([0-9a-f]{64})\.tar\.gz$`).FindStringSubmatch(a.Path)

	if match == nil || a.URL != "http://source.test/"+a.Path || a.Revision != "latest@sha256:"+match[1] || a.Metadata != nil ||
		a.Size == nil || *a.Size == 0 || a.LastUpdateTime.IsZero() {
		t.Fatalf("artifact is %+v", a)
	}

	same(t, "a", map[string]string{"a.yaml": "a"}, w.files(t, "a"))
	same(t, "b", map[string]string{"x/b.yaml": "b", "x/sub/c.yaml": "c"}, w.files(t, "b"))

	b := w.artifact(t, "b").Status.Artifact
	same(t, "inventory", []v1beta1.ExternalArtifactReference{
		{Name: "a", Namespace: "apps", Digest: a.Digest, Filename: filepath.Base(a.Path)},
		{Name: "b", Namespace: "apps", Digest: b.Digest, Filename: filepath.Base(b.Path)},
	}, got.Object.Status.Inventory)

	if !strings.HasPrefix(got.Object.Status.ObservedSourcesDigest, "sha256:") {
		t.Errorf("sources are %q", got.Object.Status.ObservedSourcesDigest)
	}

	same(t, "events", []string{fmt.Sprintf(
		"Succeeded: external artifacts reconciled: apps/a (%s), apps/b (%s)", a.Digest, b.Digest)}, told(got.Events))
}

func TestNothingNew(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"))
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())
	first := w.run(t, obj)
	before := w.c.writes.Load()

	w.clock.Advance(time.Hour)

	second := w.run(t, obj)
	same(t, "status", first.Object.Status, second.Object.Status)
	same(t, "events", []string{"trace NoDriftDetected: No drift detected, 1 artifact(s) up to date"}, told(second.Events))

	if w.c.writes.Load() != before || len(second.Patches) > 0 {
		t.Errorf("%d writes, %d patches", w.c.writes.Load()-before, len(second.Patches))
	}
}

// TestMonorepo is what generators are for: of fifty applications one changes, and nothing of the others does.
func TestMonorepo(t *testing.T) {
	const apps = 50

	files := map[string]string{}
	obj := generatorOf("gen", withRepo)

	for i := range apps {
		name := fmt.Sprintf("app-%02d", i)
		files["apps/"+name+"/deploy.yaml"] = "name: " + name
		files["apps/"+name+"/sub/more.yaml"] = "more"
		withArtifact(name, "@repo/apps/"+name+"/**", "@artifact/")(obj)
	}

	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", files)
	expect(t, w.run(t, obj).Object, meta.ReadyCondition, "True")

	before := map[string]*sourcev1.ExternalArtifact{}
	for i := range apps {
		name := fmt.Sprintf("app-%02d", i)
		before[name] = w.artifact(t, name)
	}

	w.clock.Advance(time.Minute)

	files["apps/app-07/deploy.yaml"], files["README.md"] = "name: changed", "read"
	w.push(t, "repo", "main@sha1:2", files)

	writes := w.c.writes.Load()
	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 50 artifact(s)")

	for name, was := range before {
		is := w.artifact(t, name)
		if name == "app-07" {
			if is.Status.Artifact.Digest == was.Status.Artifact.Digest || is.Status.Artifact.Revision == was.Status.Artifact.Revision {
				t.Errorf("%s is as it was: %+v", name, is.Status.Artifact)
			}

			continue
		}

		if is.ResourceVersion != was.ResourceVersion {
			t.Errorf("%s was written", name)
		}
	}

	if n := w.c.writes.Load() - writes; n != 1 {
		t.Errorf("%d writes", n)
	}

	same(t, "events", []string{
		"Succeeded: external artifacts reconciled: apps/app-07 (" + w.artifact(t, "app-07").Status.Artifact.Digest + ")",
	}, told(got.Events))

	// The old file stays for those who are on their way to it, until a run after a while.
	old := before["app-07"].Status.Artifact
	check(t, w.store.Verify(old))

	for _, revision := range []string{"main@sha1:3", "main@sha1:4"} {
		w.clock.Advance(2 * time.Minute)
		w.push(t, "repo", revision, files)
		w.run(t, obj)
	}

	if err := w.store.Verify(old); err == nil {
		t.Error("the superseded file is still there")
	}

	check(t, w.store.Verify(w.artifact(t, "app-07").Status.Artifact))
	check(t, w.store.Verify(before["app-08"].Status.Artifact))
}

func TestRevisions(t *testing.T) {
	obj := generatorOf("gen", withRepo, withSource("chart", "HelmChart", "chart"),
		withArtifact("own", "@repo/README.md", "@artifact/"), withArtifact("named", "@repo/README.md", "@artifact/"),
		withArtifact("origin", "@repo/README.md", "@artifact/"), withArtifact("far", "@chart/**", "@artifact/"))
	obj.Spec.Artifacts[1].Revision = "@repo"
	obj.Spec.Artifacts[2].OriginRevision = "@repo"
	obj.Spec.Artifacts[3].OriginRevision = "@chart"
	w := newWorld(t, nil, obj, &sourcev1.HelmChart{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "chart"}})
	w.push(t, "repo", "main@sha1:1", repo())

	chart := &sourcev1.HelmChart{}
	check(t, w.c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "chart"}, chart))
	chart.Status.Artifact = put(t, w.store, "HelmChart", namespace, "chart", "1.2.3", map[string]string{"chart/Chart.yaml": "x"})
	chart.Status.Artifact.Metadata = map[string]string{"org.opencontainers.image.revision": "main@sha1:origin", "other": "x"}
	check(t, w.c.Client.Status().Update(t.Context(), chart))

	expect(t, w.run(t, obj).Object, meta.ReadyCondition, "True")

	type facts struct {
		Revision string
		Metadata map[string]string
	}

	of := func(name string) facts {
		a := w.artifact(t, name).Status.Artifact

		return facts{strings.ReplaceAll(a.Revision, strings.TrimSuffix(filepath.Base(a.Path), ".tar.gz"), "HASH"), a.Metadata}
	}

	const key = "org.opencontainers.image.revision"

	same(t, "own", facts{"latest@sha256:HASH", nil}, of("own"))
	same(t, "named", facts{"main@sha1:1", nil}, of("named"))
	same(t, "origin", facts{"latest@sha256:HASH", map[string]string{key: "main@sha1:1"}}, of("origin"))
	same(t, "far", facts{"latest@sha256:HASH", map[string]string{key: "main@sha1:origin"}}, of("far"))

	before := map[string]*sourcev1.ExternalArtifact{}
	for _, name := range []string{"own", "named", "origin", "far"} {
		before[name] = w.artifact(t, name)
	}

	w.clock.Advance(time.Minute)
	w.push(t, "repo", "main@sha1:2", repo())
	expect(t, w.run(t, obj).Object, meta.ReadyCondition, "True")

	same(t, "named", facts{"main@sha1:2", nil}, of("named"))
	same(t, "origin", facts{"latest@sha256:HASH", map[string]string{key: "main@sha1:2"}}, of("origin"))

	for name, written := range map[string]bool{"own": false, "named": true, "origin": true, "far": false} {
		is, was := w.artifact(t, name), before[name]
		if is.ResourceVersion != was.ResourceVersion != written {
			t.Errorf("%s was written: %t", name, !written)
		}

		if is.Status.Artifact.Digest != was.Status.Artifact.Digest {
			t.Errorf("%s has another digest", name)
		}

		// What wakes those who apply it is the revision, the digest and the time.
		if renewed := !is.Status.Artifact.LastUpdateTime.Equal(&was.Status.Artifact.LastUpdateTime); renewed != (name == "named") {
			t.Errorf("%s is new: %t", name, renewed)
		}
	}
}

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

func TestValidation(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*v1beta1.ArtifactGenerator)
		deps   func(*generator.Deps)
		want   string
	}{
		"Alias": {
			reason: "An alias means one source.",
			change: withSource("repo", "Bucket", "other"), want: "ValidationFailed: duplicate source alias 'repo' found",
		},
		"Name": {
			reason: "A name means one artifact.",
			change: withArtifact("a", "@repo/x", "@artifact/"), want: "ValidationFailed: duplicate artifact name 'a' found",
		},
		"Revision": {
			reason: "A revision comes from a source.",
			change: func(o *v1beta1.ArtifactGenerator) { o.Spec.Artifacts[0].Revision = "@other" },
			want:   "ValidationFailed: artifact a revision source alias 'other' not found",
		},
		"Origin": {
			reason: "So does an origin.",
			change: func(o *v1beta1.ArtifactGenerator) { o.Spec.Artifacts[0].OriginRevision = "@other" },
			want:   "ValidationFailed: artifact a originRevision source alias 'other' not found",
		},
		"Copy": {
			reason: "And files.",
			change: withArtifact("b", "@other/x", "@artifact/"), want: "ValidationFailed: artifact b copy source alias 'other' not found",
		},
		"Glob": {
			reason: "Patterns have to be patterns.",
			change: withArtifact("b", "@repo/[", "@artifact/"), want: "ValidationFailed: artifact b has an invalid copy source '@repo/['",
		},
		"Pattern": {
			reason: "So do path patterns.",
			change: func(o *v1beta1.ArtifactGenerator) { o.Spec.PathPattern = "@other/{x}" },
			want:   `ValidationFailed: pathPattern "@other/{x}": source alias 'other' not found`,
		},
		"Variable": {
			reason: "A variable has to come from somewhere.",
			change: func(o *v1beta1.ArtifactGenerator) {
				o.Spec.PathPattern, o.Spec.Artifacts[0].Name = "@repo/apps/{app}", "{app}-{env}"
			},
			want: `ValidationFailed: artifact {app}-{env} uses the variable "env", which pathPattern "@repo/apps/{app}" does not capture`,
		},
		"Own": {
			reason: "A generator does not feed on what it makes.",
			change: withSource("self", "ExternalArtifact", "a"),
			want:   "ValidationFailed: source 'self' is the artifact 'a' that this generator makes",
		},
		"Namespace": {
			reason: "Other namespaces can be locked.",
			change: func(o *v1beta1.ArtifactGenerator) { o.Spec.Sources[0].Namespace = "other" },
			deps:   func(d *generator.Deps) { d.NoCrossNamespaceRefs = true },
			want:   "AccessDenied: cross-namespace reference to source GitRepository/other/repo is not allowed",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"), tc.change)
			w := newWorld(t, tc.deps, obj)
			w.push(t, "repo", "main@sha1:1", repo())

			got := w.run(t, obj)
			expect(t, got.Object, meta.StalledCondition, "True "+tc.want)
			expect(t, got.Object, meta.ReadyCondition, "False "+tc.want)

			if got.Result.RequeueAfter != 0 || w.c.writes.Load() != 0 {
				t.Errorf("%s next run after %s, %d writes", tc.reason, got.Result.RequeueAfter, w.c.writes.Load())
			}
		})
	}
}

func TestOtherNamespace(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/**", "@artifact/"))
	obj.Spec.Sources[0].Namespace = "elsewhere"
	w := newWorld(t, nil, obj)
	push(t, w.c.Client, w.store, "elsewhere", "repo", "main@sha1:1", map[string]string{"x": "y"})

	expect(t, w.run(t, obj).Object, meta.ReadyCondition, "True")
	same(t, "files", map[string]string{"x": "y"}, w.files(t, "a"))
}

func TestSourceKinds(t *testing.T) {
	at := metav1.ObjectMeta{Namespace: namespace, Name: "s"}

	for kind, obj := range map[string]client.Object{
		"GitRepository": &sourcev1.GitRepository{ObjectMeta: at}, "OCIRepository": &sourcev1.OCIRepository{ObjectMeta: at},
		"Bucket": &sourcev1.Bucket{ObjectMeta: at}, "HelmChart": &sourcev1.HelmChart{ObjectMeta: at},
		"ExternalArtifact": &sourcev1.ExternalArtifact{ObjectMeta: at},
	} {
		t.Run(kind, func(t *testing.T) {
			gen := generatorOf("gen", withSource("s", kind, "s"), withArtifact("a", "@s/**", "@artifact/"))
			w := newWorld(t, nil, gen, obj)

			got := w.run(t, gen)
			expect(t, got.Object, meta.ReadyCondition, "False SourceFetchFailed: get sources failed: source '"+kind+"/apps/s' is not ready")
			expect(t, got.Object, meta.StalledCondition, "")

			if got.Result.RequeueAfter != 5*time.Second {
				t.Errorf("next run after %s", got.Result.RequeueAfter)
			}

			live, err := source(t.Context(), w.c, kind, client.ObjectKeyFromObject(obj))
			check(t, err)

			fields, ok := live.(interface{ StatusFields() meta.StatusFields })
			if !ok {
				t.Fatal("it has no status")
			}

			*fields.StatusFields().Artifact = put(t, w.store, kind, namespace, "s", "r1", map[string]string{"file": kind})
			check(t, w.c.Client.Status().Update(t.Context(), live))

			got = w.run(t, gen)
			expect(t, got.Object, meta.ReadyCondition, "True Succeeded")
			same(t, "files", map[string]string{"file": kind}, w.files(t, "a"))
		})
	}
}

func TestMissingSources(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/**", "@artifact/"))
	w := newWorld(t, func(d *generator.Deps) { d.RequeueDependency = 7 * time.Second }, obj)

	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, `False SourceFetchFailed: get sources failed: gitrepositories.source.toolkit.fluxcd.io "repo" not found`)

	if got.Result.RequeueAfter != 7*time.Second {
		t.Errorf("next run after %s", got.Result.RequeueAfter)
	}

	// Its file may be gone before the source says so.
	w.push(t, "repo", "main@sha1:1", repo())
	check(t, os.RemoveAll(filepath.Join(w.root, "gitrepository")))
	check(t, os.RemoveAll(filepath.Join(w.root, ".blobs")))

	got = w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "False SourceFetchFailed: fetch sources failed: source 'repo': ")

	w.push(t, "repo", "main@sha1:1", repo())

	got = w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True")
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

func TestDisabled(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/**", "@artifact/"))
	obj.Annotations = map[string]string{"source.extensions.fluxcd.io/reconcile": "Disabled"}
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", repo())

	if got := w.run(t, obj); len(got.Object.Status.Conditions) > 0 || w.c.writes.Load() > 0 || got.Result.RequeueAfter != 0 {
		t.Errorf("%+v", got)
	}
}

func TestLate(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("a", "@repo/**", "@artifact/"))
	w := newWorld(t, func(d *generator.Deps) { d.Timeout = time.Nanosecond }, obj)
	w.push(t, "repo", "main@sha1:1", repo())

	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "False ")

	if c := got.Object.Status.Conditions; !strings.Contains(fmt.Sprint(c), "timed out after 1ns") {
		t.Errorf("conditions %v", c)
	}
}

func TestKeys(t *testing.T) {
	obj := generatorOf("gen", withRepo)
	if key := generator.SourceKey(obj, obj.Spec.Sources[0]); key.String() != "apps/repo" {
		t.Errorf("key %s", key)
	}

	for name, tc := range map[string]struct {
		ref  *meta.NamespacedObjectKindReference
		want string
	}{
		"None":  {nil, ""},
		"Full":  {&meta.NamespacedObjectKindReference{APIVersion: "source.extensions.fluxcd.io/v1", Kind: "ArtifactGenerator", Name: "g", Namespace: "n"}, "n/g"},
		"Short": {&meta.NamespacedObjectKindReference{APIVersion: "source.extensions.fluxcd.io/v1beta1", Kind: "ArtifactGenerator", Name: "g"}, "apps/g"},
		"Group": {&meta.NamespacedObjectKindReference{APIVersion: "example.org/v1", Kind: "ArtifactGenerator", Name: "g"}, ""},
		"Core":  {&meta.NamespacedObjectKindReference{APIVersion: "v1", Kind: "ArtifactGenerator", Name: "g"}, ""},
		"Kind":  {&meta.NamespacedObjectKindReference{APIVersion: "source.extensions.fluxcd.io/v1", Kind: "Other", Name: "g"}, ""},
	} {
		ea := &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}
		ea.Spec.SourceRef = tc.ref

		key, ok := generator.MakerKey(ea)
		if ok != (tc.want != "") || ok && key.String() != tc.want {
			t.Errorf("%s: %s", name, key)
		}
	}
}
