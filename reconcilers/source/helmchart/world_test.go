package helmchart_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	helm "helm.sh/helm/v3/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source"
	"github.com/weir-dev/weir/reconcilers/source/helmchart"
	"github.com/weir-dev/weir/reconcilers/source/helmrepository"
	"github.com/weir-dev/weir/test/helmrepo"
	registryserver "github.com/weir-dev/weir/test/registry"
)

const namespace = "apps"

// world is all that a HelmChart meets: repositories, registries, Secrets, other sources and a store.
type world struct {
	root    string
	store   *artifact.Store
	deps    helmchart.Deps
	secrets map[string]*corev1.Secret
	sources map[string]source.Object // by kind/name
	broken  error                    // of the API server
	clock   *enginetest.Clock
}

func newWorld(t *testing.T) *world {
	t.Helper()

	w := &world{root: t.TempDir(), secrets: map[string]*corev1.Secret{}, sources: map[string]source.Object{}, clock: &enginetest.Clock{}}
	w.clock.Advance(24 * time.Hour)

	var err error
	w.store, err = artifact.NewStore(artifact.StoreOptions{Root: w.root, Address: "source.test", Now: w.clock.Now})
	check(t, err)

	trees, err := artifact.NewTrees(artifact.TreesOptions{
		Dir: t.TempDir(), Store: w.store, Attempts: 1, Client: &http.Client{Transport: refusing{}},
	})
	check(t, err)

	transports := &ingest.Transports{}
	w.deps = helmchart.Deps{
		Store: w.store, Trees: trees, Sources: w, Secrets: secrets.ReaderFunc(w.secret),
		Repositories: charts.NewRepositories(charts.RepositoriesOptions{Transports: transports, Now: w.clock.Now, Dir: t.TempDir()}),
		Registries:   registry.New(registry.Options{Transports: transports, Now: w.clock.Now}),
	}

	return w
}

// refusing has nothing: what is not in the store is nowhere.
type refusing struct{}

// RoundTrip implements http.RoundTripper.
func (refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: req}, nil
}

func check(t testing.TB, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if s, ok := w.secrets[name]; ok {
		return s, nil
	}

	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}

// keep makes a Secret.
func (w *world) keep(name string, data map[string][]byte) *meta.LocalObjectReference {
	w.secrets[name] = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}

	return &meta.LocalObjectReference{Name: name}
}

// Source implements helmchart.Sources.
func (w *world) Source(_ context.Context, kind string, key types.NamespacedName) (source.Object, error) {
	if w.broken != nil {
		return nil, w.broken
	}

	if found, ok := w.sources[kind+"/"+key.Name]; ok && key.Namespace == namespace {
		return found, nil
	}

	return nil, apierrors.NewNotFound(schema.GroupResource{Group: sourcev1.GroupVersion.Group, Resource: strings.ToLower(kind)}, key.Name)
}

// HelmRepositories implements helmchart.Sources.
func (w *world) HelmRepositories(_ context.Context, in string) ([]*sourcev1.HelmRepository, error) {
	var all []*sourcev1.HelmRepository

	for _, name := range slices.Sorted(maps.Keys(w.sources)) {
		if repo, ok := w.sources[name].(*sourcev1.HelmRepository); ok && repo.Namespace == in {
			all = append(all, repo)
		}
	}

	slices.Reverse(all) // in any order

	return all, nil
}

// serve starts a chart repository.
func serve(t *testing.T, o helmrepo.Options, all ...*chart.Chart) *helmrepo.Server {
	t.Helper()

	s, err := helmrepo.Serve(t.Context(), t.TempDir(), o)
	check(t, err)
	t.Cleanup(s.Close)
	check(t, s.Add(all...))

	return s
}

// serveRegistry starts a registry.
func serveRegistry(t *testing.T, o registryserver.Options) *registryserver.Server {
	t.Helper()

	s, err := registryserver.Serve(t.Context(), o)
	check(t, err)
	t.Cleanup(s.Close)

	return s
}

// push puts a chart into a registry.
func push(t *testing.T, s *registryserver.Server, repository string, c *chart.Chart) []byte {
	t.Helper()

	pkg := save(t, c)

	img, err := registryserver.Chart(pkg, nil)
	check(t, err)

	_, err = s.Push(t.Context(), repository+"/"+c.Name(), strings.ReplaceAll(c.Metadata.Version, "+", "_"), img)
	check(t, err)

	return pkg
}

// save packages a chart as Helm does.
func save(t *testing.T, c *chart.Chart) []byte {
	t.Helper()

	file, err := chartutil.Save(c, t.TempDir())
	check(t, err)

	b, err := os.ReadFile(file)
	check(t, err)

	return b
}

// repository makes a HelmRepository, and its index if it is to have one.
func (w *world) repository(t *testing.T, name, url string, change ...func(*sourcev1.HelmRepositorySpec)) *sourcev1.HelmRepository {
	t.Helper()

	repo := &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1},
		Spec:       sourcev1.HelmRepositorySpec{URL: url},
	}
	if strings.HasPrefix(url, "oci://") {
		repo.Spec.Type, repo.Spec.Insecure = sourcev1.HelmRepositoryTypeOCI, true
	}

	for _, c := range change {
		c(&repo.Spec)
	}

	w.sources["HelmRepository/"+name] = repo
	w.refresh(t, repo)

	return repo
}

// refresh fetches the index of a repository, as its own kind does.
func (w *world) refresh(t *testing.T, repo *sourcev1.HelmRepository) {
	t.Helper()

	if repo.IsOCI() {
		return
	}

	w.clock.Advance(time.Minute) // else the index is that of a moment ago

	kind := helmrepository.Kind(helmrepository.Deps{Store: w.store, Secrets: w.deps.Secrets, Repositories: w.deps.Repositories})
	got := enginetest.New(t, kind, enginetest.Options{}, repo).Run(t, repo).Object

	if !engine.IsTrue(got, meta.ReadyCondition) {
		t.Fatalf("the repository is not ready: %v", got.Status.Conditions)
	}

	repo.Status = got.Status
}

// tree makes a GitRepository or Bucket whose artifact has the files.
func (w *world) tree(t *testing.T, kind, name, revision string, files map[string]string) {
	t.Helper()

	at := artifact.Location{Owner: artifact.Owner{Kind: kind, Namespace: namespace, Name: name}, File: "tree.tar.gz"}
	a, err := w.store.Put(t.Context(), at, revision, w.store.Tarball(func(tar *artifact.Tar) error {
		for _, file := range slices.Sorted(maps.Keys(files)) {
			if err := tar.File(file, false, int64(len(files[file])), strings.NewReader(files[file])); err != nil {
				return err
			}
		}

		return nil
	}))
	check(t, err)

	object := metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1}

	switch kind {
	case sourcev1.GitRepositoryKind:
		w.sources[kind+"/"+name] = &sourcev1.GitRepository{ObjectMeta: object, Status: sourcev1.GitRepositoryStatus{Artifact: a}}
	case sourcev1.BucketKind:
		w.sources[kind+"/"+name] = &sourcev1.Bucket{ObjectMeta: object, Status: sourcev1.BucketStatus{Artifact: a}}
	default:
		t.Fatalf("kind %q", kind)
	}
}

// git makes a GitRepository called git.
func (w *world) git(t *testing.T, files map[string]string) {
	t.Helper()

	w.tree(t, sourcev1.GitRepositoryKind, "git", "main@sha1:0123456789abcdef0123456789abcdef01234567", files)
}

// object returns a HelmChart; change changes its spec.
func object(name, chartName, kind, from string, change ...func(*sourcev1.HelmChartSpec)) *sourcev1.HelmChart {
	obj := &sourcev1.HelmChart{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1},
		Spec: sourcev1.HelmChartSpec{
			Chart: chartName, Interval: metav1.Duration{Duration: time.Minute},
			SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: kind, Name: from},
		},
	}
	for _, c := range change {
		c(&obj.Spec)
	}

	return obj
}

func version(v string) func(*sourcev1.HelmChartSpec) {
	return func(s *sourcev1.HelmChartSpec) { s.Version = v }
}

func values(files ...string) func(*sourcev1.HelmChartSpec) {
	return func(s *sourcev1.HelmChartSpec) { s.ValuesFiles = files }
}

func byRevision(s *sourcev1.HelmChartSpec) { s.ReconcileStrategy = sourcev1.ReconcileStrategyRevision }

// bench runs HelmCharts, all in one process.
type bench struct {
	run func(t testing.TB, obj *sourcev1.HelmChart) enginetest.Result[*sourcev1.HelmChart]
	api client.WithWatch
}

func (w *world) bench(t *testing.T, objects ...*sourcev1.HelmChart) bench {
	t.Helper()

	all := make([]client.Object, 0, len(objects))
	for _, o := range objects {
		all = append(all, o)
	}

	b := enginetest.New(t, helmchart.Kind(w.deps), enginetest.Options{}, all...)

	return bench{api: b.Client, run: func(t testing.TB, obj *sourcev1.HelmChart) enginetest.Result[*sourcev1.HelmChart] {
		t.Helper()

		return b.Run(t, obj)
	}}
}

// change changes the spec of an object in the API server, as people do.
func (b bench) change(t *testing.T, obj *sourcev1.HelmChart, change func(*sourcev1.HelmChartSpec)) {
	t.Helper()

	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), obj))
	change(&obj.Spec)
	obj.Generation++
	check(t, b.api.Update(t.Context(), obj))
}

// read returns the bytes of an artifact.
func (w *world) read(t *testing.T, a *meta.Artifact) []byte {
	t.Helper()

	if a == nil {
		t.Fatal("there is no artifact")
	}

	check(t, w.store.Verify(a))

	f, err := os.Open(filepath.Join(w.root, a.Path))
	check(t, err)

	defer f.Close()

	b, err := io.ReadAll(f)
	check(t, err)

	return b
}

// load loads an artifact as Helm does.
func (w *world) load(t *testing.T, a *meta.Artifact) *chart.Chart {
	t.Helper()

	c, err := loader.LoadArchive(bytes.NewReader(w.read(t, a)))
	check(t, err)

	return c
}

// render renders a chart with values, as helm template does.
func render(t *testing.T, c *chart.Chart, values map[string]any) map[string]string {
	t.Helper()

	check(t, chartutil.ProcessDependenciesWithMerge(c, values))

	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "r", Namespace: "n"}, nil)
	check(t, err)

	out, err := helm.Render(c, all)
	check(t, err)

	return out
}

// conditions returns those of the object, each as "Type=Status Reason: message", in the order of their types.
func conditions(obj *sourcev1.HelmChart) []string {
	var got []string
	for _, c := range obj.Status.Conditions {
		got = append(got, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}

	slices.Sort(got)

	return got
}

// expect fails unless the condition begins with want, "status reason: message", which is empty if it must not be there.
func expect(t *testing.T, obj *sourcev1.HelmChart, typ, want string) {
	t.Helper()

	got := ""
	if c := engine.Condition(obj, typ); c != nil {
		got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}

	if (want == "") != (got == "") || !strings.HasPrefix(got, want) {
		t.Errorf("%s is %q, want %q", typ, got, want)
	}
}

// reasons returns the reasons and messages of the events.
func reasons(events []engine.Event) []string {
	got := make([]string, 0, len(events))
	for _, e := range events {
		got = append(got, e.Reason+": "+e.Message)
	}

	slices.Sort(got)

	return got
}

// paths returns the paths of the requests that a repository got.
func paths(s *helmrepo.Server) []string {
	var got []string
	for _, r := range s.Requests() {
		got = append(got, fmt.Sprintf("%s %d", r.Path, r.Status))
	}

	return got
}
