package registry

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// Cloud logs in to the registries of clouds.
type Cloud interface {
	// Login returns the credentials of an identity for a repository, given as <host>/<path>.
	Login(ctx context.Context, who Identity, repository string) (username, password string, err error)
}

// CloudFunc is a function as Cloud.
type CloudFunc func(ctx context.Context, who Identity, repository string) (username, password string, err error)

// Login implements Cloud.
func (f CloudFunc) Login(ctx context.Context, who Identity, repository string) (username, password string, err error) {
	return f(ctx, who, repository)
}

// Identity is who logs in to a cloud.
type Identity struct {
	// Provider is aws, azure or gcp.
	Provider string

	// Kind, Namespace and Name of the object that needs the credentials.
	Kind, Namespace, Name string

	// ServiceAccount in the namespace. Empty means the identity of the process.
	ServiceAccount string

	// Proxy on the way to the cloud, or nil.
	Proxy *url.URL
}

// Options are the parameters of Registries.
type Options struct {
	// Transports are the connections. It is required.
	Transports *ingest.Transports

	// Cloud logs in with workload identity. Nil makes that an error.
	Cloud Cloud

	// Limits of what is read. Zero fields take their defaults.
	Limits Limits

	// Moment is for how long an answer is kept for others who ask the same. Zero means 2 s.
	Moment time.Duration

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// Limits bound what is read of one repository.
type Limits struct {
	// ManifestBytes of one manifest or index. Zero means 4 MiB.
	ManifestBytes int64

	// Tags and TagBytes bound the list of tags. Zero means 200 000 and 16 MiB.
	Tags     int
	TagBytes int64
}

// Registries are the registries of all objects. What one object asks of a registry serves all who ask the same, with the same
// credentials, at the same time. It is safe for concurrent use.
type Registries struct {
	options Options

	mu       sync.Mutex
	sessions flight.Memo[flight.Fingerprint, *session]

	tokens flight.Memo[tokenKey, token]

	tags      flight.Group[flight.Fingerprint, []string]
	lookups   flight.Group[lookup, v1.Descriptor]
	manifests flight.Group[manifestKey, *Manifest]
}

// Bounds of what is kept.
const (
	maxSessions  = 1024
	maxTokens    = 16384    // one per repository
	keepTokens   = 32 << 20 // bytes
	keepTags     = 32 << 20 // bytes
	keepManifest = 16 << 20 // bytes
)

// New returns registries that nobody has talked to yet.
func New(o Options) *Registries {
	o.Moment = cmp.Or(o.Moment, 2*time.Second)
	o.Limits.ManifestBytes = cmp.Or(o.Limits.ManifestBytes, 4<<20)
	o.Limits.Tags = cmp.Or(o.Limits.Tags, 200_000)
	o.Limits.TagBytes = cmp.Or(o.Limits.TagBytes, 16<<20)

	if o.Now == nil {
		o.Now = time.Now
	}

	return &Registries{
		options:  o,
		sessions: flight.Memo[flight.Fingerprint, *session]{Size: maxSessions},
		tokens:   flight.Memo[tokenKey, token]{Size: maxTokens, Room: keepTokens, Weigh: weighToken},
		tags: flight.Group[flight.Fingerprint, []string]{
			Age: o.Moment, Room: keepTags, Weigh: weighTags, Now: o.Now,
		},
		lookups: flight.Group[lookup, v1.Descriptor]{Age: o.Moment, Now: o.Now},
		manifests: flight.Group[manifestKey, *Manifest]{
			Age: time.Minute, Room: keepManifest, Weigh: func(m *Manifest) int64 { return 2 * m.bytes }, Now: o.Now,
		},
	}
}

// Moment is how old an answer may be for an object that merely looks whether something happened.
func (r *Registries) Moment() time.Duration { return r.options.Moment }

// Access is how somebody reaches a repository. All fields are optional.
type Access struct {
	// Secret and PullSecrets hold credentials: .dockerconfigjson, .dockercfg, or username and password. Those for the longest
	// part of the repository's name count; between equals, the first ones.
	Secret      *corev1.Secret
	PullSecrets []corev1.Secret

	// TLS holds certificates.
	TLS *secrets.TLS

	// Proxy with its user information.
	Proxy *url.URL

	// Insecure allows HTTP, and without TLS, any certificate.
	Insecure bool

	// Provider of a cloud to log in to if no secret is for the repository: aws, azure, gcp. Empty or generic means none.
	Provider string

	// Kind, Namespace and Name of the object for which the repository is opened.
	Kind, Namespace, Name string

	// ServiceAccount to log in with. Empty means the identity of the process.
	ServiceAccount string
}

// Open returns a repository, given as <host>/<path>. It asks nothing of the registry, but may ask the cloud for credentials.
func (r *Registries) Open(ctx context.Context, repository string, a Access) (*Repository, error) {
	n, err := ParseName(repository, a.Insecure)
	if err != nil {
		return nil, err
	}

	auth, err := r.credentials(ctx, n, a)
	if err != nil {
		return nil, err
	}

	s, err := r.session(n.Registry, auth, a)
	if err != nil {
		return nil, err
	}

	return newRepository(r, s, n), nil
}

// ParseName returns the repository that <host>/<path> means. Names of Docker Hub may be short.
func ParseName(repository string, insecure bool) (name.Repository, error) {
	var o []name.Option
	if insecure {
		o = append(o, name.Insecure)
	}

	n, err := name.NewRepository(repository, o...)
	if err != nil || slices.ContainsFunc(strings.Split(n.RepositoryStr(), "/"), climbs) {
		return n, fmt.Errorf("%q is no name of a repository", repository)
	}

	return n, nil
}

// climbs tells whether a part of a path means something else than a part of a name.
func climbs(part string) bool { return part == "" || part == "." || part == ".." }

// session returns the session of all who reach the registry in the same way.
func (r *Registries) session(registry name.Registry, auth authn.AuthConfig, a Access) (*session, error) {
	base, id, err := r.connection(a, a.TLS)
	if err != nil {
		return nil, err
	}

	// Where blobs are is up to the registry. Who is there has no business with the certificate that is for the registry.
	away, _, err := r.connection(a, a.TLS.Authorities())
	if err != nil {
		return nil, err
	}

	proxy := ""
	if a.Proxy != nil {
		proxy = a.Proxy.String()
	}

	key := flight.FingerprintOf(registry.RegistryStr(), auth.Username, auth.Password, auth.IdentityToken, auth.RegistryToken,
		id, proxy, strconv.FormatBool(a.Insecure))

	r.mu.Lock()
	defer r.mu.Unlock()

	s, ok := r.sessions.Get(key)
	if !ok || s.base != base || s.away != away {
		known := s
		s = newSession(key, registry, auth, r)
		s.base, s.away, s.insecure = base, away, a.Insecure

		if ok { // there are too many connections, which changes nothing about the registry
			s.found, s.asked, s.closed = known.state()
		}

		r.sessions.Put(key, s)
	}

	return s, nil
}

// connection returns the transport with the certificates, and what tells it apart.
func (r *Registries) connection(a Access, certificates *secrets.TLS) (http.RoundTripper, string, error) {
	route := ingest.Route{Proxy: a.Proxy, Unverified: a.Insecure && a.TLS == nil}
	if certificates != nil {
		fingerprint := certificates.Fingerprint()
		route.ID, route.TLS = string(fingerprint[:]), certificates.Config
	}

	t, err := r.options.Transports.To(route)
	if err != nil {
		return nil, "", err //nolint:wrapcheck // the caller of Open does
	}

	return t, route.ID, nil
}
