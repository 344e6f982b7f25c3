package helmchart_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/helmrepo"
	registryserver "github.com/weir-dev/weir/test/registry"
)

// files returns the files of a chart in a directory.
func files(dir string, c *chart.Chart, dependencies ...string) map[string]string {
	all := map[string]string{
		"Chart.yaml": fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", c.Name(), c.Metadata.Version),
	}
	if len(dependencies) > 0 {
		all["Chart.yaml"] += "dependencies:\n" + strings.Join(dependencies, "\n") + "\n"
	}

	for _, list := range [][]*chart.File{c.Raw, c.Files, c.Templates} {
		for _, f := range list {
			all[f.Name] = string(f.Data)
		}
	}

	moved := map[string]string{}
	for name, content := range all {
		moved[dir+"/"+name] = content
	}

	return moved
}

// join returns all files.
func join(all ...map[string]string) map[string]string {
	joined := map[string]string{}
	for _, m := range all {
		maps.Copy(joined, m)
	}

	return joined
}

// TestTree holds what a chart in a GitRepository or Bucket is called, and what is said of it.
func TestTree(t *testing.T) {
	app := files("charts/app", helmrepo.Chart("app", "1.2.3"))

	cases := map[string]struct {
		reason  string
		kind    string
		chart   string
		files   map[string]string
		change  []func(*sourcev1.HelmChartSpec)
		file    string
		message string
		values  map[string]any // that make the original render like the artifact
	}{
		"Directory": {
			reason: "A chart in a directory is packaged.", chart: "charts/app", files: app,
			file: "app-1.2.3.tgz", message: "packaged 'app' chart with version '1.2.3'",
		},
		"Spelling": {
			reason: "A path may be spelt in many ways.", chart: "./charts/app/", files: app,
			file: "app-1.2.3.tgz", message: "packaged 'app' chart with version '1.2.3'",
		},
		"Revision": {
			reason: "The revision becomes a part of the version.", chart: "charts/app", files: app,
			change: []func(*sourcev1.HelmChartSpec){byRevision},
			file:   "app-1.2.3+0123456789ab.tgz", message: "packaged 'app' chart with version '1.2.3+0123456789ab'",
		},
		"Bucket": {
			reason: "That of a bucket too.", kind: sourcev1.BucketKind, chart: "charts/app", files: app,
			change: []func(*sourcev1.HelmChartSpec){byRevision},
			file:   "app-1.2.3+fedcba987654.tgz", message: "packaged 'app' chart with version '1.2.3+fedcba987654'",
		},
		"Values": {
			reason: "Values files are found from the root of the source; values.yaml is not implied.",
			chart:  "charts/app", files: join(app, map[string]string{"prod.yaml": "replicaCount: 9\nimage: {tag: x}\n"}),
			change: []func(*sourcev1.HelmChartSpec){values("charts/app/values.yaml", "prod.yaml")},
			file:   "app-1.2.3+1.tgz", message: "packaged 'app' chart with version '1.2.3+1' and merged values files [charts/app/values.yaml prod.yaml]",
			values: map[string]any{"replicaCount": 9, "image": map[string]any{"tag": "x"}},
		},
		"ValuesAndRevision": {
			reason: "Revision and generation are both part of the version.",
			chart:  "charts/app", files: app,
			change: []func(*sourcev1.HelmChartSpec){values("charts/app/values.yaml", "charts/app/values-prod.yaml"), byRevision},
			file:   "app-1.2.3+0123456789ab.1.tgz",
			message: "packaged 'app' chart with version '1.2.3+0123456789ab.1' and merged values files " +
				"[charts/app/values.yaml charts/app/values-prod.yaml]",
			values: map[string]any{"replicaCount": 3},
		},
		"Package": {
			reason: "A package in the source is stored as it is.",
			chart:  "dist/app-1.2.3.tgz", files: map[string]string{"dist/app-1.2.3.tgz": string(save(t, helmrepo.Chart("app", "1.2.3")))},
			file: "app-1.2.3.tgz", message: "pulled 'app' chart with version '1.2.3'",
		},
		"PackageValues": {
			reason: "Unless something else is made of it.",
			chart:  "app.tgz", files: map[string]string{"app.tgz": string(save(t, helmrepo.Chart("app", "1.2.3"))), "v.yaml": "replicaCount: 2\nimage: {tag: t}"},
			change: []func(*sourcev1.HelmChartSpec){values("v.yaml")},
			file:   "app-1.2.3+1.tgz", message: "packaged 'app' chart with version '1.2.3+1' and merged values files [v.yaml]",
			values: map[string]any{"replicaCount": 2, "image": map[string]any{"tag": "t"}},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)

			kind := sourcev1.GitRepositoryKind
			if tc.kind == "" {
				w.git(t, tc.files)
			} else {
				kind = tc.kind
				w.tree(t, kind, "git", "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210", tc.files)
			}

			obj := object("app", tc.chart, kind, "git", tc.change...)
			b := w.bench(t, obj)
			got := b.run(t, obj)

			action := "ChartPackageSucceeded"
			if strings.HasPrefix(tc.message, "pulled") {
				action = "ChartPullSucceeded"
			}

			want := []string{
				"ArtifactInStorage=True " + action + ": " + tc.message, "Ready=True " + action + ": " + tc.message,
			}
			if diff := cmp.Diff(want, conditions(got.Object)); diff != "" {
				t.Fatalf("%s\n-want, +got:\n%s", tc.reason, diff)
			}

			if diff := cmp.Diff([]string{"NewArtifact: " + tc.message}, reasons(got.Events)); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}

			a := got.Object.Status.Artifact
			if file := filepath.Base(a.Path); file != tc.file {
				t.Errorf("%s\ngot %s, want %s", tc.reason, file, tc.file)
			}

			wantChart := helmrepo.Chart("app", "1.2.3")
			if diff := cmp.Diff(render(t, wantChart, tc.values), render(t, w.load(t, a), nil)); diff != "" {
				t.Errorf("%s\n-helm template, +artifact:\n%s", tc.reason, diff)
			}

			w.clock.Advance(time.Minute)

			if second := b.run(t, obj); len(second.Patches)+len(second.Events) != 0 {
				t.Errorf("%d patches, events %q", len(second.Patches), reasons(second.Events))
			}
		})
	}
}

// TestNewRevision holds when a new revision of a source makes a new chart.
func TestNewRevision(t *testing.T) {
	const second = "main@sha1:89abcdef0123456789abcdef0123456789abcdef"

	cases := map[string]struct {
		reason string
		files  map[string]string
		change []func(*sourcev1.HelmChartSpec)
		events []string
	}{
		"SameVersion": {
			reason: "With ChartVersion, only a new version does.",
			files:  join(files("app", helmrepo.Chart("app", "1.0.0")), map[string]string{"app/more": "x"}),
		},
		"NewVersion": {
			reason: "Which is one in Chart.yaml.",
			files:  files("app", helmrepo.Chart("app", "1.1.0")), events: []string{"NewArtifact: packaged 'app' chart with version '1.1.0'"},
		},
		"Revision": {
			reason: "With Revision, each revision does.",
			files:  files("app", helmrepo.Chart("app", "1.0.0")), change: []func(*sourcev1.HelmChartSpec){byRevision},
			events: []string{"NewArtifact: packaged 'app' chart with version '1.0.0+89abcdef0123'"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.git(t, files("app", helmrepo.Chart("app", "1.0.0")))

			obj := object("app", "app", sourcev1.GitRepositoryKind, "git", tc.change...)
			b := w.bench(t, obj)
			b.run(t, obj)

			w.tree(t, sourcev1.GitRepositoryKind, "git", second, tc.files)

			got := b.run(t, obj)
			if diff := cmp.Diff(tc.events, reasons(got.Events), cmp.Transformer("empty", func(s []string) []string {
				return slices.Concat([]string{}, s)
			})); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}

			if r := got.Object.Status.ObservedSourceArtifactRevision; r != second {
				t.Errorf("observed revision %q", r)
			}

			expect(t, got.Object, meta.ReadyCondition, "True ChartPackageSucceeded")
		})
	}
}

// TestTreeDependencies shows where the charts are found that a chart depends on.
func TestTreeDependencies(t *testing.T) {
	w := newWorld(t)

	closed := serve(t, helmrepo.Options{TLS: true, Username: "jane", Password: "secret"}, helmrepo.Chart("closed", "1.0.0"), helmrepo.Chart("closed", "1.5.0"))
	w.repository(t, "closed", closed.URL()+"/", func(spec *sourcev1.HelmRepositorySpec) {
		spec.SecretRef = w.keep("login", map[string][]byte{"username": []byte("jane"), "password": []byte("secret")})
		spec.CertSecretRef = w.keep("tls", map[string][]byte{"ca.crt": closed.CA})
	})

	open := serve(t, helmrepo.Options{}, helmrepo.Chart("open", "2.0.0"), helmrepo.Chart("open", "2.1.0"))

	registry := serveRegistry(t, registryserver.Options{Username: "joe", Password: "hidden"})
	push(t, registry, "org", helmrepo.Chart("image", "3.0.0"))
	push(t, registry, "org", helmrepo.Chart("image", "3.1.0"))
	w.repository(t, "image", "oci://"+registry.Addr+"/org", func(spec *sourcev1.HelmRepositorySpec) {
		spec.SecretRef = w.keep("registry", map[string][]byte{"username": []byte("joe"), "password": []byte("hidden")})
	})

	app := files("charts/app", helmrepo.Chart("app", "1.0.0"),
		"- {name: closed, version: ^1.0.0, repository: '"+closed.URL()+"'}",
		"- {name: open, version: ~2.0, repository: '"+open.URL()+"'}",
		"- {name: image, version: 3.x, repository: 'oci://"+registry.Addr+"/org/'}",
		"- {name: near, version: '*', repository: 'file://../../near', alias: beside}",
		"- {name: kept, version: 9.x, repository: 'https://nowhere.invalid'}",
	)
	w.git(t, join(app, files("near", helmrepo.Chart("near", "0.1.0")), files("charts/app/charts/kept", helmrepo.Chart("kept", "9.9.9"))))

	obj := object("app", "charts/app", sourcev1.GitRepositoryKind, "git")
	got := w.bench(t, obj).run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True ChartPackageSucceeded: packaged 'app' chart with version '1.0.0'")

	want := []string{"NewArtifact: packaged 'app' chart with version '1.0.0'", "ResolvedDependencies: resolved 4 chart dependencies"}
	if diff := cmp.Diff(want, reasons(got.Events)); diff != "" {
		t.Errorf("events: -want, +got:\n%s", diff)
	}

	var found []string

	c := w.load(t, got.Object.Status.Artifact)
	for _, d := range c.Dependencies() {
		found = append(found, d.Name()+" "+d.Metadata.Version)
	}

	slices.Sort(found)

	if diff := cmp.Diff([]string{"closed 1.5.0", "image 3.1.0", "kept 9.9.9", "near 0.1.0", "open 2.0.0"}, found); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}

	if out := render(t, c, map[string]any{"beside": map[string]any{"replicaCount": 4}}); !strings.Contains(
		out["app/charts/beside/templates/deployment.yaml"], "replicas: 4") {
		t.Errorf("rendered %v", slices.Sorted(maps.Keys(out)))
	}
}
