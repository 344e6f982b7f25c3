package kustomize_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// amend changes the artifact of the source.
func (e *env) amend(name string, change func(*meta.Artifact)) {
	e.t.Helper()

	source := &sourcev1.GitRepository{}
	e.fetch(source, name)
	before := source.DeepCopy()
	change(source.Status.Artifact)
	must(e.t, e.c.Status().Patch(e.t.Context(), source, client.MergeFrom(before)))
}

// TestContractEvents holds every event of a Kustomization with all that it says: type, severity, reason, action, message,
// metadata and the object it is about.
func TestContractEvents(t *testing.T) {
	const (
		revision = "\n  kustomize.toolkit.fluxcd.io/revision=main@sha1:1"
		about    = "\n  about GitRepository NS/repo"
		status   = "\n  kustomize.toolkit.fluxcd.io/commit_status=update"
		finished = "Normal info ReconciliationSucceeded Reconcile: Reconciliation finished in D, next run in 10m0s"
		created  = "Normal info Progressing Apply: ConfigMap/NS/a created"
	)

	one := map[string]string{"a.yaml": configMap("a", "1")}

	cases := map[string]struct {
		reason string
		deps   func(*kustomize.Deps)
		files  map[string]string
		spec   func(*kustomizev1.KustomizationSpec)
		before func(e *env)
		want   []string
	}{
		"Applied": {
			reason: "What changed is told while the object progresses, the end with what sets the status of the commit.",
			files:  one, want: []string{created + revision + about, finished + status + revision + about},
		},
		"Unchanged": {
			reason: "A run that changes nothing is no news.",
			files:  one, before: func(e *env) { e.ready("app"); e.told() },
		},
		"Asked": {
			reason: "Who asked gets an answer.",
			files:  one, before: func(e *env) {
				e.ready("app")
				e.edit("app", func(k *kustomizev1.Kustomization) {
					k.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
				})
				e.told()
			},
			want: []string{finished + status + revision + about},
		},
		"Origin": {
			reason: "An artifact may say what code it was made from, and the object what its events should carry.",
			files:  one, before: func(e *env) {
				e.amend("repo", func(a *meta.Artifact) {
					a.Metadata = map[string]string{"org.opencontainers.image.revision": "main@sha1:code", "other": "x"}
				})
				e.edit("app", func(k *kustomizev1.Kustomization) {
					k.Annotations = map[string]string{"event.toolkit.fluxcd.io/deploymentID": "e076e3", "unrelated": "x"}
				})
			},
			want: []string{
				created + "\n  event.toolkit.fluxcd.io/deploymentID=e076e3\n  kustomize.toolkit.fluxcd.io/originRevision=main@sha1:code" + revision + about,
				finished + "\n  event.toolkit.fluxcd.io/deploymentID=e076e3" + status +
					"\n  kustomize.toolkit.fluxcd.io/originRevision=main@sha1:code" + revision + about,
			},
		},
		"NoCommitStatus": {
			reason: "The gate DisableCommitStatusEvent leaves out what only sets the status of the commit.",
			deps:   func(d *kustomize.Deps) { d.NoCommitStatus = true },
			files:  one, want: []string{created + revision + about},
		},
		"Pruned": {
			reason: "What left the set is listed, and what may not be deleted.",
			files: map[string]string{
				"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1"),
				"c.yaml": strings.Replace(configMap("c", "1"), "metadata:\n", "metadata:\n  labels: {kustomize.toolkit.fluxcd.io/prune: Disabled}\n", 1),
			},
			before: func(e *env) {
				e.ready("app")
				e.told()
				e.publish("repo", "main@sha1:1", one)
			},
			want: []string{
				"Normal info Progressing Prune: ConfigMap/NS/c skipped\nConfigMap/NS/b deleted" + revision + about,
				finished + status + revision + about,
			},
		},
		"Healthy": {
			reason: "A check that was passed is told once.",
			files:  one, spec: func(s *kustomizev1.KustomizationSpec) { s.Wait = true },
			want: []string{
				created + revision + about, "Normal info Progressing HealthCheck: Health check passed in D" + revision + about,
				finished + status + revision + about,
			},
		},
		"Unhealthy": {
			reason: "A failure is an error with the reason of Ready.",
			files:  one,
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Timeout = &metav1.Duration{Duration: time.Minute}
				s.HealthChecks = []meta.NamespacedObjectKindReference{{Kind: "Deployment", Name: "web"}}
			},
			before: func(e *env) {
				e.once("app")
				e.told()
				e.clock.advance(time.Minute)
			},
			want: []string{
				"Warning error HealthCheckFailed Reconcile: health check failed after D: timeout waiting for: [Deployment/NS/web status: 'NotFound']" +
					revision + about,
			},
		},
		"Unbuildable": {
			reason: "A build that fails is an error.",
			files:  map[string]string{"a.yaml": "no: object\n"},
			want: []string{
				"Warning error BuildFailed Reconcile: failed to decode Kubernetes YAML from a.yaml: an object has no kind" + revision + about,
			},
		},
		"NoSource": {
			reason: "A source that is not there is told, with nothing to tell of it.",
			files:  one, spec: func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Name = "none" },
			want: []string{"Normal info ArtifactFailed ResolveSource: Source 'GitRepository/NS/none' not found"},
		},
		"NotYet": {
			reason: "So is a dependency that is not ready.",
			files:  one, spec: func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{{Name: "none"}} },
			want: []string{
				"Normal info DependencyNotReady CheckDependencies: Dependencies do not meet ready condition, retrying in 30s" + revision + about,
			},
		},
		"Denied": {
			reason: "A reference that is forbidden is an error.",
			deps:   func(d *kustomize.Deps) { d.NoCrossNamespaceRefs = true },
			files:  one, spec: func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Namespace = "default" },
			want: []string{
				"Warning error AccessDenied Reconcile: can't access 'GitRepository/default/repo', cross-namespace references have been blocked",
			},
		},
		"Suspended": {
			reason: "A suspended object says nothing, whatever happens to its source.",
			files:  one, spec: func(s *kustomizev1.KustomizationSpec) { s.Suspend = true },
		},
		"Finalized": {
			reason: "A deletion lists what went.",
			files:  one, before: func(e *env) {
				e.ready("app")
				e.told()
				must(e.t, e.c.Delete(e.t.Context(), e.get("app")))
			},
			want: []string{"Normal info ReconciliationSucceeded Finalize: ConfigMap/NS/a deleted" + revision},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) {
				if tc.deps != nil {
					tc.deps(d)
				}
			})
			e.publish("repo", "main@sha1:1", tc.files)
			e.kustomization("app", tc.spec)

			if tc.before != nil {
				tc.before(e)
			}

			e.once("app")
			t.Log(tc.reason)
			e.wantNotices(tc.want...)
		})
	}
}
