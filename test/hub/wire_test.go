package hub

import (
	"bytes"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// wire leads to a cluster. Whoever has its token may do there what the administrator may, and it knows of everybody else who tried.
type wire struct {
	t      *testing.T
	token  string
	server *httptest.Server
	broken atomic.Bool // ends every connection without an answer
	// slow holds writes back until it is closed, or who asked has lost interest. Nil for not at all.
	slow  atomic.Pointer[chan struct{}]
	holds atomic.Int64 // how many there were
	asked atomic.Int64 // requests

	// rename is a name that the one who asks knows by another than the cluster, and only is a label selector that is added to those of
	// requests. Set before anybody asks.
	rename *renaming
	only   string

	mu        sync.Mutex
	strangers []string
}

func newWire(t *testing.T, config *rest.Config, token string) *wire {
	t.Helper()

	to, err := url.Parse(config.Host)
	must(t, err)
	transport, err := rest.TransportFor(config)
	must(t, err)

	w := &wire{t: t, token: token}
	pass := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Authorization")
			w.outward(r.Out)
		},
		ModifyResponse: w.inward,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(answer http.ResponseWriter, req *http.Request) {
		w.serve(answer, req, pass)
	}))
	w.server.EnableHTTP2 = true
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.StartTLS()
	t.Cleanup(func() {
		w.server.CloseClientConnections()
		w.server.Close()
	})

	return w
}

func (w *wire) serve(answer http.ResponseWriter, req *http.Request, pass http.Handler) {
	if w.broken.Load() {
		panic(http.ErrAbortHandler)
	}

	w.asked.Add(1)

	if got := req.Header.Get("Authorization"); got != "Bearer "+w.token || len(req.TLS.PeerCertificates) > 0 || req.Header.Get("Impersonate-User") != "" {
		w.mu.Lock()
		w.strangers = append(w.strangers, got+" "+req.Method+" "+req.URL.Path)
		w.mu.Unlock()
	}

	if slow := w.slow.Load(); slow != nil && req.Method == http.MethodPatch {
		w.holds.Add(1)

		select {
		case <-*slow:
		case <-req.Context().Done():
			return
		}
	}

	pass.ServeHTTP(answer, req)
}

// breakDown ends all connections, and all that are tried from now on.
func (w *wire) breakDown() {
	w.broken.Store(true)
	w.server.CloseClientConnections()
}

// intruders returns the requests that did not have the token.
func (w *wire) intruders() []string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Clone(w.strangers)
}

func (w *wire) config() *rest.Config {
	return &rest.Config{Host: w.server.URL, BearerToken: w.token, TLSClientConfig: rest.TLSClientConfig{
		CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw}),
	}}
}

func (w *wire) kubeconfig() []byte {
	w.t.Helper()

	config := w.config()
	c := api.NewConfig()
	c.Clusters["c"] = &api.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	c.AuthInfos["u"] = &api.AuthInfo{Token: config.BearerToken}
	c.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"

	raw, err := clientcmd.Write(*c)
	must(w.t, err)

	return raw
}

// renaming is a name on both sides of a wire. Both are of one length, so that nothing that holds one has another length.
type renaming struct{ inside, outside string }

// outward changes the names in a request into those that the cluster knows.
func (w *wire) outward(req *http.Request) {
	if w.rename == nil {
		return
	}

	req.URL.Path = strings.ReplaceAll(req.URL.Path, w.rename.inside, w.rename.outside)
	req.URL.RawQuery = strings.ReplaceAll(req.URL.RawQuery, w.rename.inside, w.rename.outside)

	if q := req.URL.Query(); q.Has("labelSelector") {
		q.Set("labelSelector", q.Get("labelSelector")+","+w.only)
		req.URL.RawQuery = q.Encode()
	}

	req.Header.Del("Accept-Encoding") // what is compressed has no name

	if req.Body != nil {
		req.Body = &renamed{from: req.Body, old: w.rename.inside, next: w.rename.outside}
	}
}

// inward changes the names in a response into those that who asks knows.
func (w *wire) inward(resp *http.Response) error {
	if w.rename != nil {
		resp.Body = &renamed{from: resp.Body, old: w.rename.outside, next: w.rename.inside}
	}

	return nil
}

// renamed is a body with another name. What may be the begin of it is held back until the rest has come.
type renamed struct {
	from      io.ReadCloser
	old, next string

	held, ready []byte
	err         error
}

// Read implements io.Reader.
func (r *renamed) Read(into []byte) (int, error) {
	for len(r.ready) == 0 && r.err == nil {
		buffer := make([]byte, 32<<10)

		var n int
		n, r.err = r.from.Read(buffer)
		r.take(append(r.held, buffer[:n]...))
	}

	n := copy(into, r.ready)
	r.ready = r.ready[n:]

	if len(r.ready) > 0 {
		return n, nil
	}

	return n, r.err
}

func (r *renamed) take(chunk []byte) {
	chunk = bytes.ReplaceAll(chunk, []byte(r.old), []byte(r.next))
	hold := 0

	for i := min(len(r.old)-1, len(chunk)); i > 0 && hold == 0 && r.err == nil; i-- {
		if bytes.HasSuffix(chunk, []byte(r.old[:i])) {
			hold = i
		}
	}

	r.ready, r.held = chunk[:len(chunk)-hold], bytes.Clone(chunk[len(chunk)-hold:])
}

// Close implements io.Closer.
func (r *renamed) Close() error { return r.from.Close() }
