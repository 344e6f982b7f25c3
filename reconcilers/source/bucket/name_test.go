package bucket

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whatever a key is, its path stays in the tree.
func FuzzPathOf(f *testing.F) {
	for _, key := range []string{
		"a", "a/b", "/a", "a//b", "./a", "a/./b", "..", "a/../b", `a\..\b`, `\\host\share`, "a\x00b", "a/", "/", "", "C:\\x", "a/b/..",
		"\xff\xfe", strings.Repeat("x", 256), strings.Repeat("x/", 600),
	} {
		f.Add(key)
	}

	f.Fuzz(func(t *testing.T, key string) {
		p, err := pathOf(key)
		if err != nil {
			return
		}

		if !filepath.IsLocal(p) || path.Clean(p) != p || p == "." || strings.ContainsRune(p, 0) ||
			slices.Contains(strings.FieldsFunc(p, func(r rune) bool { return r == '/' || r == '\\' }), "..") {
			t.Errorf("key %q has the path %q", key, p)
		}
	})
}

func TestInOrder(t *testing.T) {
	want := []string{"a", "a/b", "a/b/c", "a/b.d", "a-b", "a.b", "b"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, inOrder)

	if !slices.Equal(got, want) {
		t.Errorf("order %q", got)
	}
}
