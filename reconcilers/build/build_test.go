package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// files is a directory: names to content. A content that begins with -> is a symlink.
type files map[string]string

func (f files) write(t testing.TB) string {
	t.Helper()

	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	for name, content := range f {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}

		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, file)
		} else {
			err = os.WriteFile(file, []byte(content), 0o644)
		}

		if err != nil {
			t.Fatal(err)
		}
	}

	return dir
}

// stream returns the objects of the set as YAML.
func (s *Set) stream(t *testing.T) string {
	t.Helper()

	var parts []string

	for _, u := range s.Objects {
		text, err := yaml.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}

		parts = append(parts, string(text))
	}

	return strings.Join(parts, "---\n")
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  namespace: old
spec:
  template:
    spec:
      containers:
      - image: nginx:1@sha256:aaaa
        name: app
`

func TestSpec(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  files
		path   string
		spec   Spec
		want   string
	}{
		"PlainNamespace": {
			reason: "A plain directory goes through a generated kustomization if something is to be transformed.",
			files:  files{"app/a.yaml": configMap("a"), "app/b/c.yaml": configMap("c"), "other.yaml": "not: read"},
			path:   "./app/",
			spec:   Spec{TargetNamespace: "team", NamePrefix: "x-", NameSuffix: "-y"},
			want: configMap("x-a-y") + "  namespace: team\n---\n" +
				configMap("x-c-y") + "  namespace: team\n",
		},
		"OverridesFile": {
			reason: "Namespace, prefix and suffix of the spec override those of the file.",
			files: files{
				"kustomization.yml": "namespace: one\nnamePrefix: p-\nnameSuffix: -s\nresources: [a.yaml]\n",
				"a.yaml":            configMap("a"),
			},
			spec: Spec{TargetNamespace: "team", NamePrefix: "x-", NameSuffix: "-y"},
			want: configMap("x-a-y") + "  namespace: team\n",
		},
		"Patches": {
			reason: "Patches of both kinds come after those of the file; targets are anchored regular expressions.",
			files: files{
				"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |\n    - {op: add, path: /data, value: {by: file}}\n  target: {kind: ConfigMap}\n",
				"a.yaml":             configMap("a") + "---\n" + configMap("ab"),
			},
			spec: Spec{Patches: []meta.Patch{
				{Patch: configMap("ab") + "data: {merged: \"1\"}\n"},
				{Patch: "- {op: replace, path: /data/by, value: spec}", Target: &meta.Selector{Kind: "Config.*", Name: "a"}},
			}},
			want: "apiVersion: v1\ndata:\n  by: spec\nkind: ConfigMap\nmetadata:\n  name: a\n---\n" +
				"apiVersion: v1\ndata:\n  by: file\n  merged: \"1\"\nkind: ConfigMap\nmetadata:\n  name: ab\n",
		},
		"ImageTagClearsDigest": {
			reason: "Tag and digest are replaced as a pair, the name by itself.",
			files: files{
				"kustomization.yaml": "resources: [a.yaml]\nimages:\n- {name: nginx, newName: mirror/nginx, digest: sha256:bbbb}\n",
				"a.yaml":             deployment,
			},
			spec: Spec{Images: []meta.Image{{Name: "nginx", NewTag: "2"}}},
			want: strings.Replace(deployment, "nginx:1@sha256:aaaa", "mirror/nginx:2", 1),
		},
		"ImageDigest": {
			reason: "An image that the file does not list is added.",
			files:  files{"a.yaml": deployment},
			spec:   Spec{Images: []meta.Image{{Name: "nginx", NewName: "n", NewTag: "3", Digest: "sha256:cccc"}}},
			want:   strings.Replace(deployment, "nginx:1@sha256:aaaa", "n:3@sha256:cccc", 1),
		},
		"Components": {
			reason: "Components are relative to the path; missing ones can be left out.",
			files: files{
				"app/a.yaml":              configMap("a"),
				"comp/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: c-\n",
			},
			path: "app",
			spec: Spec{Components: []string{"../comp", "../missing"}, IgnoreMissingComponents: true},
			want: configMap("c-a"),
		},
		"BuildMetadata": {
			reason: "Build metadata replaces that of the file.",
			files: files{
				"kustomization.yaml": "resources: [a.yaml]\nbuildMetadata: [managedByLabel]\n",
				"a.yaml":             configMap("a"),
			},
			spec: Spec{BuildMetadata: []string{"originAnnotations"}},
			want: strings.Replace(configMap("a"), "metadata:\n",
				"metadata:\n  annotations:\n    config.kubernetes.io/origin: |\n      path: a.yaml\n", 1),
		},
		"CommonMetadata": {
			reason: "Common metadata wins over what the objects have.",
			files:  files{"a.yaml": configMap("a") + "  labels: {a: old, b: kept}\n"},
			spec: Spec{CommonMetadata: &meta.CommonMetadata{
				Labels: map[string]string{"a": "new"}, Annotations: map[string]string{"c": "added"},
			}},
			want: "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  annotations:\n    c: added\n" +
				"  labels:\n    a: new\n    b: kept\n  name: a\n",
		},
		"EmptyKustomization": {
			reason: "A kustomization file without content stands for no objects.",
			files:  files{"kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"},
		},
		"NoResources": {
			reason: "A kustomization file without resources stands for no objects.",
			files:  files{"kustomization.yaml": "namespace: a\n"},
			spec:   Spec{TargetNamespace: "b"},
		},
		"EmptyDirectory": {
			reason: "An empty directory stands for no objects, with a spec too.",
			files:  files{"README.md": ""},
			spec:   Spec{TargetNamespace: "b", Patches: []meta.Patch{{Patch: "[]", Target: &meta.Selector{Kind: "X"}}}},
		},
		"SlashPath": {
			reason: "A path with a leading slash is relative to the artifact.",
			files:  files{"app/a.yaml": configMap("a")},
			path:   "/app",
			want:   configMap("a"),
		},
		"BasesAndGenerators": {
			reason: "Bases above the path and generators with files work, also through a link within the artifact.",
			files: files{
				"base/kustomization.yaml": "resources: [a.yaml]\n",
				"base/a.yaml":             configMap("a"),
				"link":                    "->overlays",
				"overlays/prod/kustomization.yaml": "resources: [../../base]\nconfigMapGenerator:\n" +
					"- {name: gen, files: [k=../../base/data.txt], options: {disableNameSuffixHash: true}}\n",
				"base/data.txt": "text",
			},
			path: "link/prod",
			want: configMap("a") + "---\napiVersion: v1\ndata:\n  k: text\nkind: ConfigMap\nmetadata:\n  name: gen\n",
		},
		"BuiltinTransformers": {
			reason: "Built-in transformers need no plugin: inline, from a file, and from a directory that lists them.",
			files: files{
				"kustomization.yaml": "resources: [a.yaml]\ntransformers:\n- t.yaml\n- dir\n- |\n" +
					"  apiVersion: builtin\n  kind: PrefixTransformer\n  metadata: {name: p}\n  prefix: in-\n  fieldSpecs: [{path: metadata/name}]\n",
				"t.yaml":                 "apiVersion: builtin\nkind: NamespaceTransformer\nmetadata: {name: n, namespace: team}\n",
				"dir/kustomization.yaml": "resources: [s.yaml]\n",
				"dir/s.yaml":             "apiVersion: builtin\nkind: SuffixTransformer\nmetadata: {name: s}\nsuffix: -dir\nfieldSpecs: [{path: metadata/name}]\n",
				"a.yaml":                 configMap("a"),
			},
			want: configMap("in-a-dir") + "  namespace: team\n",
		},
	}

	b := New(Options{})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := tc.files.write(t)
			before := snapshot(t, dir)

			// The file system would let root write; the snapshot tells.
			set, err := b.Build(context.Background(), Request{Dir: dir, Path: tc.path, Spec: tc.spec})
			if err != nil {
				t.Fatalf("%s\nBuild(): %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, set.stream(t)); diff != "" {
				t.Errorf("%s\nBuild(): -want, +got:\n%s", tc.reason, diff)
			}

			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Errorf("%s\nBuild() wrote to the artifact:\n%s", tc.reason, diff)
			}
		})
	}
}

func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()

	found := map[string]string{}

	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}

		info, err := entry.Info()
		if err != nil {
			return err
		}

		found[name] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime())

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return found
}

func TestRefused(t *testing.T) {
	outside := files{"secret.yaml": configMap("outside"), "dir/kustomization.yaml": "resources: [x.yaml]\n"}.write(t)
	big := strings.Repeat("#", 2000)

	cases := map[string]struct {
		reason string
		files  files
		path   string
		spec   Spec
		want   []string
		target any
	}{
		"PathMissing": {
			reason: "A path that is not there has an error of its own.",
			files:  files{"a.yaml": configMap("a")}, path: "./app",
			want: []string{"stat ./app: no such file or directory"}, target: new(*PathError),
		},
		"PathOutside": {
			reason: "A path that climbs out of the artifact does not exist.",
			files:  files{"a.yaml": configMap("a")}, path: "app/../../x",
			want: []string{"stat app/../../x: path is outside of the artifact"}, target: new(*PathError),
		},
		"PathIsFile": {
			reason: "A path names a directory.",
			files:  files{"a.yaml": configMap("a")}, path: "a.yaml",
			want: []string{"stat a.yaml: not a directory"}, target: new(*PathError),
		},
		"PathLinkOutside": {
			reason: "A path must not leave the artifact by a link.",
			files:  files{"app": "->" + outside}, path: "app",
			want: []string{"stat app: path escapes from parent"}, target: new(*PathError),
		},
		"FileLinkOutside": {
			reason: "A link to a file outside is not followed.",
			files:  files{"sub/a.yaml": "->" + filepath.Join(outside, "secret.yaml")},
			want:   []string{"sub/a.yaml", "path escapes from parent"},
		},
		"RelativeLinkOutside": {
			reason: "A relative link to a file outside is not followed.",
			files:  files{"a.yaml": "->../" + filepath.Base(outside) + "/secret.yaml"},
			want:   []string{"a.yaml", "path escapes from parent"},
		},
		"ResourceLinkOutside": {
			reason: "The library does not get through a link either.",
			files: files{
				"kustomization.yaml": "resources: [a.yaml]\n",
				"a.yaml":             "->" + filepath.Join(outside, "secret.yaml"),
			},
			want: []string{"kustomize build failed", "a.yaml", "path escapes from parent"},
		},
		"ResourceOutside": {
			reason: "A resource above the artifact is not there.",
			files:  files{"kustomization.yaml": "resources: [../../../../../../../.." + outside + "/secret.yaml]\n"},
			want:   []string{"secret.yaml", "path is outside of the artifact"},
		},
		"ResourceAbsolute": {
			reason: "A resource with the absolute path of a file outside is not there.",
			files:  files{"kustomization.yaml": "resources: [" + outside + "/secret.yaml]\n"},
			want:   []string{"secret.yaml", "path is outside of the artifact"},
		},
		"GeneratorOutside": {
			reason: "A generator reads no file of the machine.",
			files:  files{"kustomization.yaml": "secretGenerator: [{name: a, files: [/etc/hostname]}]\n"},
			want:   []string{"/etc/hostname: path is outside of the artifact"},
		},
		"FileTooBig": {
			reason: "A file above the limit ends the build.",
			files:  files{"a.yaml": configMap("a") + big},
			want:   []string{`"a.yaml"`, "more than the limit of 1000"},
		},
		"ResourceTooBig": {
			reason: "A file above the limit ends a build of the library.",
			files:  files{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap("a") + big},
			want:   []string{`"a.yaml"`, "more than the limit of 1000"},
		},
		"AliasBombInPatch": {
			reason: "Inline patches are YAML too.",
			files: files{"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |\n    x: &x\n      y: *x\n",
				"a.yaml": configMap("a")},
			want: []string{`"kustomization.yaml"`, ingest.ErrAliasLoop.Error()},
		},
		"AliasBombInSpec": {
			reason: "So are the patches of the spec.",
			files:  files{"a.yaml": configMap("a")},
			spec:   Spec{Patches: []meta.Patch{{Patch: "x: &x\n  y: *x\n"}}},
			want:   []string{"patch of the spec", ingest.ErrAliasLoop.Error()},
		},
		"AliasBombInBase": {
			reason: "The library reads through the same check.",
			files: files{"kustomization.yaml": "resources: [b]\n", "b/kustomization.yaml": "resources: [x.txt]\n",
				"b/x.txt": "\xef\xbb\xbfx: &x\n  y: *x\n"},
			want: []string{`"b/x.txt"`, ingest.ErrAliasLoop.Error()},
		},
		"ComponentAbsolute": {
			reason: "Components are relative.",
			files:  files{"a.yaml": configMap("a")}, spec: Spec{Components: []string{"/comp"}},
			want: []string{"component path '/comp' must be local and relative"},
		},
		"ComponentMissing": {
			reason: "A missing component is an error unless it may be missing.",
			files:  files{"a.yaml": configMap("a")}, spec: Spec{Components: []string{"comp"}},
			want: []string{"kustomize build failed", "comp"},
		},
		"HelmChart": {
			reason: "Charts are not inflated.",
			files:  files{"kustomization.yaml": "helmCharts: [{name: a, repo: 'https://example.org'}]\n"},
			want:   []string{`a Helm chart in "kustomization.yaml" is refused`}, target: new(*RefusedError),
		},
		"HelmPlugin": {
			reason: "Nor by a built-in generator.",
			files: files{"kustomization.yaml": "generators: [g.yaml]\n",
				"g.yaml": "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: a}\n"},
			want: []string{`a Helm chart in "g.yaml" is refused`}, target: new(*RefusedError),
		},
		"ExecPlugin": {
			reason: "Plugins that are programs are disabled.",
			files: files{"kustomization.yaml": "transformers: [t.yaml]\nresources: [a.yaml]\n", "a.yaml": configMap("a"),
				"t.yaml": "apiVersion: example.org/v1\nkind: Mine\nmetadata:\n  name: a\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: /bin/true}\n"},
			want: []string{"kustomize build failed", "plugin", "Mine"},
		},
		"BuiltPlugin": {
			reason: "What a directory of plugins would be built to cannot be checked.",
			files: files{"kustomization.yaml": "transformers: [t]\nresources: [a.yaml]\n", "a.yaml": configMap("a"),
				"t/kustomization.yaml": "resources: [p.yaml]\nnamePrefix: a-\n"},
			want: []string{`"t/kustomization.yaml"`, "may only list resources"}, target: new(*RefusedError),
		},
		"NoAPIVersion": {
			reason: "An object needs an API version.",
			files:  files{"a.yaml": "kind: ConfigMap\nmetadata: {name: a}\n"},
			want:   []string{"failed to decode Kubernetes apiVersion, kind and name from: ", `name "a"`},
		},
		"NumericName": {
			reason: "A name is a string.",
			files:  files{"a.yaml": configMap("1")},
			want:   []string{"failed to decode Kubernetes apiVersion, kind and name from: "},
		},
		"BadSchema": {
			reason: "A panic of the library is an error that names the directory.",
			files: files{"app/kustomization.yaml": "openapi: {path: s.json}\nresources: [a.yaml]\npatches:\n- patch: |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: a}\n    data: {b: c}\n",
				"app/s.json": `{"definitions": 1}`, "app/a.yaml": configMap("a")},
			path: "app",
			want: []string{`recovered from panic while building "app": invalid schema file`},
		},
	}

	b := New(Options{MaxFileSize: 1000})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := b.Build(context.Background(), Request{Dir: tc.files.write(t), Path: tc.path, Spec: tc.spec})
			wantError(t, tc.reason, err, tc.want...)

			if tc.target != nil && !errors.As(err, tc.target) {
				t.Errorf("%s\nBuild(): error is a %T, want a %T", tc.reason, err, tc.target)
			}
		})
	}
}

// A small artifact must not become a large build: one file under many keys.
func TestReadsAreBounded(t *testing.T) {
	var k strings.Builder

	k.WriteString("configMapGenerator:\n- name: a\n  files:\n")

	for i := range 200 {
		fmt.Fprintf(&k, "  - k%d=big.txt\n", i)
	}

	dir := files{"kustomization.yaml": k.String(), "big.txt": strings.Repeat("x", 1<<20)}.write(t)

	_, err := New(Options{}).Build(context.Background(), Request{Dir: dir})
	wantError(t, "A file that is read often counts each time.", err, `read "big.txt": the build reads more than`)
}

// A parsed value takes much more than the two bytes that it may be written in.
func TestValuesAreBounded(t *testing.T) {
	dense := strings.TrimSuffix(configMap("a"), "\n") + "\nextra: [" + strings.Repeat("0,", maxValues) + "0]\n"

	for name, f := range map[string]files{
		"Direct":  {"a.yaml": dense},
		"Library": {"a.yaml": dense, "kustomization.yaml": "resources: [a.yaml]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{}).Build(context.Background(), Request{Dir: f.write(t)})
			wantError(t, "A file has a limited number of values.", err, `read "a.yaml": more than 1000000 values`)
		})
	}
}

func TestSchemaDoesNotStay(t *testing.T) {
	b := New(Options{})
	thing := "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\n"
	patch := "resources: [a.yaml]\npatches: [{path: p.yaml}]\n"
	object := thing + "spec: {list: [{name: a, x: 1}]}\n"
	change := thing + "spec: {list: [{name: b, x: 2}]}\n"

	const schema = `{"definitions": {"org.example.Thing": {
		"x-kubernetes-group-version-kind": [{"group": "example.org", "version": "v1", "kind": "Thing"}],
		"properties": {"spec": {"properties": {"list": {"type": "array", "items": {"type": "object"},
			"x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}}}}}}}`

	plainly := files{"a.yaml": object, "p.yaml": change, "kustomization.yaml": patch}.write(t)
	special := files{"a.yaml": object, "p.yaml": change, "s.json": schema,
		"kustomization.yaml": "openapi: {path: s.json}\n" + patch}.write(t)

	var got []string

	for _, dir := range []string{plainly, special, plainly} {
		set, err := b.Build(context.Background(), Request{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}

		got = append(got, set.stream(t))
	}

	if got[0] == got[1] {
		t.Error("the custom schema has no effect, so that the test proves nothing")
	}

	if diff := cmp.Diff(got[0], got[2]); diff != "" {
		t.Errorf("a custom schema changes later builds: -before, +after:\n%s", diff)
	}
}

func TestGuardFatal(t *testing.T) {
	var out strings.Builder

	before := log.Writer()
	log.SetOutput(GuardFatal(&out))
	t.Cleanup(func() { log.SetOutput(before) })

	dir := files{
		"kustomization.yaml": "resources: [base]\nconfigMapGenerator: [{name: a, behavior: merge, literals: [k=v]}]\n",
		// An empty key makes the library call log.Fatal when it merges.
		"base/kustomization.yaml": "resources: [a.yaml]\n",
		"base/a.yaml":             configMap("a") + "data: {\"\": x}\n",
	}.write(t)

	_, err := New(Options{}).Build(context.Background(), Request{Dir: dir})
	wantError(t, "log.Fatal within a build is the error of the build.", err, "recovered from panic while building")

	log.Print("goes on")

	if !strings.Contains(out.String(), "goes on") {
		t.Errorf("the log has %q, want what was printed", out.String())
	}
}

func TestCancelled(t *testing.T) {
	b := New(Options{Concurrency: 1})

	place, err := b.gate.pass(context.Background(), "another", false)
	if err != nil {
		t.Fatal(err)
	}

	defer place.leave()

	ctx, cancel := context.WithCancel(context.Background())
	cancel()

	for name, f := range map[string]files{
		"Direct":  {"a.yaml": configMap("a")},
		"Library": {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap("a")},
	} {
		if _, err := b.Build(ctx, Request{Dir: f.write(t)}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Build(): error %v, want %v", name, err, context.Canceled)
		}
	}
}

func TestCache(t *testing.T) {
	b := New(Options{})
	ctx := context.Background()
	dir := files{"a/a.yaml": configMap("a"), "b/b.yaml": configMap("b")}.write(t)

	r := Request{Dir: dir, Digest: "sha256:1", Path: "./a"}

	first, err := b.Build(ctx, r)
	if err != nil {
		t.Fatal(err)
	}

	want := first.stream(t)
	first.Objects[0].SetName("changed by the caller")

	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}

	second, err := b.Build(ctx, Request{Dir: dir, Digest: "sha256:1", Path: "a/"})
	if err != nil {
		t.Fatalf("the set is not in the cache: %v", err)
	}

	if diff := cmp.Diff(want, second.stream(t)); diff != "" {
		t.Errorf("cached set: -want, +got:\n%s", diff)
	}

	if set, err := b.Lookup(Request{Digest: "sha256:1", Path: "a"}); err != nil || set == nil {
		t.Errorf("Lookup(): %v, %v", set, err)
	}

	if set, err := b.Lookup(Request{Digest: "sha256:1", Path: "b"}); err != nil || set != nil {
		t.Errorf("Lookup() of what was not built: %v, %v", set, err)
	}

	if first.Digest != second.Digest || first.Digests[0] != second.Digests[0] {
		t.Errorf("digests differ: %v, %v", first.Digest, second.Digest)
	}

	variables := &Variables{}
	if err := variables.Set("a", "b", false); err != nil {
		t.Fatal(err)
	}

	for name, r := range map[string]Request{
		"Digest":    {Dir: dir, Digest: "sha256:2", Path: "a"},
		"NoDigest":  {Dir: dir, Path: "a"},
		"Spec":      {Dir: dir, Digest: "sha256:1", Path: "a", Spec: Spec{NamePrefix: "x"}},
		"Variables": {Dir: dir, Digest: "sha256:1", Path: "a", Variables: variables},
		"Always":    {Dir: dir, Digest: "sha256:1", Path: "a", Always: true},
	} {
		if _, err := b.Build(ctx, r); err == nil {
			t.Errorf("%s: the set was taken from the cache", name)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	value := func(n int) *encoded { return &encoded{stream: make([]byte, n-256)} }
	c := newCache(4000)

	c.put("a", value(1000))
	c.put("b", value(1000))
	c.put("c", value(1000))
	c.put("c", value(500))
	c.get("a")
	c.put("d", value(1000))
	c.put("e", value(1000))
	c.put("too big", value(1001))

	got := map[string]bool{}
	for _, key := range []string{"a", "b", "c", "d", "e", "too big"} {
		got[key] = c.get(key) != nil
	}

	want := map[string]bool{"a": true, "b": false, "c": true, "d": true, "e": true, "too big": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept: -want, +got:\n%s", diff)
	}

	if c.used != 3500 {
		t.Errorf("used %d bytes, want 3500", c.used)
	}
}
