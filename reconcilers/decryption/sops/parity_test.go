package sops_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/decryption"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	testsops "github.com/weir-dev/weir/test/sops"
)

// people have the real program and keys of each kind.
type people struct {
	*testsops.Tool
	age, other, hybrid, rsa, curve testsops.Key
}

// open makes the keys once for all tests.
func open(t *testing.T) *people {
	t.Helper()

	tool, err := testsops.Open(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(tool.Close)

	p := &people{Tool: tool}

	var errs [5]error

	p.age, errs[0] = tool.AgeKey()
	p.other, errs[1] = tool.AgeKey()
	p.hybrid, errs[2] = tool.HybridKey()
	p.rsa, errs[3] = tool.PGPKey(t.Context(), "rsa2048", "")
	p.curve, errs[4] = tool.PGPKey(t.Context(), "ed25519", "")

	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}

	return p
}

// keys holds private keys as a Secret does.
func keys(t *testing.T, held ...testsops.Key) sops.Keys {
	t.Helper()

	data := map[string][]byte{}

	for i, k := range held {
		extension := ".agekey"
		if strings.Contains(string(k.Private), "PGP") {
			extension = ".asc"
		}

		data[string(rune('a'+i))+extension] = k.Private
	}

	identities, err := decryption.ParseIdentities(data)
	if err != nil {
		t.Fatal(err)
	}

	return identities
}

// plain has content of each format, with what is particular about it.
func plain() map[sops.Format][]string {
	return map[sops.Format][]string{
		sops.YAML: {
			"apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  user: admin\n  empty: \"\"\n  none: null\n",
			"# head\na: 1 # inline\n\n# above b\nb:\n  # in b\n  c: 1.5\n  d: true\n  e: 2024-01-02T03:04:05Z\n  # foot of b\nlist:\n  # first\n  - x # of x\n  - 2\n  - nested: [1, 2, {k: v}]\n  # end\n# foot\n",
			"text: |\n  line one\n  line two\nfolded: >\n  a\n  b\nquoted: \"with \\\"quotes\\\" and \\ttab\"\nnumber: \"0123\"\nyes: \"yes\"\nbig: 9007199254740993\nfloat: 1e300\nneg: -0.5\n",
			"a: 1\n---\nb: two\n---\n# only in the third\nc:\n  - 3\n",
			"base: &base\n  x: 1\nuse: *base\nlist:\n  - *base\n",
			"name_unencrypted: stays\nnested:\n  deep_unencrypted:\n    also: stays\n    when: 2024-01-02\n  hidden: goes\n",
			"empty: {}\nnone: []\nunicode: \"äöü 🔑\"\ncolon: \"a: b\"\nspace key: v\n",
			"a:\n    - - 1\n      - - 2\n    - k: v\n      # comment in a list of maps\n      l: w\n",
		},
		sops.JSON: {
			`{"b": 1, "a": {"s": "<&>", "f": 1.25, "t": true, "n": null, "e": ""}, "l": [1, "x", {"k": "v"}, []], "big": 9007199254740993}`,
			`{"data": "x"}`,
			`{"auths": {"registry.example.com": {"auth": "dTpw"}}, "o_unencrypted": {"x": 1}}`,
		},
		sops.Dotenv: {
			"# comment\nUSER=admin\nPASSWORD=p=a=s s\nEMPTY=\nURL=https://example.com/?a=b#c\n",
			"MULTI=one\\ntwo\nlast=1",
		},
		sops.INI: {
			"[server]\nhost = example.com\nport = 80\n\n; about the other\n[other]\n; about it\nkey = value\nempty =\n",
			"top = level\n[a.b]\nk = `x # y`\n",
		},
		sops.Binary: {
			"any bytes\x00 at all\n",
			"{\"data\": 1}",
			"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n",
		},
	}
}

func TestDecryptEqualsTheProgram(t *testing.T) {
	p := open(t)

	recipients := map[string]struct {
		args []string
		keys sops.Keys
	}{
		"Age":              {[]string{"--age", p.age.Recipient}, keys(t, p.age)},
		"Hybrid":           {[]string{"--age", p.hybrid.Recipient}, keys(t, p.hybrid)},
		"RSA":              {[]string{"--pgp", p.rsa.Recipient}, keys(t, p.rsa)},
		"Curve":            {[]string{"--pgp", p.curve.Recipient}, keys(t, p.curve)},
		"SecondOfTwo":      {[]string{"--age", p.other.Recipient + "," + p.age.Recipient}, keys(t, p.age)},
		"AgeBesideOpenPGP": {[]string{"--age", p.age.Recipient, "--pgp", p.rsa.Recipient}, keys(t, p.rsa)},
	}

	for format, contents := range plain() {
		for name, r := range recipients {
			t.Run(string(format)+name, func(t *testing.T) {
				for _, content := range contents {
					compare(t, p, r.keys, content, format, r.args...)
				}
			})
		}
	}
}

// compare encrypts with the program, and decrypts with it and with the package.
func compare(t *testing.T, p *people, k sops.Keys, content string, format sops.Format, args ...string) {
	t.Helper()

	encrypted, err := p.Encrypt(t.Context(), []byte(content), string(format), args...)
	if err != nil {
		t.Fatal(err)
	}

	equal(t, p, k, encrypted, format)
}

// equal decrypts with the program and with the package.
func equal(t *testing.T, p *people, k sops.Keys, encrypted []byte, format sops.Format) {
	t.Helper()

	want, err := p.Decrypt(t.Context(), encrypted, string(format), string(format))
	if err != nil {
		t.Fatal(err)
	}

	got, err := sops.Decrypt(t.Context(), encrypted, format, format, k)
	if err != nil {
		t.Fatalf("Decrypt: %v\n%s", err, encrypted)
	}

	if diff := cmp.Diff(string(want), string(got.Content)); diff != "" {
		t.Errorf("differs from the program (-program +package):\n%s\n%s", diff, encrypted)
	}

	if _, ok := sops.Detect(encrypted); !ok {
		t.Errorf("not detected as encrypted:\n%s", encrypted)
	}
}

func TestRulesEqualTheProgram(t *testing.T) {
	p := open(t)
	k := keys(t, p.age)

	const content = `# secret: all of this
metadata:
  name: n
data:
  # public
  password: p
  # another public
  # line
  list:
    - a # secret
    - b
  secret_key: 1
  deep:
    # secret from here
    x: true
    y: 1.5
other: [1, 2]
`

	for name, rule := range map[string]string{
		"EncryptedRegex":          "encrypted_regex: ^(data|stringData)$",
		"UnencryptedRegex":        "unencrypted_regex: ^metadata$|name",
		"EncryptedSuffix":         "encrypted_suffix: _key",
		"UnencryptedSuffix":       "unencrypted_suffix: data",
		"EncryptedCommentRegex":   "encrypted_comment_regex: secret",
		"UnencryptedCommentRegex": "unencrypted_comment_regex: public",
		"OnlyEncryptedInTheMAC":   "encrypted_regex: password\n    mac_only_encrypted: true",
	} {
		t.Run(name, func(t *testing.T) {
			config := "creation_rules:\n  - age: " + p.age.Recipient + "\n    " + rule + "\n"

			encrypted, err := p.EncryptBy(t.Context(), []byte(content), "yaml", config)
			if err != nil {
				t.Fatal(err)
			}

			equal(t, p, k, encrypted, sops.YAML)
		})
	}
}

func TestKeyGroups(t *testing.T) {
	p := open(t)

	config := "creation_rules:\n  - shamir_threshold: 2\n    key_groups:\n" +
		"      - age: [" + p.age.Recipient + "]\n        pgp: [" + p.curve.Recipient + "]\n" +
		"      - age: [" + p.other.Recipient + "]\n" +
		"      - pgp: [" + p.rsa.Recipient + "]\n"

	for format, contents := range plain() {
		encrypted, err := p.EncryptBy(t.Context(), []byte(contents[0]), string(format), config)
		if err != nil {
			t.Fatal(err)
		}

		want, err := p.Decrypt(t.Context(), encrypted, string(format), string(format))
		if err != nil {
			t.Fatal(err)
		}

		cases := map[string]struct {
			reason string
			keys   sops.Keys
			err    string
		}{
			"FirstAndSecond": {"two of three parts are enough", keys(t, p.age, p.other), ""},
			"FirstAndThird":  {"any two are, and any key of a group", keys(t, p.curve, p.rsa), ""},
			"All":            {"more do not hurt", keys(t, p.age, p.other, p.rsa), ""},
			"SameGroupTwice": {"two keys of one group are one part", keys(t, p.age, p.curve), "1 of the 2 parts needed"},
			"None":           {"nobody gets nothing", keys(t), "0 of the 2 parts needed"},
		}

		for name, c := range cases {
			t.Run(string(format)+name, func(t *testing.T) {
				got, err := sops.Decrypt(t.Context(), encrypted, format, format, c.keys)

				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("%s: error is %v, want %q", c.reason, err, c.err)
					}

					return
				}

				if diff := cmp.Diff(string(want), string(got.Content)); err != nil || diff != "" {
					t.Errorf("%s: %v\n%s", c.reason, err, diff)
				}
			})
		}
	}
}

func TestFormatsAreConvertedAsByTheProgram(t *testing.T) {
	p := open(t)
	k := keys(t, p.age)

	for name, c := range map[string]struct {
		content  string
		from, to sops.Format
	}{
		"YAMLToJSON":   {"a: 1\nb: [x, {c: 1.5}]\n# c\nt: 2024-01-02T03:04:05Z\n", sops.YAML, sops.JSON},
		"YAMLToDotenv": {"A: 1\nB: two\nF: 2.0\nT: true\n", sops.YAML, sops.Dotenv},
		"JSONToYAML":   {`{"a": 1, "b": ["x", {"c": 1.5}]}`, sops.JSON, sops.YAML},
		"DotenvToYAML": {"A=1\n# c\nB=two\n", sops.Dotenv, sops.YAML},
		"YAMLToINI":    {"s:\n  k: 1\n  f: 1.0\n", sops.YAML, sops.INI},
		"INIToJSON":    {"[s]\nk = v\n", sops.INI, sops.JSON},
	} {
		t.Run(name, func(t *testing.T) {
			encrypted, err := p.Encrypt(t.Context(), []byte(c.content), string(c.from), "--age", p.age.Recipient)
			if err != nil {
				t.Fatal(err)
			}

			want, err := p.Decrypt(t.Context(), encrypted, string(c.from), string(c.to))
			if err != nil {
				t.Fatal(err)
			}

			got, err := sops.Decrypt(t.Context(), encrypted, c.from, c.to, k)
			if diff := cmp.Diff(string(want), string(got.Content)); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}
