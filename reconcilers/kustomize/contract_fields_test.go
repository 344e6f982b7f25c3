package kustomize_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// missing is what the API server has where there is no object, or no such field.
const missing = "<none>"

// read returns what the API server has at "Kind/name field|field…", where Kind is that of the core or Deployment.
func (e *env) read(at string) string {
	e.t.Helper()

	object, fields, _ := strings.Cut(at, " ")
	kind, name, _ := strings.Cut(object, "/")
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("v1")
	u.SetKind(kind)

	if kind == "Deployment" {
		u.SetAPIVersion("apps/v1")
	}

	err := e.c.Get(e.t.Context(), types.NamespacedName{Namespace: e.namespace, Name: name}, u)
	if apierrors.IsNotFound(err) {
		return missing
	}

	must(e.t, err)

	var value any = u.Object

	for field := range strings.SplitSeq(fields, "|") {
		if list, ok := value.([]any); ok {
			value = list[0]
		}

		m, _ := value.(map[string]any)
		if value = m[field]; value == nil {
			return missing
		}
	}

	return strings.ReplaceAll(fmt.Sprint(value), e.namespace, "NS")
}

const kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"

// TestContractFields holds what each field of a Kustomization does to what the API server has in the end.
func TestContractFields(t *testing.T) {
	labelled := strings.Replace(configMap("a", "1"), "metadata:\n", "metadata:\n  labels: {tier: one}\n  annotations: {note: two}\n", 1)
	web := deployment("web", "example.org/app:1@sha256:"+strings.Repeat("a", 64))
	const image = "Deployment/web spec|template|spec|containers|image"
	digest := "sha256:" + strings.Repeat("b", 64)

	cases := map[string]struct {
		reason string
		files  map[string]string
		spec   func(*kustomizev1.KustomizationSpec)
		deps   func(*kustomize.Deps)
		want   map[string]string
		ready  string // of a failure
	}{
		"PathOfRoot": {
			reason: "Without a path the whole artifact is built, and only YAML in it.",
			files:  map[string]string{"a.yaml": configMap("a", "1"), "deep/er/b.yml": configMap("b", "2"), "README.md": "no: object"},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.Path = "" },
			want:   map[string]string{"ConfigMap/a data|key": "1", "ConfigMap/b data|key": "2"},
		},
		"Path": {
			reason: "A path leaves out what is beside it.",
			files:  map[string]string{"a/a.yaml": configMap("a", "1"), "b/b.yaml": configMap("b", "1")},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.Path = "./a" },
			want:   map[string]string{"ConfigMap/a data|key": "1", "ConfigMap/b data": missing},
		},
		"PathAbove": {
			reason: "A path does not lead out of the artifact.",
			files:  map[string]string{"a.yaml": configMap("a", "1")},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.Path = "../../etc" },
			ready:  "False ArtifactFailed: kustomization path not found: stat ../../etc: path is outside of the artifact",
		},
		"KustomizationFile": {
			reason: "A kustomization file says what belongs to the build; one further down is built by itself.",
			files: map[string]string{
				"Kustomization": kustomization + "resources: [a.yaml]\n", "a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1"),
			},
			want: map[string]string{"ConfigMap/a data|key": "1", "ConfigMap/b data": missing},
		},
		"NestedKustomizationFile": {
			reason: "Without a file at the path, a directory with one is built as it says.",
			files: map[string]string{
				"c.yaml": configMap("c", "1"), "sub/kustomization.yml": kustomization + "resources: [a.yaml]\nnamePrefix: p-\n",
				"sub/a.yaml": configMap("a", "1"), "sub/b.yaml": configMap("b", "1"),
			},
			want: map[string]string{"ConfigMap/p-a data|key": "1", "ConfigMap/c data|key": "1", "ConfigMap/b data": missing},
		},
		"Names": {
			reason: "Prefix and suffix are put around each name.",
			files:  map[string]string{"a.yaml": configMap("a", "1")},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.NamePrefix, s.NameSuffix = "x-", "-y" },
			want:   map[string]string{"ConfigMap/x-a-y data|key": "1", "ConfigMap/a data": missing},
		},
		"TargetNamespace": {
			reason: "It overrides the namespace of each object.",
			files:  map[string]string{"a.yaml": strings.Replace(configMap("a", "1"), "namespace: NS", "namespace: elsewhere", 1)},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "NS" },
			want:   map[string]string{"ConfigMap/a metadata|namespace": "NS"},
		},
		"CommonMetadata": {
			reason: "It wins over what the objects have, and the labels of the owner win over it.",
			files:  map[string]string{"a.yaml": labelled},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.CommonMetadata = &meta.CommonMetadata{
					Labels: map[string]string{"tier": "two", "team": "x"}, Annotations: map[string]string{"note": "three"},
				}
			},
			want: map[string]string{
				"ConfigMap/a metadata|labels|tier": "two", "ConfigMap/a metadata|labels|team": "x", "ConfigMap/a metadata|annotations|note": "three",
				"ConfigMap/a metadata|labels|kustomize.toolkit.fluxcd.io/name":      "app",
				"ConfigMap/a metadata|labels|kustomize.toolkit.fluxcd.io/namespace": "NS",
			},
		},
		"BuildMetadata": {
			reason: "Objects tell where they come from, whatever the file says.",
			files: map[string]string{
				"kustomization.yaml": kustomization + "resources: [a.yaml]\nbuildMetadata: [managedByLabel]\n", "a.yaml": configMap("a", "1"),
			},
			spec: func(s *kustomizev1.KustomizationSpec) { s.BuildMetadata = []string{"originAnnotations"} },
			want: map[string]string{
				"ConfigMap/a metadata|annotations|config.kubernetes.io/origin":    "path: a.yaml\n",
				"ConfigMap/a metadata|labels|app.kubernetes.io/managed-by":        missing,
				"ConfigMap/a metadata|annotations|alpha.config.kubernetes.io/all": missing,
			},
		},
		"TransformerMetadata": {
			reason: "And what changed them.",
			files:  map[string]string{"a.yaml": configMap("a", "1")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.BuildMetadata, s.NamePrefix = []string{"transformerAnnotations"}, "x-"
			},
			want: map[string]string{
				"ConfigMap/x-a metadata|annotations|alpha.config.kubernetes.io/transformations": "- configuredIn: kustomization.yaml\n  configuredBy:\n" +
					"    apiVersion: builtin\n    kind: PrefixTransformer\n",
				"ConfigMap/x-a metadata|annotations|config.kubernetes.io/origin": missing,
			},
		},
		"Components": {
			reason: "Components are relative to the path; those that are missing can be left out.",
			files: map[string]string{
				"app/a.yaml":              configMap("a", "1"),
				"part/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [b.yaml]\n", "part/b.yaml": configMap("b", "2"),
			},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Path, s.Components, s.IgnoreMissingComponents = "app", []string{"../part", "../none"}, true
			},
			want: map[string]string{"ConfigMap/a data|key": "1", "ConfigMap/b data|key": "2"},
		},
		"RemoteComponent": {
			reason: "A component is never fetched.",
			files:  map[string]string{"a.yaml": configMap("a", "1")},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.Components = []string{"https://example.org/part"} },
			ready:  "False BuildFailed: component path 'https://example.org/part' must be local and relative",
		},
		"PatchByName": {
			reason: "A strategic patch finds its object by kind and name.",
			files:  map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Patches = []meta.Patch{{Patch: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: NS}\ndata: {more: \"2\"}\n"}}
			},
			want: map[string]string{"ConfigMap/a data|key": "1", "ConfigMap/a data|more": "2", "ConfigMap/b data|more": missing},
		},
		"PatchByLabel": {
			reason: "A JSON patch finds its objects by a selector, after the patches of the file.",
			files: map[string]string{
				"kustomization.yaml": kustomization + "resources: [a.yaml, b.yaml]\npatches:\n- patch: |\n    - {op: add, path: /data/more, value: file}\n  target: {kind: ConfigMap}\n",
				"a.yaml":             labelled, "b.yaml": configMap("b", "1"),
			},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Patches = []meta.Patch{{
					Patch: "- {op: replace, path: /data/more, value: spec}", Target: &meta.Selector{LabelSelector: "tier in (one)", AnnotationSelector: "note=two"},
				}}
			},
			want: map[string]string{"ConfigMap/a data|more": "spec", "ConfigMap/b data|more": "file"},
		},
		"PatchByExpression": {
			reason: "Names of targets are anchored regular expressions.",
			files:  map[string]string{"a.yaml": configMap("a", "1"), "ab.yaml": configMap("ab", "1"), "abc.yaml": configMap("abc", "1")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Patches = []meta.Patch{{
					Patch: "- {op: replace, path: /data/key, value: hit}", Target: &meta.Selector{Version: "v1", Kind: "ConfigMap", Name: "a.?"},
				}}
			},
			want: map[string]string{"ConfigMap/a data|key": "hit", "ConfigMap/ab data|key": "hit", "ConfigMap/abc data|key": "1"},
		},
		"ImageTag": {
			reason: "A new tag drops the digest.",
			files:  map[string]string{"web.yaml": web},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Images = []meta.Image{{Name: "example.org/app", NewTag: "2"}}
			},
			want: map[string]string{image: "example.org/app:2"},
		},
		"ImageDigest": {
			reason: "A new digest drops the tag of the file.",
			files: map[string]string{
				"kustomization.yaml": kustomization + "resources: [web.yaml]\nimages: [{name: example.org/app, newTag: \"3\"}]\n", "web.yaml": web,
			},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Images = []meta.Image{{Name: "example.org/app", Digest: digest}}
			},
			want: map[string]string{image: "example.org/app@" + digest},
		},
		"ImageTagAndDigest": {
			reason: "Both are kept if both are given, and the name is by itself.",
			files:  map[string]string{"web.yaml": web},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Images = []meta.Image{{Name: "example.org/app", NewName: "mirror.example.org/app", NewTag: "4", Digest: digest}}
			},
			want: map[string]string{image: "mirror.example.org/app:4@" + digest},
		},
		"List": {
			reason: "A list stands for its items.",
			files: map[string]string{
				"a.yaml": "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(configMap("a", "1")), "\n", "\n  ") +
					"\n- " + strings.ReplaceAll(strings.TrimSpace(configMap("b", "2")), "\n", "\n  ") + "\n",
			},
			want: map[string]string{"ConfigMap/a data|key": "1", "ConfigMap/b data|key": "2"},
		},
		"Large": {
			reason: "An object of more than a mebibyte is applied like any other.",
			files: map[string]string{"a.yaml": strings.Replace(configMap("a", strings.Repeat("x", 1_000_000)), "metadata:\n",
				"metadata:\n  annotations: {long: "+strings.Repeat("y", 200_000)+"}\n", 1)},
			want: map[string]string{
				"ConfigMap/a data|key": strings.Repeat("x", 1_000_000), "ConfigMap/a metadata|annotations|long": strings.Repeat("y", 200_000),
			},
		},
		"StringData": {
			reason: "A Secret may be written in plain text, and a status is left out.",
			files: map[string]string{
				"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: NS}\nstringData: {k: v}\n",
				"d.yaml": deployment("web", "a:1") + "status: {replicas: 7}\n",
			},
			want: map[string]string{"Secret/s data|k": "dg==", "Deployment/web status|replicas": missing},
		},
		"Empty": {
			reason: "An artifact without objects is applied: nothing.",
			files:  map[string]string{"README.md": ""},
			want:   map[string]string{"ConfigMap/a data": missing},
		},
		"ExternalArtifactDenied": {
			reason: "The gate ExternalArtifact, switched off, refuses such sources.",
			files:  map[string]string{"a.yaml": configMap("a", "1")},
			deps:   func(d *kustomize.Deps) { d.NoExternalArtifacts = true },
			spec:   func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Kind = "ExternalArtifact" },
			ready:  "False AccessDenied: can't access 'ExternalArtifact/NS/repo', ExternalArtifact feature gate is disabled",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) {
				if tc.deps != nil {
					tc.deps(d)
				}
			})
			e.publish("repo", "main@sha1:1", tc.files)
			e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
				if tc.spec != nil {
					tc.spec(s)
				}

				s.TargetNamespace = strings.ReplaceAll(s.TargetNamespace, "NS", e.namespace)

				for i := range s.Patches {
					s.Patches[i].Patch = strings.ReplaceAll(s.Patches[i].Patch, "NS", e.namespace)
				}
			})

			obj, _ := e.once("app")

			if tc.ready == "" {
				tc.ready = "True ReconciliationSucceeded: Applied revision: main@sha1:1"
			}

			if got := says(obj, meta.ReadyCondition); got != tc.ready {
				t.Errorf("%s\nReady is %q, want %q", tc.reason, got, tc.ready)
			}

			for at, want := range tc.want {
				if got := e.read(at); got != want {
					t.Errorf("%s\n%s is %.500q, want %.500q", tc.reason, at, got, want)
				}
			}
		})
	}
}

// TestContractManyObjects holds that a large set is applied whole, listed whole and taken out whole.
func TestContractManyObjects(t *testing.T) {
	const many = 200

	e := newEnv(t)
	files := map[string]string{}

	for i := range many {
		files[fmt.Sprintf("%d.yaml", i)] = configMap(fmt.Sprintf("c%03d", i), "1")
	}

	e.publish("repo", "main@sha1:1", files)
	e.kustomization("app", nil)

	if obj := e.ready("app"); len(ids(obj)) != many {
		t.Errorf("the inventory has %d entries", len(ids(obj)))
	}

	if told := e.told(); strings.Count(told[0], " created") != many {
		t.Errorf("the event lists %d objects", strings.Count(told[0], " created"))
	}

	count := func() int {
		list := &corev1.ConfigMapList{}
		must(t, e.c.List(t.Context(), list, client.InNamespace(e.namespace), client.MatchingLabels{kustomizev1.OwnerNameLabel: "app"}))

		return len(list.Items)
	}

	if got := count(); got != many {
		t.Errorf("%d objects are there", got)
	}

	e.publish("repo", "main@sha1:2", map[string]string{"0.yaml": files["0.yaml"]})

	if obj := e.ready("app"); len(ids(obj)) != 1 || count() != 1 {
		t.Errorf("the inventory has %d entries, and %d objects are there", len(ids(obj)), count())
	}
}

// TestContractUnpruned holds that what left the set stays without prune, and is forgotten.
func TestContractUnpruned(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Prune = false })
	e.ready("app")
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "1")})

	obj := e.ready("app")
	if diff := cmp.Diff([]string{"NS_a__ConfigMap"}, ids(obj)); diff != "" || e.data("b") == nil {
		t.Errorf("b is %v; inventory: -want, +got:\n%s", e.data("b"), diff)
	}
}

// TestContractStages holds that kinds can be applied before the others.
func TestContractStages(t *testing.T) {
	files := map[string]string{
		"a.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: NS}\n", "b.yaml": configMap("b", "1"),
	}

	for name, tc := range map[string]struct {
		reason string
		stages []schema.GroupKind
		want   string
	}{
		"Usual":  {"Accounts come before what they may read.", nil, "ServiceAccount/NS/a created\nConfigMap/NS/b created"},
		"Custom": {"A stage comes before either.", []schema.GroupKind{{Kind: "ConfigMap"}}, "ConfigMap/NS/b created\nServiceAccount/NS/a created"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) { d.Stages = tc.stages })
			e.publish("repo", "main@sha1:1", files)
			e.kustomization("app", nil)
			e.ready("app")

			if told := e.told(); told[0] != "Normal Progressing Apply: "+tc.want {
				t.Errorf("%s\nevents: %q", tc.reason, told)
			}
		})
	}
}

// TestContractOverrideManagers holds whose fields are taken over.
func TestContractOverrideManagers(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		takeover []apply.Takeover
		want     string
	}{
		"Nobody": {"What others have set stays.", nil, "x"},
		"Prefix": {"--override-manager is the beginning of a name.", []apply.Takeover{{Manager: "old", Prefix: true}}, missing},
		"Exact":  {"--override-manager-before-dry-run is a whole one.", []apply.Takeover{{Manager: "old-tool"}}, missing},
		"Other":  {"Which a part of it is not.", []apply.Takeover{{Manager: "old"}}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) { d.Takeovers = tc.takeover })
			must(t, e.c.Create(t.Context(), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "a"}, Data: map[string]string{"extra": "x", "key": "0"},
			}, client.FieldOwner("old-tool")))
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
			e.kustomization("app", nil)
			e.ready("app")

			if got := e.read("ConfigMap/a data|extra"); got != tc.want || e.read("ConfigMap/a data|key") != "1" {
				t.Errorf("%s\nextra is %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
