package signing

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/tspclient-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Notary signs with Notation.
type Notary struct {
	ca, leaf   *x509.Certificate
	caKey, key *ecdsa.PrivateKey

	// CA is the certificate of the notary's authority in PEM, what others trust.
	CA []byte

	// Leaf is the certificate of the notary in PEM.
	Leaf []byte
}

// Validity is when a certificate is valid. Zero times are a day from now.
type Validity struct {
	From, Until time.Time

	// List is where the authority lists the certificates that it revoked. Empty means nowhere.
	List string
}

// NewNotary makes a notary with an authority of its own. The subject of its certificate has the name and stands for Weir in
// Zurich, Switzerland.
func NewNotary(name string, v Validity) (*Notary, error) {
	if v.From.IsZero() {
		v.From = time.Now().Add(-authorities)
	}

	if v.Until.IsZero() {
		v.Until = time.Now().Add(authorities)
	}

	subject := func(cn string) pkix.Name {
		return pkix.Name{CommonName: cn, Organization: []string{"Weir"}, Country: []string{"CH"}, Province: []string{"ZH"}}
	}

	caKey, err := newKey()
	if err != nil {
		return nil, err
	}

	key, err := newKey()
	if err != nil {
		return nil, err
	}

	top := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject(name + " CA"),
		NotBefore: time.Now().Add(-2 * authorities), NotAfter: time.Now().Add(2 * authorities),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}

	ca, err := issue(top, top, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}

	below := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: subject(name), NotBefore: v.From, NotAfter: v.Until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if v.List != "" {
		below.CRLDistributionPoints = []string{v.List}
	}

	leaf, err := issue(below, ca, key.Public(), caKey)
	if err != nil {
		return nil, err
	}

	return &Notary{ca: ca, leaf: leaf, caKey: caKey, key: key, CA: encode(ca), Leaf: encode(leaf)}, nil
}

// Revoked returns the list of the certificates that the authority revoked: that of the notary, or none.
func (n *Notary) Revoked(it bool) ([]byte, error) {
	list := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(authorities),
	}

	if it {
		list.RevokedCertificateEntries = []x509.RevocationListEntry{
			{SerialNumber: n.leaf.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)},
		}
	}

	return x509.CreateRevocationList(rand.Reader, list, n.ca, n.caKey)
}

// Media types of signatures.
const (
	JWS  = "application/jose+json"
	COSE = "application/cose"
)

// Notarization says how to sign.
type Notarization struct {
	// MediaType of the signature. Empty means JWS.
	MediaType string

	// At is when the notary says that it signs. Zero means now.
	At time.Time

	// Expire is when the signature does, after it was made. Zero means never.
	Expire time.Duration

	// Timestamp optionally is whose timestamp authority is asked for when it was signed.
	Timestamp *Sigstore
}

// Sign signs an image, given by digest, in a registry that speaks plain HTTP.
func (n *Notary) Sign(ctx context.Context, image string, how Notarization) error {
	if how.MediaType == "" {
		how.MediaType = JWS
	}

	repository, err := remote.NewRepository(image)
	if err != nil {
		return fmt.Errorf("open %q: %w", image, err)
	}

	repository.PlainHTTP = true

	o := notation.SignerSignOptions{SignatureMediaType: how.MediaType, ExpiryDuration: how.Expire}

	if how.Timestamp != nil {
		o.TSARootCAs = x509.NewCertPool()
		o.TSARootCAs.AddCert(how.Timestamp.tsa.root)

		if o.Timestamper, err = tspclient.NewHTTPTimestamper(&http.Client{Timeout: time.Minute}, how.Timestamp.URL+notaryTimestampPath); err != nil {
			return err
		}
	}

	var s notation.Signer = &dated{n: n, at: how.At}
	if how.At.IsZero() {
		if s, err = signer.NewGenericSigner(n.key, []*x509.Certificate{n.leaf, n.ca}); err != nil {
			return fmt.Errorf("make signer: %w", err)
		}
	}

	_, err = notation.Sign(ctx, s, registry.NewRepository(repository), notation.SignOptions{
		SignerSignOptions: o, ArtifactReference: image,
	})
	if err != nil {
		return fmt.Errorf("sign %q: %w", image, err)
	}

	return nil
}

// dated signs at a time of its own, like somebody whose clock is wrong.
type dated struct {
	n  *Notary
	at time.Time
}

// Sign implements notation.Signer.
func (d *dated) Sign(ctx context.Context, desc ocispec.Descriptor, o notation.SignerSignOptions,
) ([]byte, *signature.SignerInfo, error) {
	local, err := signature.NewLocalSigner([]*x509.Certificate{d.n.leaf, d.n.ca}, d.n.key)
	if err != nil {
		return nil, nil, err
	}

	payload, err := json.Marshal(map[string]any{"targetArtifact": map[string]any{
		"mediaType": desc.MediaType, "digest": desc.Digest, "size": desc.Size,
	}})
	if err != nil {
		return nil, nil, err
	}

	req := &signature.SignRequest{
		Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: payload},
		Signer:  local, SigningTime: d.at, SigningScheme: signature.SigningSchemeX509,
		Timestamper: o.Timestamper, TSARootCAs: o.TSARootCAs,
	}
	if o.ExpiryDuration != 0 {
		req.Expiry = d.at.Add(o.ExpiryDuration)
	}

	envelope, err := signature.NewEnvelope(o.SignatureMediaType)
	if err != nil {
		return nil, nil, err
	}

	b, err := envelope.Sign(req.WithContext(ctx))
	if err != nil {
		return nil, nil, err
	}

	content, err := envelope.Verify()
	if err != nil {
		return nil, nil, err
	}

	return b, &content.SignerInfo, nil
}

// TrustPolicy returns a trustpolicy.json for a repository, or "*" for all, which trusts the identities, or all if there are
// none. Its trust store for authorities is called test, as is the one for timestamps.
func TrustPolicy(repository, level string, identities ...string) []byte {
	if len(identities) == 0 {
		identities = []string{"*"}
	}

	statement := map[string]any{
		"name": "test", "registryScopes": []string{repository}, "signatureVerification": map[string]any{"level": level},
	}

	if level != "skip" {
		statement["trustStores"], statement["trustedIdentities"] = []string{"ca:test", "tsa:test"}, identities
		statement["signatureVerification"] = map[string]any{"level": level, "verifyTimestamp": "afterCertExpiry"}
	}

	b, _ := json.Marshal(map[string]any{"version": "1.0", "trustPolicies": []any{statement}}) //nolint:errcheck,errchkjson // strings

	return b
}
