package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/weir-dev/weir/test/authority"
)

// Gate stands between a manager and the API server. It counts what goes through, can be told to stop everything at exactly
// one request, and goes down as an API server that is killed.
//
// Whoever comes through it acts as the administrator, whatever the token is, unless it impersonates somebody.
type Gate struct {
	address    string
	authority  *authority.Authority
	kubeconfig string
	proxy      *httputil.ReverseProxy

	mu       sync.Mutex
	server   *http.Server // nil while the gate is down
	requests map[string]int
	watches  map[string]int // that are open
	trap     *Trap
	refused  func(Request) bool
}

// Request is what a trap is set for.
type Request struct {
	// Verb is one of apply, dry-run, patch, create, update, delete, get, list and watch.
	Verb string
	// Path and Query are those of the URL.
	Path  string
	Query url.Values
	// Body of a patch.
	Body []byte
}

// NewGate opens a gate to the API server. Its kubeconfig is put into the folder.
func NewGate(config *rest.Config, dir string) (*Gate, error) {
	to, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}

	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("make transport: %w", err)
	}

	g := &Gate{kubeconfig: filepath.Join(dir, "gate.kubeconfig"), requests: map[string]int{}, watches: map[string]int{}}
	if g.authority, err = authority.New(); err != nil {
		return nil, err
	}

	g.proxy = &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Authorization")
		},
		// A connection that breaks behind the gate breaks before it.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}

	if err := g.Open(); err != nil {
		return nil, err
	}

	content, err := g.Config("manager")
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}

	return g, os.WriteFile(g.kubeconfig, content, 0o600)
}

// Config returns a kubeconfig of somebody with the token.
func (g *Gate) Config(token string) ([]byte, error) {
	c := api.NewConfig()
	c.Clusters["gate"] = &api.Cluster{Server: "https://" + g.address, CertificateAuthorityData: g.authority.PEM()}
	c.AuthInfos["gate"] = &api.AuthInfo{Token: token}
	c.Contexts["gate"] = &api.Context{Cluster: "gate", AuthInfo: "gate"}
	c.CurrentContext = "gate"

	content, err := clientcmd.Write(*c)
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}

	return content, nil
}

// Kubeconfig returns the path of the one for the manager.
func (g *Gate) Kubeconfig() string { return g.kubeconfig }

// Open opens the gate, at the address that it always had.
func (g *Gate) Open() error {
	address := g.address
	if address == "" {
		address = "127.0.0.1:0"
	}

	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("open the gate: %w", err)
	}

	g.address = listener.Addr().String()

	config, err := g.authority.ServerConfig("127.0.0.1", false)
	if err != nil {
		return errors.Join(err, listener.Close())
	}

	server := &http.Server{ //nolint:gosec // nobody but the manager comes
		Handler: http.HandlerFunc(g.handle), TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0),
	}

	g.mu.Lock()
	g.server = server
	g.mu.Unlock()

	go server.ServeTLS(listener, "", "") //nolint:errcheck // ends with Close

	return nil
}

// Close closes the gate and breaks all connections.
func (g *Gate) Close() error {
	g.mu.Lock()
	server := g.server
	g.server = nil
	g.mu.Unlock()

	if server == nil {
		return nil
	}

	return server.Close()
}

// Refuse lets no request through that the function is true of: its connection breaks. Nil lets all through.
func (g *Gate) Refuse(match func(Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.refused = match
}

// Requests returns how many requests of each verb have come so far.
func (g *Gate) Requests() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()

	return maps.Clone(g.requests)
}

// Watches returns how many of each watch are open, by what they are about and whose they are.
func (g *Gate) Watches() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()

	return maps.Clone(g.watches)
}

func (g *Gate) handle(w http.ResponseWriter, r *http.Request) {
	req, err := requestOf(r)
	if err != nil {
		panic(http.ErrAbortHandler) // the connection is broken
	}

	g.mu.Lock()
	g.requests[req.Verb]++
	trap, refused := g.trap, g.refused
	g.mu.Unlock()

	if refused != nil && refused(req) {
		panic(http.ErrAbortHandler)
	}

	switch {
	case req.Verb == "watch":
		defer g.watching(req, r.Header.Get("Authorization"))()
		fallthrough
	case trap == nil:
		g.proxy.ServeHTTP(w, r)
	default:
		trap.handle(w, r, req, g.proxy)
	}
}

// watching counts a watch until the returned function is called.
func (g *Gate) watching(req Request, token string) func() {
	name := fmt.Sprintf("%s %s %s %s", strings.TrimPrefix(token, "Bearer "), req.Path,
		req.Query.Get("labelSelector"), req.Query.Get("fieldSelector"))

	g.mu.Lock()
	defer g.mu.Unlock()

	g.watches[name]++

	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()

		if g.watches[name]--; g.watches[name] == 0 {
			delete(g.watches, name)
		}
	}
}

func requestOf(r *http.Request) (Request, error) {
	req := Request{Verb: strings.ToLower(r.Method), Path: r.URL.Path, Query: r.URL.Query()}

	switch r.Method {
	case http.MethodGet:
		switch {
		case req.Query.Has("watch"):
			req.Verb = "watch"
		case req.Query.Has("limit"):
			req.Verb = "list"
		}
	case http.MethodPatch:
		switch {
		case req.Query.Has("dryRun"):
			req.Verb = "dry-run"
		case strings.Contains(r.Header.Get("Content-Type"), "apply-patch"):
			req.Verb = "apply"
		}

		return req, req.read(r)
	case http.MethodPost:
		req.Verb = "create"
	case http.MethodPut:
		req.Verb = "update"
	}

	return req, nil
}

// read keeps the body, and leaves it to be read once more.
func (req *Request) read(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}

	req.Body, r.Body = body, io.NopCloser(strings.NewReader(string(body)))

	return nil
}
