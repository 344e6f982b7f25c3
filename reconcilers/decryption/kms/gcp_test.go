package kms_test

import (
	"bytes"
	"testing"

	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

const resource = "projects/p/locations/global/keyRings/r/cryptoKeys/sops"

func TestGCP(t *testing.T) {
	key, err := sky.NewServiceKey(mail)
	if err != nil {
		t.Fatal(err)
	}

	sealed := sops.Recipient{Kind: sops.GCPKMS, ResourceID: resource, Encrypted: std(sky.Seal(resource, dataKey, nil))}
	at := func(id string) sops.Recipient {
		r := sealed
		r.ResourceID = id

		return r
	}
	entry := func(raw []byte) map[string]string { return map[string]string{"sops.gcp-kms": string(raw)} }
	other := bytes.Replace(key, []byte(mail), []byte("other@project.iam.gserviceaccount.com"), 1)

	cases := map[string]struct {
		reason    string
		recipient sops.Recipient
		request   kms.Request
		want      string
	}{
		"Account": {"A ServiceAccount is one of Google's.", sealed, request("reader", nil), ""},
		"Secret":  {"A Secret may have the key of one.", sealed, request("nobody", entry(key)), ""},
		"Nobody": {
			"Who has no identity gets nothing.", sealed, request("nobody", nil), "get gcp credentials of service account 'apps/nobody'",
		},
		"WrongKey": {
			"Nor who has a wrong key.", sealed, request("", entry(other)),
			`get token for key "sops.gcp-kms" of the decryption Secret: invalid_grant: Invalid JWT Signature.`,
		},
		"External": {
			"Other credentials would read files and ask addresses.", sealed,
			request("", entry([]byte(`{"type": "external_account", "token_url": "https://evil.test"}`))),
			`key "sops.gcp-kms" of the decryption Secret: field "type" is not "service_account"`,
		},
		"User": {
			"Or are those of people.", sealed, request("", entry([]byte(`{"type": "authorized_user", "refresh_token": "hunter2"}`))),
			`field "type" is not "service_account"`,
		},
		"TokenURI": {
			"The key says where tokens come from, which is Google.", sealed,
			request("", entry(bytes.Replace(key, []byte("oauth2.googleapis.com"), []byte("evil.test"), 1))),
			`key "sops.gcp-kms" of the decryption Secret: field "token_uri" is none of Google`,
		},
		"NoKey": {
			"It has to be a key.", sealed, request("", entry([]byte(`{"type": "service_account", "private_key": "hunter2"}`))),
			"it is no key of a service account",
		},
		"NoJSON":   {"In JSON.", sealed, request("", entry([]byte(secret))), `key "sops.gcp-kms" of the decryption Secret: it is no JSON`},
		"Path":     {"A name is no path.", at("projects/p/locations/global/keyRings/r/cryptoKeys/../x"), request("reader", nil), "the resource is no key"},
		"Method":   {"Nor a method.", at(resource + ":setIamPolicy?x="), request("reader", nil), "the resource is no key"},
		"OtherKey": {"Another key does not decrypt it.", at(resource + "2"), request("reader", nil), "decrypt with Google Cloud KMS: 400 Bad Request: Decryption failed"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := unwrap(t, services(t, newCluster(t)), tc.request, tc.recipient)
			expect(t, tc.reason, tc.want, got, err)
		})
	}
}
