package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// ErrNoIdentity says that a client was asked for that would act as a service account without namespace or name, or with one
// that no service account can have. It is never answered with the process's own rights instead.
var ErrNoIdentity = errors.New("a service account has a namespace and a name")

// Options of a Factory. The zero value is usable.
type Options struct {
	// UserAgent is sent with each request. Empty stands for client-go's default.
	UserAgent string
	// Transport wraps what carries the requests of all clients: it sees each HTTP exchange, retries and watches
	// included.
	Transport func(http.RoundTripper) http.RoundTripper
	// Clock tells the age of what is cached. Nil stands for the machine's.
	Clock clock.PassiveClock
	// MaxInFlight is how far the number of concurrent requests may grow. Watches do not count. Zero stands for 128.
	MaxInFlight int
	// Room is for the answers of a remote cluster, and for what is kept of what it serves. Nil has no bounds.
	Room *Room
}

// Factory makes the clients of one cluster. Its methods may be called concurrently.
type Factory struct {
	rest    *rest.RESTClient
	limiter *limiter
	kinds   *kinds
	timeout time.Duration // of a request, zero for none
	own     *Client

	line  *line  // of a remote cluster
	room  *Room  // of a remote cluster, or nil
	close func() // nil: the connections stay
}

// New makes the factory of the cluster that the configuration leads to. It sends no request. The configuration is
// copied. Its rate limits are not used: the API server's priority and fairness decides, and the limiter follows it.
func New(config *rest.Config, o Options) (*Factory, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	limiter := newLimiter(o.MaxInFlight, o.Clock)
	cfg := rest.CopyConfig(config)
	cfg.QPS, cfg.Burst, cfg.RateLimiter = -1, 0, nil
	cfg.GroupVersion = &schema.GroupVersion{}
	cfg.APIPath = "/apis"
	cfg.Timeout = 0 // would end watches
	cfg.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	cfg.AcceptContentTypes, cfg.ContentType = "application/json", "application/json"
	cfg.DisableCompression = true // compressing costs the API server more than it saves the network
	cfg.WarningHandler, cfg.WarningHandlerWithContext = nil, rest.NoWarnings{}
	if o.UserAgent != "" {
		cfg.UserAgent = o.UserAgent
	}
	cfg.Wrap(limiter.observe)
	if o.Transport != nil {
		cfg.Wrap(o.Transport)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make transport for %q: %w", cfg.Host, err)
	}
	r, err := rest.RESTClientForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("make client for %q: %w", cfg.Host, err)
	}
	d, err := discovery.NewDiscoveryClientForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("make discovery client for %q: %w", cfg.Host, err)
	}
	f := &Factory{rest: r, limiter: limiter, timeout: config.Timeout, room: o.Room}
	f.kinds = newKinds(func(ctx context.Context) (*metav1.APIGroupList, map[schema.GroupVersion]*metav1.APIResourceList, map[schema.GroupVersion]error, error) {
		ctx, cancel := f.limit(ctx)
		defer cancel()
		return d.GroupsAndMaybeResourcesWithContext(ctx)
	}, o.Clock)
	f.kinds.room = o.Room
	f.own = &Client{factory: f}
	return f, nil
}

// quiet keeps client-go from logging: at some level it writes down the bodies of requests and answers, Secrets included.
func quiet(ctx context.Context) context.Context { return logr.NewContext(ctx, logr.Discard()) }

// limit bounds the time of one request, if the configuration does, and keeps it out of the log.
func (f *Factory) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = quiet(ctx)
	if f.timeout > 0 {
		return context.WithTimeout(ctx, f.timeout)
	}
	return ctx, func() {}
}

// Own returns the client that acts as the process itself.
func (f *Factory) Own() *Client { return f.own }

// As returns a client that acts as the service account. Clients cost nothing: none is kept, for anybody may name any number
// of accounts. The error is that of CheckAccount.
func (f *Factory) As(namespace, name string) (*Client, error) {
	identity, err := identityOf(namespace, name)
	if err != nil {
		return nil, err
	}
	return &Client{factory: f, identity: identity}, nil
}

// identityOf returns the user that a service account is.
func identityOf(namespace, name string) (string, error) {
	if err := CheckAccount(namespace, name); err != nil {
		return "", err
	}
	return "system:serviceaccount:" + namespace + ":" + name, nil
}

// CheckAccount returns an error unless a service account can have the name, in a namespace of the other. Anything else would
// make another identity than the two say: the colons of a user name part the namespace from the name. It wraps ErrNoIdentity.
func CheckAccount(namespace, name string) error {
	problems := append(content.IsDNS1123Label(namespace), content.IsDNS1123Subdomain(name)...)
	if len(problems) == 0 {
		return nil
	}
	err := fmt.Errorf("impersonate service account %q of namespace %q: %w", name, namespace, ErrNoIdentity)
	if namespace == "" || name == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, problems[0])
}

// Learn takes over what an established CustomResourceDefinition serves, so that its kinds need no discovery.
func (f *Factory) Learn(definition *unstructured.Unstructured) { f.kinds.learn(definition) }

// Invalidate makes the next look-up of an unknown kind ask the API server again, however recently it was asked.
func (f *Factory) Invalidate() { f.kinds.invalidate() }
