package verify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/notaryproject/notation-go/verifier/truststore"
)

// store is the trust store of Notation, in memory.
type store struct{ all, roots []*x509.Certificate }

// GetCertificates implements truststore.X509TrustStore. All stores are the same, but a timestamp authority has to have a root.
func (s *store) GetCertificates(_ context.Context, kind truststore.Type, named string) ([]*x509.Certificate, error) {
	found := s.all
	if kind == truststore.TypeTSA {
		found = s.roots
	}

	if len(found) == 0 {
		return nil, fmt.Errorf("trust store %q of type %q: %w", named, kind, ErrNoCertificates)
	}

	return found, nil
}

// readStore reads the certificates among the entries.
func readStore(entries map[string][]byte) (*store, error) {
	s := &store{}

	for _, entry := range slices.Sorted(maps.Keys(entries)) {
		if !hasSuffix(entry, ".crt", ".pem") {
			continue
		}

		certs, err := readCertificates(entries[entry])
		if err != nil {
			return nil, fmt.Errorf("read certificate %q: %w", entry, err)
		}

		s.all = append(s.all, certs...)
	}

	if len(s.all) == 0 {
		return nil, ErrNoCertificates
	}

	for _, c := range s.all {
		if c.CheckSignatureFrom(c) == nil && bytes.Equal(c.RawSubject, c.RawIssuer) {
			s.roots = append(s.roots, c)
		}
	}

	return s, nil
}

// readCertificates reads certificates in PEM, or one in DER. They have to be of authorities, or self-signed.
func readCertificates(b []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate

	block, rest := pem.Decode(b)
	if block == nil {
		c, err := x509.ParseCertificate(b)
		if err != nil {
			return nil, errors.New("it is neither PEM nor DER")
		}

		certs = append(certs, c)
	}

	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %q", block.Type)
		}

		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}

		certs = append(certs, c)
	}

	if err := truststore.ValidateCertificates(certs); err != nil {
		return nil, plain(err)
	}

	return certs, nil
}
