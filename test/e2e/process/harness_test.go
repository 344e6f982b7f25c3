package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

// patience is how long anything may take until a test gives up: long, for a busy machine, and shorter than any interval
// that could stand in for what is tested.
const patience = 3 * time.Minute

// setLabel keeps tests apart: a manager sees the objects of its own test only.
const setLabel = "e2e.weir.dev/set"

var shared = cluster.Shared{Options: cluster.Options{Mode: cluster.ControlPlane}}

func TestMain(m *testing.M) {
	logf.SetLogger(logr.Discard()) // that of the client

	os.Exit(pretended.Stop(faulty.Stop(shared.Main(m))))
}

// program builds the manager, once for all tests. It looks for data races if the tests do.
var program = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // the first build takes long
	defer cancel()

	dir := filepath.Join(cache, "weir", "e2e")
	if raced {
		return platform.BuildRaced(ctx, dir, os.Stderr)
	}

	return platform.Build(ctx, dir, runtime.GOOS, os.Stderr)
})

// stage is a control plane with a manager beside it, and a Git server.
type stage struct {
	client  *platform.Client
	view    *platform.View
	manager *platform.Manager
	repos   *gitserver.Repositories
	git     *gitserver.HTTP
	set     string
}

// newStage starts a manager of its own on the shared control plane.
func newStage(t *testing.T, args ...string) *stage {
	t.Helper()

	c := shared.Start(t)
	s := newStageOn(t, c, delivering(t, args...)...)
	s.raise(t)

	return s
}

// delivering returns the arguments of a manager that delivers what belongs to the test.
func delivering(t *testing.T, args ...string) []string {
	t.Helper()

	return append([]string{
		"--controllers=source-controller,kustomize-controller", "--watch-label-selector=" + setLabel + "=" + setOf(t),
	}, args...)
}

// raise defines all kinds and starts the manager.
func (s *stage) raise(t *testing.T) {
	t.Helper()

	s.apply(t, must(platform.Definitions())(t)...)
	s.track(t)
	s.start(t)
}

func setOf(t *testing.T) string { return t.Name() }

// newStageOn makes a stage whose manager does not run yet.
func newStageOn(t *testing.T, c *cluster.Cluster, args ...string) *stage {
	t.Helper()

	return newStageBy(t, c, c.Kubeconfig(), args...)
}

// newStageBy is a stage whose manager has a kubeconfig of its own.
func newStageBy(t *testing.T, c *cluster.Cluster, kubeconfig string, args ...string) *stage {
	t.Helper()

	s := &stage{client: must(platform.NewClient(c.Config()))(t), set: setOf(t)}
	s.manager = must(platform.NewManager(must(program())(t), kubeconfig, t.TempDir(), args...))(t)
	t.Cleanup(func() { s.stop(t) })

	s.repos = must(gitserver.NewRepositories(t.TempDir()))(t)
	s.git = must(s.repos.ServeHTTP(t.Context(), gitserver.HTTPOptions{}))(t)
	t.Cleanup(s.git.Close)

	s.view = must(platform.NewView(c.Config()))(t)
	t.Cleanup(s.view.Close)

	return s
}

// track makes the view see what the tests look at, which has to be defined.
func (s *stage) track(t *testing.T, more ...schema.GroupVersionKind) {
	t.Helper()

	err := s.view.Track(deadline(t, patience), append(more,
		platform.GitRepository(), platform.Kustomization(), platform.Deployment(), platform.Core("ConfigMap"))...)
	if err != nil {
		s.fail(t, "watching", err)
	}
}

func (s *stage) start(t *testing.T) {
	t.Helper()

	if err := s.manager.Start(); err != nil {
		t.Fatal(err)
	}
}

// stop ends the manager, which must not have ended by itself.
func (s *stage) stop(t *testing.T) {
	t.Helper()

	select {
	case <-s.manager.Ended():
		t.Errorf("the manager has ended by itself: %v", s.manager.Err())
	default:
	}

	if err := s.manager.Stop(); err != nil {
		t.Error(err)
	}

	log, err := os.ReadFile(s.manager.Log())
	if err != nil {
		return // it has never run
	}

	if _, race, found := bytes.Cut(log, []byte("WARNING: DATA RACE")); found {
		t.Errorf("the manager has a data race: %.4000s", race)
	}

	if t.Failed() {
		t.Logf("the manager said:\n%s", platform.Tail(log, 60))
	}
}

// namespace makes one of the name, with a number for each further run of the test, and returns its name.
func (s *stage) namespace(t *testing.T, name string) string {
	t.Helper()

	count, _ := namespaces.LoadOrStore(name, new(atomic.Int64))
	if n := count.(*atomic.Int64).Add(1); n > 1 { //nolint:forcetypeassert // nothing else is stored
		name = fmt.Sprintf("%s-%d", name, n)
	}

	s.apply(t, platform.Object(platform.Core("Namespace"), "", name))

	return name
}

// namespaces counts how often each name was taken.
var namespaces sync.Map

// source returns a GitRepository of the URL that is looked at when it is asked for.
func (s *stage) source(namespace, name, url string) *unstructured.Unstructured {
	o := platform.Object(platform.GitRepository(), namespace, name)
	o.SetLabels(map[string]string{setLabel: s.set})
	o.Object["spec"] = map[string]any{
		"interval": "1h", "timeout": "60s", "url": url, "ref": map[string]any{"branch": "main"},
	}

	return o
}

// delivery returns a Kustomization of a path in the source of the same namespace, with what more its spec has.
func (s *stage) delivery(namespace, name, source, path string, more map[string]any) *unstructured.Unstructured {
	o := platform.Object(platform.Kustomization(), namespace, name)
	o.SetLabels(map[string]string{setLabel: s.set})
	spec := map[string]any{
		"interval": "1h", "retryInterval": "1h", "timeout": "1m", "prune": true, "path": path, "targetNamespace": namespace,
		"sourceRef": map[string]any{"kind": "GitRepository", "name": source},
	}

	maps.Copy(spec, more)

	o.Object["spec"] = spec

	return o
}

func (s *stage) apply(t *testing.T, objects ...*unstructured.Unstructured) {
	t.Helper()

	if err := s.client.Apply(deadline(t, patience), objects...); err != nil {
		t.Fatal(err)
	}
}

// repository makes one with a first commit and returns it with its revision.
func (s *stage) repository(t *testing.T, name string, c gitserver.Change) (*gitserver.Repository, string) {
	t.Helper()

	repo := must(s.repos.Create(deadline(t, patience), name))(t)

	return repo, s.commit(t, repo, c)
}

func (s *stage) commit(t *testing.T, repo *gitserver.Repository, c gitserver.Change) string {
	t.Helper()

	return "main@sha1:" + must(repo.Commit(deadline(t, patience), "main", "Change", c))(t)
}

// request asks for a reconcile now.
func (s *stage) request(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()

	return must(s.client.Request(deadline(t, patience), o.GroupVersionKind(), o.GetNamespace(), o.GetName()))(t)
}

// await waits for the conditions, and ends the test with a diagnosis if they do not come true or the manager ends.
func (s *stage) await(t *testing.T, what string, conditions ...func(platform.Snapshot) error) {
	t.Helper()

	start := time.Now()

	ctx, cancel := context.WithCancelCause(deadline(t, patience))
	defer cancel(nil)

	go func(ended <-chan struct{}) {
		select {
		case <-ended:
			cancel(errors.New("the manager has ended"))
		case <-ctx.Done():
		}
	}(s.manager.Ended())

	if err := s.view.Until(ctx, platform.All(conditions...)); err != nil {
		s.fail(t, what, err)
	}

	t.Logf("%s after %.1f s", what, time.Since(start).Seconds())
}

func (s *stage) fail(t *testing.T, what string, err error) {
	t.Helper()

	var b bytes.Buffer

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	s.client.Diagnose(ctx, &b)
	t.Fatalf("not %s: %v\n%s", what, err, b.String())
}

// list reads the objects of a kind in a namespace from the API server.
func (s *stage) list(t *testing.T, namespace, apiVersion, kind string) []unstructured.Unstructured {
	t.Helper()

	l := &unstructured.UnstructuredList{}
	l.SetAPIVersion(apiVersion)
	l.SetKind(kind)

	if err := s.client.List(deadline(t, patience), l, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}

	return l.Items
}

// deadline returns a context for something that takes no longer than d.
func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()

	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("gave up after %s", d))
	t.Cleanup(cancel)

	return ctx
}

// must ends the test on an error.
func must[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()

		if err != nil {
			t.Fatal(err)
		}

		return value
	}
}
