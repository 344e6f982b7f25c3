package kustomize_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// tenant is a Kustomization of a tenant, and the wire between it and the cluster that it applies to.
type tenant struct {
	*env
	proxy  *proxy
	remote bool
	c      client.Client // of the cluster that is applied to, as the administrator
}

// tenantFiles are what the tenant applies, but for those that change.
func tenantFiles(more ...string) map[string]string {
	files := map[string]string{
		"a.yaml": configMap("a", "${value}-${secret}"), "app.yaml": deployment("web", "a:1"),
		"fixed.yaml": configMap("fixed", "1") + "immutable: true\n",
	}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}

	return files
}

const tenantKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.NS.example.com}
spec:
  group: NS.example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
apiVersion: NS.example.com/v1
kind: Gadget
metadata: {name: g, namespace: NS}
`

func newTenant(t *testing.T, away, byDefault bool) *tenant {
	t.Helper()

	e := newEnv(t, func(d *kustomize.Deps) {
		if byDefault {
			d.DefaultServiceAccount = "team"
		}
	})
	x := &tenant{env: e, remote: away, c: e.c}
	config := e.config

	if away {
		a := newAway(e)
		config, x.c = a.config, a.c
	}

	x.proxy = newProxy(e, config)

	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "team"}})
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "vars"}, Data: map[string]string{"value": "1"}})
	e.secret("vars", "secret", []byte("hush"))
	allow(t, x.c, e.namespace, "team")
	allowKinds(t, x.c, e.namespace, "team")
	must(t, x.c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "theirs"}}))

	as := rest.CopyConfig(config)
	as.Impersonate.UserName = "system:serviceaccount:" + e.namespace + ":team"
	tenant, err := client.New(as, client.Options{Scheme: e.c.Scheme()})
	must(t, err)
	e.eventually("the rights are in force", func() error { return tenant.List(t.Context(), &corev1.ConfigMapList{}) })

	if away {
		e.secret("away", "value", kubeconfig(t, x.proxy.config()))
	} else {
		e.front = x.proxy.config()
		through, err := client.New(rest.CopyConfig(e.front), client.Options{Scheme: e.c.Scheme(), Mapper: e.c.RESTMapper()})
		must(t, err)

		e.deps.Configs = configs{through}
		e.restart()
	}

	e.publish("repo", "main@sha1:1", tenantFiles("b.yaml", configMap("b", "1")))
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		if !byDefault {
			s.ServiceAccountName = "team"
		}

		s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{
			{Kind: "ConfigMap", Name: "vars"}, {Kind: "Secret", Name: "vars"},
		}}
		s.HealthChecks = []meta.NamespacedObjectKindReference{
			{APIVersion: "v1", Kind: "ConfigMap", Name: "a", Namespace: e.namespace},
			{APIVersion: "v1", Kind: "ConfigMap", Name: "theirs", Namespace: e.namespace},
		}

		if away {
			s.KubeConfig = secretRef("away", "")
		}
	})
	e.ready("app")

	return x
}

// allowKinds lets a service account do everything with definitions, and with the objects of the group of a namespace, and watch
// what it applies.
func allowKinds(t *testing.T, c client.Client, namespace, account string) {
	t.Helper()
	must(t, c.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: namespace}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"apiextensions.k8s.io", namespace + ".example.com"}, Resources: []string{"*"}, Verbs: []string{"*"}},
		{APIGroups: []string{"", "apps"}, Resources: []string{"configmaps", "deployments"}, Verbs: []string{"list", "watch"}},
	}}))
	must(t, c.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: namespace},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	}))
}

// at returns the value in a ConfigMap of the cluster that is applied to, or nothing.
func (x *tenant) at(name string) string {
	x.t.Helper()

	obj := &corev1.ConfigMap{}
	if client.IgnoreNotFound(x.c.Get(x.t.Context(), types.NamespacedName{Namespace: x.namespace, Name: name}, obj)) != nil {
		x.t.Fatal("the cluster does not answer")
	}

	return obj.Data["key"]
}

// applies runs the Kustomization until the ConfigMaps have the values.
func (x *tenant) applies(what string, wanted ...string) {
	x.t.Helper()
	x.run("app", what, func(*kustomizev1.Kustomization) bool {
		for i := 0; i+1 < len(wanted); i += 2 {
			if x.at(wanted[i]) != wanted[i+1] {
				return false
			}
		}

		return true
	})
	x.ready("app")
}

// did checks who has sent the requests since the last call.
func (x *tenant) did(what string, least int) {
	x.t.Helper()

	strange, own := x.proxy.strangers("system:serviceaccount:"+x.namespace+":team", func(e exchange) bool {
		return !x.remote && looks(e, x.namespace)
	})
	if len(strange) > 0 {
		x.t.Errorf("%s: requests without the tenant's identity:\n%s", what, strings.Join(strange, "\n"))
	}

	if own < least {
		x.t.Errorf("%s: only %d requests are the tenant's: did they go another way?", what, own)
	}

	x.proxy.mu.Lock()
	defer x.proxy.mu.Unlock()

	x.proxy.seen = nil
}

// TestTenancy proves on the wire that whatever is done for a tenant's Kustomization is done as the tenant. At home the process
// itself only looks: at the labels of applied objects, in watches that all tenants share, at what is served, at variables in the
// namespace of the Kustomization, and, to remove a Kustomization, at its service account; and it writes the plan beside the
// Kustomization. In another cluster it does nothing at all as itself.
func TestTenancy(t *testing.T) {
	cases := map[string]struct{ away, byDefault bool }{
		"Home": {false, false}, "Away": {true, false}, "HomeByDefault": {false, true}, "AwayByDefault": {true, true},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			x := newTenant(t, tc.away, tc.byDefault)
			x.applies("applied", "a", "1-hush", "b", "1")
			x.did("the first apply", 6)

			x.calm()
			must(t, x.c.Patch(t.Context(), &corev1.ConfigMap{ObjectMeta: b(x.env)}, client.RawPatch(types.MergePatchType, []byte(`{"data":{"key":"x"}}`)),
				client.FieldOwner("somebody")))
			x.awaken("app", "a hand edit")
			x.applies("corrected", "b", "1")
			x.did("the correction of a hand edit", 1)

			x.publish("repo", "main@sha1:2", tenantFiles("kind.yaml", tenantKind))
			x.applies("applied with a definition, and pruned", "b", "")
			x.did("definitions and a prune", 5)

			x.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Force = true })
			x.publish("repo", "main@sha1:3", tenantFiles("kind.yaml", tenantKind, "fixed.yaml", configMap("fixed", "2")+"immutable: true\n"))
			x.applies("created anew", "fixed", "2")
			x.did("a forced recreation", 3)

			x.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Plan = kustomizev1.PlanManual })
			x.publish("repo", "main@sha1:4", tenantFiles("c.yaml", configMap("c", "4")))
			x.run("app", "planned", func(*kustomizev1.Kustomization) bool { return x.data("app-plan") != nil })
			x.approve("app", x.data("app-plan")["digest"])
			x.applies("approved", "c", "4")
			x.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Plan = "" })
			x.did("a plan", 10)

			x.edit("app", func(k *kustomizev1.Kustomization) {
				k.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
			})
			x.once("app")
			x.did("a request of somebody", 3)

			x.publish("repo", "main@sha1:5", tenantFiles("c.yaml", configMap("c", "4"), "d.yaml", configMap("d", "5")))
			x.lost("app") // applied, and in no inventory
			x.restart()
			x.edit("app", func(k *kustomizev1.Kustomization) {
				k.Spec.DeletionPolicy = kustomizev1.DeletionPolicyWaitForTermination
			})
			x.publish("repo", "main@sha1:6", tenantFiles("c.yaml", configMap("c", "4")))
			x.applies("found what was forgotten", "d", "")
			x.did("what was forgotten", 3)

			x.publish("repo", "main@sha1:7", tenantFiles("e.yaml", configMap("e", "7")))
			x.lost("app")
			x.restart()
			must(t, x.e().Delete(t.Context(), x.get("app")))
			x.run("app", "gone", func(obj *kustomizev1.Kustomization) bool { return obj == nil })

			if got := x.at("e") + x.at("a"); got != "" {
				t.Errorf("left are %q", got)
			}

			x.did("the removal", 3)
		})
	}
}

func (x *tenant) e() client.Client { return x.env.c }

// looks tells what the process may do as itself in its own cluster.
func looks(x exchange, namespace string) bool {
	home := "/api/v1/namespaces/" + namespace + "/"

	switch x.verb {
	case "discover":
		return true
	case "list", "watch":
		query, err := url.ParseQuery(x.query)

		return err == nil && !strings.Contains(x.path, "/namespaces/"+namespace+"/") && query.Get("labelSelector") != "" ||
			strings.HasPrefix(query.Get("fieldSelector"), "metadata.name=")
	case "get":
		return slices.Contains([]string{
			home + "serviceaccounts/team", home + "configmaps/vars", home + "secrets/vars", home + "configmaps/app-plan",
		}, x.path)
	case "apply":
		return x.path == home+"configmaps/app-plan"
	}

	return false
}

// TestRevokedRights holds that what an account may not see any more is not told of much longer, for as little as one request
// each few minutes.
func TestRevokedRights(t *testing.T) {
	e := newEnv(t)
	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "team"}})
	allow(t, e.c, e.namespace, "team")
	e.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace + "-theirs"}})
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace + "-theirs", Name: "x"}})
	e.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace + "-theirs", Name: "see"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}},
	}})

	may := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace + "-theirs", Name: "see"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "see"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: e.namespace, Name: "team"}},
	}
	e.create(may.DeepCopy())
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.ServiceAccountName, s.Interval = "team", metav1.Duration{Duration: 12 * time.Hour}
		s.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", Namespace: e.namespace + "-theirs"}}
	})
	e.eventually("the rights are in force", func() error {
		obj, _ := e.once("app")

		return wants("Ready", says(obj, meta.ReadyCondition), "True ReconciliationSucceeded: Applied revision: main@sha1:1")
	})
	e.costs()

	if _, after := e.once("app"); after > 5*time.Minute {
		t.Errorf("rights are looked at after %s", after)
	}

	e.wantCosts("a run before the look is due", nil)
	e.clock.advance(5 * time.Minute)
	e.once("app")
	e.wantCosts("a look at the rights", map[string]int{"get": 1})
	e.once("app")
	e.wantCosts("a run after it", nil)

	must(t, e.c.Delete(t.Context(), may.DeepCopy()))
	e.eventually("it is noticed that the rights are gone", func() error {
		e.clock.advance(5 * time.Minute)
		obj, _ := e.once("app")

		if got := says(obj, meta.HealthyCondition); !strings.HasPrefix(got,
			"False HealthCheckFailed: health check failed: can't determine status for ConfigMap/NS-theirs/x: configmaps \"x\" is forbidden") {
			return wants("Healthy", got, "no")
		}

		return nil
	})

	if obj, _ := e.once("app"); engine.IsTrue(obj, meta.ReadyCondition) {
		t.Error("the next run takes the object for healthy")
	}

	e.create(may.DeepCopy())
	e.eventually("they are given again", func() error {
		obj, _ := e.once("app")

		return wants("Ready", says(obj, meta.ReadyCondition), "True ReconciliationSucceeded: Applied revision: main@sha1:1")
	})
}

// TestMalformedAccounts holds that a name that no service account can have is an error that says where it comes from, on every
// way, and never another identity.
func TestMalformedAccounts(t *testing.T) {
	for name, tc := range map[string]struct {
		account, flag, from string
		remote              bool
	}{
		"Uppercase":   {"Team", "", "spec.serviceAccountName", false},
		"Other":       {"default:admin", "", "spec.serviceAccountName", false},
		"Groups":      {"system:masters", "", "spec.serviceAccountName", false},
		"Space":       {" ", "", "spec.serviceAccountName", false},
		"Path":        {"../default", "", "spec.serviceAccountName", false},
		"NotTheFlag":  {"a:b", "default", "spec.serviceAccountName", false},
		"Flag":        {"", "kube-system:default", "flag default-service-account", false},
		"Remote":      {"system:admin", "", "spec.serviceAccountName", true},
		"FlagRemote":  {"", "Default", "flag default-service-account", true},
		"FlagRemote2": {"", "a b", "flag default-service-account", true},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) { d.DefaultServiceAccount = tc.flag })
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
			e.secret("away", "value", kubeconfig(t, e.config))
			e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
				if s.ServiceAccountName = tc.account; tc.remote {
					s.KubeConfig = secretRef("away", "")
				}
			})
			obj, _ := e.once("app")

			want := "False ReconciliationFailed: "
			if tc.remote {
				want += "failed to build kube client: "
			}

			if got := says(obj, meta.ReadyCondition); !strings.HasPrefix(got, want+tc.from+": impersonate service account ") {
				t.Errorf("Ready is %q", got)
			}

			if e.data("a") != nil {
				t.Error("something is applied as somebody else")
			}

			must(t, e.c.Delete(t.Context(), obj))
			e.run("app", "gone", func(obj *kustomizev1.Kustomization) bool { return obj == nil })
		})
	}
}
