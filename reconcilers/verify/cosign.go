package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TrustedRootEntry is the entry of a Secret that holds a trusted root.
const TrustedRootEntry = "trusted_root.json"

// OIDCIdentity says who may sign without a key. Both are regular expressions, not anchored, and neither may be empty.
type OIDCIdentity struct{ Issuer, Subject string }

// CosignOptions say whose signatures count.
type CosignOptions struct {
	// Keys are the entries of a Secret. Those whose names end in ".pub" are public keys, ECDSA, RSA or ED25519 in PEM; what
	// one of them signed counts. Nil means that there is no Secret, and signatures without a key are verified.
	Keys map[string][]byte

	// Identities say who may sign without a key; one of them has to match. Without any, whoever has a certificate of the
	// trusted root may. They mean nothing with keys.
	Identities []OIDCIdentity

	// TrustedRoot is a trusted_root.json: the authorities for certificates and timestamps, and the logs. It means nothing with
	// keys.
	TrustedRoot []byte

	// Roots returns the trusted root of the public Sigstore, when no other is given. It is called for each verification.
	Roots func(context.Context) ([]byte, error)
}

// NewCosign returns what verifies signatures of cosign: those that lie under a tag made of the digest, and those that refer to
// the image, as Sigstore bundles or as payloads. It is offline but for the registry and for Roots.
//
// With keys, a signature counts if one of them made it: like in Flux, neither the transparency log nor a timestamp matters,
// and a certificate beside the signature neither.
//
// Without keys, a signature needs a certificate of an authority of the trusted root, which was valid when a log or a timestamp
// authority of the root saw the signature. The signature carries the proof for that; the log is not asked. What else a trusted
// root can vouch for is required too: an entry in one of its transparency logs, and in one of its logs of certificates. So a
// root without logs, but with a timestamp authority, needs none. The root of the public Sigstore has to have all of them.
//
// A bundle counts only if it says that it signs an image, as cosign's does. Attestations say something about an image, which
// may as well be that it is bad.
//
// It is ErrNoKeys if Keys hold no public key.
func NewCosign(o CosignOptions) (Image, error) {
	if o.Keys != nil {
		keys, err := readKeys(o.Keys)
		if err != nil {
			return nil, err
		}

		return &cosign{judges: func(context.Context) (judges, error) { return keys, nil }}, nil
	}

	identities, err := compile(o.Identities)
	if err != nil {
		return nil, err
	}

	switch {
	case len(o.TrustedRoot) > 0:
		judge, err := newKeyless(o.TrustedRoot, identities, false)
		if err != nil {
			return nil, err
		}

		return &cosign{judges: func(context.Context) (judges, error) { return judges{judge}, nil }}, nil
	case o.TrustedRoot != nil:
		return nil, errors.New("the trusted root is empty")
	case o.Roots == nil:
		return nil, errors.New("neither public keys nor a trusted root are given")
	}

	return &cosign{judges: func(ctx context.Context) (judges, error) {
		b, err := o.Roots(ctx)
		if err != nil {
			return nil, fmt.Errorf("get the trusted root of the public Sigstore: %w", err)
		}

		judge, err := newKeyless(b, identities, true)

		return judges{judge}, err
	}}, nil
}

// cosign implements Image.
type cosign struct {
	judges func(context.Context) (judges, error)
}

// Verify implements Image.
func (c *cosign) Verify(ctx context.Context, ref name.Digest, o ...remote.Option) (Result, error) {
	js, err := c.judges(ctx)
	if err != nil {
		return Result{}, err
	}

	repo, err := openRepository(ref, o)
	if err != nil {
		return Result{}, err
	}

	s := &search{image: ref, judges: js, read: repo.blob}

	// Who has a signature in one place does not care what happens in the other. The tag is one request.
	if s.tag(ctx, repo); s.signer == "" {
		s.attached(ctx, repo)
	}

	switch {
	case s.signer != "":
		return Result{Signer: s.signer}, nil
	case ctx.Err() != nil:
		return Result{}, fmt.Errorf("look for signatures: %w", context.Cause(ctx))
	default:
		return Result{}, s.refused.err()
	}
}

// search goes through the signatures of an image until one of them counts.
type search struct {
	image   name.Digest
	judges  judges
	read    func(context.Context, v1.Descriptor) ([]byte, error) // of a layer
	refused refusals

	// signer is who made the signature that counts.
	signer string
}

// tag looks at the signatures under the tag that is made of the digest.
func (s *search) tag(ctx context.Context, r *repository) {
	s.look(ctx, r, s.image.Context().Tag(strings.Replace(s.image.DigestStr(), ":", "-", 1)+".sig"))
}

// look looks at the signatures of a manifest, if there is one.
func (s *search) look(ctx context.Context, r *repository, ref name.Reference) {
	m, err := r.manifest(ctx, ref)

	switch {
	case err != nil:
		s.refused.note(err)
	case m != nil:
		s.layers(ctx, m)
	}
}

// Types of what refers to an image, and of layers.
const (
	bundleType        = "application/vnd.dev.sigstore.bundle"
	payloadType       = "application/vnd.dev.cosign.simplesigning.v1+json"
	emptyType         = "application/vnd.oci.empty.v1+json"
	payloadArtifact   = "application/vnd.dev.cosign.artifact.sig.v1+json"
	predicateNote     = "dev.sigstore.bundle.predicateType"
	cosignPredicate   = "https://sigstore.dev/cosign/sign/v1"
	signatureNote     = "dev.cosignproject.cosign/signature"
	certificateNote   = "dev.sigstore.cosign/certificate"
	rekorNote         = "dev.sigstore.cosign/bundle"
	timestampNote     = "dev.sigstore.cosign/rfc3161timestamp"
	cosignPayloadType = "cosign container image signature"
)

// holdsSignature tells whether a manifest may hold signatures. Not all registries know the type of an artifact, and some give
// the type of its empty configuration for it. Not all who write bundles say what is in them.
func holdsSignature(d v1.Descriptor) bool {
	switch t := d.ArtifactType; {
	case strings.HasPrefix(t, bundleType), t == payloadArtifact:
	case t == "", t == emptyType, t == string(types.OCIConfigJSON):
	default:
		return false
	}

	predicate := d.Annotations[predicateNote]

	return predicate == "" || predicate == cosignPredicate
}

// attached looks at the signatures that refer to the image.
func (s *search) attached(ctx context.Context, r *repository) {
	all, err := r.referrers(ctx, holdsSignature)
	if err != nil {
		s.refused.note(err)
	}

	for _, d := range all {
		if s.look(ctx, r, s.image.Context().Digest(d.Digest.String())); s.signer != "" || ctx.Err() != nil {
			return
		}
	}
}

// layers looks at the signatures of a manifest, the ones added last first: with those that cosign adds, the older ones stay.
func (s *search) layers(ctx context.Context, m *manifest) {
	contents := map[v1.Hash][]byte{}

	for i, l := range slices.Backward(m.Layers) {
		if l.MediaType != payloadType && !strings.HasPrefix(string(l.MediaType), bundleType) {
			continue
		}

		_, seen := contents[l.Digest]

		if len(m.Layers)-i > maxLayers || len(contents) == maxPayloads && !seen {
			s.refused.add(fmt.Errorf("%w: there are too many, %d", errUnfit, len(m.Layers)))

			return
		}

		if !seen {
			contents[l.Digest] = s.content(ctx, l)
		}

		if b := contents[l.Digest]; b != nil {
			s.judge(l, b)
		}

		if s.signer != "" || ctx.Err() != nil {
			return
		}
	}
}

// content reads a layer. What cannot be read is nil, and not read again.
func (s *search) content(ctx context.Context, l v1.Descriptor) []byte {
	b, err := s.read(ctx, l)
	if err != nil {
		s.refused.note(err)

		return nil
	}

	return b
}

// judge verifies the signature of a layer.
func (s *search) judge(l v1.Descriptor, content []byte) {
	var (
		sig signed
		err error
	)

	if l.MediaType == payloadType {
		sig, err = readPayload(l.Annotations, content)
	} else {
		sig, err = readBundle(content)
	}

	if err == nil {
		s.signer, err = s.judges.signer(sig, s.image)
	}

	if err != nil {
		s.refused.add(err)
	}
}
