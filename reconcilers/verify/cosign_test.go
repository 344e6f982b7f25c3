package verify_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/weir-dev/weir/reconcilers/verify"
	"github.com/weir-dev/weir/test/signing"
)

func newTools(ctx context.Context, dir string) (*tools, error) {
	c, err := signing.NewCosign(ctx, dir, os.Stderr)
	if err != nil {
		return nil, err
	}

	ts := &tools{cosign: c}

	for key, into := range map[string]**signing.Key{"alice": &ts.alice, "eve": &ts.eve} {
		if *into, err = c.Key(ctx, key); err != nil {
			return nil, err
		}
	}

	r, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return nil, err
	}

	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}

	p, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}

	for key, it := range map[string]struct {
		private crypto.PrivateKey
		into    **signing.Key
	}{"rsa": {r, &ts.rsa}, "ed": {e, &ts.ed}, "ec": {p, &ts.ec}} {
		if *it.into, err = c.Import(ctx, key, it.private); err != nil {
			return nil, err
		}
	}

	return ts, nil
}

// check compares what a verification says.
func check(t *testing.T, reason string, got verify.Result, err error, want verify.Result, wantErr error, text string) {
	t.Helper()

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\nVerify(): -want, +got:\n%s", reason, diff)
	}

	if !errors.Is(err, wantErr) && (wantErr != nil || text == "") {
		t.Errorf("%s\nVerify(): want error %v, got %v", reason, wantErr, err)
	}

	if err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("%s\nVerify(): want an error with %q, got %q", reason, text, err)
	}
}

func TestCosignKeys(t *testing.T) {
	t.Parallel()

	ts := open(t)

	sign := func(k *signing.Key, l signing.Layout) func(*testing.T, name.Digest) {
		return func(t *testing.T, d name.Digest) {
			t.Helper()

			if err := ts.cosign.Sign(t.Context(), d.String(), k, l); err != nil {
				t.Fatal(err)
			}
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

	// moved signs another image and makes the signature one of this image.
	moved := func(l signing.Layout) func(*testing.T, name.Digest) {
		return func(t *testing.T, d name.Digest) {
			t.Helper()

			other := push(t, d.RegistryStr(), d.RepositoryStr(), "other")
			sign(ts.alice, l)(t, other)

			if l == signing.Tag {
				write(t, signatureTag(d), image(t, signatureTag(other)))
			} else {
				refer(t, referrer(t, other), d)
			}
		}
	}

	// forged changes a signature after it was made.
	forged := func(l signing.Layout, change func(string, map[string]string) string) func(*testing.T, name.Digest) {
		return func(t *testing.T, d name.Digest) {
			t.Helper()

			other := push(t, d.RegistryStr(), d.RepositoryStr(), "other")
			sign(ts.alice, l)(t, other)

			replace := func(content string, notes map[string]string) string {
				return change(strings.ReplaceAll(content, other.DigestStr(), d.DigestStr()), notes)
			}

			if l == signing.Tag {
				write(t, signatureTag(d), rewrite(t, image(t, signatureTag(other)), replace))
			} else {
				refer(t, rewrite(t, referrer(t, other), replace), d)
			}
		}
	}

	same := func(content string, _ map[string]string) string { return content }

	alice := map[string][]byte{"cosign.pub": ts.alice.Public}
	signed := verify.Result{Signer: "cosign.pub"}

	cases := map[string]struct {
		reason string
		old    bool // a registry without the API for referrers
		sign   func(*testing.T, name.Digest)
		keys   map[string][]byte
		want   verify.Result
		err    error
		text   string
	}{
		"Tag":       {reason: "The layout of cosign 2.", sign: sign(ts.alice, signing.Tag), keys: alice, want: signed},
		"Bundle":    {reason: "The layout of cosign 3.", sign: sign(ts.alice, signing.Bundle), keys: alice, want: signed},
		"Referrers": {reason: "Payloads may refer to the image.", sign: sign(ts.alice, signing.Referrers), keys: alice, want: signed},
		"BundleOldRegistry": {
			reason: "A tag stands in for the API.", old: true, sign: sign(ts.alice, signing.Bundle), keys: alice, want: signed,
		},
		"RSATag":        {reason: "RSA.", sign: sign(ts.rsa, signing.Tag), keys: map[string][]byte{"a.pub": ts.rsa.Public}, want: verify.Result{Signer: "a.pub"}},
		"RSABundle":     {reason: "RSA.", sign: sign(ts.rsa, signing.Bundle), keys: map[string][]byte{"a.pub": ts.rsa.Public}, want: verify.Result{Signer: "a.pub"}},
		"ED25519Tag":    {reason: "ED25519.", sign: sign(ts.ed, signing.Tag), keys: map[string][]byte{"a.pub": ts.ed.Public}, want: verify.Result{Signer: "a.pub"}},
		"ED25519Bundle": {reason: "ED25519.", sign: sign(ts.ed, signing.Bundle), keys: map[string][]byte{"a.pub": ts.ed.Public}, want: verify.Result{Signer: "a.pub"}},
		"P384Tag":       {reason: "P-384.", sign: sign(ts.ec, signing.Tag), keys: map[string][]byte{"a.pub": ts.ec.Public}, want: verify.Result{Signer: "a.pub"}},
		"P384Bundle":    {reason: "P-384.", sign: sign(ts.ec, signing.Bundle), keys: map[string][]byte{"a.pub": ts.ec.Public}, want: verify.Result{Signer: "a.pub"}},
		"OneOfKeys": {
			reason: "One of the keys is enough.", sign: sign(ts.alice, signing.Tag),
			keys: map[string][]byte{"a.pub": ts.eve.Public, "b.pub": ts.alice.Public, "cosign.key": []byte("not looked at")},
			want: verify.Result{Signer: "b.pub"},
		},
		"OneOfSignatures": {
			reason: "One of the signatures is enough.", sign: all(sign(ts.eve, signing.Tag), sign(ts.alice, signing.Tag), sign(ts.rsa, signing.Tag)),
			keys: alice, want: signed,
		},
		"OneOfLayouts": {
			reason: "A signature in one layout is enough, whoever signed in the other.",
			sign:   all(sign(ts.eve, signing.Tag), sign(ts.alice, signing.Bundle)), keys: alice, want: signed,
		},
		"WrongKeyTag": {
			reason: "Another key.", sign: sign(ts.eve, signing.Tag), keys: alice,
			err: verify.ErrNotTrusted, text: "no signature is trusted: it was made with none of the public keys",
		},
		"WrongKeyBundle": {
			reason: "Another key.", sign: sign(ts.eve, signing.Bundle), keys: alice,
			err: verify.ErrNotTrusted, text: "none of the public keys",
		},
		"WrongKeys": {
			reason: "Other keys.", sign: sign(ts.eve, signing.Bundle), keys: map[string][]byte{"a.pub": ts.alice.Public, "b.pub": ts.rsa.Public},
			err: verify.ErrNotTrusted, text: "none of the public keys",
		},
		"None":    {reason: "Nobody signed.", sign: all(), keys: alice, err: verify.ErrNoSignature},
		"NoneOld": {reason: "Nobody signed.", old: true, sign: all(), keys: alice, err: verify.ErrNoSignature},
		"MovedTag": {
			reason: "The signature is one of another image.", sign: moved(signing.Tag), keys: alice,
			err: verify.ErrNotTrusted, text: "the signature is one of \"sha256:",
		},
		"MovedBundle": {
			reason: "The signature is one of another image.", sign: moved(signing.Bundle), keys: alice,
			err: verify.ErrNotTrusted, text: "digest",
		},
		"ForgedTag": {
			reason: "The payload names the image, but nobody signed that.", sign: forged(signing.Tag, same), keys: alice,
			err: verify.ErrNotTrusted, text: "none of the public keys",
		},
		"ForgedBundle": {
			reason: "The statement is encoded, so this one is as it was.", sign: forged(signing.Bundle, same), keys: alice,
			err: verify.ErrNotTrusted, text: "digest",
		},
		"ForgedBundleSignature": {
			reason: "The signature is another one.", sign: forged(signing.Bundle, func(content string, _ map[string]string) string {
				return strings.Replace(content, `"sig":"MEU`, `"sig":"MEQ`, 1) + " "
			}), keys: alice, err: verify.ErrNotTrusted,
		},
		"NoSignatureInPayload": {
			reason: "The note with the signature is missing.", sign: forged(signing.Tag, func(content string, notes map[string]string) string {
				clear(notes)

				return content
			}), keys: alice, err: verify.ErrNotTrusted, text: "a payload has no signature",
		},
		"Garbage": {
			reason: "What cannot be read does not count.",
			sign:   forged(signing.Bundle, func(string, map[string]string) string { return "{" }), keys: alice,
			err: verify.ErrNotTrusted, text: "read bundle",
		},
		"Huge": {
			reason: "What is too large is not read.", keys: alice,
			sign: forged(signing.Bundle, func(string, map[string]string) string { return strings.Repeat(" ", 3<<20) }),
			err:  verify.ErrNotTrusted, text: "more than 2097152",
		},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			t.Parallel()

			d := push(t, host(t, !tc.old), "app", "image")
			tc.sign(t, d)

			v, err := verify.NewCosign(verify.CosignOptions{Keys: tc.keys})
			if err != nil {
				t.Fatal(err)
			}

			got, err := v.Verify(t.Context(), d)
			check(t, tc.reason, got, err, tc.want, tc.err, tc.text)

			if tc.text != "" && err == nil {
				t.Errorf("%s\nVerify(): no error", tc.reason)
			}
		})
	}
}

// TestCosignAttestation holds that what is said about an image is no signature of it, even if it is true.
func TestCosignAttestation(t *testing.T) {
	ts := open(t)

	cases := map[string]struct {
		reason string
		hide   bool // what is in the bundle, which not all who write one say
		err    error
		text   string
	}{
		"Open":   {reason: "An attestation is not even read.", err: verify.ErrNoSignature},
		"Hidden": {reason: "An attestation does not count.", hide: true, err: verify.ErrNotTrusted, text: "is no signature"},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			d := push(t, host(t, true), "app", "image")
			other := push(t, d.RegistryStr(), "other", "image")

			if err := ts.cosign.Attest(t.Context(), other.String(), ts.alice, `{"vulnerable": true}`); err != nil {
				t.Fatal(err)
			}

			bundle := referrer(t, other)
			if tc.hide {
				bundle = rewrite(t, bundle, func(content string, _ map[string]string) string { return content })
			}

			refer(t, bundle, d)

			v, err := verify.NewCosign(verify.CosignOptions{Keys: map[string][]byte{"cosign.pub": ts.alice.Public}})
			if err != nil {
				t.Fatal(err)
			}

			got, err := v.Verify(t.Context(), d)
			check(t, tc.reason, got, err, verify.Result{}, tc.err, tc.text)
		})
	}
}

func TestNewCosign(t *testing.T) {
	ts := open(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // refused
	if err != nil {
		t.Fatal(err)
	}

	cases := map[string]struct {
		reason string
		o      verify.CosignOptions
		err    error
		text   string
	}{
		"NoKeys":       {reason: "A Secret without keys trusts nobody, not everybody.", o: verify.CosignOptions{Keys: map[string][]byte{"cosign.key": []byte("x")}}, err: verify.ErrNoKeys},
		"EmptySecret":  {reason: "A Secret without keys trusts nobody, not everybody.", o: verify.CosignOptions{Keys: map[string][]byte{}}, err: verify.ErrNoKeys},
		"EmptyKey":     {reason: "The name of the entry is said.", o: verify.CosignOptions{Keys: map[string][]byte{"a.pub": ts.alice.Public, "b.pub": []byte("\n")}}, text: `public key "b.pub": it is empty`},
		"Garbage":      {reason: "The name of the entry is said.", o: verify.CosignOptions{Keys: map[string][]byte{"b.pub": []byte("key")}}, text: `public key "b.pub"`},
		"Short":        {reason: "Weak keys are refused.", o: verify.CosignOptions{Keys: map[string][]byte{"b.pub": public(t, &short.PublicKey)}}, text: `"b.pub": an RSA key of 1024 bits is too short`},
		"NoRoot":       {reason: "There has to be somebody to trust.", o: verify.CosignOptions{}, text: "neither public keys nor a trusted root"},
		"EmptyRoot":    {reason: "An empty trusted root is not the public one.", o: verify.CosignOptions{TrustedRoot: []byte{}, Roots: nobody}, text: "the trusted root is empty"},
		"GarbageRoot":  {reason: "A trusted root has to be one.", o: verify.CosignOptions{TrustedRoot: []byte("{}")}, text: "read the trusted root"},
		"EmptyIssuer":  {reason: "An empty expression matches all.", o: verify.CosignOptions{Roots: nobody, Identities: []verify.OIDCIdentity{{Subject: "a"}}}, text: "OIDC identity 0: the issuer is empty"},
		"EmptySubject": {reason: "An empty expression matches all.", o: verify.CosignOptions{Roots: nobody, Identities: []verify.OIDCIdentity{{Issuer: "a", Subject: "a"}, {Issuer: "a"}}}, text: "OIDC identity 1: the subject is empty"},
		"BadSubject":   {reason: "An expression has to be one.", o: verify.CosignOptions{Roots: nobody, Identities: []verify.OIDCIdentity{{Issuer: "a", Subject: "("}}}, text: "the subject is no regular expression"},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			_, err := verify.NewCosign(tc.o)
			if err == nil || tc.err != nil && !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s\nNewCosign(): got error %v", tc.reason, err)
			}
		})
	}
}

func nobody(context.Context) ([]byte, error) { return nil, errors.New("nobody") }

func TestFingerprint(t *testing.T) {
	base := map[string][]byte{"a.pub": []byte("a"), "b.pub": []byte("b"), "trusted_root.json": []byte("r")}

	change := func(f func(map[string][]byte)) map[string][]byte {
		m := maps.Clone(base)
		f(m)

		return m
	}

	cases := map[string]struct {
		reason string
		data   []map[string][]byte
		same   bool
	}{
		"Same":    {reason: "The same.", data: []map[string][]byte{base}, same: true},
		"Renamed": {reason: "Names and order do not count.", same: true, data: []map[string][]byte{{"z.pub": []byte("a"), "a.pub": []byte("b")}, {"trusted_root.json": []byte("r")}}},
		"Twice":   {reason: "Once is enough.", same: true, data: []map[string][]byte{change(func(m map[string][]byte) { m["c.pub"] = []byte("a") })}},
		"Private": {reason: "Private keys and passwords leave no trace.", same: true, data: []map[string][]byte{change(func(m map[string][]byte) { m["cosign.key"], m["cosign.password"] = []byte("k"), []byte("p") })}},
		"Rotated": {reason: "Another key.", data: []map[string][]byte{change(func(m map[string][]byte) { m["b.pub"] = []byte("c") })}},
		"Removed": {reason: "One key less.", data: []map[string][]byte{change(func(m map[string][]byte) { delete(m, "b.pub") })}},
		"Root":    {reason: "Another trusted root.", data: []map[string][]byte{change(func(m map[string][]byte) { m["trusted_root.json"] = []byte("s") })}},
		"Role":    {reason: "What is no key any more is missing.", data: []map[string][]byte{change(func(m map[string][]byte) { m["b.pem"] = m["b.pub"]; delete(m, "b.pub") })}},
		"Joined":  {reason: "The bounds between keys count.", data: []map[string][]byte{{"a.pub": []byte("ab"), "trusted_root.json": []byte("r")}}},
	}

	for testName, tc := range cases {
		t.Run(testName, func(t *testing.T) {
			if got := verify.Fingerprint(tc.data...) == verify.Fingerprint(base); got != tc.same {
				t.Errorf("%s\nFingerprint(): same: want %v, got %v", tc.reason, tc.same, got)
			}
		})
	}

	if got := verify.Fingerprint(map[string][]byte{"password": []byte("p")}); got != "" {
		t.Errorf("Fingerprint() of nothing: %q", got)
	}
}
