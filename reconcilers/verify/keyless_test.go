package verify_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/weir-dev/weir/reconcilers/verify"
	"github.com/weir-dev/weir/test/signing"
)

const (
	issuer = "https://issuer.example.com"
	alice  = "alice@example.com"
)

// serveSigstore runs a Sigstore.
func serveSigstore(t *testing.T) *signing.Sigstore {
	t.Helper()

	s, err := signing.ServeSigstore(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(s.Close)

	return s
}

func trustedRoot(t *testing.T, s *signing.Sigstore, without ...signing.Part) []byte {
	t.Helper()

	b, err := s.TrustedRoot(without...)
	if err != nil {
		t.Fatal(err)
	}

	return b
}

func TestCosignKeyless(t *testing.T) {
	t.Parallel()

	ts := open(t)

	// how is what cosign is told, and what time it is when it signs.
	type how struct {
		timestamp  bool
		noLog      bool
		issue, log time.Duration // from now
	}

	signed := verify.Result{Signer: alice + " (" + issuer + ")"}
	allLayouts := []signing.Layout{signing.Tag, signing.Referrers, signing.Bundle}

	cases := map[string]struct {
		reason     string
		layouts    []signing.Layout // nil: tag and bundle
		how        how
		unsigned   bool
		withKey    bool
		other      bool // the trusted root is one of another Sigstore
		without    []signing.Part
		identities []verify.OIDCIdentity
		want       verify.Result
		err        error
		text       string
	}{
		"Anybody": {reason: "Without identities, who has a certificate may.", layouts: allLayouts, want: signed},
		"Identity": {
			reason: "The identity matches.", layouts: allLayouts, want: signed,
			identities: []verify.OIDCIdentity{{Issuer: `^https://issuer\.example\.com$`, Subject: `^alice@example\.com$`}},
		},
		"OneOfIdentities": {
			reason: "One of the identities is enough.", want: signed,
			identities: []verify.OIDCIdentity{{Issuer: "^https://a$", Subject: ".*"}, {Issuer: "issuer", Subject: "alice"}},
		},
		"WrongIssuer": {
			reason: "Somebody else says who it is.", err: verify.ErrNotTrusted, text: "expected issuer value",
			identities: []verify.OIDCIdentity{{Issuer: "^https://other", Subject: "alice"}},
		},
		"WrongSubject": {
			reason: "Somebody else.", err: verify.ErrNotTrusted, text: "expected SAN value",
			identities: []verify.OIDCIdentity{{Issuer: "issuer", Subject: "^eve@"}},
		},
		"MixedIdentities": {
			reason: "Issuer and subject have to be of the same identity.", err: verify.ErrNotTrusted, text: "no matching CertificateIdentity",
			identities: []verify.OIDCIdentity{{Issuer: "^https://other", Subject: "alice"}, {Issuer: "issuer", Subject: "^eve@"}},
		},
		"OtherRoot": {
			reason: "Other authorities and logs.", other: true, err: verify.ErrNotTrusted, text: "not enough verified log entries",
		},
		"OtherRootWithoutLogs": {
			reason: "Other authorities.", other: true, how: how{timestamp: true}, without: []signing.Part{signing.CertificateLog, signing.TransparencyLog},
			err: verify.ErrNotTrusted, text: "timestamp",
		},
		"Key": {
			reason: "A signature with a key has no identity.", withKey: true, err: verify.ErrNotTrusted,
		},
		"None": {reason: "Nobody signed.", unsigned: true, err: verify.ErrNoSignature},
		"Timestamp": {
			reason: "The log and the timestamp authority saw it in time.", how: how{timestamp: true}, want: signed,
		},
		"TimestampOnly": {
			reason: "Where there is no log, a timestamp is enough.", how: how{timestamp: true, noLog: true},
			without: []signing.Part{signing.TransparencyLog}, want: signed,
		},
		"NoTimestamp": {
			reason: "Where there is no log, there has to be a timestamp.", how: how{noLog: true},
			without: []signing.Part{signing.TransparencyLog}, err: verify.ErrNotTrusted, text: "timestamp",
		},
		"NotLogged": {
			reason: "Where there is a log, the signature has to be in it.", how: how{timestamp: true, noLog: true},
			err: verify.ErrNotTrusted, text: "log",
		},
		"LoggedLongAgo": {
			reason: "The certificate has expired since, which does not matter.", how: how{issue: -3 * time.Hour, log: -3*time.Hour + time.Minute},
			want: signed,
		},
		"Expired": {
			reason: "The certificate had expired when the log saw the signature.", how: how{issue: -time.Hour},
			err: verify.ErrNotTrusted, text: "certificate",
		},
		"ExpiredBeforeTimestamp": {
			reason: "The certificate had expired when the timestamp authority saw the signature.", how: how{issue: -time.Hour, timestamp: true, noLog: true},
			without: []signing.Part{signing.TransparencyLog}, err: verify.ErrNotTrusted, text: "certificate",
		},
		"NotYetIssued": {
			reason: "The log saw the signature before there was a certificate.", how: how{log: -time.Hour},
			err: verify.ErrNotTrusted, text: "certificate",
		},
		"NoCertificateLog": {
			reason: "Where there is no log of certificates, none is needed.", without: []signing.Part{signing.CertificateLog}, want: signed,
		},
	}

	for testName, tc := range cases {
		layouts := tc.layouts
		if layouts == nil {
			layouts = []signing.Layout{signing.Tag, signing.Bundle}
		}

		for _, l := range layouts {
			t.Run(testName+layoutName(l), func(t *testing.T) {
				t.Parallel()

				s := serveSigstore(t)
				d := push(t, host(t, true), "app", "image")

				switch {
				case tc.unsigned:
				case tc.withKey:
					if err := ts.cosign.Sign(t.Context(), d.String(), ts.alice, l); err != nil {
						t.Fatal(err)
					}
				default:
					at(s, tc.how.issue, tc.how.log)
					signKeyless(t, ts, s, d, l, tc.how.timestamp, tc.how.noLog)
				}

				trusted := s
				if tc.other {
					trusted = serveSigstore(t)
				}

				v, err := verify.NewCosign(verify.CosignOptions{
					Identities: tc.identities, TrustedRoot: trustedRoot(t, trusted, tc.without...),
				})
				if err != nil {
					t.Fatal(err)
				}

				got, err := v.Verify(t.Context(), d)
				check(t, tc.reason, got, err, tc.want, tc.err, tc.text)
			})
		}
	}
}

func layoutName(l signing.Layout) string {
	return map[signing.Layout]string{signing.Tag: "Tag", signing.Referrers: "Referrers", signing.Bundle: "Bundle"}[l]
}

// at sets the clocks, as far from now as said.
func at(s *signing.Sigstore, issue, log time.Duration) {
	var times [2]time.Time

	for i, d := range []time.Duration{issue, log} {
		if d != 0 {
			times[i] = time.Now().Add(d)
		}
	}

	s.At(times[0], times[1])
}

func signKeyless(t *testing.T, ts *tools, s *signing.Sigstore, d name.Digest, l signing.Layout, timestamp, noLog bool) {
	t.Helper()

	var more []string
	if noLog {
		more = append(more, "--tlog-upload=false")
	}

	if err := ts.cosign.SignKeyless(t.Context(), d.String(), s, issuer, alice, l, timestamp, more...); err != nil {
		t.Fatal(err)
	}
}

// TestCosignPublic holds what is asked of the public trusted root.
func TestCosignPublic(t *testing.T) {
	ts := open(t)
	s := serveSigstore(t)
	d := push(t, host(t, true), "app", "image")
	signKeyless(t, ts, s, d, signing.Tag, true, false)

	cases := map[string]struct {
		reason string
		roots  func(context.Context) ([]byte, error)
		want   verify.Result
		text   string
	}{
		"Whole": {
			reason: "It has all.", roots: func(context.Context) ([]byte, error) { return s.TrustedRoot() },
			want: verify.Result{Signer: alice + " (" + issuer + ")"},
		},
		"Real": {
			reason: "The real one is whole, and did not see the signature.", text: "not enough verified log entries",
			roots: func(context.Context) ([]byte, error) { return os.ReadFile("testdata/public-good.json") },
		},
		"NoLog": {
			reason: "It has logs, so what has none is not it.", text: "lacks a log",
			roots: func(context.Context) ([]byte, error) { return s.TrustedRoot(signing.TransparencyLog) },
		},
		"NoCertificateLog": {
			reason: "It has logs, so what has none is not it.", text: "lacks a log",
			roots: func(context.Context) ([]byte, error) { return s.TrustedRoot(signing.CertificateLog) },
		},
		"Failure": {
			reason: "Without it, nothing is trusted, and nobody is to blame.", text: "get the trusted root of the public Sigstore: no answer",
			roots: func(context.Context) ([]byte, error) { return nil, errors.New("no answer") },
		},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			v, err := verify.NewCosign(verify.CosignOptions{Roots: tc.roots})
			if err != nil {
				t.Fatal(err)
			}

			got, err := v.Verify(t.Context(), d)
			check(t, tc.reason, got, err, tc.want, nil, tc.text)

			if (err != nil) != (tc.text != "") || errors.Is(err, verify.ErrNotTrusted) != (testName == "Real") {
				t.Errorf("%s\nVerify(): got error %v", tc.reason, err)
			}
		})
	}
}

// TestShared holds that many may use what verifies.
func TestShared(t *testing.T) {
	ts, s, n := open(t), serveSigstore(t), notary(t, "alice", signing.Validity{})
	d := push(t, host(t, true), "app", "image")
	signKeyless(t, ts, s, d, signing.Tag, true, false)
	signKeyless(t, ts, s, d, signing.Bundle, true, false)

	if err := n.Sign(t.Context(), d.String(), signing.Notarization{}); err != nil {
		t.Fatal(err)
	}

	cosign, err := verify.NewCosign(verify.CosignOptions{TrustedRoot: trustedRoot(t, s)})
	if err != nil {
		t.Fatal(err)
	}

	notation, err := verify.NewNotation(verify.NotationOptions{
		Data: map[string][]byte{"trustpolicy.json": signing.TrustPolicy("*", "strict"), "ca.crt": n.CA}, Client: client(),
	})
	if err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup

	for range 4 {
		for _, v := range []verify.Image{cosign, notation} {
			wg.Go(func() {
				if _, err := v.Verify(t.Context(), d); err != nil {
					t.Errorf("Verify(): %v", err)
				}
			})
		}
	}

	wg.Wait()
}

// TestTrustedRoots holds which trusted roots are of no use.
func TestTrustedRoots(t *testing.T) {
	s := serveSigstore(t)

	cases := map[string]struct {
		reason  string
		without []signing.Part
		ok      bool
	}{
		"Whole":          {reason: "All is there.", ok: true},
		"NoCertificates": {reason: "Nobody issues certificates.", without: []signing.Part{signing.Certificates}},
		"NoTime":         {reason: "Nobody says when it was signed.", without: []signing.Part{signing.TransparencyLog, signing.Timestamps}},
		"TimestampsOnly": {reason: "A timestamp is enough.", without: []signing.Part{signing.TransparencyLog, signing.CertificateLog}, ok: true},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			_, err := verify.NewCosign(verify.CosignOptions{TrustedRoot: trustedRoot(t, s, slices.Clone(tc.without)...)})
			if (err == nil) != tc.ok {
				t.Errorf("%s\nNewCosign(): got error %v", tc.reason, err)
			}
		})
	}
}
