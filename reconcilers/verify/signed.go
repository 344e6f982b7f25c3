package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
)

// signed is a signature of cosign with what it signs. Both layouts become the same, so that there is one way to verify them.
type signed interface {
	// bundle returns the signature for verification with a key that is known, or with the certificate that it comes with.
	bundle(m method) (*bundle.Bundle, error)

	// artifact is what has to be signed.
	artifact(image name.Digest) (sigstore.ArtifactPolicyOption, error)

	// about checks, after verification, that it signs the image.
	about(image name.Digest, r *sigstore.VerificationResult) error
}

// method is how a signature is verified.
type method bool

const (
	withKey         method = false
	withCertificate method = true
)

// statement is a signature in a Sigstore bundle: of a statement with the image as its subject.
type statement struct{ b *bundle.Bundle }

// readBundle reads a Sigstore bundle.
func readBundle(content []byte) (s signed, err error) {
	defer guard(&err)

	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(content); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}

	if b.GetDsseEnvelope() == nil {
		return nil, errors.New("the bundle signs no statement")
	}

	return statement{b}, nil
}

func (s statement) bundle(method) (*bundle.Bundle, error) { return s.b, nil }

func (s statement) artifact(image name.Digest) (sigstore.ArtifactPolicyOption, error) {
	algorithm, sum, err := digestOf(image)
	if err != nil {
		return nil, err
	}

	return sigstore.WithArtifactDigest(algorithm, sum), nil
}

func (statement) about(_ name.Digest, r *sigstore.VerificationResult) error {
	if r.Statement.GetPredicateType() != cosignPredicate {
		return fmt.Errorf("statement %q is no signature", r.Statement.GetPredicateType())
	}

	return nil
}

func digestOf(image name.Digest) (algorithm string, sum []byte, err error) {
	algorithm, text, _ := strings.Cut(image.DigestStr(), ":")

	sum, err = hex.DecodeString(text)
	if err != nil || len(sum) == 0 {
		return "", nil, fmt.Errorf("invalid digest %q", image.DigestStr())
	}

	return algorithm, sum, nil
}

// payload is a signature of a payload that names the image, with all that comes with it in annotations.
type payload struct {
	content   []byte
	signature []byte
	notes     map[string]string
}

// readPayload reads a signature from the annotations of the layer that holds the payload.
func readPayload(notes map[string]string, content []byte) (signed, error) {
	sig, err := base64.StdEncoding.DecodeString(notes[signatureNote])
	if err != nil || len(sig) == 0 {
		return nil, errors.New("a payload has no signature")
	}

	return &payload{content: content, signature: sig, notes: notes}, nil
}

func (p *payload) artifact(name.Digest) (sigstore.ArtifactPolicyOption, error) {
	return sigstore.WithArtifact(bytes.NewReader(p.content)), nil
}

// about checks the claims of the payload. The name that it may hold is not checked: images are copied.
func (p *payload) about(image name.Digest, _ *sigstore.VerificationResult) error {
	var claims struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}

	if err := json.Unmarshal(p.content, &claims); err != nil {
		return fmt.Errorf("parse payload: %w", err)
	}

	if claims.Critical.Type != cosignPayloadType {
		return fmt.Errorf("payload of type %q signs no image", claims.Critical.Type)
	}

	if claims.Critical.Image.Digest != image.DigestStr() {
		return fmt.Errorf("the signature is one of %q", claims.Critical.Image.Digest)
	}

	return nil
}

// bundle is the payload's signature in the form of the first bundles, which had what the annotations have.
func (p *payload) bundle(m method) (b *bundle.Bundle, err error) {
	defer guard(&err)

	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}},
	}

	if m == withCertificate {
		if material, err = p.certificate(); err != nil {
			return nil, err
		}
	}

	sum := sha256.Sum256(p.content)

	b, err = bundle.NewBundle(&protobundle.Bundle{
		MediaType:            bundleType + "+json;version=0.1",
		VerificationMaterial: material,
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     p.signature,
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}

	return b, nil
}

// certificate is the certificate that the signature comes with, and what vouches for the time.
func (p *payload) certificate() (*protobundle.VerificationMaterial, error) {
	block, _ := pem.Decode([]byte(p.notes[certificateNote]))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the signature comes without a certificate")
	}

	entries, err := p.entries()
	if err != nil {
		return nil, err
	}

	timestamps, err := p.timestamps()
	if err != nil {
		return nil, err
	}

	return &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_X509CertificateChain{
			X509CertificateChain: &protocommon.X509CertificateChain{
				Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}},
			},
		},
		TlogEntries:               entries,
		TimestampVerificationData: timestamps,
	}, nil
}

// entries are the promise of the log to include the signature, if there is one.
func (p *payload) entries() ([]*protorekor.TransparencyLogEntry, error) {
	text := p.notes[rekorNote]
	if text == "" {
		return nil, nil
	}

	var promise struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"` //nolint:tagliatelle // the log writes it so
		}
	}

	if err := json.Unmarshal([]byte(text), &promise); err != nil {
		return nil, fmt.Errorf("parse entry of the log: %w", err)
	}

	id, err := hex.DecodeString(promise.Payload.LogID)
	if err != nil {
		return nil, fmt.Errorf("parse name of the log: %w", err)
	}

	var kind struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}

	if err := json.Unmarshal(promise.Payload.Body, &kind); err != nil {
		return nil, fmt.Errorf("parse entry of the log: %w", err)
	}

	return []*protorekor.TransparencyLogEntry{{
		LogIndex:          promise.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		IntegratedTime:    promise.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: promise.SignedEntryTimestamp},
		CanonicalizedBody: promise.Payload.Body,
	}}, nil
}

// timestamps are what a timestamp authority said, if it was asked.
func (p *payload) timestamps() (*protobundle.TimestampVerificationData, error) {
	text := p.notes[timestampNote]
	if text == "" {
		return nil, nil //nolint:nilnil // protobuf's nothing
	}

	var stamp struct {
		SignedRFC3161Timestamp []byte
	}

	if err := json.Unmarshal([]byte(text), &stamp); err != nil {
		return nil, fmt.Errorf("parse timestamp: %w", err)
	}

	return &protobundle.TimestampVerificationData{
		Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
	}, nil
}
