package kustomize_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// status writes down what clients read of a status, in the order of the conditions. Revisions are without their hash.
func status(obj *kustomizev1.Kustomization) []string {
	lines := []string{fmt.Sprintf("generation %d of %d, attempted %q, applied %q, origin %q, handled %q",
		obj.Status.ObservedGeneration, obj.Generation, obj.Status.LastAttemptedRevision, obj.Status.LastAppliedRevision,
		obj.Status.LastAppliedOriginRevision, obj.Status.LastHandledReconcileAt)}

	for _, c := range obj.Status.Conditions {
		lines = append(lines, fmt.Sprintf("%s@%d %s", c.Type, c.ObservedGeneration, says(obj, c.Type)))
	}

	return lines
}

func (e *env) wantStatus(what string, obj *kustomizev1.Kustomization, want ...string) {
	e.t.Helper()

	if diff := cmp.Diff(want, status(obj)); diff != "" {
		e.t.Errorf("status %s: -want, +got:\n%s", what, diff)
	}
}

// TestContractLife holds the whole status through the life of a Kustomization: what moves, what stays, and in what order the
// conditions are.
func TestContractLife(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"app.yaml": deployment("web", "a:1")})
	e.amend("repo", func(a *meta.Artifact) {
		a.Metadata = map[string]string{"org.opencontainers.image.revision": "v1@sha1:code"}
	})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait = true
		s.Timeout = &metav1.Duration{Duration: time.Minute}
		s.RetryInterval = &metav1.Duration{Duration: 2 * time.Minute}
	})

	e.wantStatus("of what nobody looked at", e.get("app"), `generation -1 of 1, attempted "", applied "", origin "", handled ""`)

	const (
		waiting = "Running health checks for revision main@sha1:1 with a timeout of 1m0s"
		done    = `generation 1 of 1, attempted "main@sha1:1", applied "main@sha1:1", origin "v1@sha1:code", handled ""`
	)

	obj, _ := e.once("app")
	e.wantStatus("while health is awaited", obj,
		`generation -1 of 1, attempted "main@sha1:1", applied "", origin "", handled ""`,
		"Reconciling@1 True Progressing: "+waiting,
		"Ready@1 Unknown Progressing: Reconciliation in progress",
		"Healthy@1 Unknown Progressing: "+waiting,
	)

	e.rollOut("web", nil)
	obj = e.ready("app")
	e.wantStatus("of success", obj, done,
		"Ready@1 True ReconciliationSucceeded: Applied revision: main@sha1:1", "Healthy@1 True Succeeded: Health check passed in D")

	before := obj.Status.Conditions[0].LastTransitionTime

	e.phase("Steady", func(t *testing.T) {
		e.clock.advance(time.Hour)

		obj, after := e.once("app")
		if at := obj.Status.Conditions[0].LastTransitionTime; !at.Equal(&before) || after < 9*time.Minute {
			t.Errorf("nothing happened, and Ready changed at %s, not %s; next run in %s", at, before, after)
		}
	})

	e.phase("Message", func(t *testing.T) {
		e.publish("repo", "main@sha1:2", map[string]string{"app.yaml": deployment("web", "a:1")})

		obj := e.ready("app")
		if at := obj.Status.Conditions[0].LastTransitionTime; !before.Before(&at) {
			t.Errorf("the message changed, and the time of Ready is still %s", at)
		}

		e.wantStatus("of a new revision of the same", obj,
			`generation 1 of 1, attempted "main@sha1:2", applied "main@sha1:2", origin "", handled ""`,
			"Ready@1 True ReconciliationSucceeded: Applied revision: main@sha1:2", "Healthy@1 True Succeeded: Health check passed in D")
	})

	e.phase("NoPath", func(t *testing.T) {
		e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Path = "none" })
		e.publish("repo", "main@sha1:3", map[string]string{"app.yaml": deployment("web", "a:1")})

		obj, after := e.once("app")

		const failure = "kustomization path not found: stat none: no such file or directory"

		e.wantStatus("of a path that is not there", obj,
			`generation 1 of 2, attempted "main@sha1:2", applied "main@sha1:2", origin "", handled ""`,
			"Reconciling@2 True ProgressingWithRetry: "+failure, "Ready@2 False ArtifactFailed: "+failure,
			"Healthy@1 True Succeeded: Health check passed in D")

		for range 3 {
			if _, again := e.once("app"); after != 2*time.Minute || again != after {
				t.Errorf("the next attempts are in %s and %s: there is no back-off", after, again)
			}
		}
	})

	e.phase("Unbuildable", func(*testing.T) {
		e.edit("app", func(k *kustomizev1.Kustomization) {
			k.Spec.Path = ""
			k.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "first"}
		})
		e.publish("repo", "main@sha1:4", map[string]string{"app.yaml": "no: object\n"})

		const failure = "failed to decode Kubernetes YAML from app.yaml: an object has no kind"

		obj, _ := e.once("app")
		e.wantStatus("of a build that fails, asked for", obj,
			`generation 1 of 3, attempted "main@sha1:4", applied "main@sha1:2", origin "", handled "first"`,
			"Reconciling@3 True ProgressingWithRetry: "+failure, "Ready@3 False BuildFailed: "+failure,
			"Healthy@1 True Succeeded: Health check passed in D")
	})

	e.phase("Terminal", func(t *testing.T) {
		e.edit("app", func(k *kustomizev1.Kustomization) {
			k.Spec.HealthCheckExprs = []meta.CustomHealthCheck{
				{APIVersion: "v1", Kind: "A", HealthCheckExpressions: meta.HealthCheckExpressions{Current: "true"}},
				{APIVersion: "v2", Kind: "A", HealthCheckExpressions: meta.HealthCheckExpressions{Current: "true"}},
			}
		})

		const failure = "InvalidCELExpression: Reconciliation failed terminally due to configuration error: " +
			`duplicate health check for A of group ""`

		obj, after := e.once("app")
		e.wantStatus("of what cannot be right", obj,
			`generation 4 of 4, attempted "main@sha1:4", applied "main@sha1:2", origin "", handled "first"`,
			"Stalled@4 True "+failure, "Ready@4 False "+failure, "Healthy@1 True Succeeded: Health check passed in D")

		if after != 0 {
			t.Errorf("next run in %s", after)
		}
	})

	e.phase("Suspended", func(t *testing.T) {
		was := status(e.get("app"))[1:]

		e.edit("app", func(k *kustomizev1.Kustomization) {
			k.Spec.Suspend = true
			k.Annotations[meta.ReconcileRequestAnnotation] = "second"
		})
		e.told()

		obj, after := e.once("app")
		if obj.Status.LastHandledReconcileAt != "second" || after != 0 {
			t.Errorf("handled %q, next run in %s", obj.Status.LastHandledReconcileAt, after)
		}

		if diff := cmp.Diff(was, status(obj)[1:]); diff != "" {
			t.Errorf("conditions of a suspended object: -before, +after:\n%s", diff)
		}

		e.wantEvents()
	})

	e.phase("Resumed", func(*testing.T) {
		e.publish("repo", "main@sha1:5", map[string]string{"app.yaml": deployment("web", "a:1")})
		e.edit("app", func(k *kustomizev1.Kustomization) {
			k.Spec.Suspend, k.Spec.HealthCheckExprs, k.Spec.Wait = false, nil, false
		})

		e.wantStatus("of one that goes on, without checks", e.ready("app"),
			fmt.Sprintf(`generation %d of %[1]d, attempted "main@sha1:5", applied "main@sha1:5", origin "", handled "second"`, e.get("app").Generation),
			fmt.Sprintf("Ready@%d True ReconciliationSucceeded: Applied revision: main@sha1:5", e.get("app").Generation))
	})
}

// TestContractBlocked holds that what keeps a run from beginning adds no Reconciling, and leaves one that is there.
func TestContractBlocked(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})

	base := func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{{Name: "base"}} }
	e.kustomization("app", base)

	const missing = `False DependencyNotReady: dependency 'NS/base' not found: kustomizations.kustomize.toolkit.fluxcd.io "base" not found`

	obj, after := e.once("app")
	e.wantStatus("of one that waits", obj, `generation -1 of 1, attempted "", applied "", origin "", handled ""`, "Ready@1 "+missing)

	if after != 30*time.Second {
		t.Errorf("the next look is in %s", after)
	}

	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": "no: object\n"})
	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.DependsOn = nil })
	e.once("app")
	e.edit("app", func(k *kustomizev1.Kustomization) { base(&k.Spec) })

	obj, _ = e.once("app")
	e.wantStatus("of one that failed and waits", obj, `generation -1 of 3, attempted "main@sha1:2", applied "", origin "", handled ""`,
		"Reconciling@2 True ProgressingWithRetry: failed to decode Kubernetes YAML from a.yaml: an object has no kind", "Ready@3 "+missing)
}

// undeleting makes a service account that may do everything with ConfigMaps but delete them.
func (e *env) undeleting(name string) {
	e.t.Helper()

	at := metav1.ObjectMeta{Namespace: e.namespace, Name: name}
	e.create(&corev1.ServiceAccount{ObjectMeta: at})
	e.create(&rbacv1.Role{ObjectMeta: at, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch", "create", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}},
	}})
	e.create(&rbacv1.RoleBinding{
		ObjectMeta: at, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: e.namespace}},
	})
}

// TestContractHistory holds what the history counts, keeps and drops.
func TestContractHistory(t *testing.T) {
	e := newEnv(t)
	e.undeleting("team")
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.ServiceAccountName = "team"
		s.Timeout = &metav1.Duration{Duration: time.Minute}
	})

	digests := map[string]string{} // to the first revision with it

	history := func(obj *kustomizev1.Kustomization) []string {
		var lines []string

		for _, h := range obj.Status.History {
			revision := strings.TrimPrefix(h.Metadata["revision"], "main@sha1:")
			if _, ok := digests[h.Digest]; !ok {
				digests[h.Digest] = revision
			}

			if !strings.HasPrefix(h.Digest, "sha256:") || len(h.Digest) != len("sha256:")+64 || h.LastReconciled.Before(&h.FirstReconciled) {
				t.Errorf("entry %+v", h)
			}

			lines = append(lines, fmt.Sprintf("%s as %s: %s x%d", digests[h.Digest], revision, h.LastReconciledStatus, h.TotalReconciliations))
		}

		return lines
	}

	steps := []struct {
		reason   string
		revision string
		value    string // of the object; none builds another one
		act      func()
		want     []string
	}{
		{"The first one.", "1", "1", nil, []string{"1 as 1: ReconciliationSucceeded x1"}},
		{"Another one comes first.", "2", "2", nil, []string{"2 as 2: ReconciliationSucceeded x1", "1 as 1: ReconciliationSucceeded x1"}},
		{"The same content is counted, with its latest revision.", "3", "2", nil,
			[]string{"2 as 3: ReconciliationSucceeded x2", "1 as 1: ReconciliationSucceeded x1"}},
		{"What runs again moves to the front.", "4", "1", nil,
			[]string{"1 as 4: ReconciliationSucceeded x2", "2 as 3: ReconciliationSucceeded x2"}},
		{"A build that fails is not recorded.", "5", "\n", nil,
			[]string{"1 as 4: ReconciliationSucceeded x2", "2 as 3: ReconciliationSucceeded x2"}},
		{"A prune that fails is.", "6", "", nil, []string{
			"6 as 6: PruneFailed x1", "1 as 4: ReconciliationSucceeded x2", "2 as 3: ReconciliationSucceeded x2",
		}},
		{"And the same digest with another end is another entry.", "6", "", func() {
			e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Prune = false })
		}, []string{
			"6 as 6: ReconciliationSucceeded x1", "6 as 6: PruneFailed x1", "1 as 4: ReconciliationSucceeded x2", "2 as 3: ReconciliationSucceeded x2",
		}},
		{"So is a health check that fails.", "6", "", func() {
			e.edit("app", func(k *kustomizev1.Kustomization) {
				k.Spec.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: "v1", Kind: "Secret", Name: "s"}}
			})
		}, []string{
			"6 as 6: HealthCheckFailed x1", "6 as 6: ReconciliationSucceeded x1", "6 as 6: PruneFailed x1",
			"1 as 4: ReconciliationSucceeded x2", "2 as 3: ReconciliationSucceeded x2",
		}},
		{"There are five.", "7", "7", func() {
			e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.HealthChecks = nil })
		}, []string{
			"7 as 7: ReconciliationSucceeded x1", "6 as 6: HealthCheckFailed x1", "6 as 6: ReconciliationSucceeded x1",
			"6 as 6: PruneFailed x1", "1 as 4: ReconciliationSucceeded x2",
		}},
	}

	for _, s := range steps {
		files := map[string]string{"a.yaml": configMap("a", s.value)}

		switch s.value {
		case "":
			files = map[string]string{"b.yaml": configMap("b", "1")}
		case "\n":
			files = map[string]string{"a.yaml": "no: object\n"}
		}

		e.publish("repo", "main@sha1:"+s.revision, files)

		if s.act != nil {
			s.act()
		}

		obj, _ := e.once("app")
		if engine.IsTrue(obj, meta.ReconcilingCondition) && strings.Contains(says(obj, meta.ReadyCondition), "Unknown") {
			e.clock.advance(time.Minute)
			obj, _ = e.once("app")
		}

		if diff := cmp.Diff(s.want, history(obj)); diff != "" {
			t.Errorf("%s\nhistory, Ready %s: -want, +got:\n%s", s.reason, says(obj, meta.ReadyCondition), diff)
		}
	}
}

// TestContractPruneFails holds that what could not be deleted is told, and stays in the inventory.
func TestContractPruneFails(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	e.kustomization("app", nil)
	e.ready("app")
	e.undeleting("team")
	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.ServiceAccountName = "team" })
	e.ready("app")
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2")})
	e.told()

	const failure = `delete failed, errors: ConfigMap/NS/b delete failed: configmaps "b" is forbidden: ` +
		`User "system:serviceaccount:NS:team" cannot delete resource "configmaps" in API group "" in the namespace "NS";`

	obj, after := e.once("app")
	e.wantStatus("after a prune that failed", obj,
		`generation 2 of 2, attempted "main@sha1:2", applied "main@sha1:1", origin "", handled ""`,
		"Reconciling@2 True ProgressingWithRetry: "+failure, "Ready@2 False PruneFailed: "+failure)
	e.wantEvents("Normal Progressing Apply: ConfigMap/NS/a configured", "Warning PruneFailed : "+failure)

	if diff := cmp.Diff([]string{"NS_a__ConfigMap", "NS_b__ConfigMap"}, ids(obj)); diff != "" || after != 10*time.Minute {
		t.Errorf("next run in %s; inventory: -want, +got:\n%s", after, diff)
	}
}
