package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

var (
	// errLoanReads says that a library tried to change the cluster by what it may only look with.
	errLoanReads = errors.New("what a library is lent only reads objects")
	// errLoanDiscovery says that a library would keep what the cluster serves a second time.
	errLoanDiscovery = errors.New("a library is told what the cluster serves, and does not discover it")
)

// Loan is what a library gets that insists on clients of its own making: a configuration that leads through a Client. Whatever
// is made of it has the identity of the client and its limits, ends with the context of the loan, holds no credentials, and
// reads only. It is a RESTClientGetter of Helm's. Its methods may be called concurrently.
type Loan struct {
	ctx    context.Context //nolint:containedctx // libraries give none along
	client *Client

	mu      sync.Mutex
	answers map[string][]byte // by path, of what the API server serves in a version
}

// Lend makes a loan that ends with the context. It sends no request.
func (c *Client) Lend(ctx context.Context) *Loan {
	return &Loan{ctx: ctx, client: c, answers: map[string][]byte{}}
}

// ToRESTConfig returns the configuration.
func (l *Loan) ToRESTConfig() (*rest.Config, error) {
	return &rest.Config{Host: "http://loan.invalid", Transport: l, QPS: -1, WarningHandlerWithContext: rest.NoWarnings{}}, nil
}

// ToDiscoveryClient returns an error: see Client.Served.
func (*Loan) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return nil, errLoanDiscovery
}

// ToRESTMapper returns an error: see Client.Mapping.
func (*Loan) ToRESTMapper() (apimeta.RESTMapper, error) { return nil, errLoanDiscovery }

// REST returns a client for a version of a group, with a library's own way to encode objects.
func (l *Loan) REST(gv schema.GroupVersion, content rest.ContentConfig) (*rest.RESTClient, error) {
	return l.through(l, gv, content)
}

// Nothing returns a client as REST does for which no object exists. It sends no request. It is for libraries that look whether objects
// exist where that makes no difference.
func (l *Loan) Nothing(gv schema.GroupVersion, content rest.ContentConfig) (*rest.RESTClient, error) {
	return l.through(nothing{}, gv, content)
}

func (l *Loan) through(t http.RoundTripper, gv schema.GroupVersion, content rest.ContentConfig) (*rest.RESTClient, error) {
	config, err := l.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.APIPath = "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.ContentConfig = content
	config.GroupVersion = &gv
	client, err := rest.RESTClientForConfigAndClient(config, &http.Client{Transport: t})
	if err != nil {
		return nil, fmt.Errorf("make a client for %q: %w", gv, err)
	}
	return client, nil
}

// RoundTrip implements http.RoundTripper over the client.
func (l *Loan) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || req.URL.Query().Has("watch") {
		return nil, errLoanReads
	}
	if l.ctx.Err() != nil { // what ends the request below takes a moment
		return nil, context.Cause(l.ctx)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	raw, err := l.get(ctx, req)
	code := http.StatusOK
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		if raw, code, err = refusal(status.Status()); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return respond(req, code, raw), nil
}

func respond(req *http.Request, code int, raw []byte) *http.Response {
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {acceptJSON}}, Body: io.NopCloser(bytes.NewReader(raw)), ContentLength: int64(len(raw)),
	}
}

// nothing is a cluster without objects.
type nothing struct{}

// RoundTrip implements http.RoundTripper.
func (nothing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return nil, errLoanReads
	}
	raw, code, err := refusal(apierrors.NewNotFound(schema.GroupResource{}, "").Status())
	if err != nil {
		return nil, err
	}
	return respond(req, code, raw), nil
}

// get reads what a request asks for. What is served in a version is asked for once.
func (l *Loan) get(ctx context.Context, req *http.Request) ([]byte, error) {
	path := req.URL.Path
	served := isVersion(path)
	l.mu.Lock()
	known := l.answers[path]
	l.mu.Unlock()
	if served && known != nil {
		return known, nil
	}
	raw, err := l.client.do(ctx, schema.GroupKind{}, l.client.request("GET").RequestURI(req.URL.RequestURI()))
	if err == nil && served {
		l.mu.Lock()
		l.answers[path] = raw
		l.mu.Unlock()
	}
	return raw, err
}

// isVersion tells the paths that say what is served in a version of a group.
func isVersion(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	return (len(parts) == 2 && parts[0] == "api") || (len(parts) == 3 && parts[0] == "apis")
}

// refusal writes the answer of the API server down again.
func refusal(s metav1.Status) (raw []byte, code int, err error) {
	s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	if raw, err = json.Marshal(s); err != nil {
		return nil, 0, fmt.Errorf("encode a refusal: %w", err)
	}
	if code = int(s.Code); code < http.StatusBadRequest {
		code = http.StatusInternalServerError
	}
	return raw, code, nil
}
