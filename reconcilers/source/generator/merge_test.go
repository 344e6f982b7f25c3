package generator

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/cli/values"
	"helm.sh/helm/v3/pkg/getter"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// TestMergeLikeHelm holds that files are merged as helm merges several --values, and as it merges values over those of a chart,
// which differs only in what a null does.
func TestMergeLikeHelm(t *testing.T) {
	cases := map[string]struct {
		base, overlay string
		nulls         bool // take values away in the one case and stay in the other
	}{
		"Scalar":       {base: "a: 1\nb: 2", overlay: "b: 3\nc: 4"},
		"Deep":         {base: "a: {b: {c: 1, d: 2}}", overlay: "a: {b: {d: 3, e: 4}}"},
		"Lists":        {base: "a: [1, 2, 3]", overlay: "a: [4]"},
		"ListsOfMaps":  {base: "a: [{b: 1, c: 2}]", overlay: "a: [{b: 3}]"},
		"MapOverText":  {base: "a: x", overlay: "a: {b: 1}"},
		"TextOverMap":  {base: "a: {b: 1}", overlay: "a: x"},
		"EmptyMap":     {base: "a: {b: 1}", overlay: "a: {}"},
		"EmptyOverlay": {base: "a: 1", overlay: ""},
		"EmptyBase":    {base: "", overlay: "a: 1"},
		"Comments":     {base: "# nothing\n", overlay: "# but\na: 1"},
		"Booleans":     {base: "a: yes\nb: off", overlay: "b: true"},
		"Numbers":      {base: "a: 1.0\nb: 9007199254740993\nc: 1e3", overlay: "d: 0x10\ne: -3"},
		"Strings":      {base: "a: '1'\nb: \"<&>\"\nc: |\n  x\n  y\n", overlay: "d: \"no\""},
		"JSON":         {base: `{"a": {"b": [1, 2]}}`, overlay: `{"a": {"c": null, "d": true}}`},
		"Null":         {base: "a: 1\nb: {c: 2, d: 3}", overlay: "a: null\nb: {c: null}", nulls: true},
		"NullMap":      {base: "a: {b: 1}", overlay: "a: null", nulls: true},
		"OverNull":     {base: "a: null", overlay: "a: {b: 1}"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{"base.yaml": tc.base, "overlay.yaml": tc.overlay})

			p, err := planOf(t, ingest.Limits{}, map[string]string{"src": dir},
				copyOf("@src/base.yaml", "@artifact/values.yaml"),
				strategy(v1beta1.CopyMerge, copyOf("@src/overlay.yaml", "@artifact/values.yaml")))
			must(t, err)

			var got map[string]any
			must(t, yaml.Unmarshal([]byte(unpack(t, p)["values.yaml"]), &got))

			o := values.Options{ValueFiles: []string{filepath.Join(dir, "base.yaml"), filepath.Join(dir, "overlay.yaml")}}
			want, err := o.MergeValues(getter.Providers{})
			must(t, err)

			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("helm --values merges otherwise: -want +got:\n%s", diff)
			}

			var base, overlay map[string]any
			must(t, yaml.Unmarshal([]byte(tc.base), &base))
			must(t, yaml.Unmarshal([]byte(tc.overlay), &overlay))

			want = chartutil.CoalesceTables(maps.Clone(overlay), base)
			if diff := cmp.Diff(want, got); diff != "" != tc.nulls {
				t.Errorf("helm merges with the values of a chart: -want +got:\n%s", diff)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  map[string]string
		copies []v1beta1.CopyOperation
		want   map[string]string
		err    string
	}{
		"NothingThere": {
			reason: "Where there is nothing, a file is copied as it is.",
			files:  map[string]string{"a.yaml": "# kept\na:   1"},
			copies: []v1beta1.CopyOperation{strategy("Merge", copyOf("@src/a.yaml", "@artifact/"))},
			want:   map[string]string{"a.yaml": "# kept\na:   1"},
		},
		"JSON": {
			reason: "JSON stays JSON, whatever is merged into it.",
			files:  map[string]string{"a.json": `{"a":"<1>"}`, "b.yaml": "b: 12345678901234567890"},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.json", "@artifact/"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/a.json")),
			},
			want: map[string]string{"a.json": "{\n  \"a\": \"<1>\",\n  \"b\": 12345678901234567890\n}\n"},
		},
		"Numbers": {
			reason: "Numbers stay what they are.",
			files:  map[string]string{"a.yaml": "a: 9007199254740993", "b.yaml": "b: 1.10"},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
			},
			want: map[string]string{"x.yaml": "a: 9007199254740993\nb: 1.1\n"},
		},
		"Directories": {
			reason: "In directories, what is YAML or JSON by its name is merged, all else replaced.",
			files: map[string]string{
				"base/v.yaml": "a: 1", "base/sub/v.yml": "a: 1", "base/t.txt": "base", "base/only.yaml": "x: 1",
				"prod/v.yaml": "b: 2", "prod/sub/v.yml": "b: 2", "prod/t.txt": "prod", "prod/new.yaml": "y: 1",
			},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/base/**", "@artifact/"), strategy("Merge", copyOf("@src/prod/**", "@artifact/")),
			},
			want: map[string]string{
				"v.yaml": "a: 1\nb: 2\n", "sub/": "", "sub/v.yml": "a: 1\nb: 2\n", "t.txt": "prod", "only.yaml": "x: 1",
				"new.yaml": "y: 1",
			},
		},
		"Thrice": {
			reason: "What was merged can be merged again.",
			files:  map[string]string{"a.yaml": "a: 1", "b.yaml": "a: 2\nb: {c: 1}", "c.yaml": "b: {d: 2}"},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
				strategy("Merge", copyOf("@src/c.yaml", "@artifact/x.yaml")),
			},
			want: map[string]string{"x.yaml": "a: 2\nb:\n  c: 1\n  d: 2\n"},
		},
		"OtherName": {
			reason: "A file that is named is meant, whatever its name.",
			files:  map[string]string{"a": "a: 1", "b": "b: 2"},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a", "@artifact/x"), strategy("Merge", copyOf("@src/b", "@artifact/x")),
			},
			want: map[string]string{"x": "a: 1\nb: 2\n"},
		},
		"Documents": {
			reason: "Which of several documents is meant is not known.",
			files:  map[string]string{"a.yaml": "a: 1\n---\nb: 2\n", "b.yaml": "c: 3"},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
			},
			err: "several documents",
		},
		"Separators": {
			reason: "A document may begin and end with a line.",
			files:  map[string]string{"a.yaml": "---\na: 1\n---\n", "b.yaml": "---\n# b\nb: 2\n"},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
			},
			want: map[string]string{"x.yaml": "a: 1\nb: 2\n"},
		},
		"List": {
			reason: "A list is no map.",
			files:  map[string]string{"a.yaml": "a: 1", "b.yaml": "- 1"},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
			},
			err: "failed to merge 'b.yaml' into 'x.yaml': parse YAML",
		},
		"Malformed": {
			reason: "What is no YAML is an error.",
			files:  map[string]string{"a.yaml": "a: [", "b.yaml": "b: 1"},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
			},
			err: "parse YAML",
		},
		"Large": {
			reason: "What is merged is read as a whole.",
			files:  map[string]string{"a.yaml": "a: 1", "b.yaml": "b: " + strings.Repeat("x", maxDocument)},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
			},
			err: "bytes per merged file",
		},
		"Bomb": {
			reason: "Aliases do not multiply for ever.",
			files:  map[string]string{"a.yaml": "a: 1", "b.yaml": bomb()},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
			},
			err: "the YAML aliases expand",
		},
		"LongBomb": {
			reason: "Nor does a long text.",
			files: map[string]string{
				"a.yaml": "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 100) + "]", "b.yaml": "b: 1",
			},
			copies: []v1beta1.CopyOperation{
				copyOf("@src/a.yaml", "@artifact/x.yaml"), strategy("Merge", copyOf("@src/b.yaml", "@artifact/x.yaml")),
			},
			err: "the YAML aliases expand",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := planOf(t, ingest.Limits{}, map[string]string{"src": write(t, tc.files)}, tc.copies...)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s error %v, want %q", tc.reason, err, tc.err)
				}

				return
			}

			must(t, err)

			if diff := cmp.Diff(tc.want, unpack(t, p)); diff != "" {
				t.Errorf("%s -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// bomb is YAML whose aliases stand for a billion words.
func bomb() string {
	var b strings.Builder

	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")

	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}

	return b.String()
}

// tarball makes a compressed archive of the files, in a store's way.
func tarball(t testing.TB, files map[string]string) string {
	t.Helper()

	p, err := planOf(t, ingest.Limits{}, map[string]string{"src": write(t, files)}, copyOf("@src/**", "@artifact/"))
	must(t, err)

	store, err := artifact.NewStore(artifact.StoreOptions{Root: t.TempDir(), Address: "store.test"})
	must(t, err)

	var b strings.Builder
	must(t, p.content(store)(&b))

	return b.String()
}

func TestExtract(t *testing.T) {
	chart := tarball(t, map[string]string{"app/Chart.yaml": "name: app", "app/values.yaml": "a: 1", "app/run": "#!x"})
	files := map[string]string{
		"app-1.0.0.tgz": chart, "dir/other.tar.gz": tarball(t, map[string]string{"other.yaml": "o"}), "dir/readme": "r",
		"wrong.tgz": "this is no archive", "outer.tgz": tarball(t, map[string]string{"inner.tgz": chart}),
		"big.tgz": tarball(t, map[string]string{"zero": strings.Repeat("\x00", 64<<10)}),
	}
	unpacked := map[string]string{"app/": "", "app/Chart.yaml": "name: app", "app/values.yaml": "a: 1", "app/run": "#!x"}

	cases := map[string]struct {
		reason string
		copies []v1beta1.CopyOperation
		limits ingest.Limits
		want   map[string]string
		err    string
	}{
		"File": {
			reason: "The content of an archive comes out with its paths.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/app-1.0.0.tgz", "@artifact/"))},
			want:   unpacked,
		},
		"ToDirectory": {
			reason: "It comes out in the directory, with or without a slash.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/dir/other.tar.gz", "@artifact/x/y"))},
			want:   map[string]string{"x/": "", "x/y/": "", "x/y/other.yaml": "o"},
		},
		"Pattern": {
			reason: "Other files that match are passed over.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/**", "@artifact/", "wrong*", "outer*", "big*"))},
			want:   merged(unpacked, map[string]string{"other.yaml": "o"}),
		},
		"Names": {
			reason: "Archives are found at any depth.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/**/*.tar.gz", "@artifact/"))},
			want:   map[string]string{"other.yaml": "o"},
		},
		"ThenMerge": {
			reason: "What was extracted can be merged into.",
			copies: []v1beta1.CopyOperation{
				strategy("Extract", copyOf("@src/app-1.0.0.tgz", "@artifact/")),
				strategy("Merge", copyOf("@more/values.yaml", "@artifact/app/")),
			},
			want: merged(unpacked, map[string]string{"app/values.yaml": "a: 1\nb: 2\n"}),
		},
		"Replaces": {
			reason: "What was there is replaced.",
			copies: []v1beta1.CopyOperation{
				copyOf("@more/values.yaml", "@artifact/app/"), strategy("Extract", copyOf("@src/app-1.0.0.tgz", "@artifact/")),
			},
			want: unpacked,
		},
		"Inner": {
			reason: "An archive in an archive stays one, which the ignore rules leave out if it is called so.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/outer.tgz", "@artifact/"))},
			want:   map[string]string{"inner.tgz": chart},
		},
		"NoArchive": {
			reason: "Other files cannot be extracted.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/dir/readme", "@artifact/"))},
			err:    "extract strategy requires tarball file (.tar.gz or .tgz), got 'dir/readme'",
		},
		"Directory": {
			reason: "Nor can directories.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/dir", "@artifact/"))},
			err:    "extract strategy is not supported for directories, got 'dir'",
		},
		"NoMatch": {
			reason: "A pattern without an archive is a mistake.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/dir/read*", "@artifact/"))},
			err:    "no tarballs (.tar.gz or .tgz) match pattern 'dir/read*'",
		},
		"Wrong": {
			reason: "What only has the name of an archive is an error.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/wrong.tgz", "@artifact/"))},
			err:    "failed to extract tarball 'wrong.tgz'",
		},
		"Bytes": {
			reason: "The limits of the artifact hold for what comes out.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/big.tgz", "@artifact/"))},
			limits: ingest.Limits{Bytes: 32 << 10},
			err:    "limit",
		},
		"Together": {
			reason: "And for all that comes out together.",
			copies: []v1beta1.CopyOperation{
				strategy("Extract", copyOf("@src/big.tgz", "@artifact/a")), strategy("Extract", copyOf("@src/big.tgz", "@artifact/b")),
			},
			limits: ingest.Limits{Bytes: 100 << 10},
			err:    "limit",
		},
		"Entries": {
			reason: "However many they are.",
			copies: []v1beta1.CopyOperation{strategy("Extract", copyOf("@src/app-1.0.0.tgz", "@artifact/"))},
			limits: ingest.Limits{Entries: 3},
			err:    "limit of 3 entries",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dirs := map[string]string{"src": write(t, files), "more": write(t, map[string]string{"values.yaml": "b: 2"})}

			p, err := planOf(t, tc.limits, dirs, tc.copies...)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s error %v, want %q", tc.reason, err, tc.err)
				}

				return
			}

			must(t, err)

			if diff := cmp.Diff(tc.want, unpack(t, p)); diff != "" {
				t.Errorf("%s -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func merged(tables ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, table := range tables {
		maps.Copy(all, table)
	}

	return all
}

// TestExtractHostile shows that what an archive says does not lead out of the artifact. Package ingest has all the cases.
func TestExtractHostile(t *testing.T) {
	for name, archive := range map[string]string{
		"Climbs": rawTar(t, "../../escape", "x"), "Absolute": rawTar(t, "/etc/escape", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planOf(t, ingest.Limits{}, map[string]string{"src": write(t, map[string]string{"x.tgz": archive})},
				strategy("Extract", copyOf("@src/x.tgz", "@artifact/")))
			if err == nil || !strings.Contains(err.Error(), "escape") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// rawTar is a tar archive of one file, written by hand: no tool makes such names.
func rawTar(t *testing.T, name, content string) string {
	t.Helper()

	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00", 0o600, 0, 0, len(content), 0))
	copy(h[148:], "        0")
	copy(h[257:], "ustar\x0000")

	sum := 0
	for _, b := range h {
		sum += int(b)
	}

	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))

	body := make([]byte, 512)
	copy(body, content)

	return string(h) + string(body) + strings.Repeat("\x00", 1024)
}

func TestJSONIsYAML(t *testing.T) {
	table, err := parseDocument([]byte(`{"a": [1, {"b": null}]}`))
	must(t, err)

	out, err := json.Marshal(table)
	must(t, err)

	if string(out) != `{"a":[1,{"b":null}]}` {
		t.Errorf("%s", out)
	}
}

func TestScratchIsMadeWhenNeeded(t *testing.T) {
	dir := t.TempDir()
	s := &scratch{parent: filepath.Join(dir, "missing")}
	s.close()

	if _, err := s.write([]byte("x"), false, newTree(ingest.Limits{}).limits); err == nil || !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such") {
		t.Errorf("error %v", err)
	}
}
