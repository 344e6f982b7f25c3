package cloud

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/weir-dev/weir/test/s3server"
)

// Request is one that a host got.
type Request struct{ Host, Method, Path string }

// String returns all of it.
func (r Request) String() string { return r.Method + " " + r.Host + r.Path }

// Internet is a forward proxy that answers for hosts itself. Its methods may be called from several goroutines.
type Internet struct {
	// Authority signs the certificates of the hosts.
	Authority *s3server.Authority

	listener net.Listener
	server   *http.Server
	tunnels  tunnels

	mu       sync.Mutex
	before   func(http.ResponseWriter, *http.Request) bool
	hosts    map[string]http.Handler
	certs    map[string]*tls.Certificate
	requests []Request
}

// NewInternet returns an internet without hosts, which is there until Close.
func NewInternet(ctx context.Context) (*Internet, error) {
	a, err := s3server.NewAuthority()
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}

	i := &Internet{
		Authority: a, listener: l, hosts: map[string]http.Handler{}, certs: map[string]*tls.Certificate{},
		tunnels: tunnels{conns: make(chan net.Conn), closed: make(chan struct{}), addr: l.Addr()},
	}
	i.server = &http.Server{Handler: i} //nolint:gosec // a test server: slow clients are part of the tests

	go i.server.Serve(l)          //nolint:errcheck // ends with Close
	go i.server.Serve(&i.tunnels) //nolint:errcheck // ends with Close

	return i, nil
}

// Close takes the internet away.
func (i *Internet) Close() { _ = i.server.Close() }

// Proxy returns the URL of the proxy.
func (i *Internet) Proxy() *url.URL {
	return &url.URL{Scheme: "http", Host: i.listener.Addr().String()}
}

// Handle makes the host answer. A name that begins with "*." means all hosts below.
func (i *Internet) Handle(host string, h http.Handler) {
	i.mu.Lock()
	defer i.mu.Unlock()

	i.hosts[host] = h
}

// Before calls a function with every request to a host first, which tells whether it has answered. Nil means none.
func (i *Internet) Before(f func(http.ResponseWriter, *http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()

	i.before = f
}

// Requests returns what the hosts got since the last call.
func (i *Internet) Requests() []Request {
	i.mu.Lock()
	defer i.mu.Unlock()

	all := i.requests
	i.requests = nil

	return all
}

// ServeHTTP implements http.Handler, for the proxy and for all hosts.
func (i *Internet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		i.connect(w, r)

		return
	}

	host := r.Host
	if name, port, err := net.SplitHostPort(host); err == nil && (port == "443" || port == "80") {
		host = name
	}

	i.mu.Lock()
	i.requests = append(i.requests, Request{Host: host, Method: r.Method, Path: r.URL.Path})
	h, before := i.handler(host), i.before
	i.mu.Unlock()

	if before != nil && before(w, r) {
		return
	}

	if h == nil {
		http.Error(w, "no such host", http.StatusBadGateway)

		return
	}

	h.ServeHTTP(w, r)
}

// handler of a host. The caller holds the lock.
func (i *Internet) handler(host string) http.Handler {
	if h, ok := i.hosts[host]; ok {
		return h
	}

	for rest := host; ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return nil
		}

		if h, ok := i.hosts["*."+after]; ok {
			return h
		}

		rest = after
	}
}

// connect makes a connection to the proxy one to the host.
func (i *Internet) connect(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}

	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")

	host, _, _ := net.SplitHostPort(r.Host)
	i.tunnels.add(tls.Server(conn, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate(host) },
	}))
}

// certificate of a host.
func (i *Internet) certificate(host string) (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()

	if c, ok := i.certs[host]; ok {
		return c, nil
	}

	cert, key, err := i.Authority.Issue(host)
	if err != nil {
		return nil, err
	}

	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}

	i.certs[host] = &pair

	return &pair, nil
}

// tunnels are connections to hosts, as a listener.
type tunnels struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func (t *tunnels) add(c net.Conn) {
	select {
	case t.conns <- c:
	case <-t.closed:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (t *tunnels) Close() error {
	t.once.Do(func() { close(t.closed) })

	return nil
}

// Addr implements net.Listener.
func (t *tunnels) Addr() net.Addr { return t.addr }
