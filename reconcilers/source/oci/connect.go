package oci

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// validate refuses a URL that names no repository.
func (r *reconciler) validate(_ context.Context, obj *sourcev1.OCIRepository, s *scope) error {
	var err error
	if s.name, err = parseURL(obj.Spec.URL); err == nil {
		return nil
	}

	shown := obj.Spec.URL
	if strings.ContainsAny(shown, "@?#") { // there may be a secret in it
		shown = ingest.Redact(shown)
	}

	return engine.Stall(sourcev1.URLInvalidReason, fmt.Errorf("URL validation failed for '%s': %w", shown, err))
}

var errFormat = errors.New("URL must be in format 'oci://<domain>/<org>/<repo>'")

// parseURL returns the repository that the URL names, as <host>/<path>.
func parseURL(raw string) (string, error) {
	repository, ok := strings.CutPrefix(raw, sourcev1.OCIURLPrefix)
	if !ok {
		return "", errFormat
	}

	if before, digest, ok := strings.Cut(repository, "@"); ok && strings.Contains(before, "/") {
		return "", fmt.Errorf("URL must not contain a digest; remove '@%s'", digest)
	}

	last := repository[strings.LastIndexByte(repository, '/')+1:]
	if _, tag, ok := strings.Cut(last, ":"); ok && last != repository {
		return "", fmt.Errorf("URL must not contain a tag; remove ':%s'", tag)
	}

	if _, err := registry.ParseName(repository, false); err != nil {
		return "", errFormat
	}

	return repository, nil
}

// connect finds the credentials, and the way to the registry.
func (r *reconciler) connect(ctx context.Context, obj *sourcev1.OCIRepository, s *scope) error {
	a, err := r.access(ctx, obj)
	if err != nil {
		return err
	}

	err = r.bounded(ctx, obj, func(ctx context.Context) (err error) {
		s.repository, err = r.Registries.Open(ctx, s.name, a)

		return err
	})
	if err != nil {
		return fmt.Errorf("failed to configure authentication options: %w", err)
	}

	return nil
}

func (r *reconciler) access(ctx context.Context, obj *sourcev1.OCIRepository) (registry.Access, error) {
	spec := &obj.Spec
	a := registry.Access{
		Insecure: spec.Insecure, Provider: obj.GetProvider(), ServiceAccount: spec.ServiceAccountName,
		Kind: sourcev1.OCIRepositoryKind, Namespace: obj.Namespace, Name: obj.Name,
	}

	var err error

	if ref := spec.SecretRef; ref != nil {
		if a.Secret, err = secrets.Get(ctx, r.Secrets, obj.Namespace, ref.Name); err != nil {
			return a, err //nolint:wrapcheck // it is the whole story
		}
	}

	if a.PullSecrets, err = r.pullSecrets(ctx, obj); err != nil {
		return a, err
	}

	if ref := spec.CertSecretRef; ref != nil {
		secret, err := secrets.Get(ctx, r.Secrets, obj.Namespace, ref.Name)
		if err != nil {
			return a, err //nolint:wrapcheck // it is the whole story
		}

		if a.TLS, err = secrets.ReadTLS(secret, false); err != nil {
			return a, fmt.Errorf("failed to configure authentication options: %w", err)
		}
	}

	if ref := spec.ProxySecretRef; ref != nil {
		secret, err := secrets.Get(ctx, r.Secrets, obj.Namespace, ref.Name)
		if err != nil {
			return a, err //nolint:wrapcheck // it is the whole story
		}

		if a.Proxy, err = secrets.Proxy(secret); err != nil {
			return a, fmt.Errorf("failed to configure authentication options: %w", err)
		}
	}

	return a, nil
}

// pullSecrets reads the image pull secrets of the ServiceAccount, if the object names one.
func (r *reconciler) pullSecrets(ctx context.Context, obj *sourcev1.OCIRepository) ([]corev1.Secret, error) {
	name := obj.Spec.ServiceAccountName
	if name == "" {
		return nil, nil
	}

	account, err := r.ServiceAccounts.ServiceAccount(ctx, obj.Namespace, name)
	if err != nil {
		return nil, fmt.Errorf("failed to get service account '%s/%s': %w", obj.Namespace, name, err)
	}

	all := make([]corev1.Secret, 0, len(account.ImagePullSecrets))

	for _, ref := range account.ImagePullSecrets {
		secret, err := secrets.Get(ctx, r.Secrets, obj.Namespace, ref.Name)
		if err != nil {
			return nil, err //nolint:wrapcheck // it is the whole story
		}

		all = append(all, *secret)
	}

	return all, nil
}
