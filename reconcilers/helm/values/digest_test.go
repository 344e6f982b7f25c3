package values_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/opencontainers/go-digest"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/helm/values"
)

func sha(text string) digest.Digest {
	sum := sha256.Sum256([]byte(text))

	return digest.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

func TestDigest(t *testing.T) {
	cases := map[string]struct {
		reason string
		values m
		want   digest.Digest
	}{
		"Nil":    {"no values are no bytes", nil, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"Empty":  {"no values are no bytes", m{}, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"Inline": {"the digest that Flux makes", m{"a": "inline"}, "sha256:b5f2eeadfd1bf8036f1cc673661de8b1da2748a2af13bfee6119117e4e1b3560"},
		"Order": {
			"keys are sorted by their bytes, lists are not",
			m{"b": []any{2.0, m{"y": nil, "x": true}, 1.0}, "a10": 1.0, "a9": m{}, "B": []any{}},
			sha("B: []\na10: 1\na9: {}\nb:\n- 2\n- x: true\n  \"y\": null\n- 1\n"),
		},
		"Numbers": {
			"whole numbers are written as such, however they came in",
			m{"a": 10000000.0, "b": int64(10000000), "c": 1.5, "d": 18446744073709549568.0, "e": 1e+30, "f": "10000000", "g": -10000000.0},
			sha("a: 10000000\nb: 10000000\nc: 1.5\nd: 18446744073709549568\ne: 1e+30\nf: \"10000000\"\ng: -10000000\n"),
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := values.Digest(tc.values, digest.SHA256)
			if err != nil || got != tc.want {
				t.Errorf("%s: got %s, %v, want %s", tc.reason, got, err, tc.want)
			}

			if !values.Matches(string(tc.want), tc.values) {
				t.Errorf("%s: does not match itself", tc.reason)
			}
		})
	}
}

// TestDigestOfStored holds that values have the same digest when they come back from the storage of Helm.
func TestDigestOfStored(t *testing.T) {
	const text = `{"a": 10000000, "b": 1.5, "c": {"d": [1, "1", null, {"e": -7}]}, "632bd80235a05f4192aefade": 1, "632": 2}`

	var first, second m
	if err := yaml.Unmarshal([]byte(text), &first); err != nil {
		t.Fatal(err)
	}

	first["a"] = int64(10000000) // as helm --set has it

	again, err := yaml.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}

	if err := yaml.Unmarshal(again, &second); err != nil {
		t.Fatal(err)
	}

	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		want, err := values.Digest(first, a)
		if err != nil {
			t.Fatal(err)
		}

		if got, err := values.Digest(second, a); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", a, got, err, want)
		}

		if !values.Matches(string(want), second) || values.Matches(string(want), m{"a": 1}) {
			t.Errorf("%s does not tell values apart", a)
		}
	}
}

func TestDigestUnknown(t *testing.T) {
	if _, err := values.Digest(nil, "md5"); err == nil {
		t.Error("an unknown algorithm makes a digest")
	}

	for _, d := range []string{"", "sha256:", "sha512:invalid", "md5:d41d8cd98f00b204e9800998ecf8427e", "text"} {
		if values.Matches(d, nil) {
			t.Errorf("%q matches no values", d)
		}
	}
}
