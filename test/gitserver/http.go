package gitserver

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi" //nolint:gosec // Httpoxy is long fixed
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Counts are the requests that a server got.
type Counts struct {
	// InfoRefs is how often references were listed.
	InfoRefs int64

	// UploadPack is how often objects were asked for.
	UploadPack int64
}

// counter counts requests from several goroutines.
type counter struct{ infoRefs, uploadPack atomic.Int64 }

func (c *counter) counts() Counts {
	return Counts{InfoRefs: c.infoRefs.Load(), UploadPack: c.uploadPack.Load()}
}

// HTTPOptions say how repositories are served over HTTP.
type HTTPOptions struct {
	// Addr to listen on, as host:port. Empty means a free port of the loopback interface.
	Addr string

	// Username and Password that are asked for. Both empty means none.
	Username, Password string

	// Token that is asked for as a bearer token. Empty means none.
	Token string

	// TLS serves HTTPS with a certificate that an own authority signed: see Server.CA.
	TLS bool

	// ClientAuth makes TLS ask for a certificate of the same authority: see Server.ClientCertificate.
	ClientAuth bool

	// Wrap optionally puts a handler in front, to see or break requests.
	Wrap func(http.Handler) http.Handler
}

// HTTP is a server that speaks smart HTTP.
type HTTP struct {
	// Addr is where it listens.
	Addr string

	// CA is the PEM certificate of the authority, if TLS is on.
	CA []byte

	authority *authority
	options   HTTPOptions
	backend   http.Handler
	server    *http.Server
	counter   counter
	hanging   atomic.Bool
	closed    chan struct{}
	once      sync.Once
}

// ServeHTTP serves the repositories over HTTP until Close.
func (r *Repositories) ServeHTTP(ctx context.Context, o HTTPOptions) (*HTTP, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}

	execPath, err := r.git.run(ctx, r.root, nil, nil, "--exec-path")
	if err != nil {
		return nil, err
	}

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}

	s := &HTTP{
		Addr: l.Addr().String(), options: o, closed: make(chan struct{}),
		backend: &cgi.Handler{
			Path: filepath.Join(execPath, "git-http-backend"),
			Env:  r.git.env("GIT_PROJECT_ROOT="+r.root, "GIT_HTTP_EXPORT_ALL=1"),
		},
	}

	handler := http.Handler(http.HandlerFunc(s.handle))
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}

	s.server = &http.Server{Handler: handler} //nolint:gosec // a test server: slow clients are part of the tests

	if !o.TLS {
		go s.server.Serve(l) //nolint:errcheck // ends with Close

		return s, nil
	}

	if err := s.secure(o.ClientAuth); err != nil {
		_ = l.Close()

		return nil, err
	}

	go s.server.ServeTLS(l, "", "") //nolint:errcheck // ends with Close

	return s, nil
}

// URL returns the URL of the repository, without credentials.
func (s *HTTP) URL(r *Repository) string {
	scheme := "http"
	if s.options.TLS {
		scheme = "https"
	}

	return scheme + "://" + s.Addr + "/" + r.Path
}

// Counts returns the requests so far that passed authentication.
func (s *HTTP) Counts() Counts { return s.counter.counts() }

// Hang makes the server take requests and never answer them, or answer again. Requests that hang already stay so.
func (s *HTTP) Hang(on bool) { s.hanging.Store(on) }

// Close stops the server at once.
func (s *HTTP) Close() {
	s.once.Do(func() {
		close(s.closed)
		_ = s.server.Close()
	})
}

func (s *HTTP) handle(w http.ResponseWriter, req *http.Request) {
	if s.hanging.Load() {
		select {
		case <-req.Context().Done():
		case <-s.closed:
		}

		panic(http.ErrAbortHandler) // the way to end a request without an answer
	}

	if !s.authorized(req) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "credentials are missing or wrong", http.StatusUnauthorized)

		return
	}

	switch {
	case strings.HasSuffix(req.URL.Path, "/info/refs"):
		s.counter.infoRefs.Add(1)
	case strings.HasSuffix(req.URL.Path, "/git-upload-pack"):
		s.counter.uploadPack.Add(1)
	}

	s.backend.ServeHTTP(w, req)
}

func (s *HTTP) authorized(req *http.Request) bool {
	o := s.options
	if o.Username != "" || o.Password != "" {
		user, password, _ := req.BasicAuth()

		return equal(user, o.Username) && equal(password, o.Password)
	}

	return o.Token == "" || equal(req.Header.Get("Authorization"), "Bearer "+o.Token)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
