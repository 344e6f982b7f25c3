// Package verify answers one question: did somebody whom the user trusts sign this? It does so for images, which stand for
// anything in a registry, with cosign's and Notation's signatures, and for commits and tags of Git, with signatures of OpenPGP
// and SSH.
//
// Everything that decides on trust is passed in: keys, certificates, policies and roots. Nothing is read from the
// environment, the home directory or any other file, and nothing is kept between calls. The cryptography is that of
// sigstore-go, notation-go, ProtonMail's go-crypto and x/crypto; this package finds signatures, bounds what it reads of them
// and refuses whatever it is not sure of. What is done with the answer, and its words in conditions, is the caller's.
package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Errors of a verification, for errors.Is. An error that is neither of the first two says nothing about the signatures: the
// registry did not answer, for example.
var (
	// ErrNoSignature means that nobody signed it in a way that could be verified at all.
	ErrNoSignature = errors.New("no signature found")

	// ErrNotTrusted means that there are signatures, and that none of them counts.
	ErrNotTrusted = errors.New("no signature is trusted")

	// ErrUnsupported means a kind of signature that is never verified. It comes with ErrNotTrusted.
	ErrUnsupported = errors.New("unsupported kind of signature")
)

// Errors of a configuration, for errors.Is.
var (
	// ErrNoKeys means that what should hold public keys holds none.
	ErrNoKeys = errors.New("no public keys found")

	// ErrNoCertificates means that what should hold certificates holds none.
	ErrNoCertificates = errors.New("no certificates found")

	// ErrNoTrustPolicy means that the trust policy of Notation is missing.
	ErrNoTrustPolicy = errors.New("no trust policy found")
)

// Image verifies what lies in a registry. It is safe for concurrent use.
type Image interface {
	// Verify looks for signatures of the manifest that the reference names and returns as soon as one of them counts. It
	// reaches the registry with the options given, whose transport should bound the manifests that it lets through: the
	// client takes up to 100 MiB of each, one at a time. It ends with ctx.
	Verify(ctx context.Context, ref name.Digest, o ...remote.Option) (Result, error)
}

// Result is what is known of a signature that counts.
type Result struct {
	// Signer says who signed, in words for people: the name of the key, the identity in the certificate or its subject. It
	// may be empty.
	Signer string

	// Skipped means that the policy asks for no verification. Nothing was verified then, and nothing refused.
	Skipped bool
}

// guard turns a panic over foreign bytes into an error: the parsers are not ours, and one bad signature must not end the
// process.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("internal error: %v", p)
	}
}

// hasSuffix tells whether the name of an entry ends in one of the suffixes.
func hasSuffix(name string, suffixes ...string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(name, s) {
			return true
		}
	}

	return false
}
