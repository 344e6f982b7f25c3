package build

import (
	"context"
	"fmt"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// many joins so many texts.
func many(n int, text func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(text(i))
	}

	return b.String()
}

func manyObjects(n int) string {
	return many(n, func(i int) string { return configMap(fmt.Sprint("a", i)) + "---\n" })
}

func replacement(i int, options string) string {
	return fmt.Sprintf("- source: {kind: ConfigMap, name: a%d, fieldPath: data.a}\n"+
		"  targets: [{select: {kind: ConfigMap%s}, fieldPaths: [data.a], options: {create: true, delimiter: '|', index: -1}}]\n", i, options)
}

// What is made to cost much is refused before it does, with the file and the limit.
func TestHostile(t *testing.T) {
	own := func(kustomization string) string { return "resources: [a.yaml]\n" + kustomization }

	cases := map[string]struct {
		reason string
		files  files
		want   []string
	}{
		"Documents": {
			"The objects of a file are counted.",
			files{"kustomization.yaml": own(""), "a.yaml": manyObjects(maxObjects + 1)},
			[]string{`read "a.yaml"`, "more than 10000 objects"},
		},
		"DirectDocuments": {
			"Also without a kustomization.",
			files{"a.yaml": manyObjects(maxObjects + 1)}, []string{"a.yaml", "more than 10000 objects"},
		},
		"Aliases": {
			"Aliases make objects of one.",
			files{"kustomization.yaml": own(""), "a.yaml": "apiVersion: v1\nkind: List\nx: &x {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\nitems:\n" +
				strings.Repeat("- *x\n", maxObjects+1)},
			[]string{`read "a.yaml"`, "more than 10000 objects"},
		},
		"Escapes": {
			"A kind may be written in escapes.",
			files{"kustomization.yaml": own(""), "a.yaml": many(maxObjects+1, func(i int) string {
				return fmt.Sprintf(`{"apiVersion":"v1","\u006bin\x64":"ConfigMap","metadata":{"name":"a%d"}}`+"\n---\n", i)
			})},
			[]string{`read "a.yaml"`, "more than 10000 objects"},
		},
		"Generators": {
			"A generator makes an object.",
			files{"kustomization.yaml": "configMapGenerator:\n" + many(maxObjects+1, func(i int) string { return fmt.Sprintf("- {name: a%d}\n", i) })},
			[]string{`read "kustomization.yaml"`, "more than 10000 objects"},
		},
		"Steps": {
			"Each patch looks at each object.",
			files{"a.yaml": manyObjects(9000), "kustomization.yaml": own("patches:\n" + many(3000, func(int) string {
				return "- {target: {name: 'x.*'}, patch: '[]'}\n"
			}))},
			[]string{"3000 patches", "too many for 9000 objects"},
		},
		"Wide": {
			"A large patch must not go to many objects.",
			files{"a.yaml": manyObjects(6000), "p.yaml": configMap("x") + "data: {k: " + strings.Repeat("x", 100_000) + "}\n",
				"kustomization.yaml": own("patches: [{path: p.yaml, target: {kind: ConfigMap}}]\n")},
			[]string{"the patches add up to more than"},
		},
		"WidePlugin": {
			"Not as a plugin either.",
			files{"a.yaml": manyObjects(6000), "kustomization.yaml": own("transformers: [t.yaml]\n"),
				"t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: a}\ntarget: {kind: ConfigMap}\npatch: '[{op: add, path: /x, value: " +
					strings.Repeat("x", 100_000) + "}]'\n"},
			[]string{"the patches add up to more than"},
		},
		"Copies": {
			"A patch that copies counts as a large one.",
			files{"a.yaml": manyObjects(1000), "kustomization.yaml": own("patches:\n- target: {kind: ConfigMap}\n  patch: '[{\"op\": \"copy\", \"from\": \"/metadata\", \"path\": \"/metadata/a\"}]'\n")},
			[]string{"the patches add up to more than"},
		},
		"Feeding": {
			"Replacements that read what they write double a value each time.",
			files{"a.yaml": configMap("a1"), "kustomization.yaml": own("replacements:\n" + many(40, func(i int) string { return replacement(i, ", name: a1") }))},
			[]string{"40 replacements write what replacements read"},
		},
		"FeedingFile": {
			"In files too.",
			files{"a.yaml": configMap("a1"), "r.yaml": many(40, func(i int) string { return replacement(i, ", name: a1") }),
				"kustomization.yaml": own("replacements: [{path: r.yaml}]\n")},
			[]string{"40 replacements write what replacements read"},
		},
		"FeedingPlugin": {
			"And in plugins.",
			files{"a.yaml": configMap("a1"), "kustomization.yaml": own("transformers: [t.yaml]\n"),
				"t.yaml": "apiVersion: builtin\nkind: ReplacementTransformer\nmetadata: {name: a}\nreplacements:\n" +
					many(40, func(i int) string { return replacement(i, ", name: a1") })},
			[]string{"40 replacements write what replacements read"},
		},
		"Spread": {
			"A large value must not go to many objects.",
			files{"a.yaml": manyObjects(1000), "b.yaml": configMap("a1") + "data: {a: " + strings.Repeat("x", 1<<20) + "}\n",
				"kustomization.yaml": "resources: [a.yaml, b.yaml]\nreplacements:\n" + replacement(1, "")},
			[]string{"the replacements may add more than"},
		},
		"OwnSchema": {
			"A build that others wait for is small.",
			files{"a.yaml": manyObjects(2001), "kustomization.yaml": own("openapi: {version: v1.21.2}\n")},
			[]string{`read "a.yaml"`, "a schema of its own", "no more than 2000 objects"},
		},
		"OwnSchemaSteps": {
			"And does little.",
			files{"a.yaml": manyObjects(900), "kustomization.yaml": own("openapi: {version: v1.21.2}\nimages:\n" + many(200, func(i int) string { return fmt.Sprintf("- {name: a%d, newTag: b}\n", i) }))},
			[]string{"a schema of its own", "200 patches"},
		},
		"Vars": {
			"Nor to many places.",
			files{"a.yaml": configMap("a") + "data:\n  big: " + strings.Repeat("x", 1<<20) + "\n  k: " + strings.Repeat("$(V)", 1000) + "\n",
				"kustomization.yaml": own("vars: [{name: V, objref: {apiVersion: v1, kind: ConfigMap, name: a}, fieldref: {fieldPath: data.big}}]\n")},
			[]string{"the vars may add more than"},
		},
	}

	b := New(Options{})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := b.Build(context.Background(), Request{Dir: tc.files.write(t)})
			wantError(t, tc.reason, err, tc.want...)

			if err != nil && len(err.Error()) > maxErrorText+1000 {
				t.Errorf("%s\nBuild(): the error has %d bytes", tc.reason, len(err.Error()))
			}
		})
	}
}

// Kustomizations of a lattice are read exponentially often.
func TestReadsAreCounted(t *testing.T) {
	tr := mustOpen(t, files{"a.txt": "x"}.write(t))
	defer tr.close()

	var err error
	for range maxReads + 1 {
		_, err = tr.ReadFile(absolute("a.txt"))
	}

	wantError(t, "There is an end to it.", err, `read "a.txt": the build reads more than 20000 files`)
}

// What large teams do is allowed.
func TestWorkIsAllowed(t *testing.T) {
	cases := map[string]struct {
		reason  string
		work    work
		objects int
		bytes   int64
	}{
		"Patches":      {"A thousand patches for three thousand objects.", work{steps: 1000, wide: 100 << 10, once: 10 << 20}, 3000, 20 << 20},
		"Replacements": {"A hundred replacements of hosts and names.", work{sources: []string{"metadata.name", "data.host"}, targets: hundred("spec.rules.0.host"), copiesOnce: 100}, 500, 4 << 20},
		"Feeding":      {"Some that go on from object to object.", work{sources: []string{"spec.rules.0.host"}, targets: []string{"spec.rules.*.host", "spec.tls.0.hosts.0"}, copiesWide: 2}, 50, 1 << 20},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := tc.work.check(tc.objects, tc.bytes, tc.bytes/10); err != nil {
				t.Errorf("%s\ncheck(): %v", tc.reason, err)
			}
		})
	}
}

func hundred(path string) []string {
	var all []string
	for range 100 {
		all = append(all, path)
	}

	return all
}

func TestOverlap(t *testing.T) {
	cases := map[string]struct {
		a, b string
		want bool
	}{
		"Same":     {"data.a", "data.a", true},
		"Other":    {"data.a", "data.b", false},
		"Within":   {"spec", "spec.x.y", true},
		"Index":    {"spec.0.a", "spec.1.a", true},
		"List":     {"spec.[name=a].x", "spec.b.x", true},
		"Star":     {"spec.*.x", "spec.b.x", true},
		"Behind":   {"spec.*.x", "spec.b.y", false},
		"Escaped":  {`metadata.annotations.a\.b`, "data", true},
		"NotAPart": {"metadata.name", "metadata.names", false},
	}

	for name, tc := range cases {
		if got := overlap(tc.a, tc.b); got != tc.want {
			t.Errorf("%s: overlap(%q, %q): %v, want %v", name, tc.a, tc.b, got, tc.want)
		}
	}
}

func TestLimitCopies(t *testing.T) {
	before := jsonpatch.AccumulatedCopySizeLimit

	t.Cleanup(func() { jsonpatch.AccumulatedCopySizeLimit = before })
	LimitCopies()

	dir := files{"a.yaml": configMap("a"), "kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {name: a}\n  patch: '[" +
		many(60, func(i int) string {
			return fmt.Sprintf(`{"op": "copy", "from": "/metadata", "path": "/metadata/x%d"},`, i)
		}) + `{"op": "test", "path": "/kind", "value": "ConfigMap"}]'` + "\n"}.write(t)

	_, err := New(Options{}).Build(context.Background(), Request{Dir: dir})
	wantError(t, "A value that is copied into itself doubles each time.", err, "copy")
}
