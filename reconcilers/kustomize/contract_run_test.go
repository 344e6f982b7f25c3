package kustomize_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// treesFunc is a function as kustomize.Trees.
type treesFunc func(context.Context, *meta.Artifact) (*artifact.Tree, error)

func (f treesFunc) Open(ctx context.Context, a *meta.Artifact) (*artifact.Tree, error) {
	return f(ctx, a)
}

// TestContractProgress holds what a run that takes long says meanwhile.
func TestContractProgress(t *testing.T) {
	e := newEnv(t)
	e.progressAfter = time.Millisecond
	trees := e.deps.Trees

	var shown []string

	e.deps.Trees = treesFunc(func(ctx context.Context, a *meta.Artifact) (*artifact.Tree, error) {
		e.eventually("the progress is written", func() error {
			shown = status(e.get("app"))
			if text := strings.Join(shown, "\n"); !strings.Contains(text, "manifests") {
				return fmt.Errorf("the status is %s", text)
			}

			return nil
		})

		return trees.Open(ctx, a)
	})
	e.restart()
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Interval.Duration = 5 * time.Minute })

	obj, _ := e.once("app")

	const before = `generation -1 of 1, attempted "", applied "", origin "", handled ""`

	if diff := cmp.Diff([]string{
		before, "Reconciling@1 True Progressing: Fetching manifests for revision main@sha1:1 with a timeout of 4m30s",
		"Ready@1 Unknown Progressing: Reconciliation in progress",
	}, shown); diff != "" {
		t.Errorf("status during the run: -want, +got:\n%s", diff)
	}

	e.wantStatus("after the run", obj, `generation 1 of 1, attempted "main@sha1:1", applied "main@sha1:1", origin "", handled ""`,
		"Ready@1 True ReconciliationSucceeded: Applied revision: main@sha1:1")
}

// TestContractDigestChanged holds that an artifact that is not what its source says is waited for.
func TestContractDigestChanged(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("something else"))
	}))
	t.Cleanup(server.Close)

	source := &sourcev1.GitRepository{}
	e.fetch(source, "repo")
	must(t, e.store.Discard(source.Status.Artifact))
	e.amend("repo", func(a *meta.Artifact) {
		a.Digest, a.URL, a.Size = "sha256:"+strings.Repeat("0", 64), server.URL+"/repo.tar.gz", nil
	})

	obj, after := e.once("app")
	e.wantStatus("of an artifact that was replaced", obj, `generation -1 of 1, attempted "", applied "", origin "", handled ""`,
		"Ready@1 False ArtifactFailed: Source is not ready, artifact digest changed, retrying in 30s")

	if after != 30*time.Second {
		t.Errorf("the next look is in %s", after)
	}
}

// TestContractEmptied holds that an artifact without objects takes out all that were applied.
func TestContractEmptied(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)
	e.ready("app")
	e.publish("repo", "main@sha1:2", map[string]string{"README.md": "nothing"})
	e.told()

	if obj := e.ready("app"); len(ids(obj)) != 0 || e.data("a") != nil {
		t.Errorf("the inventory is %v", ids(obj))
	}

	e.wantEvents("Normal Progressing Prune: ConfigMap/NS/a deleted",
		"Normal ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s")
}

// TestContractUnhealthy holds that what left the set is gone, and the inventory new, before health is known.
func TestContractUnhealthy(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait = true
		s.Timeout = &metav1.Duration{Duration: time.Minute}
	})
	e.ready("app")
	e.told()
	e.publish("repo", "main@sha1:2", map[string]string{"web.yaml": deployment("web", "a:1")})
	e.once("app")
	e.clock.advance(time.Minute)

	const failure = "health check failed after D: timeout waiting for: [Deployment/NS/web status: 'InProgress']"

	obj, _ := e.once("app")
	e.wantStatus("of what does not become healthy", obj, `generation 1 of 1, attempted "main@sha1:2", applied "main@sha1:1", origin "", handled ""`,
		"Reconciling@1 True ProgressingWithRetry: "+failure, "Ready@1 False HealthCheckFailed: "+failure, "Healthy@1 False HealthCheckFailed: "+failure)
	e.wantEvents("Normal Progressing Apply: Deployment/NS/web created", "Normal Progressing Prune: ConfigMap/NS/a deleted",
		"Warning HealthCheckFailed : "+failure)

	if diff := cmp.Diff([]string{"NS_web_apps_Deployment"}, ids(obj)); diff != "" || e.data("a") != nil {
		t.Errorf("inventory: -want, +got:\n%s", diff)
	}
}

// TestContractHealthNews holds when a check that was passed is told: if it was not passed before, or something changed.
func TestContractHealthNews(t *testing.T) {
	e := newEnv(t)

	const passed = "Normal Progressing HealthCheck: Health check passed in D"

	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })

	for _, step := range []struct{ reason, revision, value, want string }{
		{"The first time.", "1", "1", passed},
		{"A revision that changes something.", "2", "2", passed},
		{"One that changes nothing.", "3", "2", ""},
	} {
		e.publish("repo", "main@sha1:"+step.revision, map[string]string{"a.yaml": configMap("a", step.value)})
		e.told()
		e.ready("app")

		if got := strings.Contains(strings.Join(e.told(), "\n"), passed); got != (step.want != "") {
			t.Errorf("%s\nthe health check is told: %t", step.reason, got)
		}
	}
}

// TestContractDeleteFails holds that a Kustomization stays as long as its objects cannot be deleted, and says why.
func TestContractDeleteFails(t *testing.T) {
	e := newEnv(t, func(d *kustomize.Deps) { d.DefaultServiceAccount = "team" })
	e.undeleting("team")
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)
	e.ready("app")
	must(t, e.c.Delete(t.Context(), e.get("app")))
	e.told()

	const failure = `pruning for deleted resource failed: delete failed, errors: ConfigMap/NS/a delete failed: configmaps "a" is forbidden: ` +
		`User "system:serviceaccount:NS:team" cannot delete resource "configmaps" in API group "" in the namespace "NS";`

	obj, after := e.once("app")
	if obj == nil || after == 0 {
		t.Fatalf("the next attempt is in %s, the object %v", after, obj)
	}

	wantConditions(t, obj, map[string]string{"Ready": "False PruneFailed: " + failure, "Reconciling": "True ProgressingWithRetry: " + failure})

	if diff := cmp.Diff([]string{"NS_a__ConfigMap"}, ids(obj)); diff != "" || !engine.IsTrue(obj, meta.ReconcilingCondition) {
		t.Errorf("inventory: -want, +got:\n%s", diff)
	}

	if told := e.told(); len(told) != 1 || told[0] != "Warning PruneFailed : "+failure {
		t.Errorf("events: %q", told)
	}
}
