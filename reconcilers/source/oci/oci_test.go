package oci_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source/oci"
	server "github.com/weir-dev/weir/test/registry"
)

// world is all that an OCIRepository meets: registries, Secrets, ServiceAccounts, a store and a cloud.
type world struct {
	root      string
	store     *artifact.Store
	secrets   map[types.NamespacedName]*corev1.Secret
	accounts  map[types.NamespacedName]*corev1.ServiceAccount
	cloud     registry.Cloud
	verifiers oci.Verifiers
	limits    ingest.Limits
	workers   int
	patience  time.Duration
	clock     *enginetest.Clock
}

func newWorld(t *testing.T) *world {
	t.Helper()

	w := &world{
		root: t.TempDir(), secrets: map[types.NamespacedName]*corev1.Secret{},
		accounts: map[types.NamespacedName]*corev1.ServiceAccount{}, clock: &enginetest.Clock{},
	}
	w.clock.Advance(24 * time.Hour)

	var err error
	w.store, err = artifact.NewStore(artifact.StoreOptions{Root: w.root, Address: "source.test", Now: w.clock.Now})
	check(t, err)

	return w
}

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, o server.Options) *server.Server {
	t.Helper()

	s, err := server.Serve(t.Context(), o)
	check(t, err)
	t.Cleanup(s.Close)

	return s
}

// push puts an artifact with the file app.yaml under a tag of org/app.
func push(t *testing.T, s *server.Server, tag, content string) v1.Hash {
	t.Helper()

	return pushFiles(t, s, tag, map[string]string{"app.yaml": content}, nil)
}

func pushFiles(t *testing.T, s *server.Server, tag string, files, annotations map[string]string) v1.Hash {
	t.Helper()

	img, err := server.Flux(files, annotations)
	check(t, err)

	return pushImage(t, s, tag, img)
}

func pushImage(t *testing.T, s *server.Server, tag string, img v1.Image) v1.Hash {
	t.Helper()

	digest, err := s.Push(t.Context(), "org/app", tag, img)
	check(t, err)

	return digest
}

// bench runs OCIRepositories, all in one process.
type bench struct {
	run func(t *testing.T, obj *sourcev1.OCIRepository) enginetest.Result[*sourcev1.OCIRepository]
	api client.WithWatch
}

func (w *world) bench(t *testing.T, objects ...*sourcev1.OCIRepository) bench {
	t.Helper()

	kind := oci.Kind(oci.Deps{
		Store: w.store, Limits: w.limits, Dir: t.TempDir(), Now: w.clock.Now, Verifiers: w.verifiers,
		Workers: w.workers, Patience: w.patience,
		Registries: registry.New(registry.Options{
			Transports: &ingest.Transports{}, Now: w.clock.Now, Cloud: w.cloud,
		}),
		Secrets: secrets.ReaderFunc(func(_ context.Context, namespace, name string) (*corev1.Secret, error) {
			return find(w.secrets, "secrets", namespace, name)
		}),
		ServiceAccounts: oci.ServiceAccountsFunc(func(_ context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
			return find(w.accounts, "serviceaccounts", namespace, name)
		}),
	})

	all := make([]client.Object, 0, len(objects))
	for _, o := range objects {
		all = append(all, o)
	}

	b := enginetest.New(t, kind, enginetest.Options{}, all...)

	return bench{
		run: func(t *testing.T, obj *sourcev1.OCIRepository) enginetest.Result[*sourcev1.OCIRepository] {
			t.Helper()

			return b.Run(t, obj)
		},
		api: b.Client,
	}
}

func find[O any](all map[types.NamespacedName]*O, resource, namespace, name string) (*O, error) {
	if found, ok := all[types.NamespacedName{Namespace: namespace, Name: name}]; ok {
		return found, nil
	}

	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}

// change changes the spec of an object in the API server, as people do.
func (b bench) change(t *testing.T, obj *sourcev1.OCIRepository, change func(*sourcev1.OCIRepository)) {
	t.Helper()

	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), obj))
	change(obj)
	obj.Generation++
	check(t, b.api.Update(t.Context(), obj))
}

// object returns an OCIRepository of org/app in the registry; change changes its spec.
func object(name string, s *server.Server, change ...func(*sourcev1.OCIRepositorySpec)) *sourcev1.OCIRepository {
	obj := &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name, Generation: 1},
		Spec: sourcev1.OCIRepositorySpec{
			URL: "oci://" + s.Addr + "/org/app", Interval: metav1.Duration{Duration: time.Minute},
		},
	}
	for _, c := range change {
		c(&obj.Spec)
	}

	return obj
}

func withRef(ref sourcev1.OCIRepositoryRef) func(*sourcev1.OCIRepositorySpec) {
	return func(s *sourcev1.OCIRepositorySpec) { s.Reference = &ref }
}

func (w *world) secret(name string, data map[string]string) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}

	w.secrets[types.NamespacedName{Namespace: "apps", Name: name}] = s
}

// pullSecret makes a Secret with credentials for the registry.
func (w *world) pullSecret(name string, s *server.Server, username, password string) {
	w.secret(name, map[string]string{
		corev1.DockerConfigJsonKey: fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, s.Addr, username, password),
	})
}

// files returns what is in the artifact: "path/" of directories, "path mode content" of files.
func (w *world) files(t *testing.T, a *meta.Artifact) []string {
	t.Helper()

	dir := t.TempDir()
	_, err := ingest.Untar(t.Context(), bytes.NewReader(w.read(t, a)), dir, ingest.Limits{})
	check(t, err)

	var got []string
	check(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}

		rel, _ := filepath.Rel(dir, p)
		if e.IsDir() {
			got = append(got, rel+"/")

			return nil
		}

		info, err := e.Info()
		if err != nil {
			return err
		}

		b, err := os.ReadFile(p)
		got = append(got, fmt.Sprintf("%s %o %s", rel, info.Mode().Perm(), b))

		return err
	}))

	return got
}

func (w *world) read(t *testing.T, a *meta.Artifact) []byte {
	t.Helper()

	if a == nil {
		t.Fatal("there is no artifact")
	}

	raw, err := os.ReadFile(filepath.Join(w.root, a.Path))
	check(t, err)

	return raw
}

// expect fails unless the condition begins with want, "status reason: message", which is empty if it must not be there.
func expect(t *testing.T, obj *sourcev1.OCIRepository, typ, want string) {
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
