package hub

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
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
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	w.server = httptest.NewTLSServer(http.HandlerFunc(func(answer http.ResponseWriter, req *http.Request) {
		w.serve(answer, req, pass)
	}))
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
