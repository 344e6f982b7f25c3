package charts_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"

	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// The files of a chart that renders its values, by their names.
func plainChart(name, version string) map[string]string {
	return map[string]string{
		"Chart.yaml":          "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n",
		"values.yaml":         "# how many\nreplicas: 1\nimage:\n  tag: " + version + "\n  pullPolicy: Always\nbig: 10000000\n",
		"templates/all.yaml":  "replicas: {{ .Values.replicas }}\ntag: {{ .Values.image.tag }}\npolicy: {{ .Values.image.pullPolicy }}\nbig: {{ .Values.big }}\n",
		"templates/NOTES.txt": "have fun\n",
		"README.md":           "# " + name + "\n",
	}
}

// with returns the files, and more of them.
func with(files map[string]string, more map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{files, more} {
		maps.Copy(all, m)
	}

	return all
}

// under returns the files below a directory.
func under(dir string, files map[string]string) map[string]string {
	all := map[string]string{}
	for name, content := range files {
		all[dir+"/"+name] = content
	}

	return all
}

// member is one entry of an archive.
type member struct {
	name, content, link string
	kind                byte
}

// archive makes an archive, compressed with gzip.
func archive(t testing.TB, members ...member) []byte {
	t.Helper()

	b, err := tryArchive(members...)
	if err != nil {
		t.Fatal(err)
	}

	return b
}

// tryArchive makes an archive, if there can be one.
func tryArchive(members ...member) ([]byte, error) {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)

	for _, m := range members {
		if m.kind == 0 {
			m.kind = tar.TypeReg
		}

		h := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Mode: 0o644, Size: int64(len(m.content))}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}

		if _, err := w.Write([]byte(m.content)); err != nil {
			return nil, err
		}
	}

	err := errors.Join(w.Close(), zip.Close())

	return b.Bytes(), err
}

// packaged makes an archive of the files of a chart, in the order of their names.
func packaged(t testing.TB, name string, files map[string]string) []byte {
	t.Helper()

	var members []member
	for file, content := range files {
		members = append(members, member{name: name + "/" + file, content: content})
	}

	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })

	return archive(t, members...)
}

// directory writes files into a new directory.
func directory(t testing.TB, files map[string]string) string {
	t.Helper()

	dir := t.TempDir()

	for name, content := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	return dir
}

// open opens a directory as a source.
func open(t testing.TB, dir string, l charts.Limits) *charts.Source {
	t.Helper()

	s, err := charts.OpenSource(dir, l)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})

	return s
}

// render renders a chart with values, as helm template does.
func render(t testing.TB, c *chart.Chart, values map[string]any) map[string]string {
	t.Helper()

	if err := chartutil.ProcessDependenciesWithMerge(c, values); err != nil {
		t.Fatal(err)
	}

	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "r", Namespace: "n"}, nil)
	if err != nil {
		t.Fatal(err)
	}

	out, err := engine.Render(c, all)
	if err != nil {
		t.Fatal(err)
	}

	return out
}

// summary says what is in a chart, one line for each thing.
func summary(c *chart.Chart) []string {
	lines := []string{fmt.Sprintf("%s %s %s", c.Metadata.APIVersion, c.Name(), c.Metadata.Version), fmt.Sprint(c.Values)}

	for _, files := range [][]*chart.File{c.Templates, c.Files} {
		for _, f := range files {
			lines = append(lines, f.Name+": "+string(f.Data))
		}
	}

	var subs []string
	for _, sub := range c.Dependencies() {
		subs = append(subs, strings.Join(summary(sub), "\n"))
	}

	slices.Sort(subs)

	return append(lines, subs...)
}

// wide is a chart with one of everything.
func wide(t testing.TB) map[string]string {
	t.Helper()

	files := plainChart("wide", "1.2.3")
	files["Chart.yaml"] += "dependencies:\n- {name: near, version: 1.x.x}\n- {name: far, version: 2.0.0, alias: other}\n- {name: common, version: '*'}\n"
	files["values.schema.json"] = `{"type": "object"}`
	files["crds/thing.yaml"] = "kind: CustomResourceDefinition\n"
	files["charts/_hidden/Chart.yaml"] = "no chart"
	files["charts/far-2.0.0.tgz"] = string(packaged(t, "far", plainChart("far", "2.0.0")))
	files["charts/far-2.0.0.tgz.prov"] = "signed"
	files["charts/common/Chart.yaml"] = "apiVersion: v2\nname: common\nversion: 0.1.0\ntype: library\n"
	files["charts/common/templates/_lib.tpl"] = `{{ define "x" }}y{{ end }}`

	near := plainChart("near", "1.0.0")
	near["charts/deep/Chart.yaml"] = "apiVersion: v1\nname: deep\nversion: 0.0.1\n"
	near["charts/deep/templates/t.yaml"] = "deep: true\n"

	return with(files, under("charts/near", near))
}

// legacy is a chart of version 1, with its dependencies in a file of their own.
func legacy() map[string]string {
	files := with(plainChart("legacy", "0.1.0"), under("charts/near", plainChart("near", "1.0.0")))
	files["Chart.yaml"] = "name: legacy\nversion: 0.1.0\n"
	files["requirements.yaml"] = "dependencies:\n- name: near\n  version: 1.0.0\n  repository: https://charts.example.com\n  condition: near.enabled\n"
	files["requirements.lock"] = "dependencies:\n- name: near\n  version: 1.0.0\n  repository: https://charts.example.com\ndigest: sha256:00\ngenerated: \"2020-01-02T03:04:05Z\"\n"

	return files
}

// TestLoadLikeHelm holds that a chart is what Helm makes of it.
func TestLoadLikeHelm(t *testing.T) {
	cases := map[string]map[string]string{
		"Plain":   plainChart("plain", "1.0.0"),
		"Wide":    wide(t),
		"Legacy":  legacy(),
		"Library": {"Chart.yaml": "apiVersion: v2\nname: lib\nversion: 1.0.0\ntype: library\n"},
		"MarkedUTF8": {
			"Chart.yaml": "\xEF\xBB\xBFapiVersion: v2\nname: marked\nversion: 1.0.0\n", "values.yaml": "\xEF\xBB\xBFa: 1\n",
		},
	}

	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			raw := packaged(t, name, files)

			helm, err := loader.LoadArchive(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}

			got, err := charts.Load(t.Context(), bytes.NewReader(raw), charts.Limits{})
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(summary(helm), summary(got)); diff != "" {
				t.Errorf("packaged: -Helm, +ours:\n%s", diff)
			}

			if diff := cmp.Diff(render(t, helm, nil), render(t, got, nil)); diff != "" {
				t.Errorf("rendered: -Helm, +ours:\n%s", diff)
			}

			dir := directory(t, under("c", files))

			if helm, err = loader.LoadDir(filepath.Join(dir, "c")); err != nil {
				t.Fatal(err)
			}

			if got, err = open(t, dir, charts.Limits{}).Load(t.Context(), "c"); err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(summary(helm), summary(got)); diff != "" {
				t.Errorf("directory: -Helm, +ours:\n%s", diff)
			}
		})
	}
}

// noise is content that does not compress.
func noise(t testing.TB, n int) string {
	t.Helper()

	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}

	return string(b)
}

func TestLoadRefuse(t *testing.T) {
	const meta = "apiVersion: v2\nname: c\nversion: 1.0.0\n"

	good := member{name: "c/Chart.yaml", content: meta}
	nested := string(packaged(t, "c", map[string]string{"Chart.yaml": meta, "zeros": strings.Repeat("\x00", 4<<20)}))

	var bombs []member
	for i := range 30 {
		bombs = append(bombs, member{name: fmt.Sprintf("c/charts/b%d.tgz", i), content: nested})
	}

	deep := packaged(t, "c", map[string]string{"Chart.yaml": meta})
	for range 10 {
		deep = packaged(t, "c", map[string]string{"Chart.yaml": meta, "charts/c.tgz": string(deep)})
	}

	cases := map[string]struct {
		reason string
		raw    []byte
		limits charts.Limits
		want   string
	}{
		"Plain":    {reason: "A small chart is taken.", raw: archive(t, good)},
		"NoGzip":   {reason: "Helm reads gzip only.", raw: []byte("apiVersion: v2"), want: "no archive compressed with gzip"},
		"Empty":    {reason: "Nothing is no archive.", want: "no archive compressed with gzip"},
		"Cut":      {reason: "Half an archive is none.", raw: archive(t, good)[:40], want: "unexpected EOF"},
		"NoChart":  {reason: "A chart has metadata.", raw: archive(t, member{name: "c/values.yaml"}), want: "Chart.yaml file is missing"},
		"NoDir":    {reason: "A chart is in a directory.", raw: archive(t, member{name: "Chart.yaml", content: meta}), want: "not in a directory"},
		"Outside":  {reason: "All of it is.", raw: archive(t, good, member{name: "x"}), want: "outside of the directory"},
		"Absolute": {reason: "Names are relative.", raw: archive(t, good, member{name: "/c/x"}), want: `"/c/x": the name is absolute`},
		"Drive":    {reason: "On Windows too.", raw: archive(t, good, member{name: `c\c:\x`}), want: "the name is absolute"},
		"Parent":   {reason: "No name leads out.", raw: archive(t, good, member{name: "c/../../x"}), want: "leads out of the tree"},
		"Backslashes": {
			reason: "Backslashes are no way out either.",
			raw:    archive(t, good, member{name: `c\..\..\x`}), want: "leads out of the tree",
		},
		"Link": {
			reason: "Links that lead out are refused.",
			raw:    archive(t, good, member{name: "c/values.yaml", kind: tar.TypeSymlink, link: "../../etc/passwd"}),
			want:   "the symbolic link leads out of the tree",
		},
		"HardLink": {
			reason: "So are hard links.",
			raw:    archive(t, good, member{name: "c/x", kind: tar.TypeLink, link: "c/Chart.yaml"}), want: "the archive holds a hard link",
		},
		"LargeFile": {
			reason: "A file has a limit.",
			raw:    archive(t, good, member{name: "c/x", content: strings.Repeat(" ", 5<<20+1)}),
			want:   `"c/x": the limit of 5242880 bytes per file is exceeded`,
		},
		"SmallerLimit": {
			reason: "Which can be set.",
			raw:    archive(t, good, member{name: "c/x", content: "12345"}), limits: charts.Limits{FileBytes: 4},
			want: "the limit of 4 bytes per file is exceeded",
		},
		"LargePackage": {
			reason: "So has the package.",
			raw:    archive(t, good, member{name: "c/x", content: noise(t, 4000)}), limits: charts.Limits{Bytes: 3000},
			want: "the limit of 3000 bytes per packaged chart is exceeded",
		},
		"ManyFiles": {
			reason: "And the number of files.",
			raw:    archive(t, slices.Concat([]member{good}, make10000())...), want: "the limit of 10000 entries is exceeded",
		},
		"Bombs": {
			reason: "What comes out of packages in a package counts together.",
			raw:    archive(t, append(bombs, good)...), want: "bytes in all files is exceeded",
		},
		"Deep": {
			reason: "Packages in packages come to an end.", raw: deep, want: "the limit of 8 packaged charts in each other is exceeded",
		},
		"BadVersion": {
			reason: "The metadata have to be valid.",
			raw:    archive(t, member{name: "c/Chart.yaml", content: "apiVersion: v2\nname: c\nversion: one\n"}),
			want:   `chart.metadata.version "one" is invalid`,
		},
		"BadName": {
			reason: "A name is a file name.",
			raw:    archive(t, member{name: "c/Chart.yaml", content: "apiVersion: v2\nname: ../c\nversion: 1.0.0\n"}),
			want:   `chart.metadata.name "../c" is invalid`,
		},
		"BadYAML": {
			reason: "YAML has to be YAML.",
			raw:    archive(t, good, member{name: "c/values.yaml", content: "a: [\n"}), want: "cannot load values.yaml",
		},
		"BadSubchart": {
			reason: "In the charts of the chart too.",
			raw:    archive(t, good, member{name: "c/charts/s/values.yaml"}), want: `subchart "s": Chart.yaml file is missing`,
		},
		"FilesInPackage": {
			reason: "A directory is no package.",
			raw:    archive(t, good, member{name: "c/charts/s.tgz/x"}), want: `subchart "s.tgz": it is no file`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := charts.Load(t.Context(), bytes.NewReader(tc.raw), tc.limits)

			got := ""
			if err != nil {
				got = err.Error()
			}

			if tc.want == "" && err != nil || !strings.Contains(got, tc.want) {
				t.Errorf("%s\ngot error %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func make10000() []member {
	all := make([]member, 10_000)
	for i := range all {
		all[i].name = fmt.Sprintf("c/f%d", i)
	}

	return all
}

// TestLoadLarge holds that a chart may be as large as the limits say.
func TestLoadLarge(t *testing.T) {
	files := with(plainChart("large", "1.0.0"), map[string]string{"data": noise(t, 5<<20)})

	c, err := charts.Load(t.Context(), bytes.NewReader(packaged(t, "large", files)), charts.Limits{})
	if err != nil {
		t.Fatal(err)
	}

	if i := slices.IndexFunc(c.Files, func(f *chart.File) bool { return f.Name == "data" }); i < 0 || len(c.Files[i].Data) != 5<<20 {
		t.Error("the file is not there, or not whole")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := charts.Load(ctx, bytes.NewReader(packaged(t, "large", files)), charts.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
}

func TestSourceLoad(t *testing.T) {
	files := with(plainChart("c", "1.0.0"), map[string]string{
		".helmignore": "*.md\nsecret/\n", "secret/key": "x", "templates/.swp": "x", "docs.md": "x", "app.yaml": "kept: true",
	})

	cases := map[string]struct {
		reason string
		path   string
		make   func(t *testing.T, dir string)
		limits charts.Limits
		want   []string
		err    string
	}{
		"Ignored": {
			reason: "What .helmignore names stays out, and hidden templates.",
			path:   "charts/c", want: []string{".helmignore", "Chart.yaml", "app.yaml", "templates/NOTES.txt", "templates/all.yaml", "values.yaml"},
		},
		"Root": {
			reason: "A source may be a chart itself.",
			make: func(t *testing.T, dir string) {
				t.Helper()
				write(t, filepath.Join(dir, "Chart.yaml"), "apiVersion: v2\nname: root\nversion: 1.0.0\n")
				write(t, filepath.Join(dir, ".helmignore"), "charts\n")
			},
			path: ".", want: []string{".helmignore", "Chart.yaml"},
		},
		"Packaged": {
			reason: "A package in a source is a chart.",
			make: func(t *testing.T, dir string) {
				t.Helper()
				write(t, filepath.Join(dir, "p.tgz"), string(packaged(t, "p", map[string]string{"Chart.yaml": files["Chart.yaml"]})))
			},
			path: "p.tgz", want: []string{"Chart.yaml"},
		},
		"Missing": {reason: "A path that is not there.", path: "charts/d", err: `stat "charts/d": no such file or directory`},
		"LinkInChart": {
			reason: "No link is followed.",
			make: func(t *testing.T, dir string) {
				t.Helper()
				link(t, "/etc/hostname", filepath.Join(dir, "charts/c/host"))
			},
			path: "charts/c", err: `"charts/c/host": no regular file`,
		},
		"LinkToChart": {
			reason: "Also not on the way to the chart.",
			make: func(t *testing.T, dir string) {
				t.Helper()
				link(t, "charts", filepath.Join(dir, "more"))
			},
			path: "more/c", err: `"more": neither a directory nor a regular file`,
		},
		"LargeFile": {
			reason: "The limits are those of packages.", path: "charts/c", limits: charts.Limits{FileBytes: 20},
			err: "the limit of 20 bytes per file is exceeded",
		},
		"LargeChart": {
			reason: "All of them.", path: "charts/c", limits: charts.Limits{Bytes: 10}, err: "the limit of 100 bytes in all files is exceeded",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := directory(t, under("charts/c", files))
			if tc.make != nil {
				tc.make(t, dir)
			}

			c, err := open(t, dir, tc.limits).Load(t.Context(), tc.path)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s\ngot error %v, want %q", tc.reason, err, tc.err)
				}

				return
			}

			if err != nil {
				t.Fatal(err)
			}

			var got []string
			for _, f := range c.Raw {
				got = append(got, f.Name)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func write(t testing.TB, name, content string) {
	t.Helper()

	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, to, name string) {
	t.Helper()

	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func TestSourceMetadata(t *testing.T) {
	s := open(t, directory(t, with(under("v1", legacy()), map[string]string{
		"bad/Chart.yaml": "apiVersion: v2\nname: x\n", "file": "",
	})), charts.Limits{})

	m, err := s.Metadata("v1")
	if err != nil || m.APIVersion != "v1" || m.Name != "legacy" || m.Version != "0.1.0" {
		t.Errorf("got %+v, %v", m, err)
	}

	if _, err := s.Metadata("bad"); err == nil || !strings.Contains(err.Error(), "chart.metadata.version is required") {
		t.Errorf("without a version: %v", err)
	}

	if _, err := s.Metadata("none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("not there: %v", err)
	}

	if _, err := s.Metadata("file"); err == nil {
		t.Error("a file has metadata")
	} else if _, ok := errors.AsType[*ingest.RefusedError](err); !ok && !errors.Is(err, os.ErrNotExist) {
		t.Logf("a file: %v", err)
	}
}
