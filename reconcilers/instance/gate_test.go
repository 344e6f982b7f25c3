package instance_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/instance"
	"github.com/weir-dev/weir/test/registry"
)

// waits runs the instance until it is held back, and returns what for. Nothing else is wrong with it.
func (e *env) waits(reason, revision string) *fluxv1.FluxInstance {
	e.t.Helper()
	obj := e.run("held back: "+reason, func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, fluxv1.UpgradedCondition)
		return c != nil && c.Reason == reason && isTrue(obj, "Ready") && !isTrue(obj, "Reconciling")
	})
	c, u := engine.Condition(obj, fluxv1.UpgradedCondition), obj.Status.Upgrade
	if c.Status != metav1.ConditionUnknown || u == nil || u.Phase != "Pending" || u.From != obj.Status.LastAppliedRevision ||
		!strings.HasPrefix(u.To, revision) || u.Message != c.Message || u.StartedAt != nil {
		e.t.Errorf("condition %+v, upgrade %+v", c, u)
	}
	return obj
}

// upgraded runs the instance until the revision runs.
func (e *env) upgraded(revision string) *fluxv1.FluxInstance {
	e.t.Helper()
	obj := e.run("upgraded", func(obj *fluxv1.FluxInstance) bool {
		return isTrue(obj, fluxv1.UpgradedCondition) && isTrue(obj, "Ready") && !isTrue(obj, "Reconciling") && strings.HasPrefix(obj.Status.LastAppliedRevision, revision)
	})
	if u := obj.Status.Upgrade; u.Phase != "Succeeded" || u.NextWindow != nil || u.To != obj.Status.LastAppliedRevision {
		e.t.Errorf("upgrade %+v", u)
	}
	return obj
}

// in returns a window of an hour that opens in the given time, and when it does.
func (e *env) in(d time.Duration) (fluxv1.UpgradeWindow, time.Time) {
	at := e.clock.now().Add(d).UTC().Truncate(time.Minute)
	return fluxv1.UpgradeWindow{
		Schedule: fmt.Sprintf("%d %d * * *", at.Minute(), at.Hour()), Duration: metav1.Duration{Duration: time.Hour},
	}, at
}

func (e *env) runs(name string) string {
	e.t.Helper()
	return e.deployment(name).Spec.Template.Spec.Containers[0].Image
}

func (e *env) annotate(key, value string) {
	e.t.Helper()
	e.change(func(obj *fluxv1.FluxInstance) {
		if obj.Annotations == nil {
			obj.Annotations = map[string]string{}
		}
		obj.Annotations[key] = value
	})
}

// TestWindows holds that another release comes in a maintenance window, and all else at once.
func TestWindows(t *testing.T) {
	e := start(t)
	e.play()
	server, err := registry.Serve(t.Context(), registry.Options{})
	must(t, err)
	t.Cleanup(server.Close)
	p := &publisher{t: t, s: server}
	digest := p.distribution("v2.9.5", "", false)
	window, opens := e.in(3 * time.Hour)
	e.create(`
distribution: {version: 2.x, registry: ghcr.io/fluxcd, artifact: oci://` + p.s.Addr + `/org/dist:latest}
components: [source-controller, kustomize-controller]
upgrade: {timeout: 24h, windows: [{schedule: "` + window.Schedule + `", duration: 1h}]}
`)
	if obj := e.ready(); obj.Status.LastArtifactRevision != digest {
		t.Fatalf("the first release is %q", obj.Status.LastArtifactRevision)
	}
	before := e.runs("source-controller")

	// An edit of the spec does not wait.
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Components = append(obj.Spec.Components, "helm-controller")
	})
	e.upgraded("v2.9.5")
	if !e.exists(&appsv1.Deployment{}, "helm-controller") {
		t.Error("an edit of the spec waits for a window")
	}

	// Another release does, and is told of once. What is changed by hand is put back all the same.
	p.distribution("v2.9.6", "", false)
	e.clock.advance(artifactInterval)
	e.told("")
	obj := e.waits("WaitingForWindow", "v2.9.6@")
	message := "Revision " + obj.Status.Upgrade.To + " waits for the maintenance window that opens at " + opens.Format(time.RFC3339)
	expect(t, obj, "Upgraded", metav1.ConditionUnknown, "WaitingForWindow", message)
	if told := e.told("WaitingForWindow "); len(told) != 1 || told[0] != "WaitingForWindow "+message {
		t.Errorf("events %q", told)
	}
	if next := obj.Status.Upgrade.NextWindow; next == nil || !next.Time.Equal(opens) {
		t.Errorf("the next window is %v, want %s", next, opens)
	}
	e.restart()
	e.patch(e.deployment("source-controller"), `{"spec":{"replicas":0}}`)
	e.run("corrected", func(obj *fluxv1.FluxInstance) bool {
		return isTrue(obj, "Ready") && *e.deployment("source-controller").Spec.Replicas == 1
	})
	e.waits("WaitingForWindow", "v2.9.6@")
	if told := e.told("WaitingForWindow "); len(told) != 0 {
		t.Errorf("a new operator tells it again: %q", told)
	}
	if got := e.runs("source-controller"); got != before {
		t.Errorf("source-controller runs %q before the window opens", got)
	}

	// Edits of the spec do not wait with it: they are made with the release that runs.
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Components = append(obj.Spec.Components, "notification-controller")
	})
	if obj := e.upgraded("v2.9.5@"); obj.Status.LastArtifactRevision != digest || !e.exists(&appsv1.Deployment{}, "notification-controller") {
		t.Errorf("the edit is made with artifact %s", obj.Status.LastArtifactRevision)
	}
	obj = e.waits("WaitingForWindow", "v2.9.6@")
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade.Soak = &metav1.Duration{Duration: time.Millisecond} })
	e.once() // which makes no other objects
	if got := e.waits("WaitingForWindow", "v2.9.6@"); got.Status.LastAppliedRevision != obj.Status.LastAppliedRevision {
		t.Errorf("applied is %s", got.Status.LastAppliedRevision)
	}

	// It runs by itself when the window opens, and what was begun in the window is finished.
	e.clock.advance(opens.Sub(e.clock.now()) - 5*time.Minute)
	if after, left := e.once(), opens.Sub(e.clock.now()); after <= 0 || after > left+time.Minute {
		t.Errorf("the window opens in %s, and the instance runs in %s", left, after)
	}
	e.clock.advance(5 * time.Minute)
	e.run("begun", func(obj *fluxv1.FluxInstance) bool { return obj.Status.Upgrade.Phase == "Applying" })
	e.clock.advance(2 * time.Hour) // within its timeout, however far the pods are
	e.upgraded("v2.9.6@")
	if got := e.runs("source-controller"); got == before {
		t.Errorf("source-controller still runs %q", got)
	}

	// Who asks for it does not wait.
	p.distribution("v2.9.7", "", false)
	e.clock.advance(artifactInterval)
	e.waits("WaitingForWindow", "v2.9.7@")
	e.annotate(meta.ReconcileRequestAnnotation, "now")
	e.waits("WaitingForWindow", "v2.9.7@")
	e.annotate(meta.ForceRequestAnnotation, "now")
	if obj := e.upgraded("v2.9.7@"); obj.Status.LastHandledForceAt != "now" {
		t.Errorf("handled is %q", obj.Status.LastHandledForceAt)
	}
	p.distribution("v2.9.8", "", false)
	e.clock.advance(artifactInterval)
	e.waits("WaitingForWindow", "v2.9.8@")

	// Windows that nobody understands let nothing through, and what runs is looked after.
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade.Windows[0].Schedule = "0 0 30 2 *" })
	e.patch(e.deployment("source-controller"), `{"spec":{"replicas":0}}`)
	obj = e.run("stalled", func(obj *fluxv1.FluxInstance) bool {
		return isTrue(obj, "Stalled") && *e.deployment("source-controller").Spec.Replicas == 1
	})
	expect(t, obj, "Ready", metav1.ConditionFalse, "InvalidSpec", `spec.upgrade.windows[0].schedule: cron expression "0 0 30 2 *": no day is ever like this`)
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade = nil })
	e.upgraded("v2.9.8@")
	e.leave()
}

// plan returns the plan that waits for approval.
func (e *env) plan() (digest, text string) {
	e.t.Helper()
	plan := &corev1.ConfigMap{}
	if !e.exists(plan, "flux-plan") {
		e.t.Fatal("there is no plan")
	}
	obj := e.instance()
	if plan.Data["digest"] != obj.Status.Upgrade.Plan || plan.Data["revision"] != obj.Status.Upgrade.To || len(plan.OwnerReferences) != 1 {
		e.t.Errorf("the plan is %v of %v, and the status says %+v", plan.Data, plan.OwnerReferences, obj.Status.Upgrade)
	}
	return plan.Data["digest"], plan.Data["plan"]
}

func (e *env) mentions(text string, lines ...string) {
	e.t.Helper()
	have := strings.Split(text, "\n")
	for _, line := range lines {
		if !slices.Contains(have, line) {
			e.t.Errorf("the plan does not say %q:\n%s", line, text)
		}
	}
}

// revisionOf is that of the objects.
func revisionOf(version string, content []byte) string {
	return fmt.Sprintf("%s@sha256:%x", version, sha256.Sum256(content))
}

// secretive adds a Secret to the objects of the distribution.
type secretive struct {
	instance.Builder
	password *string
}

func (b secretive) Build(obj *fluxv1.FluxInstance, o distribution.Options) (*distribution.Set, error) {
	set, err := b.Builder.Build(obj, o)
	if err != nil || *b.password == "" {
		return set, err
	}
	content, err := set.YAML()
	if err != nil {
		return nil, err
	}
	content = append(content, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: hidden, namespace: flux-system}\nstringData: {password: "+*b.password+"}\n"...)
	return distribution.ReadSet(revisionOf(set.Version, content), content, set.Images)
}

const secretSpec = `
distribution: {version: 2.x, registry: ghcr.io/fluxcd}
components: [source-controller, kustomize-controller, helm-controller]
sync: {kind: GitRepository, url: https://example.com/fleet.git, ref: refs/heads/main, path: ./}
upgrade: {mode: Manual}
`

// TestApproval holds that with spec.upgrade.mode Manual exactly what was approved is done.
func TestApproval(t *testing.T) {
	e := start(t)
	e.play()
	password := ""
	e.builder = func(b instance.Builder) instance.Builder { return secretive{b, &password} }
	e.restart()
	e.create(secretSpec)
	e.run("applied", func(obj *fluxv1.FluxInstance) bool { return obj.Status.Inventory != nil })
	e.serve(&sourcev1.GitRepository{}, namespace)
	e.serve(&kustomizev1.Kustomization{}, namespace)
	e.ready() // the first revision waits for nobody
	e.told("")

	// What is taken out of the spec: the plan says what goes, and what stays.
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Components, obj.Spec.Sync = obj.Spec.Components[:2], nil })
	obj := e.waits("WaitingForApproval", "v2.9.5@")
	first, text := e.plan()
	e.mentions(text,
		"Revision "+obj.Status.LastAppliedRevision+" -> "+obj.Status.Upgrade.To,
		`  ~ image of helm-controller: "`+e.runs("helm-controller")+`" -> ""`,
		"Deployment/flux-system/helm-controller is deleted",
		"CustomResourceDefinition/helmreleases.helm.toolkit.fluxcd.io stays, with all objects of its kind: spec.prune.definitions is not set",
		"Kustomization/flux-system/flux-system is deleted, and what it has deployed stays: spec.prune.synced is not set",
		"GitRepository/flux-system/flux-system is deleted",
	)
	approve := "kubectl -n flux-system annotate --overwrite fluxinstance/flux fluxcd.controlplane.io/approved-plan=" + first
	expect(t, obj, "Upgraded", metav1.ConditionUnknown, "WaitingForApproval", approve)
	if told := e.told("WaitingForApproval "); len(told) != 1 || !strings.Contains(told[0], approve) {
		t.Errorf("events %q", told)
	}

	// It waits, also for a new operator, which does not tell it again; and for an approval of exactly this.
	e.restart()
	e.annotate(fluxv1.ApprovedPlanAnnotation, strings.ToUpper(first))
	obj = e.waits("WaitingForApproval", "v2.9.5@")
	expect(t, obj, "Upgraded", metav1.ConditionUnknown, "WaitingForApproval", "which is not the one that was approved")
	if told := e.told("WaitingForApproval "); len(told) != 0 || obj.Status.Upgrade.Plan != first {
		t.Errorf("events %q, plan %q", told, obj.Status.Upgrade.Plan)
	}
	if !e.exists(&appsv1.Deployment{}, "helm-controller") || !e.exists(&kustomizev1.Kustomization{}, namespace) {
		t.Error("what was not approved is done")
	}

	// What changed meanwhile is another plan, and the approval of the first is none of it.
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Cluster = &fluxv1.Cluster{Type: "kubernetes", Domain: "example.local"}
	})
	e.annotate(fluxv1.ApprovedPlanAnnotation, first)
	e.waits("WaitingForApproval", "v2.9.5@")
	second, _ := e.plan()
	if second == first || !e.exists(&appsv1.Deployment{}, "helm-controller") {
		t.Fatal("a stale approval counts")
	}

	// What is changed by hand is put back, and then the plan is what it was.
	e.patch(e.deployment("source-controller"), `{"spec":{"replicas":0}}`)
	e.run("corrected", func(obj *fluxv1.FluxInstance) bool {
		return isTrue(obj, "Ready") && *e.deployment("source-controller").Spec.Replicas == 1 && obj.Status.Upgrade.Plan == second
	})
	e.annotate(fluxv1.ApprovedPlanAnnotation, second)
	if obj = e.upgraded("v2.9.5@"); obj.Status.Upgrade.Plan != second {
		t.Errorf("the plan that was done is %q", obj.Status.Upgrade.Plan)
	}
	if e.exists(&appsv1.Deployment{}, "helm-controller") || !e.exists(&apiextensionsv1.CustomResourceDefinition{}, "helmreleases.helm.toolkit.fluxcd.io") {
		t.Error("something else was done than the plan says")
	}
	held := &kustomizev1.Kustomization{}
	if e.exists(held, namespace) {
		e.patch(held, `{"metadata":{"finalizers":null}}`)
	}
	source := &sourcev1.GitRepository{}
	if e.exists(source, namespace) {
		e.patch(source, `{"metadata":{"finalizers":null}}`)
	}

	// Another release waits for both.
	window, opens := e.in(3 * time.Hour)
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade.Windows = []fluxv1.UpgradeWindow{window} })
	e.image = strings.Replace(e.image, "v0.1.0", "v0.2.0", 1)
	e.restart()
	obj = e.waits("WaitingForApproval", "v2.9.5@")
	expect(t, obj, "Upgraded", metav1.ConditionUnknown, "WaitingForApproval", "It is then applied in the maintenance window that opens at "+opens.Format(time.RFC3339))
	third, text := e.plan()
	if !strings.Contains(text, `/weir:v0.1.0@`) || !strings.Contains(text, `/weir:v0.2.0@`) || !strings.Contains(text, "Deployment/flux-system/source-controller configured\n") {
		t.Errorf("the plan is %s", text)
	}
	e.annotate(fluxv1.ApprovedPlanAnnotation, third)
	obj = e.waits("WaitingForWindow", "v2.9.5@")
	expect(t, obj, "Upgraded", metav1.ConditionUnknown, "WaitingForWindow", "Plan "+third+" is approved: revision ")
	e.clock.advance(opens.Sub(e.clock.now()) + time.Minute)
	if e.upgraded("v2.9.5@"); !strings.Contains(e.runs("source-controller"), "v0.2.0") {
		t.Errorf("source-controller runs %q", e.runs("source-controller"))
	}

	// Plans do not show what is in Secrets, and tell two of them apart.
	password = "swordfish"
	e.restart()
	e.waits("WaitingForApproval", "v2.9.5@")
	fourth, text := e.plan()
	e.mentions(text, "Secret/flux-system/hidden created", "  + .data.password: ***")
	if strings.Contains(text, password) {
		t.Errorf("the plan shows a Secret: %s", text)
	}
	hidden := &corev1.Secret{ObjectMeta: named("hidden"), Data: map[string][]byte{"password": []byte("one")}}
	must(t, e.c.Create(e.ctx, hidden))
	t.Cleanup(func() { must(t, client.IgnoreNotFound(e.c.Delete(context.WithoutCancel(t.Context()), hidden))) })
	e.annotate(meta.ReconcileRequestAnnotation, "fifth") // nobody watches what is not deployed
	e.once()
	fifth, text := e.plan()
	e.mentions(text, "Secret/flux-system/hidden configured", "  ~ .data.password: *** -> ***")
	e.patch(hidden, `{"data":{"password":"dHdv"}}`)
	e.annotate(meta.ReconcileRequestAnnotation, "sixth")
	e.once()
	if sixth, same := e.plan(); fifth == fourth || sixth == fifth || same != text {
		t.Errorf("plans of different passwords are %s, %s and %s: %s", fourth, fifth, sixth, same)
	}
	e.annotate(fluxv1.ApprovedPlanAnnotation, fifth)
	e.waits("WaitingForApproval", "v2.9.5@")
	must(t, e.c.Get(e.ctx, client.ObjectKeyFromObject(hidden), hidden))
	if string(hidden.Data["password"]) != "two" {
		t.Error("a Secret is written that was approved as it was before")
	}

	// Without a place for the plan, or a key for its digest, nothing goes on, and what runs is looked after.
	e.unable("write the plan of revision ", "ConfigMap/flux-system/flux-plan exists, and is not a plan", func() (undo func()) {
		plan := &corev1.ConfigMap{ObjectMeta: named("flux-plan")}
		must(t, e.c.Delete(e.ctx, plan))
		must(t, e.c.Create(e.ctx, &corev1.ConfigMap{ObjectMeta: named("flux-plan")}))
		return func() { must(t, e.c.Delete(e.ctx, plan)) }
	})
	e.unable("plan revision ", "spec.upgrade.mode Manual is not possible: there is no key for the digests of plans", func() (undo func()) {
		key := e.planKey
		e.planKey = nil
		e.restart()
		return func() { e.planKey = key; e.restart() }
	})
	e.waits("WaitingForApproval", "v2.9.5@")
	e.leave()
}

// unable breaks something that plans need, and looks at what becomes of the instance.
func (e *env) unable(doing, why string, hinder func() (undo func())) {
	e.t.Helper()
	undo := hinder()
	e.patch(e.deployment("source-controller"), `{"spec":{"replicas":0}}`)
	obj := e.run("failed", func(obj *fluxv1.FluxInstance) bool {
		return !isTrue(obj, "Ready") && *e.deployment("source-controller").Spec.Replicas == 1 &&
			engine.Condition(obj, "Ready").Reason == "ReconciliationFailed"
	})
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "ReconciliationFailed", "reconciliation failed: "+doing)
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "ReconciliationFailed", ": "+why)
	undo()
}

// sameKey is the key of plans of all operators of a test.
func sameKey(context.Context) ([]byte, error) { return []byte("the key of a test"), nil }

// TestPlanOfMigration holds that plans tell what becomes of stored objects, and that the API server's refusal of a definition before that
// is none of the plan.
func TestPlanOfMigration(t *testing.T) {
	p, e := newShop(t), start(t)
	p.publish("v2.9.5", "v1beta3*", "v1")
	e.create(p.spec("upgrade: {mode: Manual}"))
	e.at("v2.9.5")
	must(t, e.bucket("fleet", "v1beta3", "theirs", "one.example.com"))

	p.publish("v2.9.6", "v1*")
	e.clock.advance(artifactInterval)
	obj := e.run("refused", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	expect(t, obj, "Ready", metav1.ConditionFalse, meta.ReconciliationFailedReason, "go by way of a release that has both")

	migrates := func(version string, lines ...string) {
		t.Helper()
		e.clock.advance(artifactInterval)
		e.waits("WaitingForApproval", version+"@")
		digest, text := e.plan()
		e.mentions(text, lines...)
		e.annotate(fluxv1.ApprovedPlanAnnotation, digest)
		e.at(version)
	}
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.MigrateResources = new(false) })
	p.publish("v2.9.7", "v1beta3", "v1*")
	migrates("v2.9.7", "CustomResourceDefinition/"+buckets+" configured")
	must(t, e.bucket("fleet", "v1", "new", "one.example.com"))
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.MigrateResources = nil })
	e.restart()
	p.publish("v2.9.8", "v1*")
	migrates("v2.9.8", "CustomResourceDefinition/"+buckets+" configured", "  ~ versions: v1beta3, v1 -> v1",
		`all objects of "`+buckets+`" are migrated from v1beta3 to version v1 first`)
	p.publish("v2.9.9", "v1", "v2*")
	migrates("v2.9.9", `all objects of "`+buckets+`" are migrated to version v2 when the revision works`)
	p.publish("v2.9.10", "v2*")
	migrates("v2.9.10", `the fields of all objects of "`+buckets+`" are moved to version v2 first`)
	e.leave()
}
