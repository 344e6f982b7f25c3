package verify

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/crypto/ssh"
)

// pair is a pair of keys that is the same every time, so that what the fuzzer finds can be found again.
func pair(t testing.TB) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()

	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte("weir"), ed25519.SeedSize/4))

	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}

	return private, s
}

// armoured is a signature of SSH as it stands in a commit.
func armoured(t testing.TB, s ssh.Signer, namespace string, payload []byte) []byte {
	t.Helper()

	sum := sha512.Sum512(payload)
	message := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{namespace, "", "sha512", sum[:]})...)

	sig, err := s.Sign(nil, message)
	if err != nil {
		t.Fatal(err)
	}

	b := append([]byte(sshMagic), ssh.Marshal(sshSignature{
		Version: sshVersion, PublicKey: s.PublicKey().Marshal(), Namespace: namespace, Hash: "sha512", Signature: ssh.Marshal(sig),
	})...)

	return pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: b})
}

// FuzzSSHSignature holds that what is read of a signature is all there is, and that only the one payload is verified by it.
func FuzzSSHSignature(f *testing.F) {
	_, s := pair(f)
	payload := []byte("tree\n")

	k, err := NewKeyring(map[string][]byte{"a.sshpub": ssh.MarshalAuthorizedKey(s.PublicKey())})
	if err != nil {
		f.Fatal(err)
	}

	good := armoured(f, s, "git", payload)
	if _, err := k.Verify(payload, good); err != nil {
		f.Fatal(err)
	}

	f.Add(payload, good)
	f.Add(payload, armoured(f, s, "file", payload))
	f.Add([]byte("other\n"), good)
	f.Add(payload, []byte("-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----"))
	f.Add(payload, bytes.Repeat(good, 2))

	f.Fuzz(func(t *testing.T, p, text []byte) {
		sig, err := readSSHSignature(text)
		if err != nil {
			return
		}

		block, _ := pem.Decode(text)
		if diff := cmp.Diff(block.Bytes, append([]byte(sshMagic), ssh.Marshal(sig)...)); diff != "" {
			t.Errorf("there is more in it: %s", diff)
		}

		if _, err := sig.message(p); err != nil {
			return
		}

		if _, err := k.verifySSH(p, text); err == nil && !bytes.Equal(p, payload) {
			t.Errorf("verified %q with\n%s", p, text)
		}
	})
}

// FuzzKeyring holds that no keys come of what holds none.
func FuzzKeyring(f *testing.F) {
	_, s := pair(f)

	f.Add(true, ssh.MarshalAuthorizedKey(s.PublicKey()))
	f.Add(true, []byte("# nobody\n\nssh-rsa AAAA"))
	f.Add(false, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"))

	f.Fuzz(func(t *testing.T, asSSH bool, b []byte) {
		if !asSSH {
			if keys, err := readOpenPGP(b); err == nil && len(keys) == 0 {
				t.Error("no keys and no error")
			}

			return
		}

		keys, err := readAuthorizedKeys(b)
		if err == nil && len(keys) == 0 {
			t.Error("no keys and no error")
		}

		for _, k := range keys {
			if err := strong(k); err != nil {
				t.Errorf("a weak key: %v", err)
			}
		}
	})
}

const fuzzDigest = "sha256:5555555555555555555555555555555555555555555555555555555555555555"

// FuzzCosignSignature holds that nothing but what the key signed is trusted, in whatever layout it comes.
func FuzzCosignSignature(f *testing.F) {
	private, _ := pair(f)

	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		f.Fatal(err)
	}

	keys, err := readKeys(map[string][]byte{"a.pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})})
	if err != nil {
		f.Fatal(err)
	}

	image, err := name.NewDigest("registry.example.com/app@" + fuzzDigest)
	if err != nil {
		f.Fatal(err)
	}

	content := `{"critical":{"identity":{},"image":{"docker-manifest-digest":"` + fuzzDigest + `"},"type":"cosign container image signature"}}`

	f.Add(false, content, "AAAA", "", "", "")
	f.Add(false, content, "AAAA", `{"SignedEntryTimestamp":"AAAA","Payload":{"body":"e30=","integratedTime":1,"logIndex":1,"logID":"00"}}`,
		`{"SignedRFC3161Timestamp":"AAAA"}`, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Add(true, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"a"}},`+
		`"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}}`, "", "", "", "")
	f.Add(true, "{}", "", "", "", "")

	f.Fuzz(func(t *testing.T, asBundle bool, content, sig, rekor, stamp, cert string) {
		var (
			s   signed
			err error
		)

		if asBundle {
			s, err = readBundle([]byte(content))
		} else {
			s, err = readPayload(map[string]string{
				signatureNote: sig, rekorNote: rekor, timestampNote: stamp, certificateNote: cert,
			}, []byte(content))
		}

		if err != nil {
			return
		}

		// What the fuzzer makes up is signed by nobody.
		if who, err := keys.signer(s, image); err == nil {
			t.Errorf("trusted as signed with %q", who)
		}

		if b, err := s.bundle(withCertificate); err == nil && b == nil {
			t.Error("neither a signature nor an error")
		}
	})
}

// FuzzManifest holds that manifests of signatures are looked at within bounds, whatever they hold.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"` + fuzzDigest + `","size":1}]}`))
	f.Add([]byte(`{"blobs":[{"mediaType":"application/jose+json","digest":"` + fuzzDigest + `","size":-1}]}`))
	f.Add([]byte(`{"layers":null}`))

	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readManifest(b)
		if err != nil {
			return
		}

		image, err := name.NewDigest("registry.example.com/app@" + fuzzDigest)
		if err != nil {
			t.Fatal(err)
		}

		reads := 0
		s := &search{image: image, read: func(context.Context, v1.Descriptor) ([]byte, error) {
			reads++

			return []byte("{}"), nil
		}}

		if s.layers(t.Context(), m); reads > maxPayloads || s.signer != "" {
			t.Errorf("%d reads, signer %q", reads, s.signer)
		}

		if err := s.refused.err(); strings.ContainsAny(err.Error(), "\n\r\t") || len(err.Error()) > 2000 {
			t.Errorf("an error that is unfit for conditions: %q", err)
		}
	})
}
