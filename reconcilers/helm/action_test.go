package helm_test

import (
	"context"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	records "github.com/weir-dev/weir/reconcilers/helm/storage"
)

// unready has pods that no node takes.
const unready = `apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {nodeSelector: {no: node}, containers: [{name: app, image: app}]}
`

// eventually waits until something holds.
func (e *env) eventually(what string, holds func() bool) {
	e.t.Helper()

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()

	for deadline := time.After(time.Minute); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			e.t.Fatalf("not in time: %s", what)
		}
	}
}

// TestSuperseded gives up waiting for what nobody wants any more.
func TestSuperseded(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"app": unready})
	e.declare(func(spec *v2.HelmReleaseSpec) { spec.Timeout = &metav1.Duration{Duration: time.Hour} })

	done := make(chan error, 1)

	go func() {
		_, err := e.runner.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: e.namespace, Name: "app"}})
		done <- err
	}()

	e.eventually("the install has begun", func() bool { return len(e.releases()) == 1 })
	e.edit(func(obj *v2.HelmRelease) { obj.Spec.Upgrade = &v2.Upgrade{DisableWait: true} })
	must(t, <-done)

	obj := e.get()
	e.wantReady(obj, "False HealthCheckCanceled: New reconciliation triggered by HelmRelease/NS/app")
	same(t, "events", []string{"HealthCheckCanceled: New reconciliation triggered by HelmRelease/NS/app"}, e.told())
	same(t, "nothing has failed", int64(0), obj.Status.InstallFailures)

	e.wantReady(e.once(), "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v2 with chart app@1.0.0+abababababab")
}

// TestLastWords tells in the event what Helm and a hook have said last, and not in the condition.
func TestLastWords(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": broken})
	e.declare(nil)

	message := engine.Condition(e.once(), meta.ReadyCondition).Message
	told := e.told()[0]

	same(t, "the event begins as the condition", true, strings.HasPrefix(told, "InstallFailed: "+strings.ReplaceAll(message, e.namespace, "NS")))

	if !strings.Contains(told, "\n\nLast Helm logs:\n\n") || !strings.HasSuffix(told, "creating 1 resource(s)") {
		t.Errorf("the event does not end with Helm's log: %q", told)
	}

	if strings.Contains(message, "Last Helm logs") {
		t.Errorf("the condition has the log: %q", message)
	}
}

// TestApplyMethod applies as the spec says, or as the release before was.
func TestApplyMethod(t *testing.T) {
	t.Parallel()

	yes, no := true, false

	cases := map[string]struct {
		reason        string
		install       *bool
		upgrade       string
		before, after string
	}{
		"Default":  {reason: "on the server's side", before: records.ServerSide, after: records.ServerSide},
		"Client":   {reason: "as before", install: &no, before: records.ClientSide, after: records.ClientSide},
		"ToServer": {reason: "as the spec says", install: &no, upgrade: v2.ServerSideApplyEnabled, before: records.ClientSide, after: records.ServerSide},
		"ToClient": {reason: "as the spec says", install: &yes, upgrade: v2.ServerSideApplyDisabled, before: records.ServerSide, after: records.ClientSide},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newEnv(t)
			e.publish("1.0.0", map[string]string{"config": config})
			e.declare(func(spec *v2.HelmReleaseSpec) {
				spec.Install, spec.Upgrade = &v2.Install{ServerSideApply: tc.install}, &v2.Upgrade{ServerSideApply: tc.upgrade}
			})
			e.once()
			e.publish("1.1.0", map[string]string{"config": config})
			e.wantReady(e.once(), "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v2 with chart app@1.1.0+abababababab")
			same(t, "applied", "none 1.1.0+abababababab", e.data("config"))

			for i, want := range []string{tc.before, tc.after} {
				got, err := e.records().Method("app", i+1)
				must(t, err)
				same(t, tc.reason, want, got)
			}

			obj := &corev1.ConfigMap{}
			must(t, e.c.Get(t.Context(), types.NamespacedName{Namespace: e.namespace, Name: "config"}, obj))

			applied := slices.ContainsFunc(obj.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
				return m.Manager == "helm-controller" && m.Operation == metav1.ManagedFieldsOperationApply
			})
			same(t, "applied on the server's side", tc.before == records.ServerSide || tc.after == records.ServerSide, applied)
		})
	}
}

// TestKubeconfig releases as the user of a kubeconfig, everything of it.
func TestKubeconfig(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config, "test": "apiVersion: v1\nkind: ConfigMap\n" +
		"metadata: {name: tested, annotations: {helm.sh/hook: test}}\ndata: {key: run}\n"})
	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "tenant"}})
	e.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "tenant"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: e.namespace, Name: "tenant"}},
	})

	kubeconfig, err := clientcmd.Write(kubeconfigOf(shared.Start(t).Config()))
	must(t, err)
	e.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "elsewhere"}, Data: map[string][]byte{"value": kubeconfig},
	})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "elsewhere"}}
		spec.ServiceAccountName, spec.Test = "tenant", &v2.Test{Enable: true}
	})

	e.counter.Take()
	e.wantReady(e.once(), "True TestSucceeded: "+
		"Helm test succeeded for release NS/app.v1 with chart app@1.0.0+abababababab: 1 test hook completed successfully")
	same(t, "nothing is done here", map[string]int{}, e.counter.Take("discover"))
	same(t, "released", "none 1.0.0+abababababab", e.data("config"))
	same(t, "stored", map[int]release.Status{1: release.StatusDeployed}, e.releases())

	must(t, e.c.Delete(t.Context(), e.get()))

	if obj := e.once(); obj != nil {
		t.Errorf("the HelmRelease is still there: %v", obj.Status.Conditions)
	}

	same(t, "uninstalled", "absent", e.data("config"))
}

// TestKubeconfigGone lets a HelmRelease go whose cluster nobody can find any more.
func TestKubeconfigGone(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "elsewhere"}}
	})
	e.publish("1.0.0", map[string]string{"config": config})

	obj := e.once()
	same(t, "Ready", v2.RESTClientErrorReason, engine.Condition(obj, meta.ReadyCondition).Reason)

	before := obj.DeepCopy()
	obj.Status.StorageNamespace = e.namespace
	must(t, e.c.Status().Patch(t.Context(), obj, client.MergeFrom(before)))
	must(t, e.c.Delete(t.Context(), obj))

	if obj := e.once(); obj != nil {
		t.Errorf("the HelmRelease is still there: %v", obj.Status.Conditions)
	}
}

func kubeconfigOf(c *rest.Config) api.Config {
	ca := c.CAData
	if block, _ := pem.Decode(ca); block == nil {
		ca = nil
	}

	return api.Config{
		Clusters: map[string]*api.Cluster{"c": {
			Server: c.Host, CertificateAuthorityData: ca, InsecureSkipTLSVerify: c.Insecure, TLSServerName: c.ServerName,
		}},
		AuthInfos: map[string]*api.AuthInfo{"u": {
			Token: c.BearerToken, ClientCertificateData: c.CertData, ClientKeyData: c.KeyData,
		}},
		Contexts:       map[string]*api.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}
}

// TestNamespace makes the namespace of a release, unless it is there.
func TestNamespace(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config})

	target := e.namespace + "-target"
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.TargetNamespace, spec.ReleaseName = target, "app"
		spec.Install = &v2.Install{CreateNamespace: true}
	})

	e.wantReady(e.once(), "True InstallSucceeded: Helm install succeeded for release NS-target/app.v1 with chart app@1.0.0+abababababab")

	obj := &corev1.ConfigMap{}
	must(t, e.c.Get(t.Context(), types.NamespacedName{Namespace: target, Name: "config"}, obj))
	same(t, "origin", "app", obj.Labels[v2.OwnerNameLabel])
}
