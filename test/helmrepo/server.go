package helmrepo

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/test/authority"
)

// Options say how a repository is served.
type Options struct {
	// Addr to listen on, as host:port. Empty means a free port of the loopback interface.
	Addr string

	// Username and Password that are asked for. Both empty means none.
	Username, Password string

	// TLS serves HTTPS with a certificate that an own authority signed: see Server.CA.
	TLS bool

	// ClientAuth makes TLS ask for a certificate of the same authority: see Server.ClientCertificate.
	ClientAuth bool

	// ETag and LastModified say by what clients can ask whether the index has changed. None means that they cannot.
	ETag, LastModified bool

	// Gzip compresses the index for those who take it so.
	Gzip bool

	// BaseURL is what the index puts before the names of packages. Empty means that their URLs are relative.
	BaseURL string

	// Wrap optionally puts a handler in front, to see or break requests.
	Wrap func(http.Handler) http.Handler
}

// Request is something that was asked for.
type Request struct {
	// Path and Query of the URL.
	Path, Query string

	// User is the name that came with the request, whether it was let in or not.
	User string

	// Status of the answer.
	Status int
}

// Server is a chart repository.
type Server struct {
	// Addr is where it listens, as host:port.
	Addr string

	// CA is the PEM certificate of the authority, if TLS is on.
	CA []byte

	dir       string
	authority *authority.Authority
	options   Options
	server    *http.Server
	hanging   atomic.Bool
	closed    chan struct{}
	once      sync.Once

	mu       sync.Mutex
	index    []byte
	requests []Request
}

// Serve serves a repository without charts, whose packages lie in the directory, until Close.
func Serve(ctx context.Context, dir string, o Options) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", cmp.Or(o.Addr, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}

	s := &Server{Addr: l.Addr().String(), dir: dir, options: o, closed: make(chan struct{})}

	handler := http.Handler(http.HandlerFunc(s.handle))
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}

	s.server = &http.Server{Handler: handler} //nolint:gosec // a test server: slow clients are part of the tests

	if err := errors.Join(s.secure(), s.Reindex()); err != nil {
		return nil, errors.Join(err, l.Close())
	}

	if o.TLS {
		go s.server.ServeTLS(l, "", "") //nolint:errcheck // ends with Close
	} else {
		go s.server.Serve(l) //nolint:errcheck // ends with Close
	}

	return s, nil
}

func (s *Server) secure() error {
	if !s.options.TLS {
		return nil
	}

	a, err := authority.New()
	if err != nil {
		return err
	}

	host, _, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return fmt.Errorf("split address: %w", err)
	}

	s.authority, s.CA = a, a.PEM()
	s.server.TLSConfig, err = a.ServerConfig(host, s.options.ClientAuth)

	return err
}

// URL returns the URL of the repository, without credentials.
func (s *Server) URL() string {
	if s.options.TLS {
		return "https://" + s.Addr + "/charts"
	}

	return "http://" + s.Addr + "/charts"
}

// ClientCertificate makes a certificate and key, as PEM, that a server with ClientAuth takes.
func (s *Server) ClientCertificate() (cert, key []byte, err error) {
	if s.authority == nil {
		return nil, nil, errors.New("the server has no TLS")
	}

	return s.authority.Issue("client")
}

// Add packages the charts, and makes the index anew.
func (s *Server) Add(charts ...*chart.Chart) error {
	for _, c := range charts {
		if _, err := chartutil.Save(c, s.dir); err != nil {
			return fmt.Errorf("package chart: %w", err)
		}
	}

	return s.Reindex()
}

// Package returns the package of a chart that was added.
func (s *Server) Package(name, version string) ([]byte, error) {
	return os.ReadFile(filepath.Join(s.dir, name+"-"+version+".tgz"))
}

// Reindex makes the index of the packages, in place of any other.
func (s *Server) Reindex() error {
	index, err := repo.IndexDirectory(s.dir, s.options.BaseURL)
	if err != nil {
		return fmt.Errorf("make index: %w", err)
	}

	index.SortEntries()

	raw, err := yaml.Marshal(index)
	if err != nil {
		return fmt.Errorf("encode index: %w", err)
	}

	s.SetIndex(raw)

	return nil
}

// SetIndex serves an index that need not be one.
func (s *Server) SetIndex(raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.index = raw
}

// Index returns the index that is served.
func (s *Server) Index() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.index
}

// Requests returns what was asked for so far, in the order of the answers.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Clone(s.requests)
}

// Hang makes the server take requests and never answer them, or answer again. Requests that hang already stay so.
func (s *Server) Hang(on bool) { s.hanging.Store(on) }

// Close stops the server at once.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.closed)
		_ = s.server.Close()
	})
}

func (s *Server) handle(w http.ResponseWriter, req *http.Request) {
	if s.hanging.Load() {
		select {
		case <-req.Context().Done():
		case <-s.closed:
		}

		panic(http.ErrAbortHandler) // the way to end a request without an answer
	}

	user, _, _ := req.BasicAuth()

	s.answer(&notingWriter{ResponseWriter: w, note: func(status int) {
		s.note(Request{Path: req.URL.Path, Query: req.URL.RawQuery, User: user, Status: status})
	}}, req)
}

func (s *Server) note(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.requests = append(s.requests, r)
}

func (s *Server) answer(w http.ResponseWriter, req *http.Request) {
	name, ok := strings.CutPrefix(req.URL.Path, "/charts/")

	switch {
	case !s.authorized(req):
		w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
		http.Error(w, "credentials are missing or wrong", http.StatusUnauthorized)
	case !ok:
		http.NotFound(w, req)
	case name == "index.yaml":
		s.serveIndex(w, req)
	default:
		http.ServeFileFS(w, req, os.DirFS(s.dir), name)
	}
}

// serveIndex answers with the index, or that it has not changed. Times are not good enough to tell: a digest stands for one.
func (s *Server) serveIndex(w http.ResponseWriter, req *http.Request) {
	index := s.Index()
	sum := sha256.Sum256(index)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	modified := fmt.Sprintf("Mon, 01 Jan %d 00:%02d:%02d GMT", 2000+int(sum[0])%20, sum[1]%60, sum[2]%60)

	unchanged := false

	if s.options.ETag {
		w.Header().Set("ETag", tag)

		unchanged = req.Header.Get("If-None-Match") == tag
	}

	if s.options.LastModified {
		w.Header().Set("Last-Modified", modified)

		unchanged = unchanged || req.Header.Get("If-Modified-Since") == modified
	}

	w.Header().Set("Content-Type", "text/yaml")

	switch {
	case unchanged:
		w.WriteHeader(http.StatusNotModified)
	case s.options.Gzip && strings.Contains(req.Header.Get("Accept-Encoding"), "gzip"):
		w.Header().Set("Content-Encoding", "gzip")

		zip := gzip.NewWriter(w)
		_, _ = zip.Write(index) // the client is told by the end of the connection
		_ = zip.Close()
	default:
		_, _ = w.Write(index)
	}
}

func (s *Server) authorized(req *http.Request) bool {
	o := s.options
	if o.Username == "" && o.Password == "" {
		return true
	}

	user, password, _ := req.BasicAuth()

	return equal(user, o.Username) && equal(password, o.Password)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// notingWriter notes the status of an answer before the client can see it.
type notingWriter struct {
	http.ResponseWriter

	note  func(status int)
	noted bool
}

// WriteHeader implements http.ResponseWriter.
func (w *notingWriter) WriteHeader(status int) {
	if !w.noted {
		w.noted = true
		w.note(status)
	}

	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *notingWriter) Write(p []byte) (int, error) {
	if !w.noted {
		w.WriteHeader(http.StatusOK)
	}

	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *notingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
