package resourceset_test

import (
	"fmt"
	"hash/adler32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestBehaviours shows what is about the ResourceSet in the list of what clients of the reference rely on, by the numbers in that list.
// The others are TestBehaviours of package instance.
func TestBehaviours(t *testing.T) {
	t.Parallel()
	for _, b := range []struct {
		name string
		show func(*env)
	}{
		{"08 intervals", intervals},
		{"14 delimiters", delimiters},
		{"14 missing key", missingKey},
		{"14 first duplicate wins", firstDuplicate},
		{"14 duplicates across steps", duplicatesAcrossSteps},
		{"14 ids", identifiers},
		{"14 inline inputs have no id", inlineWithoutID},
		{"15 empty inputsFrom", emptyInputs},
		{"15 missing provider", missingProvider},
		{"15 steps but the last wait", stepsWait},
		{"15 the last step waits if it has to", lastStepWaits},
		{"15 the same objects in other steps wait, too", otherSteps},
		{"15 failure keeps the union of inventories", union},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			b.show(start(t))
		})
	}
}

// config is a template of a ConfigMap, which holds a value.
func config(name, value string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %q, namespace: NS}, data: {value: %q}}", name, value)
}

// deployment is one that nobody runs: it is in progress until a test says otherwise.
func deployment(name string) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[1]q, namespace: NS}, spec: {selector: {matchLabels: {app: %[1]q}},
  template: {metadata: {labels: {app: %[1]q}}, spec: {containers: [{name: main, image: main}]}}}}`, name)
}

// 8
func intervals(e *env) {
	for name, tc := range map[string]struct {
		annotations []string
		interval    time.Duration
		timeout     string
	}{
		"default": {nil, time.Hour, "5m0s"},
		"own":     {[]string{"fluxcd.controlplane.io/reconcileEvery", "7m", "fluxcd.controlplane.io/reconcileTimeout", "9s"}, 7 * time.Minute, "9s"},
		"invalid": {[]string{"fluxcd.controlplane.io/reconcileEvery", "often", "fluxcd.controlplane.io/reconcileTimeout", "soon"}, time.Hour, "5m0s"},
	} {
		e.create(name, "resources: ["+config(name, "1")+"]", tc.annotations...)
		e.ready(name)
		if after := e.once(name).Round(time.Second); after != tc.interval {
			e.t.Errorf("%s: the next run is in %s, want %s", name, after, tc.interval)
		}
		e.create(name+"-waits", "wait: true\nresources: ["+deployment(name)+"]", tc.annotations...)
		if message := e.awaits(name + "-waits"); !strings.HasSuffix(message, "with a timeout of "+tc.timeout) {
			e.t.Errorf("%s: it %q, want a timeout of %s", name, message, tc.timeout)
		}
	}
}

// 14
func delimiters(e *env) {
	e.create("rs", "inputs: [{tenant: team1}]\nresources: ["+config("cm-<< inputs.tenant >>", "{{ .Values.left }} << inputs.tenant | upper >>")+"]")
	e.ready("rs")
	if diff := cmp.Diff(map[string]string{"value": "{{ .Values.left }} TEAM1"}, e.data("cm-team1")); diff != "" {
		e.t.Errorf("data (-want +got):\n%s", diff)
	}
}

// 14
func missingKey(e *env) {
	e.create("rs", "inputs: [{tenant: team1}]\nresources: ["+config("cm", "<< inputs.other >>")+"]")
	reason, message := e.fails("rs")
	obj := e.get("rs")
	if reason != "BuildFailed" || !strings.HasPrefix(message, "build failed: ") || !strings.Contains(message, "other") || !isTrue(obj, "Stalled") {
		e.t.Errorf("a missing key gives %s %q, stalled %t", reason, message, isTrue(obj, "Stalled"))
	}
	if h := obj.Status.History; len(h) != 1 || h[0].LastReconciledStatus != "BuildFailed" || h[0].Metadata != nil {
		e.t.Errorf("history %+v", h)
	}
	if e.data("cm") != nil {
		e.t.Error("something was applied")
	}
}

// 14
func firstDuplicate(e *env) {
	e.create("rs", "inputs: [{value: one}, {value: two}]\nresources: ["+config("cm", "<< inputs.value >>")+"]\n"+
		"resourcesTemplate: '"+config("cm", "template")+"'")
	obj := e.ready("rs")
	if got := e.data("cm")["value"]; got != "one" {
		e.t.Errorf("of the duplicates, %q was applied", got)
	}
	if got := obj.Status.History[0].Metadata["resources"]; got != "1" {
		e.t.Errorf("%q resources are counted", got)
	}
}

// 14
func duplicatesAcrossSteps(e *env) {
	e.create("rs", "steps: [{name: pre-deploy, resources: ["+config("cm", "1")+"]}, {name: deploy, resources: ["+config("cm", "2")+"]}]")
	reason, message := e.fails("rs")
	want := e.text(`duplicate resource ConfigMap/NS/cm in step "deploy", already defined in step "pre-deploy"`)
	if reason != "BuildFailed" || !strings.HasSuffix(message, want) {
		e.t.Errorf("it fails with %s %q, want %q", reason, message, want)
	}
}

// 14
func identifiers(e *env) {
	e.provide("tags", "[{id: '"+fmt.Sprint(adler32.Checksum([]byte("6.0.4")))+"', tag: 6.0.4}]")
	e.provide("envs", "[{id: '1', env: prod}]")
	e.create("flat", "inputsFrom: [{name: tags}]\nresources: ["+config("flat", "<< inputs.id >> << inputs.provider.name >>")+"]")
	e.ready("flat")
	if got := e.data("flat")["value"]; got != "48955639 tags" { // the id of 6.0.4, as the reference has it
		e.t.Errorf("the input is %q", got)
	}
	e.create("permuted", "inputStrategy: {name: Permute}\ninputsFrom: [{name: tags}, {name: envs}]\nresources: ["+
		config("permuted", "<< inputs.id >> << inputs.tags.tag >> << inputs.envs.env >>")+"]")
	e.ready("permuted")
	want := fmt.Sprint(adler32.Checksum([]byte("envs=0/tags=0"))) + " 6.0.4 prod"
	if got := e.data("permuted")["value"]; got != want {
		e.t.Errorf("the permuted input is %q, want %q", got, want)
	}
}

// 14
func inlineWithoutID(e *env) {
	e.create("rs", "inputs: [{tenant: team1}]\nresources: ["+config("cm", "<< inputs.id >>")+"]")
	if reason, message := e.fails("rs"); reason != "BuildFailed" || !strings.Contains(message, "id") {
		e.t.Errorf("the id of an inline input gives %s %q", reason, message)
	}
}

// 15
func emptyInputs(e *env) {
	e.provide("p", "[{id: '1'}, {id: '2'}]")
	e.create("rs", "inputsFrom: [{name: p}]\nresources: ["+config("cm-<< inputs.id >>", "1")+"]")
	e.ready("rs")
	if diff := cmp.Diff([]string{"cm-1", "cm-2"}, e.configMaps("rs")); diff != "" {
		e.t.Fatalf("applied (-want +got):\n%s", diff)
	}
	e.provide("p", "[]")
	obj := e.run("rs", "empty", func(obj *fluxv1.ResourceSet) bool { return isTrue(obj, "Ready") && len(ids(obj)) == 0 })
	if got := e.configMaps("rs"); got != nil {
		e.t.Errorf("without inputs there are still %q", got)
	}
	if diff := cmp.Diff(map[string]string{"inputs": "0", "resources": "0"}, obj.Status.History[0].Metadata); diff != "" {
		e.t.Errorf("metadata (-want +got):\n%s", diff)
	}
	e.create("none", "inputsFrom: [{selector: {matchLabels: {no: body}}}]\nresources: ["+config("cm", "1")+"]")
	if obj := e.ready("none"); len(ids(obj)) != 0 || e.data("cm") != nil {
		e.t.Errorf("without providers %q are applied", ids(obj))
	}
}

// 15
func missingProvider(e *env) {
	e.provide("p", "[{id: '1'}]")
	e.create("rs", "inputsFrom: [{name: p}]\nresources: ["+config("cm-<< inputs.id >>", "1")+"]")
	e.ready("rs")
	must(e.t, e.c.Delete(e.ctx, &fluxv1.ResourceSetInputProvider{ObjectMeta: e.named("p")}))
	reason, message := e.fails("rs")
	obj := e.get("rs")
	if reason != "BuildFailed" || !strings.HasPrefix(message, e.text("build failed: input provider ResourceSetInputProvider/NS/p not found")) ||
		!isTrue(obj, "Stalled") {
		e.t.Errorf("a provider that is gone gives %s %q, stalled %t", reason, message, isTrue(obj, "Stalled"))
	}
	if after := e.once("rs"); after != 0 {
		e.t.Errorf("it is tried again in %s", after)
	}
	if e.data("cm-1") == nil || !slices.Equal(ids(obj), []string{"NS_cm-1__ConfigMap"}) {
		e.t.Errorf("what was applied is gone, the inventory has %q", ids(obj))
	}
	e.provide("p", "[{id: '2'}]")
	e.ready("rs")
	if diff := cmp.Diff([]string{"cm-2"}, e.configMaps("rs")); diff != "" {
		e.t.Errorf("with the provider (-want +got):\n%s", diff)
	}
}

// 15
func stepsWait(e *env) {
	e.create("rs", "steps: [{name: first, resources: ["+deployment("one")+"]}, {name: second, resources: ["+deployment("two")+"]}]")
	if message := e.awaits("rs"); message != `Applying step 1/2 "first"` {
		e.t.Errorf("it says %q", message)
	}
	if e.deployed("two") != nil || e.get("rs").Status.LastAppliedRevision != "" {
		e.t.Error("the second step did not wait for the first")
	}
	e.serve("one")
	obj := e.ready("rs") // though the second is not healthy
	if e.deployed("two") == nil || !slices.Equal(ids(obj), []string{"NS_one_apps_Deployment", "NS_two_apps_Deployment"}) {
		e.t.Errorf("after the first step the inventory has %q", ids(obj))
	}
	if diff := cmp.Diff(map[string]string{"inputs": "0", "resources": "2", "steps": "2"}, obj.Status.History[0].Metadata); diff != "" {
		e.t.Errorf("metadata (-want +got):\n%s", diff)
	}
	want := []string{
		e.text(`ApplySucceeded step "first": Deployment/NS/one created`), e.text("ApplySucceeded Deployment/NS/two created"),
	}
	if diff := cmp.Diff(want, e.told("ApplySucceeded")); diff != "" {
		e.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// 15
func otherSteps(e *env) {
	const one, two = "{name: first, resources: [%s]}", "{name: second, resources: [%s]}"
	e.create("rs", "steps: ["+fmt.Sprintf(one, config("cm", "1"))+", "+fmt.Sprintf(two, deployment("app"))+"]")
	e.ready("rs")
	e.change("rs", "wait: true\nsteps: ["+fmt.Sprintf(one, config("cm", "1")+", "+deployment("app"))+"]") // the same objects
	if message := e.awaits("rs"); message != `Applying step 1/1 "first"` {
		e.t.Errorf("it says %q", message)
	}
	e.serve("app")
	e.ready("rs")
}

// 15
func lastStepWaits(e *env) {
	e.create("rs", "wait: true\nsteps: [{name: first, resources: ["+config("cm", "1")+"]}, {name: second, timeout: 1m, resources: ["+deployment("two")+"]}]")
	if message := e.awaits("rs"); message != `Applying step 2/2 "second"` {
		e.t.Errorf("it says %q", message)
	}
	e.clock.advance(2 * time.Minute)
	reason, message := e.fails("rs")
	want := e.text(`reconciliation failed: step "second" health check failed: timeout of 1m0s waiting for: [Deployment/NS/two status: 'InProgress']`)
	if reason != "ReconciliationFailed" || message != want {
		e.t.Errorf("it fails with %s\n%q, want\n%q", reason, message, want)
	}
	e.serve("two")
	e.ready("rs")
}

// 15
func union(e *env) {
	e.create("rs", "resources: ["+config("old", "1")+"]")
	e.ready("rs")
	e.change("rs", "steps: [{name: first, timeout: 1m, resources: ["+deployment("one")+", "+config("new", "1")+"]}, {name: second, resources: ["+config("later", "1")+"]}]")
	e.awaits("rs")
	e.clock.advance(2 * time.Minute)
	reason, message := e.fails("rs")
	if want := `reconciliation failed: step "first" health check failed: `; reason != "ReconciliationFailed" || !strings.HasPrefix(message, want) {
		e.t.Errorf("it fails with %s %q", reason, message)
	}
	obj := e.get("rs")
	if diff := cmp.Diff([]string{"NS_new__ConfigMap", "NS_old__ConfigMap", "NS_one_apps_Deployment"}, ids(obj)); diff != "" {
		e.t.Errorf("inventory after a failure (-want +got):\n%s", diff)
	}
	if e.data("old") == nil {
		e.t.Error("what was applied before is gone, though the new is not healthy")
	}
	if c := engine.Condition(obj, "Reconciling"); c == nil || c.Reason != "ProgressingWithRetry" {
		e.t.Errorf("Reconciling is %+v", c)
	}
	e.serve("one")
	obj = e.ready("rs")
	if diff := cmp.Diff([]string{"NS_later__ConfigMap", "NS_new__ConfigMap", "NS_one_apps_Deployment"}, ids(obj)); diff != "" || e.data("old") != nil {
		e.t.Errorf("inventory in the end (-want +got):\n%s", diff)
	}
}

// TestHeavy: a set that is rendered anew in each run waits for health as others do, and gives its place back.
func TestHeavy(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.create("rs", "wait: true\nresourcesTemplate: |\n  << repeat 3000000 \" \" >>\n  ---\n  "+deployment("app"), "fluxcd.controlplane.io/reconcileTimeout", "1m")
	for range 6 {
		e.awaits("rs")
		e.once("rs")
	}
	e.clock.advance(2 * time.Minute)
	if _, message := e.fails("rs"); !strings.Contains(message, "timeout of 1m0s waiting for") {
		t.Errorf("it fails with %q", message)
	}
	e.serve("app")
	e.ready("rs")
}
