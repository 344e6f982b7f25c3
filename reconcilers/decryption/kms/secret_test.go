package kms_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

func TestSecret(t *testing.T) {
	cases := map[string]struct {
		reason string
		name   string
		raw    string
		want   string
	}{
		"Others":    {"Keys that are at hand are not for services.", "identity.agekey", "x", ""},
		"PGP":       {"However they are called.", "sops.asc", "x", ""},
		"Misspelt":  {"A key that is misspelt would let the controller's identity stand in.", "sops.aws_kms", "x", `key "sops.aws_kms" of the decryption Secret: it is none of sops.aws-kms`},
		"Empty":     {"So would an empty one.", "sops.aws-kms", " \n", `key "sops.aws-kms" of the decryption Secret: it is empty`},
		"Long":      {"It is short.", "sops.gcp-kms", strings.Repeat("x", 40<<10), `key "sops.gcp-kms" of the decryption Secret: it has more than 32768 bytes`},
		"NoYAML":    {"It is YAML.", "sops.aws-kms", "a: 'hunter2", `it is no object of YAML or JSON`},
		"Text":      {"With fields.", "sops.aws-kms", "hunter2", `it is no object of YAML or JSON`},
		"Fields":    {"Which are known.", "sops.aws-kms", "aws_secret_access_kay: hunter2", `it has a field that is none of aws_access_key_id`},
		"NoText":    {"And text.", "sops.aws-kms", "aws_access_key_id: [hunter2]", `field "aws_access_key_id" is no text`},
		"NoKey":     {"All of them are there.", "sops.aws-kms", "aws_access_key_id: hunter2", `field "aws_secret_access_key" is missing`},
		"NoSession": {"But for the session.", "sops.aws-kms", "aws_access_key_id: a\naws_secret_access_key: b", ""},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := kms.New(kms.Options{}).For(request("", map[string]string{tc.name: tc.raw}))
			if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), secret)) {
				t.Errorf("%s\nerror: %v, want: %s", tc.reason, err, tc.want)
			}
		})
	}
}

// What is no service's is somebody else's.
func TestOtherKinds(t *testing.T) {
	k, err := kms.New(kms.Options{}).For(request("", nil))
	if err != nil {
		t.Fatal(err)
	}

	for _, kind := range []sops.Kind{sops.Age, sops.PGP, "", "x"} {
		_, err := k.Unwrap(t.Context(), sops.Recipient{Kind: kind})
		if _, ok := errors.AsType[*sops.NoKeyError](err); !ok {
			t.Errorf("%q: error: %v", kind, err)
		}
	}
}
