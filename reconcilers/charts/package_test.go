package charts_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
)

// pack packages a chart.
func pack(t testing.TB, c *chart.Chart) []byte {
	t.Helper()

	b, err := tryPack(t, c)
	if err != nil {
		t.Fatal(err)
	}

	return b
}

// tryPack packages a chart, if that can be done.
func tryPack(t testing.TB, c *chart.Chart) ([]byte, error) {
	t.Helper()

	store, err := artifact.NewStore(artifact.StoreOptions{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}

	var b bytes.Buffer
	err = store.Tarball(charts.Pack(c))(&b)

	return b.Bytes(), err
}

// TestPack holds that Helm makes of a package of ours what it made of the chart, and that packages are equal if charts are.
func TestPack(t *testing.T) {
	twice := wide(t)
	twice["charts/near-2/Chart.yaml"] = "apiVersion: v2\nname: near\nversion: 2.0.0\n"
	twice["charts/near-2/templates/a.yaml"] = "second: true\n"

	for name, files := range map[string]map[string]string{
		"Plain": plainChart("plain", "1.0.0"), "Wide": wide(t), "Legacy": legacy(), "TwoVersions": twice,
	} {
		t.Run(name, func(t *testing.T) {
			helm, err := loader.LoadArchive(bytes.NewReader(packaged(t, name, files)))
			if err != nil {
				t.Fatal(err)
			}

			load := func() *chart.Chart {
				c, err := open(t, directory(t, under("c", files)), charts.Limits{}).Load(t.Context(), "c")
				if err != nil {
					t.Fatal(err)
				}

				return c
			}

			raw := pack(t, load())
			if !bytes.Equal(raw, pack(t, load())) {
				t.Error("the same chart makes another package")
			}

			got, err := loader.LoadArchive(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(summary(helm), summary(got)); diff != "" {
				t.Errorf("-chart, +package:\n%s", diff)
			}

			if diff := cmp.Diff(render(t, helm, nil), render(t, got, nil)); diff != "" {
				t.Errorf("rendered: -chart, +package:\n%s", diff)
			}
		})
	}
}

func TestPackRefuse(t *testing.T) {
	store, err := artifact.NewStore(artifact.StoreOptions{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]*chart.Chart{
		"no metadata": {},
		"bad name":    {Metadata: &chart.Metadata{APIVersion: "v2", Name: "a/b", Version: "1.0.0"}},
		"bad schema": {
			Metadata: &chart.Metadata{APIVersion: "v2", Name: "a", Version: "1.0.0"}, Schema: []byte("{"),
		},
	} {
		if err := store.Tarball(charts.Pack(c))(&bytes.Buffer{}); err == nil {
			t.Errorf("%s is packaged", name)
		}
	}
}

func TestWithMetadata(t *testing.T) {
	cases := map[string]struct {
		reason, version, metadata, want string
		fails                           bool
	}{
		"Plain":   {reason: "Metadata are added.", version: "6.3.5", metadata: "1", want: "6.3.5+1"},
		"Both":    {reason: "A revision and a generation.", version: "6.3.5", metadata: "0123456789ab.2", want: "6.3.5+0123456789ab.2"},
		"Replace": {reason: "Others give way.", version: "1.0.0-rc.1+up2", metadata: "7", want: "1.0.0-rc.1+7"},
		"Loose":   {reason: "What comes out is strict.", version: "v1.2", metadata: "3", want: "1.2.0+3"},
		"Version": {reason: "A version has to be one.", version: "one", metadata: "3", fails: true},
		"Invalid": {reason: "So have metadata.", version: "1.0.0", metadata: "a_b", fails: true},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := charts.WithMetadata(tc.version, tc.metadata)
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("%s\ngot %q, %v, want %q", tc.reason, got, err, tc.want)
			}
		})
	}
}
