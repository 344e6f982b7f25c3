package verify_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

// public encodes a public key.
func public(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()

	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}

	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
