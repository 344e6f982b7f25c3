package charts

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// AccessTo returns how a HelmRepository over HTTP is reached, with what its Secrets say. A Secret with nothing to log in with is
// an error: a misspelt key must not mean an anonymous request.
func AccessTo(ctx context.Context, r secrets.Reader, repo *sourcev1.HelmRepository) (RepositoryAccess, error) {
	a := RepositoryAccess{URL: repo.Spec.URL, PassCredentials: repo.Spec.PassCredentials}

	if ref := repo.Spec.SecretRef; ref != nil {
		s, err := secrets.Get(ctx, r, repo.Namespace, ref.Name)
		if err != nil {
			return a, err //nolint:wrapcheck // it is the whole story
		}

		if a.Username, a.Password, err = secrets.BasicAuth(s); err != nil {
			return a, err //nolint:wrapcheck // it is the whole story
		}

		if a.TLS, err = secrets.FindTLS(s, true); err != nil {
			return a, err //nolint:wrapcheck // it is the whole story
		}

		if a.Username == "" && a.TLS == nil {
			return a, fmt.Errorf("secret '%s/%s': %w", s.Namespace, s.Name, errNoLogin)
		}
	}

	if ref := repo.Spec.CertSecretRef; ref != nil {
		s, err := secrets.Get(ctx, r, repo.Namespace, ref.Name)
		if err != nil {
			return a, err //nolint:wrapcheck // it is the whole story
		}

		if a.TLS, err = secrets.ReadTLS(s, false); err != nil {
			return a, err //nolint:wrapcheck // it is the whole story
		}
	}

	return a, nil
}

// errNoLogin says that a Secret holds nothing to log in with.
var errNoLogin = errors.New("neither 'username' and 'password' nor certificates are there")

// Fingerprint tells apart what decides which charts somebody gets from a repository, credentials included, and gives nothing away.
func (a RepositoryAccess) Fingerprint() flight.Fingerprint { return a.fingerprint() }

// NormalizeURL returns a URL of a repository in the form in which those that mean the same are equal.
func NormalizeURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}

	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")

	return u.String()
}
