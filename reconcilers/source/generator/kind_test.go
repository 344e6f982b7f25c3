package generator_test

import (
	"fmt"
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
