package instance_test

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/registry"
	"github.com/weir-dev/weir/test/signing"
	"github.com/weir-dev/weir/test/upstream"
)

// publisher publishes distributions with the layout of upstream, and signs them.
type publisher struct {
	t      *testing.T
	s      *registry.Server
	cosign *signing.Cosign
	key    *signing.Key
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	s, err := registry.Serve(t.Context(), registry.Options{})
	must(t, err)
	t.Cleanup(s.Close)
	cosign, err := signing.NewCosign(t.Context(), t.TempDir(), t.Output())
	must(t, err)
	key, err := cosign.Key(t.Context(), "mine")
	must(t, err)
	return &publisher{t: t, s: s, cosign: cosign, key: key}
}

// push puts something under a tag and returns its digest.
func (p *publisher) push(repository, tag string, img v1.Image, signed bool) string {
	p.t.Helper()
	digest, err := p.s.Push(p.t.Context(), repository, tag, img)
	must(p.t, err)
	if signed {
		must(p.t, p.cosign.Sign(p.t.Context(), p.s.Addr+"/"+repository+"@"+digest.String(), p.key, signing.Bundle))
	}
	return digest.String()
}

// images publishes those of a version, signed.
func (p *publisher) images(version string) {
	p.t.Helper()
	for _, c := range slices.Sorted(maps.Keys(upstream.Components())) {
		img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(c+version), types.OCILayer))
		must(p.t, err)
		p.push(c, version, img, true)
	}
}

// distribution publishes the manifests of a version under the tag latest. With a note it differs from others.
func (p *publisher) distribution(version, note string, signed bool) string {
	p.t.Helper()
	files := upstreamFiles(p.t, version)
	img, err := registry.Flux(files, map[string]string{"note": note})
	must(p.t, err)
	return p.push("org/dist", "latest", img, signed)
}

// broken publishes manifests without rights, signed.
func (p *publisher) broken(version string) {
	p.t.Helper()
	files := upstreamFiles(p.t, version)
	delete(files, "flux/"+version+"/rbac.yaml")
	img, err := registry.Flux(files, nil)
	must(p.t, err)
	p.push("org/dist", "latest", img, true)
}

const artifactInterval = fluxv1.DefaultArtifactInterval + time.Second

// TestRelease installs what upstream publishes, verified, and follows it: what is not signed never gets to the cluster, and a
// registry that is away, or a signature that is no longer good, takes nothing away.
func TestRelease(t *testing.T) {
	p := newPublisher(t)
	p.images("v2.9.5")
	p.images("v2.9.6")
	digest := p.distribution("v2.9.5", "", true)

	e := start(t)
	k := e.kubelet()
	keys := &corev1.Secret{ObjectMeta: named("cosign"), Data: map[string][]byte{"cosign.pub": p.key.Public}}
	must(t, e.c.Create(e.ctx, keys))
	nobody := &fluxv1.FluxInstance{ObjectMeta: named("flux")}
	nobody.Spec.Distribution = fluxv1.Distribution{Version: "2.x", Registry: "r", Verify: &fluxv1.DistributionVerification{}}
	if err := e.c.Create(e.ctx, nobody); err == nil || !strings.Contains(err.Error(), "exactly one of secretRef and matchOIDCIdentity must be set") {
		t.Errorf("verification by nobody is admitted: %v", err)
	}
	e.create(`
distribution:
  version: 2.x
  registry: ` + p.s.Addr + `
  variant: upstream-alpine
  artifact: oci://` + p.s.Addr + `/org/dist:latest
  verify: {secretRef: {name: cosign}}
`)
	obj := e.ready()
	if obj.Status.LastArtifactRevision != digest || !strings.HasPrefix(obj.Status.LastAppliedRevision, "v2.9.5@sha256:") {
		t.Errorf("status has %s of %s, want %s", obj.Status.LastAppliedRevision, obj.Status.LastArtifactRevision, digest)
	}
	expect(t, obj, "DistributionVerified", metav1.ConditionTrue, "Succeeded", "verified signatures of artifact "+digest+" and 4 images by cosign.pub")
	image := e.deployment("source-controller").Spec.Template.Spec.Containers[0].Image
	if !strings.HasPrefix(image, p.s.Addr+"/source-controller:v2.9.5@sha256:") {
		t.Errorf("source-controller runs %q", image)
	}

	// what checks that nothing changed since the last good release.
	unchanged := func(why string) {
		t.Helper()
		now := e.instance()
		if now.Status.LastAppliedRevision != obj.Status.LastAppliedRevision || now.Status.LastArtifactRevision != obj.Status.LastArtifactRevision {
			t.Errorf("%s: %s of %s", why, now.Status.LastAppliedRevision, now.Status.LastArtifactRevision)
		}
		if got := e.deployment("source-controller").Spec.Template.Spec.Containers[0].Image; got != image {
			t.Errorf("%s: source-controller runs %q", why, got)
		}
	}
	refused := func(why, message string) {
		t.Helper()
		e.told("")
		e.clock.advance(artifactInterval)
		now := e.run("refused: "+why, func(obj *fluxv1.FluxInstance) bool { return !isTrue(obj, "Ready") })
		expect(t, now, "Ready", metav1.ConditionFalse, "VerificationError", message)
		expect(t, now, "DistributionVerified", metav1.ConditionFalse, "VerificationError", message)
		if told := e.told("VerificationError "); len(told) != 1 || !strings.Contains(told[0], message) {
			t.Errorf("%s: events %q", why, told)
		}
		unchanged(why)
		e.repairs(why)
	}

	p.distribution("v2.9.6", "", false)
	refused("unsigned", "is not signed: a key of secret \"flux-system/cosign\" has to have signed it")

	// An artifact that makes no objects stalls the instance, until there is another one.
	p.broken("v2.9.6")
	e.clock.advance(artifactInterval)
	now := e.run("stalled", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	expect(t, now, "Ready", metav1.ConditionFalse, "BuildFailed", "build failed: the artifact holds no \"flux/v2.9.6/rbac.yaml\"")
	unchanged("broken")
	if after := e.once(); after <= 0 || after > artifactInterval {
		t.Errorf("a new artifact is looked for in %s", after)
	}

	digest = p.distribution("v2.9.6", "signed", true)
	obj = e.ready()
	if obj.Status.LastArtifactRevision != digest || !strings.HasPrefix(obj.Status.LastAppliedRevision, "v2.9.6@sha256:") {
		t.Errorf("status has %s of %s, want %s", obj.Status.LastAppliedRevision, obj.Status.LastArtifactRevision, digest)
	}
	image = e.deployment("source-controller").Spec.Template.Spec.Containers[0].Image
	if !strings.HasPrefix(image, p.s.Addr+"/source-controller:v2.9.6@sha256:") {
		t.Errorf("source-controller runs %q", image)
	}

	// A release whose pods crash is taken back. The one before may be published again, and others of its age may not.
	p.images("v2.9.7")
	p.distribution("v2.9.7", "", true)
	k.set(":v2.9.7@", crashing)
	e.clock.advance(artifactInterval)
	now = e.hurry("rolled back", rolledBack)
	expect(t, now, "Ready", metav1.ConditionFalse, "RolledBack", "; rolled back to "+obj.Status.LastAppliedRevision)
	unchanged("rolled back")
	p.push("org/dist", "latest", e.republish(p, digest), false)
	e.clock.advance(artifactInterval)
	if now = e.ready(); now.Status.Upgrade.Phase != "Succeeded" || now.Status.Upgrade.To != obj.Status.LastAppliedRevision {
		t.Errorf("after the way back was published, status.upgrade is %+v", now.Status.Upgrade)
	}

	p.distribution("v2.9.5", "again", true)
	refused("downgraded", "holds v2.9.5, which is older than the accepted v2.9.6")
	p.push("org/dist", "latest", e.republish(p, digest), false)
	e.ready()

	// The key is taken back.
	e.patch(keys, `{"data":{"cosign.pub":null,"other.pub":"`+other(t, p)+`"}}`)
	refused("revoked", "is not signed by a key of secret \"flux-system/cosign\": ")
	e.patch(keys, `{"data":{"cosign.pub":"`+encode(p.key.Public)+`"}}`)
	obj = e.ready()

	// The registry is away. What is changed by hand is put back all the same.
	p.s.Close()
	e.told("")
	e.clock.advance(artifactInterval)
	e.patch(e.deployment("source-controller"), `{"spec":{"replicas":0}}`)
	now = e.run("corrected", func(obj *fluxv1.FluxInstance) bool {
		return isTrue(obj, "Ready") && isTrue(obj, meta.FetchFailedCondition) && *e.deployment("source-controller").Spec.Replicas == 1
	})
	if told := e.told("ArtifactFailed fetch failed: "); len(told) != 1 {
		t.Errorf("an outage is told of by %q", told)
	}
	expect(t, now, meta.FetchFailedCondition, metav1.ConditionTrue, "ArtifactFailed", "fetch failed: ")
	unchanged("outage")

	// An operator that is started anew meanwhile goes by the record of what was verified last.
	e.restart()
	e.repairs("outage after a restart")
	now = e.instance()
	expect(t, now, "Ready", metav1.ConditionTrue, "ReconciliationSucceeded", "")
	expect(t, now, meta.FetchFailedCondition, metav1.ConditionTrue, "ArtifactFailed", "fetch failed: ")
	unchanged("outage after a restart")
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Components = []string{"source-controller", "helm-controller"} })
	e.repairs("outage with another spec")
	now = e.instance()
	expect(t, now, "Ready", metav1.ConditionFalse, "ArtifactFailed", "fetch failed: ")
	if !e.exists(&appsv1.Deployment{}, "kustomize-controller") {
		t.Error("what the spec does not want any more is taken out, and nobody knows what it wants instead")
	}
	// Whoever asks for other signatures now has nothing that carries them.
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Distribution.Verify.SecretRef.Name = "others" })
	must(t, e.c.Delete(e.ctx, &corev1.Service{ObjectMeta: named("source-controller")}))
	e.once()
	now = e.instance()
	expect(t, now, "Ready", metav1.ConditionFalse, "VerificationError",
		"meanwhile nothing is put back: "+obj.Status.LastAppliedRevision+" was not verified as spec.distribution.verify asks")
	if e.exists(&corev1.Service{}, "source-controller") {
		t.Error("what is not verified is applied")
	}
	e.leave()
	must(t, e.c.Delete(e.ctx, keys))
}

// repairs sees to it that what is deleted by hand comes back.
func (e *env) repairs(when string) {
	e.t.Helper()
	must(e.t, e.c.Delete(e.ctx, &corev1.Service{ObjectMeta: named("source-controller")}))
	e.hurry("repaired: "+when, func(*fluxv1.FluxInstance) bool { return e.exists(&corev1.Service{}, "source-controller") })
}

func expect(t *testing.T, obj *fluxv1.FluxInstance, kind string, status metav1.ConditionStatus, reason, message string) {
	t.Helper()
	c := engine.Condition(obj, kind)
	if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, message) {
		t.Errorf("%s is %+v, want %s %s %q", kind, c, status, reason, message)
	}
}

// republish returns what was published under the digest.
func (e *env) republish(p *publisher, digest string) v1.Image {
	e.t.Helper()
	ref, err := name.NewDigest(p.s.Addr + "/org/dist@" + digest)
	must(e.t, err)
	img, err := remote.Image(ref, remote.WithContext(e.ctx))
	must(e.t, err)
	return img
}

// other returns a public key that signed nothing.
func other(t *testing.T, p *publisher) string {
	t.Helper()
	key, err := p.cosign.Key(t.Context(), "other")
	must(t, err)
	return encode(key.Public)
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
