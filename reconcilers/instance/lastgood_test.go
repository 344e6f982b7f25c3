package instance_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// recordsOfUpgrades: what comes back is what ran, or nothing.
func recordsOfUpgrades(e *env, _ *kubelet) {
	heal := func() {
		e.t.Helper()
		e.change(doom("source-controller", ""))
		e.ready()
		if !e.exists(&corev1.Secret{}, recordName) {
			e.t.Error("a good revision has no record")
		}
	}
	must(e.t, e.c.Delete(e.ctx, &corev1.Secret{ObjectMeta: named(recordName)}))
	e.restart()
	e.change(doom("source-controller", crashing))
	obj := e.hurry("failed", phase("Failed"))
	e.wantUpgradedLike(obj, metav1.ConditionFalse, "UpgradeFailed", "; not rolled back: there is no record of "+obj.Status.LastAppliedRevision)
	heal()

	e.tamper()
	e.restart()
	e.change(doom("source-controller", crashing))
	obj = e.hurry("failed", phase("Failed"))
	e.wantUpgradedLike(obj, metav1.ConditionFalse, "UpgradeFailed",
		`; not rolled back: the record in "Secret/flux-system/flux-last-release" is not to be trusted: its objects have the digest sha256:`)
	heal()

	// A spec that makes nothing leaves what runs as it is, and says if that cannot be looked after.
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Distribution.Version = "1.x" })
	e.run("stalled", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	must(e.t, e.c.Delete(e.ctx, &corev1.Service{ObjectMeta: named("source-controller")}))
	obj = e.hurry("repaired", func(*fluxv1.FluxInstance) bool { return e.exists(&corev1.Service{}, "source-controller") })
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "BuildFailed", "build failed: no match found for semver: 1.x: this operator carries 2.9.5")
	e.restart()
	must(e.t, e.c.Delete(e.ctx, &corev1.Service{ObjectMeta: named("source-controller")}))
	e.hurry("repaired by another process", func(*fluxv1.FluxInstance) bool { return e.exists(&corev1.Service{}, "source-controller") })
	e.tamper()
	e.restart()
	must(e.t, e.c.Delete(e.ctx, &corev1.Service{ObjectMeta: named("source-controller")}))
	e.once()
	obj = e.instance()
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "BuildFailed", `; meanwhile nothing is put back: the record in "Secret/flux-system/flux-last-release" is not to be trusted: `)
	if e.exists(&corev1.Service{}, "source-controller") || e.exists(&corev1.ServiceAccount{}, "intruder") {
		e.t.Error("what a record that was tampered with holds is applied")
	}
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Distribution.Version = "2.x" })
	e.ready()

	// What is too large for a Secret runs all the same.
	noise := make([]byte, 120<<10)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte('a' + random.IntN(26))
	}
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.CommonMetadata = &meta.CommonMetadata{Annotations: map[string]string{"noise": string(noise)}}
	})
	obj = e.ready()
	e.wantUpgradedLike(obj, metav1.ConditionTrue, "UpgradeSucceeded", " runs; it cannot be brought back later: its objects have ")
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.CommonMetadata = nil })
	e.ready()
}

// tamper puts an object into the record that is not of the revision.
func (e *env) tamper() {
	e.t.Helper()
	secret := &corev1.Secret{}
	if !e.exists(secret, recordName) {
		e.t.Fatal("there is no record to tamper with")
	}
	zip, err := gzip.NewReader(bytes.NewReader(secret.Data["objects.yaml.gz"]))
	must(e.t, err)
	content, err := io.ReadAll(zip)
	must(e.t, err)
	intruder := "---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: intruder, namespace: flux-system}}\n"
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = io.Copy(w, io.MultiReader(bytes.NewReader(content), strings.NewReader(intruder)))
	must(e.t, err)
	must(e.t, w.Close())
	secret.Data["objects.yaml.gz"] = b.Bytes()
	must(e.t, e.c.Update(e.ctx, secret))
}
