package ingest

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"sync"
)

// Transports are the connections to the servers that users name, shared by all who reach them in the same way. They are safe
// for concurrent use.
type Transports struct {
	// Proxy returns the proxy of a request, unless the user names one. Nil means none.
	Proxy func(*http.Request) (*url.URL, error)

	// Allow decides on addresses. Nil allows all.
	Allow AllowAddr

	mu  sync.Mutex
	all map[string]*http.Transport
}

// Route is how a server is reached.
type Route struct {
	// ID tells the TLS configurations apart: routes with the same ID, proxy and kind of verification share connections.
	ID string

	// TLS returns the configuration of HTTPS. A nil function or configuration means that of the machine.
	TLS func() (*tls.Config, error)

	// Proxy is the one that the user names, if there is one, with its user information.
	Proxy *url.URL

	// Unverified accepts any certificate of the server.
	Unverified bool
}

// maxTransports bounds the transports that are kept: one for each authority, client certificate and proxy.
const maxTransports = 128

// To returns the transport of the route.
func (t *Transports) To(r Route) (*http.Transport, error) {
	key := r.key()

	t.mu.Lock()
	defer t.mu.Unlock()

	if have, ok := t.all[key]; ok {
		return have, nil
	}

	o := HTTPOptions{Proxy: t.Proxy, Allow: t.Allow}

	if r.Proxy != nil {
		o.Proxy = http.ProxyURL(r.Proxy)
	}

	if r.TLS != nil {
		var err error
		if o.TLS, err = r.TLS(); err != nil {
			return nil, err
		}
	}

	if r.Unverified {
		if o.TLS == nil {
			o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}

		o.TLS = o.TLS.Clone() // it may be that of others too
		o.TLS.InsecureSkipVerify = true
	}

	return t.keep(key, NewTransport(o)), nil
}

func (r Route) key() string {
	key := r.ID + "\x00"
	if r.Proxy != nil {
		key += r.Proxy.String()
	}

	if r.Unverified {
		key += "\x00unverified"
	}

	return key
}

// keep remembers a transport in the place of some other one, if there are too many.
func (t *Transports) keep(key string, made *http.Transport) *http.Transport {
	if t.all == nil {
		t.all = map[string]*http.Transport{}
	}

	for k, old := range t.all {
		if len(t.all) < maxTransports {
			break
		}

		old.CloseIdleConnections()
		delete(t.all, k)
	}

	t.all[key] = made

	return made
}

// Len returns how many transports are kept.
func (t *Transports) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()

	return len(t.all)
}
