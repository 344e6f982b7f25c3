package instance_test

import (
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// upgradeRefused: what the API server does not take is tried until time is up, and changes nothing.
func upgradeRefused(e *env, _ *kubelet) {
	good := e.instance()
	before := e.deployment("source-controller")
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Kustomize = &fluxv1.Kustomize{Patches: []meta.Patch{{
			Target: &meta.Selector{Kind: "Deployment", Name: "source-controller"},
			Patch:  `[{"op": "add", "path": "/spec/template/spec/dnsPolicy", "value": "Nonsense"}]`,
		}}}
	})
	obj := e.hurry("refused", func(obj *fluxv1.FluxInstance) bool { return isFalse(obj, "Ready") })
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "ReconciliationFailed", "reconciliation failed: Deployment/flux-system/source-controller dry-run failed (Invalid)")
	e.clock.advance(5 * time.Minute)
	obj = e.hurry("rolled back", rolledBack)
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "RolledBack",
		" failed: Deployment/flux-system/source-controller dry-run failed (Invalid): ")
	if after := e.deployment("source-controller"); after.Generation != before.Generation {
		e.t.Error("what was refused has changed something")
	}
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Kustomize = good.Spec.Kustomize })
	if obj = e.ready(); obj.Status.LastAppliedRevision != good.Status.LastAppliedRevision || !phase("Succeeded")(obj) {
		e.t.Errorf("with the spec of before, status.upgrade is %+v", obj.Status.Upgrade)
	}
}

// upgradeCutOff: while the API server does not answer, the time of a revision does not run.
func upgradeCutOff(e *env, k *kubelet) {
	e.change(doom("source-controller", unready))
	e.hurry("waiting", waits)
	e.wire.cut(true)
	must(e.t, e.c.Delete(e.ctx, e.deployment("notification-controller")))
	e.hurry("cut off", func(obj *fluxv1.FluxInstance) bool { return isFalse(obj, "Ready") })
	e.clock.advance(time.Hour)
	e.once()
	e.wire.cut(false)
	e.hurry("waiting", waits)
	k.set("source-controller", "")
	if obj := e.ready(); !phase("Succeeded")(obj) {
		e.t.Errorf("after an hour without API server, status.upgrade is %+v", obj.Status.Upgrade)
	}
	k.forget()
	e.change(doom("source-controller", ""))
	e.ready()
}

// definitionsStay: a definition whose newer version has stored objects cannot go back, and keeps nothing else from doing so.
func definitionsStay(e *env, _ *kubelet) {
	const name = "receivers.notification.toolkit.fluxcd.io"
	good := e.instance()
	e.change(func(obj *fluxv1.FluxInstance) {
		doom("source-controller", crashing)(obj)
		obj.Spec.Components = append(obj.Spec.Components, "image-reflector-controller")
		obj.Spec.Kustomize.Patches = append(obj.Spec.Kustomize.Patches, meta.Patch{
			Target: &meta.Selector{Kind: "CustomResourceDefinition", Name: name},
			Patch: `[{"op": "replace", "path": "/spec/versions/0/storage", "value": false}, {"op": "add", "path": "/spec/versions/-", "value":
				{"name": "v9", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}]`,
		})
	})
	obj := e.hurry("rolled back", rolledBack)
	e.wantUpgradedLike(obj, metav1.ConditionFalse, "RolledBack", "; rolled back to "+good.Status.LastAppliedRevision+
		", but for what has stored objects of newer versions: CustomResourceDefinition/"+name)
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if !e.exists(definition, name) || !strings.Contains(strings.Join(definition.Status.StoredVersions, " "), "v9") {
		e.t.Errorf("the definition has %v", definition.Status.StoredVersions)
	}
	if e.exists(&appsv1.Deployment{}, "image-reflector-controller") {
		e.t.Error("what only the failed revision had is still there")
	}
	e.once()
	e.wire.watched(nil)
	e.once()
	if sent := e.wire.watched(nil); len(sent) > 0 {
		e.t.Errorf("an idle run asks for %q", sent)
	}
	e.restart()
	if obj := e.hurry("rolled back", rolledBack); obj.Status.LastAppliedRevision != good.Status.LastAppliedRevision {
		e.t.Errorf("after a restart, %s is applied", obj.Status.LastAppliedRevision)
	}
}
