package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxTokenBytes bounds the answer of a token server.
const maxTokenBytes = 64 << 10

// exchange is what a token is asked for.
type exchange struct {
	realm, service string
	scope          string // of the repository
	other          string // that the registry named, if it is another one
}

// scopes are what a token is asked for.
func (e exchange) scopes() []string {
	return slices.DeleteFunc([]string{e.other, e.scope}, func(s string) bool { return s == "" })
}

// token opens what it was asked for.
type token struct {
	value   string
	expires time.Time // zero if that is not known
}

func (t token) header() string { return "Bearer " + t.value }

// weighToken returns what a token takes in memory, in bytes.
func weighToken(t token) int64 { return int64(len(t.value)) + 256 } //nolint:mnd // with its key

// exchange gets a token for the credentials, or for nobody if there are none.
func (s *session) exchange(ctx context.Context, e exchange) (token, error) {
	realm, err := s.realm(ctx, e.realm)
	if err != nil {
		return token{}, err
	}

	req, err := s.exchangeRequest(ctx, realm, e)
	if err != nil {
		return token{}, ingest.RedactError(err)
	}

	req.Header.Set("User-Agent", userAgent)

	client := ingest.NewClient(s.base, func(*http.Response) int64 { return maxTokenBytes })
	if req.Method == http.MethodPost { // its body holds a secret, which a redirect would take along
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}

	start := s.now()

	resp, err := client.Do(req) //nolint:bodyclose,gosec // discard does; the transport decides where requests may go
	if err != nil {
		return token{}, failedRequest(req, err)
	}
	defer discard(resp.Body)

	s.heed(resp)

	if err := checkStatus(resp, http.StatusOK); err != nil {
		return token{}, err
	}

	t, err := readToken(resp.Body, start)
	if err != nil {
		return token{}, failedRequest(req, err)
	}

	return t, nil
}

// realm returns the URL of the token server. It has to be as safe as the registry.
func (s *session) realm(ctx context.Context, raw string) (*url.URL, error) {
	scheme, err := s.scheme(ctx)
	if err != nil {
		return nil, err
	}

	u, err := url.Parse(raw)

	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return nil, errors.New("the registry names a token server that has no valid URL")
	case u.Scheme == "https", u.Scheme == "http" && scheme == "http":
		return u, nil
	}

	return nil, fmt.Errorf("the registry names a token server with the scheme %q", u.Scheme)
}

func (s *session) exchangeRequest(ctx context.Context, realm *url.URL, e exchange) (*http.Request, error) {
	if s.auth.IdentityToken != "" {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {s.auth.IdentityToken}, "client_id": {userAgent},
			"service": {e.service}, "scope": {strings.Join(e.scopes(), " ")},
		}

		req, err := http.NewRequestWithContext( //nolint:gosec // as above
			ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}

		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")

		return req, nil
	}

	query := realm.Query()
	query["scope"] = e.scopes()

	if e.service != "" {
		query.Set("service", e.service)
	}

	u := *realm
	u.RawQuery = query.Encode()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil) //nolint:gosec // as above
	if err != nil {
		return nil, err
	}

	if s.auth.Username != "" || s.auth.Password != "" {
		req.Header.Set("Authorization",
			"Basic "+base64.StdEncoding.EncodeToString([]byte(s.auth.Username+":"+s.auth.Password)))
	}

	return req, nil
}

// readToken reads the answer of a token server, of which no part may get into an error.
func readToken(r io.Reader, start time.Time) (token, error) {
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}

	raw, err := io.ReadAll(r)
	if err != nil {
		return token{}, fmt.Errorf("read token: %w", err)
	}

	if json.Unmarshal(raw, &answer) != nil {
		return token{}, errors.New("the answer is no token")
	}

	value := answer.AccessToken
	if value == "" {
		value = answer.Token
	}

	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return token{}, errors.New("the answer holds no token")
	}

	t := token{value: value}

	if answer.ExpiresIn > 0 {
		life := time.Duration(min(answer.ExpiresIn, maxLife)) * time.Second
		t.expires = start.Add(life - min(life/10, 10*time.Second)) // it has to last for the request
	}

	return t, nil
}

// maxLife bounds for how long a token is used, in seconds. One that goes before is noticed.
const maxLife = 24 * 60 * 60
