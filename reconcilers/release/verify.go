package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/verify"
)

// trust is whose signatures an instance takes.
type trust struct {
	image verify.Image
	whom  string // in words
}

// trust reads whom the instance trusts. It is nil if no verification is asked for.
func (r *Releases) trust(ctx context.Context, obj *fluxv1.FluxInstance) (*trust, error) {
	v := obj.Spec.Distribution.Verify
	if v == nil {
		return nil, nil
	}
	if p := cmp.Or(v.Provider, "cosign"); p != "cosign" {
		return nil, refuse("spec.distribution.verify.provider: there is no %q", p)
	}
	if (v.SecretRef != nil) == (len(v.MatchOIDCIdentity) > 0) {
		return nil, refuse("spec.distribution.verify: exactly one of secretRef and matchOIDCIdentity must be set")
	}
	if v.SecretRef != nil {
		return r.keys(ctx, obj, v.SecretRef.Name)
	}
	return r.identities(ctx, obj, v)
}

func (r *Releases) keys(ctx context.Context, obj *fluxv1.FluxInstance, secretName string) (*trust, error) {
	secret, err := secrets.Get(ctx, r.options.Secrets, obj.Namespace, secretName)
	if err != nil {
		return nil, refuse("spec.distribution.verify.secretRef: %w", err)
	}
	where := obj.Namespace + "/" + secretName
	if len(secret.Data) == 0 {
		return nil, refuse("spec.distribution.verify.secretRef: secret %q is empty", where)
	}
	image, err := verify.NewCosign(verify.CosignOptions{Keys: secret.Data})
	if errors.Is(err, verify.ErrNoKeys) {
		return nil, refuse("spec.distribution.verify.secretRef: secret %q has no entry whose name ends in .pub", where)
	}
	if err != nil {
		return nil, refuse("spec.distribution.verify.secretRef: secret %q: %w", where, err)
	}
	return &trust{image: image, whom: fmt.Sprintf("a key of secret %q", where)}, nil
}

func (r *Releases) identities(ctx context.Context, obj *fluxv1.FluxInstance, v *fluxv1.DistributionVerification) (*trust, error) {
	const field = "spec.distribution.verify.trustedRootSecretRef"
	if v.TrustedRootSecretRef == nil {
		return nil, refuse("%s is required with matchOIDCIdentity", field)
	}
	secret, err := secrets.Get(ctx, r.options.Secrets, obj.Namespace, v.TrustedRootSecretRef.Name)
	if err != nil {
		return nil, refuse("%s: %w", field, err)
	}
	root := secret.Data[verify.TrustedRootEntry]
	if len(root) == 0 {
		return nil, refuse("%s: secret \"%s/%s\" has no key %q", field, obj.Namespace, v.TrustedRootSecretRef.Name, verify.TrustedRootEntry)
	}
	o := verify.CosignOptions{TrustedRoot: root}
	whom := make([]string, 0, len(v.MatchOIDCIdentity))
	for _, i := range v.MatchOIDCIdentity {
		if i.Issuer == "" || i.Subject == "" {
			return nil, refuse("spec.distribution.verify.matchOIDCIdentity: neither issuer nor subject may be empty")
		}
		o.Identities = append(o.Identities, verify.OIDCIdentity{Issuer: i.Issuer, Subject: i.Subject})
		whom = append(whom, fmt.Sprintf("%q of %q", i.Subject, i.Issuer))
	}
	image, err := verify.NewCosign(o)
	if err != nil {
		return nil, refuse("spec.distribution.verify: %w", err)
	}
	return &trust{image: image, whom: "an identity like " + strings.Join(whom, " or ")}, nil
}

// verify refuses what nobody signed whom the instance trusts.
func (r *Releases) verify(ctx context.Context, t *trust, f found, what string, rel *Release) error {
	var result verify.Result
	err := r.bounded(ctx, func(ctx context.Context) (err error) {
		result, err = t.image.Verify(ctx, f.repository.Name().Digest(f.digest.String()), f.repository.Remote()...)
		return err
	})
	switch {
	case errors.Is(err, verify.ErrNoSignature):
		return refuse("%s %s is not signed: %s has to have signed it", what, f, t.whom)
	case errors.Is(err, verify.ErrNotTrusted):
		return refuse("%s %s is not signed by %s: %w", what, f, t.whom, err)
	case err != nil:
		return fmt.Errorf("verify %s %s: %w", what, f, err)
	case result.Skipped:
		return refuse("%s %s was not verified", what, f)
	}
	signer := cmp.Or(result.Signer, t.whom)
	if !slices.Contains(rel.Signers, signer) {
		rel.Signers = append(rel.Signers, signer)
	}
	return nil
}

// verifyImages pins the images of the instance, those of patches included, to digests that are signed.
func (r *Releases) verifyImages(ctx context.Context, obj *fluxv1.FluxInstance, t *trust, rel *Release) error {
	set, err := rel.distribution.Build(obj, distribution.Options{Image: r.options.Image})
	if err != nil {
		return &InvalidError{Err: err}
	}
	a, err := r.access(ctx, obj, obj.Spec.Distribution.ImagePullSecret)
	if err != nil {
		return err
	}
	rel.digests, rel.verified = map[string]string{}, map[string]bool{}
	for _, reference := range imagesOf(set) {
		image, err := distribution.ParseImage(reference)
		if err != nil {
			return &InvalidError{Err: err}
		}
		f, err := r.pin(ctx, obj, image, a)
		if err != nil {
			return fmt.Errorf("image %q: %w", reference, err)
		}
		if err := r.verify(ctx, t, f, "image", rel); err != nil {
			return err
		}
		if image.Digest == "" {
			image.Digest = f.digest.String()
			rel.digests[reference] = image.Digest
		}
		rel.verified[image.String()] = true
		rel.Images++
	}
	return nil
}

// imagesOf are the images that the objects run, and that which the operator is to run: patches may have taken it out of the objects.
func imagesOf(set *distribution.Set) []string {
	images := distribution.ImagesOf(set.Objects)
	if own := set.Operator.String(); own != "" && !slices.Contains(images, own) {
		images = append(images, own)
	}
	return images
}

// pin finds the digest of an image: its own, or the one that runs already, or what its tag points at. So a tag that is moved
// changes nothing that runs.
func (r *Releases) pin(ctx context.Context, obj *fluxv1.FluxInstance, image distribution.Image, a registry.Access) (found, error) {
	reference := cmp.Or(image.Digest, running(obj, image), image.Tag, name.DefaultTag)
	if !strings.Contains(reference, ":") {
		return r.resolve(ctx, image.Repository, reference, a)
	}
	digest, err := v1.NewHash(reference)
	if err != nil {
		return found{}, &InvalidError{Err: fmt.Errorf("%q is no digest", reference)}
	}
	repository, err := r.options.Registries.Open(ctx, image.Repository, a)
	return found{repository: repository, digest: digest}, err
}

// running returns the digest of the image that the instance runs, or nothing.
func running(obj *fluxv1.FluxInstance, image distribution.Image) string {
	for _, c := range obj.Status.Components {
		if c.Repository == image.Canonical() && c.Tag == image.Tag {
			return c.Digest
		}
	}
	return ""
}

// checkAge refuses an artifact that is older than one that was accepted before: a good signature does not tell that it is the
// latest one. Who asks for an older one by its digest or by a lower tag means it.
func checkAge(accepted, candidate *fluxv1.DistributionArtifact) error {
	if accepted == nil || accepted.Digest == candidate.Digest || asksForOlder(accepted.URL, candidate.URL) {
		return nil
	}
	const lost = "artifact %s of %s %s, which is older than the accepted %s: ask for it by its digest if it is wanted"
	have, err := semver.NewVersion(accepted.Version)
	if err != nil {
		return fmt.Errorf("status.artifact.version: %w", err)
	}
	got, err := semver.NewVersion(candidate.Version)
	if err != nil {
		return fmt.Errorf("version of artifact %s: %w", candidate.Digest, err)
	}
	switch {
	case got.LessThan(have):
		return fmt.Errorf(lost, candidate.Digest, candidate.URL, "holds "+candidate.Version, accepted.Version)
	case got.GreaterThan(have) || accepted.Created == nil:
		return nil
	case candidate.Created == nil:
		return fmt.Errorf(lost, candidate.Digest, candidate.URL, "does not say when it was made", accepted.Digest)
	case candidate.Created.Unix() < accepted.Created.Unix(): // the status holds seconds
		return fmt.Errorf(lost, candidate.Digest, candidate.URL, "was made "+candidate.Created.UTC().Format("2006-01-02T15:04:05Z"), accepted.Digest)
	}
	return nil
}

// asksForOlder tells whether somebody changed the URL to a digest, or to a tag with a lower version.
func asksForOlder(before, after string) bool {
	if before == after {
		return false
	}
	ref, err := name.ParseReference(strings.TrimPrefix(after, "oci://"))
	if err != nil {
		return false
	}
	if _, ok := ref.(name.Digest); ok {
		return true
	}
	old, err := name.ParseReference(strings.TrimPrefix(before, "oci://"))
	if err != nil {
		return false
	}
	want, err := semver.NewVersion(ref.Identifier())
	if err != nil {
		return false
	}
	have, err := semver.NewVersion(old.Identifier())
	return err == nil && want.LessThan(have)
}
