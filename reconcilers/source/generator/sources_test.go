package generator_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/source/generator"
)

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
		"Full":  {&meta.NamespacedObjectKindReference{APIVersion: "source.extensions.fluxcd.io/v1", Kind: "ArtifactGenerator", Name: "g", Namespace: "apps"}, "apps/g"},
		"Other": {&meta.NamespacedObjectKindReference{APIVersion: "source.extensions.fluxcd.io/v1", Kind: "ArtifactGenerator", Name: "g", Namespace: "n"}, ""},
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
