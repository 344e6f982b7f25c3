package instance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const plainSpec = `
distribution: {version: 2.x, registry: ghcr.io/fluxcd}
components: [source-controller, notification-controller]
`

// chapter is a part of the life of an instance that goes through upgrades.
type chapter struct {
	name string
	run  func(*env, *kubelet)
}

// TestUpgrade takes one instance from revision to revision, good ones and bad ones.
func TestUpgrade(t *testing.T) {
	upgradeThrough(t, []chapter{
		{"Succeeds", upgradeSucceeds},
		{"Crashes", upgradeCrashes},
		{"TimesOut", upgradeTimesOut},
		{"CannotPull", upgradeCannotPull},
		{"Denied", upgradeDenied},
		{"Superseded", upgradeSuperseded},
		{"Soaks", upgradeSoaks},
		{"NotRolledBack", upgradeNotRolledBack},
		{"RollbackFails", rollbackFails},
		{"OtherSelector", upgradeWithOtherSelector},
	})
}

// TestUpgradeDisturbed does so with operators that are killed, records that are spoilt, and what else comes in between.
func TestUpgradeDisturbed(t *testing.T) {
	upgradeThrough(t, []chapter{
		{"Killed", upgradeKilled},
		{"Records", recordsOfUpgrades},
		{"WithoutWait", upgradeWithoutWait},
		{"Refused", upgradeRefused},
		{"CutOff", upgradeCutOff},
		{"Idle", idle},
		{"DefinitionsStay", definitionsStay},
	})
}

func upgradeThrough(t *testing.T, phases []chapter) {
	t.Helper()
	e := start(t)
	k := e.kubelet()
	e.create(plainSpec)
	first := e.ready()
	e.wantUpgraded(first, metav1.ConditionTrue, "UpgradeSucceeded", "Revision "+first.Status.LastAppliedRevision+" runs")
	if u := first.Status.Upgrade; u == nil || u.Phase != "Succeeded" || u.To != first.Status.LastAppliedRevision || u.From != "" {
		t.Errorf("after the installation, status.upgrade is %+v", u)
	}
	for _, phase := range phases {
		if !t.Run(phase.name, func(t *testing.T) {
			e.t = t
			k.forget()
			e.told("")
			phase.run(e, k)
		}) {
			return
		}
	}
	e.t = t
	e.leave()
}

const recordName = "flux-last-release"

// upgradeSucceeds: a revision that becomes healthy is what counts as good from then on.
func upgradeSucceeds(e *env, _ *kubelet) {
	before := e.instance()
	e.change(doom("source-controller", ""))
	e.once()
	obj := e.instance()
	u := obj.Status.Upgrade
	if u.Phase != "Applying" || u.From != before.Status.LastAppliedRevision || u.To == u.From || u.StartedAt == nil || u.Attempt == "" {
		e.t.Errorf("at the beginning, status.upgrade is %+v", u)
	}
	e.wantUpgraded(obj, metav1.ConditionUnknown, "UpgradeProgressing", "Upgrading from "+u.From+" to "+u.To)
	obj = e.ready()
	if u := obj.Status.Upgrade; u.Phase != "Succeeded" || u.FinishedAt == nil || u.HealthyAt == nil || obj.Status.LastAppliedRevision != u.To {
		e.t.Errorf("at the end, status.upgrade is %+v, and %s is applied", u, obj.Status.LastAppliedRevision)
	}
	e.wantUpgraded(obj, metav1.ConditionTrue, "UpgradeSucceeded", "Revision "+u.To+" runs")
	if told := e.told("Progressing Upgrading to revision " + u.To); len(told) != 1 {
		e.t.Errorf("the begin was told %d times", len(told))
	}
	secret := &corev1.Secret{}
	if !e.exists(secret, recordName) || secret.Type != "fluxcd.controlplane.io/release" || len(secret.OwnerReferences) != 1 ||
		secret.OwnerReferences[0].UID != obj.UID ||
		!strings.Contains(string(secret.Data["release.json"]), u.To) {
		e.t.Errorf("the record is %s", secret.Data["release.json"])
	}
}

// upgradeCrashes: a revision whose pods crash is taken back, to the last bit, and not tried again before something changes.
func upgradeCrashes(e *env, _ *kubelet) {
	good := e.instance()
	before := e.snapshot(good)
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", crashing)(obj)
		obj.Spec.Components = append(obj.Spec.Components, "image-reflector-controller")
	})
	e.once()
	obj := e.instance()
	const extra = "flux-system_image-reflector-controller_apps_Deployment"
	if e.exists(&appsv1.Deployment{}, "image-reflector-controller") || !has(obj, extra) {
		e.t.Error("what is going to be there is not in the inventory before it is there")
	}
	to := obj.Status.Upgrade.To
	obj = e.hurry("rolled back", rolledBack)
	want := regexp.MustCompile(`^upgrade to ` + to + ` failed: health check failed: Deployment/flux-system/source-controller: ` +
		`pod "source-controller-[^"]+": container "manager" keeps ending, last with exit code 3 \(Error\); rolled back to ` +
		good.Status.LastAppliedRevision + `$`)
	for _, kind := range []string{"Ready", "Stalled", "Upgraded"} {
		if c := engine.Condition(obj, kind); c == nil || c.Reason != "RolledBack" || !want.MatchString(c.Message) {
			e.t.Errorf("%s is %+v", kind, c)
		}
	}
	if obj.Status.LastAppliedRevision != good.Status.LastAppliedRevision || obj.Status.LastAttemptedRevision != to {
		e.t.Errorf("applied %s, attempted %s", obj.Status.LastAppliedRevision, obj.Status.LastAttemptedRevision)
	}
	if h := obj.Status.History; !strings.HasSuffix(good.Status.LastAppliedRevision, h[0].Digest) ||
		h[0].LastReconciledStatus != "ReconciliationSucceeded" || !strings.HasSuffix(to, h[1].Digest) ||
		h[1].LastReconciledStatus != "ReconciliationFailed" {
		e.t.Errorf("history is %+v", h)
	}
	if diff := cmp.Diff(before, e.snapshot(good)); diff != "" {
		e.t.Errorf("not all is as before (-before +after):\n%s", diff)
	}
	if e.exists(&appsv1.Deployment{}, "image-reflector-controller") || e.exists(&corev1.ServiceAccount{}, "image-reflector-controller") ||
		has(obj, extra) {
		e.t.Error("what only the failed revision had is still there")
	}
	const definition = "imagerepositories.image.toolkit.fluxcd.io"
	if !e.exists(&apiextensionsv1.CustomResourceDefinition{}, definition) ||
		!has(obj, "_"+definition+"_apiextensions.k8s.io_CustomResourceDefinition") {
		e.t.Error("a definition is deleted, or forgotten")
	}
	e.expectTold(
		"Progressing Upgrading to revision "+to,
		"RollingBack upgrade to "+to+" failed: health check failed: ",
		"ReconciliationSucceeded Flux v2.9.5 rolled back\n",
		"RolledBack upgrade to "+to+" failed: ",
	)
	e.notAgain(to)
	e.tryAgain(to)
	e.change(doom("source-controller", ""))
	if obj := e.ready(); obj.Status.Upgrade.Phase != "Succeeded" {
		e.t.Errorf("status.upgrade is %+v", obj.Status.Upgrade)
	}
}

// notAgain: neither time nor a restart makes a revision that failed any better. What runs is looked after all the same.
func (e *env) notAgain(to string) {
	e.t.Helper()
	for range 2 {
		e.clock.advance(2 * time.Hour)
		if after := e.once(); after <= 0 || after > time.Hour {
			e.t.Errorf("the next look is in %s", after)
		}
		e.restart()
	}
	e.once()
	e.calm()
	must(e.t, e.c.Delete(e.ctx, &corev1.Service{ObjectMeta: named("source-controller")}))
	e.awaken("a Service was deleted")
	obj := e.hurry("repaired", func(*fluxv1.FluxInstance) bool { return e.exists(&corev1.Service{}, "source-controller") })
	if !rolledBack(obj) || obj.Status.Upgrade.To != to {
		e.t.Errorf("after the repair, status.upgrade is %+v", obj.Status.Upgrade)
	}
	if told := e.told("Progressing Upgrading"); len(told) > 0 {
		e.t.Errorf("it is tried again: %q", told)
	}
}

// tryAgain: a request does.
func (e *env) tryAgain(to string) {
	e.t.Helper()
	e.change(func(obj *fluxv1.FluxInstance) {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, meta.ReconcileRequestAnnotation, "again")
	})
	e.once()
	if obj := e.instance(); obj.Status.Upgrade.Phase != "Applying" || obj.Status.LastHandledReconcileAt != "again" {
		e.t.Errorf("after a request, status.upgrade is %+v", obj.Status.Upgrade)
	}
	e.hurry("rolled back", rolledBack)
	e.expectTold("Progressing Upgrading to revision "+to, "RollingBack ", "ReconciliationSucceeded Flux v2.9.5 rolled back", "RolledBack ")
}

// upgradeTimesOut: a revision has the time that the spec gives it.
func upgradeTimesOut(e *env, _ *kubelet) {
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("notification-controller", unready)(obj)
		obj.Spec.Upgrade = &fluxv1.Upgrade{Timeout: &metav1.Duration{Duration: 2 * time.Minute}}
	})
	e.hurry("waiting", waits)
	e.clock.advance(time.Minute)
	e.once()
	if obj := e.instance(); obj.Status.Upgrade.Phase != "Waiting" {
		e.t.Errorf("before time is up, status.upgrade is %+v", obj.Status.Upgrade)
	}
	e.clock.advance(time.Minute)
	obj := e.hurry("rolled back", rolledBack)
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "RolledBack",
		" failed: health check timed out after 2m0s: Deployment/flux-system/notification-controller status: 'InProgress': ")
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("notification-controller", "")(obj)
		obj.Spec.Upgrade = nil
	})
	e.ready()
}

func upgradeCannotPull(e *env, _ *kubelet) {
	e.clock.advance(time.Minute) // which makes the pods that are still to come old enough
	e.change(doom("notification-controller", pulling))
	obj := e.hurry("rolled back", rolledBack)
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "RolledBack",
		`: container "manager" does not start: image "registry.example.com/weir:v0.1.0@sha256:`+strings.Repeat("0", 64)+`" cannot be pulled; rolled back to `)
}

// upgradeDenied: where there is no pod that could tell, the Deployment does.
func upgradeDenied(e *env, _ *kubelet) {
	quota := &corev1.ResourceQuota{
		ObjectMeta: named("no-more-pods"),
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}},
	}
	must(e.t, e.c.Create(e.ctx, quota))
	e.change(doom("notification-controller", "denied"))
	e.hurry("denied", func(*fluxv1.FluxInstance) bool {
		return slices.ContainsFunc(e.deployment("notification-controller").Status.Conditions, func(c appsv1.DeploymentCondition) bool {
			return c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue
		})
	})
	e.clock.advance(10 * time.Minute)
	obj := e.hurry("rolled back", rolledBack)
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "RolledBack", "; Deployment/flux-system/notification-controller: its pods cannot be made: ")
	must(e.t, e.c.Delete(e.ctx, quota))
	e.change(doom("notification-controller", ""))
	e.ready()
}

// upgradeSuperseded: another revision does not wait for the end of one that is stuck.
func upgradeSuperseded(e *env, _ *kubelet) {
	e.change(doom("source-controller", unready))
	e.hurry("waiting", waits)
	stuck := e.instance().Status.Upgrade.To
	e.change(doom("source-controller", ""))
	if obj := e.ready(); obj.Status.Upgrade.To == stuck || obj.Status.Upgrade.Phase != "Succeeded" {
		e.t.Errorf("status.upgrade is %+v", obj.Status.Upgrade)
	}
	if told := e.told("RollingBack"); len(told) > 0 {
		e.t.Errorf("told was %q", told)
	}
}

// upgradeSoaks: what becomes healthy has to stay so.
func upgradeSoaks(e *env, k *kubelet) {
	soaking := func(round string) *fluxv1.FluxInstance {
		e.change(func(obj *fluxv1.FluxInstance) {
			doom("source-controller", "round "+round)(obj)
			obj.Spec.Upgrade = &fluxv1.Upgrade{Soak: &metav1.Duration{Duration: 10 * time.Minute}}
		})
		return e.hurry("soaking", phase("Soaking"))
	}
	begun := soaking("1")
	expect(e.t, begun, "Ready", metav1.ConditionUnknown, "Progressing", "Reconciliation in progress")
	e.clock.advance(5 * time.Minute)
	if after := e.once(); after > 10*time.Second {
		e.t.Errorf("the next look at a revision that soaks is in %s", after)
	}
	k.set("source-controller", unready)
	e.hurry("not healthy", func(obj *fluxv1.FluxInstance) bool {
		return strings.HasSuffix(engine.Condition(obj, "Reconciling").Message, " to be healthy again")
	})
	k.set("source-controller", "")
	again := e.hurry("healthy again", func(obj *fluxv1.FluxInstance) bool {
		return strings.HasSuffix(engine.Condition(obj, "Reconciling").Message, " has to stay healthy for 10m0s")
	})
	if !again.Status.Upgrade.HealthyAt.After(begun.Status.Upgrade.HealthyAt.Time) {
		e.t.Error("the time without health counts")
	}
	stillSoaks := func(why string) {
		e.once()
		if obj := e.instance(); obj.Status.Upgrade.Phase != "Soaking" {
			e.t.Errorf("%s: status.upgrade is %+v", why, obj.Status.Upgrade)
		}
	}
	e.clock.set(time.Hour)
	stillSoaks("the clock has jumped")
	e.restart() // which finds that it has soaked for an hour, and believes five minutes
	e.hurry("soaking again", phase("Soaking"))
	e.clock.advance(4 * time.Minute)
	stillSoaks("it has not soaked long enough")
	e.clock.advance(time.Minute)
	e.ready()
	e.clock.set(0)

	soaking("2")
	k.set("source-controller", crashing)
	k.forget()
	obj := e.hurry("rolled back", rolledBack)
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "RolledBack", " failed: health was lost while soaking: Deployment/flux-system/source-controller: pod ")

	soaking("3")
	k.set("source-controller", unready)
	k.forget()
	e.hurry("not healthy", func(obj *fluxv1.FluxInstance) bool {
		return strings.HasSuffix(engine.Condition(obj, "Reconciling").Message, " to be healthy again")
	})
	e.clock.advance(time.Minute)
	obj = e.hurry("rolled back", rolledBack)
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "RolledBack",
		" failed: health was lost while soaking: Deployment/flux-system/source-controller status: 'InProgress': ")
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", "")(obj)
		obj.Spec.Upgrade = nil
	})
	e.ready()
}

// upgradeWithOtherSelector: what cannot be changed is made anew, on the way there and on the way back.
func upgradeWithOtherSelector(e *env, _ *kubelet) {
	before := e.deployment("source-controller")
	selector := func(fate string) func(*fluxv1.FluxInstance) {
		return func(obj *fluxv1.FluxInstance) {
			doom("source-controller", fate)(obj)
			obj.Spec.Kustomize.Patches = append(obj.Spec.Kustomize.Patches, meta.Patch{
				Target: &meta.Selector{Kind: "Deployment", Name: "source-controller"},
				Patch: "- {op: add, path: /spec/selector/matchLabels/generation, value: two}\n" +
					"- {op: add, path: /spec/template/metadata/labels/generation, value: two}\n",
			})
		}
	}
	e.change(selector(crashing))
	e.hurry("rolled back", rolledBack)
	back := e.deployment("source-controller")
	if back.UID == before.UID || back.Spec.Selector.MatchLabels["generation"] != "" {
		e.t.Errorf("the Deployment that is back selects %v", back.Spec.Selector.MatchLabels)
	}
	e.change(func(obj *fluxv1.FluxInstance) {
		selector("")(obj)
		obj.Spec.Upgrade = &fluxv1.Upgrade{Mode: fluxv1.UpgradeManual}
	})
	e.waits("WaitingForApproval", "v2.9.5@")
	digest, text := e.plan()
	e.mentions(text, "Deployment/flux-system/source-controller is deleted, and made anew: it cannot be changed so",
		"Deployment/flux-system/source-controller created")
	e.annotate(fluxv1.ApprovedPlanAnnotation, digest)
	e.upgraded("v2.9.5@")
	if now := e.deployment("source-controller"); now.Spec.Selector.MatchLabels["generation"] != "two" {
		e.t.Errorf("the Deployment selects %v", now.Spec.Selector.MatchLabels)
	}
}

// upgradeNotRolledBack: without a way back, the instance says so, and recovers if the revision does.
func upgradeNotRolledBack(e *env, k *kubelet) {
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", crashing)(obj)
		obj.Spec.Upgrade = &fluxv1.Upgrade{Rollback: new(false)}
	})
	obj := e.hurry("failed", phase("Failed"))
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "ReconciliationFailed", "reconciliation failed: health check failed: Deployment/flux-system/source-controller: pod ")
	e.wantUpgradedLike(obj, metav1.ConditionFalse, "UpgradeFailed", "; not rolled back: spec.upgrade.rollback is false")
	e.once()
	k.set("source-controller", "")
	if obj := e.ready(); obj.Status.Upgrade.Phase != "Succeeded" || obj.Status.LastAppliedRevision != obj.Status.Upgrade.To {
		e.t.Errorf("status.upgrade is %+v", obj.Status.Upgrade)
	}
	k.forget()
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", "")(obj)
		obj.Spec.Upgrade = nil
	})
	e.ready()
}

// rollbackFails: a rollback that fails too is tried on, and says why both failed.
func rollbackFails(e *env, k *kubelet) {
	k.set("source-controller", crashing)
	e.change(doom("source-controller", crashing))
	obj := e.hurry("stuck", func(obj *fluxv1.FluxInstance) bool {
		return phase("RollingBack")(obj) && engine.Condition(obj, "Upgraded").Reason == "UpgradeFailed"
	})
	good := obj.Status.LastAppliedRevision
	both := regexp.MustCompile(`^upgrade to ` + obj.Status.Upgrade.To + ` failed: health check failed: .*; rollback to ` + good +
		` failed: health check failed: Deployment/flux-system/source-controller: pod .*$`)
	for kind, reason := range map[string]string{"Ready": "ReconciliationFailed", "Upgraded": "UpgradeFailed"} {
		if c := engine.Condition(obj, kind); c.Status != metav1.ConditionFalse || c.Reason != reason || !both.MatchString(c.Message) {
			e.t.Errorf("%s is %+v", kind, c)
		}
	}
	k.set("source-controller", "")
	e.hurry("rolled back", rolledBack)
	k.forget()
	e.change(doom("source-controller", ""))
	e.ready()
}

// upgradeKilled: an operator that is killed goes on where it was, in every phase.
func upgradeKilled(e *env, k *kubelet) {
	round := func(fate, soak string) func(*fluxv1.FluxInstance) {
		return func(obj *fluxv1.FluxInstance) {
			doom("source-controller", fate)(obj)
			obj.Spec.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"round": fate + soak}}
			obj.Spec.Upgrade = nil
			if soak != "" {
				d, err := time.ParseDuration(soak)
				must(e.t, err)
				obj.Spec.Upgrade = &fluxv1.Upgrade{Soak: &metav1.Duration{Duration: d}}
			}
		}
	}
	succeeded := func(phase string) {
		e.t.Helper()
		if obj := e.ready(); obj.Status.Upgrade.Phase != "Succeeded" || obj.Status.LastAppliedRevision != obj.Status.Upgrade.To {
			e.t.Errorf("after %s, status.upgrade is %+v", phase, obj.Status.Upgrade)
		}
		if told := e.told("Progressing Upgrading"); len(told) != 1 {
			e.t.Errorf("%s: the begin is told %d times", phase, len(told))
		}
	}
	e.change(func(obj *fluxv1.FluxInstance) {
		round("", "1h")(obj)
		obj.Spec.Components = append(obj.Spec.Components, "image-reflector-controller")
	})
	e.once()
	e.kill(4)
	if u := e.instance().Status.Upgrade; u.Phase != "Applying" {
		e.t.Errorf("killed while applying, status.upgrade is %+v", u)
	}
	begun := e.hurry("soaking", phase("Soaking")).Status.Upgrade.HealthyAt
	e.restart()
	e.once()
	if u := e.instance().Status.Upgrade; u.Phase != "Soaking" || !u.HealthyAt.Equal(begun) {
		e.t.Errorf("killed while soaking, status.upgrade is %+v", u)
	}
	e.clock.advance(time.Hour)
	succeeded("Soaking")

	e.change(round(unready, ""))
	e.hurry("waiting", waits)
	e.clock.advance(time.Hour) // which is not held against it
	e.restart()
	e.hurry("waiting", waits)
	k.set("source-controller", "")
	succeeded("Waiting")
	k.forget()

	good := e.instance()
	before := e.snapshot(good)
	e.change(func(obj *fluxv1.FluxInstance) {
		round(crashing, "")(obj)
		obj.Spec.Components = append(obj.Spec.Components, "image-automation-controller")
	})
	e.hurry("on the way back", phase("RollingBack"))
	k.set("source-controller", "") // the good one was on its way with unready pods
	e.kill(2)
	if u := e.instance().Status.Upgrade; u.Phase != "RollingBack" {
		e.t.Errorf("killed on the way back, status.upgrade is %+v", u)
	}
	e.hurry("rolled back", rolledBack)
	if diff := cmp.Diff(before, e.snapshot(good)); diff != "" {
		e.t.Errorf("not all is as before (-before +after):\n%s", diff)
	}
	if e.exists(&appsv1.Deployment{}, "image-automation-controller") {
		e.t.Error("what only the failed revision had is still there")
	}
	k.forget()
	e.change(func(obj *fluxv1.FluxInstance) {
		round("", "")(obj)
		obj.Spec.Components = []string{"source-controller", "notification-controller"}
	})
	e.ready()
}

// kill ends the process after so many writes of its next run, and starts another one.
func (e *env) kill(writes int) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	e.wire.watched(func(written int) {
		if written == writes {
			cancel()
		}
	})
	_, _ = e.runner.Reconcile(ctx, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: "flux"}}) // nobody hears of it
	if ctx.Err() == nil {
		e.t.Errorf("the run ended after less than %d writes", writes)
	}
	e.wire.watched(nil)
	e.restart()
}

// upgradeWithoutWait: who does not want to wait does not, and has nothing to go back for.
func upgradeWithoutWait(e *env, _ *kubelet) {
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", crashing)(obj)
		obj.Spec.Wait = new(false)
		obj.Spec.Upgrade = &fluxv1.Upgrade{Soak: &metav1.Duration{Duration: time.Hour}}
	})
	if obj := e.ready(); obj.Status.Upgrade.Phase != "Succeeded" || obj.Status.Upgrade.HealthyAt != nil {
		e.t.Errorf("status.upgrade is %+v", obj.Status.Upgrade)
	}
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", "")(obj)
		obj.Spec.Wait, obj.Spec.Upgrade = nil, nil
	})
	e.ready()
}

// idle: a run that finds nothing to do asks nobody, and the status stays small.
func idle(e *env, _ *kubelet) {
	e.ready()
	e.wire.watched(nil)
	e.once()
	e.clock.advance(30 * time.Minute)
	e.once()
	if sent := e.wire.watched(nil); len(sent) > 0 {
		e.t.Errorf("an idle run asks for %q", sent)
	}
	e.clock.advance(time.Hour)
	e.once()
	for _, request := range e.wire.watched(nil) {
		if !strings.Contains(request, "dryRun=All") {
			e.t.Errorf("a check asks for %q", request)
		}
	}
	status, err := json.Marshal(e.instance().Status)
	must(e.t, err)
	if len(status) > 16<<10 {
		e.t.Errorf("the status has %d bytes", len(status))
	}
}

// doom decides by the spec what becomes of the pods of a Deployment.
func doom(app, fate string) func(*fluxv1.FluxInstance) {
	return func(obj *fluxv1.FluxInstance) {
		obj.Spec.Kustomize = &fluxv1.Kustomize{Patches: []meta.Patch{{
			Target: &meta.Selector{Kind: "Deployment", Name: app},
			Patch: fmt.Sprintf(
				`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s}, spec: {template: {metadata: {annotations: {fate: %q}}}}}`, app, fate),
		}}}
	}
}

func rolledBack(obj *fluxv1.FluxInstance) bool {
	return phase("RolledBack")(obj) && isTrue(obj, "Stalled")
}

func phase(name string) func(*fluxv1.FluxInstance) bool {
	return func(obj *fluxv1.FluxInstance) bool {
		return obj.Status.Upgrade != nil && obj.Status.Upgrade.Phase == name
	}
}

func isFalse(obj *fluxv1.FluxInstance, condition string) bool {
	c := engine.Condition(obj, condition)
	return c != nil && c.Status == metav1.ConditionFalse
}

// hurry runs the kind again and again, whenever it is due, until the instance is as wanted.
func (e *env) hurry(what string, wanted func(*fluxv1.FluxInstance) bool) *fluxv1.FluxInstance {
	e.t.Helper()
	var obj *fluxv1.FluxInstance
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		e.once()
		if obj = e.instance(); wanted(obj) {
			return obj
		}
		select {
		case <-tick.C:
		case <-deadline:
			obj.Status.Inventory = nil
			status, _ := json.MarshalIndent(obj, "", "  ") //nolint:errchkjson // it is shown as far as it goes
			e.t.Fatalf("the instance does not become %s:\n%s", what, status)
		}
	}
}

func (e *env) wantUpgraded(obj *fluxv1.FluxInstance, status metav1.ConditionStatus, reason, message string) {
	e.t.Helper()
	if c := engine.Condition(obj, "Upgraded"); c == nil || c.Status != status || c.Reason != reason || c.Message != message {
		e.t.Errorf("Upgraded is %+v, want %s %s %q", c, status, reason, message)
	}
}

func (e *env) wantUpgradedLike(obj *fluxv1.FluxInstance, status metav1.ConditionStatus, reason, message string) {
	e.t.Helper()
	expect(e.t, obj, "Upgraded", status, reason, message)
}

// expectTold compares the beginnings of all events since the last look.
func (e *env) expectTold(want ...string) {
	e.t.Helper()
	told := e.told("")
	if len(told) != len(want) {
		e.t.Errorf("told was %q, want %q", told, want)
		return
	}
	for i := range want {
		if !strings.HasPrefix(told[i], want[i]) {
			e.t.Errorf("event %d is %q, want %q", i, told[i], want[i])
		}
	}
}

// snapshot reads what the instance has deployed, but for what is not its doing.
func (e *env) snapshot(obj *fluxv1.FluxInstance) map[string]any {
	e.t.Helper()
	out := map[string]any{}
	for _, entry := range obj.Status.Inventory.Entries {
		ref, err := access.ParseInventory(entry)
		must(e.t, err)
		live, err := e.own.Get(e.ctx, ref)
		must(e.t, err)
		for _, path := range [][]string{
			{"status"}, {"metadata", "managedFields"}, {"metadata", "resourceVersion"}, {"metadata", "generation"},
			{"metadata", "annotations", "deployment.kubernetes.io/revision"},
		} {
			unstructured.RemoveNestedField(live.Object, path...)
		}
		out[entry.ID] = live.Object
	}
	return out
}
