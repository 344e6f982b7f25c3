package kustomize_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/decryption"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
	"github.com/weir-dev/weir/test/sops"
)

// plaintext begins everything that must not show up anywhere but in the cluster.
const plaintext = "hunter2-"

// vault is somebody who encrypts, and the keys for that.
type vault struct {
	*sops.Tool
	t          *testing.T
	namespace  string
	age, other sops.Key
	pgp        sops.Key
}

func newVault(t *testing.T) *vault {
	t.Helper()

	tool, err := sops.Open(t.Context(), t.Output())
	must(t, err)
	t.Cleanup(tool.Close)

	v := &vault{Tool: tool, t: t}
	v.age, err = tool.AgeKey()
	must(t, err)
	v.other, err = tool.AgeKey()
	must(t, err)
	v.pgp, err = tool.PGPKey(t.Context(), "ed25519", "")
	must(t, err)

	return v
}

// encrypt encrypts a file for somebody, with more arguments of sops.
func (v *vault) encrypt(content, format string, to sops.Key, args ...string) string {
	v.t.Helper()

	kind := "--age"
	if bytes.Contains(to.Private, []byte("PGP")) {
		kind = "--pgp"
	}

	content = strings.ReplaceAll(content, "NS", v.namespace)
	encrypted, err := v.Encrypt(v.t.Context(), []byte(content), format, append(args, kind, to.Recipient)...)
	must(v.t, err)

	return string(encrypted)
}

// secret is an encrypted Secret.
func (v *vault) secret(name, value string, to sops.Key) string {
	v.t.Helper()

	return v.encrypt("apiVersion: v1\nkind: Secret\nmetadata:\n  name: "+name+"\n  namespace: NS\nstringData:\n  password: "+value+"\n",
		"yaml", to, "--encrypted-regex", "^(data|stringData)$")
}

func withDecryption(fallback ...*corev1.Secret) func(*kustomize.Deps) {
	return func(d *kustomize.Deps) {
		o := decryption.Options{Secrets: d.Configs}
		if len(fallback) > 0 {
			o.Fallback = func(context.Context) (*corev1.Secret, error) { return fallback[0], nil }
		}

		d.Decryption = decryption.New(o)
	}
}

func decryptWith(secret string) func(*kustomizev1.KustomizationSpec) {
	return func(s *kustomizev1.KustomizationSpec) {
		s.Decryption = &kustomizev1.Decryption{Provider: kustomizev1.DecryptionProviderSOPS}
		if secret != "" {
			s.Decryption.SecretRef = &meta.LocalObjectReference{Name: secret}
		}
	}
}

// keys makes or replaces the Secret with private keys.
func (e *env) keys(name string, data map[string][]byte) {
	e.t.Helper()

	obj := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}
	found := e.fetch(obj, name)
	obj.Data = data

	if found {
		must(e.t, e.c.Update(e.t.Context(), obj))
	} else {
		e.create(obj)
	}
}

// secretData returns the data of a Secret as text, or nil if it is not there.
func (e *env) secretData(name string) map[string]string {
	e.t.Helper()

	obj := &corev1.Secret{}
	if !e.fetch(obj, name) {
		return nil
	}

	data := map[string]string{}
	for key, value := range obj.Data {
		data[key] = string(value)
	}

	return data
}

// discreet fails if what was decrypted shows up in events, in Kustomizations, in ConfigMaps, or on disk.
func (e *env) discreet() {
	e.t.Helper()

	e.mu.Lock()
	said := append(append([]string(nil), e.events...), e.notices...)
	e.mu.Unlock()

	kustomizations, configMaps := &kustomizev1.KustomizationList{}, &corev1.ConfigMapList{}
	must(e.t, e.c.List(e.t.Context(), kustomizations))
	must(e.t, e.c.List(e.t.Context(), configMaps))

	for _, list := range []any{kustomizations, configMaps} {
		text, err := yaml.Marshal(list)
		must(e.t, err)

		said = append(said, string(text))
	}

	for _, text := range said {
		if strings.Contains(text, plaintext) {
			e.t.Errorf("it shows up: %s", text)
		}
	}

	// All folders of a test lie side by side.
	must(e.t, filepath.WalkDir(filepath.Dir(e.t.TempDir()), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}

		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(plaintext)) {
			e.t.Errorf("it lies on disk, in %s", path)
		}

		return err
	}))
}

func TestDecryption(t *testing.T) {
	v := newVault(t)
	e := newEnv(t, withDecryption())
	v.namespace = e.namespace
	e.keys("keys", map[string][]byte{"id.agekey": v.age.Private, "id.asc": v.pgp.Private})

	files := func(to sops.Key, value string) map[string]string {
		return map[string]string{
			"kustomization.yaml": "resources: [secret.yaml, two.yaml, base, config.yaml]\npatches: [{path: patch.yaml}]\n",
			"secret.yaml":        v.secret("whole", plaintext+value, to),
			"config.yaml":        configMap("config", "plain"),
			"two.yaml": v.encrypt("apiVersion: v1\nkind: Secret\nmetadata:\n  name: first\n  namespace: NS\n# secret\nstringData:\n  a: "+plaintext+"first\n"+
				"---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: second\n  namespace: NS\ndata:\n  b: "+base64.StdEncoding.EncodeToString([]byte(plaintext+"second"))+"\n",
				"yaml", to, "--encrypted-regex", "^(data|stringData)$"),
			"patch.yaml": v.encrypt("apiVersion: v1\nkind: Secret\nmetadata:\n  name: patched\n  namespace: NS\nstringData:\n  patch: "+plaintext+"patch\n",
				"yaml", to, "--encrypted-regex", "^stringData$"),
			"base/kustomization.yaml": "namespace: NS\nresources: [patched.yaml]\ngeneratorOptions: {disableNameSuffixHash: true}\nsecretGenerator:\n" +
				"- name: generated\n  files: [cert.p12, config.yaml, key=token.enc]\n  envs: [vars.env]\n",
			"base/patched.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: patched}\nstringData: {plain: visible}\n",
			"base/cert.p12":     v.encrypt(plaintext+"\x00binary", "binary", to),
			"base/config.yaml":  v.encrypt("password: "+plaintext+"yaml\n", "yaml", to),
			"base/token.enc":    v.encrypt(`{"a": "`+plaintext+`json"}`, "json", to),
			"base/vars.env":     v.encrypt("PASSWORD="+plaintext+"env\n", "dotenv", to),
		}
	}
	want := func(value string) map[string]map[string]string {
		return map[string]map[string]string{
			"whole":   {"password": plaintext + value},
			"first":   {"a": plaintext + "first"},
			"second":  {"b": plaintext + "second"},
			"patched": {"plain": "visible", "patch": plaintext + "patch"},
			"generated": {
				"cert.p12": plaintext + "\x00binary", "config.yaml": "password: " + plaintext + "yaml\n",
				"key": "{\n\t\"a\": \"" + plaintext + "json\"\n}\n", "PASSWORD": plaintext + "env",
			},
		}
	}
	got := func() map[string]map[string]string {
		all := map[string]map[string]string{}
		for name := range want("") {
			all[name] = e.secretData(name)
		}

		return all
	}

	e.publish("repo", "main@sha1:1", files(v.age, "one"))
	e.kustomization("app", decryptWith("keys"))
	e.ready("app")

	if diff := cmp.Diff(want("one"), got()); diff != "" {
		t.Errorf("with age: -want, +got:\n%s", diff)
	}

	e.phase("Steady", func(*testing.T) {
		e.costs()
		e.once("app")
		e.wantCosts("a run with the same keys", nil)
	})

	e.phase("OtherKeysBuildAgain", func(t *testing.T) {
		// The Secret has another key, which decrypts nothing of this revision.
		e.keys("keys", map[string][]byte{"id.agekey": v.other.Private})

		obj, _ := e.once("app")
		if says(obj, meta.ReadyCondition) == "" || engine.IsTrue(obj, meta.ReadyCondition) {
			t.Error("what was decrypted with a key that is gone is still taken")
		}

		if diff := cmp.Diff(want("one"), got()); diff != "" {
			t.Errorf("-want, +got:\n%s", diff)
		}
	})

	e.phase("Rotated", func(*testing.T) {
		e.publish("repo", "main@sha1:2", files(v.other, "two"))
		e.ready("app")

		if diff := cmp.Diff(want("two"), got()); diff != "" {
			e.t.Errorf("-want, +got:\n%s", diff)
		}
	})

	e.phase("OpenPGP", func(*testing.T) {
		e.keys("keys", map[string][]byte{"id.asc": v.pgp.Private})
		e.publish("repo", "main@sha1:3", files(v.pgp, "three"))
		e.ready("app")

		if diff := cmp.Diff(want("three"), got()); diff != "" {
			e.t.Errorf("-want, +got:\n%s", diff)
		}
	})

	e.discreet()
}

func TestDecryptionFails(t *testing.T) {
	v := newVault(t)
	encrypted := func() map[string]string { return map[string]string{"secret.yaml": v.secret("s", plaintext+"x", v.age)} }

	for name, c := range map[string]struct {
		reason  string
		files   func() map[string]string
		keys    map[string][]byte
		spec    func(*kustomizev1.KustomizationSpec)
		deps    func(*kustomize.Deps)
		want    string // how Ready begins
		applied bool
	}{
		"NotConfigured": {
			reason: "an encrypted Secret is not applied as it is",
			want:   "False ReconciliationFailed: Secret/NS/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
		},
		"NoSecret": {
			reason: "a Secret that is not there is named", spec: decryptWith("gone"),
			want: `False BuildFailed: failed to get secret 'NS/gone': secrets "gone" not found`,
		},
		"NoName": {
			reason: "a reference to nothing is not none: the key of the process would stand in", spec: func(s *kustomizev1.KustomizationSpec) {
				decryptWith("x")(s)
				s.Decryption.SecretRef.Name = ""
			},
			want: "False BuildFailed: spec.decryption.secretRef has no name",
		},
		"NoKey": {
			reason: "so is one without a key of the kind", spec: decryptWith("keys"), keys: map[string][]byte{"age.key": v.age.Private},
			want: "False BuildFailed: decryption failed for 'Secret/NS/s': cannot get the data key: age RECIPIENT: decryption secret 'NS/keys' has no key that ends with '.agekey'",
		},
		"WrongKey": {
			reason: "who has another key gets nothing", spec: decryptWith("keys"), keys: map[string][]byte{"id.agekey": v.other.Private},
			want: "False BuildFailed: decryption failed for 'Secret/NS/s': cannot get the data key: age RECIPIENT: no key for it in decryption secret 'NS/keys'",
		},
		"Malformed": {
			reason: "a malformed key is named and not shown", spec: decryptWith("keys"), keys: map[string][]byte{"id.agekey": []byte(plaintext)},
			want: "False BuildFailed: decryption secret 'NS/keys': key 'id.agekey': line 1 is not an age identity",
		},
		"Moved": {
			reason: "a value belongs to its key", spec: decryptWith("keys"), keys: map[string][]byte{"id.agekey": v.age.Private},
			files: func() map[string]string {
				return map[string]string{"secret.yaml": strings.Replace(encrypted()["secret.yaml"], "password:", "username:", 1)}
			},
			want: "False BuildFailed: decryption failed for 'Secret/NS/s': value at stringData.username: it was changed or moved, or encrypted with another data key",
		},
		"Generator": {
			reason: "a file is named", spec: decryptWith("keys"), keys: map[string][]byte{"id.agekey": v.other.Private},
			files: func() map[string]string {
				return map[string]string{
					"kustomization.yaml": "secretGenerator: [{name: g, files: [a.yaml]}]\n", "a.yaml": v.encrypt("a: "+plaintext+"\n", "yaml", v.age),
				}
			},
			want: "False BuildFailed: decryption failed for 'a.yaml': cannot get the data key: age RECIPIENT: no key for it in decryption secret 'NS/keys'",
		},
		"QuotedByTheServer": {
			reason: "what the API server says of a value is masked", spec: decryptWith("keys"), keys: map[string][]byte{"id.agekey": v.age.Private},
			files: func() map[string]string {
				return map[string]string{"c.yaml": v.encrypt("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  namespace: NS\n  labels:\n    l: "+
					plaintext+"not a label\n", "yaml", v.age, "--encrypted-regex", "^labels$")}
			},
			want: `False ReconciliationFailed: ConfigMap/NS/c dry-run failed (Invalid): ConfigMap "c" is invalid: metadata.labels: Invalid value: "*****"`,
		},
		"Fallback": {
			reason: "the process has a key for those who name none", spec: decryptWith(""),
			deps:    withDecryption(&corev1.Secret{Data: map[string][]byte{"id.agekey": v.age.Private}}),
			want:    "True ReconciliationSucceeded: Applied revision: main@sha1:1",
			applied: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			deps := withDecryption()
			if c.deps != nil {
				deps = c.deps
			}

			e := newEnv(t, deps)

			v.namespace = e.namespace

			if c.files == nil {
				c.files = encrypted
			}

			if c.keys != nil {
				e.keys("keys", c.keys)
			}

			e.publish("repo", "main@sha1:1", c.files())
			e.kustomization("app", c.spec)

			obj, _ := e.once("app")
			got := strings.NewReplacer(e.namespace, "NS", v.age.Recipient, "RECIPIENT").Replace(says(obj, meta.ReadyCondition))

			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: got %s\nwant %s", c.reason, got, c.want)
			}

			if applied := e.secretData("s") != nil; applied != c.applied {
				t.Errorf("%s: the Secret is applied: %t", c.reason, applied)
			}

			e.discreet()
		})
	}
}

func TestWhatIsPlannedIsNotShown(t *testing.T) {
	v := newVault(t)
	e := newEnv(t, withDecryption())
	v.namespace = e.namespace
	e.keys("keys", map[string][]byte{"id.agekey": v.age.Private})
	e.publish("repo", "main@sha1:1", map[string]string{
		"secret.yaml": v.secret("s", plaintext+"secret", v.age),
		"c.yaml": v.encrypt("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  namespace: NS\ndata:\n  lines: |\n    "+plaintext+"one\n    "+plaintext+"two\n",
			"yaml", v.age, "--encrypted-regex", "^data$"),
	})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		decryptWith("keys")(s)
		s.Plan = kustomizev1.PlanManual
	})
	e.once("app")

	plan := e.data("app-plan")["plan"]
	if !strings.Contains(plan, "ConfigMap/") || !strings.Contains(plan, "Secret/") || !strings.Contains(plan, "*****") {
		t.Errorf("the plan is:\n%s", plan)
	}

	e.discreet()

	if e.data("c") != nil {
		t.Error("it was applied without approval")
	}
}

func TestKeysOfConfigs(t *testing.T) {
	obj := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}}
	decryptWith("keys")(&obj.Spec)

	if diff := cmp.Diff([]types.NamespacedName{{Namespace: "ns", Name: "keys"}}, kustomize.ConfigKeys(obj, "Secret")); diff != "" {
		t.Errorf("a Secret with private keys is not watched: -want, +got:\n%s", diff)
	}

	if got := fmt.Sprint(kustomize.ConfigKeys(obj, "ConfigMap")); got != "[]" {
		t.Errorf("ConfigMaps are watched: %s", got)
	}
}
