package oci_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	server "github.com/weir-dev/weir/test/registry"
)

// A registry that does not answer does not hold the object for ever.
func TestTimeout(t *testing.T) {
	ended := make(chan struct{})
	w := newWorld(t)
	s := serve(t, server.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-req.Context().Done():
			case <-ended:
			}
		})
	}})
	t.Cleanup(func() { close(ended) })

	obj := object("app", s, func(s *sourcev1.OCIRepositorySpec) { s.Timeout = &metav1.Duration{Duration: 20 * time.Millisecond} })
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition,
		"False OCIArtifactPullFailed: failed to determine artifact digest: timed out after 20ms")
}

// Registries that do not answer do not hold all workers.
func TestLane(t *testing.T) {
	ended := make(chan struct{})
	w := newWorld(t)
	w.workers, w.patience = 2, time.Millisecond // room for one
	s := serve(t, server.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-req.Context().Done():
			case <-ended:
			}
		})
	}})

	one, other := object("one", s), object("other", s)
	b, results := w.bench(t, one, other), make(chan *sourcev1.OCIRepository, 2)

	for _, obj := range []*sourcev1.OCIRepository{one, other} {
		go func() { results <- b.run(t, obj).Object }()
	}

	expect(t, <-results, meta.ReadyCondition,
		"False OCIArtifactPullFailed: failed to determine artifact digest: gave up after 1ms: the server is slow, and so are others")
	close(ended)

	if c := engine.Condition(<-results, meta.ReadyCondition); strings.Contains(c.Message, "gave up") {
		t.Errorf("nobody waits: %s", c.Message)
	}
}

// A filter with very many states, and tags that make it visit all of them, do not hold a worker.
func TestExpensiveFilter(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			tags := strings.Repeat(`"`+strings.Repeat("1", 128)+`",`, 50_000)
			_, _ = io.WriteString(w, `{"tags":[`+tags+`"1.0.0"]}`)
		})
	}})

	obj := object("app", s, withRef(sourcev1.OCIRepositoryRef{SemVer: "*", SemverFilter: strings.Repeat("(1?){1000}", 20) + "x"}),
		func(s *sourcev1.OCIRepositorySpec) { s.Timeout = &metav1.Duration{Duration: time.Second} })
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition,
		"False ReadOperationFailed: failed to determine the artifact tag for '"+obj.Spec.URL+"': timed out after 1s")
}

// Annotations that would make the status too large stay where they are, but for those that others look at.
func TestManyAnnotations(t *testing.T) {
	const created = "org.opencontainers.image.created"

	w := newWorld(t)
	s := serve(t, server.Options{})
	pushFiles(t, s, "latest", map[string]string{"a.yaml": ""}, map[string]string{created: "today", "x": strings.Repeat("x", 100_000)})

	obj := object("app", s)
	got := w.bench(t, obj).run(t, obj).Object

	if diff := cmp.Diff(map[string]string{created: "today"}, got.Status.Artifact.Metadata); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Events are no place for what somebody writes into an artifact.
func TestStrangeAnnotations(t *testing.T) {
	for name, value := range map[string]string{"Long": strings.Repeat("x", 1000), "Lines": "x\nstored artifact with revision 'y'"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, server.Options{})
			hash := pushFiles(t, s, "latest", map[string]string{"a.yaml": ""}, map[string]string{
				"org.opencontainers.image.source": value, "org.opencontainers.image.revision": value,
			})

			obj := object("app", s)
			got := w.bench(t, obj).run(t, obj)

			want := []string{"NewArtifact: stored artifact with revision 'latest@" + hash.String() + "' from '" + obj.Spec.URL + "'"}
			if diff := cmp.Diff(want, reasons(got.Events)); diff != "" {
				t.Errorf("events: -want +got:\n%s", diff)
			}

			if got.Object.Status.Artifact.Metadata["org.opencontainers.image.source"] != value {
				t.Errorf("metadata %q", got.Object.Status.Artifact.Metadata)
			}
		})
	}
}
