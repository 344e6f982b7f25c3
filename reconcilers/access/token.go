package access

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Token makes a token of a service account of the cluster, for the audiences, with the rights of the client. It is good for
// about as long as is asked for, in whole seconds of which there are 600 at least.
func (c *Client) Token(
	ctx context.Context, namespace, name string, audiences []string, lifetime time.Duration,
) (token string, expires time.Time, err error) {
	if _, err := identityOf(namespace, name); err != nil {
		return "", time.Time{}, err
	}

	if err := checkSegments(namespace, name); err != nil {
		return "", time.Time{}, err
	}

	seconds := int64(lifetime / time.Second)

	body, err := json.Marshal(&authenticationv1.TokenRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"},
		Spec:     authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds},
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("encode a token request: %w", err)
	}

	account := Ref{ID: ID{Kind: "ServiceAccount", Namespace: namespace, Name: name}, Version: "v1"}

	req := c.request("POST").AbsPath("api", "v1", "namespaces", namespace, "serviceaccounts", name, "token").Body(body)

	raw, err := c.do(ctx, account.GroupKind(), req)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a token of %s: %w", account.ID, err)
	}

	var answer authenticationv1.TokenRequest
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Status.Token == "" {
		return "", time.Time{}, fmt.Errorf("make a token of %s: the answer has none", account.ID)
	}

	return answer.Status.Token, answer.Status.ExpirationTimestamp.Time, nil
}

// Tokens returns a source of tokens that asks for a new one when four fifths of the last one's time are over. Who asks
// meanwhile waits for it.
func Tokens(now func() time.Time, ask func(ctx context.Context) (token string, expires time.Time, err error)) TokenSource {
	turn := make(chan struct{}, 1)

	var (
		token string
		renew time.Time
	)

	return func(ctx context.Context) (string, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}

		at := now()
		if token != "" && at.Before(renew) {
			return token, nil
		}

		made, expires, err := ask(ctx)
		if err != nil {
			return "", err
		}

		token, renew = made, at.Add(expires.Sub(at)*4/5)

		return token, nil
	}
}
