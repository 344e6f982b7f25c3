package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/crl"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	notary "github.com/notaryproject/notation-go"
	notaryregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// trustPolicyEntry is the entry of a Secret that holds the trust policy of Notation.
const trustPolicyEntry = "trustpolicy.json"

// revocationTimeout bounds each question whether a certificate is revoked.
const revocationTimeout = 10 * time.Second

// NotationOptions say whose signatures count.
type NotationOptions struct {
	// Data are the entries of a Secret: the trust policy in trustpolicy.json, and in entries whose names end in ".crt" or
	// ".pem" the certificates of every trust store that the policy names, whatever its name and type.
	Data map[string][]byte

	// Client asks whether a certificate is revoked, at the addresses that stand in it. It is required, and should be guarded
	// like all clients that reach addresses of users.
	Client *http.Client
}

// NewNotation returns what verifies signatures of Notation that refer to the image, as the trust policy that applies to the
// repository says. With the levels permissive and audit, failures that they only log do not matter, and neither are they told.
// Plug-ins are not supported: a signature that needs one does not count.
//
// It is ErrNoTrustPolicy or ErrNoCertificates if either is missing.
func NewNotation(o NotationOptions) (Image, error) {
	policy, err := readPolicy(o.Data[trustPolicyEntry])
	if err != nil {
		return nil, err
	}

	store, err := readStore(o.Data)
	if err != nil {
		return nil, err
	}

	if o.Client == nil {
		return nil, errors.New("no client to ask for revoked certificates")
	}

	signing, err := revocations(o.Client, purpose.CodeSigning)
	if err != nil {
		return nil, err
	}

	stamping, err := revocations(o.Client, purpose.Timestamping)
	if err != nil {
		return nil, err
	}

	v, err := verifier.NewWithOptions(policy, store, nil, verifier.VerifierOptions{
		RevocationCodeSigningValidator: signing, RevocationTimestampingValidator: stamping,
	})
	if err != nil {
		return nil, fmt.Errorf("use %q: %w", trustPolicyEntry, plain(err))
	}

	return &notation{verifier: v, policy: policy}, nil
}

func readPolicy(b []byte) (*trustpolicy.Document, error) {
	if len(b) == 0 {
		return nil, ErrNoTrustPolicy
	}

	var d trustpolicy.Document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("parse %q: %w", trustPolicyEntry, err)
	}

	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("read %q: %w", trustPolicyEntry, plain(err))
	}

	return &d, nil
}

// revocations asks for revoked certificates.
func revocations(client *http.Client, p purpose.Purpose) (revocation.Validator, error) {
	bounded := *client
	bounded.Timeout = revocationTimeout

	lists, err := crl.NewHTTPFetcher(&bounded)
	if err != nil {
		return nil, fmt.Errorf("prepare to ask for revoked certificates: %w", err)
	}

	v, err := revocation.NewWithOptions(revocation.Options{OCSPHTTPClient: &bounded, CRLFetcher: lists, CertChainPurpose: p})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask for revoked certificates: %w", err)
	}

	return v, nil
}

// notation implements Image.
type notation struct {
	verifier notary.Verifier
	policy   *trustpolicy.Document
}

// Verify implements Image.
func (n *notation) Verify(ctx context.Context, ref name.Digest, o ...remote.Option) (Result, error) {
	reference := n.scope(ref.Context()) + "@" + ref.DigestStr()

	skip, err := n.skips(reference)
	if err != nil || skip {
		return Result{Skipped: skip}, err
	}

	repo, err := openRepository(ref, o)
	if err != nil {
		return Result{}, err
	}

	all, err := repo.referrers(ctx, func(d v1.Descriptor) bool { return d.ArtifactType == notaryregistry.ArtifactTypeNotation })
	if err != nil {
		return Result{}, err
	}

	if len(all) == 0 {
		return Result{}, ErrNoSignature
	}

	image, err := repo.resolve(ctx)
	if err != nil {
		return Result{}, err
	}

	var refused refusals

	for _, d := range all {
		if err := ctx.Err(); err != nil {
			break
		}

		envelope, kind, err := repo.envelope(ctx, d)
		if err != nil {
			refused.note(err)

			continue
		}

		signer, err := n.signer(ctx, image, reference, envelope, kind)
		if err == nil {
			return Result{Signer: signer}, nil
		}

		refused.add(err)
	}

	// That there was no time to ask whether a certificate is revoked says nothing about the signature.
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("verify signatures: %w", context.Cause(ctx))
	}

	return Result{}, refused.err()
}

// scope is the name of a repository in the policy. Docker Hub has two, and people write the other one.
func (n *notation) scope(r name.Repository) string {
	if r.RegistryStr() != name.DefaultRegistry {
		return r.Name()
	}

	other := "docker.io/" + r.RepositoryStr()

	for _, p := range n.policy.TrustPolicies {
		if slices.Contains(p.RegistryScopes, other) {
			return other
		}
	}

	return r.Name()
}

// skips tells whether the policy of a repository asks for no verification.
func (n *notation) skips(reference string) (bool, error) {
	p, err := n.policy.GetApplicableTrustPolicy(reference)
	if err != nil {
		return false, notTrusted(err)
	}

	level, err := p.SignatureVerification.GetVerificationLevel()
	if err != nil {
		return false, fmt.Errorf("read %q: %w", trustPolicyEntry, err)
	}

	return level.Name == trustpolicy.LevelSkip.Name, nil
}

// envelope reads the signature in a manifest.
func (r *repository) envelope(ctx context.Context, d v1.Descriptor) (content []byte, kind string, err error) {
	m, err := r.manifest(ctx, r.image.Context().Digest(d.Digest.String()))
	if err != nil {
		return nil, "", err
	}

	if m == nil {
		return nil, "", fmt.Errorf("manifest %q is gone", d.Digest)
	}

	layers := slices.Concat(m.Layers, m.Blobs)
	if len(layers) != 1 {
		return nil, "", fmt.Errorf("%w: manifest %q has %d layers instead of one", errUnfit, d.Digest, len(layers))
	}

	content, err = r.blob(ctx, layers[0])

	return content, string(layers[0].MediaType), err
}

// signer returns the subject of the certificate that an envelope was signed with.
func (n *notation) signer(ctx context.Context, image v1.Descriptor, reference string, envelope []byte, kind string,
) (subject string, err error) {
	defer guard(&err)

	outcome, err := n.verifier.Verify(ctx, ocispec.Descriptor{
		MediaType: string(image.MediaType), Digest: digest.Digest(image.Digest.String()), Size: image.Size,
	}, envelope, notary.VerifierVerifyOptions{ArtifactReference: reference, SignatureMediaType: kind})
	if err != nil {
		return "", err //nolint:wrapcheck // it is a reason among others
	}

	if outcome == nil || outcome.EnvelopeContent == nil {
		return "", errors.New("the signature was not verified")
	}

	chain := outcome.EnvelopeContent.SignerInfo.CertificateChain
	if len(chain) == 0 {
		return "", nil
	}

	return plain(errors.New(chain[0].Subject.String())).Error(), nil
}
