package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestScenarios(t *testing.T) {
	type want struct {
		scenes []about
		err    string
	}

	const apps, helm = "source,kustomize", "source,helm"

	cases := map[string]struct {
		reason string
		args   []string
		want   want
	}{
		"Defaults": {
			reason: "Everything is measured, Git and releases at each size.",
			want: want{scenes: []about{
				{"git", 100, false, apps}, {"git", 500, false, apps}, {"git", 1000, false, apps}, {"oci", 1000, false, apps},
				{"pods", 500, true, apps}, {"releases", 100, false, helm}, {"releases", 500, false, helm}, {"releases", 1000, false, helm},
				{"definitions", 1000, false, helm}, {"sources", 1500, false, apps},
			}},
		},
		"Chosen": {
			reason: "Fleets and sizes are lists.",
			args:   []string{"-fleets", "pods,git", "-n", "7, 9", "-pods", "5"},
			want:   want{scenes: []about{{"pods", 5, true, apps}, {"git", 7, false, apps}, {"git", 9, false, apps}}},
		},
		"UnknownFleet": {
			reason: "A misspelt name must not leave something out.",
			args:   []string{"-fleets", "gti"},
			want:   want{err: `-fleets: "gti" is none of git, oci, pods, releases, definitions, sources`},
		},
		"NoCount": {
			reason: "A fleet has objects.",
			args:   []string{"-n", "100,0"},
			want:   want{err: `-n: "0" is no number of Kustomizations`},
		},
		"UnknownLayout": {
			reason: "There are two.",
			args:   []string{"-layout", "flat"},
			want:   want{err: `-layout: "flat" is neither plain nor kustomize`},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want

			s, err := parse(tc.args, func(string) string { return "" })
			if err != nil {
				got.err = err.Error()
			} else {
				for _, f := range s.scenarios() {
					got.scenes = append(got.scenes, f.about())
				}
			}

			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}, about{})); diff != "" {
				t.Errorf("\n%s\nscenarios: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestMetric(t *testing.T) {
	type want struct {
		Labels map[string]string
		Value  string
		OK     bool
	}

	cases := map[string]struct {
		reason string
		line   string
		want   want
	}{
		"Wanted": {
			reason: "Labels and value are read.",
			line:   `weir_api_requests_total{resource="ocirepositories/status",verb="patch"} 12`,
			want:   want{map[string]string{"resource": "ocirepositories/status", "verb": "patch"}, "12", true},
		},
		"Other": {
			reason: "Another metric whose name begins alike is not taken for it.",
			line:   `weir_api_requests_total_created{resource="a",verb="b"} 1.7e9`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want
			got.Labels, got.Value, got.OK = metric(tc.line, "weir_api_requests_total")

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nmetric: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLatencies(t *testing.T) {
	start := time.Unix(0, 0)

	var times []time.Time
	for i := range 40 {
		times = append(times, start.Add(time.Duration(i+1)*time.Second))
	}

	half, most, all := latencies(start, times)
	if diff := cmp.Diff([]float64{20, 38, 40}, []float64{half, most, all}); diff != "" {
		t.Errorf("seconds until half, 95 of 100 and all of 40: -want, +got:\n%s", diff)
	}
}
