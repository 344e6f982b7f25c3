package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source/git/github"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

// Cloud gets credentials from the providers azure and aws.
type Cloud interface {
	// Git returns what the server at the URL is told: username and password, or a bearer token.
	Git(ctx context.Context, r cloud.Request, url string) (username, password, bearer string, err error)
}

// connect finds the credentials.
func (r *reconciler) connect(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	u, err := transport.ParseURL(obj.Spec.URL)
	if err != nil {
		return engine.Stall(sourcev1.URLInvalidReason, err)
	}

	secret, err := r.secret(ctx, obj, obj.Spec.SecretRef)
	if err != nil {
		return err
	}

	proxy, err := r.proxy(ctx, obj)
	if err != nil {
		return err
	}

	if err := checkProvider(obj, u, secret); err != nil {
		return engine.Stall(sourcev1.InvalidProviderConfigurationReason, err)
	}

	var credentials transport.Credentials

	err = r.bounded(ctx, obj, func(ctx context.Context) (err error) {
		credentials, err = r.credentials(ctx, obj, s, access{url: u, secret: secret, proxy: proxy})

		return err
	})
	if err == nil {
		s.remote, err = r.Remotes.open(u, credentials, proxy)
	}

	if err != nil {
		return fmt.Errorf("failed to configure authentication options: %w", err)
	}

	return nil
}

// secret reads a Secret that the object may name.
func (r *reconciler) secret(ctx context.Context, obj *sourcev1.GitRepository, ref *meta.LocalObjectReference) (*corev1.Secret, error) {
	if ref == nil {
		return nil, nil //nolint:nilnil // nil is none
	}

	return secrets.Get(ctx, r.Secrets, obj.Namespace, ref.Name) //nolint:wrapcheck // it is the whole story
}

// proxy reads the one that the object may name.
func (r *reconciler) proxy(ctx context.Context, obj *sourcev1.GitRepository) (*url.URL, error) {
	s, err := r.secret(ctx, obj, obj.Spec.ProxySecretRef)
	if err != nil || s == nil {
		return nil, err
	}

	u, err := secrets.Proxy(s)
	if err != nil {
		return nil, fmt.Errorf("failed to configure proxy options: %w", err)
	}

	return u, nil
}

// checkProvider refuses providers that do not fit what else is said. Source of the messages about GitHub: reference §2.3.
func checkProvider(obj *sourcev1.GitRepository, u *url.URL, secret *corev1.Secret) error {
	provider := obj.GetProvider()
	account := obj.Spec.ServiceAccountName

	switch {
	case provider != meta.ProviderGitHub && github.Names(secret):
		return fmt.Errorf("secretRef '%s/%s' has github app data but provider is not set to github", secret.Namespace, secret.Name)
	case provider == meta.ProviderGitHub && secret == nil:
		return errors.New("secretRef with github app data must be specified when provider is set to github")
	case account != "" && provider != meta.ProviderAzure && provider != meta.ProviderAWS:
		return errors.New("serviceAccountName can only be set when provider is 'azure' or 'aws'")
	}

	switch provider {
	case meta.ProviderGeneric:
		return nil
	case meta.ProviderGitHub, meta.ProviderAzure, meta.ProviderAWS:
		if u.Scheme == "ssh" {
			return fmt.Errorf("provider '%s' works over HTTPS, not over SSH", provider)
		}

		return nil
	}

	return fmt.Errorf("provider '%s' is none of generic, aws, azure and github", provider)
}

// access is what decides how a repository is reached.
type access struct {
	url    *url.URL
	secret *corev1.Secret // nil if there is none
	proxy  *url.URL
}

// credentials returns what the object proves itself with: what is in its Secret, or what a provider gives.
func (r *reconciler) credentials(ctx context.Context, obj *sourcev1.GitRepository, s *scope, a access) (transport.Credentials, error) {
	provider := obj.GetProvider()
	if provider == meta.ProviderGeneric {
		return transport.ReadCredentials(a.url, a.secret)
	}

	if provider == meta.ProviderGitHub {
		return r.app(ctx, s, a)
	}

	if r.Cloud == nil {
		return transport.Credentials{}, fmt.Errorf("there are no credentials of provider %q", provider)
	}

	certificates, err := certificatesOf(a.secret)
	if err != nil {
		return transport.Credentials{}, err
	}

	// Whoever names an authority and a proxy reads what passes: that may be an identity of their own, not that of the process.
	if certificates.Authorities() != nil && obj.Spec.ServiceAccountName == "" {
		return transport.Credentials{}, fmt.Errorf(
			"provider %q: an authority of a secret needs an identity of the object's own, see spec.serviceAccountName", provider)
	}

	username, password, bearer, err := r.Cloud.Git(ctx, cloud.Request{
		Provider: provider, Kind: sourcev1.GitRepositoryKind, Namespace: obj.Namespace, Name: obj.Name,
		ServiceAccount: obj.Spec.ServiceAccountName, Proxy: a.proxy,
	}, obj.Spec.URL)

	return transport.Token(username, password, bearer, certificates), err
}

func certificatesOf(secret *corev1.Secret) (*secrets.TLS, error) {
	if secret == nil {
		return nil, nil //nolint:nilnil // nil is one without certificates
	}

	return transport.ReadTLS(secret)
}

// app returns the token of a GitHub App, which is as much the user's as the Secret that holds its key.
func (r *reconciler) app(ctx context.Context, s *scope, a access) (transport.Credentials, error) {
	certificates, err := transport.ReadTLS(a.secret)
	if err != nil {
		return transport.Credentials{}, err
	}

	app, err := github.ReadApp(a.secret, certificates, a.proxy)
	if err != nil {
		return transport.Credentials{}, fmt.Errorf("secret '%s/%s': %w", a.secret.Namespace, a.secret.Name, err)
	}

	token, err := r.Remotes.tokens.Get(ctx, app)
	s.denied = func() { r.Remotes.tokens.Forget(app) }

	return transport.Token(github.Username, token, "", certificates), err
}
