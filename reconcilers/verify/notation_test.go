package verify_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/verify"
	"github.com/weir-dev/weir/test/signing"
)

func notary(t *testing.T, name string, v signing.Validity) *signing.Notary {
	t.Helper()

	n, err := signing.NewNotary(name, v)
	if err != nil {
		t.Fatal(err)
	}

	return n
}

func client() *http.Client {
	return ingest.NewClient(ingest.NewTransport(ingest.HTTPOptions{Allow: ingest.RefuseLinkLocal}), nil)
}

func TestNotation(t *testing.T) {
	t.Parallel()

	good, evil := notary(t, "alice", signing.Validity{}), notary(t, "eve", signing.Validity{})
	expired := notary(t, "alice", signing.Validity{Until: time.Now().Add(-time.Hour)})

	tsa := serveSigstore(t)
	earlier := time.Now().Add(-2 * time.Hour)

	by := func(n *signing.Notary, how signing.Notarization) func(*testing.T, name.Digest) {
		return func(t *testing.T, d name.Digest) {
			t.Helper()

			if err := n.Sign(t.Context(), d.String(), how); err != nil {
				t.Fatal(err)
			}
		}
	}

	// moved signs another image and makes the signature refer to this one.
	moved := func(change func(string) string) func(*testing.T, name.Digest) {
		return func(t *testing.T, d name.Digest) {
			t.Helper()

			other := push(t, d.RegistryStr(), d.RepositoryStr(), "other")
			by(good, signing.Notarization{})(t, other)
			refer(t, rewrite(t, referrer(t, other), func(s string, _ map[string]string) string { return change(s) }), d)
		}
	}

	all := func(fs ...func(*testing.T, name.Digest)) func(*testing.T, name.Digest) {
		return func(t *testing.T, d name.Digest) {
			t.Helper()

			for _, f := range fs {
				f(t, d)
			}
		}
	}

	const subject = "CN=alice,O=Weir,ST=ZH,C=CH"

	signed := verify.Result{Signer: subject}

	cases := map[string]struct {
		reason string
		old    bool
		sign   func(*testing.T, name.Digest)
		policy func(repository string) []byte // nil: strict for all
		ca     *signing.Notary                // nil: the good one
		want   verify.Result
		err    error
		text   string
	}{
		"JWS":         {reason: "JSON.", sign: by(good, signing.Notarization{}), want: signed},
		"COSE":        {reason: "CBOR.", sign: by(good, signing.Notarization{MediaType: signing.COSE}), want: signed},
		"OldRegistry": {reason: "A tag stands in for the API.", old: true, sign: by(good, signing.Notarization{}), want: signed},
		"Identity": {
			reason: "The subject matches.", sign: by(good, signing.Notarization{}), want: signed,
			policy: func(r string) []byte {
				return signing.TrustPolicy(r, "strict", "x509.subject: CN=alice, O=Weir, ST=ZH, C=CH")
			},
		},
		"WrongIdentity": {
			reason: "The subject does not match.", sign: by(good, signing.Notarization{}), err: verify.ErrNotTrusted, text: "does not match the X.509 trusted identities",
			policy: func(r string) []byte {
				return signing.TrustPolicy(r, "strict", "x509.subject: CN=bob, O=Weir, ST=ZH, C=CH")
			},
		},
		"WrongCA": {reason: "Another authority.", sign: by(evil, signing.Notarization{}), err: verify.ErrNotTrusted, text: "does not contain any trusted certificate"},
		"OneOfSignatures": {
			reason: "One signature is enough.", sign: all(by(good, signing.Notarization{}), by(evil, signing.Notarization{})), want: signed,
		},
		"None":    {reason: "Nobody signed.", sign: all(), err: verify.ErrNoSignature},
		"NoneOld": {reason: "Nobody signed.", old: true, sign: all(), err: verify.ErrNoSignature},
		"Moved": {
			reason: "The signature is one of another image.", sign: moved(func(s string) string { return s }),
			err: verify.ErrNotTrusted, text: "content descriptor mismatch",
		},
		"Forged": {
			reason: "The envelope was changed.", sign: moved(func(s string) string { return strings.Replace(s, `"payload":"ey`, `"payload":"ez`, 1) }),
			err: verify.ErrNotTrusted,
		},
		"Garbage": {reason: "No envelope.", sign: moved(func(string) string { return "{" }), err: verify.ErrNotTrusted},
		"Huge": {
			reason: "What is too large is not read.", sign: moved(func(string) string { return strings.Repeat(" ", 3<<20) }),
			err: verify.ErrNotTrusted, text: "more than 2097152",
		},
		"ExpiredCertificate": {
			reason: "The certificate is not valid any more.", sign: by(expired, signing.Notarization{At: earlier}), ca: expired,
			err: verify.ErrNotTrusted, text: "no timestamp countersignature",
		},
		"ExpiredCertificateTimestamp": {
			reason: "The certificate was valid when the timestamp authority saw the signature.", ca: expired, want: signed,
			sign: func(t *testing.T, d name.Digest) {
				t.Helper()
				tsa.At(time.Time{}, earlier)
				by(expired, signing.Notarization{At: earlier, Timestamp: tsa})(t, d)
			},
		},
		"ExpiredSignature": {
			reason: "The signature is not valid any more.", sign: by(good, signing.Notarization{At: earlier, Expire: time.Hour}),
			err: verify.ErrNotTrusted, text: "digital signature has expired",
		},
		"ExpiredCertificatePermissive": {
			reason: "With level permissive, the time does not matter.", sign: by(expired, signing.Notarization{At: earlier}), ca: expired, want: signed,
			policy: func(r string) []byte { return signing.TrustPolicy(r, "permissive") },
		},
		"WrongCAPermissive": {
			reason: "With level permissive, the authority still does.", sign: by(evil, signing.Notarization{}), err: verify.ErrNotTrusted,
			policy: func(r string) []byte { return signing.TrustPolicy(r, "permissive") },
		},
		"WrongCAAudit": {
			reason: "With level audit, the authority does not matter either.", sign: by(evil, signing.Notarization{}),
			policy: func(r string) []byte { return signing.TrustPolicy(r, "audit") },
			want:   verify.Result{Signer: strings.Replace(subject, "alice", "eve", 1)},
		},
		"ForgedAudit": {
			reason: "With level audit, the content still does.", sign: moved(func(s string) string { return s }), err: verify.ErrNotTrusted,
			policy: func(r string) []byte { return signing.TrustPolicy(r, "audit") },
		},
		"Skip": {
			reason: "Nothing is verified.", sign: all(), want: verify.Result{Skipped: true},
			policy: func(r string) []byte { return signing.TrustPolicy(r, "skip") },
		},
		"OtherRepository": {
			reason: "No policy is for this repository.", sign: by(good, signing.Notarization{}), err: verify.ErrNotTrusted, text: "has no applicable trust policy",
			policy: func(r string) []byte { return signing.TrustPolicy(r+"-other", "strict") },
		},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			t.Parallel()

			d := push(t, host(t, !tc.old), "app", "image")
			tc.sign(t, d)

			ca := good
			if tc.ca != nil {
				ca = tc.ca
			}

			policy := signing.TrustPolicy("*", "strict")
			if tc.policy != nil {
				policy = tc.policy(d.Context().Name())
			}

			v, err := verify.NewNotation(verify.NotationOptions{
				Data: map[string][]byte{"trustpolicy.json": policy, "ca.crt": ca.CA, "tsa.pem": tsa.TimestampRoot()}, Client: client(),
			})
			if err != nil {
				t.Fatal(err)
			}

			got, err := v.Verify(t.Context(), d)
			check(t, tc.reason, got, err, tc.want, tc.err, tc.text)
		})
	}
}

// TestNotationScope holds which policy is for which repository. Nothing is fetched: all of them say that nothing is verified.
func TestNotationScope(t *testing.T) {
	n := notary(t, "alice", signing.Validity{})

	cases := map[string]struct {
		reason string
		scope  string
		image  string
		skips  bool
	}{
		"All":          {reason: "A star is for all.", scope: "*", image: "registry.example.com/app", skips: true},
		"Same":         {reason: "The repository.", scope: "registry.example.com:5000/a/b", image: "registry.example.com:5000/a/b", skips: true},
		"Other":        {reason: "Another repository.", scope: "registry.example.com/a", image: "registry.example.com/a/b"},
		"DockerHub":    {reason: "As people write it.", scope: "docker.io/weir/app", image: "docker.io/weir/app", skips: true},
		"DockerHubToo": {reason: "As the client calls it.", scope: "index.docker.io/weir/app", image: "docker.io/weir/app", skips: true},
		"NotDockerHub": {reason: "Another registry.", scope: "docker.io/weir/app", image: "registry.example.com/weir/app"},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			v, err := verify.NewNotation(verify.NotationOptions{
				Data: map[string][]byte{"trustpolicy.json": signing.TrustPolicy(tc.scope, "skip"), "ca.crt": n.CA}, Client: client(),
			})
			if err != nil {
				t.Fatal(err)
			}

			got, err := v.Verify(t.Context(), parse(t, tc.image+"@"+zeros))
			if got.Skipped != tc.skips || tc.skips != (err == nil) || err != nil && !errors.Is(err, verify.ErrNotTrusted) {
				t.Errorf("%s\nVerify(): got %v, error %v", tc.reason, got, err)
			}
		})
	}
}

// TestNotationRevocation holds that it is asked whether a certificate was revoked, with the client given.
func TestNotationRevocation(t *testing.T) {
	cases := map[string]struct {
		reason string
		level  string
		answer func(*signing.Notary) ([]byte, error)
		want   verify.Result
		err    error
		text   string
	}{
		"Good": {
			reason: "It was not.", level: "strict", want: verify.Result{Signer: "CN=alice,O=Weir,ST=ZH,C=CH"},
			answer: func(n *signing.Notary) ([]byte, error) { return n.Revoked(false) },
		},
		"Revoked": {
			reason: "It was.", level: "strict", err: verify.ErrNotTrusted, text: "is revoked",
			answer: func(n *signing.Notary) ([]byte, error) { return n.Revoked(true) },
		},
		"NoAnswer": {
			reason: "Nobody knows.", level: "strict", err: verify.ErrNotTrusted, text: "revocation status is unknown",
			answer: func(*signing.Notary) ([]byte, error) { return nil, errors.New("no answer") },
		},
		"Permissive": {
			reason: "It was, but the policy does not mind.", level: "permissive", want: verify.Result{Signer: "CN=alice,O=Weir,ST=ZH,C=CH"},
			answer: func(n *signing.Notary) ([]byte, error) { return n.Revoked(true) },
		},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			var (
				n    *signing.Notary
				seen atomic.Int32
			)

			lists := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				seen.Add(1)

				b, err := tc.answer(n)
				if err != nil {
					w.WriteHeader(http.StatusInternalServerError)
				}

				_, _ = w.Write(b)
			}))
			t.Cleanup(lists.Close)

			n = notary(t, "alice", signing.Validity{List: lists.URL})
			d := push(t, host(t, true), "app", "image")

			if err := n.Sign(t.Context(), d.String(), signing.Notarization{}); err != nil {
				t.Fatal(err)
			}

			v, err := verify.NewNotation(verify.NotationOptions{
				Data: map[string][]byte{"trustpolicy.json": signing.TrustPolicy("*", tc.level), "ca.crt": n.CA}, Client: client(),
			})
			if err != nil {
				t.Fatal(err)
			}

			got, err := v.Verify(t.Context(), d)
			check(t, tc.reason, got, err, tc.want, tc.err, tc.text)

			if seen.Load() == 0 {
				t.Errorf("%s\nnobody asked", tc.reason)
			}
		})
	}
}

func TestNewNotation(t *testing.T) {
	n := notary(t, "alice", signing.Validity{})
	strict := signing.TrustPolicy("*", "strict")

	cases := map[string]struct {
		reason string
		data   map[string][]byte
		err    error
		text   string
	}{
		"Whole":          {reason: "All is there.", data: map[string][]byte{"trustpolicy.json": strict, "a.crt": n.CA, "b.pem": n.CA}},
		"NoPolicy":       {reason: "What to trust has to be said.", data: map[string][]byte{"a.crt": n.CA}, err: verify.ErrNoTrustPolicy},
		"Misspelt":       {reason: "What to trust has to be said.", data: map[string][]byte{"trustPolicy.json": strict, "a.crt": n.CA}, err: verify.ErrNoTrustPolicy},
		"GarbagePolicy":  {reason: "The entry is named.", data: map[string][]byte{"trustpolicy.json": []byte("{"), "a.crt": n.CA}, text: `parse "trustpolicy.json"`},
		"InvalidPolicy":  {reason: "The entry is named.", data: map[string][]byte{"trustpolicy.json": []byte("{}"), "a.crt": n.CA}, text: `read "trustpolicy.json": trust policy document has empty version`},
		"NoCertificates": {reason: "There has to be somebody to trust.", data: map[string][]byte{"trustpolicy.json": strict, "ca.cert": n.CA}, err: verify.ErrNoCertificates},
		"Garbage":        {reason: "The entry is named.", data: map[string][]byte{"trustpolicy.json": strict, "a.crt": []byte("x")}, text: `read certificate "a.crt": it is neither PEM nor DER`},
		"Empty":          {reason: "The entry is named.", data: map[string][]byte{"trustpolicy.json": strict, "a.crt": n.CA, "b.crt": nil}, text: `read certificate "b.crt"`},
		"Leaf":           {reason: "The certificate of the signer is not one to trust.", data: map[string][]byte{"trustpolicy.json": strict, "a.crt": n.Leaf}, text: "not a CA certificate"},
		"Key":            {reason: "A key is no certificate.", data: map[string][]byte{"trustpolicy.json": strict, "a.pem": []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")}, text: `it holds a "PUBLIC KEY"`},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			_, err := verify.NewNotation(verify.NotationOptions{Data: tc.data, Client: client()})

			switch {
			case tc.err == nil && tc.text == "":
				if err != nil {
					t.Errorf("%s\nNewNotation(): got error %v", tc.reason, err)
				}
			case err == nil || tc.err != nil && !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.text):
				t.Errorf("%s\nNewNotation(): got error %v", tc.reason, err)
			}
		})
	}

	if _, err := verify.NewNotation(verify.NotationOptions{Data: map[string][]byte{"trustpolicy.json": strict, "a.crt": n.CA}}); err == nil {
		t.Error("NewNotation() without a client: no error")
	}
}
