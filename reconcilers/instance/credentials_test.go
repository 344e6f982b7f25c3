package instance_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// TestRevokedKey refuses a release as soon as the key that it was signed with is taken back, and takes it as soon as it is put back. No
// clock moves.
func TestRevokedKey(t *testing.T) {
	p := newPublisher(t)
	p.images("v2.9.5")
	p.distribution("v2.9.5", "", true)
	e := start(t)
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
wait: false
`)
	before, stranger := e.ready(), other(t, p)
	for range 2 {
		e.told("")
		e.calm()
		e.patch(keys, `{"data":{"cosign.pub":null,"other.pub":"`+stranger+`"}}`)
		e.awaken("the key is taken back")
		const message = `is not signed by a key of secret "flux-system/cosign": `
		obj := e.run("refused", func(obj *fluxv1.FluxInstance) bool { return !isTrue(obj, "Ready") })
		expect(t, obj, "Ready", metav1.ConditionFalse, "VerificationError", message)
		expect(t, obj, "DistributionVerified", metav1.ConditionFalse, "VerificationError", message)
		if told := e.told("VerificationError "); len(told) != 1 {
			t.Errorf("events %q", told)
		}
		if obj.Status.LastAppliedRevision != before.Status.LastAppliedRevision {
			t.Errorf("applied %q", obj.Status.LastAppliedRevision)
		}

		e.calm()
		must(t, e.c.Delete(e.ctx, keys))
		e.awaken("the Secret is gone")
		e.calm()
		keys = &corev1.Secret{ObjectMeta: named("cosign"), Data: map[string][]byte{"cosign.pub": p.key.Public}}
		must(t, e.c.Create(e.ctx, keys))
		e.awaken("the key is there again")
		obj = e.ready()
		if diff := cmp.Diff(before.Status.LastAppliedRevision, obj.Status.LastAppliedRevision); diff != "" {
			t.Errorf("revision, -before +after\n%s", diff)
		}
	}
	e.leave()
	must(t, e.c.Delete(e.ctx, keys))
}
