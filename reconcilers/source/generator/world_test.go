package generator_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/generator"
)

const namespace = "apps"

// world is a cluster with a store, and one or more generators in it.
type world struct {
	root  string
	clock *enginetest.Clock
	store *artifact.Store
	trees *artifact.Trees
	deps  generator.Deps
	c     *counted
	run   func(t *testing.T, obj client.Object) enginetest.Result[*v1beta1.ArtifactGenerator]
}

// counted is the client of the kind. It counts what is written.
type counted struct {
	client.Client

	writes atomic.Int64
	fail   func(verb string, obj client.Object) error
}

func (c *counted) wrote(verb string, obj client.Object) error {
	c.writes.Add(1)

	if c.fail != nil {
		return c.fail(verb, obj)
	}

	return nil
}

func (c *counted) Create(ctx context.Context, obj client.Object, o ...client.CreateOption) error {
	if err := c.wrote("create", obj); err != nil {
		return err
	}

	return c.Client.Create(ctx, obj, o...)
}

func (c *counted) Delete(ctx context.Context, obj client.Object, o ...client.DeleteOption) error {
	if err := c.wrote("delete", obj); err != nil {
		return err
	}

	return c.Client.Delete(ctx, obj, o...)
}

func (c *counted) Apply(ctx context.Context, obj runtime.ApplyConfiguration, o ...client.ApplyOption) error {
	if err := c.wrote("apply", nil); err != nil {
		return err
	}

	return c.Client.Apply(ctx, obj, o...)
}

func (c *counted) Status() client.SubResourceWriter { return &countedStatus{c.Client.Status(), c} }

type countedStatus struct {
	client.SubResourceWriter

	c *counted
}

func (s *countedStatus) Patch(ctx context.Context, obj client.Object, p client.Patch, o ...client.SubResourcePatchOption) error {
	if err := s.c.wrote("status", obj); err != nil {
		return err
	}

	return s.SubResourceWriter.Patch(ctx, obj, p, o...)
}

// newWorld makes a world with the objects.
func newWorld(t *testing.T, change func(*generator.Deps), objects ...client.Object) *world {
	t.Helper()

	w := &world{root: t.TempDir(), c: &counted{}}
	now := func() time.Time {
		if w.clock == nil {
			return enginetest.Start()
		}

		return w.clock.Now()
	}

	var err error
	w.store, err = artifact.NewStore(artifact.StoreOptions{Root: w.root, Address: "source.test", Now: now})
	check(t, err)
	w.trees, err = artifact.NewTrees(artifact.TreesOptions{Dir: t.TempDir(), Store: w.store, Attempts: 1})
	check(t, err)

	w.deps = generator.Deps{
		Store: w.store, Trees: w.trees, Client: w.c, Dir: t.TempDir(), Now: now,
		Sources: generator.SourceFunc(func(ctx context.Context, kind string, key types.NamespacedName) (generator.Source, error) {
			return source(ctx, w.c, kind, key)
		}),
	}
	if change != nil {
		change(&w.deps)
	}

	// The API server in memory knows of a status only for kinds that it was given an object of.
	objects = append(objects, &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "other"}},
		&sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "other"}})

	b := enginetest.New(t, generator.Kind(w.deps), enginetest.Options{}, objects...)
	w.clock, w.c.Client, w.run = b.Clock, b.Client, func(t *testing.T, obj client.Object) enginetest.Result[*v1beta1.ArtifactGenerator] {
		t.Helper()

		return b.Run(t, obj)
	}

	return w
}

// source finds a source.
func source(ctx context.Context, c client.Reader, kind string, key types.NamespacedName) (generator.Source, error) {
	var obj generator.Source

	switch kind {
	case sourcev1.GitRepositoryKind:
		obj = &sourcev1.GitRepository{}
	case sourcev1.OCIRepositoryKind:
		obj = &sourcev1.OCIRepository{}
	case sourcev1.BucketKind:
		obj = &sourcev1.Bucket{}
	case sourcev1.HelmChartKind:
		obj = &sourcev1.HelmChart{}
	default:
		obj = &sourcev1.ExternalArtifact{}
	}

	return obj, c.Get(ctx, key, obj)
}

func check(t testing.TB, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// put stores an artifact of the files.
func put(t testing.TB, store *artifact.Store, kind, namespace, name, revision string, files map[string]string) *meta.Artifact {
	t.Helper()

	at := artifact.Location{
		Owner: artifact.Owner{Kind: kind, Namespace: namespace, Name: name},
		File:  strings.NewReplacer(":", "-", "/", "-").Replace(revision) + ".tar.gz",
	}
	a, err := store.Put(t.Context(), at, revision, store.Tarball(func(tar *artifact.Tar) error {
		for _, n := range slices.Sorted(maps.Keys(files)) {
			if err := tar.File(n, false, int64(len(files[n])), strings.NewReader(files[n])); err != nil {
				return err
			}
		}

		return nil
	}))
	check(t, err)

	return a
}

// push gives a GitRepository an artifact of the files, and makes the GitRepository if it is not there.
func (w *world) push(t testing.TB, name, revision string, files map[string]string) {
	t.Helper()
	push(t, w.c.Client, w.store, namespace, name, revision, files)
}

func push(t testing.TB, c client.Client, store *artifact.Store, namespace, name, revision string, files map[string]string) {
	t.Helper()

	obj := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	obj.Spec.URL, obj.Spec.Interval = "https://example.org/repo", metav1.Duration{Duration: time.Hour}

	if err := c.Create(t.Context(), obj); !apierrors.IsAlreadyExists(err) {
		check(t, err)
	}

	check(t, c.Get(t.Context(), client.ObjectKeyFromObject(obj), obj))
	before := obj.DeepCopy()
	obj.Status.Artifact = put(t, store, sourcev1.GitRepositoryKind, namespace, name, revision, files)
	check(t, c.Status().Patch(t.Context(), obj, client.MergeFrom(before)))
}

// artifact returns an ExternalArtifact, or nil if it is not there.
func (w *world) artifact(t testing.TB, name string) *sourcev1.ExternalArtifact {
	t.Helper()

	ea := &sourcev1.ExternalArtifact{}

	err := w.c.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, ea)
	if apierrors.IsNotFound(err) {
		return nil
	}

	check(t, err)

	return ea
}

// files returns what an ExternalArtifact holds.
func (w *world) files(t testing.TB, name string) map[string]string {
	t.Helper()

	ea := w.artifact(t, name)
	if ea == nil || ea.Status.Artifact == nil {
		t.Fatalf("there is no artifact %q", name)
	}

	check(t, w.store.Verify(ea.Status.Artifact))

	return filesOf(t, filepath.Join(w.root, ea.Status.Artifact.Path))
}

func filesOf(t testing.TB, archive string) map[string]string {
	t.Helper()

	f, err := os.Open(archive)
	check(t, err)

	defer f.Close()

	dir := t.TempDir()
	_, err = ingest.Untar(t.Context(), f, dir, ingest.Limits{})
	check(t, err)

	all := map[string]string{}

	check(t, filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}

		content, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		all[rel] = string(content)

		return err
	}))

	return all
}

// generatorOf makes a generator.
func generatorOf(name string, change ...func(*v1beta1.ArtifactGenerator)) *v1beta1.ArtifactGenerator {
	obj := &v1beta1.ArtifactGenerator{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID("uid-of-" + name), Generation: 1,
		Finalizers: []string{v1beta1.Finalizer},
	}}
	for _, f := range change {
		f(obj)
	}

	return obj
}

func withSource(alias, kind, name string) func(*v1beta1.ArtifactGenerator) {
	return func(obj *v1beta1.ArtifactGenerator) {
		obj.Spec.Sources = append(obj.Spec.Sources, v1beta1.SourceReference{Alias: alias, Kind: kind, Name: name})
	}
}

// withRepo adds the GitRepository of that name as the source repo.
func withRepo(obj *v1beta1.ArtifactGenerator) { withSource("repo", "GitRepository", "repo")(obj) }

// withArtifact adds an artifact that copies from the first of the pairs to the second, and so on.
func withArtifact(name string, pairs ...string) func(*v1beta1.ArtifactGenerator) {
	return func(obj *v1beta1.ArtifactGenerator) {
		a := v1beta1.OutputArtifact{Name: name}
		for i := 0; i+1 < len(pairs); i += 2 {
			a.Copy = append(a.Copy, v1beta1.CopyOperation{From: pairs[i], To: pairs[i+1]})
		}

		obj.Spec.Artifacts = append(obj.Spec.Artifacts, a)
	}
}

// spec changes the spec of a generator that is there.
func (w *world) spec(t testing.TB, obj *v1beta1.ArtifactGenerator, change func(*v1beta1.ArtifactGenerator)) {
	t.Helper()

	live := &v1beta1.ArtifactGenerator{}
	check(t, w.c.Get(t.Context(), client.ObjectKeyFromObject(obj), live))
	change(live)
	live.Generation++
	check(t, w.c.Update(t.Context(), live))
}

// expect compares a condition, written as "status reason: message".
func expect(t testing.TB, obj engine.Object, typ, want string) {
	t.Helper()

	got := ""
	if c := engine.Condition(obj, typ); c != nil {
		got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}

	if got != want && (want == "" || !strings.HasPrefix(got, want)) {
		t.Errorf("%s is %q, want %q", typ, got, want)
	}
}

// told returns the events.
func told(events []engine.Event) []string {
	all := make([]string, 0, len(events))
	for _, e := range events {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s: %s", e.Severity, e.Reason, e.Message)))
	}

	return all
}

func same[T any](t testing.TB, what string, want, got T) {
	t.Helper()

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", what, diff)
	}
}
