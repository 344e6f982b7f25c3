package helmchart_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/helmrepo"
	registryserver "github.com/weir-dev/weir/test/registry"
	"github.com/weir-dev/weir/test/signing"
)

// signers are those who sign charts, and are known to the tests.
type signers struct {
	cosign     *signing.Cosign
	alice, eve *signing.Key
	sigstore   *signing.Sigstore

	notary, stranger, expired *signing.Notary
}

func newSigners(t *testing.T) *signers {
	t.Helper()

	s := &signers{}

	var err error
	s.cosign, err = signing.NewCosign(t.Context(), t.TempDir(), os.Stderr)
	check(t, err)
	s.alice, err = s.cosign.Key(t.Context(), "alice")
	check(t, err)
	s.eve, err = s.cosign.Key(t.Context(), "eve")
	check(t, err)
	s.sigstore, err = signing.ServeSigstore(t.Context())
	check(t, err)
	t.Cleanup(s.sigstore.Close)

	s.notary, err = signing.NewNotary("notary", signing.Validity{})
	check(t, err)
	s.stranger, err = signing.NewNotary("stranger", signing.Validity{})
	check(t, err)
	s.expired, err = signing.NewNotary("notary", signing.Validity{From: time.Now().Add(-3 * time.Hour), Until: time.Now().Add(-time.Hour)})
	check(t, err)

	return s
}

// trust makes the world know the public Sigstore, and ask for revoked certificates.
func (w *world) trust(s *signers) {
	w.deps.Roots = func(context.Context) ([]byte, error) { return s.sigstore.TrustedRoot() }
	w.deps.Revocation = &http.Client{Transport: refusing{}}
}

// published is a registry with one chart, and a HelmRepository for it.
func (w *world) published(t *testing.T, pkg []byte) (s *registryserver.Server, image string) {
	t.Helper()

	s = serveRegistry(t, registryserver.Options{})
	image = publish(t, s, pkg)
	w.repository(t, "charts", "oci://"+s.Addr+"/org")

	return s, image
}

// publish puts a package into a registry, in the place of one that is there, and returns what cosign calls it.
func publish(t *testing.T, s *registryserver.Server, pkg []byte) string {
	t.Helper()

	img, err := registryserver.Chart(pkg, nil)
	check(t, err)

	digest, err := s.Push(t.Context(), "org/podinfo", "6.3.5", img)
	check(t, err)

	return s.Addr + "/org/podinfo@" + digest.String()
}

// TestSignatures holds whose charts are taken, and that those that are refused are never stored.
func TestSignatures(t *testing.T) {
	who := newSigners(t)

	const (
		issuer = "https://issuer.example.com"
		ann    = "ann@example.com"
	)

	sign := func(k *signing.Key, l signing.Layout) func(*testing.T, string) {
		return func(t *testing.T, image string) { t.Helper(); check(t, who.cosign.Sign(t.Context(), image, k, l)) }
	}
	keyless := func(t *testing.T, image string) {
		t.Helper()
		check(t, who.cosign.SignKeyless(t.Context(), image, who.sigstore, issuer, ann, signing.Bundle, false))
	}
	notarize := func(n *signing.Notary, ago time.Duration) func(*testing.T, string) {
		return func(t *testing.T, image string) {
			t.Helper()
			check(t, n.Sign(t.Context(), image, signing.Notarization{At: time.Now().Add(-ago)}))
		}
	}
	nobody := func(*testing.T, string) {}
	policy := func(level string, more map[string][]byte) map[string][]byte {
		data := map[string][]byte{"trustpolicy.json": signing.TrustPolicy("*", level)}
		maps.Copy(data, more)

		return data
	}

	pub := map[string][]byte{"alice.pub": who.alice.Public}
	certificate := map[string][]byte{"ca.crt": who.notary.CA}

	const (
		verified = "True Succeeded: verified signature of version 6.3.5"
		refused  = "False ChartVerificationError: chart verification error: "
		byKey    = refused + "failed to verify the signature using provider 'cosign': "
		noKey    = refused + "failed to verify the signature using provider 'cosign keyless': "
		byNotary = refused + "failed to verify the signature using provider 'notation': "
	)

	cases := map[string]struct {
		reason   string
		sign     func(*testing.T, string)
		provider string
		keys     map[string][]byte // nil means no Secret
		match    []sourcev1.OIDCIdentityMatch
		want     string // SourceVerified
	}{
		"Key":       {reason: "A key that is trusted.", sign: sign(who.alice, signing.Tag), keys: pub, want: verified},
		"KeyBundle": {reason: "In whatever layout.", sign: sign(who.alice, signing.Bundle), keys: pub, want: verified},
		"WrongKey":  {reason: "Another key.", sign: sign(who.eve, signing.Tag), keys: pub, want: byKey},
		"Unsigned":  {reason: "No signature.", sign: nobody, keys: pub, want: byKey + "no matching signatures were found for '"},
		"EmptyKeys": {reason: "A Secret with nothing in it trusts nobody.", sign: sign(who.alice, signing.Tag), keys: map[string][]byte{}, want: refused + "verification secret cannot be empty: 'apps/keys'"},
		"NoPubKeys": {reason: "Nor does one whose key is misspelt.", sign: sign(who.alice, signing.Tag), keys: map[string][]byte{"alice.pup": who.alice.Public}, want: refused + "no public keys found in secret 'apps/keys'"},
		"Provider":  {reason: "There are two providers.", sign: nobody, provider: "other", want: refused + "unsupported verification provider 'other'"},
		"Identity":  {reason: "An identity that is trusted.", sign: keyless, match: []sourcev1.OIDCIdentityMatch{{Issuer: "^" + issuer + "$", Subject: "^ann@"}}, want: verified},
		"WrongOne":  {reason: "Another identity.", sign: keyless, match: []sourcev1.OIDCIdentityMatch{{Issuer: issuer, Subject: "^bob@"}}, want: noKey},
		"Nobody":    {reason: "No signature of anybody.", sign: nobody, match: []sourcev1.OIDCIdentityMatch{{Issuer: issuer, Subject: ann}}, want: noKey},
		"Notary":    {reason: "A certificate that is trusted.", sign: notarize(who.notary, 0), provider: "notation", keys: policy("strict", certificate), want: verified},
		"Stranger":  {reason: "Another certificate.", sign: notarize(who.stranger, 0), provider: "notation", keys: policy("strict", certificate), want: byNotary},
		"Expired":   {reason: "A certificate that has expired.", sign: notarize(who.expired, 2*time.Hour), provider: "notation", keys: policy("strict", map[string][]byte{"ca.crt": who.expired.CA}), want: byNotary},
		"NoNotary":  {reason: "No signature of a notary.", sign: nobody, provider: "notation", keys: policy("strict", certificate), want: byNotary},
		"NoPolicy":  {reason: "A notary needs a policy.", sign: notarize(who.notary, 0), provider: "notation", keys: certificate, want: refused + "no trust policy found in secret 'apps/keys'"},
		"NoCertificate": {
			reason: "And certificates.", sign: notarize(who.notary, 0), provider: "notation", keys: policy("strict", nil),
			want: refused + "no certificates found in secret 'apps/keys'",
		},
		"NoNotarySecret": {
			reason: "Which are in a Secret.", sign: notarize(who.notary, 0), provider: "notation",
			want: refused + "spec.verify.secretRef is required for notation",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.trust(who)

			_, image := w.published(t, save(t, helmrepo.Chart("podinfo", "6.3.5")))
			tc.sign(t, image)

			obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts", func(spec *sourcev1.HelmChartSpec) {
				spec.Verify = &sourcev1.OCIVerification{Provider: tc.provider, MatchOIDCIdentity: tc.match}
				if tc.keys != nil {
					spec.Verify.SecretRef = w.keep("keys", tc.keys)
				}
			})

			got := w.bench(t, obj).run(t, obj).Object
			expect(t, got, meta.SourceVerifiedCondition, tc.want)

			if tc.want == verified {
				expect(t, got, meta.ReadyCondition, "True ChartPullSucceeded: pulled 'podinfo' chart with version '6.3.5'")

				return
			}

			expect(t, got, meta.ReadyCondition, tc.want)
			expect(t, got, meta.BuildFailedCondition, strings.Replace(tc.want, "False", "True", 1))
			expect(t, got, meta.StalledCondition, "")

			if got.Status.Artifact != nil {
				t.Errorf("%s\nthe artifact is %+v", tc.reason, got.Status.Artifact)
			}

			if _, err := os.Stat(w.root + "/helmchart"); !os.IsNotExist(err) {
				t.Errorf("%s\nsomething is stored: %v", tc.reason, err)
			}
		})
	}
}

// TestSkipVerification holds that what a policy does not ask for is not said to be verified.
func TestSkipVerification(t *testing.T) {
	w := newWorld(t)
	w.deps.Revocation = &http.Client{Transport: refusing{}}
	w.published(t, save(t, helmrepo.Chart("podinfo", "6.3.5")))

	notary, err := signing.NewNotary("notary", signing.Validity{})
	check(t, err)

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts", func(spec *sourcev1.HelmChartSpec) {
		spec.Verify = &sourcev1.OCIVerification{Provider: "notation", SecretRef: w.keep("keys", map[string][]byte{
			"trustpolicy.json": signing.TrustPolicy("*", "skip"), "ca.crt": notary.CA,
		})}
	})

	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.SourceVerifiedCondition, "")
	expect(t, got, meta.ReadyCondition, "True ChartPullSucceeded")
}

// TestVerifyAgain shows when a signature is looked at again: when the tag points at something else, when somebody else is
// trusted, and in a new process; and what becomes of the artifact when it is not there then.
func TestVerifyAgain(t *testing.T) {
	who := newSigners(t)
	w := newWorld(t)
	w.trust(who)

	first := save(t, helmrepo.Chart("podinfo", "6.3.5"))
	other := helmrepo.Chart("podinfo", "6.3.5")
	other.Metadata.Description = "another one"

	s, image := w.published(t, first)
	check(t, who.cosign.Sign(t.Context(), image, who.alice, signing.Tag))

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts", version("6.3.5"), func(spec *sourcev1.HelmChartSpec) {
		spec.Verify = &sourcev1.OCIVerification{Provider: "cosign", SecretRef: w.keep("keys", map[string][]byte{"alice.pub": who.alice.Public})}
	})
	b := w.bench(t, obj)
	good := b.run(t, obj).Object.Status.Artifact
	content := w.read(t, good)

	run := func(what, want string, b bench) engineResult {
		t.Helper()
		w.clock.Advance(time.Minute)

		before := s.Counts()
		got := b.run(t, obj)
		expect(t, got.Object, meta.SourceVerifiedCondition, want)

		if diff := cmp.Diff(good, got.Object.Status.Artifact); diff != "" || string(w.read(t, good)) != string(content) {
			t.Errorf("%s: artifact: -before, +after:\n%s", what, diff)
		}

		return engineResult{requests: s.Counts().Since(before), events: reasons(got.Events), patches: len(got.Patches)}
	}

	const (
		verified = "True Succeeded: verified signature of version 6.3.5"
		refused  = "False ChartVerificationError: chart verification error: failed to verify the signature using provider 'cosign': "
	)

	if r := run("nothing new", verified, b); r.requests.Manifests+r.requests.Heads > 1 || r.requests.Blobs != 0 || r.patches != 0 {
		t.Errorf("nothing new: %+v", r)
	}

	// A new process knows nothing, and the artifact may be anything.
	if r := run("new process", verified, w.bench(t, b.get(t, obj))); r.requests.Blobs == 0 || len(r.events) != 0 {
		t.Errorf("new process: %+v", r)
	}

	// Somebody puts another chart under the same tag.
	publish(t, s, save(t, other))

	if r := run("moved tag", refused+"no matching signatures were found for '", b); len(r.events) != 1 {
		t.Errorf("moved tag: %+v", r)
	}

	// And the first one again, while other keys are trusted.
	publish(t, s, first)
	w.keep("keys", map[string][]byte{"eve.pub": who.eve.Public})
	run("other keys", refused, b)

	w.keep("keys", map[string][]byte{"alice.pub": who.alice.Public})
	run("the keys again", verified, b)

	// Without spec.verify nobody says that it was verified.
	b.change(t, obj, func(spec *sourcev1.HelmChartSpec) { spec.Verify = nil })

	got := b.run(t, obj).Object
	expect(t, got, meta.SourceVerifiedCondition, "")

	if !engine.IsTrue(got, meta.ReadyCondition) {
		t.Errorf("conditions: %v", conditions(got))
	}
}

// TestForgetVerification holds that nobody reads of a signature that is not asked for any more, whatever else is wrong.
func TestForgetVerification(t *testing.T) {
	w := newWorld(t)
	w.published(t, save(t, helmrepo.Chart("podinfo", "6.3.5")))

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts", func(spec *sourcev1.HelmChartSpec) {
		spec.Verify = &sourcev1.OCIVerification{Provider: "cosign", SecretRef: w.keep("keys", nil)}
	})
	b := w.bench(t, obj)
	expect(t, b.run(t, obj).Object, meta.SourceVerifiedCondition, "False ChartVerificationError")

	b.change(t, obj, func(spec *sourcev1.HelmChartSpec) { spec.Verify = nil })
	w.broken = errors.New("not now")

	got := b.run(t, obj).Object
	expect(t, got, meta.SourceVerifiedCondition, "")
	expect(t, got, meta.ReadyCondition, "False SourceUnavailable: failed to get source: not now")
}

// engineResult is what a run cost and told.
type engineResult struct {
	requests registryserver.Counts
	events   []string
	patches  int
}

// get returns the object as the API server has it.
func (b bench) get(t *testing.T, obj *sourcev1.HelmChart) *sourcev1.HelmChart {
	t.Helper()

	got := &sourcev1.HelmChart{}
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), got))
	got.ResourceVersion = ""

	return got
}
