package bucket_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

func TestAzure(t *testing.T) {
	const endpoint = "https://account.blob.core.windows.net"

	etags := map[string]string{}
	for key, content := range map[string]string{"app.yaml": "a: 1\n", "dir/ä+%?.yaml": "b"} {
		etags[key] = sky.Put("account/apps", key, content)
	}

	accountKey := base64.StdEncoding.EncodeToString([]byte("key of the account"))
	sky.AccountKeys["account"] = accountKey
	sky.Secrets[tenant+"/"+clientID] = "hunter2"

	cases := map[string]struct {
		reason string
		secret map[string]string
		change []func(*sourcev1.BucketSpec)
		want   string
	}{
		"Account": {reason: "The identity opens the container.", change: []func(*sourcev1.BucketSpec){withAccount("reader")}, want: "True Succeeded"},
		"AccountKey": {
			reason: "So does the key of the account.", secret: map[string]string{"accountKey": accountKey}, want: "True Succeeded",
		},
		"WrongAccountKey": {
			reason: "Another one does not.", secret: map[string]string{"accountKey": base64.StdEncoding.EncodeToString([]byte("x"))},
			want: "False BucketOperationFailed: failed to confirm existence of 'apps' bucket: AuthenticationFailed: 403 Forbidden",
		},
		"NoAccountKey": {
			reason: "What is no key is refused.", secret: map[string]string{"accountKey": "hunter2!"},
			want: "False AuthenticationFailed: open container: 'accountKey' is no key of an account",
		},
		"SAS": {reason: "A signature does.", secret: map[string]string{"sasKey": sign(t, accountKey)}, want: "True Succeeded"},
		"WrongSAS": {
			reason: "Another one does not.", secret: map[string]string{"sasKey": "?sv=2020&sig=hunter2"},
			want: "False BucketOperationFailed: failed to confirm existence of 'apps' bucket: AuthenticationFailed: 403 Forbidden",
		},
		"Principal": {
			reason: "A service principal does.",
			secret: map[string]string{"tenantId": tenant, "clientId": clientID, "clientSecret": "hunter2"}, want: "True Succeeded",
		},
		"WrongPrincipal": {
			reason: "With another secret it does not.",
			secret: map[string]string{"tenantId": tenant, "clientId": clientID, "clientSecret": "hunter3"},
			want: "False AuthenticationFailed: get token for 'clientId' \"" + clientID + "\": invalid_client: " +
				"AADSTS7000215: Invalid client secret provided.",
		},
		"Certificate": {
			reason: "It may show a certificate.",
			secret: map[string]string{"tenantId": tenant, "clientId": clientID, "clientCertificate": certificate(t)}, want: "True Succeeded",
		},
		"NoCertificate": {
			reason: "What is no certificate is refused.",
			secret: map[string]string{"tenantId": tenant, "clientId": clientID, "clientCertificate": "hunter2"},
			want:   "False AuthenticationFailed: invalid 'apps/azure' secret data: 'clientCertificate' is no certificate with a key",
		},
		"Misspelt": {
			reason: "A misspelt key is an error.", secret: map[string]string{"accountkey": accountKey},
			want: "False AuthenticationFailed: invalid 'apps/azure' secret data: required fields 'accountKey' or 'sasKey'",
		},
		"HalfPrincipal": {
			reason: "So is half a principal.", secret: map[string]string{"tenantId": tenant, "clientId": clientID},
			want: "False AuthenticationFailed: invalid 'apps/azure' secret data: required fields",
		},
		"NoRole": {
			reason: "Who has no role gets nothing.", change: []func(*sourcev1.BucketSpec){withAccount("nobody")},
			want: "False AuthenticationFailed: get azure credentials of service account 'apps/nobody': invalid_client: AADSTS700213",
		},
		"Elsewhere": {
			reason: "The token of an identity goes to nobody else.",
			change: []func(*sourcev1.BucketSpec){withAccount("reader"), func(s *sourcev1.BucketSpec) { s.Endpoint = "https://evil.test" }},
			want:   `False AuthenticationFailed: provider "azure" does not fit the endpoint: host "evil.test" is none of the provider's storage`,
		},
		"NoBucket": {
			reason: "A container may not be there.",
			change: []func(*sourcev1.BucketSpec){withAccount("reader"), func(s *sourcev1.BucketSpec) { s.BucketName = "none" }},
			want:   "False BucketOperationFailed: bucket 'none' not found",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.identities(t)

			obj := onCloud("azure", endpoint, tc.change...)
			if tc.secret != nil {
				w.secret("azure", tc.secret)
				obj.Spec.SecretRef = ref("azure")
			}

			b := w.bench(t, obj)
			got := b.run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, tc.want)

			if all := fmt.Sprint(got.Object.Status, got.Events, got.Err); strings.Contains(all, "hunter") || strings.Contains(all, "sig=") {
				t.Errorf("%s\na secret shows: %s", tc.reason, all)
			}

			if strings.HasPrefix(tc.want, "True") {
				same(t, tc.reason, map[string]string{"app.yaml": "a: 1\n", "dir/ä+%?.yaml": "b"}, w.files(t, got.Object.Status.Artifact))
				same(t, tc.reason, revisionOfCloud(etags), got.Object.Status.Artifact.Revision)

				sky.Requests()
				w.clock.Advance(time.Minute)
				b.run(t, obj)
				same(t, "requests", "[GET account.blob.core.windows.net/apps]", fmt.Sprint(sky.Requests()))

				return
			}

			// The words are the same each time, or everybody would be told of the failure again and again.
			if again := b.run(t, obj); len(again.Events) != 0 {
				t.Errorf("%s\nevents: %q", tc.reason, reasons(again.Events))
			}
		})
	}
}

// sign makes a shared access signature that the cloud knows.
func sign(t *testing.T, accountKey string) string {
	t.Helper()

	cred, err := container.NewSharedKeyCredential("account", accountKey)
	check(t, err)

	q, err := sas.BlobSignatureValues{
		ContainerName: "apps", Permissions: (&sas.ContainerPermissions{Read: true, List: true}).String(),
		ExpiryTime: time.Now().Add(time.Hour),
	}.SignWithSharedKey(cred)
	check(t, err)

	sky.Signatures = append(sky.Signatures, q.Signature())

	return "?" + q.Encode()
}

// certificate makes a certificate with its key that the cloud knows.
func certificate(t *testing.T) string {
	t.Helper()

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)

	cert, encoded, err := sky.Authority.IssueFor("reader", key)
	check(t, err)

	sky.Certificates = append(sky.Certificates, &key.PublicKey)

	return string(cert) + string(encoded)
}
