package kms

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// gcpScope is what a token is for.
const gcpScope = "https://www.googleapis.com/auth/cloudkms"

// serviceKey is the key of a service account of Google Cloud, from a Secret.
type serviceKey struct {
	config  *jwt.Config
	content string
}

// readGCP reads the key of a service account. Other kinds of credentials name files and programs of this machine, or addresses.
func readGCP(raw []byte) (*serviceKey, error) {
	var kind struct {
		Type     string `json:"type"`
		TokenURI string `json:"token_uri"`
	}
	if json.Unmarshal(raw, &kind) != nil {
		return nil, errors.New("it is no JSON")
	}

	if kind.Type != "service_account" {
		return nil, errors.New(`field "type" is not "service_account", which is the only type that is allowed`)
	}

	known := []string{
		"", "https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token", "https://www.googleapis.com/oauth2/v4/token",
	}
	if !slices.Contains(known, kind.TokenURI) {
		return nil, errors.New(`field "token_uri" is none of Google: want "https://oauth2.googleapis.com/token"`)
	}

	config, err := google.JWTConfigFromJSON(raw, gcpScope)
	if err != nil || config.Email == "" || len(config.PrivateKey) == 0 { // its words may hold parts of the key
		return nil, errors.New("it is no key of a service account")
	}

	return &serviceKey{config: config, content: string(raw)}, nil
}

// gcp asks Google Cloud KMS.
func (k *keys) gcp(ctx context.Context, r sops.Recipient) ([]byte, error) {
	const pattern = `^projects/[0-9a-z.:-]{1,100}/locations/[0-9a-z-]{1,63}/keyRings/[0-9A-Za-z_-]{1,63}/cryptoKeys/[0-9A-Za-z_-]{1,63}$`
	if !regexp.MustCompile(pattern).MatchString(r.ResourceID) {
		return nil, errors.New("the resource is no key: want projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>")
	}

	if raw, err := base64.StdEncoding.DecodeString(r.Encrypted); err != nil || len(raw) == 0 {
		return nil, errors.New("the encrypted data key is no base64")
	}

	token, err := k.gcpToken(ctx)
	if err != nil {
		return nil, err
	}

	q := question{
		url:    "https://cloudkms.googleapis.com/v1/" + r.ResourceID + ":decrypt",
		header: map[string]string{"Authorization": "Bearer " + token}, cloud: true,
		body: map[string]string{"ciphertext": r.Encrypted},
	}

	var answer struct {
		Plaintext string `json:"plaintext"`
	}
	if err := k.ask(ctx, q, &answer); err != nil {
		return nil, fmt.Errorf("decrypt with Google Cloud KMS: %w", err)
	}

	return decode(base64.StdEncoding, answer.Plaintext)
}

// gcpToken returns a token of what the Secret says, or of the identity.
func (k *keys) gcpToken(ctx context.Context) (string, error) {
	if k.entries.gcp != nil {
		return k.serviceKeyToken(ctx, k.entries.gcp)
	}

	who, err := k.identity(cloud.GCP)
	if err != nil {
		return "", err
	}

	got, err := k.options.Cloud.GCP(ctx, who)
	if err != nil {
		return "", err //nolint:wrapcheck // it names the account
	}

	return got.AccessToken, nil
}

func (k *keys) serviceKeyToken(ctx context.Context, s *serviceKey) (string, error) {
	token, err := k.tokens.get(ctx, flight.FingerprintOf("gcp", s.content, k.via()),
		func(ctx context.Context) (string, time.Time, error) {
			client, err := k.client(ingest.Route{})
			if err != nil {
				return "", time.Time{}, err
			}

			// The library has no context for its requests, but takes a client.
			client.Transport = within{RoundTripper: client.Transport, ctx: ctx}

			got, err := s.config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client)).Token()
			if err != nil {
				return "", time.Time{}, err //nolint:wrapcheck // the caller does
			}

			return got.AccessToken, got.Expiry, nil
		})
	if err != nil {
		return "", fmt.Errorf("get token for key %q of the decryption Secret: %w", entryGCP, cloud.Reason(err))
	}

	return token, nil
}
