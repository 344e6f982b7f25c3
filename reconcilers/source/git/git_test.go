package git_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source/git"
	"github.com/weir-dev/weir/test/gitserver"
)

// world is all that a GitRepository meets: servers, Secrets, a store, and the remotes of a process.
type world struct {
	*gitserver.Repositories

	root    string
	store   *artifact.Store
	trees   *artifact.Trees
	deps    git.Deps // what a test wants to be different
	secrets map[types.NamespacedName]*corev1.Secret
	remotes git.RemotesOptions
	limits  ingest.Limits
	clock   *clock
}

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.now
}

// Advance moves the clock.
func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.now = c.now.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()

	all, err := gitserver.NewRepositories(t.TempDir())
	check(t, err)

	w := &world{
		Repositories: all, root: t.TempDir(), secrets: map[types.NamespacedName]*corev1.Secret{},
		clock: &clock{now: enginetest.Start()},
	}
	w.remotes = git.RemotesOptions{Dir: t.TempDir(), Now: w.clock.Now, Transports: &ingest.Transports{}}
	w.store, err = artifact.NewStore(artifact.StoreOptions{Root: w.root, Address: "source.test", Now: w.clock.Now})
	check(t, err)
	w.trees, err = artifact.NewTrees(artifact.TreesOptions{Dir: t.TempDir(), Store: w.store})
	check(t, err)

	return w
}

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// repository makes a repository with a commit of a file on main.
func (w *world) repository(t *testing.T, name string) *gitserver.Repository {
	t.Helper()

	r, err := w.Create(t.Context(), name)
	check(t, err)
	commit(t, r, "main", gitserver.Change{Files: map[string]string{"app.yaml": "a: 1\n"}})

	return r
}

func commit(t *testing.T, r *gitserver.Repository, branch string, c gitserver.Change) string {
	t.Helper()

	hash, err := r.Commit(t.Context(), branch, "Change the files\n\nFor a reason.", c)
	check(t, err)

	return hash
}

func (w *world) serve(t *testing.T, o gitserver.HTTPOptions) *gitserver.HTTP {
	t.Helper()

	s, err := w.ServeHTTP(t.Context(), o)
	check(t, err)
	t.Cleanup(s.Close)

	return s
}

// bench runs GitRepositories, all in one process.
type bench struct {
	run func(t *testing.T, obj *sourcev1.GitRepository) enginetest.Result[*sourcev1.GitRepository]
	api client.WithWatch
}

func (w *world) bench(t *testing.T, objects ...*sourcev1.GitRepository) bench {
	t.Helper()

	all := make([]client.Object, 0, len(objects))
	for _, o := range objects {
		all = append(all, o)
	}

	var api client.Client

	b := enginetest.New(t, git.Kind(w.dependencies(func() client.Client { return api })), enginetest.Options{}, all...)
	api = b.Client

	return bench{
		run: func(t *testing.T, obj *sourcev1.GitRepository) enginetest.Result[*sourcev1.GitRepository] {
			t.Helper()

			return b.Run(t, obj)
		},
		api: b.Client,
	}
}

// another returns a process that comes after the one of the bench: it sees what that one wrote, and remembers nothing. Its
// writes are put back into the cluster.
func (w *world) another(t *testing.T, b bench) func(*testing.T, *sourcev1.GitRepository) enginetest.Result[*sourcev1.GitRepository] {
	t.Helper()

	return func(t *testing.T, obj *sourcev1.GitRepository) enginetest.Result[*sourcev1.GitRepository] {
		t.Helper()

		current := &sourcev1.GitRepository{}
		check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), current))
		current.ResourceVersion = ""

		got := w.bench(t, current).run(t, current)

		check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), current))
		current.Status = got.Object.Status
		check(t, b.api.Status().Update(t.Context(), current))

		return got
	}
}

// dependencies returns what the kind needs of the world, with a client of the cluster.
func (w *world) dependencies(api func() client.Client) git.Deps {
	d := w.deps
	d.Store, d.Trees, d.Remotes, d.Limits = w.store, w.trees, git.NewRemotes(w.remotes), w.limits
	d.Secrets = secrets.ReaderFunc(func(_ context.Context, namespace, name string) (*corev1.Secret, error) {
		if s, ok := w.secrets[types.NamespacedName{Namespace: namespace, Name: name}]; ok {
			return s, nil
		}

		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
	})
	d.Repositories = git.RepositoriesFunc(func(ctx context.Context, key types.NamespacedName) (*sourcev1.GitRepository, error) {
		obj := &sourcev1.GitRepository{}

		return obj, api().Get(ctx, key, obj)
	})

	return d
}

// object returns a GitRepository; change changes its spec.
func object(name, url string, change ...func(*sourcev1.GitRepositorySpec)) *sourcev1.GitRepository {
	obj := &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name, Generation: 1},
		Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: time.Minute},
			Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
		},
	}
	for _, c := range change {
		c(&obj.Spec)
	}

	return obj
}

func withRef(ref sourcev1.GitRepositoryRef) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) { s.Reference = &ref }
}

func withSecret(name string) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) { s.SecretRef = &meta.LocalObjectReference{Name: name} }
}

func (w *world) secret(name string, data map[string]string) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}

	w.secrets[types.NamespacedName{Namespace: "apps", Name: name}] = s
}

// files returns what is in the artifact: "path/" of directories, "path mode content" of files.
func (w *world) files(t *testing.T, a *meta.Artifact) []string {
	t.Helper()

	if a == nil {
		t.Fatal("there is no artifact")
	}

	raw, err := os.ReadFile(filepath.Join(w.root, a.Path))
	check(t, err)

	dir := t.TempDir()
	_, err = ingest.Untar(t.Context(), bytes.NewReader(raw), dir, ingest.Limits{})
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

// condition returns a condition as "status reason: message".
func condition(obj *sourcev1.GitRepository, typ string) string {
	c := engine.Condition(obj, typ)
	if c == nil {
		return ""
	}

	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// expect fails unless the condition begins with want, which is empty if it must not be there.
func expect(t *testing.T, obj *sourcev1.GitRepository, typ, want string) {
	t.Helper()

	got := condition(obj, typ)
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

// entries returns the names of the entries of the archive, sorted.
func (w *world) entries(t *testing.T, a *meta.Artifact) []string {
	t.Helper()

	if a == nil {
		t.Fatal("there is no artifact")
	}

	raw, err := os.ReadFile(filepath.Join(w.root, a.Path))
	check(t, err)

	zip, err := gzip.NewReader(bytes.NewReader(raw))
	check(t, err)

	var names []string
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}

		check(t, err)
		names = append(names, h.Name)
	}

	slices.Sort(names)

	return names
}

// archived returns the digests of all content that is in the store.
func (w *world) archived(t *testing.T) []string {
	t.Helper()

	var found []string

	check(t, filepath.WalkDir(w.root, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil && info.Size() > 0 {
				found = append(found, p)
			}
		}

		return err
	}))

	return found
}
