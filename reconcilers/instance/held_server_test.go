package instance_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// costs checks what runs ask for that find nothing changed: no more than a few things, and at each interval a dry run of each object.
func (e *env) costs(why string, most int) {
	e.t.Helper()
	e.once()
	e.once() // what is remembered is remembered by now
	objects := len(e.instance().Status.Inventory.Entries)
	for round := range 4 {
		e.wire.watched(nil)
		if round > 0 {
			e.clock.advance(time.Hour)
			e.once()
			var other []string
			dry := 0
			for _, request := range e.wire.watched(nil) {
				if strings.Contains(request, "dryRun=All") {
					dry++
					continue
				}
				other = append(other, request)
			}
			if len(other) > most || dry > objects {
				e.t.Errorf("%s: a check of %d objects takes %d dry runs and %q", why, objects, dry, other)
			}
		}
		for range 3 {
			e.once()
		}
		if sent := e.wire.watched(nil); len(sent) > 3*most {
			e.t.Errorf("%s: three runs ask for %d things: %q", why, len(sent), sent)
		}
	}
}

// TestCostOfWaiting holds that an instance that waits, for people, time or another release, costs what an idle one does.
func TestCostOfWaiting(t *testing.T) {
	e := start(t)
	k := e.kubelet()
	e.create(plainSpec)
	e.ready()

	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Components = append(obj.Spec.Components, "helm-controller")
		obj.Spec.Upgrade = &fluxv1.Upgrade{Mode: fluxv1.UpgradeManual}
	})
	e.waits("WaitingForApproval", "v2.9.5@")
	e.costs("waiting for an approval", 1)
	digest, _ := e.plan()

	// Before it is carried out, the plan is made anew: nobody watches what is not there yet.
	newcomer := &corev1.ServiceAccount{ObjectMeta: named("helm-controller")}
	must(t, e.c.Create(e.ctx, newcomer))
	e.annotate(fluxv1.ApprovedPlanAnnotation, digest)
	e.run("planned anew", func(obj *fluxv1.FluxInstance) bool { return obj.Status.Upgrade.Plan != digest })
	e.waits("WaitingForApproval", "v2.9.5@")
	digest, _ = e.plan()
	e.annotate(fluxv1.ApprovedPlanAnnotation, digest)
	e.upgraded("v2.9.5@")

	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", crashing)(obj)
		obj.Spec.Upgrade = nil
	})
	e.hurry("rolled back", rolledBack)
	e.costs("rolled back", 0)
	k.forget()

	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", "soak")(obj)
		obj.Spec.Upgrade = &fluxv1.Upgrade{Soak: &metav1.Duration{Duration: 1000 * time.Hour}, Timeout: &metav1.Duration{Duration: 1000 * time.Hour}}
	})
	e.hurry("soaking", phase("Soaking"))
	e.costs("soaking", 0)
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade = nil })
	e.upgraded("v2.9.5@")
	e.leave()
}

// TestOperatorWaits holds that the operator's image waits for windows and approvals, also when nothing else changes with it.
func TestOperatorWaits(t *testing.T) {
	u := &upgrades{env: start(t), p: newPublisher(t), fates: map[string]fate{}}
	u.kubelets()
	first := u.p.weir("v1", "v2.9.5")
	u.install(first)
	window, opens := u.in(20 * time.Hour)
	u.create(fmt.Sprintf(`
distribution: {version: 2.x, registry: %[1]s, artifact: "oci://%[1]s/org/weir:latest"}
components: [source-controller]
upgrade: {windows: [{schedule: %[2]q, duration: 1h}]}
kustomize:
  patches:
  - target: {kind: Deployment}
    patch: |
      - {op: replace, path: /spec/template/spec/containers/0/image, value: example.com/fixed:v1}
`, u.p.s.Addr, window.Schedule))
	revision := u.ready().Status.LastAppliedRevision

	second := u.publish("v2", "v2.9.5")
	obj := u.waits("WaitingForWindow", revision)
	expect(t, obj, "Upgraded", metav1.ConditionUnknown, "WaitingForWindow",
		"Operator image "+second+" waits for the maintenance window that opens at "+opens.Format(time.RFC3339))
	u.runs("before the window opens", first)
	u.become(first)
	u.waits("WaitingForWindow", revision)
	u.runs("after a restart", first)
	u.costs("waiting for a window", 4) // to look at its Deployment
	u.clock.advance(opens.Sub(u.clock.now()) + time.Minute)
	u.until("OperatorUpgrading")
	u.runs("in the window", second)
	u.clock.advance(time.Hour) // what was begun in it is finished
	u.become(second)
	u.upgraded(revision)

	u.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade = &fluxv1.Upgrade{Mode: fluxv1.UpgradeManual} })
	u.upgraded(revision)
	third := u.publish("v3", "v2.9.5")
	u.waits("WaitingForApproval", revision)
	digest, text := u.plan()
	u.mentions(text, "Revision "+revision+" -> "+revision, fmt.Sprintf("  ~ image of the operator: %q -> %q", second, third))
	u.runs("before it is approved", second)
	u.annotate(fluxv1.ApprovedPlanAnnotation, digest)
	u.until("OperatorUpgrading")
	u.runs("what was approved", third)
	u.become(third)
	u.upgraded(revision)

	u.operator = nil
	u.restart()
	u.leave()
}
