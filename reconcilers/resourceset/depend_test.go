package resourceset_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/resourceset"
)

// TestDependencies: what keeps a dependency from being met, in words, and what does not.
func TestDependencies(t *testing.T) {
	t.Parallel()
	e := start(t)
	must(t, e.c.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace + "-other"}}))
	e.apply(
		config("there", "yes"), deployment("starting"),
		"{apiVersion: v1, kind: Secret, metadata: {name: mine, namespace: NS}, data: {key: dmFsdWU=}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: theirs, namespace: NS-other, annotations: "+
			`{kubectl.kubernetes.io/last-applied-configuration: '{"data":{"key":"dmFsdWU="}}'}}, data: {key: dmFsdWU=}}`,
	)
	e.create("ready", "resources: ["+config("applied", "1")+"]")
	e.ready("ready")
	e.create("unready", "resources: ["+config("unready", "1")+"]")
	for name, tc := range map[string]struct {
		dependsOn, reason, message string // a message that is empty: it is met
	}{
		"exists":  {"{apiVersion: v1, kind: ConfigMap, name: there}", "", ""},
		"missing": {"{apiVersion: v1, kind: ConfigMap, name: missing}", "DependencyNotReady", "Retrying dependency check: dependency ConfigMap/NS/missing not found: "},
		"unknown": {"{apiVersion: example.com/v1, kind: Thing, name: x}", "DependencyNotReady", "Retrying dependency check: dependency Thing/x: no matches"},
		"cluster": {"{apiVersion: v1, kind: Namespace, name: NS, ready: true}", "", ""},
		"ready":   {"{apiVersion: v1, kind: ConfigMap, name: there, ready: true}", "", ""},
		"in progress": {
			"{apiVersion: apps/v1, kind: Deployment, name: starting, namespace: NS, ready: true}",
			"DependencyNotReady", "Retrying dependency check: dependency Deployment/NS/starting is not ready: status 'InProgress'",
		},
		"ready set": {"{apiVersion: fluxcd.controlplane.io/v1, kind: ResourceSet, name: ready, ready: true}", "", ""},
		"unready set": {
			"{apiVersion: fluxcd.controlplane.io/v1, kind: ResourceSet, name: unready, ready: true}",
			"DependencyNotReady", "Retrying dependency check: dependency ResourceSet/NS/unready is not ready: ",
		},
		"true expression": {`{apiVersion: v1, kind: ConfigMap, name: there, ready: true, readyExpr: "data.value == 'yes'"}`, "", ""},
		"false expression": {
			`{apiVersion: v1, kind: ConfigMap, name: there, ready: true, readyExpr: "data.value == 'no'"}`,
			"DependencyNotReady", "Retrying dependency check: dependency ConfigMap/NS/there is not ready according to readyExpr",
		},
		"malformed": {
			`{apiVersion: v1, kind: ConfigMap, name: there, ready: true, readyExpr: "data.value =="}`,
			"InvalidCELExpression", "Reconciliation failed terminally due to configuration error: ",
		},
		"own Secret": {`{apiVersion: v1, kind: Secret, name: mine, ready: true, readyExpr: "data.key == 'dmFsdWU='"}`, "", ""},
		"foreign Secret": {
			`{apiVersion: v1, kind: Secret, name: theirs, namespace: NS-other, ready: true, readyExpr: "has(data.key)"}`,
			"DependencyNotReady", "Retrying dependency check: dependency Secret/NS-other/theirs is not ready: ",
		},
		"copy in a foreign Secret": {
			`{apiVersion: v1, kind: Secret, name: theirs, namespace: NS-other, ready: true, ` +
				`readyExpr: "metadata.annotations['kubectl.kubernetes.io/last-applied-configuration'] != ''"}`,
			"DependencyNotReady", "Retrying dependency check: dependency Secret/NS-other/theirs is not ready: ",
		},
	} {
		rs := "rs-" + strings.ReplaceAll(strings.ToLower(name), " ", "-")
		e.create(rs, "dependsOn: ["+tc.dependsOn+"]\nresources: ["+config(rs, "1")+"]")
		if tc.message == "" {
			e.ready(rs)
			continue
		}
		reason, message := e.fails(rs)
		if reason != tc.reason || !strings.HasPrefix(message, e.text(tc.message)) || e.data(rs) != nil {
			t.Errorf("%s: it fails with %s %q, want %s %q", name, reason, message, tc.reason, e.text(tc.message))
		}
		if stalled := isTrue(e.get(rs), "Stalled"); stalled != (reason != "DependencyNotReady") {
			t.Errorf("%s: stalled is %t", name, stalled)
		}
	}
}

// TestDependencyComes: what is missing wakes who waits for it, and is looked for every five seconds besides.
func TestDependencyComes(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.create("rs", "dependsOn: [{apiVersion: v1, kind: ConfigMap, name: first}]\nresources: ["+config("second", "1")+"]")
	e.fails("rs")
	if told := e.told("DependencyNotReady "); len(told) != 1 {
		t.Errorf("told was %q", told)
	}
	if after := e.once("rs"); after != 5*time.Second {
		t.Errorf("it looks again in %s", after)
	}
	if told := e.told(""); told != nil {
		t.Errorf("told again was %q", told)
	}
	e.calm()
	e.apply(config("first", "1"))
	e.awaken("rs", "the dependency is there")
	e.ready("rs")
}

// TestDependenciesElsewhere: they are refused where references to other namespaces are.
func TestDependenciesElsewhere(t *testing.T) {
	t.Parallel()
	e := start(t, func(d *resourceset.Deps) { d.NoCrossNamespaceRefs = true })
	e.create("rs", "dependsOn: [{apiVersion: v1, kind: ConfigMap, name: kube-root-ca.crt, namespace: kube-system}]\nresources: ["+config("cm", "1")+"]")
	reason, message := e.fails("rs")
	got := []string{reason, message}
	want := []string{"AccessDenied", "can't access 'ConfigMap/kube-system/kube-root-ca.crt', cross-namespace references have been blocked"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("it fails with (-want +got):\n%s", diff)
	}
}

// TestDependencyAsAccount: of what the account may not read, an expression learns no more than whether it is ready.
func TestDependencyAsAccount(t *testing.T) {
	t.Parallel()
	e := start(t, func(d *resourceset.Deps) { d.DefaultServiceAccount = "tenant" })
	e.account("tenant")
	must(t, e.c.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace + "-other"}}))
	e.apply(config("mine", "yes"), strings.ReplaceAll(config("theirs", "hunter2"), "NS", "NS-other"))
	for name, tc := range map[string]struct{ dependsOn, message string }{
		"own":    {`name: mine, readyExpr: "data.value == 'yes'"`, ""},
		"ready":  {`name: theirs, namespace: NS-other`, ""},
		"name":   {`name: theirs, namespace: NS-other, readyExpr: "metadata.name == 'theirs'"`, ""},
		"oracle": {`name: theirs, namespace: NS-other, readyExpr: "data.value.startsWith('h')"`, "no such attribute"},
		"quoted": {`name: theirs, namespace: NS-other, readyExpr: "int(data.value) > 0"`, "no such attribute"},
	} {
		e.create(name, "dependsOn: [{apiVersion: v1, kind: ConfigMap, ready: true, "+tc.dependsOn+"}]\nresources: ["+config(name, "1")+"]")
		if tc.message == "" {
			e.ready(name)
			continue
		}
		reason, message := e.fails(name)
		if reason != "DependencyNotReady" || !strings.Contains(message, tc.message) || strings.Contains(message, "hunter2") {
			t.Errorf("%s: it fails with %s %q", name, reason, message)
		}
	}
}
