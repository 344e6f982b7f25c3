package helm_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/helm"
)

const (
	workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {tier: one}}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: "example.org/app:1", env: [{name: a, value: "1"}]}]}
`
	custom = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: custom}
spec: {interval: 1h, url: "oci://example.org/app"}
`
)

// TestDriftOfKinds puts back objects of built-in and custom kinds, however they were applied, and gives peace when they are as wanted.
func TestDriftOfKinds(t *testing.T) {
	t.Parallel()

	for name, serverSide := range map[string]bool{"server-side": true, "client-side": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newEnv(t)
			e.publish("1.0.0", map[string]string{"workload": workload, "custom": custom})
			e.declare(func(spec *v2.HelmReleaseSpec) {
				detects(v2.DriftDetectionEnabled)(spec)
				spec.Install = &v2.Install{ServerSideApply: &serverSide, DisableWait: true}
			})
			same(t, "Drifted", undrifted, e.condition(e.once(), v2.DriftedCondition))
			e.told()

			app, repository := &appsv1.Deployment{}, &sourcev1.OCIRepository{}
			edit := func(obj client.Object, name, patch string) {
				t.Helper()
				obj.SetNamespace(e.namespace)
				obj.SetName(name)
				must(t, e.c.Patch(t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody")))
			}
			look := func() string {
				at := func(name string) types.NamespacedName {
					return types.NamespacedName{Namespace: e.namespace, Name: name}
				}
				*app, *repository = appsv1.Deployment{}, sourcev1.OCIRepository{}
				must(t, e.c.Get(t.Context(), at("app"), app))
				must(t, e.c.Get(t.Context(), at("custom"), repository))

				return fmt.Sprint(*app.Spec.Replicas, app.Labels["tier"], app.Spec.Template.Spec.Containers[0].Image, repository.Spec.Interval.Duration)
			}
			const wanted = "1oneexample.org/app:11h0m0s"

			edit(app, "app", `{"spec":{"replicas":0}}`)

			events := e.awaken("replicas", func(*v2.HelmRelease) bool { return look() == wanted })
			same(t, "events", []string{
				detected + "Deployment/NS/app changed (0 additions, 1 changes, 0 removals)", put + "Deployment/NS/app configured",
			}, events)

			edit(app, "app", `{"metadata":{"labels":{"tier":"two"}},"spec":{"template":{"spec":{"containers":[{"name":"app","image":"example.org/app:2"}]}}}}`)
			edit(repository, "custom", `{"spec":{"interval":"2h","url":"oci://example.org/other"}}`)
			e.awaken("all", func(*v2.HelmRelease) bool { return look() == wanted && repository.Spec.URL == "oci://example.org/app" })

			e.once() // whatever the last wake-up was for
			e.counter.Take()
			e.once()
			same(t, "drift costs no request at rest", 0, e.counter.Take()["dry-run"])
		})
	}
}

// TestDriftCorrectionFails tells what could not be put back, and what could.
func TestDriftCorrectionFails(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one, "two": two})
	e.declare(detects(v2.DriftDetectionEnabled))
	e.once()
	e.told()

	e.patch("one", `{"data":{"key":"edited"}}`)
	e.patch("two", `{"data":{"key":"edited"}}`)
	allow := e.refuseWrites("two")
	events := strings.Join(e.awaken("the rest", func(*v2.HelmRelease) bool { return e.data("one") == "wanted" }), "\n")

	if !strings.Contains(events, "DriftCorrectionFailed: Failed to partially correct cluster state of release NS/app.v1: ConfigMap/NS/two ") ||
		!strings.HasSuffix(events, "\nConfigMap/NS/one configured") {
		t.Errorf("the events are\n%s", events)
	}

	if ready := e.condition(e.get(), meta.ReadyCondition); !strings.HasPrefix(ready, "False DriftCorrectionFailed: ") {
		t.Errorf("Ready is %q", ready)
	}

	allow()
	e.until("corrected", func(*v2.HelmRelease) bool { return e.data("two") == "wanted" })
	e.wantReady(e.get(), "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")
}

// refuseWrites lets the API server refuse to write a ConfigMap, but not to try it. What is returned ends that.
func (e *env) refuseWrites(name string) (allow func()) {
	e.t.Helper()

	at := metav1.ObjectMeta{Name: e.namespace}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: at}
	policy.Spec.MatchConstraints = &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
		RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
		},
	}}}
	policy.Spec.Validations = []admissionv1.Validation{{
		Expression: fmt.Sprintf("request.dryRun || request.namespace != %q || request.name != %q", e.namespace, name), Message: "no write today",
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: at}
	binding.Spec.PolicyName, binding.Spec.ValidationActions = e.namespace, []admissionv1.ValidationAction{admissionv1.Deny}
	e.create(policy)
	e.create(binding)

	allow = func() {
		_ = e.c.Delete(context.Background(), binding)
		_ = e.c.Delete(context.Background(), policy)
	}
	e.t.Cleanup(allow)

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()

	for deadline := time.After(time.Minute); ; { // until the API server has noticed
		obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}
		note := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"note":"`+time.Now().String()+`"}}}`))

		if err := e.c.Patch(e.t.Context(), obj, note, client.FieldOwner("somebody")); err != nil && strings.Contains(err.Error(), "no write today") {
			return allow
		}

		select {
		case <-tick.C:
		case <-deadline:
			e.t.Fatal("the policy is not in force")
		}
	}
}

// TestDriftContested names who keeps changing back what is put back.
func TestDriftContested(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one})
	e.declare(detects(v2.DriftDetectionEnabled))
	e.once()

	contested := ""
	for n := 0; contested == "" && n < 10; n++ {
		e.patch("one", fmt.Sprintf(`{"data":{"key":"edited %d"}}`, n))
		e.awaken("put back or contested", func(obj *v2.HelmRelease) bool {
			if c := e.condition(obj, helm.ContestedCondition); c != "none" {
				contested = c
			}

			return contested != "" || e.data("one") == "wanted"
		})
	}

	want := `True DriftContested: ConfigMap/NS/one is changed back by "somebody" again and again (.data.key): corrections are slowed down`
	if diff := cmp.Diff(want, contested); diff != "" {
		t.Errorf("Contested: -want, +got:\n%s", diff)
	}
}

// TestDriftElsewhere is found and put back in another cluster, too.
func TestDriftElsewhere(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one})

	kubeconfig, err := clientcmd.Write(kubeconfigOf(shared.Start(t).Config()))
	must(t, err)
	e.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "elsewhere"}, Data: map[string][]byte{"value": kubeconfig},
	})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		detects(v2.DriftDetectionEnabled)(spec)
		spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "elsewhere"}}
	})
	same(t, "Drifted", undrifted, e.condition(e.once(), v2.DriftedCondition))
	e.told()

	e.patch("one", `{"data":{"key":"edited"}}`)
	same(t, "events", []string{
		detected + "ConfigMap/NS/one changed (0 additions, 1 changes, 0 removals)", put + "ConfigMap/NS/one configured",
	}, e.awaken("edited", func(*v2.HelmRelease) bool { return e.data("one") == "wanted" }))
}
