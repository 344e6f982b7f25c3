package oci_test

import (
	"os"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/source/oci"
	server "github.com/weir-dev/weir/test/registry"
	"github.com/weir-dev/weir/test/signing"
)

// TestCosign verifies what the program cosign has signed, in the layouts that it writes, in registries with and without the
// API for referrers.
func TestCosign(t *testing.T) {
	tool, err := signing.NewCosign(t.Context(), t.TempDir(), os.Stderr)
	check(t, err)

	alice, err := tool.Key(t.Context(), "alice")
	check(t, err)
	eve, err := tool.Key(t.Context(), "eve")
	check(t, err)

	cases := map[string]struct {
		reason string
		layout signing.Layout
		server server.Options
		by     *signing.Key
		want   string
	}{
		"Tag":       {reason: "Under a tag.", layout: signing.Tag, by: alice},
		"Bundle":    {reason: "In a bundle that refers to the manifest.", layout: signing.Bundle, by: alice},
		"Old":       {reason: "In a registry that knows no referrers.", layout: signing.Bundle, by: alice, server: server.Options{NoReferrers: true}},
		"Protected": {reason: "Where one has to log in.", layout: signing.Tag, by: alice, server: server.Options{Username: "u", Password: "p", Tokens: true}},
		"Eve":       {reason: "By somebody else.", layout: signing.Tag, by: eve, want: "no matching signatures were found for '"},
		"Nobody":    {reason: "By nobody.", want: "no matching signatures were found for '"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.verifiers = oci.Signatures{}
			s := serve(t, tc.server)
			w.pullSecret("pull", s, "u", "p")
			w.secret("keys", map[string]string{"alice.pub": string(alice.Public)})

			hash := push(t, s, "latest", "a: 1\n")
			sign := func(hash v1.Hash, by *signing.Key) {
				login := []string{}
				if tc.server.Username != "" {
					login = append(login, "--registry-username", "u", "--registry-password", "p")
				}

				check(t, tool.Sign(t.Context(), s.Addr+"/org/app@"+hash.String(), by, tc.layout, login...))
			}

			if tc.by != nil {
				sign(hash, tc.by)
			}

			obj := object("app", s, withVerify(verification("cosign", "keys")))
			b := w.bench(t, obj)
			got := b.run(t, obj).Object

			if tc.want != "" {
				expect(t, got, meta.ReadyCondition,
					"False VerificationError: failed to verify the signature using provider 'cosign': "+tc.want)

				if got.Status.Artifact != nil {
					t.Errorf("%s\nartifact %+v", tc.reason, got.Status.Artifact)
				}

				return
			}

			expect(t, got, meta.ReadyCondition, "True Succeeded: stored artifact for digest 'latest@"+hash.String()+"'")
			expect(t, got, meta.SourceVerifiedCondition, "True Succeeded: verified signature of revision latest@"+hash.String())

			// What comes next is not signed: it is not stored, and what is there is served on.
			push(t, s, "latest", "a: 2\n")
			w.clock.Advance(time.Minute)

			next := b.run(t, obj).Object
			expect(t, next, meta.ReadyCondition, "False VerificationError: ")

			if !next.Status.Artifact.HasRevision(got.Status.Artifact.Revision) ||
				strings.Join(w.files(t, next.Status.Artifact), "") != "app.yaml 600 a: 1\n" {
				t.Errorf("%s\nartifact %+v", tc.reason, next.Status.Artifact)
			}
		})
	}
}

// Without a key, an object may name the Sigstore that it trusts.
func TestCosignKeyless(t *testing.T) {
	tool, err := signing.NewCosign(t.Context(), t.TempDir(), os.Stderr)
	check(t, err)

	sigstore, err := signing.ServeSigstore(t.Context())
	check(t, err)
	t.Cleanup(sigstore.Close)

	root, err := sigstore.TrustedRoot()
	check(t, err)

	const issuer, subject = "https://issuer.test", "https://git.test/app/release"

	for who, want := range map[string]string{
		"^https://git\\.test/app/": "True Succeeded: verified signature of revision ",
		"^https://git\\.test/eve/": "False VerificationError: failed to verify the signature using provider 'cosign keyless': ",
	} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t)
			w.verifiers = oci.Signatures{}
			s := serve(t, server.Options{})
			w.pullSecret("pull", s, "u", "p")
			w.secret("root", map[string]string{"trusted_root.json": string(root)})

			hash := push(t, s, "latest", "a: 1\n")
			check(t, tool.SignKeyless(t.Context(), s.Addr+"/org/app@"+hash.String(), sigstore, issuer, subject, signing.Tag, false))

			v := verification("cosign", "")
			v.MatchOIDCIdentity = []sourcev1.OIDCIdentityMatch{{Issuer: "^https://issuer\\.test$", Subject: who}}
			v.TrustedRootSecretRef = &meta.LocalObjectReference{Name: "root"}

			obj := object("app", s, withVerify(v))
			expect(t, w.bench(t, obj).run(t, obj).Object, meta.SourceVerifiedCondition, want)
		})
	}
}
