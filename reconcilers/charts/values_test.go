package charts_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	helmvalues "helm.sh/helm/v3/pkg/cli/values"

	"github.com/weir-dev/weir/reconcilers/charts"
)

// TestMergeValuesLikeHelm holds that a chart with merged values renders as Helm renders the chart with the files as -f.
func TestMergeValuesLikeHelm(t *testing.T) {
	files := with(plainChart("c", "1.0.0"), map[string]string{
		"prod.yaml":  "replicas: 3\nimage:\n  tag: \"1.10\"\n",
		"large.yaml": "big: 123456789012345678\nimage: {pullPolicy: Never}\n",
		"odd.yaml":   "image:\n  tag: 2.50\nreplicas: 1e3\n",
	})
	dir := directory(t, files)

	for name, names := range map[string][]string{
		"One": {"prod.yaml"}, "Two": {"prod.yaml", "large.yaml"}, "Order": {"odd.yaml", "prod.yaml"}, "Odd": {"prod.yaml", "odd.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := loader.LoadDir(dir)
			if err != nil {
				t.Fatal(err)
			}

			var options helmvalues.Options
			for _, n := range names {
				options.ValueFiles = append(options.ValueFiles, dir+"/"+n)
			}

			set, err := options.MergeValues(nil)
			if err != nil {
				t.Fatal(err)
			}

			want := render(t, c, set)

			s := open(t, dir, charts.Limits{})

			ours, err := s.Load(t.Context(), ".")
			if err != nil {
				t.Fatal(err)
			}

			values, _, err := charts.MergeValues(t.Context(), s.Files(), append([]string{"values.yaml"}, names...), false, charts.Limits{})
			if err != nil {
				t.Fatal(err)
			}

			if err := charts.SetValues(ours, values, charts.Limits{}); err != nil {
				t.Fatal(err)
			}

			got, err := loader.LoadArchive(bytes.NewReader(pack(t, ours)))
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(want, render(t, got, nil)); diff != "" {
				t.Errorf("-helm template -f, +merged:\n%s", diff)
			}
		})
	}
}

func TestMergeValues(t *testing.T) {
	c, err := charts.Load(t.Context(), bytes.NewReader(packaged(t, "c", with(plainChart("c", "1.0.0"), map[string]string{
		"a.yaml": "x: {a: 1, b: 1}\nz: [1]\n", "b.yaml": "x: {b: 2, c: {d: 3}}\nz: [2, 3]\n", "null.yaml": "x: null\n",
		"empty.yaml": "", "list.yaml": "- 1\n", "bad.yaml": "a: [\n", "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
		"charts/sub/ci.yaml": "z: sub\n",
	}))), charts.Limits{})
	if err != nil {
		t.Fatal(err)
	}

	type want struct {
		values string
		used   []string
		err    string
	}

	cases := map[string]struct {
		reason string
		names  []string
		ignore bool
		limits charts.Limits
		want   want
	}{
		"Merge": {
			reason: "Maps are merged, lists are replaced, values.yaml is not implied.",
			names:  []string{"a.yaml", "b.yaml"},
			want:   want{values: "x:\n  a: 1\n  b: 2\n  c:\n    d: 3\nz:\n- 2\n- 3\n", used: []string{"a.yaml", "b.yaml"}},
		},
		"Null": {
			reason: "Null takes the place of a map.",
			names:  []string{"a.yaml", "null.yaml"},
			want:   want{values: "x: null\nz:\n- 1\n", used: []string{"a.yaml", "null.yaml"}},
		},
		"Empty": {reason: "An empty file is one.", names: []string{"empty.yaml"}, want: want{values: "{}\n", used: []string{"empty.yaml"}}},
		"Missing": {
			reason: "A file has to be there.",
			names:  []string{"a.yaml", "none.yaml"}, want: want{err: "no values file found at path 'none.yaml'"},
		},
		"IgnoreMissing": {
			reason: "Unless it need not.",
			names:  []string{"none.yaml", "null.yaml"}, ignore: true, want: want{values: "x: null\n", used: []string{"null.yaml"}},
		},
		"Nothing":  {reason: "Then there may be no values.", names: []string{"none.yaml"}, ignore: true},
		"Confined": {reason: "No path leaves the chart.", names: []string{"../../null.yaml"}, want: want{values: "x: null\n", used: []string{"../../null.yaml"}}},
		"Dotted":   {reason: "A path may be written in many ways.", names: []string{"./null.yaml"}, want: want{values: "x: null\n", used: []string{"./null.yaml"}}},
		"Subchart": {reason: "Files of charts in the chart count.", names: []string{"charts/sub/ci.yaml"}, want: want{values: "z: sub\n", used: []string{"charts/sub/ci.yaml"}}},
		"Bad":      {reason: "A file has to be YAML.", names: []string{"bad.yaml"}, want: want{err: "read values file 'bad.yaml'"}},
		"List":     {reason: "And a map.", names: []string{"list.yaml"}, ignore: true, want: want{err: "read values file 'list.yaml'"}},
		"Large": {
			reason: "All together have a limit.", names: []string{"a.yaml", "a.yaml", "a.yaml", "a.yaml", "a.yaml"},
			limits: charts.Limits{FileBytes: 23}, want: want{err: "the limit of 92 bytes in all values files is exceeded"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			values, used, err := charts.MergeValues(t.Context(), charts.FilesOf(c), tc.names, tc.ignore, tc.limits)
			if err != nil || tc.want.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want.err) || tc.want.err == "" {
					t.Errorf("%s\ngot error %v, want %q", tc.reason, err, tc.want.err)
				}

				return
			}

			got := want{used: used}
			if values != nil {
				if err := charts.SetValues(c, values, charts.Limits{}); err != nil {
					t.Fatal(err)
				}

				for _, f := range c.Raw {
					if f.Name == "values.yaml" {
						got.values = string(f.Data)
					}
				}
			}

			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
