package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Timeouts of a connection that is not even set up. What follows is bounded by the context of the request.
const (
	dialTimeout      = 30 * time.Second
	handshakeTimeout = 15 * time.Second
	idleTimeout      = 90 * time.Second
	maxRedirects     = 10
)

// AllowAddr decides whether an address that a user gives may be connected to. It sees the address that a name was resolved
// to, right before the connection is made. Its error says why not. Behind a proxy, it sees the address of the proxy.
type AllowAddr func(netip.Addr) error

// RefuseLinkLocal is an AllowAddr that refuses addresses that are only reachable from this machine's link, such as the metadata
// services of clouds, which give away credentials, and addresses that stand for no single machine.
func RefuseLinkLocal(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")

	switch {
	case addr.IsLinkLocalUnicast(), addr.IsLinkLocalMulticast(), addr.IsInterfaceLocalMulticast():
		return fmt.Errorf("address %s is link-local", addr)
	case addr.IsMulticast(), addr.IsUnspecified():
		return fmt.Errorf("address %s is no single machine", addr)
	case slices.Contains(metadataAddrs(), addr):
		return fmt.Errorf("address %s is a metadata service", addr)
	}

	return nil
}

// metadataAddrs are the services that give away credentials and are not link-local: the metadata of AWS, EKS Pod Identity,
// Google Cloud and Oracle Cloud on IPv6, of Alibaba Cloud, and the wire server of Azure.
func metadataAddrs() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("fd20:ce::254"),
		netip.MustParseAddr("fd00:c1::a9fe:a9fe"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"),
	}
}

// NewDialer returns a dialer for addresses that users give. A nil allow means any address.
func NewDialer(allow AllowAddr) *net.Dialer {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}
	if allow == nil {
		return d
	}

	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("parse address %q: %w", address, err)
		}

		return allow(ap.Addr())
	}

	return d
}

// HTTPOptions say how to reach servers over HTTP.
type HTTPOptions struct {
	// TLS is the configuration of HTTPS. Nil means that of the machine.
	TLS *tls.Config

	// Proxy returns the proxy of a request. Nil means none.
	Proxy func(*http.Request) (*url.URL, error)

	// Allow decides on addresses. Nil allows all.
	Allow AllowAddr
}

// NewTransport returns a transport for requests to addresses that users give. It keeps connections open and should be shared
// by all requests with the same options.
func NewTransport(o HTTPOptions) *http.Transport {
	return &http.Transport{
		DialContext:         NewDialer(o.Allow).DialContext,
		Proxy:               o.Proxy,
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: handshakeTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConns:        100,
		MaxIdleConnsPerHost: 4,
		ForceAttemptHTTP2:   true,

		MaxResponseHeaderBytes: 128 << 10,
	}
}

// NewClient returns a client for requests to addresses that users give. A redirect to another host, port or scheme loses
// all that could be a credential, and one from HTTPS to HTTP is an error. What max returns for an answer bounds its body, in
// bytes; a body that goes on fails with a *LimitError. A nil max bounds only the bodies of errors, to 64 KiB, as does a
// result of zero.
func NewClient(t http.RoundTripper, maxBody func(*http.Response) int64) *http.Client {
	return &http.Client{Transport: &boundedTransport{t: t, max: maxBody}, CheckRedirect: checkRedirect}
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

// errorBytes is how much is read of an answer that is an error.
const errorBytes = 64 << 10

// boundedTransport bounds the bodies of answers.
type boundedTransport struct {
	t   http.RoundTripper
	max func(*http.Response) int64
}

// RoundTrip implements http.RoundTripper.
func (b *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.t.RoundTrip(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // http.Client adds the URL
	}

	limit := int64(0)

	switch {
	case resp.StatusCode >= http.StatusBadRequest:
		limit = errorBytes
	case b.max != nil:
		limit = b.max(resp)
	}

	if limit > 0 {
		resp.Body = &boundedBody{ReadCloser: resp.Body, name: Redact(req.URL.String()), left: limit, max: limit}
	}

	return resp, nil
}

// boundedBody fails after its limit.
type boundedBody struct {
	io.ReadCloser

	name      string
	left, max int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, over(b.max, "bytes per answer", b.name)
	}

	return n, err
}

// Status returns the code of an answer and what it means. The words that the server sends with it may be anything, of any
// length, and would end up in conditions and logs.
func Status(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// Redact returns the URL without what could be a secret: user information, query and fragment.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "invalid URL"
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
