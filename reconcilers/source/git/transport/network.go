package transport

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Transport speaks with one repository. It is safe for concurrent use.
type Transport interface {
	// List returns what the server advertises. A repository without references is ErrEmpty.
	List(ctx context.Context) (*packp.AdvRefs, error)

	// Fetch asks for a pack and returns it as it comes.
	Fetch(ctx context.Context, req *packp.UploadRequest) (io.ReadCloser, error)
}

// Options are the parameters of a Network.
type Options struct {
	// Transports reach servers over HTTP. Its guard counts for SSH as well. It is required.
	Transports *ingest.Transports

	// SSHKeyExchanges and SSHHostKeys are the algorithms that are offered to SSH servers. Empty means the defaults, and the
	// types of the keys that are known.
	SSHKeyExchanges, SSHHostKeys []string

	// Silence is for how long a server may send nothing over SSH. Zero means two minutes.
	Silence time.Duration

	// Dir is where files lie for a moment. Empty means the directory for temporary files.
	Dir string
}

// Network is the way to all servers. It is safe for concurrent use.
type Network struct {
	options Options
	keys    flight.Memo[flight.Fingerprint, sshKeys]
}

// maxKeys bounds the keys for SSH that are kept ready for use. Those with more than maxKnownHosts bytes of host keys are not
// kept.
const (
	maxKeys       = 1024
	maxKnownHosts = 64 << 10
)

// NewNetwork returns a network.
func NewNetwork(o Options) *Network {
	o.Dir = cmp.Or(o.Dir, os.TempDir())
	o.Silence = cmp.Or(o.Silence, 2*time.Minute)

	return &Network{options: o, keys: flight.Memo[flight.Fingerprint, sshKeys]{Size: maxKeys}}
}

// Open returns the transport to the repository at the URL, which has come from ParseURL, with the credentials for it, through the
// proxy, which may be nil. It talks to nobody.
func (n *Network) Open(u *url.URL, c Credentials, proxy *url.URL) (Transport, error) {
	if u.Scheme == schemeSSH {
		return n.openSSH(u, c, proxy)
	}

	id := c.tls.Fingerprint()

	t, err := n.options.Transports.To(ingest.Route{ID: string(id[:]), TLS: c.tls.Config, Proxy: proxy})
	if err != nil {
		return nil, err
	}

	return newHTTP(ingest.NewClient(t, maxBody), u, c), nil
}

func (n *Network) openSSH(u *url.URL, c Credentials, proxy *url.URL) (Transport, error) {
	if len(c.identity) == 0 || len(c.knownHosts) == 0 {
		return nil, fmt.Errorf("invalid 'ssh' auth option: there is no '%s' with '%s' for the server", keyIdentity, keyKnownHosts)
	}

	keys, err := n.sshKeys(c)
	if err != nil {
		return nil, err
	}

	allow := n.options.Transports.Allow

	// The proxy connects to where it is told, and the guard sees only the address of the proxy.
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && proxy != nil && allow != nil {
		if err := allow(addr); err != nil {
			return nil, err
		}
	}

	dial := dialerThrough(proxy, ingest.NewDialer(allow))

	t := newSSH(dial, sshAlgorithms{keyExchanges: n.options.SSHKeyExchanges, hostKeys: n.options.SSHHostKeys}, u, c.user, keys)
	t.silence = n.options.Silence

	return t, nil
}

// sshKeys returns the credentials ready for use. They are prepared once.
func (n *Network) sshKeys(c Credentials) (sshKeys, error) {
	f := c.Fingerprint()
	if k, ok := n.keys.Get(f); ok {
		return k, nil
	}

	k, err := c.sshKeys(n.options.Dir)
	if err != nil {
		return sshKeys{}, err
	}

	if len(c.knownHosts) <= maxKnownHosts {
		n.keys.Put(f, k)
	}

	return k, nil
}

// maxBody bounds advertisements. Packs have their own limits.
func maxBody(resp *http.Response) int64 {
	if strings.HasPrefix(resp.Header.Get("Content-Type"), typeResult) {
		return 0
	}

	return maxAdvertised
}
