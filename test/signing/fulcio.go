package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// newAuthority makes an authority with an intermediate certificate.
func newAuthority(name string, usage x509.ExtKeyUsage) (*authority, error) {
	rootKey, err := newKey()
	if err != nil {
		return nil, err
	}

	key, err := newKey()
	if err != nil {
		return nil, err
	}

	template := func(serial int64, cn string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn, Organization: []string{"weir"}},
			NotBefore: time.Now().Add(-authorities), NotAfter: time.Now().Add(authorities),
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
		}
	}

	top := template(1, name)

	rootCert, err := issue(top, top, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}

	below := template(2, name+" intermediate")
	below.ExtKeyUsage = []x509.ExtKeyUsage{usage}

	intermediate, err := issue(below, rootCert, key.Public(), rootKey)

	return &authority{root: rootCert, intermediate: intermediate, key: key}, err
}

func issue(template, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}

	return x509.ParseCertificate(der)
}

// certify answers a request for a certificate as Fulcio does.
func (s *Sigstore) certify(w http.ResponseWriter, req *http.Request) {
	var order struct {
		PublicKey struct {
			Content []byte `json:"content"`
		} `json:"publicKey"`
	}

	err := json.NewDecoder(req.Body).Decode(&order)

	var public any
	if err == nil {
		public, err = cryptoutils.UnmarshalPEMToPublicKey(order.PublicKey.Content)
	}

	var issuer, subject string
	if err == nil {
		issuer, subject, err = claims(req.Header.Get("Authorization"))
	}

	var cert *x509.Certificate
	if err == nil {
		cert, err = s.certificate(public, issuer, subject)
	}

	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	w.WriteHeader(http.StatusCreated)

	for _, c := range []*x509.Certificate{cert, s.ca.intermediate, s.ca.root} {
		_, _ = w.Write(encode(c)) //nolint:errcheck,gosec // the client notices, and is no browser
	}
}

// claims reads an identity token.
func claims(authorization string) (issuer, subject string, err error) {
	parts := strings.Split(strings.TrimPrefix(authorization, "Bearer "), ".")
	if len(parts) != 3 {
		return "", "", errors.New("malformed token")
	}

	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", fmt.Errorf("malformed token: %w", err)
	}

	var c struct{ Iss, Email string }

	err = json.Unmarshal(b, &c)

	return c.Iss, c.Email, err
}

// certificate issues a certificate that the log of certificates has seen.
func (s *Sigstore) certificate(public crypto.PublicKey, issuer, subject string) (*x509.Certificate, error) {
	at, _ := s.times()

	name, err := asn1.Marshal(issuer)
	if err != nil {
		return nil, err
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(100 + s.next()), EmailAddresses: []string{subject},
		NotBefore: at, NotAfter: at.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: name},
		},
	}

	// The log signs what the certificate is without its signature.
	before, err := issue(template, s.ca.intermediate, public, s.ca.key)
	if err != nil {
		return nil, err
	}

	list, err := s.seen(before, at)
	if err != nil {
		return nil, err
	}

	template.ExtraExtensions = append(template.ExtraExtensions,
		pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: list})

	return issue(template, s.ca.intermediate, public, s.ca.key)
}

// seen returns the list of what the logs of certificates say: that the one log has seen the certificate.
func (s *Sigstore) seen(cert *x509.Certificate, at time.Time) ([]byte, error) {
	id, err := keyID(s.ct)
	if err != nil {
		return nil, err
	}

	stamp := &ct.SignedCertificateTimestamp{
		SCTVersion: ct.V1, LogID: ct.LogID{KeyID: [sha256.Size]byte(id)}, Timestamp: uint64(at.UnixMilli()), //nolint:gosec // after 1970
	}

	data, err := ct.SerializeSCTSignatureInput(*stamp, ct.LogEntry{Leaf: ct.MerkleTreeLeaf{
		Version: ct.V1, LeafType: ct.TimestampedEntryLeafType,
		TimestampedEntry: &ct.TimestampedEntry{
			Timestamp: stamp.Timestamp, EntryType: ct.PrecertLogEntryType,
			PrecertEntry: &ct.PreCert{
				IssuerKeyHash:  sha256.Sum256(s.ca.intermediate.RawSubjectPublicKeyInfo),
				TBSCertificate: cert.RawTBSCertificate,
			},
		},
	}})
	if err != nil {
		return nil, err
	}

	signature, err := cttls.CreateSignature(*s.ct, cttls.SHA256, data)
	if err != nil {
		return nil, err
	}

	stamp.Signature = ct.DigitallySigned(signature)

	list, err := x509util.MarshalSCTsIntoSCTList([]*ct.SignedCertificateTimestamp{stamp})
	if err != nil {
		return nil, err
	}

	b, err := cttls.Marshal(*list)
	if err != nil {
		return nil, err
	}

	return asn1.Marshal(b)
}
