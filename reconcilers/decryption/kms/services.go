package kms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	// maxAnswer bounds what a service may say, in bytes. Data keys and tokens are a few KiB.
	maxAnswer = 1 << 20

	// maxEncrypted and maxDataKey bound a data key, in bytes: encrypted, as text, and plain. It has 32, or 33 if it is a part.
	maxEncrypted = 16 << 10
	maxDataKey   = 1 << 10

	defaultTimeout = 30 * time.Second
)

// Cluster is the one that this process runs in.
type Cluster interface {
	// ServiceAccount reads one. It is not changed.
	ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
	// ConfigMap reads one. It is not changed.
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	// Token makes a token of a ServiceAccount for the audiences.
	Token(ctx context.Context, namespace, name string, audiences []string, lifetime time.Duration) (string, time.Time, error)
}

// Options are the parameters of Services.
type Options struct {
	// Cloud gives the credentials of ServiceAccounts and of the process. Nil means that there are only those in Secrets.
	Cloud *cloud.Credentials

	// Cluster has the ServiceAccounts that log in to Vault. Nil means that none does.
	Cluster Cluster

	// Transports reach the services. Their Allow judges addresses that files name; RefuseLocal is meant for that. It is required.
	Transports *ingest.Transports

	// DefaultServiceAccount stands in for the one that an object does not name, in its namespace. Empty means the identity of
	// the process.
	DefaultServiceAccount string

	// Vault is what the operator says about HashiCorp Vault and OpenBao.
	Vault Vault

	// Timeout of getting one data key, with all that it takes. Zero means 30 s.
	Timeout time.Duration

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// Vault is what the operator says about HashiCorp Vault and OpenBao. All of it is optional.
type Vault struct {
	// Address and Token are those of the process. The token goes to this address, and to those of Instances.
	Address, Token string

	// Namespace of Vault Enterprise, for all requests.
	Namespace string

	// CA has certificates of authorities, as PEM, that are trusted beside those of the machine.
	CA []byte

	// Instances is the ConfigMap whose key "config.yaml" lists where ServiceAccounts may log in: instances: [{address, loginPath}].
	// If there is one, they log in nowhere else.
	Instances types.NamespacedName

	// Self is the ServiceAccount of the process. Nil means that it has none.
	Self func(ctx context.Context) (types.NamespacedName, error)
}

// Services are the key services, for all objects. It is safe for concurrent use.
type Services struct {
	options Options
	tokens  *memo[string]             // of Vault, and for what is in Secrets
	roles   *memo[awssdk.Credentials] // that were assumed
}

// New returns services with the options.
func New(o Options) *Services {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)

	if o.Now == nil {
		o.Now = time.Now
	}

	return &Services{options: o, tokens: newMemo[string](o.Now), roles: newMemo[awssdk.Credentials](o.Now)}
}

// Request says who needs data keys.
type Request struct {
	// Kind, Namespace and Name of the object.
	Kind, Namespace, Name string

	// ServiceAccount in the namespace, whose identity is taken. Empty means Options.DefaultServiceAccount.
	ServiceAccount string

	// Secret is the content of the one that the object names, if it names one. Its entries are those of Flux: sops.aws-kms,
	// sops.azure-kv, sops.gcp-kms and sops.vault-token. Each is used in place of the identity for its service.
	Secret map[string][]byte

	// Proxy on the way to the services, with its user information. Nil means the one of the process, if there is one.
	Proxy *url.URL
}

// For returns what gets data keys for an object. It asks nobody. Its error names the entry of the Secret that cannot be used.
// The keys may be used concurrently, and for as long as the request is as it was.
func (s *Services) For(r Request) (sops.Keys, error) {
	entries, err := readSecret(r.Secret)
	if err != nil {
		return nil, err
	}

	return &keys{Services: s, request: r, account: cmp.Or(r.ServiceAccount, s.options.DefaultServiceAccount), entries: entries}, nil
}

// keys gets data keys for one object.
type keys struct {
	*Services

	request Request
	account string // empty: the process
	entries entries
}

// Unwrap implements sops.Keys.
func (k *keys) Unwrap(ctx context.Context, r sops.Recipient) ([]byte, error) {
	unwrap := map[sops.Kind]func(context.Context, sops.Recipient) ([]byte, error){
		sops.AWSKMS: k.aws, sops.AzureKV: k.azure, sops.GCPKMS: k.gcp, sops.VaultTransit: k.vault,
	}[r.Kind]
	if unwrap == nil {
		return nil, &sops.NoKeyError{}
	}

	if len(r.Encrypted) > maxEncrypted {
		return nil, fmt.Errorf("the encrypted data key has more than %d bytes", maxEncrypted)
	}

	ctx, cancel := context.WithTimeoutCause(ctx, k.options.Timeout, fmt.Errorf("timed out after %s", k.options.Timeout))
	defer cancel()

	plain, err := unwrap(ctx, r)

	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case len(plain) == 0 || len(plain) > maxDataKey:
		return nil, errors.New("the service gave no usable data key")
	}

	return plain, nil
}

// identity is who asks a cloud if no Secret says it.
func (k *keys) identity(provider string) (cloud.Request, error) {
	if k.options.Cloud == nil {
		return cloud.Request{}, &sops.NoKeyError{Reason: "there are no credentials for it"}
	}

	return cloud.Request{
		Provider: provider, Kind: k.request.Kind, Namespace: k.request.Namespace, Name: k.request.Name,
		ServiceAccount: k.account, Process: k.account == "", Proxy: k.request.Proxy,
	}, nil
}

// client returns what talks to a service, for as long as the context of Unwrap lasts. It follows no redirect: none of the services needs that, and what is sent is secret.
func (k *keys) client(route ingest.Route) (*http.Client, error) {
	route.Proxy = k.request.Proxy

	t, err := k.options.Transports.To(route)
	if err != nil {
		return nil, fmt.Errorf("reach the service: %w", ingest.RedactError(err))
	}

	c := ingest.NewClient(t, func(*http.Response) int64 { return maxAnswer })
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	return c, nil
}
