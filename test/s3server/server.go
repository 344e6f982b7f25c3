package s3server

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the etag of S3
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Options say how the server is reached, and by whom.
type Options struct {
	// Addr to listen on, as host:port. Empty means a free port of the loopback interface.
	Addr string

	// Keys are the secrets by their access keys. Nil lets everybody in who signs nothing.
	Keys map[string]string

	// LDAP are the passwords by their user names, for which the server gives temporary keys.
	LDAP map[string]string

	// Domains under which every bucket has a host of its own, such as s3.example.com.
	Domains []string

	// Issued are the keys that are taken in place of Keys, such as those of a security token service. Nil means none.
	Issued *Keys

	// TLS serves HTTPS with a certificate that an own authority signed: see Server.CA.
	TLS bool

	// ClientAuth makes TLS ask for a certificate of the same authority: see Server.ClientCertificate.
	ClientAuth bool
}

// Request is one that the server got.
type Request struct {
	// Method, Path and Query as they were sent.
	Method, Path, Query string

	// AccessKey that signed it, or empty.
	AccessKey string

	// Status of the answer.
	Status int
}

// Listing tells whether it asks for the objects of a bucket.
func (r Request) Listing() bool { return strings.Contains(r.Query, "list-type=2") }

// Content tells whether it asks for an object.
func (r Request) Content() bool {
	return r.Method == http.MethodGet && r.Query == "" && strings.Contains(strings.Trim(r.Path, "/"), "/")
}

// Server is an S3 server. Its methods may be called from several goroutines.
type Server struct {
	// Addr is where it listens.
	Addr string

	// CA is the PEM certificate of the authority, if TLS is on.
	CA []byte

	options   Options
	backend   *s3mem.Backend
	s3        http.Handler
	keys      *Keys
	server    *http.Server
	authority *Authority
	conns     atomic.Int64
	before    atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]

	mu       sync.Mutex
	requests []Request
}

// New returns a server that is not listening yet.
func New(o Options) *Server {
	s := &Server{options: o, backend: s3mem.New(), keys: o.Issued}
	if s.keys == nil {
		s.keys = NewKeys(o.Keys)
	}

	s.s3 = gofakes3.New(s.backend, gofakes3.WithoutVersioning(), gofakes3.WithHostBucketBase(o.Domains...)).Server()

	return s
}

// Start returns a server that listens until Close.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}

	s := New(o)
	s.Addr = l.Addr().String()
	s.server = &http.Server{Handler: s, ConnState: s.count} //nolint:gosec // a test server: slow clients are part of the tests

	if !o.TLS {
		go s.server.Serve(l) //nolint:errcheck // ends with Close

		return s, nil
	}

	if err := s.secure(); err != nil {
		_ = l.Close()

		return nil, err
	}

	go s.server.ServeTLS(l, "", "") //nolint:errcheck // ends with Close

	return s, nil
}

// Close stops the server.
func (s *Server) Close() {
	if s.server != nil {
		_ = s.server.Close()
	}
}

// URL of the server, which also is that of its security token service.
func (s *Server) URL() string {
	if s.options.TLS {
		return "https://" + s.Addr
	}

	return "http://" + s.Addr
}

// MakeBucket makes a bucket.
func (s *Server) MakeBucket(bucket string) error { return s.backend.CreateBucket(bucket) }

// RemoveBucket removes a bucket with all its objects.
func (s *Server) RemoveBucket(bucket string) error { return s.backend.ForceDeleteBucket(bucket) }

// Put stores an object and returns its etag.
func (s *Server) Put(bucket, key, content string) (etag string, err error) {
	header := map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)}
	_, err = s.backend.PutObject(bucket, key, header, bytes.NewReader([]byte(content)), int64(len(content)), nil)

	return ETag(content), err
}

// Delete removes an object.
func (s *Server) Delete(bucket, key string) error {
	_, err := s.backend.DeleteObject(bucket, key)

	return err
}

// Keys that the server takes.
func (s *Server) Keys() *Keys { return s.keys }

// Before calls a function with every request first, which tells whether it has answered. Nil means none.
func (s *Server) Before(f func(http.ResponseWriter, *http.Request) bool) {
	if f == nil {
		s.before.Store(nil)

		return
	}

	s.before.Store(&f)
}

// Requests returns what the server got since the last call.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()

	all := s.requests
	s.requests = nil

	return all
}

// Connections returns how many there were since the last call.
func (s *Server) Connections() int64 { return s.conns.Swap(0) }

func (s *Server) count(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.conns.Add(1)
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	note := Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery}
	answer := &answer{ResponseWriter: w, status: http.StatusOK}

	note.AccessKey = s.answer(answer, r)
	note.Status = answer.status

	s.mu.Lock()
	defer s.mu.Unlock()

	s.requests = append(s.requests, note)
}

// answer returns the access key of the request.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) string {
	if before := s.before.Load(); before != nil && (*before)(w, r) {
		return ""
	}

	if r.Method == http.MethodPost && r.URL.Path == "/" {
		s.serveSTS(w, r)

		return ""
	}

	if s.options.Keys == nil && s.options.LDAP == nil && s.options.Issued == nil && r.Header.Get("Authorization") == "" {
		s.s3.ServeHTTP(w, r)

		return ""
	}

	key, err := s.keys.Check(r, "s3")
	if err != nil {
		refuse(w, http.StatusForbidden, err)

		return key
	}

	s.s3.ServeHTTP(w, r)

	return key
}

// refuse answers as S3 does.
func refuse(w http.ResponseWriter, status int, err *SignatureError) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)

	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: err.Code, Message: err.Message})
}

// answer notes the status.
type answer struct {
	http.ResponseWriter

	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// lifetime of temporary keys.
const lifetime = time.Hour

// ETag of an object with the content.
func ETag(content string) string {
	sum := md5.Sum([]byte(content)) //nolint:gosec // the etag of S3

	return hex.EncodeToString(sum[:])
}
