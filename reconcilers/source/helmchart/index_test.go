package helmchart_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/helmrepo"
)

// TestPull shows what a HelmChart looks like whose chart is in a repository over HTTPS, behind a password and certificates.
func TestPull(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{TLS: true, ClientAuth: true, Username: "jane", Password: "secret"}, helmrepo.Chart("podinfo", "6.3.5"))

	cert, key, err := s.ClientCertificate()
	check(t, err)

	repo := w.repository(t, "charts", s.URL(), func(spec *sourcev1.HelmRepositorySpec) {
		spec.SecretRef = w.keep("login", map[string][]byte{"username": []byte("jane"), "password": []byte("secret")})
		spec.CertSecretRef = w.keep("tls", map[string][]byte{"ca.crt": s.CA, "tls.crt": cert, "tls.key": key})
	})
	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts", version("6.x"))

	b := w.bench(t, obj)
	got := b.run(t, obj)
	st := got.Object.Status

	const message = "pulled 'podinfo' chart with version '6.3.5'"

	want := []string{
		"ArtifactInStorage=True ChartPullSucceeded: " + message,
		"Ready=True ChartPullSucceeded: " + message,
	}
	if diff := cmp.Diff(want, conditions(got.Object)); diff != "" {
		t.Errorf("conditions: -want, +got:\n%s", diff)
	}

	path := "helmchart/apps/podinfo/podinfo-6.3.5.tgz"
	if a := st.Artifact; a.Path != path || a.URL != "http://source.test/"+path || a.Revision != "6.3.5" {
		t.Errorf("artifact is %+v", a)
	}

	if st.URL != "http://source.test/helmchart/apps/podinfo/latest.tar.gz" || st.ObservedChartName != "podinfo" ||
		st.ObservedSourceArtifactRevision != repo.Status.Artifact.Revision || st.ObservedValuesFiles != nil || st.ObservedGeneration != 1 {
		t.Errorf("status is %+v", st)
	}

	upstream, err := s.Package("podinfo", "6.3.5")
	check(t, err)

	if string(w.read(t, st.Artifact)) != string(upstream) {
		t.Error("the artifact is not the package of the repository")
	}

	alias, err := os.ReadFile(filepath.Join(w.root, "helmchart/apps/podinfo/latest.tar.gz"))
	if err != nil || string(alias) != string(upstream) {
		t.Errorf("the second name is not that of the artifact: %v", err)
	}

	if diff := cmp.Diff([]string{"NewArtifact: " + message}, reasons(got.Events)); diff != "" {
		t.Errorf("events: -want, +got:\n%s", diff)
	}

	metadata := map[string]string{"revision": "6.3.5", "digest": st.Artifact.Digest}
	if diff := cmp.Diff(metadata, got.Events[0].Metadata); diff != "" {
		t.Errorf("metadata: -want, +got:\n%s", diff)
	}

	if got.Result.RequeueAfter != time.Minute {
		t.Errorf("next run after %s", got.Result.RequeueAfter)
	}

	// An interval in which nothing happened costs nothing.
	before := paths(s)
	w.clock.Advance(time.Minute)

	second := b.run(t, obj)
	if diff := cmp.Diff(st, second.Object.Status); diff != "" || len(second.Patches)+len(second.Events) != 0 {
		t.Errorf("%d patches, events %q, -first, +second:\n%s", len(second.Patches), reasons(second.Events), diff)
	}

	if diff := cmp.Diff(before, paths(s)); diff != "" {
		t.Errorf("requests: -first, +second:\n%s", diff)
	}
}

func TestVersions(t *testing.T) {
	w := newWorld(t)

	var all []*chart.Chart
	for _, v := range []string{"6.3.5", "6.4.0", "6.4.1-rc.1", "7.0.0-alpha.1", "5.0.0+build.7"} {
		all = append(all, helmrepo.Chart("podinfo", v))
	}

	w.repository(t, "charts", serve(t, helmrepo.Options{}, all...).URL())

	cases := map[string]struct{ reason, version, file string }{
		"Any":        {reason: "The latest stable version.", version: "", file: "podinfo-6.4.0.tgz"},
		"Star":       {reason: "The same.", version: "*", file: "podinfo-6.4.0.tgz"},
		"Exact":      {reason: "A version is itself.", version: "6.3.5", file: "podinfo-6.3.5.tgz"},
		"PreRelease": {reason: "Also if it is none yet.", version: "7.0.0-alpha.1", file: "podinfo-7.0.0-alpha.1.tgz"},
		"Range":      {reason: "The highest of a range.", version: "~6.3", file: "podinfo-6.3.5.tgz"},
		"AnyPre":     {reason: "Pre-releases if they are asked for.", version: ">=6.0.0-0 <7.0.0-0", file: "podinfo-6.4.1-rc.1.tgz"},
		"Build":      {reason: "Build metadata are part of the name.", version: "5.x", file: "podinfo-5.0.0+build.7.tgz"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object(strings.ToLower(name), "podinfo", sourcev1.HelmRepositoryKind, "charts", version(tc.version))
			st := w.bench(t, obj).run(t, obj).Object.Status

			if st.Artifact == nil {
				t.Fatalf("%s\nconditions: %v", tc.reason, st.Conditions)
			}

			if got := filepath.Base(st.Artifact.Path); got != tc.file {
				t.Errorf("%s\ngot %s, want %s", tc.reason, got, tc.file)
			}

			want := strings.TrimSuffix(strings.TrimPrefix(tc.file, "podinfo-"), ".tgz")
			if st.Artifact.Revision != want {
				t.Errorf("%s\ngot revision %s, want %s", tc.reason, st.Artifact.Revision, want)
			}
		})
	}
}

// TestValues shows that merged values make another chart, which renders like the one of the repository with the files as -f.
func TestValues(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
	w.repository(t, "charts", s.URL())

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts", values("values.yaml", "values-prod.yaml", "none.yaml"),
		func(spec *sourcev1.HelmChartSpec) { spec.IgnoreMissingValuesFiles = true })
	b := w.bench(t, obj)
	got := b.run(t, obj)

	const message = "packaged 'podinfo' chart with version '6.3.5+1' and merged values files [values.yaml values-prod.yaml]"

	expect(t, got.Object, meta.ReadyCondition, "True ChartPackageSucceeded: "+message)
	expect(t, got.Object, meta.ArtifactInStorageCondition, "True ChartPackageSucceeded: "+message)

	if diff := cmp.Diff([]string{"NewArtifact: " + message}, reasons(got.Events)); diff != "" {
		t.Errorf("events: -want, +got:\n%s", diff)
	}

	st := got.Object.Status
	if diff := cmp.Diff([]string{"values.yaml", "values-prod.yaml"}, st.ObservedValuesFiles); diff != "" {
		t.Errorf("values files: -want, +got:\n%s", diff)
	}

	if filepath.Base(st.Artifact.Path) != "podinfo-6.3.5+1.tgz" || st.Artifact.Revision != "6.3.5+1" {
		t.Errorf("artifact is %+v", st.Artifact)
	}

	made := w.load(t, st.Artifact)
	if made.Metadata.Version != "6.3.5+1" {
		t.Errorf("the chart has version %s", made.Metadata.Version)
	}

	want := render(t, helmrepo.Chart("podinfo", "6.3.5"), map[string]any{"replicaCount": 3})
	if diff := cmp.Diff(want, render(t, made, nil)); diff != "" {
		t.Errorf("-helm template -f, +merged:\n%s", diff)
	}

	// Nothing is made again.
	w.clock.Advance(time.Minute)

	if second := b.run(t, obj); len(second.Patches)+len(second.Events) != 0 {
		t.Errorf("%d patches, events %q", len(second.Patches), reasons(second.Events))
	}

	// A change of the object is another version.
	w.clock.Advance(time.Minute)
	b.change(t, obj, func(spec *sourcev1.HelmChartSpec) { spec.ValuesFiles = []string{"values-prod.yaml"} })

	third := b.run(t, obj).Object
	expect(t, third, meta.ReadyCondition, "True ChartPackageSucceeded: packaged 'podinfo' chart with version '6.3.5+2' and merged values files [values-prod.yaml]")
}

// TestNewIndex shows what becomes of a chart when the index changes.
func TestNewIndex(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
	repo := w.repository(t, "charts", s.URL())
	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	b := w.bench(t, obj)
	first := b.run(t, obj).Object.Status

	// Another chart is nothing to this one.
	check(t, s.Add(helmrepo.Chart("other", "1.0.0")))
	w.refresh(t, repo)

	before := paths(s)
	got := b.run(t, obj)

	if diff := cmp.Diff(before, paths(s)); diff != "" || len(got.Events) != 0 {
		t.Errorf("events %q, requests: -before, +after:\n%s", reasons(got.Events), diff)
	}

	st := got.Object.Status
	if st.ObservedSourceArtifactRevision != repo.Status.Artifact.Revision || st.ObservedSourceArtifactRevision == first.ObservedSourceArtifactRevision {
		t.Errorf("observed revision %s", st.ObservedSourceArtifactRevision)
	}

	if diff := cmp.Diff(first.Artifact, st.Artifact); diff != "" {
		t.Errorf("artifact: -before, +after:\n%s", diff)
	}

	// A new version is.
	check(t, s.Add(helmrepo.Chart("podinfo", "6.4.0")))
	w.refresh(t, repo)

	got = b.run(t, obj)
	if diff := cmp.Diff([]string{"NewArtifact: pulled 'podinfo' chart with version '6.4.0'"}, reasons(got.Events)); diff != "" {
		t.Errorf("events: -want, +got:\n%s", diff)
	}

	// Those who are on their way to the old one still get it.
	check(t, w.store.Verify(first.Artifact))

}

// TestShare shows that many charts that are the same are downloaded once.
func TestShare(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, helmrepo.Chart("podinfo", "6.3.5"))
	w.repository(t, "charts", s.URL())

	var objects []*sourcev1.HelmChart
	for i := range 10 {
		objects = append(objects, object(fmt.Sprintf("podinfo-%d", i), "podinfo", sourcev1.HelmRepositoryKind, "charts"))
	}

	b := w.bench(t, objects...)

	var all sync.WaitGroup
	for _, obj := range objects {
		all.Go(func() { expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True ChartPullSucceeded: ") })
	}

	all.Wait()

	if diff := cmp.Diff([]string{"/charts/index.yaml 200", "/charts/podinfo-6.3.5.tgz 200"}, paths(s)); diff != "" {
		t.Errorf("requests: -want, +got:\n%s", diff)
	}
}
