package helmrepository_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/repo"
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
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source/helmrepository"
	"github.com/weir-dev/weir/test/helmrepo"
)

// world is all that a HelmRepository meets: servers, Secrets, a store, and the repositories of a process.
type world struct {
	root         string
	store        *artifact.Store
	secrets      map[types.NamespacedName]*corev1.Secret
	repositories charts.RepositoriesOptions
	clock        *enginetest.Clock
	workers      int
	patience     time.Duration
}

func newWorld(t *testing.T) *world {
	t.Helper()

	w := &world{root: t.TempDir(), secrets: map[types.NamespacedName]*corev1.Secret{}, clock: &enginetest.Clock{}}
	w.clock.Advance(24 * time.Hour)
	w.repositories = charts.RepositoriesOptions{Transports: &ingest.Transports{}, Dir: t.TempDir(), Now: w.clock.Now}

	var err error
	w.store, err = artifact.NewStore(artifact.StoreOptions{Root: w.root, Address: "source.test", Now: w.clock.Now})
	check(t, err)

	return w
}

func check(t testing.TB, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// serve runs a repository with the versions of podinfo.
func serve(t *testing.T, o helmrepo.Options, versions ...string) *helmrepo.Server {
	t.Helper()

	s, err := helmrepo.Serve(t.Context(), t.TempDir(), o)
	check(t, err)
	t.Cleanup(s.Close)
	add(t, s, versions...)

	return s
}

func add(t *testing.T, s *helmrepo.Server, versions ...string) {
	t.Helper()

	for _, v := range versions {
		check(t, s.Add(helmrepo.Chart("podinfo", v)))
	}
}

type result = enginetest.Result[*sourcev1.HelmRepository]

// bench runs HelmRepositories, all in one process.
type bench struct {
	run func(t *testing.T, obj *sourcev1.HelmRepository) result
	api client.WithWatch
}

func (w *world) bench(t *testing.T, objects ...*sourcev1.HelmRepository) bench {
	t.Helper()

	kind := helmrepository.Kind(helmrepository.Deps{
		Store: w.store, Repositories: charts.NewRepositories(w.repositories), Workers: w.workers, Patience: w.patience,
		Secrets: secrets.ReaderFunc(func(_ context.Context, namespace, name string) (*corev1.Secret, error) {
			if s, ok := w.secrets[types.NamespacedName{Namespace: namespace, Name: name}]; ok {
				return s, nil
			}

			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
		}),
	})

	all := make([]client.Object, 0, len(objects))
	for _, o := range objects {
		all = append(all, o)
	}

	b := enginetest.New(t, kind, enginetest.Options{Engine: engine.Options{Now: w.clock.Now}}, all...)

	return bench{
		api: b.Client,
		run: func(t *testing.T, obj *sourcev1.HelmRepository) result {
			t.Helper()

			return b.Run(t, obj)
		},
	}
}

// object returns a HelmRepository; change changes its spec.
func object(name, url string, change ...func(*sourcev1.HelmRepositorySpec)) *sourcev1.HelmRepository {
	obj := &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name, Generation: 1},
		Spec:       sourcev1.HelmRepositorySpec{URL: url},
	}
	obj.Status.ObservedGeneration = -1

	for _, c := range change {
		c(&obj.Spec)
	}

	return obj
}

func withSecret(name string) func(*sourcev1.HelmRepositorySpec) {
	return func(s *sourcev1.HelmRepositorySpec) { s.SecretRef = &meta.LocalObjectReference{Name: name} }
}

func withCerts(name string) func(*sourcev1.HelmRepositorySpec) {
	return func(s *sourcev1.HelmRepositorySpec) { s.CertSecretRef = &meta.LocalObjectReference{Name: name} }
}

func withTimeout(d time.Duration) func(*sourcev1.HelmRepositorySpec) {
	return func(s *sourcev1.HelmRepositorySpec) { s.Timeout = &metav1.Duration{Duration: d} }
}

func (w *world) secret(name string, data map[string]string) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}

	w.secrets[types.NamespacedName{Namespace: "apps", Name: name}] = s
}

// change changes an object as a user does.
func (b bench) change(t *testing.T, obj *sourcev1.HelmRepository, f func(*sourcev1.HelmRepository)) {
	t.Helper()

	var have sourcev1.HelmRepository
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), &have))
	f(&have)
	check(t, b.api.Update(t.Context(), &have))
}

// condition returns a condition as "status reason: message".
func condition(obj *sourcev1.HelmRepository, typ string) string {
	c := engine.Condition(obj, typ)
	if c == nil {
		return ""
	}

	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// conditions returns all conditions in their order.
func conditions(obj *sourcev1.HelmRepository) []string {
	all := make([]string, 0, len(obj.Status.Conditions))
	for _, c := range obj.Status.Conditions {
		all = append(all, c.Type+" "+condition(obj, c.Type))
	}

	return all
}

// expect fails unless the condition begins with want, which is empty if it must not be there.
func expect(t *testing.T, obj *sourcev1.HelmRepository, typ, want string) {
	t.Helper()

	got := condition(obj, typ)
	if (want == "") != (got == "") || !strings.HasPrefix(got, want) {
		t.Errorf("%s is %q, want %q", typ, got, want)
	}
}

// told returns the reasons and messages of the events.
func told(events []engine.Event) []string {
	got := make([]string, 0, len(events))
	for _, e := range events {
		got = append(got, e.Reason+": "+e.Message)
	}

	slices.Sort(got)

	return got
}

// statuses returns the statuses of the answers to requests for the index.
func statuses(s *helmrepo.Server) []int {
	var got []int
	for _, r := range s.Requests() {
		if strings.HasSuffix(r.Path, "/index.yaml") {
			got = append(got, r.Status)
		}
	}

	return got
}

// stored returns the content of a path in the storage.
func (w *world) stored(t *testing.T, p string) string {
	t.Helper()

	raw, err := os.ReadFile(filepath.Join(w.root, p))
	check(t, err)

	return string(raw)
}

// asHelm returns an index as Helm reads it, as JSON.
func asHelm(t *testing.T, raw []byte) string {
	t.Helper()

	file := filepath.Join(t.TempDir(), "index.yaml")
	check(t, os.WriteFile(file, raw, 0o600))

	index, err := repo.LoadIndexFile(file)
	check(t, err)

	out, err := json.Marshal(index)
	check(t, err)

	return string(out)
}
