package charts_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/charts"
)

// indexOf returns an index with the versions of a chart, each created a second after the one before.
func indexOf(t testing.TB, name string, versions ...string) *charts.Index {
	t.Helper()

	var text strings.Builder

	fmt.Fprintf(&text, "apiVersion: v1\nentries:\n  empty: []\n  %s:\n", name)

	for i, v := range versions {
		fmt.Fprintf(&text, "  - {name: %s, version: %q, created: \"2024-01-01T00:00:%02dZ\"}\n", name, v, i)
	}

	x, _, err := charts.ReadIndex(t.Context(), strings.NewReader(text.String()), charts.IndexLimits{})
	if err != nil {
		t.Fatal(err)
	}

	return x
}

func TestFind(t *testing.T) {
	usual := []string{"1.0.0", "1.1.0", "1.2.0-rc.1", "2.0.0-beta", "0.9.0"}

	cases := map[string]struct {
		reason     string
		versions   []string
		chart      string
		constraint string
		want       string
		err        error
		fails      bool
	}{
		"Empty":      {reason: "No range is the highest release.", want: "1.1.0"},
		"Any":        {reason: "Any release is no pre-release.", constraint: "*", want: "1.1.0"},
		"X":          {reason: "So is x.", constraint: "x", want: "1.1.0"},
		"Exact":      {reason: "A version is itself.", constraint: "1.0.0", want: "1.0.0"},
		"ExactPre":   {reason: "So is a pre-release.", constraint: "2.0.0-beta", want: "2.0.0-beta"},
		"Range":      {reason: "The highest in a range counts.", constraint: ">=0.9.0 <1.1.0", want: "1.0.0"},
		"Caret":      {reason: "A caret keeps the major version.", constraint: "^1", want: "1.1.0"},
		"PreRange":   {reason: "A range with a pre-release lets some in.", constraint: ">=1.0.0-0", want: "2.0.0-beta"},
		"TildePre":   {reason: "But only those in it.", constraint: "~1.2.0-0", want: "1.2.0-rc.1"},
		"Or":         {reason: "Ranges may be alternatives.", constraint: "0.9.0 || 3.x", want: "0.9.0"},
		"None":       {reason: "There may be none.", constraint: ">=3", err: charts.ErrNoVersion},
		"OnlyPre":    {reason: "There may be pre-releases only.", versions: []string{"1.0.0-a"}, err: charts.ErrNoVersion},
		"NoChart":    {reason: "A chart may not be there.", chart: "other", err: charts.ErrNoChart},
		"NoVersions": {reason: "A chart may have no versions.", chart: "empty", err: charts.ErrNoVersion},
		"LongRange":  {reason: "A range has an end.", constraint: strings.Repeat("9||", 400) + "1", fails: true},
		"BadRange":   {reason: "A range has to be one.", constraint: "latest", fails: true},
		"Prefix":     {reason: "A prefix is part of a version.", versions: []string{"v1.0.0", "v1.2.0"}, constraint: "1.x", want: "v1.2.0"},
		"ExactText": {
			reason: "What is written the same comes first.", versions: []string{"v1.0.0", "1.0.0"}, constraint: "v1.0.0", want: "v1.0.0",
		},
		"WithoutPrefix": {reason: "A prefix is no difference.", versions: []string{"v1.0.0"}, constraint: "1.0.0", want: "v1.0.0"},
		"Youngest": {
			reason: "Among builds of a version, the youngest counts.", versions: []string{"1.0.0+b", "1.0.0+c", "1.0.0+a"}, want: "1.0.0+a",
		},
		"ExactBuild": {reason: "A build can be named.", versions: []string{"1.0.0+b", "1.0.0+a"}, constraint: "1.0.0+b", want: "1.0.0+b"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.versions == nil {
				tc.versions = usual
			}

			if tc.chart == "" {
				tc.chart = "podinfo"
			}

			got, err := indexOf(t, "podinfo", tc.versions...).Find(tc.chart, tc.constraint)
			if got.Version != tc.want || tc.err != nil && !errors.Is(err, tc.err) || (err != nil) != (tc.fails || tc.err != nil) {
				t.Errorf("%s\ngot %q, %v", tc.reason, got.Version, err)
			}
		})
	}
}

func TestFindEntry(t *testing.T) {
	text := `apiVersion: v1
entries:
  a:
  - name: a
    version: 1.0.0
    appVersion: "1"
    type: library
    deprecated: true
    digest: sha256:AB
    created: "2024-01-02T03:04:05.000000006+02:00"
    urls: ["https://example.com/one.tgz", "two.tgz"]
`

	x, _, err := charts.ReadIndex(t.Context(), strings.NewReader(text), charts.IndexLimits{})
	if err != nil {
		t.Fatal(err)
	}

	got, err := x.Find("a", "")
	if err != nil {
		t.Fatal(err)
	}

	if created := got.Created.Format("2006-01-02T15:04:05.999999999Z07:00"); created != "2024-01-02T01:04:05.000000006Z" {
		t.Errorf("created %s", created)
	}

	want := charts.Entry{
		Name: "a", Version: "1.0.0", AppVersion: "1", Type: "library", Deprecated: true, Digest: "sha256:AB", Created: got.Created,
		URLs: []string{"https://example.com/one.tgz", "two.tgz"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
