package helm_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestDependsOn waits for what has to be ready first.
func TestDependsOn(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		ready  bool // the dependency
		gone   bool
		expr   string
		want   string
	}{
		"Missing":  {reason: "it is not there", gone: true, want: `False DependencyNotReady: unable to get 'NS/first' dependency: `},
		"NotReady": {reason: "it is not ready", want: "False DependencyNotReady: dependency 'NS/first' is not ready"},
		"Ready":    {reason: "it is ready", ready: true, want: "True InstallSucceeded: "},
		"ExprNot": {
			reason: "the expression says no", ready: true, expr: "has(dep.spec.suspend)",
			want: "False DependencyNotReady: dependency 'NS/first' is not ready according to readyExpr eval",
		},
		"Expr": {reason: "the expression alone says so", expr: "dep.metadata.name == self.spec.dependsOn[0].name", want: "True InstallSucceeded: "},
		"ExprInvalid": {
			reason: "it will never say so", expr: "dep.", want: "False InvalidCELExpression: Reconciliation failed terminally due to configuration error: ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newEnv(t)
			e.publish("1.0.0", map[string]string{"config": config})
			e.declare(func(spec *v2.HelmReleaseSpec) {
				spec.DependsOn = []meta.DependencyReference{{Name: "first", ReadyExpr: tc.expr}}
			})

			if !tc.gone {
				first := &v2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "first"}}
				first.Spec = e.get().Spec
				first.Spec.DependsOn = nil
				e.create(first)

				if tc.ready {
					before := first.DeepCopy()
					first.Status.ObservedGeneration = first.Generation
					engine.Set(first, meta.ReadyCondition, metav1.ConditionTrue, "Succeeded", "ready")
					first.Status.Conditions[0].LastTransitionTime = metav1.Now()
					must(t, e.c.Status().Patch(t.Context(), first, client.MergeFrom(before)))
				}
			}

			c := engine.Condition(e.once(), meta.ReadyCondition)
			if got := strings.ReplaceAll(string(c.Status)+" "+c.Reason+": "+c.Message, e.namespace, "NS"); !strings.HasPrefix(got, tc.want) {
				t.Errorf("%s: %s", tc.reason, got)
			}
		})
	}
}

// TestRendered has values of an object, post-renderers and common metadata, in objects and hooks.
func TestRendered(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{
		"config": config, "hook": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hook, annotations: {helm.sh/hook: pre-install}}\ndata: {key: run}\n",
	})
	e.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "values"}, Data: map[string]string{"text": "of an object"},
	})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.ValuesFrom = []meta.ValuesReference{{Kind: "ConfigMap", Name: "values", ValuesKey: "text", TargetPath: "key"}}
		spec.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"team": "a"}}
		spec.PostRenderers = []v2.PostRenderer{{Kustomize: &v2.Kustomize{Patches: []meta.Patch{{
			Patch: "- {op: add, path: /data/patched, value: 'yes'}", Target: &meta.Selector{Kind: "ConfigMap"},
		}}}}}
	})

	e.wantReady(e.once(), "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")
	same(t, "values", "of an object 1.0.0+abababababab", e.data("config"))

	for _, name := range []string{"config", "hook"} {
		obj := &corev1.ConfigMap{}
		must(t, e.c.Get(t.Context(), types.NamespacedName{Namespace: e.namespace, Name: name}, obj))
		same(t, name+": patched", "yes", obj.Data["patched"])
		same(t, name+": team", "a", obj.Labels["team"])
		same(t, name+": origin", "app/"+e.namespace, obj.Labels[v2.OwnerNameLabel]+"/"+obj.Labels[v2.OwnerNamespaceLabel])
	}

	before := e.get().ResourceVersion
	same(t, "in sync", before, e.once().ResourceVersion)

	e.edit(func(obj *v2.HelmRelease) { obj.Spec.CommonMetadata.Labels["team"] = "b" })
	e.wantReady(e.once(), "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v2 with chart app@1.0.0+abababababab")
}

// TestRemoved deletes HelmReleases of which not all is as it should be.
func TestRemoved(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		before func(e *env)
		data   string
		stored map[int]release.Status
	}{
		"History": {
			reason: "the history stays", data: "absent", stored: map[int]release.Status{1: release.StatusUninstalled},
			before: func(e *env) {
				e.edit(func(obj *v2.HelmRelease) { obj.Spec.Uninstall = &v2.Uninstall{KeepHistory: true} })
			},
		},
		"Gone": {
			reason: "somebody has uninstalled it", data: "none 1.0.0+abababababab", stored: map[int]release.Status{},
			before: func(e *env) {
				_, err := e.helm().Delete("app", 1)
				must(e.t, err)
			},
		},
		"Killed": {
			reason: "nobody has written down that it is there", data: "absent", stored: map[int]release.Status{},
			before: func(e *env) {
				e.kill(v2.HelmReleaseStatus{StorageNamespace: e.namespace}, release.StatusPendingInstall)
			},
		},
		"Account": {
			reason: "nobody may uninstall it", data: "none 1.0.0+abababababab", stored: map[int]release.Status{1: release.StatusDeployed},
			before: func(e *env) {
				must(e.t, e.c.Delete(e.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "tenant"}}))
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newEnv(t)
			e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "tenant"}})
			e.create(&rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "tenant"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: e.namespace, Name: "tenant"}},
			})
			e.publish("1.0.0", map[string]string{"config": config})
			e.declare(func(spec *v2.HelmReleaseSpec) { spec.ServiceAccountName = "tenant" })
			e.wantReady(e.once(), "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")

			tc.before(e)
			must(t, e.c.Delete(t.Context(), e.get()))

			if obj := e.once(); obj != nil {
				t.Errorf("%s: the HelmRelease is still there: %v", tc.reason, obj.Status.Conditions)
			}

			same(t, tc.reason, tc.data, e.data("config"))
			same(t, tc.reason, tc.stored, e.releases())
		})
	}
}
