package charts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// numbered returns so many files.
func numbered(n int, file func(i int) (name, content string)) map[string]string {
	all := map[string]string{}

	for i := range n {
		name, content := file(i)
		all[name] = content
	}

	return all
}

// TestYAML holds that no YAML in a chart takes memory without measure, whoever reads it.
func TestYAML(t *testing.T) {
	// A text of a megabyte that stands for hundreds, and values in four bytes that take some hundred each.
	quadratic := "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 300) + "]\n"
	dense := "a: [" + strings.Repeat("{a},", 1<<20) + "]\n"

	// A chart in which each of many files stands for just less than what one may.
	umbrella := numbered(20, func(i int) (string, string) {
		return fmt.Sprintf("charts/s%d/values.yaml", i), "a: &a " + strings.Repeat("x", 1000) + "\nb: [" + strings.Repeat("*a,", 30_000) + "]\n"
	})
	for i := range 20 {
		umbrella[fmt.Sprintf("charts/s%d/Chart.yaml", i)] = fmt.Sprintf("apiVersion: v2\nname: s%d\nversion: 1.0.0\n", i)
	}

	const tooMany = "the limit of 500000 values in the YAML of a chart is exceeded"

	cases := map[string]struct {
		reason string
		files  map[string]string
		want   string
	}{
		"Values":       {reason: "Default values are YAML.", files: map[string]string{"values.yaml": quadratic}, want: ingest.ErrAliasSize.Error()},
		"Metadata":     {reason: "So are the metadata.", files: map[string]string{"Chart.yaml": plainChart("c", "1.0.0")["Chart.yaml"] + quadratic}, want: ingest.ErrAliasSize.Error()},
		"Lock":         {reason: "And the versions.", files: map[string]string{"Chart.lock": quadratic}, want: ingest.ErrAliasSize.Error()},
		"Requirements": {reason: "In old charts, too.", files: map[string]string{"requirements.yaml": quadratic}, want: ingest.ErrAliasSize.Error()},
		"OldLock":      {reason: "In old charts, too.", files: map[string]string{"requirements.lock": quadratic}, want: ingest.ErrAliasSize.Error()},
		"Subchart": {
			reason: "And in the charts in a chart.",
			files:  map[string]string{"charts/s/Chart.yaml": plainChart("s", "1.0.0")["Chart.yaml"], "charts/s/values.yaml": quadratic}, want: ingest.ErrAliasSize.Error(),
		},
		"Dense":    {reason: "Small values are large in memory.", files: map[string]string{"values.yaml": dense}, want: tooMany},
		"Umbrella": {reason: "Many are as bad as one.", files: umbrella, want: "the limit of"},
		"Few":      {reason: "Aliases are good for something.", files: map[string]string{"values.yaml": "a: &a {b: c}\nd: *a\ne: {<<: *a}\n"}},
		"Template": {reason: "What is not read may be anything.", files: map[string]string{"templates/values.yaml": quadratic}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := with(plainChart("c", "1.0.0"), tc.files)

			_, err := charts.Load(t.Context(), bytes.NewReader(packaged(t, "c", files)), charts.Limits{})
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\npackage: %v", tc.reason, err)
			}

			s := open(t, directory(t, files), charts.Limits{})
			if _, err := s.Load(t.Context(), "."); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ndirectory: %v", tc.reason, err)
			}
		})
	}

	t.Run("MetadataAlone", func(t *testing.T) {
		s := open(t, directory(t, map[string]string{"Chart.yaml": plainChart("c", "1.0.0")["Chart.yaml"] + quadratic}), charts.Limits{})
		if _, err := s.Metadata("."); !errors.Is(err, ingest.ErrAliasSize) {
			t.Errorf("unexpected error: %v", err)
		}
	})

	t.Run("ValuesFiles", func(t *testing.T) {
		half := "a: [" + strings.Repeat("{a},", 150_000) + "]\n"
		s := open(t, directory(t, map[string]string{"quadratic.yaml": quadratic, "dense.yaml": dense, "a.yaml": half, "b.yaml": half}), charts.Limits{})

		for names, want := range map[string]string{
			"quadratic.yaml": ingest.ErrAliasSize.Error(), "dense.yaml": tooMany, "a.yaml b.yaml": tooMany,
		} {
			_, _, err := charts.MergeValues(t.Context(), s.Files(), strings.Fields(names), false, charts.Limits{})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: unexpected error: %v", names, err)
			}
		}
	})
}

// TestIndexYAML holds that no YAML in an index takes memory without measure, wherever in it.
func TestIndexYAML(t *testing.T) {
	const head = "apiVersion: v1\n"

	quadratic := "&a " + strings.Repeat("x", 600<<10) + ", " + strings.Repeat("*a,", 300)
	dense := strings.Repeat("{a},", 200<<10)

	cases := map[string]struct{ reason, index, want string }{
		"Entry": {reason: "In a version.", index: head + "entries:\n  a:\n  - keywords: [" + quadratic + "]\n", want: ingest.ErrAliasSize.Error()},
		"Chart": {reason: "In a chart.", index: head + "entries:\n  a: [{keywords: [" + quadratic + "]}]\n", want: ingest.ErrAliasSize.Error()},
		"Head":  {reason: "Beside the charts.", index: head + "publicKeys: [" + quadratic + "]\n", want: ingest.ErrAliasSize.Error()},
		"Whole": {reason: "In another layout.", index: "{apiVersion: v1, publicKeys: [" + quadratic + "]}\n", want: ingest.ErrAliasSize.Error()},
		"Dense": {
			reason: "Small values are large in memory.", index: head + "entries:\n  a:\n  - keywords: [" + dense + "]\n",
			want: "the limit of 100000 values in YAML that can only be read as a whole is exceeded",
		},
		"DenseWhole": {
			reason: "In all layouts.", index: "{apiVersion: v1, publicKeys: [" + dense + "]}\n",
			want: "the limit of 250000 values in YAML that can only be read as a whole is exceeded",
		},
		"Few": {
			reason: "Aliases are good for something.",
			index:  head + "entries:\n  a:\n  - name: &a a\n    version: 1.0.0\n    keywords: [*a]\n",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := charts.ReadIndex(t.Context(), strings.NewReader(tc.index), charts.IndexLimits{})
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nunexpected error: %v", tc.reason, err)
			}
		})
	}
}

// TestLargeValues holds that values that nobody could read again are not written.
func TestLargeValues(t *testing.T) {
	c, err := charts.Load(t.Context(), bytes.NewReader(packaged(t, "c", plainChart("c", "1.0.0"))), charts.Limits{})
	if err != nil {
		t.Fatal(err)
	}

	err = charts.SetValues(c, map[string]any{"a": strings.Repeat("x", 1000)}, charts.Limits{FileBytes: 1000})
	if want := `"values.yaml": the limit of 1000 bytes per file is exceeded`; err == nil || err.Error() != want {
		t.Errorf("unexpected error: %v", err)
	}
}

// TestTurns holds that who reads charts waits until there is room for it.
func TestTurns(t *testing.T) {
	raw := packaged(t, "c", plainChart("c", "1.0.0"))
	dir := directory(t, plainChart("c", "1.0.0"))

	synctest.Test(t, func(t *testing.T) {
		l := charts.Limits{Turns: make(chan struct{}, 1)}
		s := open(t, dir, l)

		reads := map[string]func(context.Context) error{
			"Package":   func(ctx context.Context) error { _, err := charts.Load(ctx, bytes.NewReader(raw), l); return err },
			"Directory": func(ctx context.Context) error { _, err := s.Load(ctx, "."); return err },
			"Values": func(ctx context.Context) error {
				_, _, err := charts.MergeValues(ctx, s.Files(), []string{"values.yaml"}, false, l)

				return err
			},
		}

		for name, read := range reads {
			l.Turns <- struct{}{}

			ended := make(chan error, 1)
			go func() { ended <- read(t.Context()) }()

			synctest.Wait()

			select {
			case err := <-ended:
				t.Errorf("%s: it did not wait: %v", name, err)
			default:
			}

			canceled, cancel := context.WithCancel(t.Context())
			cancel()

			if err := read(canceled); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: unexpected error: %v", name, err)
			}

			<-l.Turns

			if err := <-ended; err != nil {
				t.Errorf("%s: unexpected error: %v", name, err)
			}

			if len(l.Turns) != 0 {
				t.Errorf("%s: it keeps its place", name)
			}
		}
	})
}
