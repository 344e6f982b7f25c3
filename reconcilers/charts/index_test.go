package charts_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/weir-dev/weir/reconcilers/charts"
)

// helmReads reads an index as Helm does. Helm logs what it passes over.
func helmReads(t testing.TB, raw []byte) (*repo.IndexFile, error) {
	t.Helper()

	log.SetOutput(io.Discard)

	file := filepath.Join(t.TempDir(), "index.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}

	return repo.LoadIndexFile(file)
}

// normal returns the normal form of an index.
func normal(ctx context.Context, raw []byte, l charts.IndexLimits, dir string) (string, error) {
	n, err := charts.NormalizeIndex(ctx, bytes.NewReader(raw), l, dir)
	if err != nil {
		return "", err
	}
	defer n.Close()

	var out strings.Builder
	err = n.WriteJSON(&out)

	return out.String(), err
}

// piecewise are limits with which nothing can be read as a whole.
func piecewise() charts.IndexLimits { return charts.IndexLimits{WholeBytes: 1} }

// indexes are files by what is special about them. Those of which whole is set have to be read as a whole.
func indexes() map[string]struct {
	text  string
	whole bool
} {
	entry := "  - apiVersion: v2\n    name: a\n    version: 1.0.0\n    urls: [a-1.0.0.tgz]\n"

	return map[string]struct {
		text  string
		whole bool
	}{
		"Helm": {text: "apiVersion: v1\nentries:\n  a:\n" + entry + "generated: \"2024-01-01T00:00:00Z\"\n"},
		"Ruby": {text: "---\napiVersion: v1\nentries:\n  a:\n" + entry},
		"Deeper": {
			text: "apiVersion: v1\nentries:\n    a:\n        - name: a\n          version: 1.0.0\n        - name: a\n          version: 2.0.0\n",
		},
		"Snake": {
			text: "apiVersion: \"v1\"\nentries:\n  \"a\":\n  - name: \"a\"\n    version: \"1.0.0\"\n    digest: \"AB\"\n  'b-1':\n  - name: 'b-1'\n    version: '1'\n",
		},
		"Unsorted": {
			text: "entries:\n  b:\n  - {name: b, version: 1.0.0}\n  - {name: b, version: 10.0.0}\n  - {name: b, version: 2.0.0}\n  a:\n" + entry + "apiVersion: v1\n",
		},
		"Equal": {
			text: "apiVersion: v1\nentries:\n  a:\n  - {name: a, version: 1.0.0+b}\n  - {name: a, version: v1.0.0}\n  - {name: a, version: 1.0.0+c}\n  - {name: a, version: '1'}\n",
		},
		"Many": {text: many()},
		"Invalid": {
			text: "apiVersion: v1\nentries:\n  a:\n  - null\n  -\n  - {name: a, version: x}\n  - {name: a}\n  - {version: 1.0.0}\n  - {name: ../a, version: 1.0.0}\n  - {name: a, version: 1.0.0, type: odd}\n  - {name: a, version: 1.2.3}\n",
		},
		"Sanitized": {text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    description: \"a\\tb\\u200b\"\n    deprecated: true\n    removed: true\n"},
		"SameDependencies": {
			text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    dependencies:\n    - name: x\n      repository: \"\"\n    - name: x\n      repository: \"\"\n",
		},
		"NoCharts":    {text: "apiVersion: v1\nentries: {}\n"},
		"NullCharts":  {text: "apiVersion: v1\nentries:\n"},
		"NoEntries":   {text: "apiVersion: v1\n"},
		"EmptyCharts": {text: "apiVersion: v1\nentries:\n  a: []\n  b:\n  c: null\n  d: # none\n"},
		"Comments": {
			text: "# one\napiVersion: v1 # two\n\nentries: # three\n# four\n  # five\n  a: # six\n# seven\n" + entry + "  # eight\n\n" + entry + "# nine\ngenerated: null\n#ten",
		},
		"Windows": {text: strings.ReplaceAll("apiVersion: v1\nentries:\n  a:\n"+entry+"  b:\n"+entry, "\n", "\r\n")},
		"NoEnd":   {text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0"},
		"Mark":    {text: "\uFEFFapiVersion: v1\nentries:\n  a:\n" + entry},
		"Head": {
			text: "serverInfo:\n  contextPath: /v1\n  n: [1, 2.5, null]\napiVersion: v1\nannotations:\n  a: b\n  \"c\": |\n    x\n    entries:\npublicKeys:\n- one\n- two\nentries:\n  a:\n" + entry,
		},
		"Literals": {
			text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    annotations:\n      x: |+\n        entries:\n          b:\n        - c\n\n      y: >-\n        folded\n        text: here\n  - name: a\n    version: 1.1.0\n    description: plain\n      - text\n      # no\n    home: \"open\n      closed\"\n",
		},
		"FlowOverLines": {
			text: "apiVersion: v1\nentries:\n  a:\n  - {name: a,\n     version: 1.0.0, urls: [\n      x]}\n  b: [{name: b,\n    version: 1.0.0}]\n",
		},
		"Anchors": {
			text: "apiVersion: v1\nentries:\n  a:\n  - name: &n a\n    version: 1.0.0\n    description: *n\n",
		},
		"FarAnchors": {
			text:  "apiVersion: v1\nentries:\n  a:\n  - &e {name: a, version: 1.0.0}\n  b:\n  - *e\n",
			whole: true,
		},
		"FarQuotes": {
			text:  "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    description: \"x\n  b:\n  - y\"\n",
			whole: true,
		},
		"Flow":        {text: "{apiVersion: v1, entries: {a: [{name: a, version: 1.0.0}]}}", whole: true},
		"FlowCharts":  {text: "apiVersion: v1\nentries: {a: [{name: a, version: 1.0.0}]}\n", whole: true},
		"Documents":   {text: "apiVersion: v1\nentries:\n  a:\n" + entry + "---\nfoo: bar\n", whole: true},
		"End":         {text: "apiVersion: v1\nentries:\n  a:\n" + entry + "...\n", whole: true},
		"Indented":    {text: "  apiVersion: v1\n  entries:\n    a: []\n", whole: true},
		"FirstLine":   {text: " apiVersion: v1\nentries:\n  a:\n" + entry, whole: true},
		"Words":       {text: "apiVersion: v1\nentries:\n  yes:\n" + entry + "  1.0:\n" + entry, whole: true},
		"Separator":   {text: "apiVersion: v1\nentries:\n  a:\n  - name: a\n    version: 1.0.0\n    description: \"a\u2028b\"\n", whole: true},
		"OldMac":      {text: "apiVersion: v1\rentries: {}\r", whole: true},
		"Case":        {text: "ApiVersion: v1\nEntries:\n  a:\n" + entry, whole: true},
		"Complex":     {text: "apiVersion: v1\nentries:\n  ? a\n  :\n" + entry, whole: true},
		"JSON":        {text: `{"apiVersion":"v1","generated":"2024-01-01T00:00:00Z","foo":[1],"entries":{"b":[{"name":"b","version":"1.0.0"},{"name":"b","version":"2.0.0","unknown":{"a":[]}}],"a":[],"c":null},"annotations":{"a":"<b>"}}`},
		"JSONMore":    {text: `{"apiVersion":"v1"}{}`, whole: true},
		"JSONSpace":   {text: "\n\t {\"apiVersion\":\"v1\"}\n\n"},
		"JSONInvalid": {text: `{"apiVersion":"v1","entries":{"a":[null,{},{"name":"a"},{"name":"a","version":"1"}]}}`},
		"JSONTwice":   {text: `{"apiVersion":"v1","entries":{"a":[{"name":"a","version":"1"}],"b":[{"name":"b","version":"1"}],"a":[{"name":"a","version":"2"}]},"Entries":{"c":[]}}`},
		"JSONNull":    {text: `{"apiVersion":"v0","apiVersion":"v1","entries":{"a":[{"name":"a","version":"1"}]},"entries":null}`},
		"JSONCharset": {text: "{\"apiVersion\":\"v1\",\"entries\":{\"a\":[{\"name\":\"a\",\"version\":\"1\",\"description\":\"\xff\\u00e9\\ud800\"}]}}"},
	}
}

// many returns an index with more versions than are sorted in a simple way, some of them equal, some pre-releases.
func many() string {
	text := "apiVersion: v1\nentries:\n  a:\n"

	for i := range 40 {
		for _, suffix := range []string{"", "+x", "-alpha", "-alpha.2", "-alpha.11", "-beta+y"} {
			text += fmt.Sprintf("  - {name: a, version: %d.%d.0%s}\n", i%3, i%5, suffix)
		}
	}

	return text
}

// TestIndexParity holds that the normal form of an index is what Helm makes of it.
func TestIndexParity(t *testing.T) {
	for name, tc := range indexes() {
		t.Run(name, func(t *testing.T) {
			want, err := asHelmWrites(t, []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}

			got, err := normal(t.Context(), []byte(tc.text), charts.IndexLimits{}, t.TempDir())
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("-want +got:\n%s\n%v", diff, err)
			}

			got, err = normal(t.Context(), []byte(tc.text), piecewise(), t.TempDir())
			if !tc.whole && (want != got || err != nil) {
				t.Errorf("piece by piece: -want +got:\n%s\n%v", cmp.Diff(want, got), err)
			}

			if tc.whole && err == nil {
				t.Error("it can be read piece by piece")
			}
		})
	}
}

// TestIndexEntries holds that what is found is what Helm finds, in each index and in its normal form.
func TestIndexEntries(t *testing.T) {
	for name, tc := range indexes() {
		t.Run(name, func(t *testing.T) {
			want, err := helmReads(t, []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}

			json, err := normal(t.Context(), []byte(tc.text), charts.IndexLimits{}, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}

			for _, text := range []string{tc.text, json} {
				x, d, err := charts.ReadIndex(t.Context(), strings.NewReader(text), charts.IndexLimits{})
				if err != nil {
					t.Fatal(err)
				}

				if d != digest.FromString(text) {
					t.Errorf("digest %s", d)
				}

				got := map[string][]charts.Entry{}
				for _, name := range x.Charts() {
					got[name] = x.Entries(name)
				}

				if diff := cmp.Diff(entriesOf(want), got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			}
		})
	}
}

// entriesOf returns what an Index holds of Helm's.
func entriesOf(index *repo.IndexFile) map[string][]charts.Entry {
	all := map[string][]charts.Entry{}

	for name, versions := range index.Entries {
		all[name] = []charts.Entry{}

		for _, v := range versions {
			all[name] = append(all[name], charts.Entry{
				Name: v.Name, Version: v.Version, AppVersion: v.AppVersion, Type: v.Type, URLs: v.URLs, Digest: v.Digest,
				Created: v.Created, Deprecated: v.Deprecated, Removed: v.Removed,
			})
		}
	}

	return all
}
