package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzDirectPath holds that the direct path yields what the library yields, for any file.
func FuzzDirectPath(f *testing.F) {
	for _, pattern := range []string{"testdata/*/in/*.yaml", "testdata/errors/*/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}

		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}

			f.Add(string(data))
		}
	}

	b := New(Options{})

	f.Fuzz(func(t *testing.T, content string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}

		tr := mustOpen(t, dir)
		defer tr.close()

		found, err := tr.scan(".")
		if err != nil || found.odd != "" {
			return
		}

		want, err := throughLibrary(t, b, dir)
		if err != nil {
			t.Skip("the library refuses what the API server will judge")
		}

		if diff := cmp.Diff(objectsOf(want), objectsOf(found.objects)); diff != "" {
			t.Errorf("scan(): -library, +direct:\n%s", diff)
		}
	})
}

// FuzzRemote holds that whatever looks like a URL or a repository is refused, and that nothing makes the check fail.
func FuzzRemote(f *testing.F) {
	for _, ref := range []string{"https://a/b", "git@a:b/c", "github.com/a/b", "./a.yaml", "git::ssh://a", "a@b", ":", "git@:"} {
		f.Add(ref)
	}

	f.Fuzz(func(t *testing.T, ref string) {
		lower := strings.ToLower(ref)
		for _, scheme := range []string{"ssh://", "file://"} {
			if strings.HasPrefix(lower, scheme) && !isRemote(ref) {
				t.Errorf("isRemote(%q): false", ref)
			}
		}
	})
}
