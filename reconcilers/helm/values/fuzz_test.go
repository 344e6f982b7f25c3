package values_test

import (
	"testing"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/helm/values"
)

// FuzzTargetPath holds that the indices are found which Helm's parser finds: the lists that it makes are within the bounds.
func FuzzTargetPath(f *testing.F) {
	for _, seed := range []string{
		"1", "{a,b}", "{[60000]=,b},q[60000]=1", `\,[60000],b=1`, `x,p[60000]=1,p\[60000]=2,q[60000][60000].r=3`, "'[60000]=,'",
		`{a}[60000]=1,{[60000],[60000]=}`, `x,a[\60000]=1`, `x,[60000]=1`, `x,a[60000]b=1,c[60000]=1`, "x,a[+60000]=1", `{a\},b}c[60000]=1`,
		"x,a[60000][60000][60000]=1", "x,a[0].b[60000]=1,a[0].b[60001]=2", "\\", "{", "x,a[", "x,a.b.c[60000", "{a},{b},c[60000]=",
	} {
		f.Add("p", seed, false)
		f.Add("p[3].k", seed, true)
	}

	f.Fuzz(func(t *testing.T, path, content string, verbatim bool) {
		const most = 2 * 65_536

		ref := at(path, "a")
		ref.Literal = verbatim

		got, err := values.Compose(t.Context(), &cluster{maps: map[string]string{"a/v": content}}, "ns", []meta.ValuesReference{ref}, nil)
		if n := items(got); err == nil && n > most+len(path)+len(content) {
			t.Errorf("%d items in lists", n)
		}
	})
}

// items counts those of all lists.
func items(value any) (n int) {
	switch value := value.(type) {
	case map[string]any:
		for _, v := range value {
			n += items(v)
		}
	case []any:
		n = len(value)
		for _, v := range value {
			n += items(v)
		}
	}

	return n
}
