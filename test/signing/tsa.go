package signing

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"time"

	"github.com/digitorus/timestamp"
)

// Where the timestamp authority is: cosign's client wants to hear that something was created, and that of Notation that all is
// well.
const (
	timestampPath       = "/api/v1/timestamp"
	notaryTimestampPath = "/timestamp"
)

// newTimestampAuthority makes an authority with a certificate for timestamps.
func newTimestampAuthority() (*authority, error) {
	a, err := newAuthority("tsa", x509.ExtKeyUsageTimeStamping)
	if err != nil {
		return nil, err
	}

	key, err := newKey()
	if err != nil {
		return nil, err
	}

	// The usage has to be critical, which the field of the template does not make it.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return nil, err
	}

	a.leaf, err = issue(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "tsa leaf", Organization: []string{"weir"}},
		NotBefore: time.Now().Add(-authorities), NotAfter: time.Now().Add(authorities),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}, a.intermediate, key.Public(), a.key)
	a.key = key

	return a, err
}

// stamp answers a request for a timestamp, see RFC 3161.
func (s *Sigstore) stamp(w http.ResponseWriter, req *http.Request) {
	_, at := s.times()

	b, err := io.ReadAll(req.Body)

	var order *timestamp.Request
	if err == nil {
		order, err = timestamp.ParseRequest(b)
	}

	var answer []byte
	if err == nil {
		t := timestamp.Timestamp{
			HashAlgorithm: order.HashAlgorithm, HashedMessage: order.HashedMessage, Nonce: order.Nonce, Time: at,
			Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: order.Certificates,
			SerialNumber: big.NewInt(s.next()), Accuracy: time.Second, Certificates: []*x509.Certificate{s.tsa.intermediate},
		}
		answer, err = t.CreateResponseWithOpts(s.tsa.leaf, s.tsa.key, crypto.SHA256)
	}

	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	w.Header().Set("Content-Type", "application/timestamp-reply")

	if req.URL.Path == timestampPath {
		w.WriteHeader(http.StatusCreated)
	}

	_, _ = w.Write(answer) //nolint:errcheck // the client notices
}
