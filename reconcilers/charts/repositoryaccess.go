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

	// TLS of the connections. Nil means that of the machine. Its authorities count for all servers, its certificate for those
	// that may see the credentials.
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
// of that. One that leaves out the scheme may lead to another server, which does not get the query.
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
	u.RawQuery = ""

	if a.mayKnow(base, u) { // a query may hold a token
		u.RawQuery = base.RawQuery
	}

	return u.String(), nil
}

// mayKnow tells whether the server of a URL may see the credentials for that of the repository.
func (a RepositoryAccess) mayKnow(base, u *url.URL) bool {
	return a.PassCredentials || base.Scheme == u.Scheme && strings.EqualFold(base.Host, u.Host)
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

	if a.mayKnow(base, u) && a.Username != "" {
		req.SetBasicAuth(a.Username, a.Password)
	}

	return req, nil
}

// transport returns the connections to the server of the repository, and to others.
func (a RepositoryAccess) transport(all *ingest.Transports) (http.RoundTripper, error) {
	base, err := a.base()
	if err != nil {
		return nil, err
	}

	home, err := a.connections(all, a.TLS)
	if err != nil {
		return nil, err
	}

	away, err := a.connections(all, a.TLS.Authorities())
	if err != nil {
		return nil, err
	}

	return split{access: a, base: base, home: home, away: away}, nil
}

func (a RepositoryAccess) connections(all *ingest.Transports, certificates *secrets.TLS) (http.RoundTripper, error) {
	id := certificates.Fingerprint()

	return all.To(ingest.Route{ //nolint:wrapcheck // the caller says what for
		ID: string(id[:]), Proxy: a.Proxy,
		TLS: func() (*tls.Config, error) { return certificates.Config() },
	})
}

// split shows a certificate to those servers only that may see the credentials, wherever a request is redirected to.
type split struct {
	access     RepositoryAccess
	base       *url.URL
	home, away http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (s split) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.access.PassCredentials || ingest.SameOrigin(s.base, req.URL) {
		return s.home.RoundTrip(req) //nolint:wrapcheck // the client does
	}

	return s.away.RoundTrip(req) //nolint:wrapcheck // the client does
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
