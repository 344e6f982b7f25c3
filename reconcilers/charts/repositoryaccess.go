package charts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// ErrScheme says that a URL is none that can be fetched.
var ErrScheme = errors.New("the scheme is neither http nor https")

// RepositoryAccess says where a repository is, and how somebody reaches it.
type RepositoryAccess struct {
	// URL of the repository: http or https.
	URL string

	// Username and Password are sent to the server of the URL. They may be empty.
	Username, Password string

	// PassCredentials sends them also to other servers that the index names.
	PassCredentials bool

	// TLS of the connections to all servers. Nil means that of the machine.
	TLS *secrets.TLS

	// Proxy to use. Nil means the one of the machine.
	Proxy *url.URL
}

// ReadAccess returns how a HelmRepository of type default is reached, with what its Secrets hold: user name and password, and
// certificates, those of spec.certSecretRef before those that spec.secretRef may hold under their old names. A Secret with none
// of the keys is an error. The errors are about Secrets only; Validate tells about the URL.
func ReadAccess(ctx context.Context, r secrets.Reader, repository *sourcev1.HelmRepository) (RepositoryAccess, error) {
	a := RepositoryAccess{URL: repository.Spec.URL, PassCredentials: repository.Spec.PassCredentials}

	if ref := repository.Spec.SecretRef; ref != nil {
		s, err := secrets.Get(ctx, r, repository.Namespace, ref.Name)
		if err != nil {
			return RepositoryAccess{}, err //nolint:wrapcheck // it is the whole story
		}

		if a.Username, a.Password, err = secrets.BasicAuth(s); err != nil {
			return RepositoryAccess{}, authError(err)
		}

		if a.TLS, err = secrets.FindTLS(s, true); err != nil {
			return RepositoryAccess{}, authError(err)
		}

		if a.Username == "" && a.TLS == nil {
			return RepositoryAccess{}, authError(fmt.Errorf("secret '%s/%s': '%s' and '%s' are required",
				repository.Namespace, ref.Name, secrets.Username, secrets.Password))
		}
	}

	if ref := repository.Spec.CertSecretRef; ref != nil {
		s, err := secrets.Get(ctx, r, repository.Namespace, ref.Name)
		if err != nil {
			return RepositoryAccess{}, err //nolint:wrapcheck // it is the whole story
		}

		if a.TLS, err = secrets.ReadTLS(s, false); err != nil {
			return RepositoryAccess{}, authError(err)
		}
	}

	return a, nil
}

func authError(err error) error {
	return fmt.Errorf("failed to configure authentication options: %w", err)
}

// ChartURL returns the URL of the package of a version. A relative one is one below the URL of the repository, with the query
// of that.
func (a RepositoryAccess) ChartURL(e Entry) (string, error) {
	if len(e.URLs) == 0 || e.URLs[0] == "" {
		return "", fmt.Errorf("chart '%s' with version '%s' has no downloadable URLs", e.Name, e.Version)
	}

	ref, err := url.Parse(e.URLs[0])
	if err != nil {
		return "", fmt.Errorf("invalid chart URL: %w", ingest.RedactError(err))
	}

	if ref.IsAbs() {
		return e.URLs[0], nil
	}

	base, err := a.base()
	if err != nil {
		return "", err
	}

	u := base.ResolveReference(ref)
	u.RawQuery = base.RawQuery

	return u.String(), nil
}

// indexURL returns the URL of the index.
func (a RepositoryAccess) indexURL() (*url.URL, error) {
	base, err := a.base()
	if err != nil {
		return nil, err
	}

	u := base.ResolveReference(&url.URL{Path: "index.yaml"})
	u.RawQuery = base.RawQuery

	return u, nil
}

// base returns the URL of the repository with a slash at the end of its path.
func (a RepositoryAccess) base() (*url.URL, error) {
	u, err := parseHTTP(a.URL)
	if err != nil {
		return nil, fmt.Errorf("invalid Helm repository URL: %w", err)
	}

	u.Path = strings.TrimSuffix(u.Path, "/") + "/"

	if u.RawPath != "" {
		u.RawPath = strings.TrimSuffix(u.RawPath, "/") + "/"
	}

	u.Fragment, u.RawFragment = "", ""

	return u, nil
}

func parseHTTP(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)

	switch {
	case err != nil:
		return nil, ingest.RedactError(err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, ErrScheme
	case u.Hostname() == "":
		return nil, errors.New("there is no host")
	}

	return u, nil
}

// Validate tells what is wrong with the URL. Its error is the whole story.
func (a RepositoryAccess) Validate() error {
	_, err := a.indexURL()

	return err
}

// request returns a request with the credentials that the server may see.
func (a RepositoryAccess) request(ctx context.Context, u *url.URL) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("invalid URL: %w", ingest.RedactError(err))
	}

	base, err := a.base()
	if err != nil {
		return nil, err
	}

	same := base.Scheme == u.Scheme && strings.EqualFold(base.Host, u.Host)
	if (same || a.PassCredentials) && a.Username != "" {
		req.SetBasicAuth(a.Username, a.Password)
	}

	return req, nil
}

func (a RepositoryAccess) route() ingest.Route {
	id := a.TLS.Fingerprint()

	return ingest.Route{
		ID: string(id[:]), Proxy: a.Proxy,
		TLS: func() (*tls.Config, error) { return a.TLS.Config() },
	}
}

// fingerprint stands for all that decides what the server lets us see.
func (a RepositoryAccess) fingerprint() flight.Fingerprint {
	certificates, proxy, pass := a.TLS.Fingerprint(), "", ""
	if a.Proxy != nil {
		proxy = a.Proxy.String()
	}

	if a.PassCredentials {
		pass = "all"
	}

	return flight.FingerprintOf(a.URL, a.Username, a.Password, pass, string(certificates[:]), proxy)
}
