package oci_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/source/oci"
	"github.com/weir-dev/weir/reconcilers/verify"
	server "github.com/weir-dev/weir/test/registry"
)

// notary says what is verified, and notes what it was asked.
type notary struct {
	mu     sync.Mutex
	trusts []oci.Trust
	asked  []string // digests
	result verify.Result
	err    error
}

// Verifier implements oci.Verifiers.
func (n *notary) Verifier(t oci.Trust) (verify.Image, error) {
	n.mu.Lock()
	defer n.mu.Unlock()

	n.trusts = append(n.trusts, t)

	return n, nil
}

// Verify implements verify.Image.
func (n *notary) Verify(ctx context.Context, ref name.Digest, o ...remote.Option) (verify.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()

	n.asked = append(n.asked, ref.DigestStr())

	// The registry can be asked with what it was given.
	if _, err := remote.Head(ref, append(o, remote.WithContext(ctx))...); err != nil {
		return verify.Result{}, fmt.Errorf("head: %w", err)
	}

	return n.result, n.err
}

func withVerify(v sourcev1.OCIRepositoryVerification) func(*sourcev1.OCIRepositorySpec) {
	return func(s *sourcev1.OCIRepositorySpec) {
		s.Verification = &v
		s.SecretRef = &meta.LocalObjectReference{Name: "pull"}
	}
}

func verification(provider, secret string) sourcev1.OCIRepositoryVerification {
	v := sourcev1.OCIRepositoryVerification{OCIVerification: sourcev1.OCIVerification{Provider: provider}}
	if secret != "" {
		v.SecretRef = &meta.LocalObjectReference{Name: secret}
	}

	return v
}

func TestVerify(t *testing.T) {
	const (
		cosign   = "failed to verify the signature using provider 'cosign': "
		keyless  = "failed to verify the signature using provider 'cosign keyless': "
		notation = "failed to verify the signature using provider 'notation': "
	)

	keylessOf := func(root string) sourcev1.OCIRepositoryVerification {
		v := verification("cosign", "")
		v.MatchOIDCIdentity = []sourcev1.OIDCIdentityMatch{{Issuer: "^https://i$", Subject: "me"}}

		if root != "" {
			v.TrustedRootSecretRef = &meta.LocalObjectReference{Name: root}
		}

		return v
	}

	cases := map[string]struct {
		reason string
		verify sourcev1.OCIRepositoryVerification
		notary *notary
		trust  []oci.Trust
		want   string // the condition, with %s for the digest
		ready  bool
	}{
		"Key": {
			reason: "A signature by the key.", verify: verification("cosign", "keys"), notary: &notary{},
			trust: []oci.Trust{{Provider: "cosign", Keys: map[string][]byte{"a.pub": []byte("key")}}},
			want:  "True Succeeded: verified signature of revision latest@%s", ready: true,
		},
		"Keyless": {
			reason: "A signature by one of the identities.", verify: keylessOf(""), notary: &notary{},
			trust: []oci.Trust{{Provider: "cosign", Identities: []verify.OIDCIdentity{{Issuer: "^https://i$", Subject: "me"}}}},
			want:  "True Succeeded: verified signature of revision latest@%s", ready: true,
		},
		"TrustedRoot": {
			reason: "By one whom the own root vouches for.", verify: keylessOf("root"), notary: &notary{},
			trust: []oci.Trust{{
				Provider: "cosign", Identities: []verify.OIDCIdentity{{Issuer: "^https://i$", Subject: "me"}},
				TrustedRoot: []byte("{}"),
			}},
			want: "True Succeeded: verified signature of revision latest@%s", ready: true,
		},
		"Notation": {
			reason: "A signature as the policy wants it.", verify: verification("notation", "keys"), notary: &notary{},
			trust: []oci.Trust{{Provider: "notation", Keys: map[string][]byte{"a.pub": []byte("key")}}},
			want:  "True Succeeded: verified signature of revision latest@%s", ready: true,
		},
		"Skipped": {
			reason: "The policy wants none: nothing was verified.", verify: verification("notation", "keys"),
			notary: &notary{result: verify.Result{Skipped: true}}, ready: true,
			trust: []oci.Trust{{Provider: "notation", Keys: map[string][]byte{"a.pub": []byte("key")}}},
		},
		"NoSignature": {
			reason: "Nobody signed it.", verify: verification("cosign", "keys"), notary: &notary{err: verify.ErrNoSignature},
			trust: []oci.Trust{{Provider: "cosign", Keys: map[string][]byte{"a.pub": []byte("key")}}},
			want:  "False VerificationError: " + cosign + "no matching signatures were found for '",
		},
		"NotTrusted": {
			reason: "Somebody else signed it.", verify: keylessOf(""),
			notary: &notary{err: fmt.Errorf("%w: of eve", verify.ErrNotTrusted)},
			trust:  []oci.Trust{{Provider: "cosign", Identities: []verify.OIDCIdentity{{Issuer: "^https://i$", Subject: "me"}}}},
			want:   "False VerificationError: " + keyless + "no matching signatures were found for '",
		},
		"Unknown": {
			reason: "It could not be found out.", verify: verification("notation", "keys"), notary: &notary{err: errors.New("no answer")},
			trust: []oci.Trust{{Provider: "notation", Keys: map[string][]byte{"a.pub": []byte("key")}}},
			want:  "False VerificationError: " + notation + "no answer",
		},
		"NoKeys": {
			reason: "There are no keys in the secret.", verify: verification("cosign", "keys"), notary: &notary{err: verify.ErrNoKeys},
			trust: []oci.Trust{{Provider: "cosign", Keys: map[string][]byte{"a.pub": []byte("key")}}},
			want:  "False VerificationError: " + cosign + "no public keys found in secret 'apps/keys'",
		},
		"NoCertificates": {
			reason: "There are none in the secret.", verify: verification("notation", "keys"), notary: &notary{err: verify.ErrNoCertificates},
			trust: []oci.Trust{{Provider: "notation", Keys: map[string][]byte{"a.pub": []byte("key")}}},
			want:  "False VerificationError: " + notation + "no certificates found in secret 'apps/keys'",
		},
		"EmptySecret": {
			reason: "The secret is empty.", verify: verification("cosign", "empty"), notary: &notary{},
			want: "False VerificationError: " + cosign + "verification secret cannot be empty: 'apps/empty'",
		},
		"NoSecret": {
			reason: "The secret is not there.", verify: verification("cosign", "none"), notary: &notary{},
			want: "False VerificationError: " + cosign + "failed to get secret 'apps/none': ",
		},
		"NotationWithoutSecret": {
			reason: "Without a policy, nothing can be verified.", verify: verification("notation", ""), notary: &notary{},
			want: "False VerificationError: " + notation + "spec.verify.secretRef is required for notation",
		},
		"NoTrustedRoot": {
			reason: "The public root does not stand in for one that is missing.", verify: keylessOf("empty"), notary: &notary{},
			want: "False VerificationError: " + keyless + "'trusted_root.json' not found in secret 'apps/empty'",
		},
		"OtherProvider": {
			reason: "There is no such thing.", verify: verification("pgp", "keys"), notary: &notary{},
			want: "False VerificationError: failed to verify the signature using provider 'pgp': there is no such provider",
		},
		"NoVerifiers": {
			reason: "Who cannot verify refuses.", verify: verification("cosign", "keys"),
			want: "False VerificationError: " + cosign + "verification is not available",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, server.Options{Username: "u", Password: "p", Tokens: true})
			w.pullSecret("pull", s, "u", "p")
			w.secret("keys", map[string]string{"a.pub": "key"})
			w.secret("root", map[string]string{"trusted_root.json": "{}"})
			w.secret("empty", nil)

			if tc.notary != nil {
				w.verifiers = tc.notary
			}

			hash := push(t, s, "latest", "a: 1\n")
			obj := object("app", s, withVerify(tc.verify))
			got := w.bench(t, obj).run(t, obj)

			if strings.Contains(tc.want, "%s") {
				tc.want = fmt.Sprintf(tc.want, hash)
			}

			expect(t, got.Object, meta.SourceVerifiedCondition, tc.want)

			if tc.notary != nil {
				if diff := cmp.Diff(tc.trust, tc.notary.trusts); diff != "" {
					t.Errorf("%s\ntrust: -want +got:\n%s", tc.reason, diff)
				}
			}

			if tc.ready {
				expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact for digest")

				return
			}

			expect(t, got.Object, meta.ReadyCondition, tc.want)
			expect(t, got.Object, meta.FetchFailedCondition, "")

			if got.Object.Status.Artifact != nil || s.Counts().Blobs != 0 {
				t.Errorf("%s\nwhat was refused was fetched", tc.reason)
			}

			if events := reasons(got.Events); len(events) != 1 || !strings.HasPrefix(events[0], "VerificationError: ") {
				t.Errorf("%s\nevents %q", tc.reason, events)
			}
		})
	}
}

// TestVerifyAgain shows when something is verified again, and what happens to what is refused later.
func TestVerifyAgain(t *testing.T) {
	n := &notary{}
	w := newWorld(t)
	w.verifiers = n
	s := serve(t, server.Options{})
	w.pullSecret("pull", s, "u", "p")
	w.secret("keys", map[string]string{"a.pub": "key"})

	first := push(t, s, "latest", "a: 1\n")
	obj := object("app", s, withVerify(verification("cosign", "keys")))
	b := w.bench(t, obj)

	// run runs the object a minute later, and returns the digests that were verified.
	run := func() (*sourcev1.OCIRepository, []string) {
		n.asked = nil

		w.clock.Advance(time.Minute)

		return b.run(t, obj).Object, n.asked
	}

	step := func(what string, asked []string, want ...string) {
		if !slices.Equal(asked, want) {
			t.Errorf("%s: %q was verified", what, asked)
		}
	}

	got, asked := run()
	step("first", asked, first.String())

	fingerprint := got.Status.SourceVerificationFingerprint
	if !strings.HasPrefix(fingerprint, "sha256:") {
		t.Errorf("fingerprint %q", fingerprint)
	}

	_, asked = run()
	step("nothing new", asked)

	w.secret("keys", map[string]string{"a.pub": "other key"})

	got, asked = run()
	step("other key", asked, first.String())

	if got.Status.SourceVerificationFingerprint == fingerprint {
		t.Error("the fingerprint stayed")
	}

	b.change(t, obj, func(o *sourcev1.OCIRepository) { o.Spec.Interval.Duration *= 2 })

	_, asked = run()
	step("other spec", asked, first.String())

	// The next one is refused: the old one stays, and it is tried again.
	second := push(t, s, "latest", "a: 2\n")
	n.err = verify.ErrNoSignature
	before := s.Counts()

	got, asked = run()
	step("new revision", asked, second.String())
	expect(t, got, meta.ReadyCondition, "False VerificationError: failed to verify the signature using provider 'cosign': ")
	expect(t, got, meta.ArtifactOutdatedCondition, "True NewRevision: ")

	if !got.Status.Artifact.HasRevision("latest@"+first.String()) || s.Counts().Since(before).Blobs != 0 {
		t.Errorf("artifact %+v", got.Status.Artifact)
	}

	check(t, w.store.Verify(got.Status.Artifact))

	n.err = nil

	got, asked = run()
	step("signed later", asked, second.String())
	expect(t, got, meta.ReadyCondition, "True Succeeded: stored artifact for digest 'latest@"+second.String()+"'")
	expect(t, got, meta.SourceVerifiedCondition, "True Succeeded: verified signature of revision latest@"+second.String())

	// The signature of what is stored is not good any more.
	w.secret("keys", map[string]string{"a.pub": "third key"})
	n.err = verify.ErrNotTrusted

	got, asked = run()
	step("third key", asked, second.String())
	expect(t, got, meta.ReadyCondition, "False VerificationError: ")

	_, asked = run()
	step("still not good", asked, second.String())

	b.change(t, obj, func(o *sourcev1.OCIRepository) { o.Spec.Verification = nil })

	got, asked = run()
	step("nothing to verify", asked)
	expect(t, got, meta.SourceVerifiedCondition, "")
	expect(t, got, meta.ReadyCondition, "True Succeeded: ")

	if got.Status.SourceVerificationFingerprint != "" {
		t.Errorf("fingerprint %q", got.Status.SourceVerificationFingerprint)
	}
}

// That something else was verified says nothing about what is stored: here, something that was signed could not be fetched after
// verification was asked for, and the tag points again at what nobody signed.
func TestVerifyOther(t *testing.T) {
	broken := false
	n := &notary{}
	w := newWorld(t)
	w.verifiers = n
	s := serve(t, server.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if broken && strings.Contains(req.URL.Path, "/blobs/") {
				w.WriteHeader(http.StatusNotFound)

				return
			}

			h.ServeHTTP(w, req)
		})
	}})
	w.pullSecret("pull", s, "u", "p")
	w.secret("keys", map[string]string{"a.pub": "key"})

	obj := object("app", s)
	b := w.bench(t, obj)

	first := push(t, s, "latest", "a: 1\n")
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")

	b.change(t, obj, func(o *sourcev1.OCIRepository) { withVerify(verification("cosign", "keys"))(&o.Spec) })

	broken = true
	second := push(t, s, "latest", "a: 2\n")

	w.clock.Advance(time.Minute)
	expect(t, b.run(t, obj).Object, meta.SourceVerifiedCondition, "True Succeeded: verified signature of revision latest@"+second.String())

	push(t, s, "latest", "a: 1\n")

	n.err = verify.ErrNoSignature

	w.clock.Advance(time.Minute)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "False VerificationError: ")

	if want := []string{second.String(), first.String()}; !slices.Equal(n.asked, want) {
		t.Errorf("verified %q, want %q", n.asked, want)
	}
}

// What is lost is verified again before it is stored again.
func TestVerifyLost(t *testing.T) {
	n := &notary{}
	w := newWorld(t)
	w.verifiers = n
	s := serve(t, server.Options{})
	w.pullSecret("pull", s, "u", "p")
	w.secret("keys", map[string]string{"a.pub": "key"})
	push(t, s, "latest", "a: 1\n")

	obj := object("app", s, withVerify(verification("cosign", "keys")))
	b := w.bench(t, obj)
	b.run(t, obj)

	entries, err := os.ReadDir(w.root)
	check(t, err)

	for _, e := range entries {
		check(t, os.RemoveAll(filepath.Join(w.root, e.Name())))
	}

	n.err = verify.ErrNoSignature

	w.clock.Advance(time.Minute)

	got := b.run(t, obj).Object
	if len(n.asked) != 2 || got.Status.Artifact != nil {
		t.Errorf("verified %q, artifact %+v", n.asked, got.Status.Artifact)
	}

	expect(t, got, meta.ReadyCondition, "False VerificationError: ")
}

// Many who trust the same ask once.
func TestVerifyShared(t *testing.T) {
	n := &notary{}
	w := newWorld(t)
	w.verifiers = n
	s := serve(t, server.Options{})
	w.pullSecret("pull", s, "u", "p")
	w.secret("keys", map[string]string{"a.pub": "key"})
	w.secret("others", map[string]string{"a.pub": "other key"})
	push(t, s, "latest", "a: 1\n")

	all := make([]*sourcev1.OCIRepository, 0, 11)
	for i := range 10 {
		all = append(all, object(fmt.Sprintf("app-%d", i), s, withVerify(verification("cosign", "keys"))))
	}

	all = append(all, object("other", s, withVerify(verification("cosign", "others"))))
	b := w.bench(t, all...)

	var running sync.WaitGroup
	for _, obj := range all {
		running.Go(func() {
			expect(t, b.run(t, obj).Object, meta.SourceVerifiedCondition, "True")
		})
	}

	running.Wait()

	if len(n.asked) != 2 {
		t.Errorf("verified %d times", len(n.asked))
	}
}
