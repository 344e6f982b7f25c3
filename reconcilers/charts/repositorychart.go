package charts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// ErrDigest says that a chart is not the one that the index means.
var ErrDigest = errors.New("digest mismatch")

// chartKey is a package as somebody sees it.
type chartKey struct {
	access flight.Fingerprint
	url    string
	digest digest.Digest
	limit  int64
}

// FetchChart returns the package of a version in the index of the repository. It is shared and must not be changed. If the
// index gives a digest, it is checked. Zero limit means that of the options, in bytes.
func (r *Repositories) FetchChart(ctx context.Context, a RepositoryAccess, e Entry, limit int64) ([]byte, error) {
	raw, err := a.ChartURL(e)
	if err != nil {
		return nil, err
	}

	want, err := parseDigest(e.Digest)
	if err != nil {
		return nil, err
	}

	if limit == 0 {
		limit = r.options.ChartBytes
	}

	since := r.options.Now()
	if want != "" {
		since = time.Time{} // it does not change
	}

	key := chartKey{access: a.fingerprint(), url: raw, digest: want, limit: limit}

	chart, release, err := r.charts.Join(ctx, key, since, func(ctx context.Context) ([]byte, error) {
		return r.fetchChart(ctx, a, raw, want, limit)
	})
	if err != nil {
		return nil, err
	}

	release() // it stays in memory as long as the caller needs it

	return chart, nil
}

func (r *Repositories) fetchChart(ctx context.Context, a RepositoryAccess, raw string, want digest.Digest, limit int64,
) ([]byte, error) {
	shown := ingest.Redact(raw)

	u, err := parseHTTP(raw)
	if err != nil {
		return nil, fmt.Errorf("chart URL '%s': %w", shown, err)
	}

	req, err := a.request(ctx, u)
	if err != nil {
		return nil, err
	}

	req.Header.Set("Accept-Encoding", "identity") // the digest is that of the file

	resp, err := r.do(a, req, limit)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()

	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("failed to fetch %s : %s", shown, ingest.Status(resp))
	}

	if resp.ContentLength > limit {
		return nil, fmt.Errorf("failed to fetch %s : %w", shown, &ingest.LimitError{Max: limit, Unit: "bytes per chart"})
	}

	chart, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("failed to fetch %s : %w", shown, ingest.RedactError(err))
	}

	if want != "" && want.Algorithm().FromBytes(chart) != want {
		return nil, fmt.Errorf("failed to fetch %s : %w: computed %q, the index says %q", shown, ErrDigest,
			want.Algorithm().FromBytes(chart), want)
	}

	return chart, nil
}

// parseDigest returns the digest that an index means: hexadecimal digits, with or without the name of the algorithm.
func parseDigest(s string) (digest.Digest, error) {
	if s == "" {
		return "", nil
	}

	d := digest.Digest(strings.ToLower(s))

	if !strings.Contains(s, ":") {
		algorithm := digest.SHA256
		for _, other := range []digest.Algorithm{digest.SHA384, digest.SHA512} {
			if len(s) == 2*other.Size() {
				algorithm = other
			}
		}

		d = digest.NewDigestFromEncoded(algorithm, string(d))
	}

	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("the index has a digest that cannot be checked: %w", err)
	}

	return d, nil
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
		return nil, errScheme
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
