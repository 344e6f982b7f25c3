package bucket_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/test/s3server"
)

func TestIgnoreRules(t *testing.T) {
	objects := map[string]string{
		"a.yaml": "a", "b.md": "b", "dir/c.yaml": "c", "dir/d.md": "d", "dir/.sourceignore": "*", "other/e.yaml": "e", ".github/f": "f",
	}

	cases := map[string]struct {
		reason string
		file   string
		change []func(*sourcev1.BucketSpec)
		want   []string
	}{
		"None": {
			reason: "There are no default rules for buckets.",
			want:   []string{".github/f", "a.yaml", "b.md", "dir/.sourceignore", "dir/c.yaml", "dir/d.md", "other/e.yaml"},
		},
		"Spec": {
			reason: "The rules of the object hold.", change: []func(*sourcev1.BucketSpec){withIgnore("*.md\n/dir/.sourceignore\n.github/\n")},
			want: []string{"a.yaml", "dir/c.yaml", "other/e.yaml"},
		},
		"File": {
			reason: "So do those at the root of the bucket, and nowhere else.", file: "*.md\n",
			want: []string{".github/f", "a.yaml", "dir/.sourceignore", "dir/c.yaml", "other/e.yaml"},
		},
		"Both": {
			reason: "Those of the object win.", file: "*\n", change: []func(*sourcev1.BucketSpec){withIgnore("!/a.yaml\n")},
			want: []string{"a.yaml"},
		},
		"Prefix": {
			reason: "The prefix stays part of the path, and the rules are those of the bucket.", file: "dir/*.md\n",
			change: []func(*sourcev1.BucketSpec){withPrefix("dir/")},
			want:   []string{"dir/.sourceignore", "dir/c.yaml"},
		},
		"PrefixWithoutFile": {
			reason: "A bucket need not have rules.", change: []func(*sourcev1.BucketSpec){withPrefix("o")}, want: []string{"other/e.yaml"},
		},
		"Everything": {
			reason: "A bucket of which nothing is wanted is empty.", change: []func(*sourcev1.BucketSpec){withIgnore("*\n")},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)

			s, err := s3server.Start(t.Context(), s3server.Options{})
			check(t, err)
			t.Cleanup(s.Close)
			check(t, s.MakeBucket("apps"))
			put(t, s, objects)

			if tc.file != "" {
				put(t, s, map[string]string{".sourceignore": tc.file})
			}

			want := map[string]string{}
			for _, key := range tc.want {
				want[key] = objects[key]
			}

			obj := object("app", s, tc.change...)
			got := w.bench(t, obj).run(t, obj)

			same(t, tc.reason, want, w.files(t, got.Object.Status.Artifact))
			same(t, tc.reason, revisionOf(want), got.Object.Status.Artifact.Revision)
			same(t, "observed", obj.Spec.Ignore, got.Object.Status.ObservedIgnore)
		})
	}
}

func TestIgnoreRulesChange(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	obj := object("app", s, withIgnore("base/\n"))
	b := w.bench(t, obj)
	b.run(t, obj)
	requests(s)

	stored := &sourcev1.Bucket{}
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), stored))
	stored.Spec.Ignore, stored.Generation = nil, 2
	check(t, b.api.Update(t.Context(), stored))

	got := b.run(t, stored)
	same(t, "files", map[string]string{"app.yaml": "a: 1\n", "base/kustomization.yaml": "b: 1\n"},
		w.files(t, got.Object.Status.Artifact))

	if got.Object.Status.ObservedIgnore != nil {
		t.Error("the old rules are still observed")
	}
}

func TestKeys(t *testing.T) {
	cases := map[string]struct {
		reason  string
		objects map[string]string
		ignore  string
		want    map[string]string
		fails   string
	}{
		"Parent": {
			reason: "Nothing leads out of the tree.", objects: map[string]string{"a/../../b": "x"},
			fails: `fetch from bucket 'apps' failed: "a/../../b": the name leads out of the tree; ignore rules can leave it out`,
		},
		"Backslash": {
			reason: "Nor on another operating system.", objects: map[string]string{`..\b`: "x"},
			fails: `fetch from bucket 'apps' failed: "..\\b": the name leads out of the tree`,
		},
		"Ignored": {
			reason: "What is not wanted need not be good.", objects: map[string]string{`..\b`: "x", "c": "c"}, ignore: "*b\n",
			want: map[string]string{"c": "c"},
		},
		"Slashes": {
			reason: "Slashes that mean nothing mean nothing.", objects: map[string]string{"a//b": "x", "c/./d": "y"},
			want: map[string]string{"a/b": "x", "c/d": "y"},
		},
		"Twice": {
			reason: "Two objects cannot be one file.", objects: map[string]string{"a//b": "x", "a/b": "y"},
			fails: `fetch from bucket 'apps' failed: "a/b": another object has a name that means the same file`,
		},
		"FileAndDirectory": {
			reason: "A file is no directory.", objects: map[string]string{"a": "x", "a/b": "y"},
			fails: `fetch from bucket 'apps' failed: "a": the name is that of a directory of other objects`,
		},
		"DirectoryMarker": {
			reason: "An empty object that stands for a directory is none.", objects: map[string]string{"a": "", "a/b": "y", "e": ""},
			want: map[string]string{"a/b": "y", "e": ""},
		},
		"LongElement": {
			reason: "A name that no file can have is refused.", objects: map[string]string{strings.Repeat("x", 256): "x"},
			fails: `fetch from bucket 'apps' failed: "xxx`,
		},
		"Strange": {
			reason: "Strange names are names.", objects: map[string]string{"ä ö+?#%&=\n/x": "x", "..a/b..": "y"},
			want: map[string]string{"ä ö+?#%&=\n/x": "x", "..a/b..": "y"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)

			s, err := s3server.Start(t.Context(), s3server.Options{})
			check(t, err)
			t.Cleanup(s.Close)
			check(t, s.MakeBucket("apps"))
			put(t, s, tc.objects)

			obj := object("app", s, func(s *sourcev1.BucketSpec) { s.Ignore = &tc.ignore })
			got := w.bench(t, obj).run(t, obj)

			if tc.fails != "" {
				expect(t, got.Object, meta.FetchFailedCondition, "True BucketOperationFailed: "+tc.fails)

				if got.Object.Status.Artifact != nil {
					t.Errorf("%s\nthere is an artifact", tc.reason)
				}

				return
			}

			same(t, tc.reason, tc.want, w.files(t, got.Object.Status.Artifact))
		})
	}
}

func TestLimits(t *testing.T) {
	cases := map[string]struct {
		reason string
		limits ingest.Limits
		want   string
	}{
		"File":    {"A file may be too large.", ingest.Limits{FileBytes: 4}, `"app.yaml": the limit of 4 bytes per file is exceeded`},
		"All":     {"All may be too large.", ingest.Limits{Bytes: 9}, `"base/kustomization.yaml": the limit of 9 bytes in all files`},
		"Entries": {"Directories count.", ingest.Limits{Entries: 2}, `"base/kustomization.yaml": the limit of 2 entries is exceeded`},
		"Depth":   {"Paths may be too deep.", ingest.Limits{Depth: 1}, `"base/kustomization.yaml": the limit of 1 path elements`},
		"Path":    {"Paths may be too long.", ingest.Limits{PathBytes: 8}, `"base/kustomization.yaml": the limit of 8 bytes per path`},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.buckets.Limits = tc.limits
			s := w.server(t, s3server.Options{})
			obj := object("app", s)
			got := w.bench(t, obj).run(t, obj)

			expect(t, got.Object, meta.FetchFailedCondition,
				"True BucketOperationFailed: fetch from bucket 'apps' failed: "+tc.want)
			same(t, tc.reason, []string{"list"}, requests(s))
		})
	}
}

func TestMoreThanListed(t *testing.T) {
	w := newWorld(t)
	w.buckets.Limits = ingest.Limits{Bytes: 1 << 20}
	s := w.server(t, s3server.Options{})
	s.Before(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/apps/app.yaml" || r.URL.RawQuery != "" {
			return false
		}

		rw.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")

		for range 64 {
			if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
				return true
			}
		}

		return true
	})

	obj := object("app", s)
	got := w.bench(t, obj).run(t, obj)
	expect(t, got.Object, meta.FetchFailedCondition,
		`True BucketOperationFailed: fetch from bucket 'apps' failed: get "app.yaml": the limit of 1048576 bytes in all files is exceeded`)

	if left, _ := os.ReadDir(w.buckets.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
