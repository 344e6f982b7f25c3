package bucket

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"github.com/weir-dev/weir/reconcilers/cloud"
)

// jwtKey is the key of a service account of Google Cloud.
type jwtKey struct {
	config *jwt.Config
	client *http.Client
}

// token gets a new token.
func (k *jwtKey) token(ctx context.Context) (*oauth2.Token, error) {
	// The library has no context for its requests, but takes a client.
	client := *k.client
	client.Transport = within{RoundTripper: client.Transport, ctx: ctx}

	token, err := k.config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, &client)).Token()
	if err != nil {
		return nil, fmt.Errorf("get token for the key of the service account: %w", cloud.Reason(err))
	}

	return token, nil
}

// within makes requests end with a context.
type within struct {
	http.RoundTripper

	ctx context.Context //nolint:containedctx // it lives as long as the call that was given the context
}

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(req *http.Request) (*http.Response, error) {
	return w.RoundTripper.RoundTrip(req.WithContext(w.ctx)) //nolint:wrapcheck // http.Client adds the URL
}
