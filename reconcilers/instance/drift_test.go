package instance_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// everyKind deploys objects of every kind that there is.
const everyKind = `
distribution: {version: 2.x, registry: ghcr.io/fluxcd}
wait: false
storage: {class: fast, size: 1Gi}
workloads: [{components: [source-controller], replicas: 0, podDisruptionBudget: {maxUnavailable: 1}}]
sync: {kind: GitRepository, url: https://example.com/fleet.git, ref: refs/heads/main, path: ./}
syncs:
- {name: oci, kind: OCIRepository, url: oci://example.com/fleet, ref: latest, path: ./}
- {name: s3, kind: Bucket, url: s3.example.com, ref: fleet, path: ./}
`

// TestDriftOfEveryKind deletes and edits an object of each kind that an instance deploys. Each is back when the hub tells of it, not at
// the interval, and event, condition and metric say what it was, and who did it.
func TestDriftOfEveryKind(t *testing.T) { //nolint:tparallel // all drift of one instance
	e := start(t)
	e.create(everyKind)
	e.ready()
	namespaced := func(group, kind, name string) access.ID {
		return access.ID{Group: group, Kind: kind, Namespace: namespace, Name: name}
	}
	wide := func(group, kind, name string) access.ID { return access.ID{Group: group, Kind: kind, Name: name} }
	const (
		rbac   = "rbac.authorization.k8s.io"
		source = "source.toolkit.fluxcd.io"
		label  = `{"metadata":{"labels":{"app.kubernetes.io/part-of":"mine"}}}`
		mine   = `{"subjects":[{"kind":"User","name":"mallory","apiGroup":"rbac.authorization.k8s.io"}]}`
		partOf = ".metadata.labels.app.kubernetes.io/part-of"
	)
	cases := []struct {
		id          access.ID
		edit, field string
		stays       bool // whether deleting it would take more with it than comes back
	}{
		{
			id: wide("", "Namespace", namespace), stays: true,
			edit: `{"metadata":{"labels":{"pod-security.kubernetes.io/warn":"privileged"}}}`, field: ".metadata.labels.pod-security.kubernetes.io/warn",
		},
		{id: wide("apiextensions.k8s.io", "CustomResourceDefinition", "alerts.notification.toolkit.fluxcd.io"), edit: label, field: partOf},
		{id: wide(rbac, "ClusterRole", "crd-controller-flux-system"), edit: `{"rules":[]}`, field: ".rules"},
		{id: wide(rbac, "ClusterRoleBinding", "cluster-reconciler-flux-system"), edit: mine, field: ".subjects"},
		{id: namespaced("", "ServiceAccount", "helm-controller"), edit: label, field: partOf},
		{id: namespaced("", "Service", "source-controller"), edit: `{"spec":{"selector":{"app":"impostor"}}}`, field: ".spec.selector"},
		{id: namespaced("apps", "Deployment", "helm-controller"), edit: `{"spec":{"replicas":0}}`, field: ".spec.replicas"},
		{id: namespaced("networking.k8s.io", "NetworkPolicy", "allow-scraping"), edit: `{"spec":{"ingress":[{}]}}`, field: ".spec.ingress"},
		{id: namespaced("", "ResourceQuota", "critical-pods-flux-system"), edit: `{"spec":{"hard":{"pods":"1"}}}`, field: ".spec.hard.pods"},
		{id: namespaced("", "PersistentVolumeClaim", "source-controller"), edit: label, field: partOf},
		{id: namespaced("policy", "PodDisruptionBudget", "source-controller"), edit: `{"spec":{"maxUnavailable":5}}`, field: ".spec.maxUnavailable"},
		{id: namespaced(source, "GitRepository", namespace), edit: `{"spec":{"url":"https://example.com/mine.git"}}`, field: ".spec.url"},
		{id: namespaced(source, "OCIRepository", "oci"), edit: `{"spec":{"url":"oci://example.com/mine"}}`, field: ".spec.url"},
		{id: namespaced(source, "Bucket", "s3"), edit: `{"spec":{"bucketName":"mine"}}`, field: ".spec.bucketName"},
		{
			id:   namespaced("kustomize.toolkit.fluxcd.io", "Kustomization", namespace),
			edit: `{"spec":{"serviceAccountName":"mine","path":"./mine"}}`, field: ".spec.path",
		},
	}
	inventory := e.instance().Status.Inventory
	for _, entry := range inventory.Entries {
		ref, err := access.ParseInventory(entry)
		must(t, err)
		tested := false
		for _, c := range cases {
			tested = tested || c.id.GroupKind() == ref.GroupKind()
		}
		if !tested {
			t.Errorf("the drift of %s is not tested", ref)
		}
	}
	for _, c := range cases {
		t.Run(c.id.Kind, func(t *testing.T) {
			e.t = t
			before := e.desired(c.id)
			e.drifts(c.id, fmt.Sprintf(`%s drift corrected: %s, changed by "mallory"`, c.id, c.field), func() { e.meddle(c.id, "mallory", c.edit) })
			after := e.desired(c.id)
			if c.id.Kind == "Kustomization" { // what nobody asked for is its author's
				unstructured.RemoveNestedField(after, "spec", "serviceAccountName")
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("after it was edited, -before +after\n%s", diff)
			}
			if c.stays {
				return
			}
			e.drifts(c.id, c.id.String()+" drift corrected: it was deleted", func() {
				must(t, e.own.Delete(e.ctx, access.Ref{ID: c.id}, access.DeleteOptions{}))
			})
			if diff := cmp.Diff(before, e.desired(c.id)); diff != "" {
				t.Errorf("after it was deleted, -before +after\n%s", diff)
			}
		})
	}
	e.t = t
	if diff := cmp.Diff(inventory, e.instance().Status.Inventory); diff != "" {
		t.Errorf("the inventory, -before +after\n%s", diff)
	}
	if got := e.corrections("apps/Deployment", ".spec.replicas"); got != 1 {
		t.Errorf("weir_drift_corrections_total of the replicas of Deployments is %v, want 1", got)
	}
	if got := e.corrections("ServiceAccount", ""); got != 1 {
		t.Errorf("weir_drift_corrections_total of deleted ServiceAccounts is %v, want 1", got)
	}
	e.leave()
}

// drifts does something to an object that the instance deployed, and sees to it that it is put back when that is seen, and told of.
func (e *env) drifts(id access.ID, told string, act func()) {
	e.t.Helper()
	e.told("")
	e.calm()
	act()
	e.awaken(told)
	var events []string
	e.run("told: "+told, func(obj *fluxv1.FluxInstance) bool {
		events = append(events, e.told("DriftCorrected ")...)
		return len(events) > 0 && isTrue(obj, "Ready")
	})
	if diff := cmp.Diff([]string{"DriftCorrected " + told}, events); diff != "" {
		e.t.Errorf("events, -want +got\n%s", diff)
	}
	c := engine.Condition(e.instance(), fluxv1.DriftedCondition)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason != "DriftCorrected" || !strings.HasPrefix(c.Message, told) {
		e.t.Errorf("Drifted of %s is %+v, want the message %q", id, c, told)
	}
}

// meddle edits an object as somebody else.
func (e *env) meddle(id access.ID, manager, merge string) {
	e.t.Helper()
	_, err := e.own.Patch(e.ctx, access.Ref{ID: id}, types.MergePatchType, []byte(merge), access.PatchOptions{Manager: manager})
	must(e.t, err)
}

// desired reads an object without what differs from one of the same kind to the next.
func (e *env) desired(id access.ID) map[string]any {
	e.t.Helper()
	u, err := e.own.Get(e.ctx, access.Ref{ID: id})
	must(e.t, err)
	delete(u.Object, "status")
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
	for _, field := range []string{"clusterIP", "clusterIPs"} {
		unstructured.RemoveNestedField(u.Object, "spec", field)
	}
	return u.Object
}

// corrections reads the metric.
func (e *env) corrections(object, field string) float64 {
	e.t.Helper()
	families, err := e.metrics.Gather()
	must(e.t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if family.GetName() == "weir_drift_corrections_total" && labels["kind"] == "FluxInstance" &&
				labels["object"] == object && labels["field"] == field {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// TestWhatOthersMayDo leaves alone what others add, puts back what they set over it, and tells how a fight stands and when it is over.
func TestWhatOthersMayDo(t *testing.T) {
	e := start(t)
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller, helm-controller]\nwait: false\n")
	e.ready()
	ns := access.ID{Kind: "Namespace", Name: namespace}
	helm := access.ID{Group: "apps", Kind: "Deployment", Namespace: namespace, Name: "helm-controller"}
	service := access.ID{Kind: "Service", Namespace: namespace, Name: "source-controller"}
	impostor := func() { e.meddle(service, "mallory", `{"spec":{"selector":{"app":"impostor"}}}`) }
	const corrected = `Service/flux-system/source-controller drift corrected: .spec.selector, changed by "mallory"`

	e.meddle(ns, "kubectl-label", `{"metadata":{"labels":{"team":"a"},"annotations":{"example.com/contact":"a"}}}`)
	e.meddle(helm, "autoscaler", `{"metadata":{"annotations":{"example.com/scaled":"1"}},"spec":{"minReadySeconds":3}}`)
	e.meddle(helm, "kubectl-annotate", `{"metadata":{"annotations":{"fluxcd.controlplane.io/reconcile":"disabled"}},"spec":{"replicas":0}}`)
	// What is put back comes after these, so all of them have been seen when it is.
	e.drifts(service, corrected, impostor)
	e.change(func(obj *fluxv1.FluxInstance) {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, meta.ReconcileRequestAnnotation, "check everything")
	})
	e.run("checked", func(obj *fluxv1.FluxInstance) bool { return obj.Status.LastHandledReconcileAt == "check everything" })
	labels, _, _ := unstructured.NestedStringMap(e.desired(ns), "metadata", "labels")
	if labels["team"] != "a" || labels["pod-security.kubernetes.io/warn"] != "restricted" {
		t.Errorf("the namespace is labelled %v", labels)
	}
	d := e.deployment("helm-controller")
	if *d.Spec.Replicas != 0 || d.Spec.MinReadySeconds != 3 || d.Annotations["example.com/scaled"] != "1" {
		t.Errorf("what is switched off for the instance is %+v", d)
	}
	if c := engine.Condition(e.instance(), fluxv1.DriftedCondition); c != nil {
		t.Errorf("a check that finds nothing leaves Drifted %+v", c)
	}
	if events := e.told("DriftCorrected"); len(events) > 0 {
		t.Errorf("nothing was put back, and told was %q", events)
	}

	e.calm()
	e.meddle(helm, "kubectl-annotate", `{"metadata":{"annotations":{"fluxcd.controlplane.io/reconcile":null}}}`)
	e.awaken("it is switched on again")
	e.run("corrected", func(*fluxv1.FluxInstance) bool { return *e.deployment("helm-controller").Spec.Replicas == 1 })

	for range 3 {
		if c := engine.Condition(e.instance(), fluxv1.ContestedCondition); c != nil {
			t.Errorf("Contested is %+v", c)
		}
		e.drifts(service, corrected, impostor)
	}
	e.told("")
	e.calm()
	impostor()
	e.awaken("it was changed for the fifth time in a row")
	e.run("contested", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, fluxv1.ContestedCondition) })
	const contested = `Service/flux-system/source-controller is changed back by "mallory" again and again (.spec.selector): corrections are slowed down`
	if diff := cmp.Diff([]string{"DriftContested " + contested}, e.told("DriftContested ")); diff != "" {
		t.Errorf("events of a fight, -want +got\n%s", diff)
	}
	obj := e.instance()
	expect(t, obj, fluxv1.ContestedCondition, metav1.ConditionTrue, "DriftContested", contested)
	if after := e.once(); after > 2*time.Minute {
		t.Errorf("in a fight, the instance looks again in %s", after)
	}
	e.clock.advance(time.Minute)
	e.once()
	if c := engine.Condition(e.instance(), fluxv1.ContestedCondition); c != nil {
		t.Errorf("after the fight, Contested is %+v", c)
	}
	e.leave()
}

// TestDriftBehindTheBack puts back what was done while no operator ran.
func TestDriftBehindTheBack(t *testing.T) {
	e := start(t)
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller]\nwait: false\n")
	e.ready()
	e.restart()
	e.told("")
	must(t, e.own.Delete(e.ctx, access.Ref{ID: access.ID{Kind: "ServiceAccount", Namespace: namespace, Name: "source-controller"}}, access.DeleteOptions{}))
	e.meddle(access.ID{Kind: "Service", Namespace: namespace, Name: "source-controller"}, "mallory", `{"spec":{"selector":{"app":"impostor"}}}`)
	e.ready()
	want := []string{"DriftCorrected ServiceAccount/flux-system/source-controller drift corrected: it was deleted\n" +
		"Service/flux-system/source-controller drift corrected"}
	if diff := cmp.Diff(want, e.told("DriftCorrected ")); diff != "" {
		t.Errorf("events, -want +got\n%s", diff)
	}
	e.leave()
}

// TestDriftThatStays says that what others did cannot be undone, and that it was once it can.
func TestDriftThatStays(t *testing.T) {
	e := start(t)
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller]\nwait: false\n")
	e.ready()
	guard := e.guard("services")
	service := access.ID{Kind: "Service", Namespace: namespace, Name: "source-controller"}
	e.calm()
	must(t, e.own.Delete(e.ctx, access.Ref{ID: service}, access.DeleteOptions{}))
	e.awaken("a Service is gone")
	obj := e.run("refused", func(obj *fluxv1.FluxInstance) bool { return !isTrue(obj, "Ready") })
	expect(t, obj, fluxv1.DriftedCondition, metav1.ConditionTrue, "DriftCorrectionFailed", "Service/flux-system/source-controller")
	guard()
	obj = e.ready()
	expect(t, obj, fluxv1.DriftedCondition, metav1.ConditionFalse, "DriftCorrected", "Service/flux-system/source-controller drift corrected: it was deleted")
	e.leave()
}

// guard makes the API server refuse to create objects of a resource, from now on until the returned function was called.
func (e *env) guard(resource string) func() {
	e.t.Helper()
	fail := admissionv1.Fail
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "guard"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{resource}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "guarded"}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "guard"},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "guard", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	must(e.t, e.c.Create(e.ctx, policy))
	must(e.t, e.c.Create(e.ctx, binding))
	probe := &corev1.Service{ObjectMeta: named("probe"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	e.eventually("the guard is there", func() error {
		if err := e.c.Create(e.ctx, probe.DeepCopy(), client.DryRunAll); err == nil {
			return errors.New("a Service is admitted")
		}
		return nil
	})
	return func() {
		must(e.t, e.c.Delete(e.ctx, binding))
		must(e.t, e.c.Delete(e.ctx, policy))
	}
}
