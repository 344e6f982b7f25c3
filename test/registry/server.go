package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weir-dev/weir/test/authority"
)

// Options say how a registry is served.
type Options struct {
	// Addr to listen on, as host:port. Empty means a free port of the loopback interface.
	Addr string

	// TLS serves HTTPS with a certificate that an own authority signed: see Server.CA.
	TLS bool

	// ClientAuth makes TLS ask for a certificate of the same authority: see Server.ClientCertificate.
	ClientAuth bool

	// Username and Password that are asked for. Both empty means none.
	Username, Password string

	// Tokens makes the registry ask for bearer tokens of its own token server, which asks for Username and Password.
	Tokens bool

	// TokenSeconds is how long tokens say that they last. Zero means that they say nothing. See also Server.Expire.
	TokenSeconds int

	// NoReferrers leaves the referrers API out.
	NoReferrers bool

	// Dir holds the blobs. Empty means that they are in memory.
	Dir string

	// Wrap optionally puts a handler in front, to see or break requests.
	Wrap func(http.Handler) http.Handler
}

// Server is a registry that is being served.
type Server struct {
	// Addr is where it listens. It is also its name in references.
	Addr string

	// CA is the PEM certificate of the authority, if TLS is on.
	CA []byte

	options   Options
	authority *authority.Authority
	backend   http.Handler
	server    *http.Server
	ended     chan struct{}
	once      sync.Once
	counter   counter
	tokens    tokens
}

// Serve serves an empty registry until Close.
func Serve(ctx context.Context, o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}

	backend := []registry.Option{
		registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(!o.NoReferrers),
	}
	if o.Dir != "" {
		backend = append(backend, registry.WithBlobHandler(registry.NewDiskBlobHandler(o.Dir)))
	}

	s := &Server{Addr: l.Addr().String(), options: o, backend: registry.New(backend...), ended: make(chan struct{})}

	handler := http.Handler(http.HandlerFunc(s.handle))
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}

	s.server = &http.Server{ //nolint:gosec // a test server: slow clients are part of the tests
		Handler: handler, ErrorLog: log.New(io.Discard, "", 0),
	}

	serve := s.server.Serve

	if o.TLS {
		if err := s.secure(l); err != nil {
			_ = l.Close()

			return nil, err
		}

		serve = func(l net.Listener) error { return s.server.ServeTLS(l, "", "") }
	}

	go func() {
		defer close(s.ended)

		_ = serve(l) // ends with Close
	}()

	return s, nil
}

// Close stops the registry at once.
func (s *Server) Close() {
	s.once.Do(func() {
		_ = s.server.Close()
		<-s.ended
	})
}

// secure gives the server a certificate.
func (s *Server) secure(l net.Listener) error {
	host, _, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return fmt.Errorf("split address: %w", err)
	}

	if s.authority, err = authority.New(); err != nil {
		return err
	}

	s.CA = s.authority.PEM()
	s.server.TLSConfig, err = s.authority.ServerConfig(host, s.options.ClientAuth)

	return err
}

// ClientCertificate makes a certificate and key, as PEM, that a server with ClientAuth takes.
func (s *Server) ClientCertificate() (cert, key []byte, err error) {
	if s.authority == nil {
		return nil, nil, errors.New("the server has no TLS")
	}

	return s.authority.Issue("client")
}

// Counts returns the requests so far.
func (s *Server) Counts() Counts { return s.counter.counts() }

// Requests returns the requests so far as "<method> <path>", the first 10 000 of them.
func (s *Server) Requests() []string { return s.counter.all() }

// Reference returns the reference of a tag of a repository.
func (s *Server) Reference(repository, tag string) string {
	return s.Addr + "/" + repository + ":" + tag
}

// Push puts an image under a tag, whatever the registry asks of others. It is not counted.
func (s *Server) Push(ctx context.Context, repository, tag string, img v1.Image) (v1.Hash, error) {
	ref, err := s.reference(repository, tag)
	if err != nil {
		return v1.Hash{}, err
	}

	if err := remote.Write(ref, img, s.inside(ctx)...); err != nil {
		return v1.Hash{}, fmt.Errorf("push %q: %w", ref, err)
	}

	return img.Digest()
}

// PushIndex puts an index under a tag, with what it leads to.
func (s *Server) PushIndex(ctx context.Context, repository, tag string, index v1.ImageIndex) (v1.Hash, error) {
	ref, err := s.reference(repository, tag)
	if err != nil {
		return v1.Hash{}, err
	}

	if err := remote.WriteIndex(ref, index, s.inside(ctx)...); err != nil {
		return v1.Hash{}, fmt.Errorf("push %q: %w", ref, err)
	}

	return index.Digest()
}

// Delete takes a tag away.
func (s *Server) Delete(ctx context.Context, repository, tag string) error {
	ref, err := s.reference(repository, tag)
	if err != nil {
		return err
	}

	if err := remote.Delete(ref, s.inside(ctx)...); err != nil {
		return fmt.Errorf("delete %q: %w", ref, err)
	}

	return nil
}

func (s *Server) reference(repository, tag string) (name.Reference, error) {
	ref, err := name.ParseReference(s.Reference(repository, tag), name.Insecure)
	if err != nil {
		return nil, fmt.Errorf("parse reference: %w", err)
	}

	return ref, nil
}

// inside reaches what is served without a network, and past all that is asked for.
func (s *Server) inside(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithTransport(direct{s.backend})}
}

// direct is a handler as the way to it.
type direct struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}

	out := httptest.NewRecorder()
	d.ServeHTTP(out, in)

	resp := out.Result()
	resp.Request = req

	return resp, nil
}

func (s *Server) handle(w http.ResponseWriter, req *http.Request) {
	s.counter.count(req)

	switch {
	case req.URL.Path == tokenPath:
		s.giveToken(w, req)
	case !s.authorized(req):
		s.counter.refused.Add(1)
		s.refuse(w, req)
	case req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/tags/list"):
		s.listTags(w, req)
	default:
		s.backend.ServeHTTP(w, req)
	}
}
