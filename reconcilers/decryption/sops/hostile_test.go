package sops_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

const secretValue = "hunter2secret"

func TestChangedFilesAreRefused(t *testing.T) {
	p := open(t)
	k := keys(t, p.age)

	content := "a: " + secretValue + "\nb: other\nlist: [" + secretValue + ", y]\nnumber: 7\nmap:\n  a: z\n"

	encrypted, err := p.Encrypt(t.Context(), []byte(content), "yaml", "--age", p.age.Recipient)
	if err != nil {
		t.Fatal(err)
	}

	file := string(encrypted)
	value := func(key string) string {
		_, rest, _ := strings.Cut(file, key+": ")
		v, _, _ := strings.Cut(rest, "\n")

		return v
	}
	_, armor, _ := strings.Cut(file, "-----BEGIN AGE ENCRYPTED FILE-----\n")
	armor = strings.TrimSpace(strings.SplitN(strings.TrimSpace(armor), "\n", 2)[0])

	cases := map[string]struct {
		reason string
		change func(string) string
		keys   sops.Keys
		want   string // part of the error
	}{
		"Moved": {
			"a value belongs to its key", replace(value("a"), value("b")), k, "value at a: it was changed or moved",
		},
		"MovedDown": {
			"a value belongs to its whole path", replace(value("    a"), value("a")), k, "value at map.a: it was changed or moved",
		},
		"BitFlipped": {
			"every bit is authentic", replace("data:"+value("b")[len("ENC[AES256_GCM,data:"):][:2], "data:AA"), k, "value at b: it was changed or moved",
		},
		"InPlain": {
			"plain text in the place of an encrypted value is refused, and not shown", replace(value("a"), secretValue), k, "value at a: it is not encrypted",
		},
		"NumberInPlain": {"whatever its type", replace(value("number"), "8"), k, "value at number: it is not encrypted"},
		"OtherType":     {"the type is not authentic, but has to fit", replace("type:int]", "type:bool]"), k, "value at number: it is not of the type"},
		"UnknownType":   {"nor is an unknown one taken", replace("type:int]", "type:blob]"), k, "value at number: it is not of the type"},
		"Comment":       {"a comment is no value", replace("type:int]", "type:comment]"), k, "value at number: it is not of the type"},
		"ShortNonce":    {"the nonce has one length", cutAfter("iv:", 8), k, "it is malformed"},
		"NoBase64":      {"all parts are base64", cutAfter("tag:", 3), k, "it is malformed"},
		"NoRecipient": {
			"somebody has to be able to decrypt", replace("    age:\n", "    ages:\n"), k, "it names nobody who can decrypt it",
		},
		"OtherRecipient": {
			"who has no key gets nothing", same, keys(t, p.other), "cannot get the data key: age " + p.age.Recipient + ": no key for it",
		},
		"DataKeyChanged": {
			"the data key is authentic", replace(armor, strings.Repeat("A", len(armor))), k, "the data key is not encrypted to it, or malformed",
		},
		"TwoRules":    {"it has to be clear what is encrypted", replace("    unencrypted_suffix:", "    encrypted_regex: x\n    unencrypted_suffix:"), k, "more than one rule"},
		"WrongRule":   {"a rule has to be one", replace("unencrypted_suffix: _unencrypted", "encrypted_regex: ("), k, "encrypted_regex: error parsing regexp"},
		"TwoMetadata": {"and what counts", func(f string) string { return f + "sops: {}\n" }, k, "key sops is there twice"},
		"NoMetadata":  {"a file without them is not encrypted", func(string) string { return "a: b\n" }, k, sops.ErrNotEncrypted.Error()},
		"NoMapping":   {"metadata are a mapping", func(string) string { return "sops: [x]\n" }, k, `"sops" is not one mapping`},
		"NotYAML":     {"what is not YAML is refused, and not quoted", func(f string) string { return f + "\n\tx: [" + secretValue }, k, "it is not YAML"},
		"List":        {"the file is a mapping", func(string) string { return "- " + secretValue + "\n" }, k, "the document is not a mapping"},
		"KeyTwice":    {"a key is there once", func(f string) string { return "a: x\n" + f }, k, "key a is there twice"},
		"NumericKey":  {"keys are text", func(f string) string { return "1: x\n" + f }, k, "a key is not a string"},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			changed := c.change(file)
			if changed == file && name != "OtherRecipient" {
				t.Fatal("the case changes nothing")
			}

			got, err := sops.Decrypt(t.Context(), []byte(changed), sops.YAML, sops.YAML, c.keys)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%s: got %q, error %v, want %q", c.reason, got.Content, err, c.want)
			}

			if strings.Contains(err.Error(), secretValue) {
				t.Errorf("%s: the error holds the value: %v", c.reason, err)
			}
		})
	}
}

func same(file string) string { return file }

func replace(from, to string) func(string) string {
	return func(file string) string { return strings.Replace(file, from, to, 1) }
}

// cutAfter takes bytes away after the first mark.
func cutAfter(mark string, n int) func(string) string {
	return func(file string) string {
		before, after, _ := strings.Cut(file, mark)

		return before + mark + after[n:]
	}
}

func TestMetadataAreBounded(t *testing.T) {
	asked := 0
	k := sops.KeysFunc(func(context.Context, sops.Recipient) ([]byte, error) {
		asked++

		return nil, &sops.NoKeyError{}
	})

	recipients := func(kind string, n int) string {
		return "a: x\nsops:\n  " + kind + ":\n" + strings.Repeat("  - enc: x\n", n)
	}

	for name, c := range map[string]struct {
		reason, file, want string
	}{
		"Recipients":  {"each is tried", recipients("age", 257), "more than 256 recipients"},
		"KeyServices": {"each is asked over the network, wherever it is", recipients("kms", 33), "or 32 key services"},
		"Groups":      {"each has a part", "sops:\n  key_groups:\n" + strings.Repeat("  - age: [{enc: x}]\n", 257), "more than 256 key groups"},
		"Threshold":   {"one part is all of the key", "sops:\n  shamir_threshold: 1\n  key_groups: [{age: [{enc: x}]}, {age: [{enc: x}]}]\n", "shamir_threshold is not between 2 and 2"},
		"TooMany":     {"nobody has more parts than there are", "sops:\n  shamir_threshold: 3\n  key_groups: [{age: [{enc: x}]}, {age: [{enc: x}]}]\n", "shamir_threshold is not between 2 and 2"},
		"EmptyGroup":  {"an empty group gives no part", "sops:\n  key_groups: [{age: [{enc: x}]}, {}]\n", "a key group is empty"},
		"LongField":   {"fields go into requests", "sops:\n  kms: [{enc: " + strings.Repeat("x", 65<<10) + "}]\n", "a field of kms 0 has more than 65536 bytes"},
		"LongRule":    {"rules are matched with each key", "sops: {encrypted_regex: " + strings.Repeat("x", 1025) + ", age: [{enc: x}]}\n", "encrypted_regex has more than 1024 bytes"},
		"Size":        {"a file is read as a whole", strings.Repeat("#", 5<<20+1), "more than the limit of 5242880"},
		"Depth":       {"depth takes stack", "a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "\nsops: {age: [{enc: x}]}\n", "more than 100 levels"},
		"Values":      {"values take memory", "a: [" + strings.Repeat("1,", 500_000) + "1]\nsops: {age: [{enc: x}]}\n", "more than 400000 values"},
		"Aliases":     {"aliases multiply", laughs(), "more than 400000 values"},
		"Loop":        {"an alias never ends", "a: &a\n  b: *a\nsops: {age: [{enc: x}]}\n", "more than 100 levels"},
	} {
		t.Run(name, func(t *testing.T) {
			asked = 0

			_, err := sops.Decrypt(t.Context(), []byte(c.file), sops.YAML, sops.YAML, k)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error is %v, want %q", c.reason, err, c.want)
			}

			if asked > 32 {
				t.Errorf("%s: %d recipients were asked", c.reason, asked)
			}
		})
	}
}

// laughs is a small file that stands for a huge one.
func laughs() string {
	var b strings.Builder

	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")

	for i := 1; i < 8; i++ {
		at := string(rune('0' + i))
		before := "*a" + string(rune('0'+i-1))
		b.WriteString("a" + at + ": &a" + at + " [" + strings.Repeat(before+",", 9) + before + "]\n")
	}

	return b.String() + "sops: {age: [{enc: x}]}\n"
}

func TestAnEndedRunAsksNobodyElse(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0

	k := sops.KeysFunc(func(context.Context, sops.Recipient) ([]byte, error) {
		asked++

		cancel()

		return nil, errors.New("interrupted")
	})

	_, err := sops.Decrypt(ctx, []byte("sops: {kms: [{enc: x}, {enc: y}], gcp_kms: [{enc: z}]}\n"), sops.YAML, sops.YAML, k)
	if !errors.Is(err, context.Canceled) || asked != 1 {
		t.Errorf("error is %v after %d requests, want cancellation after one", err, asked)
	}
}

func TestRecipientsOfKeyServices(t *testing.T) {
	const file = `a: x
sops:
  kms: [{arn: "arn:aws:kms:eu:1:key/k", role: r, aws_profile: p, context: {c: d}, enc: e1, created_at: "2024-01-01T00:00:00Z"}]
  gcp_kms: [{resource_id: projects/p/locations/l/keyRings/r/cryptoKeys/k, enc: e2}]
  azure_kv: [{vault_url: "https://v.vault.azure.net", name: n, version: 123, enc: e3}]
  hc_vault: [{vault_address: "https://vault:8200/", engine_path: /sops/, key_name: k, enc: e4}]
  pgp: [{fp: ABCD, enc: e5}]
  age: [{recipient: age1x, enc: e6}]
  hckms: [{key_id: "x:y", enc: e7}]
`

	var asked []string

	k := sops.KeysFunc(func(_ context.Context, r sops.Recipient) ([]byte, error) {
		asked = append(asked, r.String()+" "+r.Encrypted)

		return nil, &sops.NoKeyError{}
	})

	_, err := sops.Decrypt(t.Context(), []byte(file), sops.YAML, sops.YAML, k)
	if err == nil {
		t.Fatal("no error")
	}

	want := []string{
		"age age1x e6", "pgp ABCD e5", "kms arn:aws:kms:eu:1:key/k e1",
		"gcp_kms projects/p/locations/l/keyRings/r/cryptoKeys/k e2", "azure_kv https://v.vault.azure.net/keys/n/123 e3",
		"hc_vault https://vault:8200/v1/sops/keys/k e4", "hckms e7",
	}
	if got := strings.Join(asked, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("asked:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}
