package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/fluxcd/pkg/auth"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// identity is who asks for credentials.
type identity struct {
	// account is nil for the identity of the process.
	account *corev1.ServiceAccount

	key flight.Fingerprint
}

// String says who it is.
func (i identity) String() string {
	if i.account == nil {
		return "the controller"
	}

	return fmt.Sprintf("service account '%s/%s'", i.account.Namespace, i.account.Name)
}

// identify finds out who asks.
func (c *Credentials) identify(ctx context.Context, r Request) (identity, error) {
	proxy := ""
	if r.Proxy != nil {
		proxy = r.Proxy.String()
	}

	name := r.ServiceAccount
	if !r.Process {
		name = cmp.Or(name, c.options.DefaultServiceAccount)
	}

	if name == "" {
		return identity{key: flight.FingerprintOf(r.Provider, proxy)}, nil
	}

	// Without a namespace there is no such account, and the identity of the process must not stand in for it.
	if r.Namespace == "" || c.options.Client == nil {
		return identity{}, fmt.Errorf("service account %q cannot be used: there is no namespace or no client to read it", name)
	}

	account := &corev1.ServiceAccount{}
	if err := c.options.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, account); err != nil {
		return identity{}, fmt.Errorf("failed to get service account '%s/%s': %w", r.Namespace, name, err)
	}

	// Whatever changes about the account makes another identity of it: its annotations say which role it has.
	return identity{account: account, key: flight.FingerprintOf(r.Provider, proxy,
		r.Namespace, name, string(account.UID), account.ResourceVersion)}, nil
}

// tokenSeconds is how long the token of a ServiceAccount is valid, which is the least that there is: it is exchanged at once.
const tokenSeconds = 600

// token returns an access token of the provider.
func (c *Credentials) token(ctx context.Context, r Request, p auth.Provider, id identity, o ...auth.Option) (auth.Token, error) {
	var set auth.Options
	set.Apply(o...)

	parts := append([]string{"token", string(id.key[:]), set.STSRegion, set.STSEndpoint}, set.Scopes...)

	token, err := c.tokens.get(ctx, r.object(), flight.FingerprintOf(parts...), func(ctx context.Context) (auth.Token, error) {
		if id.account == nil {
			return p.NewControllerToken(ctx, o...) //nolint:wrapcheck // it is wrapped below
		}

		return c.exchange(ctx, p, id.account, o...)
	})
	if err != nil {
		return nil, fmt.Errorf("get %s credentials of %s: %w", r.Provider, id, Reason(err))
	}

	return token, nil
}

// exchange makes a token of a ServiceAccount for the provider, and gets the one of the provider for it.
func (c *Credentials) exchange(ctx context.Context, p auth.Provider, account *corev1.ServiceAccount,
	o ...auth.Option,
) (auth.Token, error) {
	if _, err := p.GetIdentity(*account); err != nil {
		return nil, err //nolint:wrapcheck // it names the annotation
	}

	audiences, err := p.GetAudiences(ctx, *account)
	if err != nil {
		return nil, fmt.Errorf("find audience: %w", err)
	}

	if len(audiences) == 0 { // the token would be good for this cluster
		return nil, errors.New("the provider names no audience")
	}

	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: audiences, ExpirationSeconds: new(int64(tokenSeconds)),
	}}

	if err := c.options.Client.SubResource("token").Create(ctx, account.DeepCopy(), request); err != nil {
		return nil, fmt.Errorf("create token: %w", err)
	}

	return p.NewTokenForServiceAccount(ctx, request.Status.Token, *account, o...) //nolint:wrapcheck // the caller does
}

// open returns the provider of the request, and who asks it.
func (c *Credentials) open(ctx context.Context, r Request) (registryProvider, identity, error) {
	id, h, err := c.reach(ctx, r)
	if err != nil {
		return nil, id, err
	}

	p, err := registryOf(r.Provider, h)

	return p, id, err
}

// openGit is open for a provider that gives credentials for Git.
func (c *Credentials) openGit(ctx context.Context, r Request) (gitProvider, identity, error) {
	id, h, err := c.reach(ctx, r)
	if err != nil {
		return nil, id, err
	}

	p, err := gitOf(r.Provider, h)

	return p, id, err
}

func (c *Credentials) reach(ctx context.Context, r Request) (identity, httpClient, error) {
	id, err := c.identify(ctx, r)
	if err != nil {
		return identity{}, httpClient{}, err
	}

	h, err := c.client(r, id)
	if err != nil {
		return identity{}, httpClient{}, fmt.Errorf("reach provider: %w", ingest.RedactError(err))
	}

	return id, h, nil
}
