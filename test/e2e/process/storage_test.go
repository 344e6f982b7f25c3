package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/test/e2e/platform"
)

// artifacts returns the artifacts of all objects that have one, by kind and name.
func (u *upstream) artifacts() map[string]map[string]any {
	all := map[string]map[string]any{}

	for _, k := range append(sourceKinds(), platform.GitRepository()) {
		for _, o := range u.view.Now().List(k, u.namespace) {
			if a, ok, err := unstructured.NestedMap(o.Object, "status", "artifact"); ok && err == nil {
				all[k.Kind+"/"+o.GetName()] = a
			}
		}
	}

	return all
}

// fetched checks that an artifact is served, and is the right one.
func fetched(ctx context.Context, a map[string]any) error {
	u, _ := a["url"].(string)       //nolint:errcheck // then it fails below
	want, _ := a["digest"].(string) //nolint:errcheck // then it fails below

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read

	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}

	if got := digest.FromBytes(body).String(); resp.StatusCode != http.StatusOK || got != want {
		return fmt.Errorf("GET %s: %s with %s, not %s", u, resp.Status, got, want)
	}

	return nil
}

// allFetched checks that all of them are.
func allFetched(ctx context.Context, all map[string]map[string]any) error {
	var errs []error
	for name, a := range all {
		if err := fetched(ctx, a); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}

	return errors.Join(errs...)
}

// TestLostStorage takes the storage away from a running manager, all of it and then one file: it comes back from the sources at
// once, long before any interval is over.
func TestLostStorage(t *testing.T) {
	s := newSourceStage(t)
	u := newUpstream(t, s, "lost")
	s.await(t, "all sources are ready", u.ready)

	back := func(platform.Snapshot) error {
		all := u.artifacts()
		if n := len(all); n != 9 {
			return fmt.Errorf("%d artifacts, not 9", n)
		}

		return allFetched(t.Context(), all)
	}
	s.await(t, "all artifacts are served", back)

	entries := must(os.ReadDir(s.manager.Storage()))(t)
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.manager.Storage(), e.Name())); err != nil {
			t.Fatal(err)
		}
	}

	s.await(t, "the storage is rebuilt", back, u.ready)

	// A file that is not what it was is not served, and is made again.
	chart := u.artifacts()["HelmChart/podinfo"]
	file := filepath.Join(s.manager.Storage(), filepath.FromSlash(chart["path"].(string))) //nolint:forcetypeassert // artifacts have paths

	if err := os.WriteFile(file, []byte("tampered"), 0o600); err != nil {
		t.Fatal(err)
	}

	s.await(t, "the wrong file is replaced", back, u.ready)
}

// TestFailover kills the manager that holds the lease, with all servers of the sources gone: the one that stood by serves every
// artifact, because it has had them all along.
func TestFailover(t *testing.T) {
	elect := []string{
		"--enable-leader-election", "--leader-election-lease-duration=3s", "--leader-election-renew-deadline=2s",
		"--leader-election-retry-period=500ms",
	}

	service := newService(t)
	elect = append(elect, "--storage-adv-addr="+service.URL)

	s := newSourceStage(t, elect...)
	service.add(s.manager)
	s.apply(t, platform.Object(platform.Core("Namespace"), "", platform.Namespace))

	u := newUpstream(t, s, "failover")
	s.await(t, "all sources are ready", u.ready)

	second := must(platform.NewManager(must(program())(t), shared.Start(t).Kubeconfig(), t.TempDir(), append([]string{
		"--controllers=source-controller,kustomize-controller,source-watcher", "--watch-label-selector=" + setLabel + "=" + setOf(t),
	}, elect...)...))(t)
	service.add(second)

	if err := second.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if s.manager != second { // else it ends with the stage
			_ = second.Stop() //nolint:errcheck // the test has failed already
		}
	})

	if err := second.Ready(deadline(t, patience)); err != nil {
		t.Fatal(err)
	}

	// Both serve: whoever asks may end up at either.
	s.commit(t, u.repo, files("apps/one/config.yaml", configMap("one", 2)))
	s.request(t, u.objects[0])
	s.await(t, "a change is delivered", func(now platform.Snapshot) error {
		if got := platform.Text(now.Get(platform.Core("ConfigMap"), u.namespace, "one"), "data", "value"); got != "2" {
			return fmt.Errorf("the value is %q", got)
		}

		return u.ready(now)
	})

	want := u.artifacts()
	for range 20 {
		if err := allFetched(t.Context(), want); err != nil {
			t.Error(err)
		}
	}

	u.git.Close()
	u.registry.Close()
	u.charts.Close()
	u.buckets.Close()

	if err := s.manager.Kill(); err != nil {
		t.Fatal(err)
	}

	s.manager = second

	if err := allFetched(t.Context(), want); err != nil {
		t.Error(err)
	}

	// The new leader makes artifacts, too.
	s.await(t, "the new leader has looked at all sources", u.unavailable)
}

// unavailable is true when the sources say that their servers are gone.
func (u *upstream) unavailable(now platform.Snapshot) error {
	for _, name := range []string{"pushed"} {
		if state, _, _ := platform.Condition(now.Get(kind("OCIRepository"), u.namespace, name), "FetchFailed"); state != "True" {
			return fmt.Errorf("OCIRepository %q is as it was", name)
		}
	}

	return nil
}

// service is what a Service does in a cluster: it sends requests to a process that is ready.
type service struct {
	*httptest.Server

	mu       sync.Mutex
	managers []*platform.Manager
	requests int
}

func newService(t *testing.T) *service {
	t.Helper()

	s := &service{}
	s.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: s.target(r.In.Context())})
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
	})
	t.Cleanup(s.Close)

	return s
}

// add makes a manager one of those that serve.
func (s *service) add(m *platform.Manager) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.managers = append(s.managers, m)
}

// target returns the address of one of the managers that are ready, in turns, or one where nobody is.
func (s *service) target(ctx context.Context) string {
	s.mu.Lock()
	s.requests++
	turn := s.requests % len(s.managers)
	managers := slices.Concat(s.managers[turn:], s.managers[:turn])
	s.mu.Unlock()

	for _, m := range managers {
		if m.IsReady(ctx) == nil {
			return m.Address()
		}
	}

	return "127.0.0.1:1"
}
