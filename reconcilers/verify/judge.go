package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// judge decides on one signature.
type judge interface {
	// signer returns who made the signature of the image.
	signer(s signed, image name.Digest) (string, error)
}

// judges are alternatives.
type judges []judge

// errOtherKey means that a key did not make a signature, which is no news if there are other keys.
var errOtherKey = errors.New("it was made with none of the public keys")

func (js judges) signer(s signed, image name.Digest) (string, error) {
	if len(js) == 1 {
		return js[0].signer(s, image)
	}

	err := errOtherKey

	for _, j := range js {
		who, e := j.signer(s, image)
		if e == nil {
			return who, nil
		}

		if !errors.Is(e, errOtherKey) {
			err = e
		}
	}

	return "", err
}

// examine verifies a signature.
func examine(v *sigstore.Verifier, s signed, b *bundle.Bundle, image name.Digest, policy ...sigstore.PolicyOption,
) (r *sigstore.VerificationResult, err error) {
	defer guard(&err)

	artifact, err := s.artifact(image)
	if err != nil {
		return nil, err
	}

	return v.Verify(b, sigstore.NewPolicy(artifact, policy...)) //nolint:wrapcheck // the caller says more
}

// minRSABits is the length of the shortest RSA key that is trusted.
const minRSABits = 2048

// byKey trusts a public key.
type byKey struct {
	name     string
	verifier *sigstore.Verifier
}

// readKeys returns who judges by the public keys among the entries, in the order of their names.
func readKeys(entries map[string][]byte) (judges, error) {
	var js judges

	for _, entry := range slices.Sorted(maps.Keys(entries)) {
		if !hasSuffix(entry, ".pub") {
			continue
		}

		key, err := readKey(entries[entry])
		if err != nil {
			return nil, fmt.Errorf("read public key %q: %w", entry, err)
		}

		for _, how := range ways(key) {
			v, err := newKeyVerifier(key, how)
			if err != nil {
				return nil, fmt.Errorf("read public key %q: %w", entry, err)
			}

			js = append(js, &byKey{name: entry, verifier: v})
		}
	}

	if len(js) == 0 {
		return nil, ErrNoKeys
	}

	return js, nil
}

func readKey(b []byte) (crypto.PublicKey, error) {
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil, errors.New("it is empty")
	}

	key, err := cryptoutils.UnmarshalPEMToPublicKey(b)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the entry
	}

	if r, ok := key.(*rsa.PublicKey); ok && r.N.BitLen() < minRSABits {
		return nil, fmt.Errorf("an RSA key of %d bits is too short", r.N.BitLen())
	}

	return key, nil
}

// ways are the ones in which cosign signs with a key. It took SHA-256 whatever the key, and takes the hash that fits the key for
// bundles. The log takes signatures of ED25519 only if a hash is signed, and so does cosign.
func ways(key crypto.PublicKey) []signature.LoadOption {
	all := []signature.LoadOption{options.WithHash(crypto.SHA256)}

	switch k := key.(type) {
	case ed25519.PublicKey:
		all = append(all, options.WithED25519ph())
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P384():
			all = append(all, options.WithHash(crypto.SHA384))
		case elliptic.P521():
			all = append(all, options.WithHash(crypto.SHA512))
		}
	}

	return all
}

func newKeyVerifier(key crypto.PublicKey, how signature.LoadOption) (*sigstore.Verifier, error) {
	v, err := signature.LoadVerifierWithOpts(key, how)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the entry
	}

	always := root.NewExpiringKey(v, time.Time{}, time.Time{})
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return always, nil })

	return sigstore.NewVerifier(material, sigstore.WithNoObserverTimestamps()) //nolint:wrapcheck // the caller names the entry
}

func (k *byKey) signer(s signed, image name.Digest) (string, error) {
	b, err := s.bundle(withKey)
	if err != nil {
		return "", err
	}

	r, err := examine(k.verifier, s, b, image, sigstore.WithKey())
	if err != nil {
		return "", fmt.Errorf("%w: %w", errOtherKey, err)
	}

	if err := s.about(image, r); err != nil {
		return "", err
	}

	return k.name, nil
}

// keyless trusts the certificates of a trusted root.
type keyless struct {
	verifier *sigstore.Verifier
	policy   []sigstore.PolicyOption
}

// compile returns the policy that one of the identities has to match.
func compile(identities []OIDCIdentity) ([]sigstore.PolicyOption, error) {
	if len(identities) == 0 {
		return []sigstore.PolicyOption{sigstore.WithoutIdentitiesUnsafe()}, nil
	}

	policy := make([]sigstore.PolicyOption, 0, len(identities))

	for i, id := range identities {
		if err := errors.Join(expression("issuer", id.Issuer), expression("subject", id.Subject)); err != nil {
			return nil, fmt.Errorf("OIDC identity %d: %w", i, err)
		}

		match, err := sigstore.NewShortCertificateIdentity("", id.Issuer, "", id.Subject)
		if err != nil {
			return nil, fmt.Errorf("OIDC identity %d: %w", i, err)
		}

		policy = append(policy, sigstore.WithCertificateIdentity(match))
	}

	return policy, nil
}

// expression checks a regular expression. What is empty would match all.
func expression(field, text string) error {
	if text == "" {
		return fmt.Errorf("the %s is empty", field)
	}

	if _, err := regexp.Compile(text); err != nil {
		return fmt.Errorf("the %s is no regular expression: %w", field, err)
	}

	return nil
}

// newKeyless returns who judges by a trusted root, of which everything has to be there if it is the public one.
func newKeyless(trustedRoot []byte, policy []sigstore.PolicyOption, whole bool) (j judge, err error) {
	defer guard(&err)

	r, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("read the trusted root: %w", plain(err))
	}

	logs, ctLogs, stamps := len(r.RekorLogs()) > 0, len(r.CTLogs()) > 0, len(r.TimestampingAuthorities()) > 0

	switch {
	case len(r.FulcioCertificateAuthorities()) == 0:
		return nil, errors.New("the trusted root has no authority for certificates")
	case !logs && !stamps:
		return nil, errors.New("the trusted root has neither a transparency log nor a timestamp authority")
	case whole && (!logs || !ctLogs):
		return nil, errors.New("the trusted root of the public Sigstore lacks a log")
	}

	o := []sigstore.VerifierOption{sigstore.WithObserverTimestamps(1)}
	if logs {
		o = append(o, sigstore.WithTransparencyLog(1))
	}

	if ctLogs {
		o = append(o, sigstore.WithSignedCertificateTimestamps(1))
	}

	v, err := sigstore.NewVerifier(r, o...)
	if err != nil {
		return nil, fmt.Errorf("use the trusted root: %w", err)
	}

	return &keyless{verifier: v, policy: policy}, nil
}

func (k *keyless) signer(s signed, image name.Digest) (string, error) {
	b, err := s.bundle(withCertificate)
	if err != nil {
		return "", err
	}

	r, err := examine(k.verifier, s, b, image, k.policy...)
	if err != nil {
		return "", err
	}

	// Without identities, nothing else says that there is a certificate.
	if r.Signature == nil || r.Signature.Certificate == nil {
		return "", errors.New("the signature comes without a certificate")
	}

	if err := s.about(image, r); err != nil {
		return "", err
	}

	return describe(r.Signature.Certificate), nil
}

// describe names who a certificate was issued for.
func describe(c *certificate.Summary) string {
	return plain(fmt.Errorf("%s (%s)", c.SubjectAlternativeName, c.Issuer)).Error()
}
