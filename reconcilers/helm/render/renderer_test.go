package render_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/helm/render"
)

const manifest = `---
# Source: web/templates/all.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels:
spec:
  replicas: 1
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.org/web:1"}]}
---
# Source: web/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: config, annotations: {a: "1"}}
data: {big: "12345678901234567890", yes: "yes"}
---
# Source: web/templates/empty.yaml
`

const job = `apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}
spec: {template: {spec: {containers: [{name: migrate, image: "example.org/web:1"}], restartPolicy: Never}}}
`

// labels are those of the origin.
const labels = `
  labels:
    helm.toolkit.fluxcd.io/name: web
    helm.toolkit.fluxcd.io/namespace: apps
`

func newHelmRelease(change ...func(*v2.HelmReleaseSpec)) *v2.HelmRelease {
	hr := &v2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "web"}}
	for _, c := range change {
		c(&hr.Spec)
	}

	return hr
}

func kustomize(patches []meta.Patch, images ...meta.Image) func(*v2.HelmReleaseSpec) {
	return func(s *v2.HelmReleaseSpec) {
		s.PostRenderers = append(s.PostRenderers, v2.PostRenderer{Kustomize: &v2.Kustomize{Patches: patches, Images: images}})
	}
}

func strategy(name string) func(*v2.HelmReleaseSpec) {
	return func(s *v2.HelmReleaseSpec) { s.PostRenderStrategy = name }
}

func common(labels, annotations map[string]string) func(*v2.HelmReleaseSpec) {
	return func(s *v2.HelmReleaseSpec) {
		s.CommonMetadata = &meta.CommonMetadata{Labels: labels, Annotations: annotations}
	}
}

func merge(text string) meta.Patch { return meta.Patch{Patch: text} }

func jsonPatch(kind, path, value string) meta.Patch {
	return meta.Patch{
		Patch:  fmt.Sprintf("- {op: add, path: %s, value: %s}", path, value),
		Target: &meta.Selector{Kind: kind},
	}
}

func run(t *testing.T, hr *v2.HelmRelease, text string) (string, error) {
	t.Helper()

	before := hr.DeepCopy()
	out, err := render.New(t.Context(), build.New(build.Options{}), hr).Run(bytes.NewBufferString(text))

	if diff := cmp.Diff(before, hr); diff != "" {
		t.Errorf("the HelmRelease is only read: %s", diff)
	}

	if err != nil {
		return "", err
	}

	return out.String(), nil
}

func TestRun(t *testing.T) {
	image := meta.Image{Name: "example.org/web", NewTag: "2"}

	cases := map[string]struct {
		reason string
		hr     *v2.HelmRelease
		in     string
		want   []string // in this order
		not    []string
	}{
		"Origin": {"Every object gets the labels of its origin, and is else what Helm would read.", newHelmRelease(), manifest, []string{
			"---\n# Source: web/templates/all.yaml\n", "kind: Deployment", labels, "replicas: 1", "labels:\n        app: web\n    spec",
			"---\n# Source: web/templates/config.yaml\n", `big: "12345678901234567890"`, "\n  \"true\": \"yes\"\n", "annotations:\n    a: \"1\"", labels,
		}, []string{"empty.yaml", "postrender-filename"}},
		"Common": {"Common metadata is added, and does not win over the origin.",
			newHelmRelease(common(map[string]string{"team": "web", v2.OwnerNameLabel: "forged"}, map[string]string{"a": "2"})), manifest,
			[]string{"annotations:\n    a: \"2\"\n", "helm.toolkit.fluxcd.io/name: web", "team: web", "labels:\n        app: web\n    spec",
				"kind: ConfigMap", "annotations:\n    a: \"2\"\n", "team: web"}, []string{"forged"}},
		"Images": {"Images are replaced in pods.", newHelmRelease(kustomize(nil, image)), manifest,
			[]string{"# Source: web/templates/all.yaml", "example.org/web:2", "# Source: web/templates/config.yaml"}, []string{"postrender-filename", "web:1"}},
		"Order": {"A post-renderer sees what the one before has made.", newHelmRelease(
			kustomize([]meta.Patch{jsonPatch("Deployment", "/spec/replicas", "3")}),
			kustomize([]meta.Patch{{Patch: "- {op: test, path: /spec/replicas, value: 3}\n- {op: add, path: /spec/paused, value: true}",
				Target: &meta.Selector{Kind: "Deployment"}}})), manifest, []string{"paused: true", "replicas: 3"}, nil},
		"OriginWins": {"Nor does a patch win over it.", newHelmRelease(common(nil, nil), kustomize([]meta.Patch{
			merge("{apiVersion: v1, kind: ConfigMap, metadata: {name: config, labels: {helm.toolkit.fluxcd.io/name: forged}}}")})),
			manifest, []string{"kind: ConfigMap", labels}, []string{"forged"}},
		"Several": {"A patch may have several objects.", newHelmRelease(kustomize([]meta.Patch{merge(
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: config}, data: {a: b}}\n---\n" +
				"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 5}}")})), manifest,
			[]string{"replicas: 5", "  a: b\n"}, nil},
		"Delete": {"A patch may remove an object.", newHelmRelease(kustomize([]meta.Patch{
			merge("{$patch: delete, apiVersion: v1, kind: ConfigMap, metadata: {name: config}}")})), manifest, []string{"Deployment"}, []string{"ConfigMap"}},
		"List": {"A list is what is in it.", newHelmRelease(),
			"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, metadata: {name: b}}]}\n- {apiVersion: v1, kind: Secret, metadata: {name: c}}",
			[]string{labels, "name: a", labels, "name: b", labels, "name: c"}, []string{"List"}},
		"Twice": {"Who has an object twice has it twice.", newHelmRelease(kustomize(nil, image)), manifest + "---\n" + manifest,
			[]string{"kind: Deployment", "kind: ConfigMap", "kind: Deployment", "kind: ConfigMap"}, nil},
		"Nothing": {"A chart without objects is one.", newHelmRelease(kustomize(nil, image)), "\n---\n# nothing\n", nil, []string{"kind"}},
		"Idle": {"What would patch a hook may find nothing here.", newHelmRelease(kustomize([]meta.Patch{
			merge("{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, spec: {backoffLimit: 1}}")})), manifest, []string{"Deployment"}, []string{"Job"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := run(t, tc.hr, tc.in)
			if err != nil {
				t.Fatal(err)
			}

			rest := got
			for _, want := range tc.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("%s got:\n%s\nwant %q after what was found before", tc.reason, got, want)
				}

				rest = after
			}

			for _, not := range tc.not {
				if strings.Contains(got, not) {
					t.Errorf("%s got:\n%s\nwant no %q", tc.reason, got, not)
				}
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	bomb := "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"
	for i, last := 'b', 'a'; i < 'l'; i, last = i+1, i {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*%c, ", last), 10))
	}

	cases := map[string]struct {
		reason string
		hr     *v2.HelmRelease
		in     string
		want   string
	}{
		"Patch": {"A patch that finds nothing is a mistake.", newHelmRelease(strategy(v2.PostRenderNoHooks), kustomize([]meta.Patch{
			merge("{apiVersion: v1, kind: ConfigMap, metadata: {name: none}}")})), manifest,
			`spec.postRenderers[0]: no object for the patch of v1 ConfigMap "none" in namespace "default"`},
		"Operation": {"A patch that fails is told.", newHelmRelease(kustomize([]meta.Patch{jsonPatch("ConfigMap", "/no/such", "1")})),
			manifest, "spec.postRenderers[0]: kustomize build failed"},
		"Target": {"A patch of operations needs a target.", newHelmRelease(kustomize([]meta.Patch{merge(
			"- {op: add, path: /a, value: 1}")})), manifest, "must specify a target"},
		"Labels": {"Labels that are none are not replaced.", newHelmRelease(), "kind: A\nmetadata: {name: a, labels: [x]}", `A "a": metadata: "labels" is no map`},
		"Scalar": {"What is no object is told with its template.", newHelmRelease(), "---\n# Source: web/a.yaml\njust text\n", `parse manifest of "web/a.yaml": it is no object`},
		"YAML":   {"So is what is no YAML.", newHelmRelease(), "# Source: web/a.yaml\na: [\n", `parse manifest of "web/a.yaml"`},
		"Bomb":   {"Aliases do not blow up.", newHelmRelease(), bomb, "alias"},
		"Bytes":  {"There is an end to bytes.", newHelmRelease(), strings.Repeat("# \n", 6<<20), "more than the limit of 16777216"},
		"Objects": {"And to objects.", newHelmRelease(), strings.Repeat("{kind: A, metadata: {name: a}}\n---\n", 10_001),
			"there are more than 10000 objects"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := run(t, tc.hr, tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestHooks(t *testing.T) {
	both := kustomize([]meta.Patch{
		merge("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 4}}"),
		merge("{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, spec: {backoffLimit: 1}}"),
	}, meta.Image{Name: "example.org/web", NewTag: "2"})
	image := kustomize(nil, meta.Image{Name: "example.org/web", NewTag: "2"})
	hooks := func(manifests ...string) []*release.Hook {
		var out []*release.Hook
		for i, m := range manifests {
			out = append(out, &release.Hook{Name: "migrate", Kind: "Job", Path: "web/templates/job.yaml", Manifest: m, Weight: i,
				Events: []release.HookEvent{release.HookPreInstall}})
		}

		return out
	}

	cases := map[string]struct {
		reason string
		hr     *v2.HelmRelease
		hooks  []*release.Hook
		want   []string // in each manifest
		count  int
		err    string
	}{
		"Combined": {"A patch finds its object here or there.", newHelmRelease(both), hooks(job),
			[]string{"backoffLimit: 1", "image: example.org/web:2", labels[1:], "helm.sh/hook: pre-install"}, 1, ""},
		"Nowhere": {"Or it is a mistake.", newHelmRelease(both), hooks(strings.ReplaceAll(job, "name: migrate", "name: other")), nil, 0,
			`no object for the patch of batch/v1 Job "migrate"`},
		"NoneAtAll": {"Without hooks, too.", newHelmRelease(both), nil, nil, 0, `no object for the patch of batch/v1 Job "migrate"`},
		"NoHooks":   {"Hooks may be left alone.", newHelmRelease(image, strategy(v2.PostRenderNoHooks)), hooks(job), []string{job}, 1, ""},
		"Separate": {"By themselves, they are rendered alike.", newHelmRelease(image, strategy(v2.PostRenderSeparate)), hooks(job),
			[]string{"image: example.org/web:2", labels[1:]}, 1, ""},
		"Alone": {"But a patch has to find its object among them.", newHelmRelease(strategy(v2.PostRenderSeparate), kustomize([]meta.Patch{
			merge("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}")})), hooks(job), nil, 0, "no object for the patch of apps/v1 Deployment"},
		"Same": {"Several hooks may have one object.", newHelmRelease(image), hooks(job, job), []string{"image: example.org/web:2"}, 2, ""},
		"Deleted": {"A hook that a patch removes is none.", newHelmRelease(kustomize([]meta.Patch{
			merge("{$patch: delete, apiVersion: batch/v1, kind: Job, metadata: {name: migrate}}")})), hooks(job), nil, 0, ""},
		"Annotations": {"One that cannot be told apart any more is refused.", newHelmRelease(kustomize([]meta.Patch{
			jsonPatch("Job", "/metadata/annotations", "{}")})), hooks(job), nil, 0, `removed the annotations of the hook Job "migrate"`},
		"Plain": {"Without post-renderers, they have the labels.", newHelmRelease(), hooks(job), []string{labels[1:]}, 1, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := render.New(t.Context(), build.New(build.Options{}), tc.hr)
			if _, err := r.Run(bytes.NewBufferString(manifest)); err != nil {
				t.Fatal(err)
			}

			got, err := r.Hooks(tc.hooks)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s got %v, want %q", tc.reason, err, tc.err)
				}

				return
			}

			if err != nil || len(got) != tc.count {
				t.Fatalf("%s got %d hooks, %v", tc.reason, len(got), err)
			}

			for i, h := range got {
				for _, want := range tc.want {
					if !strings.Contains(h.Manifest, want) {
						t.Errorf("%s got:\n%s\nwant %q", tc.reason, h.Manifest, want)
					}
				}

				if h.Weight != i || h.Name != "migrate" || len(h.Events) != 1 {
					t.Errorf("a hook stays what it is: %+v", h)
				}

				var object map[string]any
				if err := yaml.Unmarshal([]byte(h.Manifest), &object); err != nil {
					t.Error(err)
				}
			}

			for _, h := range tc.hooks {
				if h.Manifest != job {
					t.Errorf("the hooks that were given stay as they are")
				}
			}
		})
	}
}
