package helmchart

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/verify"
)

// signed is what is known of the signatures of an image.
type signed struct {
	skipped bool // the policy asks for none
}

// trust is who has to have signed a chart.
type trust struct {
	image verify.Image
	words string             // for people
	key   flight.Fingerprint // tells it apart from others
}

// check finds out whether somebody has signed a chart who may. Somebody who did stays so: it is asked again for another image,
// and when somebody else may.
func (r *reconciler) check(ctx context.Context, obj *sourcev1.HelmChart, from origin) (signed, error) {
	o, ok := from.(*image)
	if !ok {
		return signed{}, errors.New("only charts of HelmRepositories of type 'oci' can be verified")
	}

	t, err := r.trusted(ctx, obj)
	if err != nil {
		return signed{}, err
	}

	var by signed

	err = r.lane.Bounded(ctx, obj.Namespace, o.repo.GetTimeout(), func(ctx context.Context) error {
		d, err := o.resolve(ctx)
		if err != nil {
			return err
		}

		ref := o.repository.Name().Digest(d.Digest.String())
		key := flight.FingerprintOf(ref.String(), string(t.key[:]))

		if by, ok = r.verified.Get(key); ok {
			return nil
		}

		result, err := t.image.Verify(ctx, ref, o.repository.Remote()...)
		if errors.Is(err, verify.ErrNoSignature) {
			return fmt.Errorf("no matching signatures were found for '%s'", ref)
		}

		if err != nil {
			return err //nolint:wrapcheck // the caller says what was tried
		}

		by = signed{skipped: result.Skipped}
		r.verified.Put(key, by)

		return nil
	})
	if err != nil {
		return signed{}, fmt.Errorf("failed to verify the signature using provider '%s': %w", t.words, err)
	}

	return by, nil
}

// trusted reads who has to have signed a chart.
func (r *reconciler) trusted(ctx context.Context, obj *sourcev1.HelmChart) (trust, error) {
	spec := obj.Spec.Verify

	var secret *corev1.Secret

	if spec.SecretRef != nil {
		var err error
		if secret, err = secrets.Get(ctx, r.Secrets, obj.Namespace, spec.SecretRef.Name); err != nil {
			return trust{}, err //nolint:wrapcheck // it is the whole story
		}

		if len(secret.Data) == 0 {
			return trust{}, fmt.Errorf("verification secret cannot be empty: '%s/%s'", obj.Namespace, spec.SecretRef.Name)
		}
	}

	switch spec.Provider {
	case sourcev1.VerifyCosign, "":
		return r.cosign(spec, secret)
	case sourcev1.VerifyNotation:
		return r.notation(secret)
	}

	return trust{}, fmt.Errorf("unsupported verification provider '%s'", spec.Provider)
}

// cosign returns the trust in public keys, or without a Secret, in identities.
func (r *reconciler) cosign(spec *sourcev1.OCIVerification, secret *corev1.Secret) (trust, error) {
	parts, o := []string{sourcev1.VerifyCosign}, verify.CosignOptions{Roots: r.Roots}

	t := trust{words: sourcev1.VerifyCosign + " keyless"}

	if secret != nil {
		t.words, o.Keys = sourcev1.VerifyCosign, secret.Data
		parts = append(parts, "keys", verify.Fingerprint(o.Keys))
	}

	for _, id := range spec.MatchOIDCIdentity {
		o.Identities = append(o.Identities, verify.OIDCIdentity{Issuer: id.Issuer, Subject: id.Subject})
		parts = append(parts, id.Issuer, id.Subject)
	}

	t.key = flight.FingerprintOf(parts...)

	var err error
	if t.image, err = verify.NewCosign(o); err != nil {
		return trust{}, unusable(secret, err)
	}

	return t, nil
}

// notation returns the trust in certificates.
func (r *reconciler) notation(secret *corev1.Secret) (trust, error) {
	if secret == nil {
		return trust{}, errors.New("spec.verify.secretRef is required for notation")
	}

	t := trust{words: sourcev1.VerifyNotation, key: flight.FingerprintOf(sourcev1.VerifyNotation, verify.Fingerprint(secret.Data))}

	var err error
	if t.image, err = verify.NewNotation(verify.NotationOptions{Data: secret.Data, Client: r.Revocation}); err != nil {
		return trust{}, unusable(secret, err)
	}

	return t, nil
}

// unusable says what is wrong with who is to be trusted.
func unusable(secret *corev1.Secret, err error) error {
	if secret == nil {
		return fmt.Errorf("failed to configure verification: %w", err)
	}

	name := secret.Namespace + "/" + secret.Name

	switch {
	case errors.Is(err, verify.ErrNoKeys):
		return fmt.Errorf("no public keys found in secret '%s'", name)
	case errors.Is(err, verify.ErrNoCertificates):
		return fmt.Errorf("no certificates found in secret '%s'", name)
	case errors.Is(err, verify.ErrNoTrustPolicy):
		return fmt.Errorf("no trust policy found in secret '%s'", name)
	}

	return fmt.Errorf("secret '%s': %w", name, err)
}

// remember notes what an artifact was made of.
func (r *reconciler) remember(made string, from origin) {
	if key, ok := pairOf(made, from); ok {
		r.made.Put(key, struct{}{})
	}
}

// madeOf tells whether an artifact is known to be made of an image.
func (r *reconciler) madeOf(made string, from origin) bool {
	key, ok := pairOf(made, from)
	if !ok {
		return false
	}

	_, ok = r.made.Get(key)

	return ok
}

func pairOf(made string, from origin) (flight.Fingerprint, bool) {
	o, ok := from.(*image)
	if !ok || o.manifest == nil {
		return flight.Fingerprint{}, false
	}

	return flight.FingerprintOf(made, o.repository.Name().String(), o.manifest.Digest.String()), true
}
