package sops_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

// FuzzDecrypt looks for files that make a reader crash. Whoever is asked for a data key gives one.
func FuzzDecrypt(f *testing.F) {
	const metadata = "age: [{recipient: age1x, enc: x}], mac: 'ENC[AES256_GCM,data:x]', unencrypted_suffix: _u"

	for _, seed := range []string{
		"# c\na_u: 1 # i\nb_u: &x [1, {k_u: v}]\nc_u: *x\nsops: {" + metadata + "}\n---\nd_u: |\n  t\n",
		`{"a_u": [1, {"b": null}], "data_u": "x", "sops": {"age": [{"enc": "x"}], "mac": "ENC[AES256_GCM,"}}`,
		"# c\nA_u=b\\nc\nsops_age__list_0__map_enc=x\nsops_key_groups__list_1__map_pgp__list_0__map_fp=x\nsops_mac=ENC[AES256_GCM,\n",
		"; c\n[s_u]\n; k\na = b\n[sops]\nage__list_0__map_enc = x\\ny\nmac = ENC[AES256_GCM,\n",
		"a: ENC[AES256_GCM,data:AA==,iv:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]\nsops: {age: [{enc: x}]}\n",
		"sops: {shamir_threshold: 2, key_groups: [{age: [{enc: x}]}, {pgp: [{enc: y}]}, {kms: []}]}\n",
	} {
		f.Add([]byte(seed))
	}

	shared := bytes.Repeat([]byte{7}, 32)
	k := sops.KeysFunc(func(_ context.Context, r sops.Recipient) ([]byte, error) {
		if r.String() == "" {
			return nil, &sops.NoKeyError{}
		}

		return shared, nil
	})

	f.Fuzz(func(t *testing.T, data []byte) {
		sops.Detect(data)

		formats := []sops.Format{sops.YAML, sops.JSON, sops.Dotenv, sops.INI, sops.Binary}
		for _, from := range formats {
			for _, to := range formats {
				if _, err := sops.Decrypt(t.Context(), data, from, to, k); errors.Is(err, sops.ErrInternal) {
					t.Errorf("from %s to %s: a panic", from, to)
				}
			}
		}
	})
}
