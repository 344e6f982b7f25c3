package secrets

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxPEM bounds certificates and keys, in bytes: reading them cannot be stopped.
const maxPEM = 1 << 20

// maxKey bounds a private key, in bytes: those of RSA with 16384 bits fit.
const maxKey = 16 << 10

// TLS is what a Secret says about the certificates of a connection.
type TLS struct {
	ca, cert, key string
}

// ReadTLS reads tls.crt, tls.key and ca.crt of a Secret. With legacy, the keys certFile, keyFile and caFile stand in for those
// that are not there. A Secret with none of them is an error, as are a certificate without its key, and what is no PEM.
func ReadTLS(s *corev1.Secret, legacy bool) (*TLS, error) {
	t := readTLS(s, legacy)
	if *t == (TLS{}) {
		return nil, wrong(s, "%w: want '%s', or '%s' and '%s'", errEmpty, CA, Cert, Key)
	}

	if _, err := t.Config(); err != nil {
		return nil, wrong(s, "%w", err)
	}

	return t, nil
}

// FindTLS is ReadTLS for a Secret that holds other things as well: without certificates, it returns nil.
func FindTLS(s *corev1.Secret, legacy bool) (*TLS, error) {
	if t := readTLS(s, legacy); *t == (TLS{}) {
		return nil, nil //nolint:nilnil // nil is one without certificates
	}

	return ReadTLS(s, legacy)
}

func readTLS(s *corev1.Secret, legacy bool) *TLS {
	t := &TLS{ca: string(s.Data[CA]), cert: string(s.Data[Cert]), key: string(s.Data[Key])}
	if legacy {
		t.ca = cmp.Or(t.ca, string(s.Data[LegacyCA]))

		if t.cert+t.key == "" {
			t.cert, t.key = string(s.Data[LegacyCert]), string(s.Data[LegacyKey])
		}
	}

	return t
}

// Authorities returns the authorities alone, which may be trusted with servers that must not see a certificate of ours. Those of
// nil are nil.
func (t *TLS) Authorities() *TLS {
	if t == nil || t.ca == "" {
		return nil
	}

	return &TLS{ca: t.ca}
}

// Fingerprint tells the certificates apart without giving the key away. That of nil is one of its own.
func (t *TLS) Fingerprint() flight.Fingerprint {
	if t == nil {
		return flight.FingerprintOf()
	}

	return flight.FingerprintOf(t.ca, t.cert, t.key)
}

// Config returns the configuration for HTTPS. That of nil is nil, which is that of the machine. An authority of the Secret is
// trusted beside those of the machine.
func (t *TLS) Config() (*tls.Config, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // nil is a configuration
	}

	switch {
	case len(t.key) > maxKey:
		return nil, fmt.Errorf("'%s' has more than %d bytes", Key, maxKey)
	case len(t.ca)+len(t.cert) > maxPEM:
		return nil, fmt.Errorf("'%s' and '%s' have more than %d bytes", CA, Cert, maxPEM)
	case (t.cert == "") != (t.key == ""):
		return nil, fmt.Errorf("'%s' and '%s' have to be set together", Cert, Key)
	}

	config := &tls.Config{MinVersion: tls.VersionTLS12}

	if t.ca != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}

		if !pool.AppendCertsFromPEM([]byte(t.ca)) {
			return nil, fmt.Errorf("'%s' holds no certificate", CA)
		}

		config.RootCAs = pool
	}

	if t.cert != "" {
		pair, err := tls.X509KeyPair([]byte(t.cert), []byte(t.key))
		if err != nil { // its words may hold parts of the key
			return nil, fmt.Errorf("'%s' and '%s' are no pair of certificate and key", Cert, Key)
		}

		config.Certificates = []tls.Certificate{pair}
	}

	return config, nil
}

// Proxy returns the URL of the proxy in a Secret, with the user information to use it: address, and optionally username and
// password. The scheme is http, https or socks5.
func Proxy(s *corev1.Secret) (*url.URL, error) {
	raw := string(s.Data[Address])
	if raw == "" {
		return nil, wrong(s, "'%s' is required for a proxy", Address)
	}

	u, err := url.Parse(raw)

	switch {
	case err != nil:
		return nil, wrong(s, "'%s' is no URL: %w", Address, ingest.RedactError(err))
	case u.Host == "":
		return nil, wrong(s, "'%s' has no host", Address)
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5":
		return nil, wrong(s, "'%s': %w", Address, errors.New("the scheme is none of http, https and socks5"))
	}

	username, password, err := BasicAuth(s)
	if err != nil {
		return nil, err
	}

	if username != "" {
		u.User = url.UserPassword(username, password)
	}

	return u, nil
}
