package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	remoteTimeout     = 30 * time.Second
	remoteDial        = 10 * time.Second
	remoteMaxInFlight = 32
	remoteIdle        = 90 * time.Second
)

// NewRemote makes the factory of another cluster. It sends no request. Nothing of the target is trusted: a request takes
// 30 s at most, answers are bounded, redirects and the metadata services of clouds are refused, and a server that does not answer
// is left in peace for a while, in which requests fail at once with an *UnreachableError. All clients of the factory act as the
// target says, also those of Own. Close ends its connections.
func NewRemote(t *Target, o Options) (*Factory, error) {
	config := rest.CopyConfig(t.config)
	config.Timeout = remoteTimeout

	if o.MaxInFlight == 0 {
		o.MaxInFlight = remoteMaxInFlight
	}

	closeIdle := func() {}

	if config.ExecProvider == nil { // a program may give certificates, which only client-go's own transport takes
		transport, err := transportOf(config)
		if err != nil {
			return nil, err
		}

		config.Transport, config.TLSClientConfig, config.Proxy, config.Dial = transport, rest.TLSClientConfig{}, nil, nil
		closeIdle = transport.CloseIdleConnections
	}

	line := newLine(o.Clock)
	line.room = o.Room

	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return line.wrap(bearer(t.token, next))
	})

	f, err := New(config, o)
	if err != nil {
		return nil, err
	}

	f.line, f.close = line, closeIdle

	return f, nil
}

// transportOf makes the connections to a remote cluster. client-go's own are kept for the life of the process; these go
// with their factory.
func transportOf(config *rest.Config) (*http.Transport, error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, errors.New("the certificates of the remote cluster cannot be read") // the error may quote them
	}

	proxy := config.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}

	dialer := ingest.NewDialer(ingest.RefuseLinkLocal) // who writes a kubeconfig names the server and the proxy
	dialer.Timeout, dialer.KeepAlive = remoteDial, remoteTimeout

	return utilnet.SetTransportDefaults(&http.Transport{
		Proxy: proxy, TLSClientConfig: tlsConfig, TLSHandshakeTimeout: remoteDial, DisableCompression: true,
		DialContext:     dialer.DialContext,
		IdleConnTimeout: remoteIdle, MaxIdleConnsPerHost: remoteMaxInFlight,
		MaxResponseHeaderBytes: 1 << 20,
	}), nil
}

// bearer sets the token of the source.
func bearer(token TokenSource, next http.RoundTripper) http.RoundTripper {
	if token == nil {
		return next
	}

	return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
		value, err := token(req.Context())
		if err != nil {
			return nil, fmt.Errorf("get a token: %w", err)
		}

		if value == "" {
			return nil, fmt.Errorf("get a token: %w", ErrNoIdentity)
		}

		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+value)

		return next.RoundTrip(req)
	})
}

// Close ends the connections of a remote cluster that nobody uses. Who made the factory has ended its requests and watches
// before.
func (f *Factory) Close() {
	if f.close != nil {
		f.close()
	}
	f.kinds.close()
}

// Down returns why and until when a remote cluster is left in peace, or nil.
func (f *Factory) Down() *UnreachableError {
	if f.line == nil {
		return nil
	}

	return f.line.down()
}

// Broken tells whether the last thing that a remote cluster did was not to answer, however long ago.
func (f *Factory) Broken() bool { return f.line != nil && f.line.broken() }

// Probe asks a remote cluster whether it is there and knows us, even if it is left in peace. Not being allowed to know its
// version is an answer, too. One that says that it is out of order, or has too much to do, is not there.
func (f *Factory) Probe(ctx context.Context) error {
	ctx, cancel := f.limit(context.WithValue(ctx, probing{}, true))
	defer cancel()

	err := f.own.request("GET").MaxRetries(0).AbsPath("version").Do(ctx).Error()

	var status apierrors.APIStatus
	if errors.As(err, &status) && refuses(int(status.Status().Code)) {
		return nil
	}

	return err
}

// refuses tells the status of an answer of a server that is well, and does not give what it is asked for, from those of one that
// does not know us, has too much to do, or is out of order, as what stands in front of it says.
func refuses(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}

	return code >= http.StatusBadRequest && code < http.StatusInternalServerError
}
