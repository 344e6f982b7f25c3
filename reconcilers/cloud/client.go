package cloud

import (
	"net/http"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxAnswer bounds what a provider may say, in bytes. Tokens and keys are a few KiB.
const maxAnswer = 1 << 20

// httpClient is what the libraries of the providers talk through.
type httpClient struct{ *http.Client }

// client returns the way to the provider.
//
// The process gets its identity from services of its node, which are link-local and talk plain HTTP, and sends them secrets: they
// are asked directly, whatever proxy an object names.
func (c *Credentials) client(r Request, id identity) (httpClient, error) {
	var way http.RoundTripper

	guarded, err := c.options.Transports.To(ingest.Route{Proxy: r.Proxy})
	if err != nil {
		return httpClient{}, err //nolint:wrapcheck // the caller does
	}

	switch {
	case id.account != nil:
		way = guarded
	case r.Proxy != nil:
		way = fork{https: guarded, http: http.DefaultTransport}
	default:
		way = http.DefaultTransport
	}

	h := ingest.NewClient(way, func(*http.Response) int64 { return maxAnswer })
	h.Timeout = c.options.Timeout

	return httpClient{h}, nil
}

// fork sends requests one way or the other.
type fork struct{ https, http http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (f fork) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" {
		return f.https.RoundTrip(req) //nolint:wrapcheck // http.Client adds the URL
	}

	return f.http.RoundTrip(req) //nolint:wrapcheck // http.Client adds the URL
}
