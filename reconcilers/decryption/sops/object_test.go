package sops_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

func TestDecryptObject(t *testing.T) {
	p := open(t)
	k := keys(t, p.age)

	const content = `apiVersion: v1
kind: Thing
metadata:
  name: thing
spec:
  # public
  text: t
  # other
  int: 1
  float: 1.5
  bool: true
  empty: ""
  none: null
  list:
    # in a list
    - a
    - - b
    - {k: v}
`

	for name, rule := range map[string]string{
		"Regex":       "encrypted_regex: ^spec$",
		"Suffix":      "encrypted_suffix: pec",
		"NotRegex":    "unencrypted_regex: ^(apiVersion|kind|metadata)$",
		"Comment":     "encrypted_comment_regex: other|list",
		"PublicInAll": "unencrypted_comment_regex: public",
	} {
		t.Run(name, func(t *testing.T) {
			config := "creation_rules:\n  - age: " + p.age.Recipient + "\n    " + rule + "\n"

			encrypted, err := p.EncryptBy(t.Context(), []byte(content), "yaml", config)
			if err != nil {
				t.Fatal(err)
			}

			object := objectOf(t, encrypted)
			if _, err := sops.DecryptObject(t.Context(), object, k); err != nil {
				t.Fatalf("DecryptObject: %v\n%s", err, encrypted)
			}

			if diff := cmp.Diff(objectOf(t, []byte(content)), normal(t, object)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDecryptObjectRefuses(t *testing.T) {
	p := open(t)
	k := keys(t, p.age)

	encrypted, err := p.Encrypt(t.Context(), []byte("kind: Secret\ndata:\n  a: "+secretValue+"\n  b: x\n"), "yaml",
		"--age", p.age.Recipient, "--encrypted-regex", "^data$")
	if err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		reason string
		change func(o map[string]any)
		want   string
	}{
		"Moved": {
			"a patch may not move a value", func(o map[string]any) { data(o)["c"] = data(o)["a"] }, "value at data.c: it was changed or moved",
		},
		"Added": {
			"nor add one that is not encrypted", func(o map[string]any) { data(o)["c"] = secretValue }, "value at data.c: it is not encrypted",
		},
		"Number": {
			"of whatever type", func(o map[string]any) { data(o)["c"] = int64(1) }, "value at data.c: it is not encrypted",
		},
		"None": {
			"an object without metadata is not encrypted", func(o map[string]any) { delete(o, "sops") }, sops.ErrNotEncrypted.Error(),
		},
		"Text": {
			"metadata are a mapping", func(o map[string]any) { o["sops"] = "x" }, sops.ErrNotEncrypted.Error(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			object := objectOf(t, encrypted)
			c.change(object)

			_, err := sops.DecryptObject(t.Context(), object, k)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secretValue) {
				t.Errorf("%s: error is %v, want %q", c.reason, err, c.want)
			}
		})
	}
}

func data(o map[string]any) map[string]any {
	d, _ := o["data"].(map[string]any)

	return d
}

func objectOf(t *testing.T, content []byte) map[string]any {
	t.Helper()

	var object map[string]any
	if err := yaml.Unmarshal(content, &object); err != nil {
		t.Fatal(err)
	}

	return object
}

// normal has all numbers of one type.
func normal(t *testing.T, object map[string]any) map[string]any {
	t.Helper()

	content, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}

	return objectOf(t, content)
}

func TestDetect(t *testing.T) {
	p := open(t)

	for name, c := range map[string]struct {
		content string
		format  sops.Format
		want    sops.Format
	}{
		"YAML":           {"a: b\n", sops.YAML, sops.YAML},
		"JSON":           {`{"a": "b", "data": 1}`, sops.JSON, sops.JSON},
		"Binary":         {"x", sops.Binary, sops.Binary},
		"JSONWithData":   {`{"data": "b"}`, sops.JSON, sops.Binary}, // nobody can tell; the name of the file may
		"Dotenv":         {"A=b\n", sops.Dotenv, sops.Dotenv},
		"INI":            {"[a]\nb = c\n", sops.INI, sops.INI},
		"SeveralDocs":    {"a: b\n---\nc: d\n", sops.YAML, sops.YAML},
		"YAMLWithBraces": {"\"{}\": b\n", sops.YAML, sops.YAML},
	} {
		t.Run(name, func(t *testing.T) {
			encrypted, err := p.Encrypt(t.Context(), []byte(c.content), string(c.format), "--age", p.age.Recipient)
			if err != nil {
				t.Fatal(err)
			}

			if got, ok := sops.Detect(encrypted); !ok || got != c.want {
				t.Errorf("got %q, %t, want %q", got, ok, c.want)
			}
		})
	}

	for name, content := range map[string]string{
		"Empty": "", "Plain": "a: b\n", "ValueOnly": "a: ENC[AES256_GCM,data:x]\n", "Script": "#!/bin/sh\necho sops mac ENC[AES256_GCM,\n",
		"JSON": `{"a": "ENC[AES256_GCM,", "b": "sops mac"}`,
	} {
		t.Run("Not"+name, func(t *testing.T) {
			if got, ok := sops.Detect([]byte(content)); ok {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]sops.Format{
		"a.yaml": sops.YAML, "d/a.yml": sops.YAML, "a.json": sops.JSON, "a.env": sops.Dotenv, ".env": sops.Dotenv, "a.ini": sops.INI,
		".dockerconfigjson": sops.JSON, "a.txt": sops.Binary, "a": sops.Binary, "yaml": sops.Binary, "a.yaml.enc": sops.Binary,
	} {
		if got := sops.FormatOf(name); got != want {
			t.Errorf("FormatOf(%q) = %q, want %q", name, got, want)
		}
	}
}
