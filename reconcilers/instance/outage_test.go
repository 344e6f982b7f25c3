package instance_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// TestOutageAfterRefusal takes an upgrade back because its signature is revoked. That the registry is away afterwards does not make the
// release a good one again.
func TestOutageAfterRefusal(t *testing.T) {
	p := newPublisher(t)
	p.images("v2.9.5")
	p.images("v2.9.6")
	p.distribution("v2.9.5", "", true)
	e := start(t)
	k := e.kubelet()
	keys := &corev1.Secret{ObjectMeta: named("cosign"), Data: map[string][]byte{"cosign.pub": p.key.Public}}
	must(t, e.c.Create(e.ctx, keys))
	e.create(`
distribution:
  version: 2.x
  registry: ` + p.s.Addr + `
  variant: upstream-alpine
  artifact: oci://` + p.s.Addr + `/org/dist:latest
  verify: {secretRef: {name: cosign}}
components: [source-controller]
upgrade: {timeout: 2h}
`)
	good := e.ready().Status.LastAppliedRevision
	runs := func(version string) bool { return strings.Contains(e.runs("source-controller"), ":"+version+"@") }

	k.set(":v2.9.6@", unready)
	p.distribution("v2.9.6", "", true)
	e.clock.advance(artifactInterval)
	e.hurry("waiting", waits)
	if !runs("v2.9.6") {
		t.Fatalf("the upgrade runs %q", e.runs("source-controller"))
	}
	e.patch(keys, `{"data":{"cosign.pub":null,"other.pub":"`+other(t, p)+`"}}`)
	e.hurry("refused", func(obj *fluxv1.FluxInstance) bool { return isFalse(obj, "DistributionVerified") && runs("v2.9.5") })

	p.s.Close()
	e.clock.advance(artifactInterval)
	obj := e.hurry("cut off", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, meta.FetchFailedCondition) })
	for range 3 {
		e.once()
		obj = e.instance()
	}
	if !runs("v2.9.5") || obj.Status.LastAppliedRevision != good {
		t.Errorf("what was refused runs: %q, of %q", e.runs("source-controller"), obj.Status.LastAppliedRevision)
	}
	expect(t, obj, "Ready", metav1.ConditionFalse, "ArtifactFailed", "fetch failed: ")
	expect(t, obj, "DistributionVerified", metav1.ConditionFalse, "VerificationError", "is not signed by a key of secret")
	e.leave()
	must(t, e.c.Delete(e.ctx, keys))
}
