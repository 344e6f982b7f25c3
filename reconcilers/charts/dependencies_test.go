package charts_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/weir-dev/weir/reconcilers/charts"
)

// parent returns the files of a chart with dependencies, each as name, version, repository and more fields.
func parent(dependencies ...string) map[string]string {
	files := plainChart("parent", "1.0.0")
	files["Chart.yaml"] += "dependencies:\n"

	for _, d := range dependencies {
		name, rest, _ := strings.Cut(d, " ")
		version, repository, _ := strings.Cut(rest, " ")
		repository, more, _ := strings.Cut(repository, " ")
		files["Chart.yaml"] += fmt.Sprintf("- name: %s\n  version: %q\n  repository: %q\n  %s\n", name, version, repository, more)
	}

	return files
}

func lock(dependencies ...string) map[string]string {
	text := "digest: sha256:00\ngenerated: \"2020-01-02T03:04:05Z\"\ndependencies:\n"

	for _, d := range dependencies {
		name, version, _ := strings.Cut(d, " ")
		text += fmt.Sprintf("- name: %s\n  version: %s\n  repository: https://x\n", name, version)
	}

	return map[string]string{"Chart.lock": text}
}

// made is a chart in a repository.
func made(t testing.TB, name, version string) []byte {
	t.Helper()

	return packaged(t, name, map[string]string{"Chart.yaml": "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n"})
}

func TestDependencies(t *testing.T) {
	type want struct {
		resolved     int
		dependencies []string
		fetched      []string
		err          string
	}

	remote := "https://charts.example.com"

	cases := map[string]struct {
		reason string
		files  map[string]string
		beside map[string]string
		want   want
	}{
		"None": {reason: "A chart may depend on none.", files: plainChart("parent", "1.0.0")},
		"Remote": {
			reason: "Charts come from repositories, in the order in which they are wanted.",
			files:  parent("b ^1.0.0 "+remote, "a 2.x oci://r.example.com/charts"),
			want: want{
				resolved: 2, dependencies: []string{"b 1.9.0", "a 2.9.0"},
				fetched: []string{"a 2.x oci://r.example.com/charts", "b ^1.0.0 " + remote},
			},
		},
		"Local": {
			reason: "Charts beside the chart are found by their path.",
			files:  parent("near >=0.1.0 file://../near", "far * file://../../more/far"),
			beside: with(under("charts/near", plainChart("near", "0.2.0")), under("more/far", plainChart("far", "3.0.0"))),
			want:   want{resolved: 2, dependencies: []string{"near 0.2.0", "far 3.0.0"}},
		},
		"LocalPackage": {
			reason: "Packaged ones too.",
			files:  parent("near 0.2.0 file://../near.tgz"),
			beside: map[string]string{"charts/near.tgz": string(packaged(t, "near", plainChart("near", "0.2.0")))},
			want:   want{resolved: 1, dependencies: []string{"near 0.2.0"}},
		},
		"Escape": {
			reason: "But not outside of the source.",
			files:  parent("near * file://../../../etc"), want: want{err: "dependency 'near': repository 'file://../../../etc' leads out of the source"},
		},
		"LocalMissing": {
			reason: "They have to be there.",
			files:  parent("near * file://../near"), want: want{err: `dependency 'near': stat "charts/near": no such file or directory`},
		},
		"LocalVersion": {
			reason: "In the right version.",
			files:  parent("near ^1 file://../near"), beside: under("charts/near", plainChart("near", "0.2.0")),
			want: want{err: "dependency 'near': the chart found has version '0.2.0', want '^1'"},
		},
		"LocalName": {
			reason: "With the right name.",
			files:  parent("near * file://../near"), beside: under("charts/near", plainChart("other", "0.2.0")),
			want: want{err: "dependency 'near': the chart found is called 'other'"},
		},
		"Vendored": {
			reason: "What is in the chart is kept.",
			files:  with(parent("near ^1.0.0 "+remote, "b 1.9.0 "+remote), under("charts/near", plainChart("near", "1.2.0"))),
			want:   want{resolved: 1, dependencies: []string{"near 1.2.0", "b 1.9.0"}, fetched: []string{"b 1.9.0 " + remote}},
		},
		"VendoredVersion": {
			reason: "In whatever version.",
			files:  with(parent("near ^2.0.0 "+remote), under("charts/near", plainChart("near", "1.2.0"))),
			want:   want{dependencies: []string{"near 1.2.0"}},
		},
		"VendoredOneOfTwo": {
			reason: "Unless two are wanted.",
			files:  with(parent("near ^2.0.0 "+remote, "near ^1.0.0 "+remote+" alias: old"), under("charts/near", plainChart("near", "1.2.0"))),
			want: want{
				resolved: 1, dependencies: []string{"near 1.2.0", "near 2.9.0"}, fetched: []string{"near ^2.0.0 " + remote},
			},
		},
		"Aliases": {
			reason: "A chart that is wanted twice is fetched once.",
			files:  parent("b 1.9.0 "+remote+" alias: one", "b 1.9.0 "+remote+" alias: two"),
			want:   want{resolved: 1, dependencies: []string{"b 1.9.0"}, fetched: []string{"b 1.9.0 " + remote}},
		},
		"Locked": {
			reason: "A lock file names the versions.",
			files:  with(parent("b ^1.0.0 "+remote, "a >=1 "+remote), lock("b 1.2.3", "a 4.5.6", "gone 1.0.0")),
			want: want{
				resolved: 2, dependencies: []string{"b 1.2.3", "a 4.5.6"}, fetched: []string{"a 4.5.6 " + remote, "b 1.2.3 " + remote},
			},
		},
		"StaleLock": {
			reason: "Unless the chart asks for another one by now.",
			files:  with(parent("b ^2.0.0 "+remote), lock("b 1.2.3")),
			want:   want{resolved: 1, dependencies: []string{"b 2.9.0"}, fetched: []string{"b ^2.0.0 " + remote}},
		},
		"Requirements": {
			reason: "Charts of version 1 have a file for them.",
			files: with(legacy(), map[string]string{
				"requirements.yaml": "dependencies:\n- name: near\n  version: 1.0.0\n- name: b\n  version: ^1.0.0\n  repository: https://x\n",
				"requirements.lock": "dependencies:\n- {name: b, version: 1.1.1, repository: 'https://x'}\ngenerated: \"2020-01-02T03:04:05Z\"\n",
			}),
			want: want{resolved: 1, dependencies: []string{"near 1.0.0", "b 1.1.1"}, fetched: []string{"b 1.1.1 https://x"}},
		},
		"NoRepository": {
			reason: "Without a repository, the chart has to be in the chart.",
			files:  parent("near 1.0.0 "), want: want{err: "dependency 'near': it has no repository, and is not in charts/"},
		},
		"Alias": {
			reason: "Names of repositories mean nothing here.",
			files:  parent("near 1.0.0 @stable"), want: want{err: "no names of repositories"},
		},
		"BadRange": {
			reason: "A range has to be one.",
			files:  parent("near one " + remote), want: want{err: "dependency 'near': version \"one\": "},
		},
		"Failure": {
			reason: "The first failure counts, whichever came first.",
			files:  parent("b 1.0.0 "+remote, "bad 1.0.0 "+remote, "bad2 1.0.0 "+remote),
			want: want{
				err: "dependency 'bad': not today", fetched: []string{"b 1.0.0 " + remote, "bad 1.0.0 " + remote, "bad2 1.0.0 " + remote},
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := open(t, directory(t, with(under("charts/parent", tc.files), tc.beside)), charts.Limits{})

			c, err := s.Load(t.Context(), "charts/parent")
			if err != nil {
				t.Fatal(err)
			}

			var (
				got want
				mu  sync.Mutex
			)

			d := charts.Dependencies{Source: s, Path: "charts/parent", Fetch: func(_ context.Context, d charts.Dependency) ([]byte, error) {
				mu.Lock()
				got.fetched = append(got.fetched, d.Name+" "+d.Version+" "+d.Repository)
				mu.Unlock()

				if strings.HasPrefix(d.Name, "bad") {
					return nil, errors.New("not today")
				}

				version := d.Version
				if strings.ContainsAny(version, "^x") {
					version = strings.Trim(version, "^")[:1] + ".9.0"
				}

				return made(t, d.Name, version), nil
			}}

			got.resolved, err = d.Resolve(t.Context(), c)
			slices.Sort(got.fetched)

			if err != nil {
				if !strings.Contains(err.Error(), tc.want.err) || tc.want.err == "" {
					t.Errorf("%s\nunexpected error: %v", tc.reason, err)
				}

				got.err = tc.want.err
			} else {
				for _, sub := range c.Dependencies() {
					got.dependencies = append(got.dependencies, sub.Name()+" "+sub.Metadata.Version)
				}
			}

			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestDependenciesLimits holds that what a chart depends on counts with it, whichever comes first.
func TestDependenciesLimits(t *testing.T) {
	random := make([]byte, 6000)
	_, _ = rand.Read(random)

	cases := map[string]struct {
		reason string
		files  map[string]string
		limits charts.Limits
		want   string
	}{
		"Bytes": {
			reason: "Each is small enough, but not all.", files: map[string]string{"x": string(random)}, limits: charts.Limits{Bytes: 8000},
			want: "the limit of 80000 bytes in a chart and those that it depends on is exceeded",
		},
		"Files": {
			reason: "A file may be empty.", files: numbered(2000, func(i int) (string, string) { return fmt.Sprintf("x/%d", i), "" }),
			want: "the limit of 10000 files in a chart and those that it depends on is exceeded",
		},
		"Values": {
			reason: "Values take more memory than their text.",
			files:  map[string]string{"values.yaml": "a: [" + strings.Repeat("1,", 60_000) + "]"},
			want:   "the limit of 500000 values in the YAML of a chart and those that it depends on is exceeded",
		},
		"One": {
			reason: "What is too large on its own is named.",
			files:  map[string]string{"values.yaml": "a: [" + strings.Repeat("1,", 600_000) + "]"},
			want:   "dependency 'near0': the limit of 500000 values in the YAML of a chart is exceeded",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var wanted []string

			files := map[string]string{}

			for i := range 20 {
				name, repository := fmt.Sprint("near", i), fmt.Sprintf("file://../near%d", i)
				if i%2 == 1 {
					repository = "https://x"
				}

				wanted = append(wanted, name+" * "+repository)
				files = with(files, under(name, with(plainChart(name, "1.0.0"), tc.files)))
			}

			s := open(t, directory(t, with(files, under("parent", parent(wanted...)))), tc.limits)

			c, err := s.Load(t.Context(), "parent")
			if err != nil {
				t.Fatal(err)
			}

			d := charts.Dependencies{Source: s, Path: "parent", Fetch: func(_ context.Context, d charts.Dependency) ([]byte, error) {
				return packaged(t, d.Name, with(plainChart(d.Name, "1.0.0"), tc.files)), nil
			}}

			if _, err := d.Resolve(t.Context(), c); err == nil || err.Error() != tc.want {
				t.Errorf("%s\nunexpected error: %v", tc.reason, err)
			}

			if len(c.Dependencies()) != 0 {
				t.Errorf("%s\n%d charts were added", tc.reason, len(c.Dependencies()))
			}
		})
	}
}

// TestDependenciesPanic holds that what goes wrong on another goroutine fails as all else does.
func TestDependenciesPanic(t *testing.T) {
	s := open(t, directory(t, parent("b 1.0.0 https://x")), charts.Limits{})

	c, err := s.Load(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}

	d := charts.Dependencies{Source: s, Path: ".", Fetch: func(context.Context, charts.Dependency) ([]byte, error) { panic("oh") }}

	if _, err := d.Resolve(t.Context(), c); err == nil || err.Error() != "dependency 'b': internal error: oh" {
		t.Errorf("unexpected error: %v", err)
	}
}

// TestDependenciesRender holds that Helm renders a chart with what was found for it.
func TestDependenciesRender(t *testing.T) {
	files := with(under("charts/parent", parent("near 0.2.0 file://../near alias: beside", "b ^1 https://x")),
		under("charts/near", plainChart("near", "0.2.0")))
	s := open(t, directory(t, files), charts.Limits{})

	c, err := s.Load(t.Context(), "charts/parent")
	if err != nil {
		t.Fatal(err)
	}

	d := charts.Dependencies{Source: s, Path: "charts/parent", Fetch: func(context.Context, charts.Dependency) ([]byte, error) {
		return packaged(t, "b", plainChart("b", "1.5.0")), nil
	}}

	if _, err := d.Resolve(t.Context(), c); err != nil {
		t.Fatal(err)
	}

	helm, err := loader.LoadArchive(bytes.NewReader(pack(t, c)))
	if err != nil {
		t.Fatal(err)
	}

	got := render(t, helm, map[string]any{"beside": map[string]any{"replicas": 7}})
	for name, want := range map[string]string{
		"parent/templates/all.yaml":               "replicas: 1",
		"parent/charts/beside/templates/all.yaml": "replicas: 7",
		"parent/charts/b/templates/all.yaml":      "tag: 1.5.0",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s: got %q, want %q in it", name, got[name], want)
		}
	}
}
