package bucket

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/cloud"
)

// Keys of the Secret for Azure.
const (
	azureTenant       = "tenantId"
	azureClient       = "clientId"
	azureClientSecret = "clientSecret"
	azureCertificate  = "clientCertificate"
	azureSendChain    = "clientCertificateSendChain"
	azureAccountKey   = "accountKey"
	azureSASKey       = "sasKey"
	azureAuthority    = "authorityHost"
)

// azureSecret is what a Secret for Azure says. All empty means that there is none.
type azureSecret struct {
	tenant, client, secret, authority string

	certificates []*x509.Certificate
	key          crypto.PrivateKey
	sendChain    bool

	account, sas string
}

// readAzureSecret reads a Secret: a service principal with a secret or a certificate, a managed identity, the key of an
// account, or a shared access signature, in this order. Source: reference §2.5.
func readAzureSecret(s *corev1.Secret) (azureSecret, error) {
	if s == nil {
		return azureSecret{}, nil
	}

	text := func(key string) string { return strings.TrimSpace(string(s.Data[key])) }
	k := azureSecret{tenant: text(azureTenant), client: text(azureClient), authority: text(azureAuthority)}

	switch certificate := s.Data[azureCertificate]; {
	case k.tenant != "" && k.client != "" && text(azureClientSecret) != "":
		k.secret = text(azureClientSecret)
	case k.tenant != "" && k.client != "" && len(certificate) > 0:
		if len(certificate) > maxKeyFile {
			return k, tooLarge(s, azureCertificate)
		}

		// A file in PKCS#12 says itself how often its password is hashed, at several places, and nothing would stop that.
		var err error
		if block, _ := pem.Decode(certificate); block == nil {
			err = errNotPEM
		} else {
			k.certificates, k.key, err = azidentity.ParseCertificates(certificate, nil)
		}

		if err != nil {
			return k, fmt.Errorf("invalid '%s/%s' secret data: '%s' is no certificate with a key in PEM, which is not encrypted",
				s.Namespace, s.Name, azureCertificate)
		}

		flag := text(azureSendChain)
		k.sendChain = flag == "1" || strings.EqualFold(flag, "true")
	case k.client != "" && k.tenant == "" && text(azureClientSecret) == "" && len(certificate) == 0:
	case text(azureAccountKey) != "":
		return azureSecret{account: text(azureAccountKey)}, nil
	case text(azureSASKey) != "":
		return azureSecret{sas: text(azureSASKey)}, nil
	default:
		return k, missing(s, fmt.Sprintf("'%s' or '%s', or '%s', or '%s' and '%s' with '%s' or '%s'", azureAccountKey, azureSASKey,
			azureClient, azureTenant, azureClient, azureClientSecret, azureCertificate))
	}

	return k, nil
}

var errNotPEM = errors.New("it is no PEM")

// maxKeyFile bounds a private key with what belongs to it, in bytes: reading one cannot be stopped, and signing takes longer than
// anybody waits if its numbers are long enough.
const maxKeyFile = 32 << 10

// tooLarge says that a private key is too large to be used.
func tooLarge(s *corev1.Secret, key string) error {
	return fmt.Errorf("invalid '%s/%s' secret data: '%s' has more than %d bytes", s.Namespace, s.Name, key, maxKeyFile)
}

// getToken gets a token of Azure.
type getToken func(ctx context.Context, c *cloud.Credentials, who cloud.Request) (azcore.AccessToken, error)

// azureToken returns how to get tokens: for what the Secret says, or else for an identity.
func (b *Buckets) azureToken(a *access, k azureSecret) (getToken, error) {
	if k.client == "" || k.tenant == "" {
		if err := checkHost(a.spec.Endpoint, azureHosts()); err != nil {
			return nil, fmt.Errorf("provider %q does not fit the endpoint: %w", a.who.Provider, err)
		}
	}

	switch {
	case k.client == "":
		return func(ctx context.Context, c *cloud.Credentials, who cloud.Request) (azcore.AccessToken, error) {
			return c.Azure(ctx, who, azureScope)
		}, nil
	case k.tenant == "":
		return func(ctx context.Context, c *cloud.Credentials, who cloud.Request) (azcore.AccessToken, error) {
			if c == nil {
				return azcore.AccessToken{}, errNoIdentity
			}

			return c.AzureManaged(ctx, who, k.client, azureScope)
		}, nil
	}

	cred, err := b.principal(a, k)
	if err != nil {
		return nil, err
	}

	return func(ctx context.Context, _ *cloud.Credentials, _ cloud.Request) (azcore.AccessToken, error) {
		token, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{azureScope}})
		if err != nil {
			return token, fmt.Errorf("get token for '%s' %q: %w", azureClient, k.client, cloud.Reason(err))
		}

		return token, nil
	}, nil
}

// principal is a service principal. It keeps its token as long as it is good.
func (b *Buckets) principal(a *access, k azureSecret) (azcore.TokenCredential, error) {
	t, err := b.transport(a, nil)
	if err != nil {
		return nil, err
	}

	o := azcore.ClientOptions{
		Transport: newClient(t, 0, noContent), Retry: policy.RetryOptions{MaxRetries: azureAttempts},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
	if k.authority != "" {
		o.Cloud = azcloud.Configuration{ActiveDirectoryAuthorityHost: k.authority}
	}

	var cred azcore.TokenCredential
	if k.key != nil {
		cred, err = azidentity.NewClientCertificateCredential(k.tenant, k.client, k.certificates, k.key,
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: o, SendCertificateChain: k.sendChain})
	} else {
		cred, err = azidentity.NewClientSecretCredential(k.tenant, k.client, k.secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: o})
	}

	if err != nil {
		return nil, errors.New(cut(cmp.Or(err.Error(), "the service principal cannot be used")))
	}

	return cred, nil
}
