package instance

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/reconcilers/distribution"
)

// goodSet is what a plain instance is made of.
func goodSet(t *testing.T) (*fluxv1.FluxInstance, *distribution.Set) {
	t.Helper()
	d, err := distribution.Load(manifests.FS(), crd.FS())
	if err != nil {
		t.Fatal(err)
	}
	obj := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "flux", UID: "1"}}
	obj.Spec.Distribution = fluxv1.Distribution{Version: "2.x", Registry: "ghcr.io/fluxcd"}
	set, err := d.Build(obj, distribution.Options{Image: distribution.Image{Repository: "weir", Tag: "v1"}})
	if err != nil {
		t.Fatal(err)
	}
	return obj, set
}

func secretOf(t *testing.T, obj *fluxv1.FluxInstance, good *record) *corev1.Secret {
	t.Helper()
	body, _, err := encode(obj, good)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{}
	if err := json.Unmarshal(body, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

func zipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRecord: what comes out of a record is what went in, or nothing.
func TestRecord(t *testing.T) {
	obj, set := goodSet(t)
	good := &record{set: set, details: details{
		Revision: set.Revision(), Spec: "sha256:1", Images: set.Images,
		Verify: &fluxv1.DistributionVerification{SecretRef: &meta.LocalObjectReference{Name: "cosign"}},
	}}
	_, digest, err := encode(obj, good)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(secretOf(t, obj, good), set.Revision(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(good.details, got.details); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	again, err := got.set.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if once, _ := set.YAML(); !bytes.Equal(once, again) || got.set.Revision() != set.Revision() {
		t.Error("the objects of a record are not those of the set")
	}

	content, err := set.YAML()
	if err != nil {
		t.Fatal(err)
	}
	evil := bytes.Replace(content, []byte("--log-level=info"), []byte("--log-level=evil"), 1)
	if bytes.Equal(evil, content) {
		t.Fatal("nothing was tampered with")
	}
	for name, tc := range map[string]struct {
		reason   string
		revision string
		edit     func(*corev1.Secret)
		want     string
	}{
		"Tampered": {
			"Whoever may write Secrets must not get to write ClusterRoles.", set.Revision(),
			func(s *corev1.Secret) { s.Data[objectsEntry] = zipped(t, evil) }, "its objects have the digest ",
		},
		"Another": {
			"A record of another revision is not what ran.", "v2.9.5@sha256:" + strings.Repeat("0", 64),
			func(*corev1.Secret) {}, "its objects have the digest ",
		},
		"Truncated": {
			"Half a record is none.", set.Revision(),
			func(s *corev1.Secret) { s.Data[objectsEntry] = s.Data[objectsEntry][:1000] }, `decompress "objects.yaml.gz"`,
		},
		"Bomb": {
			"A record does not fill the memory.", set.Revision(),
			func(s *corev1.Secret) {
				s.Data[objectsEntry] = bytes.Repeat(zipped(t, make([]byte, 1<<20)), maxObjects>>20+1)
			}, "has more than 33554432 bytes",
		},
		"NotCompressed": {
			"What is no gzip is no record.", set.Revision(),
			func(s *corev1.Secret) { s.Data[objectsEntry] = content }, `decompress "objects.yaml.gz"`,
		},
		"NoDetails": {
			"Without its details nobody knows how it was verified.", set.Revision(),
			func(s *corev1.Secret) { delete(s.Data, releaseEntry) }, `"release.json" has the digest `,
		},
		"Forged": {
			"Whoever may write Secrets must not get to say how the objects were verified.", set.Revision(),
			func(s *corev1.Secret) {
				s.Data[releaseEntry] = bytes.Replace(s.Data[releaseEntry], []byte("cosign"), []byte("others"), 1)
			}, `"release.json" has the digest `,
		},
		"Type": {
			"A Secret of another type is somebody else's.", set.Revision(),
			func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }, `its type is "Opaque"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			secret := secretOf(t, obj, good)
			tc.edit(secret)
			if _, err := decode(secret, tc.revision, digest); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s got error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestRecordTooLarge(t *testing.T) {
	obj, set := goodSet(t)
	noise := make([]byte, 1300<<10)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte('!' + random.IntN(90))
	}
	large := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "large"}, "data": map[string]any{"noise": string(noise)},
	}}
	set.Objects = append(set.Objects, large)
	_, _, err := encode(obj, &record{set: set})
	if unusable, ok := errors.AsType[*unusableError](err); !ok || !strings.Contains(unusable.Error(), "and a Secret takes 1015808") {
		t.Errorf("a record that is too large is refused with %v", err)
	}
}

func TestAtLeast(t *testing.T) {
	key := func(name string) *fluxv1.DistributionVerification {
		return &fluxv1.DistributionVerification{Provider: "cosign", SecretRef: &meta.LocalObjectReference{Name: name}}
	}
	who := func(root string, subjects ...string) *fluxv1.DistributionVerification {
		v := &fluxv1.DistributionVerification{Provider: "cosign", TrustedRootSecretRef: &meta.LocalObjectReference{Name: root}}
		for _, s := range subjects {
			v.MatchOIDCIdentity = append(v.MatchOIDCIdentity, fluxv1.SignerIdentity{Issuer: "i", Subject: s})
		}
		return v
	}
	for name, tc := range map[string]struct {
		reason     string
		had, asked *fluxv1.DistributionVerification
		want       bool
	}{
		"NothingAsked":  {"What was verified is as good as what was not.", key("a"), nil, true},
		"NothingHad":    {"What nobody verified does not pass.", nil, key("a"), false},
		"Same":          {"The settings are the same.", key("a"), key("a"), true},
		"OtherKey":      {"Another key may not have signed it.", key("a"), key("b"), false},
		"KeyToIdentity": {"Another kind of signature.", key("a"), who("r", "x"), false},
		"Fewer":         {"Who passed as one of few passes as one of more.", who("r", "x"), who("r", "x", "y"), true},
		"More":          {"One of those may have signed it who is no longer trusted.", who("r", "x", "y"), who("r", "x"), false},
		"OtherRoot":     {"Somebody else vouches.", who("r", "x"), who("q", "x"), false},
	} {
		if got := atLeast(tc.had, tc.asked); got != tc.want {
			t.Errorf("%s: got %t: %s", name, got, tc.reason)
		}
	}
}
