package kms

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// principal is what a Secret says for Azure: a service principal with a secret or a certificate, or else a managed identity.
type principal struct {
	tenant, client, secret, authority string

	certificates []*x509.Certificate
	key          crypto.PrivateKey
	sendChain    bool

	// content is what the Secret says, to tell it apart from others.
	content string
}

func readAzure(raw []byte) (*principal, error) {
	f, err := fields(raw, "tenantId", "clientId", "clientSecret", "clientCertificate", "clientCertificatePassword",
		"clientCertificateSendChain", "authorityHost", "appId", "tenant", "password", "displayName", "name")
	if err != nil {
		return nil, err
	}

	// The second names are those that the command line of Azure prints.
	p := &principal{
		tenant: cmp.Or(f["tenantId"], f["tenant"]), client: cmp.Or(f["clientId"], f["appId"]),
		secret: cmp.Or(f["clientSecret"], f["password"]), authority: f["authorityHost"], content: string(raw),
	}

	if err := checkAuthority(p.authority); err != nil {
		return nil, err
	}

	certificate := f["clientCertificate"]

	switch {
	case p.client == "":
		return nil, errors.New(`field "clientId" is missing`)
	case p.secret == "" && certificate == "" && p.tenant != "":
		return nil, errors.New(`field "clientSecret" or "clientCertificate" is missing`)
	case p.tenant == "" && (p.secret != "" || certificate != ""):
		return nil, errors.New(`field "tenantId" is missing`)
	case p.secret != "" || certificate == "":
		return p, nil
	}

	// A file in PKCS#12 says itself how often its password is hashed, at several places, and nothing would stop that.
	if block, _ := pem.Decode([]byte(certificate)); block == nil || f["clientCertificatePassword"] != "" {
		return nil, errors.New(`field "clientCertificate" is no certificate with a key in PEM, which is not encrypted`)
	}

	p.sendChain = f["clientCertificateSendChain"] == "1" || strings.EqualFold(f["clientCertificateSendChain"], "true")
	if p.certificates, p.key, err = azidentity.ParseCertificates([]byte(certificate), nil); err != nil {
		return nil, errors.New(`field "clientCertificate" is no certificate with a key in PEM, which is not encrypted`)
	}

	return p, nil
}

// checkAuthority refuses what is no service of Azure that gives tokens: it gets the secret.
func checkAuthority(authority string) error {
	known := []string{
		"", "https://login.microsoftonline.com", "https://login.microsoftonline.us", "https://login.chinacloudapi.cn",
		"https://login.partner.microsoftonline.cn",
	}
	if !slices.Contains(known, strings.TrimSuffix(authority, "/")) {
		return fmt.Errorf(`field "authorityHost" is none of %s`, strings.Join(known[1:], ", "))
	}

	return nil
}

// azure asks Azure Key Vault. A token for it is good for all vaults of its cloud, so it goes to none but these.
func (k *keys) azure(ctx context.Context, r sops.Recipient) ([]byte, error) {
	const pattern = `^https://[0-9A-Za-z][0-9A-Za-z-]{1,126}\.` +
		`((?:vault|managedhsm)\.azure\.net|(?:vault|managedhsm)\.azure\.cn|(?:vault|managedhsm)\.usgovcloudapi\.net)/?$`

	m := regexp.MustCompile(pattern).FindStringSubmatch(r.VaultURL)
	if m == nil {
		return nil, errors.New("the URL is none of a vault: want https://<name>.vault.azure.net")
	}

	if !regexp.MustCompile(`^[0-9A-Za-z-]{1,127}/[0-9A-Za-z]{0,64}$`).MatchString(r.Name + "/" + r.Version) {
		return nil, errors.New("the name of the key or its version is none")
	}

	if raw, err := base64.RawURLEncoding.DecodeString(r.Encrypted); err != nil || len(raw) == 0 {
		return nil, errors.New("the encrypted data key is no base64url")
	}

	token, err := k.azureToken(ctx, "https://"+m[1]+"/.default")
	if err != nil {
		return nil, err
	}

	// Without a version, the path has two slashes, as the library of Azure writes it.
	at := strings.TrimSuffix(r.VaultURL, "/") + "/keys/" + r.Name + "/" + r.Version + "/decrypt?" +
		url.Values{"api-version": {"7.4"}}.Encode()
	q := question{
		url: at, header: map[string]string{"Authorization": "Bearer " + token}, cloud: true,
		body: map[string]string{"alg": "RSA-OAEP-256", "value": r.Encrypted},
	}

	var answer struct {
		Value string `json:"value"`
	}
	if err := k.ask(ctx, q, &answer); err != nil {
		return nil, fmt.Errorf("decrypt with Azure Key Vault: %w", err)
	}

	return decode(base64.RawURLEncoding, strings.TrimRight(answer.Value, "="))
}

// azureToken returns a token for the scope: of what the Secret says, or of the identity.
func (k *keys) azureToken(ctx context.Context, scope string) (string, error) {
	p := k.entries.azure

	switch {
	case p != nil && p.tenant != "":
		return k.principalToken(ctx, p, scope)
	case p != nil && k.options.DefaultServiceAccount != "":
		return "", fmt.Errorf("key %q of the decryption Secret: managed identities of the controller are not available to objects", entryAzure)
	}

	who, err := k.identity(cloud.Azure)
	if err != nil {
		return "", err
	}

	if p != nil {
		got, err := k.options.Cloud.AzureManaged(ctx, who, p.client, scope)

		return got.Token, err //nolint:wrapcheck // it names the identity
	}

	got, err := k.options.Cloud.Azure(ctx, who, scope)

	return got.Token, err //nolint:wrapcheck // it names the account
}

func (k *keys) principalToken(ctx context.Context, p *principal, scope string) (string, error) {
	token, err := k.tokens.get(ctx, flight.FingerprintOf("azure", p.content, scope, k.via()),
		func(ctx context.Context) (string, time.Time, error) {
			c, err := k.principalCredential(p)
			if err != nil {
				return "", time.Time{}, err
			}

			got, err := c.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})

			return got.Token, got.ExpiresOn, err //nolint:wrapcheck // the caller does
		})
	if err != nil {
		return "", fmt.Errorf("get token for key %q of the decryption Secret: %w", entryAzure, cloud.Reason(err))
	}

	return token, nil
}

func (k *keys) principalCredential(p *principal) (azcore.TokenCredential, error) {
	client, err := k.client(ingest.Route{})
	if err != nil {
		return nil, err
	}

	o := azcore.ClientOptions{
		Transport: client, Retry: policy.RetryOptions{MaxRetries: -1}, Telemetry: policy.TelemetryOptions{Disabled: true},
	}
	if p.authority != "" {
		o.Cloud = azcloud.Configuration{ActiveDirectoryAuthorityHost: p.authority}
	}

	if p.key != nil {
		return azidentity.NewClientCertificateCredential(p.tenant, p.client, p.certificates, p.key, //nolint:wrapcheck // the caller does
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: o, SendCertificateChain: p.sendChain})
	}

	return azidentity.NewClientSecretCredential(p.tenant, p.client, p.secret, //nolint:wrapcheck // the caller does
		&azidentity.ClientSecretCredentialOptions{ClientOptions: o})
}

// via stands for the way to the services.
func (k *keys) via() string {
	if k.request.Proxy == nil {
		return ""
	}

	return k.request.Proxy.String()
}

// decode reads a data key, and quotes nothing of it.
func decode(e *base64.Encoding, text string) ([]byte, error) {
	plain, err := e.DecodeString(string(bytes.TrimSpace([]byte(text))))
	if err != nil {
		return nil, errors.New("the service gave no usable data key")
	}

	return plain, nil
}
