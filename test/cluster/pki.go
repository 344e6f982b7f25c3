package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// lifetime of all certificates: no cluster of this package lives as long.
const lifetime = 365 * 24 * time.Hour

// pki is a folder of certificates, keys and kubeconfigs, one authority for
// Kubernetes and one for the aggregation layer.
type pki struct {
	dir       string
	now       time.Time
	ca, front *identity
}

// identity is a certificate with its private key.
type identity struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	certPEM []byte
	keyPEM  []byte
}

// newPKI makes the folder with its two authorities: ca and front-proxy-ca.
func newPKI(dir string, now time.Time) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &pki{dir: dir, now: now}
	var err error
	if p.ca, err = p.authority("ca"); err != nil {
		return nil, err
	}
	if p.front, err = p.authority("front-proxy-ca"); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }

func (p *pki) authority(name string) (*identity, error) {
	return p.issue(name, nil, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
}

// server issues a certificate for the addresses and names.
func (p *pki) server(name string, addrs []netip.Addr, names []string) error {
	ips := make([]net.IP, 0, len(addrs))
	for _, a := range addrs {
		ips = append(ips, a.AsSlice())
	}
	_, err := p.issue(name, p.ca, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: ips, DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

// client issues a certificate for a user, who is in the group unless that is empty.
func (p *pki) client(name string, by *identity, user, group string) (*identity, error) {
	subject := pkix.Name{CommonName: user}
	if group != "" {
		subject.Organization = []string{group}
	}
	return p.issue(name, by, x509.Certificate{
		Subject:  subject,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// issue completes and signs a certificate, by itself without a parent, and writes name.crt and name.key.
func (p *pki) issue(name string, by *identity, c x509.Certificate) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	c.NotBefore, c.NotAfter, c.BasicConstraintsValid = p.now.Add(-time.Hour), p.now.Add(lifetime), true
	parent, signer := &c, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("issue certificate %q: %w", name, err)
	}
	id := &identity{key: key, certPEM: encode("CERTIFICATE", der)}
	if id.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	if id.keyPEM, err = p.writeKey(name+".key", key); err != nil {
		return nil, err
	}
	return id, os.WriteFile(p.path(name+".crt"), id.certPEM, 0o600)
}

func (p *pki) writeKey(file string, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	b := encode("EC PRIVATE KEY", der)
	return b, os.WriteFile(p.path(file), b, 0o600)
}

// tokens makes the key pair that signs service account tokens: sa.key and sa.pub.
func (p *pki) tokens() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if _, err := p.writeKey("sa.key", key); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return os.WriteFile(p.path("sa.pub"), encode("PUBLIC KEY", der), 0o600)
}

// kubeconfig lets the identity in at the server and writes that as a file.
func (p *pki) kubeconfig(file, server string, id *identity) error {
	b64 := base64.StdEncoding.EncodeToString
	return os.WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: weir-test
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: weir-test
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: weir-test
  context:
    cluster: weir-test
    user: weir-test
current-context: weir-test
`, server, b64(p.ca.certPEM), b64(id.certPEM), b64(id.keyPEM)), 0o600)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
