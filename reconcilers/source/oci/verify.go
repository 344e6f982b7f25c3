package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/verify"
)

// Trust says whose signatures an object takes.
type Trust struct {
	// Provider is sourcev1.VerifyCosign or sourcev1.VerifyNotation.
	Provider string

	// Keys are the entries of the Secret with public keys, or with a trust policy and certificates. Nil means that the object
	// names no Secret.
	Keys map[string][]byte

	// Identities that may sign without a key.
	Identities []verify.OIDCIdentity

	// TrustedRoot is that of the object. Nil means the public one.
	TrustedRoot []byte
}

// Verifiers verify signatures.
type Verifiers interface {
	// Verifier returns what verifies for the trust. It fails if the trust makes no sense: verify.ErrNoKeys and the like.
	Verifier(t Trust) (verify.Image, error)
}

// VerifiersFunc is a function as Verifiers.
type VerifiersFunc func(t Trust) (verify.Image, error)

// Verifier implements Verifiers.
func (f VerifiersFunc) Verifier(t Trust) (verify.Image, error) { return f(t) }

// Signatures are the Verifiers for signatures of cosign and Notation.
type Signatures struct {
	// Roots returns the trusted root of the public Sigstore.
	Roots func(context.Context) ([]byte, error)

	// Client asks whether a certificate is revoked, at addresses that stand in it.
	Client *http.Client
}

// Verifier implements Verifiers.
func (s Signatures) Verifier(t Trust) (verify.Image, error) {
	if t.Provider == sourcev1.VerifyNotation {
		return verify.NewNotation(verify.NotationOptions{Data: t.Keys, Client: s.Client}) //nolint:wrapcheck // the caller does
	}

	return verify.NewCosign(verify.CosignOptions{ //nolint:wrapcheck // the caller does
		Keys: t.Keys, Identities: t.Identities, TrustedRoot: t.TrustedRoot, Roots: s.Roots,
	})
}

// verify sees to it that the manifest is signed by somebody whom the object trusts, if it asks for that.
func (r *reconciler) verify(ctx context.Context, obj *sourcev1.OCIRepository, s *scope) error {
	spec := obj.Spec.Verification
	if spec == nil {
		obj.Status.SourceVerificationFingerprint = ""
		engine.Unset(obj, meta.SourceVerifiedCondition)

		return nil
	}

	trust, fingerprint, err := r.trust(ctx, obj)
	if err == nil {
		if verified(obj, s.revision, fingerprint) {
			return nil
		}

		err = r.check(ctx, obj, s, trust, fingerprint)
	}

	if err != nil {
		err = fmt.Errorf("failed to verify the signature using provider '%s': %w", providerOf(spec), err)
		engine.Set(obj, meta.SourceVerifiedCondition, metav1.ConditionFalse, sourcev1.VerificationErrorReason, err.Error())

		return err
	}

	return nil
}

// verified tells whether what is stored was verified in the way that is asked for. What was verified last may be another
// revision, which was never stored.
func verified(obj *sourcev1.OCIRepository, revision, fingerprint string) bool {
	c := engine.Condition(obj, meta.SourceVerifiedCondition)

	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == obj.Generation &&
		c.Message == verifiedMessage(revision) &&
		obj.Status.Artifact.HasRevision(revision) && obj.Status.SourceVerificationFingerprint == fingerprint
}

func verifiedMessage(revision string) string { return "verified signature of revision " + revision }

func (r *reconciler) check(ctx context.Context, obj *sourcev1.OCIRepository, s *scope, t Trust, fingerprint string) error {
	var result verify.Result

	err := r.bounded(ctx, obj, func(ctx context.Context) (err error) {
		result, err = r.signatures.verify(ctx, s.repository, s.digest.String(), t, fingerprint)

		return err
	})

	ref := s.name + "@" + s.digest.String()

	switch {
	case errors.Is(err, verify.ErrNoSignature):
		return fmt.Errorf("no matching signatures were found for '%s'", ref)
	case errors.Is(err, verify.ErrNotTrusted):
		return fmt.Errorf("no matching signatures were found for '%s': %w", ref, err)
	case errors.Is(err, verify.ErrNoKeys):
		return fmt.Errorf("no public keys found in secret '%s'", keysOf(obj))
	case errors.Is(err, verify.ErrNoCertificates):
		return fmt.Errorf("no certificates found in secret '%s'", keysOf(obj))
	case err != nil:
		return err
	}

	obj.Status.SourceVerificationFingerprint = fingerprint

	if result.Skipped {
		engine.Unset(obj, meta.SourceVerifiedCondition)

		return nil
	}

	engine.Set(obj, meta.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason,
		verifiedMessage(s.revision))

	return nil
}

// keysOf names the Secret with the keys.
func keysOf(obj *sourcev1.OCIRepository) string {
	if ref := obj.Spec.Verification.SecretRef; ref != nil {
		return obj.Namespace + "/" + ref.Name
	}

	return ""
}

func providerOf(v *sourcev1.OCIRepositoryVerification) string {
	if v.Provider == sourcev1.VerifyCosign && v.SecretRef == nil {
		return v.Provider + " keyless"
	}

	return v.Provider
}

// trust reads whose signatures the object takes. The fingerprint changes with the keys.
func (r *reconciler) trust(ctx context.Context, obj *sourcev1.OCIRepository) (Trust, string, error) {
	spec := obj.Spec.Verification
	t := Trust{Provider: spec.Provider}

	if t.Provider != sourcev1.VerifyCosign && t.Provider != sourcev1.VerifyNotation {
		return t, "", errors.New("there is no such provider")
	}

	if r.Verifiers == nil {
		return t, "", errors.New("verification is not available")
	}

	for _, m := range spec.MatchOIDCIdentity {
		t.Identities = append(t.Identities, verify.OIDCIdentity{Issuer: m.Issuer, Subject: m.Subject})
	}

	if ref := spec.SecretRef; ref != nil {
		secret, err := secrets.Get(ctx, r.Secrets, obj.Namespace, ref.Name)
		if err != nil {
			return t, "", err //nolint:wrapcheck // it is the whole story
		}

		if t.Keys = secret.Data; len(t.Keys) == 0 {
			return t, "", fmt.Errorf("verification secret cannot be empty: '%s/%s'", obj.Namespace, ref.Name)
		}
	} else if t.Provider == sourcev1.VerifyNotation {
		return t, "", errors.New("spec.verify.secretRef is required for notation")
	}

	if err := r.trustedRoot(ctx, obj, &t); err != nil {
		return t, "", err
	}

	all := []map[string][]byte{t.Keys}
	if t.TrustedRoot != nil {
		all = append(all, map[string][]byte{verify.TrustedRootEntry: t.TrustedRoot})
	}

	return t, verify.Fingerprint(all...), nil
}

func (r *reconciler) trustedRoot(ctx context.Context, obj *sourcev1.OCIRepository, t *Trust) error {
	ref := obj.Spec.Verification.TrustedRootSecretRef
	if ref == nil {
		return nil
	}

	secret, err := secrets.Get(ctx, r.Secrets, obj.Namespace, ref.Name)
	if err != nil {
		return err //nolint:wrapcheck // it is the whole story
	}

	if t.TrustedRoot = secret.Data[verify.TrustedRootEntry]; len(t.TrustedRoot) == 0 {
		return fmt.Errorf("'%s' not found in secret '%s/%s'", verify.TrustedRootEntry, obj.Namespace, ref.Name)
	}

	return nil
}

// signatures verifies each manifest once for all who trust the same at the same time.
type signatures struct {
	verifiers Verifiers
	flights   flight.Group[flight.Fingerprint, verify.Result]
}

func newSignatures(d Deps) *signatures {
	return &signatures{
		verifiers: d.Verifiers,
		flights:   flight.Group[flight.Fingerprint, verify.Result]{Age: time.Second, Now: d.Now},
	}
}

func (s *signatures) verify(ctx context.Context, repo *registry.Repository, digest string, t Trust, fingerprint string,
) (verify.Result, error) {
	repoKey := repo.Key()
	key := []string{string(repoKey[:]), digest, t.Provider, fingerprint, fmt.Sprint(t.Keys != nil, t.TrustedRoot != nil)}

	for _, i := range t.Identities {
		key = append(key, i.Issuer, i.Subject)
	}

	result, release, err := s.flights.Join(ctx, flight.FingerprintOf(key...), time.Time{},
		func(ctx context.Context) (verify.Result, error) {
			verifier, err := s.verifiers.Verifier(t)
			if err != nil {
				return verify.Result{}, err //nolint:wrapcheck // the caller tells what was tried
			}

			return verifier.Verify(ctx, repo.Name().Digest(digest), repo.Remote()...) //nolint:wrapcheck // as above
		})
	if err != nil {
		return verify.Result{}, err //nolint:wrapcheck // as above
	}

	release()

	return result, nil
}
