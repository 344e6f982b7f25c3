package resourceset_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/resourceset"
)

// account makes a service account that may do what it likes with ConfigMaps and Secrets of the namespace.
func (e *env) account(name string) {
	e.t.Helper()
	e.apply(
		"{apiVersion: v1, kind: ServiceAccount, metadata: {name: "+name+", namespace: NS}}",
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: "+name+", namespace: NS}, "+
			"rules: [{apiGroups: [''], resources: [configmaps, secrets], verbs: ['*']}]}",
		"{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: "+name+", namespace: NS}, "+
			"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "+name+"}, subjects: [{kind: ServiceAccount, name: "+name+", namespace: NS}]}",
	)
}

// elsewhere makes a Secret in another namespace.
func (e *env) elsewhere() {
	e.t.Helper()
	must(e.t, e.c.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace + "-other"}}))
	e.apply("{apiVersion: v1, kind: Secret, metadata: {name: theirs, namespace: NS-other}, stringData: {password: hunter2}}")
}

// copyOf is a template of a Secret that is a copy.
func copyOf(from string) string {
	return "{apiVersion: v1, kind: Secret, metadata: {name: copy, namespace: NS, annotations: {fluxcd.controlplane.io/copyFrom: " + from + "}}}"
}

// TestAccount: what is applied, copied and deleted is that with the rights of the account.
func TestAccount(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*resourceset.Deps){
		"of the spec": func(*resourceset.Deps) {},
		"by default":  func(d *resourceset.Deps) { d.DefaultServiceAccount = "tenant" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, change)
			e.account("tenant")
			e.elsewhere()
			spec := "serviceAccountName: tenant\n"
			if e.deps.DefaultServiceAccount != "" {
				spec = ""
			}
			e.create("rs", spec+"resources: ["+config("cm", "1")+"]")
			e.ready("rs")
			for what, resource := range map[string]string{
				"apply": deployment("app"), "copy": copyOf("NS-other/theirs"),
				"checksum": "{apiVersion: v1, kind: ConfigMap, metadata: {name: cm, namespace: NS, annotations: {fluxcd.controlplane.io/checksumFrom: Secret/NS-other/theirs}}}",
			} {
				e.change("rs", spec+"resources: ["+resource+"]")
				reason, message := e.fails("rs")
				if reason != "ReconciliationFailed" || !strings.Contains(message, e.text(`"system:serviceaccount:NS:tenant" cannot`)) {
					t.Errorf("%s: it fails with %s %q", what, reason, message)
				}
			}
			if e.data("cm") == nil || e.deployed("app") != nil {
				t.Error("what the account may not have is there, or what was applied before is gone")
			}
		})
	}
}

// TestAccountGone: without the account, nothing is deleted, and nothing keeps the ResourceSet.
func TestAccountGone(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.account("tenant")
	for _, name := range []string{"left", "pruned"} {
		e.create(name, "serviceAccountName: tenant\nresources: ["+config(name, "1")+"]")
		e.ready(name)
	}
	must(t, e.c.Delete(e.ctx, e.get("pruned")))
	e.run("pruned", "gone", func(obj *fluxv1.ResourceSet) bool { return obj == nil })
	must(t, e.c.Delete(e.ctx, &corev1.ServiceAccount{ObjectMeta: e.named("tenant")}))
	must(t, e.c.Delete(e.ctx, e.get("left")))
	e.told("")
	e.run("left", "gone", func(obj *fluxv1.ResourceSet) bool { return obj == nil })
	if e.data("left") == nil || e.data("pruned") != nil {
		t.Errorf("left %v, pruned %v", e.data("left"), e.data("pruned"))
	}
	if told := e.told("ReconciliationFailed service account not found"); len(told) != 1 {
		t.Errorf("told was %q", told)
	}
}

// TestAccountName: a name that no account can have is refused, and never taken for none.
func TestAccountName(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.create("rs", "serviceAccountName: 'kube-system:admin'\nresources: ["+config("cm", "1")+"]")
	if reason, message := e.fails("rs"); reason != "ReconciliationFailed" || !strings.HasPrefix(message, "reconciliation failed: spec.serviceAccountName: ") {
		t.Errorf("it fails with %s %q", reason, message)
	}
}

// TestCopyElsewhere: with the rights of the process, other namespaces may be forbidden.
func TestCopyElsewhere(t *testing.T) {
	t.Parallel()
	for name, forbidden := range map[string]bool{"allowed": false, "forbidden": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, func(d *resourceset.Deps) { d.NoCrossNamespaceRefs = forbidden })
			e.elsewhere()
			e.create("rs", "resources: ["+copyOf("NS-other/theirs")+"]")
			if forbidden {
				reason, message := e.fails("rs")
				if reason != "ReconciliationFailed" || !strings.HasSuffix(message, "cross-namespace references have been blocked") {
					t.Errorf("it fails with %s %q", reason, message)
				}
				return
			}
			e.ready("rs")
			s := &corev1.Secret{}
			must(t, e.c.Get(e.ctx, e.key("copy"), s))
			if diff := cmp.Diff(map[string][]byte{"password": []byte("hunter2")}, s.Data); diff != "" {
				t.Errorf("copy (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReferences: what objects refer to is linked, so that who watches it can wake the ResourceSet, and a change of it is applied.
func TestReferences(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.apply(config("source", "1"), config("settings", "1"))
	e.create("rs", "resources: [{apiVersion: v1, kind: ConfigMap, metadata: {name: copy, namespace: NS, annotations: {fluxcd.controlplane.io/copyFrom: NS/source}}}, "+
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: sum, namespace: NS, annotations: {fluxcd.controlplane.io/checksumFrom: 'ConfigMap/NS/settings,ConfigMap/NS/copy'}}}]")
	obj := e.ready("rs")
	if diff := cmp.Diff([]string{e.text("ConfigMap/NS/settings")}, obj.Status.ExternalChecksumRefs); diff != "" {
		t.Errorf("externalChecksumRefs (-want +got):\n%s", diff)
	}
	sum := func() string {
		cm := &corev1.ConfigMap{}
		must(t, e.c.Get(e.ctx, e.key("sum"), cm))
		return cm.Annotations["fluxcd.controlplane.io/checksum"]
	}
	last := sum()
	if !strings.HasPrefix(last, "sha256:") && len(last) != 64 {
		t.Errorf("the checksum is %q", last)
	}
	for _, name := range []string{"settings", "source"} {
		if diff := cmp.Diff([]types.NamespacedName{e.key("rs")}, e.deps.Links.To("ConfigMap", e.key(name))); diff != "" {
			t.Errorf("users of %s (-want +got):\n%s", name, diff)
		}
		must(t, e.c.Patch(e.ctx, &corev1.ConfigMap{ObjectMeta: e.named(name)}, client.RawPatch(types.MergePatchType, []byte(`{"data":{"value":"2"}}`))))
		e.once("rs") // as who watches it would have it
		if now := sum(); now == last {
			t.Errorf("the checksum does not follow %s", name)
		} else {
			last = now
		}
	}
	if e.data("copy")["value"] != "2" {
		t.Errorf("the copy is %v", e.data("copy"))
	}
	must(t, e.c.Delete(e.ctx, &corev1.ConfigMap{ObjectMeta: e.named("source")}))
	if reason, message := e.fails("rs"); reason != "ReconciliationFailed" || !strings.Contains(message, e.text("ConfigMap/NS/source")) || e.data("copy") == nil {
		t.Errorf("without the source it fails with %s %q", reason, message)
	}
	must(t, e.c.Delete(e.ctx, e.get("rs")))
	e.run("rs", "gone", func(obj *fluxv1.ResourceSet) bool { return obj == nil })
	if got := e.deps.Links.To("ConfigMap", e.key("settings")); len(got) != 0 {
		t.Errorf("what is gone still uses it: %v", got)
	}
}
