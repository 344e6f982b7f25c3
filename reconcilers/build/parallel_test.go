package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/api/meta"
)

const thing = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\n"

// ownSchema brings a schema in which the list of a Thing has a merge key, and nothing else is known.
var ownSchema = files{
	"kustomization.yaml": "openapi: {path: s.json}\nresources: [a.yaml, d.yaml]\npatches: [{path: p.yaml}, {path: q.yaml}]\n",
	"a.yaml":             thing + "spec: {list: [{name: a, x: 1}]}\n",
	"p.yaml":             thing + "spec: {list: [{name: b, x: 2}]}\n",
	"d.yaml":             deployment,
	"q.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: old}\n" +
		"spec: {template: {spec: {containers: [{name: sidecar, image: proxy}]}}}\n",
	"s.json": `{"definitions": {"org.example.Thing": {
		"x-kubernetes-group-version-kind": [{"group": "example.org", "version": "v1", "kind": "Thing"}],
		"properties": {"spec": {"properties": {"list": {"type": "array", "items": {"type": "object"},
			"x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}}}}}}}`,
}

// instead returns the files with another kustomization.
func (f files) instead(kustomization string) files {
	other := maps.Clone(f)
	other["kustomization.yaml"] = kustomization

	return other
}

// kustomized are kustomizations that use the schema of the library in all ways.
func kustomized() map[string]files {
	return map[string]files{
		"Merge": ownSchema.instead("resources: [a.yaml, d.yaml]\npatches: [{path: p.yaml}, {path: q.yaml}]\n"),
		"Namespace": {
			"kustomization.yaml": "namespace: team\nnamePrefix: x-\nresources: [a.yaml, d.yaml]\n",
			"a.yaml":             thing + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: old}\n", "d.yaml": deployment,
		},
		"Generators": {
			"kustomization.yaml": "resources: [d.yaml]\nconfigMapGenerator: [{name: c, literals: [a=b]}]\n" +
				"secretGenerator: [{name: s, literals: [a=b]}]\nlabels: [{pairs: {a: b}, includeSelectors: true}]\n" +
				"images: [{name: nginx, newTag: '2'}]\nreplicas: [{name: app, count: 2}]\n",
			"d.yaml": deployment,
		},
		"Replacements": {
			"kustomization.yaml": "resources: [d.yaml]\nreplacements:\n- source: {kind: Deployment, fieldPath: metadata.name}\n" +
				"  targets: [{select: {kind: Deployment}, fieldPaths: [metadata.labels.app], options: {create: true}}]\n",
			"d.yaml": deployment,
		},
		"OwnSchema": ownSchema,
		"OwnSchemaInBase": {
			"kustomization.yaml":      "resources: [base]\nnameSuffix: -s\n",
			"base/kustomization.yaml": ownSchema["kustomization.yaml"], "base/a.yaml": ownSchema["a.yaml"],
			"base/p.yaml": ownSchema["p.yaml"], "base/d.yaml": ownSchema["d.yaml"], "base/q.yaml": ownSchema["q.yaml"],
			"base/s.json": ownSchema["s.json"],
		},
		"OldSchema": ownSchema.instead("openapi: {version: v1.21.2}\nresources: [a.yaml, d.yaml]\npatches: [{path: p.yaml}, {path: q.yaml}]\n"),
	}
}

// All at once, again and again: what comes out is what comes out of a process that does nothing else. The race detector
// holds that the library changes nothing that is shared, as long as nobody brings a schema.
func TestBuildsRunInParallel(t *testing.T) {
	const rounds = 15

	type job struct{ name, dir, want string }

	var jobs []job

	for name, f := range kustomized() {
		dir := f.write(t)

		want, err := kustomize(t, dir)
		if err != nil {
			t.Fatal(err)
		}

		jobs = append(jobs, job{name, dir, want})
	}

	// The fixtures of the direct path, with a label for all so that they go through the library.
	spec := Spec{Patches: []meta.Patch{{
		Patch:  `[{"op": "test", "path": "/kind", "value": "X"}]`,
		Target: &meta.Selector{Kind: "NothingHasThisKind"},
	}}}

	golden, err := filepath.Glob("testdata/*/want.yaml")
	if err != nil {
		t.Fatal(err)
	}

	b := New(Options{Concurrency: 8})

	var all sync.WaitGroup

	for _, file := range golden {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}

		dir, err := filepath.Abs(filepath.Join(filepath.Dir(file), "in"))
		if err != nil {
			t.Fatal(err)
		}

		jobs = append(jobs, job{filepath.Dir(file), dir, string(want)})
	}

	for round := range rounds {
		for _, j := range jobs {
			if strings.Contains(j.name, "Schema") && round%5 != 0 {
				continue // a schema is parsed for a long time
			}

			all.Go(func() {
				r := Request{Dir: j.dir, Owner: fmt.Sprint(round % 3)}
				if strings.HasPrefix(j.name, "testdata") {
					r.Spec = spec
				}

				set, err := b.Build(context.Background(), r)
				if err != nil {
					t.Errorf("%s: Build(): %v", j.name, err)

					return
				}

				if diff := cmp.Diff(j.want, set.stream(t)); diff != "" {
					t.Errorf("%s: Build(): -alone, +together:\n%s", j.name, diff)
				}
			})
		}
	}

	all.Wait()
}

// A build that nobody waits for any more keeps its place, and reads nothing more.
func TestAbandoned(t *testing.T) {
	b := New(Options{Concurrency: 2})
	dir := files{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap("a")}.write(t)
	why := errors.New("a new revision came")

	ctx, cancel := context.WithCancelCause(context.Background())

	tr, err := b.openTree(ctx, dir, "slow")
	if err != nil {
		t.Fatal(err)
	}

	// The library stops where it reads, as if the disk were slow.
	tr.gate = newGate(1, 1, 0)
	tr.spent.bytes = largeBytes

	blocker, err := tr.gate.pass(context.Background(), "", false)
	if err != nil {
		t.Fatal(err)
	}

	failed := make(chan error)

	go func() {
		_, err := b.run(tr, ".")
		tr.close()

		failed <- err
	}()

	cancel(why)

	if err := <-failed; !errors.Is(err, why) {
		t.Errorf("run(): error %v, want %v", err, why)
	}

	set, err := b.Build(context.Background(), Request{Dir: dir, Owner: "another"})
	if err != nil || len(set.Objects) != 1 {
		t.Errorf("Build() beside it: %v, %v", set, err)
	}

	blocker.leave()

	// Alone one gets in only after it has left.
	last, err := b.gate.pass(context.Background(), "last", true)
	if err != nil {
		t.Fatal(err)
	}

	last.leave()

	if n := tr.users.Load(); n != 0 {
		t.Errorf("the tree still has %d users", n)
	}
}
