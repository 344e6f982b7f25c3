package build

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// throughLibrary builds a plain directory as if it had to go to the library.
func throughLibrary(t *testing.T, b *Builder, dir string) ([]*unstructured.Unstructured, error) {
	t.Helper()

	tr := mustOpen(t, dir)
	defer tr.close()

	found := &plain{}

	err := tr.list(found)
	if err != nil {
		t.Fatal(err)
	}

	return b.buildWithLibrary(tr, ".", "", found, &Spec{})
}

// list finds the entries of a directory without looking at their content.
func (t *tree) list(found *plain) error {
	return filepath.WalkDir(t.real, func(name string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}

		rel, err := filepath.Rel(t.real, name)
		if err != nil {
			return err
		}

		if entry.IsDir() {
			return t.scanDirectory(found, ".", rel)
		}

		if isYAML(rel) {
			found.entries = append(found.entries, entryFor(".", rel))
		}

		return nil
	})
}

func mustOpen(t *testing.T, dir string) *tree {
	t.Helper()

	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}

	tr, err := New(Options{}).openTree(context.Background(), abs, "")
	if err != nil {
		t.Fatal(err)
	}

	return tr
}

func TestDirectPathEqualsLibrary(t *testing.T) {
	cases := map[string]struct {
		reason string
		direct bool
	}{
		"Documents":           {reason: "Comments, anchors, merges, empty documents and line endings are ordinary YAML.", direct: true},
		"Lists":               {reason: "Lists are expanded, and go last if they are not alone in their file.", direct: true},
		"NestedLists":         {reason: "A list in a list is left to the library."},
		"Scalars":             {reason: "Every scalar gets the type and value that the library gives it.", direct: true},
		"Binary":              {reason: "Binary values are left to the library."},
		"Directories":         {reason: "Files come in lexical order, depth first.", direct: true},
		"NestedKustomization": {reason: "A directory with a kustomization of its own is built by the library."},
		"Annotations":         {reason: "The library makes annotations strings."},
		"LocalConfig":         {reason: "The library acts on annotations of kustomize."},
		"RBAC":                {reason: "References between objects do not change if no name does.", direct: true},
		"Namespaces":          {reason: "Whether namespaces tell objects apart is left to the library."},
		"Hollow":              {reason: "What the library makes of a missing value in braces is left to it."},
		"Folded":              {reason: "What the library makes of folded paragraphs is left to it."},
		"Empty":               {reason: "A directory without YAML stands for no objects.", direct: true},
	}

	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}

	if got, want := len(entries)-1, len(cases); got != want {
		t.Errorf("testdata has %d cases, the table %d", got, want)
	}

	b := New(Options{})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name, "in")

			tr := mustOpen(t, dir)
			defer tr.close()

			found, err := tr.scan(".")
			if err != nil {
				t.Fatal(err)
			}

			if got := found.odd == ""; got != tc.direct {
				t.Errorf("%s\nscan(): direct %v, want %v (%s)", tc.reason, got, tc.direct, found.odd)
			}

			want, err := throughLibrary(t, b, dir)
			if err != nil {
				t.Fatal(err)
			}

			if tc.direct {
				if diff := cmp.Diff(objectsOf(want), objectsOf(found.objects)); diff != "" {
					t.Errorf("%s\nscan(): -library, +direct:\n%s", tc.reason, diff)
				}
			}

			set, err := b.Build(context.Background(), Request{Dir: tr.real})
			if err != nil {
				t.Fatal(err)
			}

			compareGolden(t, filepath.Join("testdata", name, "want.yaml"), set)
		})
	}
}

// objectsOf makes no difference between no objects and nil.
func objectsOf(list []*unstructured.Unstructured) []map[string]any {
	objects := make([]map[string]any, len(list))
	for i, u := range list {
		objects[i] = u.Object
	}

	return objects
}

func compareGolden(t *testing.T, file string, set *Set) {
	t.Helper()

	var got []byte

	for i, u := range set.Objects {
		if i > 0 {
			got = append(got, documentEnd...)
		}

		text, err := yaml.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}

		got = append(got, text...)
	}

	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("Build(): -want, +got:\n%s", diff)
	}
}
