package release_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/release"
	"github.com/weir-dev/weir/reconcilers/secrets"
	server "github.com/weir-dev/weir/test/registry"
	"github.com/weir-dev/weir/test/signing"
	"github.com/weir-dev/weir/test/upstream"
)

const (
	issuer = "https://issuer.test"
	alice  = "https://git.test/weir/"
)

// world is a registry with an artifact and images, and the secrets of an instance.
type world struct {
	t        *testing.T
	s        *server.Server
	secrets  map[string]map[string][]byte
	releases *release.Releases
}

func newWorld(t *testing.T, o server.Options) *world {
	t.Helper()
	s, err := server.Serve(t.Context(), o)
	check(t, err)
	t.Cleanup(s.Close)
	w := &world{t: t, s: s, secrets: map[string]map[string][]byte{}}
	w.releases = w.open()
	return w
}

// open returns releases that know nothing.
func (w *world) open() *release.Releases {
	w.t.Helper()
	embedded, err := distribution.Load(manifests.FS(), crd.FS())
	check(w.t, err)
	transports := &ingest.Transports{}
	return release.New(release.Options{
		Registries: registry.New(registry.Options{Transports: transports, Moment: 1}),
		Secrets:    secrets.ReaderFunc(w.secret), Embedded: embedded,
		Image: distribution.Image{Repository: w.s.Addr + "/weir", Tag: "v1"},
	})
}

func (w *world) secret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	data, ok := w.secrets[name]
	if !ok || namespace != "flux-system" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
	}
	return &corev1.Secret{Data: data}, nil
}

// image makes an image of the content.
func image(t *testing.T, content string) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(content), types.OCILayer))
	check(t, err)
	return img
}

func (w *world) push(repository, tag string, img v1.Image) string {
	w.t.Helper()
	digest, err := w.s.Push(w.t.Context(), repository, tag, img)
	check(w.t, err)
	return w.s.Addr + "/" + repository + "@" + digest.String()
}

// artifact pushes a distribution under a tag, and returns its reference.
func (w *world) artifact(tag, created string, versions ...string) string {
	w.t.Helper()
	files := map[string]string{}
	for _, version := range versions {
		made, err := upstream.Files(version, fluxv1.VariantUpstreamAlpine, nil)
		check(w.t, err)
		maps.Copy(files, made)
	}
	annotations := map[string]string{}
	if created != "" {
		annotations["org.opencontainers.image.created"] = created
	}
	img, err := server.Flux(files, annotations)
	check(w.t, err)
	return w.push("dist", tag, img)
}

// images pushes an image for each of the components that run by default, and returns their references.
func (w *world) images(version string) []string {
	w.t.Helper()
	var refs []string
	for _, c := range (&fluxv1.FluxInstance{}).GetComponents() {
		refs = append(refs, w.push(c, version, image(w.t, c+version)))
	}
	return refs
}

func (w *world) instance(tag string, v *fluxv1.DistributionVerification) *fluxv1.FluxInstance {
	i := &fluxv1.FluxInstance{}
	i.Name, i.Namespace = "flux", "flux-system"
	i.Spec.Distribution = fluxv1.Distribution{
		Version: "2.x", Registry: w.s.Addr, Variant: fluxv1.VariantUpstreamAlpine,
		Artifact: "oci://" + w.s.Reference("dist", tag), Verify: v,
	}
	return i
}

func byKey() *fluxv1.DistributionVerification {
	return &fluxv1.DistributionVerification{SecretRef: &meta.LocalObjectReference{Name: "keys"}}
}

func byIdentity(subject string) *fluxv1.DistributionVerification {
	return &fluxv1.DistributionVerification{
		MatchOIDCIdentity:    []fluxv1.SignerIdentity{{Issuer: "^" + issuer + "$", Subject: subject}},
		TrustedRootSecretRef: &meta.LocalObjectReference{Name: "root"},
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails returns how: refused, invalid, or unreachable; empty if not at all.
func fails(err error) string {
	var refused *release.RefusedError
	var invalid *release.InvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refused):
		return "refused"
	case errors.As(err, &invalid):
		return "invalid"
	}
	return "unreachable"
}

func TestSignatures(t *testing.T) {
	cosign, err := signing.NewCosign(t.Context(), t.TempDir(), t.Output())
	check(t, err)
	mine, err := cosign.Key(t.Context(), "mine")
	check(t, err)
	theirs, err := cosign.Key(t.Context(), "theirs")
	check(t, err)
	sigstore, err := signing.ServeSigstore(t.Context())
	check(t, err)
	t.Cleanup(sigstore.Close)
	root, err := sigstore.TrustedRoot()
	check(t, err)

	key := func(k *signing.Key, l signing.Layout) func(ref string) error {
		return func(ref string) error { return cosign.Sign(t.Context(), ref, k, l) }
	}
	identity := func(subject string, l signing.Layout) func(ref string) error {
		return func(ref string) error {
			return cosign.SignKeyless(t.Context(), ref, sigstore, issuer, subject, l, false)
		}
	}
	// late is when the log sees what was signed with a certificate of now, which is good for minutes.
	late := func(ref string) error {
		sigstore.At(time.Time{}, time.Now().Add(24*time.Hour))
		defer sigstore.At(time.Time{}, time.Time{})
		return identity(alice+"ci", signing.Tag)(ref)
	}
	// transplant gives something the signature of something else.
	transplant := func(ref string) error {
		to, err := name.NewDigest(ref)
		check(t, err)
		from := to.Context().Tag("signed")
		img := image(t, "signed")
		check(t, remote.Write(from, img, remote.WithContext(t.Context())))
		digest, err := img.Digest()
		check(t, err)
		check(t, key(mine, signing.Tag)(from.Context().Name()+"@"+digest.String()))
		signature, err := remote.Image(from.Context().Tag(strings.Replace(digest.String(), ":", "-", 1)+".sig"), remote.WithContext(t.Context()))
		check(t, err)
		return remote.Write(from.Context().Tag(strings.Replace(to.DigestStr(), ":", "-", 1)+".sig"), signature, remote.WithContext(t.Context()))
	}
	const image = "/kustomize-controller@"
	cases := map[string]struct {
		reason          string
		verify          *fluxv1.DistributionVerification
		artifact, first func(ref string) error // who signs the artifact and, if it is another one, the kustomize-controller
		images          func(ref string) error // who signs the images
		want, says      string
	}{
		"KeyTag":        {reason: "By the key, under a tag.", verify: byKey(), artifact: key(mine, signing.Tag), images: key(mine, signing.Tag)},
		"KeyBundle":     {reason: "By the key, as bundles.", verify: byKey(), artifact: key(mine, signing.Bundle), images: key(mine, signing.Bundle)},
		"KeylessTag":    {reason: "By the identity, under a tag.", verify: byIdentity("^" + alice), artifact: identity(alice+"ci", signing.Tag), images: identity(alice+"ci", signing.Tag)},
		"KeylessBundle": {reason: "By the identity, as bundles.", verify: byIdentity("^" + alice), artifact: identity(alice+"ci", signing.Bundle), images: identity(alice+"ci", signing.Bundle)},
		"Unsigned": {
			reason: "The artifact is anybody's.", verify: byKey(), images: key(mine, signing.Tag),
			want: "refused", says: `is not signed: a key of secret "flux-system/keys" has to have signed it`,
		},
		"OtherKey": {
			reason: "Somebody else's.", verify: byKey(), artifact: key(theirs, signing.Tag), images: key(mine, signing.Tag),
			want: "refused", says: `is not signed by a key of secret "flux-system/keys": `,
		},
		"OtherIdentity": {
			reason: "Somebody else's whom the root knows.", verify: byIdentity("^" + alice),
			artifact: identity("https://git.test/eve/ci", signing.Bundle), images: identity(alice+"ci", signing.Bundle),
			want: "refused", says: `is not signed by an identity like "^` + alice + `" of "^` + issuer + `$": `,
		},
		"Expired": {
			reason: "The certificate was no longer good.", verify: byIdentity("^" + alice),
			artifact: late, images: identity(alice+"ci", signing.Tag), want: "refused", says: "is not signed by an identity like ",
		},
		"Tampered": {
			reason: "The signature is one of something else.", verify: byKey(), artifact: transplant, images: key(mine, signing.Tag),
			want: "refused", says: `is not signed by a key of secret "flux-system/keys": `,
		},
		"UnsignedImage": {
			reason: "What runs matters too.", verify: byKey(), artifact: key(mine, signing.Tag), images: key(mine, signing.Tag),
			first: func(string) error { return nil }, want: "refused", says: image,
		},
		"ImageOfOthers": {
			reason: "One image is somebody else's.", verify: byKey(), artifact: key(mine, signing.Bundle), images: key(mine, signing.Bundle),
			first: key(theirs, signing.Bundle), want: "refused", says: image,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, server.Options{})
			w.secrets["keys"] = map[string][]byte{"mine.pub": mine.Public}
			w.secrets["root"] = map[string][]byte{"trusted_root.json": root}
			ref := w.artifact("v2.9.5", "", "v2.9.5")
			if tc.artifact != nil {
				check(t, tc.artifact(ref))
			}
			for _, ref := range w.images("v2.9.5") {
				if tc.first != nil && strings.Contains(ref, image) {
					check(t, tc.first(ref))
					continue
				}
				check(t, tc.images(ref))
			}
			i := w.instance("v2.9.5", tc.verify)
			got, err := w.releases.Fetch(t.Context(), i)
			if fails(err) != tc.want || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%s\n%s: %v", tc.reason, fails(err), err)
			}
			if err != nil {
				return
			}
			pinned(t, got, i)
		})
	}
}

// pinned checks that everything runs by a digest.
func pinned(t *testing.T, got *release.Release, i *fluxv1.FluxInstance) {
	t.Helper()
	set, err := got.Build(i, distribution.Options{Image: distribution.Image{Repository: "weir", Tag: "v1"}})
	check(t, err)
	images := distribution.ImagesOf(set.Objects)
	if len(images) != 4 || got.Images != 4 || len(got.Signers) != 1 {
		t.Errorf("%d images of %q, verified %d", len(images), got.Signers, got.Images)
	}
	for _, ref := range images {
		if !strings.Contains(ref, ":v2.9.5@sha256:") {
			t.Errorf("%q is not pinned", ref)
		}
	}
	for _, c := range set.Images {
		if !strings.HasPrefix(c.Digest, "sha256:") {
			t.Errorf("%s has the digest %q", c.Name, c.Digest)
		}
	}
}

// A missing key is never taken for nobody's wish to verify.
func TestTrustErrors(t *testing.T) {
	cases := map[string]struct {
		reason string
		verify *fluxv1.DistributionVerification
		want   string
	}{
		"NoSecret":   {reason: "It is not there.", verify: &fluxv1.DistributionVerification{SecretRef: &meta.LocalObjectReference{Name: "none"}}, want: "spec.distribution.verify.secretRef: "},
		"Empty":      {reason: "There is nothing in it.", verify: &fluxv1.DistributionVerification{SecretRef: &meta.LocalObjectReference{Name: "empty"}}, want: `spec.distribution.verify.secretRef: secret "flux-system/empty" is empty`},
		"Misspelt":   {reason: "The entry has another name.", verify: &fluxv1.DistributionVerification{SecretRef: &meta.LocalObjectReference{Name: "misspelt"}}, want: `spec.distribution.verify.secretRef: secret "flux-system/misspelt" has no entry whose name ends in .pub`},
		"Broken":     {reason: "It is no key.", verify: &fluxv1.DistributionVerification{SecretRef: &meta.LocalObjectReference{Name: "broken"}}, want: `spec.distribution.verify.secretRef: secret "flux-system/broken": `},
		"NoRoot":     {reason: "There is no other root.", verify: byIdentity("x"), want: "spec.distribution.verify.trustedRootSecretRef: "},
		"NoRootRef":  {reason: "The public one needs a network.", verify: &fluxv1.DistributionVerification{MatchOIDCIdentity: []fluxv1.SignerIdentity{{Issuer: "i", Subject: "s"}}}, want: "spec.distribution.verify.trustedRootSecretRef is required with matchOIDCIdentity"},
		"Nobody":     {reason: "Nobody is not anybody.", verify: &fluxv1.DistributionVerification{}, want: "spec.distribution.verify: exactly one of "},
		"Notation":   {reason: "There is no such provider.", verify: &fluxv1.DistributionVerification{Provider: "pgp"}, want: `spec.distribution.verify.provider: there is no "pgp"`},
		"NoIdentity": {reason: "An empty expression matches all.", verify: &fluxv1.DistributionVerification{MatchOIDCIdentity: []fluxv1.SignerIdentity{{Issuer: "i"}}, TrustedRootSecretRef: &meta.LocalObjectReference{Name: "someroot"}}, want: "spec.distribution.verify.matchOIDCIdentity: neither"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, server.Options{})
			w.secrets["empty"] = nil
			w.secrets["misspelt"] = map[string][]byte{"cosign.key": []byte("x")}
			w.secrets["broken"] = map[string][]byte{"cosign.pub": []byte("secret-bytes")}
			w.secrets["someroot"] = map[string][]byte{"trusted_root.json": []byte("{}")}
			w.artifact("v2.9.5", "", "v2.9.5")
			_, err := w.releases.Fetch(t.Context(), w.instance("v2.9.5", tc.verify))
			if fails(err) != "refused" || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "secret-bytes") {
				t.Errorf("%s\n%s: %v", tc.reason, fails(err), err)
			}
			if w.s.Counts().Blobs != 0 {
				t.Errorf("%s\nit was pulled", tc.reason)
			}
		})
	}
}

// Ways to a registry, good and bad.
func TestRegistries(t *testing.T) {
	cases := map[string]struct {
		reason  string
		options server.Options
		change  func(w *world, i *fluxv1.FluxInstance)
		want    string
	}{
		"Plain": {reason: "Nothing special."},
		"Password": {
			reason: "With the pull secret.", options: server.Options{Username: "u", Password: "p", Tokens: true},
			change: func(w *world, i *fluxv1.FluxInstance) {
				w.secrets["pull"] = map[string][]byte{"username": []byte("u"), "password": []byte("p")}
				i.Spec.Distribution.ArtifactPullSecret = "pull"
			},
		},
		"NoPassword": {reason: "Without it.", options: server.Options{Username: "u", Password: "p"}, want: "unreachable"},
		"NoPullSecret": {
			reason: "It is not there.", want: "unreachable",
			change: func(_ *world, i *fluxv1.FluxInstance) { i.Spec.Distribution.ArtifactPullSecret = "pull" },
		},
		"CA": {
			reason: "An own authority.", options: server.Options{TLS: true},
			change: func(w *world, i *fluxv1.FluxInstance) {
				w.secrets["ca"] = map[string][]byte{"ca.crt": w.s.CA}
				i.Spec.Distribution.CertSecret = "ca"
			},
		},
		"NoCA": {reason: "Nobody knows the authority.", options: server.Options{TLS: true}, want: "unreachable"},
		"OtherCA": {
			reason: "Another authority.", options: server.Options{TLS: true}, want: "unreachable",
			change: func(w *world, i *fluxv1.FluxInstance) {
				other := newWorld(w.t, server.Options{TLS: true})
				w.secrets["ca"] = map[string][]byte{"ca.crt": other.s.CA}
				i.Spec.Distribution.CertSecret = "ca"
			},
		},
		"Proxy": {
			reason: "One that is not there.", want: "unreachable",
			change: func(w *world, i *fluxv1.FluxInstance) {
				w.secrets["proxy"] = map[string][]byte{"address": []byte("http://127.0.0.1:1")}
				i.Spec.Distribution.ProxySecret = "proxy"
				i.Spec.Distribution.Artifact = strings.Replace(i.Spec.Distribution.Artifact, w.s.Addr, "registry.test", 1)
			},
		},
		"Mirror": {
			reason: "The registry itself is not there, and the first mirror has nothing.",
			change: func(w *world, i *fluxv1.FluxInstance) {
				i.Spec.Distribution.Artifact = "oci://127.0.0.1:1/dist:v2.9.5"
				i.Spec.Distribution.Mirrors = []string{w.s.Addr + "/nothing", w.s.Addr}
			},
		},
		"Digest": {
			reason: "By digest.",
			change: func(w *world, i *fluxv1.FluxInstance) {
				i.Spec.Distribution.Artifact = "oci://" + w.artifact("other", "", "v2.9.5")
			},
		},
		"NoTag": {
			reason: "What is not there.", want: "unreachable",
			change: func(w *world, i *fluxv1.FluxInstance) {
				i.Spec.Distribution.Artifact = "oci://" + w.s.Reference("dist", "v9")
			},
		},
		"OtherMinor": {
			reason: "A minor version that the operator does not know.", want: "invalid",
			change: func(_ *world, i *fluxv1.FluxInstance) { i.Spec.Distribution.Version = "2.8.x" },
		},
		"NoReference": {
			reason: "No name.", want: "invalid",
			change: func(_ *world, i *fluxv1.FluxInstance) { i.Spec.Distribution.Artifact = "oci://A b" },
		},
		"Corrupt": {
			reason: "What comes is not what the digest says.", want: "unreachable",
			options: server.Options{Wrap: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if strings.Contains(req.URL.Path, "/blobs/") && req.Method == http.MethodGet {
						_, _ = w.Write([]byte("something else")) // the client sees it
						return
					}
					h.ServeHTTP(w, req)
				})
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.options)
			w.artifact("v2.9.5", "", "v2.9.5")
			i := w.instance("v2.9.5", nil)
			if tc.change != nil {
				tc.change(w, i)
			}
			got, err := w.releases.Fetch(t.Context(), i)
			if fails(err) != tc.want {
				t.Fatalf("%s\n%q: %v", tc.reason, fails(err), err)
			}
			if err == nil && (got.Artifact.Version != "v2.9.5" || !strings.HasPrefix(got.Artifact.Digest, "sha256:")) {
				t.Errorf("%s\ngot %+v", tc.reason, got.Artifact)
			}
		})
	}
}

// What was pulled is not pulled again.
func TestPulledOnce(t *testing.T) {
	w := newWorld(t, server.Options{})
	w.artifact("v2.9.5", "", "v2.9.5")
	i := w.instance("v2.9.5", nil)
	for range 3 {
		_, err := w.releases.Fetch(t.Context(), i)
		check(t, err)
	}
	if got := w.s.Counts().Blobs; got != 1 {
		t.Errorf("%d blobs were pulled", got)
	}
}

func TestDowngrade(t *testing.T) {
	cosign, err := signing.NewCosign(t.Context(), t.TempDir(), t.Output())
	check(t, err)
	key, err := cosign.Key(t.Context(), "mine")
	check(t, err)
	w := newWorld(t, server.Options{})
	w.secrets["keys"] = map[string][]byte{"mine.pub": key.Public}
	for _, version := range []string{"v2.9.5", "v2.9.6"} {
		for _, ref := range w.images(version) {
			check(t, cosign.Sign(t.Context(), ref, key, signing.Tag))
		}
	}
	i := w.instance("latest", byKey())
	// step asks for the artifact that was pushed, after those before it.
	step := func(tag, created, version, want, says string) string {
		t.Helper()
		ref := w.artifact(tag, created, version)
		check(t, cosign.Sign(t.Context(), ref, key, signing.Tag))
		if !strings.HasPrefix(tag, "other") {
			i.Spec.Distribution.Artifact = "oci://" + w.s.Reference("dist", tag)
		}
		got, err := w.open().Fetch(t.Context(), i)
		if fails(err) != want || err != nil && !strings.Contains(err.Error(), says) {
			t.Fatalf("%s created %q under %s: %s: %v", version, created, tag, fails(err), err)
		}
		if err == nil {
			i.Status.Artifact = got.Artifact
		}
		return ref
	}
	step("latest", "2026-01-02T00:00:00Z", "v2.9.6", "", "")
	step("latest", "2026-01-02T00:00:00Z", "v2.9.5", "refused", "holds v2.9.5, which is older than the accepted v2.9.6")
	step("latest", "2026-01-01T00:00:00Z", "v2.9.6", "refused", "was made 2026-01-01T00:00:00Z")
	step("latest", "", "v2.9.6", "refused", "does not say when it was made")
	step("latest", "2026-01-03T00:00:00Z", "v2.9.6", "", "")
	step("v2.9.6", "2026-01-01T00:00:00Z", "v2.9.6", "refused", "was made")
	old := step("v2.9.6", "2026-01-04T00:00:00Z", "v2.9.6", "", "")
	step("v2.9.7", "2026-01-05T00:00:00Z", "v2.9.5", "refused", "older than the accepted v2.9.6")
	step("v2.9.5", "2026-01-01T00:00:00Z", "v2.9.5", "", "")
	step("v2.9.6", "2026-01-06T00:00:00Z", "v2.9.6", "", "")
	i.Spec.Distribution.Artifact = "oci://" + old
	if _, err := w.open().Fetch(t.Context(), i); err != nil {
		t.Errorf("what is asked for by its digest is refused: %v", err)
	}
}

// What the operator carries is not pulled, but the image that its components run is verified all the same.
func TestEmbedded(t *testing.T) {
	cosign, err := signing.NewCosign(t.Context(), t.TempDir(), t.Output())
	check(t, err)
	key, err := cosign.Key(t.Context(), "mine")
	check(t, err)
	w := newWorld(t, server.Options{})
	w.secrets["keys"] = map[string][]byte{"mine.pub": key.Public}
	i := w.instance("", byKey())
	i.Spec.Distribution.Artifact = ""
	ref := w.push("weir", "v1", image(t, "weir"))
	if _, err := w.releases.Fetch(t.Context(), i); fails(err) != "refused" {
		t.Errorf("unsigned: %s: %v", fails(err), err)
	}
	check(t, cosign.Sign(t.Context(), ref, key, signing.Tag))
	got, err := w.releases.Fetch(t.Context(), i)
	check(t, err)
	if want := "verified signatures of 1 image by mine.pub"; got.Artifact != nil || got.Verified() != want {
		t.Errorf("%+v: %s", got.Artifact, got.Verified())
	}
}

// A tag of an image that is moved, even to one that is signed, changes nothing that runs.
func TestMovedImage(t *testing.T) {
	cosign, err := signing.NewCosign(t.Context(), t.TempDir(), t.Output())
	check(t, err)
	key, err := cosign.Key(t.Context(), "mine")
	check(t, err)
	w := newWorld(t, server.Options{})
	w.secrets["keys"] = map[string][]byte{"mine.pub": key.Public}
	check(t, cosign.Sign(t.Context(), w.artifact("v2.9.5", "", "v2.9.5"), key, signing.Bundle))
	for _, ref := range w.images("v2.9.5") {
		check(t, cosign.Sign(t.Context(), ref, key, signing.Bundle))
	}
	i := w.instance("v2.9.5", byKey())
	build := func() []string {
		t.Helper()
		got, err := w.open().Fetch(t.Context(), i)
		check(t, err)
		set, err := got.Build(i, distribution.Options{Image: distribution.Image{Repository: "weir", Tag: "v1"}})
		check(t, err)
		i.Status.Components = set.Images
		return distribution.ImagesOf(set.Objects)
	}
	before := build()
	check(t, cosign.Sign(t.Context(), w.push("source-controller", "v2.9.5", image(t, "other")), key, signing.Bundle))
	if diff := cmp.Diff(before, build()); diff != "" {
		t.Errorf("images -before +after\n%s", diff)
	}
	i.Spec.Kustomize = &fluxv1.Kustomize{Patches: []meta.Patch{{
		Patch:  `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + w.s.Addr + `/evil:v1"}]`,
		Target: &meta.Selector{Kind: "Deployment", Name: "source-controller"},
	}}}
	w.push("evil", "v1", image(t, "evil"))
	if _, err := w.open().Fetch(t.Context(), i); fails(err) != "refused" || !strings.Contains(err.Error(), "/evil@sha256:") {
		t.Errorf("an unsigned image of a patch: %v", err)
	}
}
