package build

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// kustomize builds the directory as the program kustomize does, in a process that has used no schema yet.
func kustomize(t *testing.T, dir string) (text string, err error) {
	t.Helper()

	defer recoverIn(dir, &err)

	openapi.ResetOpenAPI()

	defer openapi.ResetOpenAPI()

	result, err := krusty.MakeKustomizer(options()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return "", err //nolint:wrapcheck // it is looked at
	}

	objects, err := convert(context.Background(), result)
	if err != nil {
		return "", err
	}

	return (&Set{Objects: objects}).stream(t), nil
}

const scalars = `apiVersion: example.org/v1
kind: Thing
metadata: {name: scalars, annotations: {a: "1", b: "yes"}}
spec: {exp: 1e3, octal: 0777, new: 0o17, hex: 0xff, big: 12345678901234567890, long: 1234567890123456789, float: 1.0, y: yes,
  off: off, n: ~, date: 2020-01-01, time: 12:30:45, under: 1_000, quoted: "1e3", plain: 1.10, minus: -0, inf: "x", empty: "", e: [], m: {}}
text: |
  one

  two
`

const crd = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.org}
spec:
  group: example.org
  names: {kind: Thing, plural: things}
  scope: Namespaced
  unknownField: {kept: true}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

const webServer = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - {name: web, image: "registry.example.org:5000/web:1", command: [run, $(HOST)], envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: keys}}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: web, namespace: default}]
`

// parts are files that kustomizations in these tests use.
func parts(kustomization string) files {
	return files{
		"kustomization.yaml": kustomization,
		"scalars.yaml":       scalars, "crd.yaml": crd, "web.yaml": webServer, "a.yaml": configMap("a"), "b.yaml": configMap("b") + "data: {k: v}\n",
		"crlf.yaml": strings.ReplaceAll(configMap("crlf"), "\n", "\r\n"), "bom.yaml": "\xef\xbb\xbf" + configMap("bom"),
		"json.json":  `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "json"}, "data": {"a": "\u00e4\n"}}`,
		"marks.yaml": "---\n# nothing\n---\n" + configMap("marks") + "--- # comment\n---\n\n" + configMap("more") + "---\n",
		"list.yaml":  "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: l1}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: l2}}\n",
		"text.txt":   "line\r\nöäü\n", "env.env": "A=1\n# comment\nB=a=b\nC=\n", "binary.bin": "\xff\xfe\x00",
		"base/kustomization.yml":       "resources: [x.yaml]\nnamePrefix: base-\n",
		"base/x.yaml":                  configMap("x"),
		"old/Kustomization":            "bases: [../base]\ncommonLabels: {old: \"1\"}\n",
		"component/kustomization.yaml": component + "commonAnnotations: {from: component}\npatches: [{target: {kind: ConfigMap}, patch: '[{\"op\": \"add\", \"path\": \"/immutable\", \"value\": true}]'}]\n",
		"two/kustomization.yaml":       "resources: []\n", "two/kustomization.yml": "resources: []\n",
		"none/a.yaml":       configMap("none"),
		"patch.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {k: null, patched: \"1\"}\n",
		"ops.yaml":          "- {op: add, path: /metadata/labels, value: {ops: \"1\"}}\n",
		"replacements.yaml": "- source: {kind: ConfigMap, name: b, fieldPath: data.k}\n  targets: [{select: {kind: ConfigMap, name: a}, fieldPaths: [data.from-b], options: {create: true}}]\n",
		"names.yaml":        "nameReference:\n- {kind: ConfigMap, fieldSpecs: [{kind: Thing, path: spec/ref}]}\n",
		"thing.yaml":        thing + "spec: {ref: a}\n",
	}
}

// What the program kustomize makes of a directory is what comes out, and what it refuses is refused.
func TestEqualsKustomize(t *testing.T) {
	cases := map[string]struct {
		reason        string
		kustomization string
		err           string // in our error
	}{
		"Scalars":        {"Values keep their types and texts.", "namespace: x\nresources: [scalars.yaml]\n", ""},
		"CRD":            {"What the schema does not know stays.", "resources: [crd.yaml, thing.yaml]\nnamespace: x\n", ""},
		"LineEndings":    {"Line endings and byte order marks are no content.", resources("crlf.yaml", "bom.yaml"), ""},
		"JSON":           {"JSON is YAML.", "namePrefix: p-\n" + resources("json.json"), ""},
		"Marks":          {"Documents may be empty.", resources("marks.yaml"), ""},
		"List":           {"Lists are expanded.", "nameSuffix: -s\n" + resources("list.yaml"), ""},
		"References":     {"References follow names.", "namePrefix: p-\nnamespace: x\n" + resources("web.yaml"), ""},
		"Hashes":         {"Generated names have a hash, and references follow.", resources("web.yaml") + "configMapGenerator: [{name: settings, literals: [a=b], files: [text.txt, k=binary.bin]}]\nsecretGenerator: [{name: keys, envs: [env.env], type: Opaque}]\n", ""},
		"Generators":     {"Generators merge, replace and have options.", resources("base", "b.yaml") + "generatorOptions: {disableNameSuffixHash: true, labels: {g: \"1\"}, annotations: {h: \"2\"}, immutable: true}\nconfigMapGenerator: [{name: b, behavior: merge, literals: [x=y]}, {name: new, env: env.env}]\n", ""},
		"Base":           {"Bases have files of other names.", "namePrefix: top-\n" + resources("base", "a.yaml"), ""},
		"OldFields":      {"Fields that nobody should use work.", resources("old", "b.yaml", "web.yaml") + "patchesStrategicMerge: [patch.yaml]\npatchesJson6902: [{path: ops.yaml, target: {version: v1, kind: ConfigMap, name: b}}]\nimageTags: [{name: registry.example.org:5000/web, newTag: '2'}]\n", ""},
		"Component":      {"Components change what they are put on.", resources("a.yaml") + "components: [component]\n", ""},
		"Patches":        {"Patches of all kinds.", resources("a.yaml", "b.yaml") + "patches: [{path: patch.yaml}, {path: ops.yaml, target: {name: 'a|b'}}, {patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, $patch: delete}'}]\n", ""},
		"Images":         {"Images by name, with ports.", resources("web.yaml") + "images: [{name: 'registry.example.org:5000/web', newName: other/web, digest: 'sha256:0123'}]\nreplicas: [{name: web, count: 3}]\n", ""},
		"Labels":         {"Labels with and without selectors.", resources("web.yaml") + "labels: [{pairs: {a: b}, includeSelectors: true}, {pairs: {c: d}, includeTemplates: true}]\ncommonAnnotations: {e: f}\n", ""},
		"Replacements":   {"Values of one object go to others.", resources("a.yaml", "b.yaml") + "replacements: [{path: replacements.yaml}]\n", ""},
		"Vars":           {"So do variables of the old kind.", resources("web.yaml") + "vars: [{name: HOST, objref: {apiVersion: v1, kind: ServiceAccount, name: web}}]\n", ""},
		"Configurations": {"References of kinds that nobody knows.", resources("thing.yaml", "a.yaml") + "namePrefix: p-\nconfigurations: [names.yaml]\n", ""},
		"Sorted":         {"An order may be asked for.", resources("web.yaml", "crd.yaml", "a.yaml") + "sortOptions: {order: legacy}\n", ""},
		"Origins":        {"Annotations tell where objects come from.", resources("base", "a.yaml") + "buildMetadata: [originAnnotations, transformerAnnotations, managedByLabel]\nnameSuffix: -s\nconfigMapGenerator: [{name: g}]\n", ""},
		"Namespaces":     {"One name in two namespaces.", "resources: [a.yaml, web.yaml]\nnamespace: x\ntransformers:\n- |\n  apiVersion: builtin\n  kind: AnnotationsTransformer\n  metadata: {name: a}\n  annotations: {t: \"1\"}\n  fieldSpecs: [{path: metadata/annotations, create: true}]\n", ""},
		"Duplicate":      {"One object twice is an error.", resources("a.yaml", "a.yaml"), "may not add resource with an already registered id"},
		"NoResource":     {"A resource has to be there.", resources("gone.yaml"), "gone.yaml"},
		"NoBase":         {"A base needs a kustomization.", resources("none"), "unable to find one of 'kustomization.yaml'"},
		"TwoFiles":       {"And only one.", resources("two"), "Found multiple kustomization files"},
		"Cycle":          {"A base must not be above.", resources("."), "cycle detected"},
		"Unknown":        {"A misspelt field is an error.", "resource: [a.yaml]\n", "unknown field"},
		"NotComponent":   {"A base is no component.", "components: [base]\n", "expected kind 'Component'"},
		"NoMatch":        {"A patch needs something to change.", resources("a.yaml") + "patches: [{path: patch.yaml}]\n", "no matches for Id"},
		"BadPatch":       {"A patch has to be one.", resources("a.yaml") + "patches: [{patch: 'just text', target: {kind: ConfigMap}}]\n", "unable to parse"},
		"BadRegex":       {"A selector has to be a regular expression.", resources("a.yaml") + "patches: [{path: ops.yaml, target: {name: '(('}}]\n", "error parsing regexp"},
		"BadPath":        {"A replacement needs a source.", resources("a.yaml") + "replacements: [{path: replacements.yaml}]\n", "nothing selected by"},
	}

	b := New(Options{})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := parts(tc.kustomization).write(t)
			want, wantErr := kustomize(t, dir)

			set, err := b.Build(context.Background(), Request{Dir: dir})

			if tc.err != "" {
				wantError(t, tc.reason, err, tc.err)
				wantError(t, "kustomize itself. "+tc.reason, wantErr, tc.err)

				return
			}

			if err != nil || wantErr != nil {
				t.Fatalf("%s\nBuild(): %v\nkustomize: %v", tc.reason, err, wantErr)
			}

			if diff := cmp.Diff(want, set.stream(t)); diff != "" {
				t.Errorf("%s\nBuild(): -kustomize, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzKustomization holds that any combination of common fields comes out as from kustomize itself.
func FuzzKustomization(f *testing.F) {
	for _, seed := range []uint32{0, 1, 2, 4, 0xff, 0xff00, 0xffff, 0xffffff, 0x55555555, 0xaaaaaaaa} {
		f.Add(seed, "x")
	}

	f.Add(uint32(0x55555555), ",") // at which the library panics

	b := New(Options{})

	f.Fuzz(func(t *testing.T, bits uint32, word string) {
		dir := parts(combined(bits, word)).write(t)

		want, wantErr := kustomize(t, dir)
		set, err := b.Build(context.Background(), Request{Dir: dir})

		if (err == nil) != (wantErr == nil) {
			if strings.Contains(fmt.Sprint(err), "kind and name from") {
				return // what the API server would refuse
			}

			t.Fatalf("Build(): %v\nkustomize: %v\n%s", err, wantErr, combined(bits, word))
		}

		if err != nil {
			return
		}

		if diff := cmp.Diff(want, set.stream(t)); diff != "" {
			t.Errorf("Build(): -kustomize, +got:\n%s", diff)
		}
	})
}

// combined is a kustomization with a field for each bit that is set.
func combined(bits uint32, word string) string {
	quoted := fmt.Sprintf("%q", strings.ToValidUTF8(word, ""))

	names := []string{"scalars.yaml", "crd.yaml", "web.yaml", "a.yaml", "b.yaml", "crlf.yaml", "json.json", "marks.yaml", "list.yaml", "base", "old"}
	fields := []string{
		"namespace: " + quoted, "namePrefix: " + quoted, "nameSuffix: -s", "commonLabels: {a: " + quoted + "}", "commonAnnotations: {b: " + quoted + "}",
		"images: [{name: 'registry.example.org:5000/web', newTag: " + quoted + "}]", "replicas: [{name: web, count: 7}]",
		"configMapGenerator: [{name: settings, literals: ['k=" + strings.Trim(quoted, `"`) + "'], files: [text.txt]}]",
		"secretGenerator: [{name: keys, envs: [env.env], options: {annotations: {c: " + quoted + "}}}]",
		"patches: [{path: ops.yaml, target: {name: " + quoted + "}}, {path: ops.yaml, target: {kind: ConfigMap}}]",
		"components: [component]", "replacements: [{path: replacements.yaml}]", "buildMetadata: [originAnnotations]",
		"sortOptions: {order: legacy}", "labels: [{pairs: {l: " + quoted + "}, includeTemplates: true}]",
	}

	var used []string

	k := ""

	for i, name := range names {
		if bits&(1<<i) != 0 {
			used = append(used, name)
		}
	}

	for i, field := range fields {
		if bits&(1<<(len(names)+i)) != 0 {
			k += field + "\n"
		}
	}

	return resources(append(used, "none/a.yaml")...) + k
}
