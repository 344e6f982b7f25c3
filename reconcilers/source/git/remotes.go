package git

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/git/github"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

// RemotesOptions are the parameters of Remotes.
type RemotesOptions struct {
	// Transports reach servers over HTTP. Its guard counts for SSH as well. Nil means such without a guard and a proxy.
	Transports *ingest.Transports

	// SSHKeyExchanges and SSHHostKeys are the algorithms that are offered to SSH servers. Empty means the defaults, and the
	// types of the keys that are known.
	SSHKeyExchanges, SSHHostKeys []string

	// Dir is where clones lie, in files without names. It has to be there. Empty means the directory for temporary files.
	Dir string

	// Limits of one clone.
	Limits ingest.PackLimits

	// Submodules limits those of one artifact.
	Submodules SubmoduleLimits

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
	network  *transport.Network
	tokens   *github.Tokens
	listings flight.Group[remoteKey, *listing]
	clones   flight.Group[cloneKey, *clone]
	looks    flight.Group[cloneKey, facts]
	facts    flight.Memo[cloneKey, facts]
}

// remoteKey is a repository as somebody sees it.
type remoteKey struct {
	url    string
	access flight.Fingerprint
}

// cloneKey is a commit in a repository, and how it was looked for.
type cloneKey struct {
	remote       remoteKey
	want, within plumbing.Hash
	anywhere     bool
}

// clone is a commit with all its files.
type clone struct {
	pack   *ingest.Pack
	commit *object.Commit
	facts  facts
}

// weight is about what a clone takes, in bytes: the raw objects, and the message of the commit once more.
func (c *clone) weight() int64 {
	weight := c.pack.Weight() + int64(len(c.commit.Message))
	for _, raw := range c.facts.raw {
		weight += int64(len(raw))
	}

	return weight
}

// maxListings bounds the listings that are kept for a moment, in bytes.
const maxListings = 32 << 20

// NewRemotes returns remotes that nobody has looked at yet.
func NewRemotes(o RemotesOptions) *Remotes {
	o.Dir = cmp.Or(o.Dir, os.TempDir())
	o.Moment = cmp.Or(o.Moment, 2*time.Second)
	o.IdleBytes = cmp.Or(o.IdleBytes, 256<<20)
	o.IdleAge = cmp.Or(o.IdleAge, time.Minute)
	o.Submodules = o.Submodules.orDefaults()

	if o.Now == nil {
		o.Now = time.Now
	}

	if o.Transports == nil {
		o.Transports = &ingest.Transports{}
	}

	return &Remotes{
		options: o,
		network: transport.NewNetwork(transport.Options{
			Transports: o.Transports, SSHKeyExchanges: o.SSHKeyExchanges, SSHHostKeys: o.SSHHostKeys, Dir: o.Dir,
		}),
		tokens: github.NewTokens(o.Transports, o.Now),
		listings: flight.Group[remoteKey, *listing]{
			Age: o.Moment, Room: maxListings, Weigh: (*listing).weight, Now: o.Now,
		},
		clones: flight.Group[cloneKey, *clone]{
			Age: o.IdleAge, Room: o.IdleBytes, Now: o.Now,
			Weigh: (*clone).weight,
			Drop:  func(c *clone) { c.pack.Close() },
		},
		looks: flight.Group[cloneKey, facts]{Now: o.Now},
		facts: flight.Memo[cloneKey, facts]{Size: maxFacts},
	}
}

// remote is a repository with the credentials of an object.
type remote struct {
	remotes *Remotes
	key     remoteKey
	shown   string // the URL as it may be shown

	url         *url.URL
	credentials transport.Credentials
	proxy       *url.URL
	transport   transport.Transport
}

// open returns the repository at the URL, which has come from transport.ParseURL, with the credentials for it, through the proxy,
// which may be nil. It talks to nobody.
func (r *Remotes) open(u *url.URL, c transport.Credentials, proxy *url.URL) (*remote, error) {
	clean := *u
	clean.User, clean.RawQuery, clean.Fragment = nil, "", ""

	t, err := r.network.Open(&clean, c, proxy)
	if err != nil {
		return nil, err
	}

	through := ""
	if proxy != nil {
		through = proxy.String()
	}

	credentials := c.Fingerprint()
	key := remoteKey{url: clean.String(), access: flight.FingerprintOf(string(credentials[:]), through)}

	return &remote{
		remotes: r, key: key, shown: key.url,
		url: &clean, credentials: c, proxy: proxy, transport: t,
	}, nil
}

// list returns what the server advertises, not longer ago than since.
func (m *remote) list(ctx context.Context, since time.Time) (*listing, error) {
	l, release, err := m.remotes.listings.Join(ctx, m.key, since, func(ctx context.Context) (*listing, error) {
		adv, err := m.transport.List(ctx)
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
