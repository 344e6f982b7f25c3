package github

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Times of tokens.
const (
	// proofAge is how long an App proves who it is with one signature; GitHub takes ten minutes at most.
	proofAge = 5 * time.Minute

	// clockSkew is by how much the clock of GitHub may be behind ours.
	clockSkew = time.Minute

	// margin before the end of a token, in which it is not used any more: what is begun with it has to come to an end.
	margin = 10 * time.Minute
)

// maxTokens bounds the tokens that are kept, and maxAnswer the answers of the API in bytes.
const (
	maxTokens = 1024
	maxAnswer = 1 << 20
)

// Tokens are the tokens of all Apps. It is safe for concurrent use.
type Tokens struct {
	transports *ingest.Transports
	now        func() time.Time
	kept       flight.Memo[flight.Fingerprint, token]
	flights    flight.Group[flight.Fingerprint, token]
}

type token struct {
	value   string
	expires time.Time
}

// NewTokens returns tokens, of which none is there yet.
func NewTokens(t *ingest.Transports, now func() time.Time) *Tokens {
	return &Tokens{
		transports: t, now: now,
		kept:    flight.Memo[flight.Fingerprint, token]{Size: maxTokens},
		flights: flight.Group[flight.Fingerprint, token]{Now: now},
	}
}

// Get returns a token for the installation: the one that was got last as long as it is good, or a new one.
func (t *Tokens) Get(ctx context.Context, a App) (string, error) {
	key := a.fingerprint()
	if have, ok := t.kept.Get(key); ok && t.now().Add(margin).Before(have.expires) {
		return have.value, nil
	}

	got, release, err := t.flights.Join(ctx, key, time.Time{}, func(ctx context.Context) (token, error) {
		got, err := t.ask(ctx, a)
		if err == nil {
			t.kept.Put(key, got)
		}

		return got, err
	})
	if err != nil {
		return "", fmt.Errorf("get token of GitHub App: %w", err)
	}

	release()

	return got.value, nil
}

// Forget drops the token of the installation, which is good for nothing any more.
func (t *Tokens) Forget(a App) { t.kept.Put(a.fingerprint(), token{}) }

// ask gets a new token.
func (t *Tokens) ask(ctx context.Context, a App) (token, error) {
	proof, err := a.proof(t.now())
	if err != nil {
		return token{}, err
	}

	id := a.tls.Fingerprint()

	transport, err := t.transports.To(ingest.Route{ID: string(id[:]), TLS: a.tls.Config, Proxy: a.proxy})
	if err != nil {
		return token{}, err
	}

	c := conversation{
		client: ingest.NewClient(transport, func(*http.Response) int64 { return maxAnswer }),
		base:   a.base, proof: proof,
	}

	installation := a.installation
	if installation == "" {
		if installation, err = c.installation(ctx, a.owner); err != nil {
			return token{}, err
		}
	}

	return c.token(ctx, installation)
}

// proof is a JSON web token, signed with the key of the App.
func (a App) proof(now time.Time) (string, error) {
	key, err := a.privateKey()
	if err != nil {
		return "", err
	}

	claims, err := json.Marshal(map[string]any{
		"iss": a.issuer, "iat": now.Add(-clockSkew).Unix(), "exp": now.Add(proofAge).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}

	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))

	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", errors.New("the private key cannot sign")
	}

	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// conversation is some requests to the API.
type conversation struct {
	client *http.Client
	base   *url.URL
	proof  string
}

// installation finds the installation of an owner, who may be an organisation or a user.
func (c conversation) installation(ctx context.Context, owner string) (string, error) {
	for _, kind := range []string{"orgs", "users"} {
		var answer struct {
			ID int64 `json:"id"`
		}

		status, err := c.call(ctx, http.MethodGet, []string{kind, owner, "installation"}, nil, &answer)
		if status == http.StatusNotFound {
			continue
		}

		if err == nil && answer.ID <= 0 {
			err = errors.New("the answer names no installation")
		}

		if err != nil {
			return "", fmt.Errorf("find installation of %q: %w", owner, err)
		}

		return strconv.FormatInt(answer.ID, 10), nil
	}

	return "", fmt.Errorf("%w: %q", errNotInstalled, owner)
}

// token gets a token that may read what the installation has access to.
func (c conversation) token(ctx context.Context, installation string) (token, error) {
	var answer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"` //nolint:tagliatelle // GitHub writes it so
	}

	wish := []byte(`{"permissions":{"contents":"read"}}`)
	if _, err := c.call(ctx, http.MethodPost, []string{"app", "installations", installation, "access_tokens"}, wish, &answer); err != nil {
		return token{}, fmt.Errorf("for installation %q: %w", installation, err)
	}

	if answer.Token == "" || answer.Expires.IsZero() {
		return token{}, fmt.Errorf("for installation %q: the answer holds no token", installation)
	}

	return token{value: answer.Token, expires: answer.Expires}, nil
}

// call makes one request and reads the answer. The status is that of the answer, or zero if there is none.
func (c conversation) call(ctx context.Context, method string, path []string, body []byte, answer any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path...).String(), bytes.NewReader(body))
	if err != nil {
		return 0, ingest.RedactError(err)
	}

	req.Header.Set("Authorization", "Bearer "+c.proof)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")

	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}

	resp, err := c.client.Do(req)
	if err != nil {
		return 0, ingest.RedactError(err)
	}
	defer resp.Body.Close()

	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		_, _ = io.Copy(io.Discard, resp.Body) // bounded; so that the connection can be used again

		return resp.StatusCode, fmt.Errorf("GitHub answers %q", ingest.Status(resp))
	}

	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return resp.StatusCode, errors.New("the answer is not what GitHub answers")
	}

	return resp.StatusCode, nil
}
