package helmchart_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/helmrepo"
	registryserver "github.com/weir-dev/weir/test/registry"
)

// outcome is how a failure shows.
type outcome struct {
	condition string // the one that says what is wrong
	reason    string
	message   string // how it begins
	stalled   bool
	waits     bool // no back-off and no event: the source wakes it
}

// TestFailures holds how each failure shows, and that it leaves the last good artifact in place.
func TestFailures(t *testing.T) {
	const (
		fetch = meta.FetchFailedCondition
		build = meta.BuildFailedCondition
	)

	app := files("app", helmrepo.Chart("app", "1.0.0"))
	broken := func(name, content string) func(*testing.T, *world, *sourcev1.HelmChart) {
		return func(t *testing.T, w *world, obj *sourcev1.HelmChart) {
			t.Helper()
			w.git(t, join(app, map[string]string{name: content}))
			obj.Spec.SourceRef.Kind, obj.Spec.SourceRef.Name, obj.Spec.Chart = sourcev1.GitRepositoryKind, "git", "app"
		}
	}

	cases := map[string]struct {
		reason string
		make   func(t *testing.T, w *world, obj *sourcev1.HelmChart)
		want   outcome
	}{
		"NoSource": {
			reason: "A source that is not there may still come.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.SourceRef.Name = "none" },
			want:   outcome{condition: fetch, reason: "SourceUnavailable", message: `failed to get source: helmrepository.source.toolkit.fluxcd.io "none" not found`},
		},
		"NoAnswer": {
			reason: "So may an answer of the API server.",
			make:   func(_ *testing.T, w *world, _ *sourcev1.HelmChart) { w.broken = errors.New("not now") },
			want:   outcome{condition: fetch, reason: "SourceUnavailable", message: "failed to get source: not now"},
		},
		"UnsupportedKind": {
			reason: "Other kinds hold no charts.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.SourceRef.Kind = "OCIRepository" },
			want: outcome{
				condition: fetch, reason: "UnsupportedSourceKind", message: "failed to get source: unsupported source kind 'OCIRepository'", stalled: true,
			},
		},
		"NoArtifact": {
			reason: "A source without an artifact will have one.",
			make: func(t *testing.T, w *world, _ *sourcev1.HelmChart) {
				t.Helper()
				w.sources["HelmRepository/charts"].(*sourcev1.HelmRepository).Status.Artifact = nil //nolint:forcetypeassert // it is one
			},
			want: outcome{condition: fetch, reason: "NoSourceArtifact", message: "no artifact available for HelmRepository source 'charts'", waits: true},
		},
		"LostIndex": {
			reason: "So will one whose artifact is lost.",
			make: func(t *testing.T, w *world, _ *sourcev1.HelmChart) {
				t.Helper()

				a := w.sources["HelmRepository/charts"].GetArtifact()
				a.Digest = "sha256:" + strings.Repeat("0", 64)
			},
			want: outcome{condition: fetch, reason: "NoSourceArtifact", message: "no artifact available for HelmRepository source 'charts'", waits: true},
		},
		"LostTree": {
			reason: "Of whatever kind.",
			make: func(t *testing.T, w *world, obj *sourcev1.HelmChart) {
				t.Helper()
				broken("x", "")(t, w, obj)

				w.sources["GitRepository/git"].GetArtifact().Digest = "sha256:" + strings.Repeat("0", 64)
			},
			want: outcome{condition: fetch, reason: "NoSourceArtifact", message: "no artifact available for GitRepository source 'git'", waits: true},
		},
		"NoSecret": {
			reason: "Credentials have to be there.",
			make: func(_ *testing.T, w *world, _ *sourcev1.HelmChart) {
				w.sources["HelmRepository/charts"].(*sourcev1.HelmRepository).Spec.SecretRef = &meta.LocalObjectReference{Name: "none"} //nolint:forcetypeassert // it is one
			},
			want: outcome{condition: fetch, reason: "AuthenticationFailed", message: "failed to get secret 'apps/none': "},
		},
		"BadSecret": {
			reason: "And have to be some.",
			make: func(_ *testing.T, w *world, _ *sourcev1.HelmChart) {
				w.sources["HelmRepository/charts"].(*sourcev1.HelmRepository).Spec.SecretRef = w.keep("bad", map[string][]byte{"user": nil}) //nolint:forcetypeassert // it is one
			},
			want: outcome{condition: fetch, reason: "AuthenticationFailed", message: "failed to configure authentication options: "},
		},
		"NoChart": {
			reason: "A chart that the index does not have stalls until there is another index.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.Chart = "none" },
			want: outcome{
				condition: build, reason: "InvalidChartReference", stalled: true,
				message: "invalid chart reference: failed to get chart version for remote reference: no 'none' chart found",
			},
		},
		"NoVersion": {
			reason: "So does a version.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.Version = "99.x" },
			want: outcome{
				condition: build, reason: "InvalidChartReference", stalled: true,
				message: "invalid chart reference: failed to get chart version for remote reference: no 'podinfo' chart with version matching '99.x' found",
			},
		},
		"BadRange": {
			reason: "And what is no version.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.Version = "one" },
			want: outcome{
				condition: build, reason: "InvalidChartReference", stalled: true,
				message: "invalid chart reference: failed to get chart version for remote reference: version",
			},
		},
		"LongRange": {
			reason: "And what would take too long to compare.",
			make: func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) {
				obj.Spec.Version = strings.Repeat("99.x || ", 1000) + "6.x"
			},
			want: outcome{
				condition: build, reason: "InvalidChartReference", stalled: true,
				message: "invalid chart reference: failed to get chart version for remote reference: the limit of 1024 bytes per range of versions",
			},
		},
		"NoPackage": {
			reason: "A package that is not where the index says may come back.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.Chart = "gone" },
			want: outcome{
				condition: build, reason: "ChartPullError", message: "chart pull error: failed to download chart for remote reference: failed to fetch http://",
			},
		},
		"Tampered": {
			reason: "One that is not the one that the index says is none.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.Chart = "tampered" },
			want:   outcome{condition: build, reason: "ChartPullError", message: "chart pull error: failed to download chart for remote reference: "},
		},
		"Hostile": {
			reason: "One that leads out of the chart is none.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.Chart = "hostile" },
			want: outcome{
				condition: build, reason: "ChartPullError",
				message: `chart pull error: failed to download chart for remote reference: failed to load chart: unpack chart: "hostile/../../x": the name leads out`,
			},
		},
		"Large": {
			reason: "So is one that is too large.",
			make:   func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) { obj.Spec.Chart = "large" },
			want: outcome{
				condition: build, reason: "ChartPullError", message: "chart pull error: failed to download chart for remote reference: ",
			},
		},
		"NoValuesFile": {
			reason: "Values files have to be there.",
			make: func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) {
				obj.Spec.ValuesFiles = []string{"values.yaml", "none.yaml"}
			},
			want: outcome{
				condition: build, reason: "ValuesFilesError", message: "values files merge error: no values file found at path 'none.yaml'", stalled: true,
			},
		},
		"BadValuesFile": {
			reason: "And be YAML.",
			make: func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) {
				obj.Spec.ValuesFiles = []string{"README.md", "templates/service.yaml"}
			},
			want: outcome{condition: build, reason: "ValuesFilesError", message: "values files merge error: read values file", stalled: true},
		},
		"NoPath": {
			reason: "A path that is not in the source stalls until there is another revision.",
			make: func(t *testing.T, w *world, obj *sourcev1.HelmChart) {
				t.Helper()
				broken("x", "")(t, w, obj)

				obj.Spec.Chart = "charts/none"
			},
			want: outcome{
				condition: build, reason: "InvalidChartReference", message: "invalid chart reference: no chart found at path 'charts/none'", stalled: true,
			},
		},
		"BadMetadata": {
			reason: "So does a chart with bad metadata.",
			make:   broken("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: one\n"),
			want: outcome{
				condition: build, reason: "InvalidChartReference", stalled: true,
				message: `invalid chart reference: validation: chart.metadata.version "one" is invalid`,
			},
		},
		"BadChart": {
			reason: "What is wrong with the rest of a chart shows when it is packaged.",
			make:   broken("app/values.yaml", "a: [\n"),
			want:   outcome{condition: build, reason: "ChartPackageError", message: "chart package error: failed to load chart: cannot load values.yaml"},
		},
		"NoDependency": {
			reason: "What a chart depends on has to be found.",
			make:   broken("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n- {name: near, version: '*', repository: 'file://../near'}\n"),
			want: outcome{
				condition: build, reason: "DependencyBuildError", message: `dependency build error: dependency 'near': stat "near": no such file or directory`,
			},
		},
		"NoImage": {
			reason: "From wherever: it is the dependency that is wrong, and not the object.",
			make: func(t *testing.T, w *world, obj *sourcev1.HelmChart) {
				t.Helper()

				registry := serveRegistry(t, registryserver.Options{})
				broken("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n- {name: near, version: 1.x, repository: 'oci://"+registry.Addr+"/org'}\n")(t, w, obj)
			},
			want: outcome{condition: build, reason: "DependencyBuildError", message: "dependency build error: dependency 'near': repository 'oci://"},
		},
		"BadImage": {
			reason: "Also if it never can be one.",
			make:   broken("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n- {name: near, version: 1.x, repository: 'oci://'}\n"),
			want: outcome{
				condition: build, reason: "DependencyBuildError", message: "dependency build error: dependency 'near': repository 'oci:': 'oci:' is no URL of a registry",
			},
		},
		"Aliases": {
			reason: "What would take all memory is refused.",
			make:   broken("app/values.yaml", "a: &a "+strings.Repeat("x", 1<<20)+"\nb: ["+strings.Repeat("*a,", 300)+"]\n"),
			want:   outcome{condition: build, reason: "ChartPackageError", message: `chart package error: failed to load chart: read "values.yaml": the YAML aliases expand`},
		},
		"NoName": {
			reason: "A name that is none in a URL stalls.",
			make:   broken("app/Chart.yaml", "apiVersion: v2\nname: a?b\nversion: 1.0.0\n"),
			want: outcome{
				condition: build, reason: "InvalidChartReference", message: "invalid chart reference: 'a?b' with version '1.0.0' is no name of a chart", stalled: true,
			},
		},
		"OtherPath": {
			reason: "One that leads elsewhere too.",
			make:   broken("app/Chart.yaml", "apiVersion: v2\nname: '..\\..\\x'\nversion: 1.0.0\n"),
			want: outcome{
				condition: build, reason: "InvalidChartReference", message: `invalid chart reference: '..\..\x' with version '1.0.0' is no name of a chart`, stalled: true,
			},
		},
		"LongName": {
			reason: "And one that no file can have.",
			make:   broken("app/Chart.yaml", "apiVersion: v2\nversion: 1.0.0\nname: "+strings.Repeat("x", 300)+"\n"),
			want: outcome{
				condition: build, reason: "InvalidChartReference", stalled: true,
				message: "invalid chart reference: the name and the version of the chart have more than 255 characters",
			},
		},
		"PathInFile": {
			reason: "A path that cannot be in the source stalls as one that is not.",
			make: func(t *testing.T, w *world, obj *sourcev1.HelmChart) {
				t.Helper()
				broken("x", "")(t, w, obj)

				obj.Spec.Chart = "x/chart"
			},
			want: outcome{condition: build, reason: "InvalidChartReference", message: `invalid chart reference: stat "x/chart": not a directory`, stalled: true},
		},
		"VerifyIndex": {
			reason: "What cannot be verified is refused.",
			make: func(_ *testing.T, _ *world, obj *sourcev1.HelmChart) {
				obj.Spec.Verify = &sourcev1.OCIVerification{Provider: "cosign"}
			},
			want: outcome{
				condition: build, reason: "ChartVerificationError",
				message: "chart verification error: only charts of HelmRepositories of type 'oci' can be verified",
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, helmrepo.Options{Wrap: hostile(t)},
				helmrepo.Chart("podinfo", "6.3.5"), helmrepo.Chart("gone", "1.0.0"), helmrepo.Chart("tampered", "1.0.0"))
			spoil(t, s)
			w.repository(t, "charts", s.URL())

			obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
			b := w.bench(t, obj)
			good := b.run(t, obj).Object.Status.Artifact
			content := w.read(t, good)

			b.change(t, obj, func(*sourcev1.HelmChartSpec) { tc.make(t, w, obj) })
			w.clock.Advance(time.Minute)

			got := b.run(t, obj)
			judge(t, got.Object, tc.reason, tc.want)

			if want := !tc.want.waits; want != (len(got.Events) == 1) {
				t.Errorf("%s\nevents %q", tc.reason, reasons(got.Events))
			}

			if (got.Result.RequeueAfter == 0) != tc.want.stalled {
				t.Errorf("%s\nnext run after %s", tc.reason, got.Result.RequeueAfter)
			}

			if diff := cmp.Diff(good, got.Object.Status.Artifact); diff != "" {
				t.Errorf("%s\nartifact: -before, +after:\n%s", tc.reason, diff)
			}

			if string(w.read(t, good)) != string(content) {
				t.Errorf("%s\nthe artifact is another one", tc.reason)
			}

			if _, err := os.Stat(filepath.Join(w.root, "helmchart/apps/podinfo/latest.tar.gz")); err != nil {
				t.Errorf("%s\nlatest: %v", tc.reason, err)
			}
		})
	}
}

// spoil takes a package away and replaces another one, so that the index is wrong about both.
func spoil(t *testing.T, s *helmrepo.Server) {
	t.Helper()

	index := string(s.Index())

	other := helmrepo.Chart("tampered", "1.0.0")
	other.Files = append(other.Files, &chart.File{Name: "more", Data: []byte("x")})
	check(t, s.Add(other))
	index = strings.ReplaceAll(index, "gone-1.0.0.tgz", "lost-1.0.0.tgz")

	for _, name := range []string{"hostile", "large"} {
		index = strings.Replace(index, "entries:\n", "entries:\n  "+name+":\n  - apiVersion: v2\n    name: "+name+
			"\n    version: 1.0.0\n    urls: ["+name+"-1.0.0.tgz]\n", 1)
	}

	s.SetIndex([]byte(index))
}

// hostile answers with packages that nobody should take.
func hostile(t *testing.T) func(http.Handler) http.Handler {
	t.Helper()

	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)

	for name, content := range map[string]string{"hostile/../../x": "x"} {
		check(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
		_, err := w.Write([]byte(content))
		check(t, err)
	}

	check(t, errors.Join(w.Close(), zip.Close()))

	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/charts/hostile-1.0.0.tgz":
				_, _ = rw.Write(b.Bytes())
			case "/charts/large-1.0.0.tgz":
				_, _ = io.CopyN(rw, zeros{}, 11<<20) //nolint:errcheck // the client hangs up
			default:
				next.ServeHTTP(rw, req)
			}
		})
	}
}

// zeros has no end.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// judge compares the conditions with how a failure has to show.
func judge(t *testing.T, obj *sourcev1.HelmChart, reason string, want outcome) {
	t.Helper()

	text := want.reason + ": " + want.message

	expect(t, obj, want.condition, "True "+text)
	expect(t, obj, meta.ReadyCondition, "False "+text)

	if want.stalled {
		expect(t, obj, meta.StalledCondition, "True "+text)
		expect(t, obj, meta.ReconcilingCondition, "")
	} else {
		expect(t, obj, meta.StalledCondition, "")
		expect(t, obj, meta.ReconcilingCondition, "True ProgressingWithRetry")
	}

	if (obj.Status.ObservedGeneration == obj.Generation) != want.stalled {
		t.Errorf("%s\nobserved generation %d of %d", reason, obj.Status.ObservedGeneration, obj.Generation)
	}

	c := engine.Condition(obj, meta.ArtifactInStorageCondition)
	if c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("%s\nArtifactInStorage is %v", reason, c)
	}
}

// TestStallThenReady holds that a chart that stalled is not taken for done when nothing changed.
func TestStallThenReady(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
	repo := w.repository(t, "charts", s.URL())
	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	b := w.bench(t, obj)
	b.run(t, obj)

	b.change(t, obj, func(spec *sourcev1.HelmChartSpec) { spec.Version = "7.x" })

	for range 2 {
		w.clock.Advance(time.Minute)

		got := b.run(t, obj)
		expect(t, got.Object, meta.ReadyCondition, "False InvalidChartReference")
		expect(t, got.Object, meta.StalledCondition, "True InvalidChartReference")
	}

	check(t, s.Add(helmrepo.Chart("podinfo", "7.0.0")))
	w.refresh(t, repo)

	got := b.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True ChartPullSucceeded: pulled 'podinfo' chart with version '7.0.0'")
	expect(t, got.Object, meta.StalledCondition, "")
	expect(t, got.Object, meta.BuildFailedCondition, "")
}

// TestCorruptIndex holds that an index that is not what it was is not used, and its owner gets to know.
func TestCorruptIndex(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
	repo := w.repository(t, "charts", s.URL())
	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	b := w.bench(t, obj)

	file := filepath.Join(w.root, repo.Status.Artifact.Path)

	raw, err := os.ReadFile(file)
	check(t, err)
	check(t, os.WriteFile(file, bytes.ReplaceAll(raw, []byte("podinfo-6.3.5.tgz"), []byte("podinfo-6.6.6.tgz")), 0o600))

	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "False ChartPullError: chart pull error: failed to load index: digest mismatch")
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "False NoSourceArtifact: ")

	w.clock.Advance(time.Minute)
	w.refresh(t, repo)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True ChartPullSucceeded: ")
}

// TestRecover holds that the end of a failure is told, and costs no download.
func TestRecover(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
	w.repository(t, "charts", s.URL())

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	b := w.bench(t, obj)
	b.run(t, obj)

	w.broken = errors.New("not now")
	b.run(t, obj)

	w.broken = nil
	w.clock.Advance(time.Hour)
	before := paths(s)

	got := b.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True ChartPullSucceeded: pulled 'podinfo' chart with version '6.3.5'")

	if diff := cmp.Diff([]string{"Succeeded: pulled 'podinfo' chart with version '6.3.5'"}, reasons(got.Events)); diff != "" {
		t.Errorf("events: -want, +got:\n%s", diff)
	}

	if diff := cmp.Diff(before, paths(s)); diff != "" {
		t.Errorf("requests: -before, +after:\n%s", diff)
	}
}

// TestLost holds that an artifact that is lost or corrupt is made again.
func TestLost(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, string){
		"Lost": func(t *testing.T, dir string) { t.Helper(); check(t, os.RemoveAll(dir)) },
		"Corrupt": func(t *testing.T, dir string) {
			t.Helper()
			check(t, os.Remove(filepath.Join(dir, "podinfo-6.3.5.tgz")))
			check(t, os.WriteFile(filepath.Join(dir, "podinfo-6.3.5.tgz"), []byte("x"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
			w.repository(t, "charts", s.URL())

			obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
			b := w.bench(t, obj)
			first := b.run(t, obj).Object.Status
			content := w.read(t, first.Artifact)

			spoil(t, filepath.Join(w.root, "helmchart/apps/podinfo"))
			w.clock.Advance(time.Hour)

			got := b.run(t, obj).Object
			expect(t, got, meta.ReadyCondition, "True ChartPullSucceeded")

			if string(w.read(t, got.Status.Artifact)) != string(content) {
				t.Error("the artifact is another one")
			}

			if _, err := os.Stat(filepath.Join(w.root, "helmchart/apps/podinfo/latest.tar.gz")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLostContent holds that a chart that was pulled a moment ago and is lost by now is pulled again.
func TestLostContent(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
	w.repository(t, "charts", s.URL())

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	b := w.bench(t, obj)
	first := b.run(t, obj).Object.Status.Artifact

	_, encoded, _ := strings.Cut(first.Digest, ":")
	check(t, os.RemoveAll(filepath.Join(w.root, "helmchart")))
	check(t, os.Remove(filepath.Join(w.root, ".blobs/sha256", encoded)))
	w.clock.Advance(time.Second)

	got := b.run(t, obj).Object
	expect(t, got, meta.ReadyCondition, "True ChartPullSucceeded")
	w.read(t, got.Status.Artifact)
}

// TestTimeout holds that a server that does not answer does not hold the worker.
func TestTimeout(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
	w.repository(t, "charts", s.URL(), func(spec *sourcev1.HelmRepositorySpec) {
		spec.Timeout = &metav1.Duration{Duration: 200 * time.Millisecond}
	})
	s.Hang(true)

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.ReadyCondition, "False ChartPullError: chart pull error: ")
	expect(t, got, meta.StalledCondition, "")

	if c := engine.Condition(got, meta.ReadyCondition); !strings.Contains(c.Message, "timed out after 200ms") {
		t.Errorf("message %q", c.Message)
	}
}

// TestLane holds that servers that do not answer do not hold all workers.
func TestLane(t *testing.T) {
	w := newWorld(t)
	w.deps.Workers, w.deps.Patience = 2, time.Millisecond // room for one

	ended := make(chan struct{})
	s := serve(t, helmrepo.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if !strings.HasSuffix(req.URL.Path, ".tgz") {
				next.ServeHTTP(rw, req)

				return
			}

			select {
			case <-req.Context().Done():
			case <-ended:
			}
		})
	}}, helmrepo.Chart("podinfo", "6.3.5"))
	w.repository(t, "charts", s.URL())

	one := object("one", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	other := object("other", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	b, results := w.bench(t, one, other), make(chan *sourcev1.HelmChart, 2)

	for _, obj := range []*sourcev1.HelmChart{one, other} {
		go func() { results <- b.run(t, obj).Object }()
	}

	const busy = "gave up after 1ms: the server is slow, and so are others that are waited for"

	if c := engine.Condition(<-results, meta.ReadyCondition); c.Reason != "ChartPullError" || !strings.Contains(c.Message, busy) {
		t.Errorf("%s: %s", c.Reason, c.Message)
	}

	close(ended)

	if c := engine.Condition(<-results, meta.ReadyCondition); strings.Contains(c.Message, busy) {
		t.Errorf("nobody waits: %s", c.Message)
	}
}

// TestDelete holds that nothing of a chart stays behind.
func TestDelete(t *testing.T) {
	w := newWorld(t)
	w.git(t, files("app", helmrepo.Chart("app", "1.0.0")))

	obj := object("app", "app", sourcev1.GitRepositoryKind, "git")
	b := w.bench(t, obj)
	b.run(t, obj)
	check(t, b.api.Delete(t.Context(), obj))

	if got := b.run(t, obj); !got.Gone {
		t.Errorf("conditions: %v", got.Object.Status.Conditions)
	}

	if _, err := os.Stat(filepath.Join(w.root, "helmchart/apps/app")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
}
