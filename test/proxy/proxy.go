package proxy

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weir-dev/weir/test/authority"
)

// Options say how the proxy behaves.
type Options struct {
	// Username and Password that are asked for. Both empty means none.
	Username, Password string

	// TLS makes it a proxy that is reached over HTTPS, with a certificate that an own authority signed: see Proxy.CA.
	TLS bool

	// Hosts are addresses, as host:port, of targets that exist only for this proxy, also as host:port.
	Hosts map[string]string
}

// Request is something that the proxy was asked for.
type Request struct {
	// Method of the request: CONNECT for a tunnel.
	Method string

	// Target is the host:port of a tunnel, or the URL of a plain request, without user information and query.
	Target string

	// User is the name that came with the request, whether it was let in or not.
	User string

	// Refused tells that the credentials were missing or wrong.
	Refused bool
}

// Proxy is a forward proxy on the loopback interface.
type Proxy struct {
	// Addr is where it listens, as host:port.
	Addr string

	// CA is the PEM certificate of the authority, if it is reached over TLS.
	CA []byte

	options Options
	server  *http.Server
	plain   *httputil.ReverseProxy
	broken  atomic.Bool

	mu       sync.Mutex
	requests []Request
	tunnels  map[net.Conn]bool // both ends of those that are open; nil once the proxy is closed
}

// Serve runs a proxy until Close.
func Serve(ctx context.Context, o Options) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}

	p := &Proxy{Addr: l.Addr().String(), options: o, tunnels: map[net.Conn]bool{}}
	p.plain = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.Header.Del("Proxy-Authorization") },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return p.dial(ctx, addr) },
		},
	}
	p.server = &http.Server{Handler: http.HandlerFunc(p.handle)} //nolint:gosec // a test server: slow clients are part of the tests

	if !o.TLS {
		go p.server.Serve(l) //nolint:errcheck // ends with Close

		return p, nil
	}

	if err := p.secure(); err != nil {
		return nil, errors.Join(err, l.Close())
	}

	go p.server.ServeTLS(l, "", "") //nolint:errcheck // ends with Close

	return p, nil
}

func (p *Proxy) secure() error {
	a, err := authority.New()
	if err != nil {
		return err
	}

	config, err := a.ServerConfig("127.0.0.1", false)
	if err != nil {
		return err
	}

	config.NextProtos = []string{"http/1.1"} // a tunnel takes over its connection
	p.CA, p.server.TLSConfig = a.PEM(), config

	return nil
}

// URL returns the URL of the proxy, without credentials.
func (p *Proxy) URL() string {
	if p.options.TLS {
		return "https://" + p.Addr
	}

	return "http://" + p.Addr
}

// Requests returns what the proxy was asked for so far, in order.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()

	return slices.Clone(p.requests)
}

// Break makes the proxy refuse to pass on anything with 502 Bad Gateway, or pass it on again.
func (p *Proxy) Break(on bool) { p.broken.Store(on) }

// Close stops the proxy and cuts its tunnels.
func (p *Proxy) Close() {
	_ = p.server.Close()

	p.mu.Lock()
	defer p.mu.Unlock()

	for c := range p.tunnels {
		_ = c.Close()
	}

	p.tunnels = nil
}

func (p *Proxy) handle(w http.ResponseWriter, req *http.Request) {
	user, ok := p.authorized(req)
	p.note(Request{Method: req.Method, Target: target(req), User: user, Refused: !ok})

	switch {
	case !ok:
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		http.Error(w, "credentials are missing or wrong", http.StatusProxyAuthRequired)
	case p.broken.Load():
		http.Error(w, "the proxy is out of order", http.StatusBadGateway)
	case req.Method == http.MethodConnect:
		p.tunnel(w, req)
	case !req.URL.IsAbs():
		http.Error(w, "this is a proxy", http.StatusBadRequest)
	default:
		p.plain.ServeHTTP(w, req)
	}
}

func target(req *http.Request) string {
	if req.Method == http.MethodConnect {
		return req.Host
	}

	u := url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path}

	return u.String()
}

func (p *Proxy) note(r Request) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.requests = append(p.requests, r)
}

func (p *Proxy) authorized(req *http.Request) (user string, ok bool) {
	raw, _ := strings.CutPrefix(req.Header.Get("Proxy-Authorization"), "Basic ")
	decoded, _ := base64.StdEncoding.DecodeString(raw) // what is no base64 is no credential
	user, password, _ := strings.Cut(string(decoded), ":")

	o := p.options
	if o.Username == "" && o.Password == "" {
		return user, true
	}

	return user, equal(user, o.Username) && equal(password, o.Password)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (p *Proxy) dial(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", cmp.Or(p.options.Hosts[addr], addr))
}

// tunnel passes bytes on in both directions until both ends are done.
func (p *Proxy) tunnel(w http.ResponseWriter, req *http.Request) {
	there, err := p.dial(req.Context(), req.Host)
	if err != nil {
		http.Error(w, "the target cannot be reached", http.StatusBadGateway)

		return
	}
	defer there.Close() //nolint:errcheck // the ends say what they have to say

	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "no tunnel over this connection", http.StatusInternalServerError)

		return
	}
	defer here.Close() //nolint:errcheck // the ends say what they have to say

	if !p.open(here, there) {
		return
	}
	defer p.shut(here, there)

	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}

	var both sync.WaitGroup

	both.Go(func() { pass(there, buffered) })
	both.Go(func() { pass(here, there) })
	both.Wait()
}

// pass copies until one end is done, and tells the other one.
func pass(to net.Conn, from io.Reader) {
	_, _ = io.Copy(to, from) // a broken connection is an end, too

	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// open notes the ends of a tunnel. It fails if the proxy is closed.
func (p *Proxy) open(ends ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.tunnels == nil {
		return false
	}

	for _, c := range ends {
		p.tunnels[c] = true
	}

	return true
}

func (p *Proxy) shut(ends ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()

	for _, c := range ends {
		delete(p.tunnels, c)
	}
}
