package distribution

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// base is the case that all others are compared with.
const base = "Default"

// TestBuild compares what testdata/<Case>/in.yaml becomes with what is expected: of the case Default with all objects, in want.yaml;
// of the others with how they differ from it, in want.diff.
func TestBuild(t *testing.T) {
	d := load(t)
	byDefault := render(t, build(t, d, base).Objects)
	golden(t, filepath.Join("testdata", base, "want.yaml"), byDefault.all())
	cases, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		name := filepath.Base(filepath.Dir(file))
		if name == base {
			continue
		}
		t.Run(name, func(t *testing.T) {
			got := render(t, build(t, source(t, d, name), name).Objects)
			golden(t, filepath.Join("testdata", name, "want.diff"), got.since(t, byDefault))
		})
	}
}

// source returns the distribution that the case asks for: the embedded one, or that of an artifact as upstream publishes it, with short
// definitions too.
func source(t *testing.T, embedded *Distribution, name string) *Distribution {
	t.Helper()
	wanted := read(t, name).Spec.Distribution
	if wanted.Artifact == "" {
		return embedded
	}
	releases, err := ReadReleases(artifact(t, embedded.Version()))
	if err != nil {
		t.Fatal(err)
	}
	d, err := releases.Select(wanted.Version, wanted.Variant, wanted.Artifact, embedded)
	if err != nil {
		t.Fatal(err)
	}
	for crd := range d.crds {
		if d.crds[crd] = embedded.crds[crd]; d.crds[crd] == nil {
			t.Errorf("the embedded distribution has no definition %q", crd)
		}
	}
	return d
}

// rendered is the YAML of objects by their identity, in order.
type rendered struct {
	ids  []string
	docs map[string]string
}

// render writes the objects. All are of one namespace, and some have it in their name; their identity is without.
func render(t *testing.T, objects []*unstructured.Unstructured) rendered {
	t.Helper()
	r := rendered{docs: map[string]string{}}
	namespace := ""
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			namespace = o.GetName()
		}
	}
	for _, o := range objects {
		id := o.GetKind() + "/" + strings.TrimSuffix(o.GetName(), "-"+namespace)
		if o.GetName() == namespace {
			id = o.GetKind()
		}
		if _, twice := r.docs[id]; twice {
			t.Errorf("%s is there twice", id)
		}
		doc, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		r.ids, r.docs[id] = append(r.ids, id), string(doc)
	}
	return r
}

func (r rendered) all() []byte {
	var b bytes.Buffer
	for _, id := range r.ids {
		fmt.Fprintf(&b, "---\n%s", r.docs[id])
	}
	return b.Bytes()
}

// since tells how the objects differ from others: those that are gone, those that differ, and those that are new. Objects that
// differ in the same way are told together.
func (r rendered) since(t *testing.T, other rendered) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, id := range other.ids {
		if _, found := r.docs[id]; !found {
			fmt.Fprintf(&b, "gone: %s\n", id)
		}
	}
	var diffs []string
	objects := map[string][]string{}
	for _, id := range r.ids {
		old, found := other.docs[id]
		if !found || old == r.docs[id] {
			continue
		}
		diff := unified2(t, old, r.docs[id])
		if objects[diff] == nil {
			diffs = append(diffs, diff)
		}
		objects[diff] = append(objects[diff], id)
	}
	for _, diff := range diffs {
		fmt.Fprintf(&b, "changed: %s\n%s", strings.Join(objects[diff], ", "), diff)
	}
	for _, id := range r.ids {
		if _, found := other.docs[id]; !found {
			fmt.Fprintf(&b, "new: %s\n+%s\n", id, strings.ReplaceAll(strings.TrimSuffix(r.docs[id], "\n"), "\n", "\n+"))
		}
	}
	return b.Bytes()
}

// unified2 is a unified diff with two lines of context and without line numbers, which would differ from object to object.
func unified2(t *testing.T, old, now string) string {
	t.Helper()
	diff, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(old), B: difflib.SplitLines(now), Context: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(diff) {
		switch {
		case strings.HasPrefix(line, "@@"):
			b.WriteString("@@\n")
		case strings.TrimSpace(line) != "":
			b.WriteString(line)
		}
	}
	return b.String()
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; rewrite it with -update if that is right (-want +got):\n%s", file, diff)
	}
}
