package kustomize

import (
	"context"
	"fmt"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/decryption"
)

// unlock reads the keys that decrypt what is built. It is done at every run: who may decrypt is part of what a build depends on.
func (r *reconciler) unlock(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	spec := obj.Spec.Decryption
	if spec == nil {
		return nil
	}

	if spec.Provider != kustomizev1.DecryptionProviderSOPS {
		return fmt.Errorf("decryption provider '%s' is not supported, want '%s'", spec.Provider, kustomizev1.DecryptionProviderSOPS)
	}

	request := decryption.Request{
		Kind: kustomizev1.KustomizationKind, Namespace: obj.Namespace, Name: obj.Name, ServiceAccount: spec.ServiceAccountName,
	}

	if spec.SecretRef != nil {
		if spec.SecretRef.Name == "" { // else it would be taken for none, and the key of the process stood in
			return fmt.Errorf("spec.decryption.secretRef has no name")
		}

		request.Secret = spec.SecretRef.Name
	}

	session, err := r.Decryption.Open(ctx, request)
	if err != nil {
		return err //nolint:wrapcheck // it names the Secret
	}

	s.session = session

	return nil
}

// keys stands for who decrypts, or is empty if nobody does.
func (s *scope) keys() string {
	if s.session == nil {
		return ""
	}

	return s.session.Fingerprint()
}

// redact masks the values of secret variables, and what was decrypted.
func (s *scope) redact(text string) string {
	text = s.variables.Redact(text)
	if s.set != nil {
		text = s.set.Mask.Hide(text)
	}

	return text
}
