package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/fleet"
	"github.com/weir-dev/weir/test/gitserver"
)

// patience is how long anything may take until a test gives up: long, for a busy machine, and shorter than any interval
// that could stand in for what is tested.
const patience = 3 * time.Minute

// enforce is the label of a namespace that says which pods are admitted.
const enforce = "pod-security.kubernetes.io/enforce"

var shared = cluster.Shared{Options: cluster.Options{Mode: cluster.Node}}

func TestMain(m *testing.M) {
	logf.SetLogger(logr.Discard()) // that of the client

	os.Exit(shared.Main(m))
}

// stage is the cluster with the operator on it, and the fleet's repository.
type stage struct {
	cluster *cluster.Cluster
	client  *platform.Client
	manager string // the program
	release platform.Release

	repositories *gitserver.Repositories
	git          *gitserver.HTTP
	repo         *gitserver.Repository
}

// newStage sets everything up but the FluxInstance. It skips the test where there can be no node.
func newStage(t *testing.T) *stage {
	t.Helper()

	if err := cluster.NodeSupport(); err != nil {
		t.Skipf("no node can run here: %v (test/e2e/process tests what needs none)", err)
	}

	c := shared.Start(t)
	s := &stage{cluster: c, client: must(platform.NewClient(c.Config()))(t)}
	cache := must(os.UserCacheDir())(t)
	ctx := deadline(t, 10*time.Minute) // the first build takes long
	s.manager = must(platform.Build(ctx, filepath.Join(cache, "weir", "e2e"), "linux", os.Stderr))(t)
	s.release = must(platform.Push(ctx, s.manager, c.Registry(), "e2e", os.Stderr))(t)
	t.Logf("the image is %s", s.release.Image)

	if err := fleet.Push(ctx, c.Registry(), os.Stderr, fleet.Version, "1.1.0", "1.2.0"); err != nil {
		t.Fatal(err)
	}

	s.repositories = must(gitserver.NewRepositories(t.TempDir()))(t)
	s.repo = must(s.repositories.Create(ctx, "fleet"))(t)
	s.git = must(s.repositories.ServeHTTP(ctx, gitserver.HTTPOptions{Addr: c.HostIP() + ":0"}))(t)
	t.Cleanup(s.git.Close)

	s.install(t)

	return s
}

// install installs the operator into a namespace where nothing runs that the restricted standard forbids.
func (s *stage) install(t *testing.T) {
	t.Helper()

	objects := must(platform.Decode(s.release.Install))(t)
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			labels := o.GetLabels()
			labels[enforce] = "restricted"
			o.SetLabels(labels)
		}
	}

	if err := s.client.Apply(deadline(t, patience), objects...); err != nil {
		t.Fatal(err)
	}
}

// commit adds a commit to the fleet's repository and returns its revision, as that of the instance's source.
func (s *stage) commit(t *testing.T, message string, files map[string]string) string {
	t.Helper()

	hash := must(s.repo.Commit(deadline(t, patience), "main", message, gitserver.Change{Files: files}))(t)

	return "refs/heads/main@sha1:" + hash
}

// view returns a new view of what the tests look at. Its kinds are those of the components too, so they have to be there.
func (s *stage) view(t *testing.T) *platform.View {
	t.Helper()

	v := must(platform.NewView(s.client.Config))(t)
	t.Cleanup(v.Close)

	err := v.Track(deadline(t, patience), platform.FluxInstance(), platform.Deployment(), platform.Core("Pod"),
		platform.GitRepository(), platform.Kustomization())
	if err != nil {
		s.fail(t, "watch", err)
	}

	return v
}

// await waits for the conditions, and ends the test with a diagnosis if they do not come true.
func (s *stage) await(t *testing.T, what string, v *platform.View, conditions ...func(platform.Snapshot) error) {
	t.Helper()

	start := time.Now()

	if err := v.Until(deadline(t, patience), platform.All(conditions...)); err != nil {
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
