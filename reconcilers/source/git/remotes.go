package git

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// RemotesOptions are the parameters of Remotes.
type RemotesOptions struct {
	// Dir is where clones lie, in files without names. It has to be there. Empty means the directory for temporary files.
	Dir string

	// Limits of one clone.
	Limits ingest.PackLimits

	// Proxy returns the proxy of an HTTP request. Nil means none.
	Proxy func(*http.Request) (*url.URL, error)

	// Allow decides on the addresses of servers. Nil allows all.
	Allow ingest.AllowAddr

	// SSHKeyExchanges and SSHHostKeys are the algorithms that are offered to SSH servers. Empty means the defaults, and the
	// types of the keys that are known.
	SSHKeyExchanges, SSHHostKeys []string

	// Moment is for how long a listing of references is news to an object that merely looks whether something happened. Zero
	// means 2 s.
	Moment time.Duration

	// IdleBytes and IdleAge bound the clones that are kept for others who may want the same commit. Zero means 256 MiB and
	// 1 min.
	IdleBytes int64
	IdleAge   time.Duration

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// Remotes are the repositories of all objects. What one object asks of a server serves all that ask the same, with the same
// credentials, at the same time. It is safe for concurrent use.
type Remotes struct {
	options  RemotesOptions
	listings flight.Group[remoteKey, *listing]
	clones   flight.Group[cloneKey, *clone]
	keys     flight.Memo[flight.Fingerprint, sshKeys]

	mu      sync.Mutex
	clients map[flight.Fingerprint]*http.Client // by what TLS needs
}

// remoteKey is a repository as somebody sees it.
type remoteKey struct {
	url         string
	credentials flight.Fingerprint
}

// cloneKey is a commit in a repository, and how it was looked for.
type cloneKey struct {
	remote       remoteKey
	want, within plumbing.Hash
}

// clone is a commit with all its files.
type clone struct {
	pack   *ingest.Pack
	commit *object.Commit
}

// maxClients bounds the HTTP clients that are kept open, one for each authority or client certificate.
const maxClients = 64

// maxKeys bounds the keys for SSH that are kept ready for use. Those with more than maxKnownHosts bytes of host keys are not
// kept.
const (
	maxKeys       = 1024
	maxKnownHosts = 64 << 10
)

// maxListings bounds the listings that are kept for a moment, in bytes.
const maxListings = 32 << 20

// NewRemotes returns remotes that nobody has looked at yet.
func NewRemotes(o RemotesOptions) *Remotes {
	o.Dir = cmp.Or(o.Dir, os.TempDir())
	o.Moment = cmp.Or(o.Moment, 2*time.Second)
	o.IdleBytes = cmp.Or(o.IdleBytes, 256<<20)
	o.IdleAge = cmp.Or(o.IdleAge, time.Minute)

	if o.Now == nil {
		o.Now = time.Now
	}

	return &Remotes{
		options: o,
		listings: flight.Group[remoteKey, *listing]{
			Age: o.Moment, Room: maxListings, Weigh: (*listing).weight, Now: o.Now,
		},
		clones: flight.Group[cloneKey, *clone]{
			Age: o.IdleAge, Room: o.IdleBytes, Now: o.Now,
			Weigh: func(c *clone) int64 { return c.pack.Weight() },
			Drop:  func(c *clone) { c.pack.Close() },
		},
		keys:    flight.Memo[flight.Fingerprint, sshKeys]{Size: maxKeys},
		clients: map[flight.Fingerprint]*http.Client{},
	}
}

// remote is a repository with the credentials of an object.
type remote struct {
	remotes *Remotes
	key     remoteKey
	shown   string // the URL as it may be shown

	transport transport
}

// open returns the repository at the URL, with the credentials of a Secret, which may be nil. It talks to nobody.
func (r *Remotes) open(raw string, secret *corev1.Secret) (*remote, error) {
	u, err := parseURL(raw)
	if err != nil {
		return nil, err
	}

	c, err := readCredentials(u, secret)
	if err != nil {
		return nil, err
	}

	u.User, u.RawQuery, u.Fragment = nil, "", ""
	m := &remote{remotes: r, key: remoteKey{url: u.String(), credentials: c.fingerprint()}, shown: u.String()}

	if u.Scheme == schemeSSH {
		keys, err := r.sshKeys(m.key.credentials, c)
		if err != nil {
			return nil, err
		}

		a := sshAlgorithms{keyExchanges: r.options.SSHKeyExchanges, hostKeys: r.options.SSHHostKeys}
		m.transport = newSSHTransport(ingest.NewDialer(r.options.Allow), a, u, c.user, keys)

		return m, nil
	}

	client, err := r.client(c)
	if err != nil {
		return nil, err
	}

	m.transport = newHTTPTransport(client, u, c)

	return m, nil
}

// sshKeys returns the credentials ready for use. They are prepared once.
func (r *Remotes) sshKeys(f flight.Fingerprint, c credentials) (sshKeys, error) {
	if k, ok := r.keys.Get(f); ok {
		return k, nil
	}

	k, err := c.sshKeys(r.options.Dir)
	if err != nil {
		return sshKeys{}, err
	}

	if len(c.knownHosts) <= maxKnownHosts {
		r.keys.Put(f, k)
	}

	return k, nil
}

// maxURL is the longest URL. It is kept with each thing that is remembered of a repository.
const maxURL = 4096

// parseURL reads a URL. Its errors do not repeat it, for it may hold a password.
func parseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("failed to parse url: it has more than %d bytes", maxURL)
	}

	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("failed to parse url '%s': %w", ingest.Redact(raw), ingest.RedactError(err))
	}

	switch u.Scheme {
	case "http", "https", "ssh":
	default:
		return nil, fmt.Errorf("failed to parse url '%s': the scheme is none of http, https and ssh", ingest.Redact(raw))
	}

	if u.Host == "" {
		return nil, fmt.Errorf("failed to parse url '%s': there is no host", ingest.Redact(raw))
	}

	return u, nil
}

// client returns the HTTP client for what the credentials say about TLS. It is shared, so that connections are.
func (r *Remotes) client(c credentials) (*http.Client, error) {
	key := flight.FingerprintOf(string(c.ca), string(c.cert), string(c.key))

	r.mu.Lock()
	defer r.mu.Unlock()

	if have, ok := r.clients[key]; ok {
		return have, nil
	}

	config, err := c.tls()
	if err != nil {
		return nil, err
	}

	for old := range r.clients {
		if len(r.clients) < maxClients {
			break
		}

		r.clients[old].CloseIdleConnections()
		delete(r.clients, old)
	}

	t := ingest.NewTransport(ingest.HTTPOptions{TLS: config, Proxy: r.options.Proxy, Allow: r.options.Allow})
	r.clients[key] = ingest.NewClient(t, maxBody)

	return r.clients[key], nil
}

// list returns what the server advertises, not longer ago than since.
func (m *remote) list(ctx context.Context, since time.Time) (*listing, error) {
	l, release, err := m.remotes.listings.Join(ctx, m.key, since, func(ctx context.Context) (*listing, error) {
		adv, err := m.transport.list(ctx)
		if err != nil {
			return nil, err
		}

		return &listing{AdvRefs: adv, transport: m.transport}, nil
	})
	if err != nil {
		return nil, err
	}

	release() // it is only memory, and we hold it

	return l, nil
}
