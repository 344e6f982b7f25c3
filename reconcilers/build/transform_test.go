package build

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/api/meta"
)

func TestTransform(t *testing.T) {
	const stream = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":1,` +
		`"template":{"spec":{"containers":[{"name":"web","image":"example.org/web:1"}]}}}}
---
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"b"}}
`

	scale := `[{"op":"replace","path":"/spec/replicas","value":3}]`

	cases := map[string]struct {
		reason string
		stream string
		spec   Spec
		want   []string // each in the outcome
		err    string   // in the error
	}{
		"Nothing": {"The objects stay as they are, in their order.", stream, Spec{}, []string{"replicas: 1", "a: b"}, ""},
		"Patch": {"A patch finds its target.", stream, Spec{Patches: []meta.Patch{{Patch: scale, Target: &meta.Selector{Kind: "Deployment"}}}},
			[]string{"replicas: 3"}, ""},
		"Merge": {"A patch that is a part of an object is merged.", stream, Spec{Patches: []meta.Patch{{
			Patch: "{apiVersion: v1, kind: ConfigMap, metadata: {name: big}, data: {c: d}}"}}}, []string{"  a: b\n  c: d\n"}, ""},
		"Image": {"Images are replaced.", stream, Spec{Images: []meta.Image{{Name: "example.org/web", NewTag: "2"}}},
			[]string{"image: example.org/web:2"}, ""},
		"Metadata": {"Common metadata is added.", stream, Spec{CommonMetadata: &meta.CommonMetadata{Labels: map[string]string{"team": "web"}}},
			[]string{"  labels:\n    team: web\n"}, ""},
		"Missing": {"A patch of nothing is an error.", stream, Spec{Patches: []meta.Patch{{
			Patch: "{apiVersion: v1, kind: ConfigMap, metadata: {name: none}}"}}}, nil, "no matches for Id ConfigMap"},
		"Component": {"There are no files but the stream.", stream, Spec{Components: []string{"part"}}, nil, "part"},
		"Remote":    {"Nothing is fetched.", stream, Spec{Components: []string{"https://example.org/part"}}, nil, "must be local"},
		"Bomb": {"Aliases do not blow up.", "a: &a [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + strings.Join([]string{
			"b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]", "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]",
			"d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]", "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]",
			"f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]", "g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f, *f]",
			"h: [*g, *g, *g, *g, *g, *g, *g, *g, *g, *g]"}, "\n"), Spec{}, nil, "alias"},
		"Large": {"A stream is as large as a file at most.", stream + strings.Repeat("#", 1<<20), Spec{}, nil, "more than the limit of 1048576"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			set, err := New(Options{MaxFileSize: 1 << 20}).Transform(t.Context(), "apps", []byte(tc.stream), tc.spec)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s got %v, want %q", tc.reason, err, tc.err)
				}

				return
			}

			if err != nil {
				t.Fatal(err)
			}

			text := set.stream(t)
			for _, want := range tc.want {
				if !strings.Contains(text, want) {
					t.Errorf("%s got %s, want %s", tc.reason, text, want)
				}
			}

			if diff := cmp.Diff(2, len(set.Objects)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
