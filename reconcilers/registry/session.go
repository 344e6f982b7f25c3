package registry

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// session is a registry as somebody sees it: one way to get there, and one set of credentials. It is safe for concurrent use.
type session struct {
	key      flight.Fingerprint
	registry name.Registry
	insecure bool // HTTP may stand in for HTTPS at any time
	auth     authn.AuthConfig
	base     http.RoundTripper // to the registry, and to its token server
	away     http.RoundTripper // to all others
	now      func() time.Time

	schemes   flight.Group[struct{}, string]
	exchanges flight.Group[exchange, token]
	tokens    *flight.Memo[tokenKey, token] // of all sessions

	mu     sync.Mutex
	found  string    // the scheme, once it is known
	asked  challenge // what the registry wanted to see the last time
	closed time.Time // until when the registry wants to be left alone
}

// tokenKey is a session, and the scope of a repository.
type tokenKey struct {
	session flight.Fingerprint
	scope   string
}

func newSession(key flight.Fingerprint, registry name.Registry, auth authn.AuthConfig, all *Registries) *session {
	now := all.options.Now

	return &session{
		key: key, registry: registry, auth: auth, now: now,
		schemes:   flight.Group[struct{}, string]{Now: now},
		exchanges: flight.Group[exchange, token]{Now: now},
		tokens:    &all.tokens,
	}
}

// state is what is known of the registry.
func (s *session) state() (found string, asked challenge, closed time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.found, s.asked, s.closed
}

// scheme returns http or https. Only for names that may be served over HTTP, which are those of this machine, of private
// addresses and those that are insecure, the registry has to be asked.
func (s *session) scheme(ctx context.Context) (string, error) {
	if s.registry.Scheme() == "https" {
		return "https", nil
	}

	s.mu.Lock()
	found := s.found
	s.mu.Unlock()

	if found != "" {
		return found, nil
	}

	found, release, err := s.schemes.Join(ctx, struct{}{}, time.Time{}, s.probe)
	if err != nil {
		return "", err
	}
	defer release()

	s.mu.Lock()
	defer s.mu.Unlock()

	s.found = found

	return found, nil
}

// probe finds out what the registry speaks. HTTP does not stand in for HTTPS with a certificate that is refused.
func (s *session) probe(ctx context.Context) (string, error) {
	secure := s.ping(ctx, "https")
	if secure == nil {
		return "https", nil
	}

	if _, bad := errors.AsType[*tls.CertificateVerificationError](secure); bad || ctx.Err() != nil {
		return "", secure
	}

	plain := s.ping(ctx, "http")
	if plain == nil {
		return "http", nil
	}

	if isStatus(plain, http.StatusBadRequest) {
		return "", secure
	}

	return "", plain
}

// ping tells whether the registry speaks the protocol, whatever it says. Only that it takes HTTP for a bad request is an error:
// it may want HTTPS.
func (s *session) ping(ctx context.Context, scheme string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+s.registry.RegistryStr()+"/v2/", nil)
	if err != nil {
		return ingest.RedactError(err)
	}

	req.Header.Set("User-Agent", userAgent)

	client := ingest.NewClient(s.base, nil)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // it is an answer

	resp, err := client.Do(req) //nolint:bodyclose // discard does
	if err != nil {
		return failedRequest(req, err)
	}
	defer discard(resp.Body)

	if resp.StatusCode == http.StatusBadRequest && scheme == "http" {
		return checkStatus(resp)
	}

	return nil
}

// lost forgets the scheme after a failure: who has changed it is found again. But who speaks HTTPS once has to stay with it, or
// whoever can make connections fail would get the credentials to see.
func (s *session) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.insecure || s.found != "https" {
		s.found = ""
	}
}

// open fails as long as the registry wants to be left alone.
func (s *session) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.now().Before(s.closed) {
		return ErrRateLimited
	}

	return nil
}

// Bounds of how long a registry is left alone that asks for it.
const (
	minPause     = time.Second
	defaultPause = 10 * time.Second
	maxPause     = 15 * time.Minute
)

// heed does what the answer asks for: to come back later.
func (s *session) heed(resp *http.Response) {
	after := resp.Header.Get("Retry-After")
	if resp.StatusCode != http.StatusTooManyRequests && (resp.StatusCode != http.StatusServiceUnavailable || after == "") {
		return
	}

	pause := defaultPause
	if seconds, err := strconv.ParseInt(after, 10, 32); err == nil {
		pause = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		pause = at.Sub(s.now())
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	s.closed = s.now().Add(min(max(pause, minPause), maxPause))
}

// challenged notes what the registry wants to see.
func (s *session) challenged(c challenge) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.asked = c
}

func (s *session) challenge() challenge {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.asked
}

// authorization returns the header that meets a challenge for a scope, with a token other than stale, or nothing.
func (s *session) authorization(ctx context.Context, c challenge, scope, stale string) (string, error) {
	switch c.scheme {
	case "bearer":
		if s.auth.RegistryToken != "" {
			return "Bearer " + s.auth.RegistryToken, nil
		}

		t, err := s.token(ctx, c, scope, stale)
		if err != nil {
			return "", err
		}

		return t.header(), nil
	case "basic":
		if s.auth.Username == "" && s.auth.Password == "" {
			return "", nil
		}

		return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.auth.Username+":"+s.auth.Password)), nil
	}

	return "", nil
}

// token returns a token for the scope, which is a new one if the one that is here is stale or about to expire.
func (s *session) token(ctx context.Context, c challenge, scope, stale string) (token, error) {
	key := tokenKey{session: s.key, scope: scope}
	if t, ok := s.tokens.Get(key); ok && t.header() != stale && (t.expires.IsZero() || s.now().Before(t.expires)) {
		return t, nil
	}

	e := exchange{realm: c.params["realm"], service: c.params["service"], scope: scope}
	if other := c.params["scope"]; other != scope && stale != "" {
		e.other = other // it wants to see more
	}

	t, release, err := s.exchanges.Join(ctx, e, time.Time{}, func(ctx context.Context) (token, error) {
		t, err := s.exchange(ctx, e)
		if err == nil {
			s.tokens.Put(key, t)
		}

		return t, err
	})
	if err != nil {
		return token{}, err
	}

	release()

	return t, nil
}
