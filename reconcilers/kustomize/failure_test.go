package kustomize_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

func TestForce(t *testing.T) {
	e := newEnv(t)
	selector := func(app string) map[string]string {
		return map[string]string{"app.yaml": strings.ReplaceAll(deployment("web", "a:1"), "app: web", "app: "+app)}
	}
	e.publish("repo", "main@sha1:1", selector("one"))
	e.kustomization("app", nil)
	e.ready("app")

	before := &appsv1.Deployment{}
	e.fetch(before, "web")
	e.publish("repo", "main@sha1:2", selector("two"))

	obj, _ := e.once("app")
	if got := says(obj, meta.ReadyCondition); !strings.HasPrefix(got, "False ReconciliationFailed: Deployment/NS/web ") || !strings.Contains(got, "field is immutable") {
		t.Errorf("Ready is %q", got)
	}

	if obj.Status.LastAppliedRevision != "main@sha1:1" || obj.Status.History[0].LastReconciledStatus != "ReconciliationFailed" {
		t.Errorf("status is %+v", obj.Status)
	}

	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Force = true })
	e.ready("app")

	after := &appsv1.Deployment{}
	e.fetch(after, "web")

	if after.UID == before.UID || after.Spec.Selector.MatchLabels["app"] != "two" {
		t.Errorf("the Deployment was not made anew: %v", after.Spec.Selector)
	}
}

// TestServiceAccount holds that a tenant gets no further than its rights, and that a set is applied whole or not at all.
func TestServiceAccount(t *testing.T) {
	e := newEnv(t)
	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "team"}})
	e.create(&rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "team"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}}},
	})
	e.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "team"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "team"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "team", Namespace: e.namespace}},
	})

	allowed := map[string]string{"a.yaml": configMap("a", "1")}
	beyond := map[string]string{"a.yaml": configMap("a", "2"), "b.yaml": configMap("b", "1"), "web.yaml": deployment("web", "a:1")}

	e.publish("repo", "main@sha1:1", beyond)
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "team" })

	obj, _ := e.once("app")
	got := says(obj, meta.ReadyCondition)

	for _, part := range []string{
		"False ReconciliationFailed: Deployment/NS/web dry-run failed (Forbidden): ", "system:serviceaccount:NS:team", "cannot patch resource",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("Ready is %q, want %q in it", got, part)
		}
	}

	if e.data("a") != nil || e.data("b") != nil || len(ids(obj)) != 0 {
		t.Errorf("a part of the set was applied: %v", ids(obj))
	}

	e.publish("repo", "main@sha1:2", allowed)
	e.ready("app")

	e.phase("HealthCheck", func(t *testing.T) {
		e.edit("app", func(k *kustomizev1.Kustomization) {
			k.Spec.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: "v1", Kind: "Secret", Name: "x", Namespace: "kube-system"}}
		})

		obj, _ := e.once("app")
		if got := says(obj, meta.ReadyCondition); !strings.Contains(got, "can't determine status for Secret/kube-system/x: ") || !strings.Contains(got, "forbidden") {
			t.Errorf("Ready is %q", got)
		}

		if again, _ := e.once("app"); says(again, meta.ReadyCondition) != says(obj, meta.ReadyCondition) {
			t.Errorf("the next attempt leaves the check out: Ready is %q", says(again, meta.ReadyCondition))
		}

		e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.HealthChecks = nil })
		e.ready("app")
	})

	e.phase("Gone", func(t *testing.T) {
		must(t, e.c.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "team"}}))
		must(t, e.c.Delete(t.Context(), e.get("app")))
		e.told()

		if obj, _ := e.once("app"); obj != nil {
			t.Errorf("the object stays: %v", obj.Finalizers)
		}

		told := strings.Join(e.told(), "\n")
		if !strings.HasPrefix(told, "Warning ReconciliationSucceeded Finalize: unable to prune objects: \n") || !strings.Contains(told, `"team" not found`) {
			t.Errorf("events: %q", told)
		}

		if e.data("a") == nil {
			t.Error("the object was deleted with other rights")
		}
	})
}

func TestDefaultServiceAccount(t *testing.T) {
	e := newEnv(t, func(d *kustomize.Deps) { d.DefaultServiceAccount = "nobody" })
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)

	obj, _ := e.once("app")
	if got := says(obj, meta.ReadyCondition); !strings.Contains(got, `User "system:serviceaccount:NS:nobody" cannot`) {
		t.Errorf("Ready is %q", got)
	}
}

// TestPartialApply holds that nothing is forgotten that was applied before an error, or by a process that was killed.
func TestPartialApply(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "old.yaml": configMap("old", "1")})
	e.kustomization("app", nil)
	e.ready("app")

	// An object in a namespace of the same set is only tried after the namespace is there.
	broken := strings.ReplaceAll(deployment("web", "a:1"), "namespace: NS", "namespace: NS-x")
	broken = strings.ReplaceAll(broken, "matchLabels: {app: web}", "matchLabels: {app: other}")
	e.publish("repo", "main@sha1:2", map[string]string{
		"a.yaml": configMap("a", "2"), "ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: NS-x}\n", "web.yaml": broken,
	})

	obj, _ := e.once("app")
	got := says(obj, meta.ReadyCondition)

	if !strings.Contains(got, "Deployment/NS-x/web ") || !strings.Contains(got, "\nNamespace/NS-x created") {
		t.Errorf("Ready is %q", got)
	}

	for _, id := range []string{"NS_a__ConfigMap", "NS_old__ConfigMap", "_NS-x__Namespace"} {
		if !strings.Contains(strings.Join(ids(obj), " "), id) {
			t.Errorf("the inventory lacks %s: %v", id, ids(obj))
		}
	}

	e.publish("repo", "main@sha1:3", map[string]string{"a.yaml": configMap("a", "3")})
	obj = e.ready("app")

	if diff := cmp.Diff([]string{"NS_a__ConfigMap"}, ids(obj)); diff != "" {
		t.Errorf("inventory: -want, +got:\n%s", diff)
	}

	if e.data("old") != nil {
		t.Error("an object that left the set is still there")
	}
}

func TestBuildFails(t *testing.T) {
	e := newEnv(t)
	good := map[string]string{"app/a.yaml": configMap("a", "1")}
	e.publish("repo", "main@sha1:1", good)
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Path = "./missing" })

	obj, after := e.once("app")
	if got := says(obj, meta.ReadyCondition); got != "False ArtifactFailed: kustomization path not found: stat ./missing: no such file or directory" {
		t.Errorf("Ready is %q", got)
	}

	if obj.Status.LastAttemptedRevision != "" || after != 10*time.Minute {
		t.Errorf("attempted %q, next run in %s", obj.Status.LastAttemptedRevision, after)
	}

	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Path = "./app" })
	e.ready("app")
	e.told()

	e.publish("repo", "main@sha1:2", map[string]string{"app/a.yaml": configMap("a", "1"), "app/values.yaml": "replicas: 1\n"})

	obj, _ = e.once("app")
	if got := says(obj, meta.ReadyCondition); got != "False BuildFailed: failed to decode Kubernetes YAML from app/values.yaml: an object has no kind" {
		t.Errorf("Ready is %q", got)
	}

	if obj.Status.LastAttemptedRevision != "main@sha1:2" || obj.Status.LastAppliedRevision != "main@sha1:1" || len(obj.Status.History) != 1 {
		t.Errorf("status is %+v", obj.Status)
	}

	if e.data("a") == nil {
		t.Error("a build that fails takes out what is there")
	}

	e.wantEvents("Warning BuildFailed : failed to decode Kubernetes YAML from app/values.yaml: an object has no kind")
	e.publish("repo", "main@sha1:3", good)
	e.ready("app")
}

// TestArtifactGone holds that an artifact that cannot be had is looked for again soon, whatever the retry interval.
func TestArtifactGone(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		serve  func(e *env) string
		want   string
	}{
		"NotFound": {
			"the source has lost its storage", (*env).serveNothing,
			"Source is not ready, artifact not found, retrying in 30s",
		},
		"Unreachable": {
			"the source restarts", func(*env) string { return "http://127.0.0.1:1" },
			`Source is not ready, fetch artifact "http://127.0.0.1:1/repo.tar.gz": dial tcp 127.0.0.1:1: connect: connection refused, retrying in 30s`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
			e.kustomization("app", nil)

			source := &sourcev1.GitRepository{}
			e.fetch(source, "repo")
			must(t, e.store.Discard(source.Status.Artifact))

			before := source.DeepCopy()
			source.Status.Artifact.Digest = "sha256:" + strings.Repeat("0", 64)
			source.Status.Artifact.URL = tc.serve(e) + "/repo.tar.gz"
			must(t, e.c.Status().Patch(t.Context(), source, client.MergeFrom(before)))

			obj, after := e.once("app")
			wantConditions(t, obj, map[string]string{"Ready": "False ArtifactFailed: " + tc.want})

			if after != 30*time.Second {
				t.Errorf("%s: the next look is in %s", tc.reason, after)
			}

			e.wantEvents("Normal ArtifactFailed ResolveSource: " + tc.want)
		})
	}
}

// TestSubstitute holds that variables reach the objects, and secret ones no message.
func TestSubstitute(t *testing.T) {
	e := newEnv(t)
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "vars"}, Data: map[string]string{"A": "one"}})
	e.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "secret"}, StringData: map[string]string{"B": "hunter2"}})
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "${A}-${C}")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{
			Substitute: map[string]string{"C": "three"},
			SubstituteFrom: []kustomizev1.SubstituteReference{
				{Kind: "ConfigMap", Name: "vars"}, {Kind: "Secret", Name: "secret"}, {Kind: "Secret", Name: "none", Optional: true},
			},
		}
	})
	e.ready("app")

	if got := e.data("a")["key"]; got != "one-three" {
		t.Errorf("the object has %q", got)
	}

	e.phase("Changed", func(t *testing.T) {
		vars := &corev1.ConfigMap{}
		e.fetch(vars, "vars")
		vars.Data["A"] = "uno"
		must(t, e.c.Update(t.Context(), vars))
		e.costs()
		e.once("app")
		e.wantCosts("a change of a variable", map[string]int{"apply": 1, "engine patch": 1})

		if got := e.data("a")["key"]; got != "uno-three" {
			t.Errorf("the object has %q", got)
		}

		if h := e.get("app").Status.History; len(h) != 2 || h[0].Digest == h[1].Digest {
			t.Errorf("the history is %+v", h)
		}
	})

	e.phase("Secret", func(t *testing.T) {
		e.publish("repo", "main@sha1:2", map[string]string{
			"a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: NS}\nspec: {clusterIP: \"${B}\", ports: [{port: 80}]}\n",
		})

		obj, _ := e.once("app")
		got := says(obj, meta.ReadyCondition)

		if !strings.Contains(got, "Service/NS/a dry-run failed (Invalid)") || strings.Contains(got, "hunter2") || !strings.Contains(got, "*****") {
			t.Errorf("Ready is %q", got)
		}

		if told := strings.Join(e.told(), "\n"); strings.Contains(told, "hunter2") {
			t.Errorf("events have a secret: %s", told)
		}
	})
}

// TestSelf holds that a Kustomization which applies itself does not wait for itself.
func TestSelf(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{"app.yaml": `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app, namespace: NS}
spec:
  interval: 10m0s
  prune: true
  wait: true
  path: ./
  sourceRef: {kind: GitRepository, name: repo}
`})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	e.ready("app")
	e.costs()
	e.once("app")
	e.wantCosts("a Kustomization that applied itself", nil)
}
