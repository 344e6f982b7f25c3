package kms_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

const vaultURL = "https://team.vault.azure.net"

// principalPEM returns a certificate that Azure knows, with its key.
func principalPEM(t *testing.T) string {
	t.Helper()

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}

	sky.Certificates = append(sky.Certificates, &key.PublicKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}

	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}

	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

func TestAzure(t *testing.T) {
	sky.Secrets[tenant+"/"+clientID] = secret

	sealed := func(at, version string) sops.Recipient {
		return sops.Recipient{
			Kind: sops.AzureKV, VaultURL: at, Name: "sops", Version: version,
			Encrypted: base64.RawURLEncoding.EncodeToString(sky.Seal(at+"/keys/sops", dataKey, nil)),
		}
	}
	with := func(change func(*sops.Recipient)) sops.Recipient {
		r := sealed(vaultURL, "1")
		change(&r)

		return r
	}
	entry := func(fields map[string]string) map[string]string {
		raw, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}

		return map[string]string{"sops.azure-kv": string(raw)}
	}
	principal := func(more ...string) map[string]string {
		f := map[string]string{"tenantId": tenant, "clientId": clientID}
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}

		return entry(f)
	}

	cases := map[string]struct {
		reason    string
		recipient sops.Recipient
		request   kms.Request
		change    func(*kms.Options)
		want      string
	}{
		"Account":   {reason: "A ServiceAccount is a managed identity.", recipient: sealed(vaultURL, "1"), request: request("reader", nil)},
		"NoVersion": {reason: "The last version will do.", recipient: sealed(vaultURL, ""), request: request("reader", nil)},
		"Slash": {
			reason: "The URL may end with a slash.", recipient: with(func(r *sops.Recipient) { r.VaultURL += "/" }), request: request("reader", nil),
		},
		"HSM": {
			reason:    "A managed HSM takes tokens of its own.",
			recipient: sealed("https://team.managedhsm.azure.net", "1"), request: request("reader", nil),
		},
		"Principal": {
			reason: "A Secret may have a service principal.", recipient: sealed(vaultURL, "1"), request: request("nobody", principal("clientSecret", secret)),
		},
		"CommandLine": {
			reason: "As the command line prints it.", recipient: sealed(vaultURL, "1"),
			request: request("", entry(map[string]string{"tenant": tenant, "appId": clientID, "password": secret, "displayName": "x"})),
		},
		"Authority": {
			reason: "With the service that it is known to.", recipient: sealed(vaultURL, "1"),
			request: request("", principal("clientSecret", secret, "authorityHost", "https://login.microsoftonline.com/")),
		},
		"Certificate": {
			reason: "Or with a certificate.", recipient: sealed(vaultURL, "1"), request: request("", principal("clientCertificate", principalPEM(t))),
		},
		"WrongPrincipal": {
			reason: "A wrong secret is refused.", recipient: sealed(vaultURL, "1"), request: request("", principal("clientSecret", secret+"3")),
			want: `get token for key "sops.azure-kv" of the decryption Secret: invalid_client: AADSTS7000215: Invalid client secret provided.`,
		},
		"OtherAuthority": {
			reason: "Nobody else gets it.", recipient: sealed(vaultURL, "1"),
			request: request("", principal("clientSecret", secret, "authorityHost", "https://evil.test/")),
			want:    `key "sops.azure-kv" of the decryption Secret: field "authorityHost" is none of https://login.microsoftonline.com`,
		},
		"NoCertificate": {
			reason: "A certificate comes as PEM.", recipient: sealed(vaultURL, "1"), request: request("", principal("clientCertificate", secret)),
			want: `key "sops.azure-kv" of the decryption Secret: field "clientCertificate" is no certificate with a key in PEM`,
		},
		"Half": {
			reason: "Half a principal is none.", recipient: sealed(vaultURL, "1"), request: request("", principal()),
			want: `field "clientSecret" or "clientCertificate" is missing`,
		},
		"NoTenant": {
			reason: "It has a tenant.", recipient: sealed(vaultURL, "1"),
			request: request("", entry(map[string]string{"clientId": clientID, "clientSecret": secret})), want: `field "tenantId" is missing`,
		},
		"Misspelt": {
			reason: "What is misspelt does not go unseen.", recipient: sealed(vaultURL, "1"),
			request: request("", principal("clientsecret", secret)), want: `key "sops.azure-kv" of the decryption Secret: it has a field that is none of`,
		},
		"Managed": {
			reason: "Identities of the nodes are not for objects that have to have one of their own.", recipient: sealed(vaultURL, "1"),
			request: request("", entry(map[string]string{"clientId": clientID})),
			change:  func(o *kms.Options) { o.DefaultServiceAccount = "reader" },
			want:    `key "sops.azure-kv" of the decryption Secret: managed identities of the controller are not available to objects`,
		},
		"Nobody": {
			reason: "Who has no identity gets nothing.", recipient: sealed(vaultURL, "1"), request: request("nobody", nil),
			want: "get azure credentials of service account 'apps/nobody': invalid_client",
		},
		"Elsewhere": {
			reason: "A token goes to vaults alone.", recipient: with(func(r *sops.Recipient) { r.VaultURL = "https://evil.test" }),
			request: request("reader", nil), want: "the URL is none of a vault",
		},
		"Lookalike": {
			reason:    "However they are called.",
			recipient: with(func(r *sops.Recipient) { r.VaultURL = "https://team.vault.azure.net.evil.test" }),
			request:   request("reader", nil), want: "the URL is none of a vault",
		},
		"UserInfo": {
			reason:    "Or written.",
			recipient: with(func(r *sops.Recipient) { r.VaultURL = "https://evil.test\\@team.vault.azure.net" }),
			request:   request("reader", nil), want: "the URL is none of a vault",
		},
		"Port": {
			reason: "At their port.", recipient: with(func(r *sops.Recipient) { r.VaultURL = vaultURL + ":8443" }),
			request: request("reader", nil), want: "the URL is none of a vault",
		},
		"PlainHTTP": {
			reason: "Over TLS.", recipient: with(func(r *sops.Recipient) { r.VaultURL = "http://team.vault.azure.net" }),
			request: request("reader", nil), want: "the URL is none of a vault",
		},
		"Path": {
			reason: "A name leads nowhere.", recipient: with(func(r *sops.Recipient) { r.Name = "../secrets/x" }),
			request: request("reader", nil), want: "the name of the key or its version is none",
		},
		"Version": {
			reason: "Nor does a version.", recipient: with(func(r *sops.Recipient) { r.Version = "1/sign?x=" }),
			request: request("reader", nil), want: "the name of the key or its version is none",
		},
		"OtherKey": {
			reason: "Another key does not decrypt it.", recipient: with(func(r *sops.Recipient) { r.Name = "other" }),
			request: request("reader", nil), want: "decrypt with Azure Key Vault: 400 Bad Request: The parameter is incorrect.",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := services(t, newCluster(t), func(o *kms.Options) {
				if tc.change != nil {
					tc.change(o)
				}
			})

			got, err := unwrap(t, s, tc.request, tc.recipient)
			expect(t, tc.reason, tc.want, got, err)

			for _, r := range sky.Requests() {
				if r.Host == "evil.test" {
					t.Errorf("%s\nrequest: %s", tc.reason, r)
				}
			}
		})
	}
}
