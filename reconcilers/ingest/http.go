package ingest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Timeouts of a connection. What comes after them is bounded by the context of the request, and by Bounded.
const (
	dialTimeout      = 30 * time.Second
	handshakeTimeout = 15 * time.Second
	idleTimeout      = 90 * time.Second

	// answerTimeout is how long a server may take until its answer begins. A request may be made for many who wait in turns,
	// and would else hang for as long as any of them does.
	answerTimeout = 2 * time.Minute
	maxRedirects  = 10
)

// HTTPOptions say how to reach servers over HTTP.
type HTTPOptions struct {
	// TLS is the configuration of HTTPS. Nil means that of the machine.
	TLS *tls.Config

	// Proxy returns the proxy of a request. Nil means none.
	Proxy func(*http.Request) (*url.URL, error)

	// Allow decides on addresses. Nil allows all. What it sees of a request through a proxy is the proxy, and the host that the
	// proxy is to reach if it is an address.
	Allow AllowAddr
}

// NewTransport returns a transport for requests to addresses that users give. It keeps connections open and should be shared
// by all requests with the same options.
func NewTransport(o HTTPOptions) *http.Transport {
	return &http.Transport{
		DialContext:         NewDialer(o.Allow).DialContext,
		Proxy:               guardProxy(o.Proxy, o.Allow),
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: handshakeTimeout,
		IdleConnTimeout:     idleTimeout,

		ResponseHeaderTimeout: answerTimeout,

		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 32, // as many as objects of all kinds may ask one server at a time
		ForceAttemptHTTP2:   true,

		MaxResponseHeaderBytes: 128 << 10,
	}
}

// NewClient returns a client for requests to addresses that users give. A redirect to another host, port or scheme loses
// all that could be a credential, and one from HTTPS to HTTP is an error. Bodies are bounded as by Bounded.
func NewClient(t http.RoundTripper, maxBody func(*http.Response) int64) *http.Client {
	return &http.Client{Transport: Bounded(t, maxBody), CheckRedirect: checkRedirect}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}

	last := via[len(via)-1].URL
	if last.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("redirect from HTTPS to %q", req.URL.Scheme)
	}

	// All requests so far count: who redirects to another host and back has no right to the credentials either.
	for _, r := range via {
		if !SameOrigin(r.URL, req.URL) {
			dropCredentials(req)

			break
		}
	}

	return nil
}

// SameOrigin tells whether credentials for one URL may go to the other: the same server, or the same name moved to HTTPS.
func SameOrigin(from, to *url.URL) bool {
	if from.Scheme == to.Scheme {
		return strings.EqualFold(from.Host, to.Host)
	}

	return from.Scheme == "http" && to.Scheme == "https" && strings.EqualFold(from.Hostname(), to.Hostname()) &&
		from.Port() == "" && to.Port() == ""
}

// dropCredentials keeps only the headers that are known to hold none.
func dropCredentials(req *http.Request) {
	harmless := []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "If-Modified-Since", "If-None-Match",
		"Range", "User-Agent",
	}

	for name := range req.Header {
		if !slices.Contains(harmless, name) {
			req.Header.Del(name)
		}
	}

	req.URL.User = nil
}

// Status returns the code of an answer and what it means. The words that the server sends with it may be anything, of any
// length, and would end up in conditions and logs.
func Status(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// Redact returns the URL without what could be a secret: user information, query and fragment.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || strings.Contains(u.Opaque, "@") || u.Host == "" && strings.Contains(u.Path, "@") {
		return "invalid URL" // with user information in the wrong place, say
	}

	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""

	return u.String()
}

// RedactError returns the error without the URL that net/http and net/url put into theirs, which may hold a secret. What
// net/url quotes of a URL that it cannot read may be part of a password too.
func RedactError(err error) error {
	e, ok := errors.AsType[*url.Error](err)

	switch {
	case !ok:
		return err
	case e.Op == "parse":
		reason, _, _ := strings.Cut(e.Err.Error(), `"`)

		return errors.New(strings.TrimSpace(reason))
	}

	return e.Err
}
