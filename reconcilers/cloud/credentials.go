package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/aws"
	"github.com/fluxcd/pkg/auth/azure"
	"github.com/fluxcd/pkg/auth/gcp"
	"golang.org/x/oauth2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Options are the parameters of Credentials.
type Options struct {
	// Client reads ServiceAccounts and makes tokens of theirs: get of serviceaccounts, create of serviceaccounts/token. Without
	// one, there is only the identity of the process.
	Client client.Client

	// DefaultServiceAccount stands in for the one that an object does not name, in its namespace. Empty means the identity of
	// the process.
	DefaultServiceAccount string

	// Transports reach the services that exchange tokens, through the proxy that an object names. It is required.
	Transports *ingest.Transports

	// CacheSize is how many tokens are kept. Zero or less means none.
	CacheSize int

	// CacheAge is how long a token is kept at most, as long as it is valid. Zero means an hour, which is the most.
	CacheAge time.Duration

	// Metrics of the cache. Nil means none.
	Metrics *Metrics

	// Timeout of getting one token. Zero means a minute.
	Timeout time.Duration

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// Credentials gets credentials, and keeps them. It is safe for concurrent use.
type Credentials struct {
	options Options
	tokens  *tokens
}

// New returns credentials with the options.
func New(o Options) *Credentials {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}

	if o.Now == nil {
		o.Now = time.Now
	}

	return &Credentials{options: o, tokens: newTokens(o)}
}

// Providers that a Request may name.
const (
	AWS   = aws.ProviderName
	Azure = azure.ProviderName
	GCP   = gcp.ProviderName
)

// Request says who asks whom.
type Request struct {
	// Provider is AWS, Azure or GCP.
	Provider string

	// Kind, Namespace and Name of the object that needs the credentials.
	Kind, Namespace, Name string

	// ServiceAccount in the namespace, whose identity is taken. Empty means Options.DefaultServiceAccount.
	ServiceAccount string

	// Process says that no ServiceAccount means the process, whatever Options.DefaultServiceAccount is: who asks has a default
	// of its own.
	Process bool

	// Proxy on the way to the provider, with its user information. Nil means the one of the process, if there is one.
	Proxy *url.URL
}

// Registry returns username and password for a repository, given as <host>/<path>. The host has to be one of the registries of
// the provider.
func (c *Credentials) Registry(ctx context.Context, r Request, repository string) (username, password string, err error) {
	host, err := auth.GetRegistryFromArtifactRepository(repository)
	if err != nil {
		return "", "", err //nolint:wrapcheck // it names the repository
	}

	p, id, err := c.open(ctx, r)
	if err != nil {
		return "", "", err
	}

	input, err := p.ParseArtifactRepository(host)
	if err != nil {
		return "", "", fmt.Errorf("provider %q does not fit the repository: %w", r.Provider, err)
	}

	o, err := p.GetAccessTokenOptionsForArtifactRepository(host)
	if err != nil {
		return "", "", fmt.Errorf("provider %q: %w", r.Provider, Reason(err))
	}

	access, err := c.token(ctx, r, p, id, o...)
	if err != nil {
		return "", "", err
	}

	key := flight.FingerprintOf("registry", string(id.key[:]), host)

	token, err := c.tokens.get(ctx, r.object(), key, func(ctx context.Context) (auth.Token, error) {
		return p.NewArtifactRegistryCredentials(ctx, input, access, o...)
	})
	if err != nil {
		return "", "", fmt.Errorf("get %s credentials of %s for registry %q: %w", r.Provider, id, host, Reason(err))
	}

	return login(token)
}

// login returns what a registry is told.
func login(token auth.Token) (username, password string, err error) {
	registry, ok := token.(*auth.ArtifactRegistryCredentials)
	if !ok {
		return "", "", unexpected(token)
	}

	config, err := registry.Authorization()
	if err != nil {
		return "", "", fmt.Errorf("read registry credentials: %w", err)
	}

	if config.Username == "" || config.Password == "" {
		return "", "", errors.New("the provider gave empty registry credentials")
	}

	return config.Username, config.Password, nil
}

// Git returns what a Git server is told: a bearer token for Azure DevOps, username and password for AWS CodeCommit. The URL has
// to be one of them, and HTTPS.
func (c *Credentials) Git(ctx context.Context, r Request, rawURL string) (username, password, bearer string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", "", "", fmt.Errorf("parse URL: %w", ingest.RedactError(err))
	}

	if err := checkGit(r.Provider, u); err != nil {
		return "", "", "", err
	}

	p, id, err := c.openGit(ctx, r)
	if err != nil {
		return "", "", "", err
	}

	u.User = nil

	input, err := p.ParseGitRepository(u)
	if err != nil {
		return "", "", "", fmt.Errorf("provider %q does not fit the URL: %w", r.Provider, err)
	}

	o, err := p.GetAccessTokenOptionsForGitRepository(u)
	if err != nil {
		return "", "", "", fmt.Errorf("provider %q: %w", r.Provider, Reason(err))
	}

	access, err := c.token(ctx, r, p, id, o...)
	if err != nil {
		return "", "", "", err
	}

	key := flight.FingerprintOf("git", string(id.key[:]), input)

	token, err := c.tokens.get(ctx, r.object(), key, func(ctx context.Context) (auth.Token, error) {
		return p.NewGitCredentials(ctx, input, access, o...)
	})
	if err != nil {
		return "", "", "", fmt.Errorf("get %s credentials of %s: %w", r.Provider, id, Reason(err))
	}

	git, ok := token.(*auth.GitCredentials)
	if !ok || git.BearerToken == "" && git.Password == "" {
		return "", "", "", unexpected(token)
	}

	return git.Username, git.Password, git.BearerToken, nil
}

// AWSKeys sign requests to AWS.
type AWSKeys struct {
	AccessKeyID, SecretAccessKey, SessionToken string

	// Expires is when they are worth nothing any more. Zero means never.
	Expires time.Time
}

// AWSOptions say where keys come from.
type AWSOptions struct {
	// Region of the service that gives the keys. A ServiceAccount needs one.
	Region string

	// STSEndpoint is the URL of the service, one of AWS. Empty means the one of the region.
	STSEndpoint string
}

// AWS returns keys for AWS. The provider of the request has to be AWS.
func (c *Credentials) AWS(ctx context.Context, r Request, o AWSOptions) (AWSKeys, error) {
	if o.STSEndpoint != "" {
		if err := CheckSTSEndpoint(o.STSEndpoint); err != nil {
			return AWSKeys{}, err
		}
	}

	token, err := c.access(ctx, r, AWS, auth.WithSTSRegion(o.Region), auth.WithSTSEndpoint(o.STSEndpoint))
	if err != nil {
		return AWSKeys{}, err
	}

	k, ok := token.(*aws.Credentials)
	if !ok || deref(k.AccessKeyId) == "" || deref(k.SecretAccessKey) == "" {
		return AWSKeys{}, unexpected(token)
	}

	return AWSKeys{
		AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: deref(k.SessionToken),
		Expires: deref(k.Expiration),
	}, nil
}

// Azure returns an access token of Azure for the scopes. The provider of the request has to be Azure.
func (c *Credentials) Azure(ctx context.Context, r Request, scopes ...string) (azcore.AccessToken, error) {
	token, err := c.access(ctx, r, Azure, auth.WithScopes(scopes...))
	if err != nil {
		return azcore.AccessToken{}, err
	}

	t, ok := token.(*azure.Token)
	if !ok || t.Token == "" {
		return azcore.AccessToken{}, unexpected(token)
	}

	return t.AccessToken, nil
}

// AzureManaged returns an access token for the scopes of the managed identity with the client ID, which the nodes of this process
// have. It is one of the process: where ServiceAccounts stand in for that, it is refused.
func (c *Credentials) AzureManaged(ctx context.Context, r Request, id string, scopes ...string) (azcore.AccessToken, error) {
	if c.options.DefaultServiceAccount != "" && !r.Process {
		return azcore.AccessToken{}, errors.New("managed identities of the controller are not available to objects")
	}

	key := flight.FingerprintOf(append([]string{"managed", id}, scopes...)...)

	token, err := c.tokens.get(ctx, r.object(), key, func(ctx context.Context) (auth.Token, error) {
		m, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
			ID: azidentity.ClientID(id),
		})
		if err != nil {
			return nil, err //nolint:wrapcheck // it is wrapped below
		}

		token, err := m.GetToken(ctx, policy.TokenRequestOptions{Scopes: scopes})

		return &azure.Token{AccessToken: token}, err //nolint:wrapcheck // it is wrapped below
	})
	if err != nil {
		return azcore.AccessToken{}, fmt.Errorf("get azure credentials of managed identity %q: %w", id, Reason(err))
	}

	return token.(*azure.Token).AccessToken, nil //nolint:forcetypeassert // nothing else has this key
}

// GCP returns an access token of Google Cloud. The provider of the request has to be GCP.
func (c *Credentials) GCP(ctx context.Context, r Request) (*oauth2.Token, error) {
	token, err := c.access(ctx, r, GCP)
	if err != nil {
		return nil, err
	}

	t, ok := token.(*gcp.Token)
	if !ok || t.AccessToken == "" {
		return nil, unexpected(token)
	}

	return new(t.Token), nil
}

// Fingerprint stands for who asks: what was got with the credentials of one request may be shown to another one only if they
// have the same.
func (c *Credentials) Fingerprint(ctx context.Context, r Request) (flight.Fingerprint, error) {
	id, err := c.identify(ctx, r)

	return id.key, err
}

// Forget drops what is kept for an object that is gone: its metrics, and tokens that nobody else uses.
func (c *Credentials) Forget(kind, namespace, name string) {
	c.tokens.forget(object{kind: kind, namespace: namespace, name: name})
}

func (r Request) object() object { return object{kind: r.Kind, namespace: r.Namespace, name: r.Name} }

// access returns an access token of the provider, which has to be the one of the request.
func (c *Credentials) access(ctx context.Context, r Request, provider string, o ...auth.Option) (auth.Token, error) {
	if r.Provider != provider {
		return nil, fmt.Errorf("provider %q has no credentials of %s", r.Provider, provider)
	}

	p, id, err := c.open(ctx, r)
	if err != nil {
		return nil, err
	}

	return c.token(ctx, r, p, id, o...)
}

// unexpected says that a provider gave something else than it should, without showing it.
func unexpected(token auth.Token) error { return fmt.Errorf("the provider gave no usable %T", token) }

func deref[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}

	return value
}
