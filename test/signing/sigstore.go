package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// Times of a Sigstore. They are far apart, since cosign and those who verify take the clock of the machine.
const (
	lifetime    = 10 * time.Minute // of certificates for people
	authorities = 24 * time.Hour   // before and after now, of the rest
)

// Sigstore runs the services for signatures without a key. Times may be changed between signatures.
type Sigstore struct {
	// URL is where all services are.
	URL string

	mu     sync.Mutex
	issue  time.Time // when certificates are issued; zero: now
	log    time.Time // when entries are logged; zero: now
	serial int64

	server *http.Server

	ca, tsa  *authority
	ct, logs *ecdsa.PrivateKey
}

// authority issues certificates.
type authority struct {
	root, intermediate, leaf *x509.Certificate
	key                      *ecdsa.PrivateKey // of the intermediate, or of the leaf if there is one
}

// ServeSigstore starts the services on a port of their own. They end with Close.
func ServeSigstore(ctx context.Context) (*Sigstore, error) {
	s := &Sigstore{}

	var err error
	if s.ca, err = newAuthority("fulcio", x509.ExtKeyUsageCodeSigning); err != nil {
		return nil, err
	}

	if s.tsa, err = newTimestampAuthority(); err != nil {
		return nil, err
	}

	if s.ct, err = newKey(); err != nil {
		return nil, err
	}

	if s.logs, err = newKey(); err != nil {
		return nil, err
	}

	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/signingCert", s.certify)
	mux.HandleFunc("POST /api/v1/log/entries", s.enter)
	mux.HandleFunc("POST "+timestampPath, s.stamp)
	mux.HandleFunc("POST "+notaryTimestampPath, s.stamp)

	s.URL = "http://" + l.Addr().String()
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}

	go s.server.Serve(l) //nolint:errcheck // it ends with Close

	return s, nil
}

// Close ends the services.
func (s *Sigstore) Close() { _ = s.server.Close() } //nolint:errcheck // nothing depends on it

// At sets when certificates are issued from now on, and when the log and the timestamp authority see signatures. Zero is now.
func (s *Sigstore) At(issue, log time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.issue, s.log = issue, log
}

// times returns when certificates are issued, and when signatures are seen.
func (s *Sigstore) times() (issue, log time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()

	return orNow(s.issue), orNow(s.log)
}

func orNow(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}

	return t
}

// next returns a number that was not used before.
func (s *Sigstore) next() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.serial++

	return s.serial
}

// Part is a part of a trusted root.
type Part int

// Parts that may be left out of a trusted root.
const (
	Certificates Part = iota
	CertificateLog
	TransparencyLog
	Timestamps
)

// TrustedRoot returns the trusted_root.json of the services, without some parts.
func (s *Sigstore) TrustedRoot(without ...Part) ([]byte, error) {
	from, until := time.Now().Add(-authorities), time.Now().Add(authorities)
	left := map[Part]bool{}

	for _, p := range without {
		left[p] = true
	}

	logOf := func(p Part, k *ecdsa.PrivateKey) (map[string]*root.TransparencyLog, error) {
		if left[p] {
			return nil, nil //nolint:nilnil // none
		}

		id, err := keyID(k)

		return map[string]*root.TransparencyLog{hex.EncodeToString(id): {
			BaseURL: s.URL, ID: id, ValidityPeriodStart: from, ValidityPeriodEnd: until,
			HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256, PublicKey: k.Public(),
		}}, err
	}

	ct, err := logOf(CertificateLog, s.ct)
	if err != nil {
		return nil, err
	}

	logs, err := logOf(TransparencyLog, s.logs)
	if err != nil {
		return nil, err
	}

	var (
		cas  []root.CertificateAuthority
		tsas []root.TimestampingAuthority
	)

	if !left[Certificates] {
		cas = append(cas, &root.FulcioCertificateAuthority{
			Root: s.ca.root, Intermediates: []*x509.Certificate{s.ca.intermediate}, URI: s.URL,
			ValidityPeriodStart: from, ValidityPeriodEnd: until,
		})
	}

	if !left[Timestamps] {
		tsas = append(tsas, &root.SigstoreTimestampingAuthority{
			Root: s.tsa.root, Intermediates: []*x509.Certificate{s.tsa.intermediate}, Leaf: s.tsa.leaf, URI: s.URL,
			ValidityPeriodStart: from, ValidityPeriodEnd: until,
		})
	}

	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, cas, ct, tsas, logs)
	if err != nil {
		return nil, fmt.Errorf("make trusted root: %w", err)
	}

	return r.MarshalJSON()
}

// TimestampRoot returns the certificate of the timestamp authority's root in PEM.
func (s *Sigstore) TimestampRoot() []byte { return encode(s.tsa.root) }

// keys writes the public keys that cosign checks the answers of the services with, and returns the settings for that.
func (s *Sigstore) keys(dir string) ([]string, error) {
	chain := append(encode(s.ca.intermediate), encode(s.ca.root)...)

	env := make([]string, 0, 3)

	for _, f := range []struct {
		variable, name string
		key            *ecdsa.PrivateKey
	}{
		{variable: "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", name: "ct.pub", key: s.ct},
		{variable: "SIGSTORE_REKOR_PUBLIC_KEY", name: "rekor.pub", key: s.logs},
		{variable: "SIGSTORE_ROOT_FILE", name: "fulcio.pem"},
	} {
		content := chain

		if f.key != nil {
			der, err := x509.MarshalPKIXPublicKey(f.key.Public())
			if err != nil {
				return nil, err
			}

			content = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		}

		file := filepath.Join(dir, f.name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return nil, err
		}

		env = append(env, f.variable+"="+file)
	}

	return env, nil
}

// token is an identity token. Nobody checks its signature.
func token(issuer, subject string) string {
	part := func(v any) string {
		b, _ := json.Marshal(v) //nolint:errcheck,errchkjson // maps of strings

		return base64.RawURLEncoding.EncodeToString(b)
	}

	return part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": issuer, "sub": subject, "email": subject, "email_verified": true, "aud": "sigstore",
		"exp": time.Now().Add(time.Hour).Unix(),
	}) + "." + base64.RawURLEncoding.EncodeToString([]byte("none"))
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// keyID is the name of a log.
func keyID(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	sum := sha256.Sum256(der)

	return sum[:], err
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
