package generator_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/config/crd"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source/generator"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

// servers tells the namespaces of repeated tests apart.
var servers atomic.Int64

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// server is a real API server with a generator in it.
type server struct {
	c      *counted
	store  *artifact.Store
	ns     string
	runner interface {
		Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error)
	}
}

func newServer(t *testing.T) *server {
	t.Helper()

	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, apiextensionsv1.AddToScheme, api.AddToScheme} {
		check(t, add(scheme))
	}

	c, err := client.New(shared.Start(t).Config(), client.Options{Scheme: scheme})
	check(t, err)

	s := &server{c: &counted{Client: c}, ns: fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), servers.Add(1))}
	define(t, c, "source.extensions.fluxcd.io_artifactgenerators.yaml", "source.toolkit.fluxcd.io_externalartifacts.yaml",
		"source.toolkit.fluxcd.io_gitrepositories.yaml")
	check(t, c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.ns}}))

	s.store, err = artifact.NewStore(artifact.StoreOptions{Root: t.TempDir(), Address: "source.test"})
	check(t, err)
	trees, err := artifact.NewTrees(artifact.TreesOptions{Dir: t.TempDir(), Store: s.store, Attempts: 1})
	check(t, err)

	kind := generator.Kind(generator.Deps{
		Store: s.store, Trees: trees, Client: s.c, Dir: t.TempDir(),
		Sources: generator.SourceFunc(func(ctx context.Context, kind string, key types.NamespacedName) (generator.Source, error) {
			return source(ctx, c, kind, key)
		}),
	})
	s.runner = engine.New(kind, engine.Options{Client: c, ProgressAfter: time.Hour})

	return s
}

// define installs custom resource definitions, and waits until they are served.
func define(t *testing.T, c client.Client, files ...string) {
	t.Helper()

	for _, file := range files {
		content, err := fs.ReadFile(crd.FS(), file)
		check(t, err)

		definition := &apiextensionsv1.CustomResourceDefinition{}
		check(t, yaml.Unmarshal(content, definition))

		if err := c.Create(t.Context(), definition); !apierrors.IsAlreadyExists(err) {
			check(t, err)
		}
	}

	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()

	for _, list := range []client.ObjectList{&v1beta1.ArtifactGeneratorList{}, &sourcev1.ExternalArtifactList{}, &sourcev1.GitRepositoryList{}} {
		for err := c.List(t.Context(), list); err != nil; err = c.List(t.Context(), list) {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				t.Fatal(err)
			}
		}
	}
}

// create makes a generator.
func (s *server) create(t *testing.T, name string, change ...func(*v1beta1.ArtifactGenerator)) *v1beta1.ArtifactGenerator {
	t.Helper()

	obj := generatorOf(name, change...)
	obj.Namespace, obj.UID, obj.Generation, obj.Finalizers = s.ns, "", 0, nil
	check(t, s.c.Client.Create(t.Context(), obj))

	return obj
}

// run runs the generator, and reads it again.
func (s *server) run(t *testing.T, obj *v1beta1.ArtifactGenerator) {
	t.Helper()

	_, err := s.runner.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)})
	check(t, err)

	if err := s.c.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); !apierrors.IsNotFound(err) {
		check(t, err)
	}
}

// get returns an ExternalArtifact, or nil.
func (s *server) get(t *testing.T, name string) *sourcev1.ExternalArtifact {
	t.Helper()

	ea := &sourcev1.ExternalArtifact{}

	err := s.c.Get(t.Context(), types.NamespacedName{Namespace: s.ns, Name: name}, ea)
	if apierrors.IsNotFound(err) {
		return nil
	}

	check(t, err)

	return ea
}

// TestServer runs a generator against a real API server: what is written has to be valid, has to be taken back when it is not
// wanted any more, and must not touch what others write.
func TestServer(t *testing.T) {
	s := newServer(t)
	push(t, s.c.Client, s.store, s.ns, "repo", "main@sha1:1", repo())

	obj := s.create(t, "gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"),
		withArtifact("b", "@repo/apps/b/**", "@artifact/"), func(o *v1beta1.ArtifactGenerator) {
			o.Spec.Artifacts[0].OriginRevision = "@repo"
			o.Spec.CommonMetadata = &meta.CommonMetadata{
				Labels: map[string]string{"team": "one", "stage": "dev"}, Annotations: map[string]string{"note": "x"},
			}
		})
	s.run(t, obj)
	expect(t, obj, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 2 artifact(s)")

	reserved := map[string]string{"app.kubernetes.io/managed-by": "source-watcher", "source.extensions.fluxcd.io/generator": string(obj.UID)}
	with := func(more map[string]string) map[string]string {
		all := maps.Clone(reserved)
		maps.Copy(all, more)

		return all
	}

	a := s.get(t, "a")
	same(t, "labels", with(map[string]string{"team": "one", "stage": "dev"}), a.Labels)
	expect(t, a, meta.ReadyCondition, "True Succeeded: Artifact is ready")
	same(t, "metadata", map[string]string{"org.opencontainers.image.revision": "main@sha1:1"}, a.Status.Artifact.Metadata)

	for _, m := range a.ManagedFields {
		if m.Manager != "source-watcher" {
			t.Errorf("written by %s", m.Manager)
		}
	}

	// Nothing new: nothing is written.
	before := s.get(t, "a").ResourceVersion + " " + s.get(t, "b").ResourceVersion + " " + obj.ResourceVersion
	writes := s.c.writes.Load()
	s.run(t, obj)

	if got := s.get(t, "a").ResourceVersion + " " + s.get(t, "b").ResourceVersion + " " + obj.ResourceVersion; got != before ||
		s.c.writes.Load() != writes {
		t.Errorf("versions %s, before %s, %d writes", got, before, s.c.writes.Load()-writes)
	}

	// What is not wanted any more goes, what others have written stays, and what is wanted wins.
	a = s.get(t, "a")
	a.Labels["theirs"], a.Labels["team"], a.Annotations["theirs"] = "x", "two", "x"
	check(t, s.c.Update(t.Context(), a, client.FieldOwner("kubectl-edit")))

	obj.Spec.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"team": "three"}}
	check(t, s.c.Update(t.Context(), obj))
	s.run(t, obj)
	expect(t, obj, meta.ReadyCondition, "True")

	a = s.get(t, "a")
	same(t, "labels", with(map[string]string{"team": "three", "theirs": "x"}), a.Labels)
	same(t, "annotations", map[string]string{"theirs": "x"}, a.Annotations)
	same(t, "labels", with(map[string]string{"team": "three"}), s.get(t, "b").Labels)

	// One part changes, with the origin of one that does not.
	files := repo()
	files["apps/b/b.yaml"] = "changed"
	push(t, s.c.Client, s.store, s.ns, "repo", "main@sha1:2", files)

	wasA, wasB := s.get(t, "a"), s.get(t, "b")
	s.run(t, obj)

	isA, isB := s.get(t, "a"), s.get(t, "b")
	if isA.Status.Artifact.Revision != wasA.Status.Artifact.Revision || isB.Status.Artifact.Revision == wasB.Status.Artifact.Revision {
		t.Errorf("a: %v, b: %v", isA.Status.Artifact, isB.Status.Artifact)
	}

	same(t, "metadata", map[string]string{"org.opencontainers.image.revision": "main@sha1:2"}, isA.Status.Artifact.Metadata)

	if isA.Generation != 1 || isB.Generation != 1 {
		t.Errorf("generations %d, %d", isA.Generation, isB.Generation)
	}

	// An origin that is not wanted any more is taken back.
	obj.Spec.Artifacts = obj.Spec.Artifacts[:1]
	obj.Spec.Artifacts[0].OriginRevision = ""
	check(t, s.c.Update(t.Context(), obj))
	s.run(t, obj)
	expect(t, obj, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 1 artifact(s)")

	if s.get(t, "b") != nil || s.get(t, "a").Status.Artifact.Metadata != nil {
		t.Errorf("a: %v", s.get(t, "a").Status.Artifact)
	}

	check(t, s.c.Client.Delete(t.Context(), obj))
	s.run(t, obj)

	if s.get(t, "a") != nil {
		t.Error("it is still there")
	}
}

// TestServerTakeover holds that a generator writes to nothing that somebody else made theirs while it was at work.
func TestServerTakeover(t *testing.T) {
	s := newServer(t)
	push(t, s.c.Client, s.store, s.ns, "repo", "main@sha1:1", repo())
	obj := s.create(t, "gen", withRepo, withArtifact("a", "@repo/apps/a/**", "@artifact/"))

	other := func() *sourcev1.ExternalArtifact {
		return &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{
			Namespace: s.ns, Name: "a", Labels: map[string]string{v1beta1.GeneratorLabel: "other"},
		}}
	}

	steps := []struct {
		verb string
		harm func() error
		want string
	}{
		{"create", func() error { return s.c.Client.Create(t.Context(), other()) }, "already exists"},
		{"status", func() error {
			if err := s.c.Client.Delete(t.Context(), other()); err != nil {
				return err
			}

			return s.c.Client.Create(t.Context(), other())
		}, "modified"},
		{"apply", func() error {
			ea := s.get(t, "a")
			ea.Labels[v1beta1.GeneratorLabel] = "other"
			ea.Spec.SourceRef = nil

			return s.c.Update(t.Context(), ea)
		}, "modified"},
	}

	for i, step := range steps {
		t.Run(step.verb, func(t *testing.T) {
			if ea := s.get(t, "a"); ea != nil {
				check(t, s.c.Client.Delete(t.Context(), ea))
			}

			if step.verb == "apply" { // there has to be one that it may write to
				s.run(t, obj)
				expect(t, obj, meta.ReadyCondition, "True")

				obj.Spec.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"team": fmt.Sprint(i)}}
				check(t, s.c.Update(t.Context(), obj))
			}

			done := false
			s.c.fail = func(verb string, _ client.Object) error {
				if done || verb != step.verb {
					return nil
				}

				done = true

				return step.harm()
			}

			s.run(t, obj)
			s.c.fail = nil

			c := engine.Condition(obj, meta.ReadyCondition)
			if c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, step.want) {
				t.Errorf("ready is %+v, want %q", c, step.want)
			}

			ea := s.get(t, "a")
			if ea.Labels[v1beta1.GeneratorLabel] != "other" || step.verb != "apply" && ea.Status.Artifact != nil ||
				slices.ContainsFunc(ea.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
					return step.verb != "apply" && m.Manager == generator.Controller
				}) {
				t.Errorf("it was written: %+v", ea)
			}

			s.run(t, obj)
			expect(t, obj, meta.ReadyCondition, "False ReconciliationFailed: a reconcile failed: ExternalArtifact '"+s.ns+"/a' was not made")
		})
	}
}
