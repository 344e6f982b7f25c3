package decryption_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/decryption"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	testsops "github.com/weir-dev/weir/test/sops"
)

const secretValue = "hunter2secret"

// held are the Secrets of a cluster, by namespace/name.
type held map[string]map[string][]byte

func (h held) Secret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	data, ok := h[namespace+"/"+name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
	}

	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}, nil
}

// vaults are key services that know one data key, for the accounts that may have it.
type vaults struct {
	mu      sync.Mutex
	dataKey []byte
	may     map[string]bool // namespace/account
	asked   []string
}

func (v *vaults) For(r decryption.Request, secret map[string][]byte) (sops.Keys, error) {
	if _, bad := secret["sops.vault-token"]; bad {
		return nil, errors.New("key 'sops.vault-token': it is malformed")
	}

	who := r.Namespace + "/" + r.ServiceAccount

	return sops.KeysFunc(func(_ context.Context, to sops.Recipient) ([]byte, error) {
		v.mu.Lock()
		defer v.mu.Unlock()

		v.asked = append(v.asked, who+" "+to.String())
		if !v.may[who] {
			return nil, errors.New("access denied")
		}

		return v.dataKey, nil
	}), nil
}

// unbounded is a lane with room for all.
type unbounded struct{}

func (unbounded) Bounded(ctx context.Context, _ string, timeout time.Duration, wait func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	return wait(ctx)
}

// crowded is a lane whose clock a wait moves on, and in which nobody comes to an end.
type crowded struct {
	now     *time.Time
	waited  []string
	patient time.Duration
}

func (c *crowded) Bounded(_ context.Context, namespace string, timeout time.Duration, _ func(context.Context) error) error {
	c.waited = append(c.waited, namespace+" "+timeout.String())
	*c.now = c.now.Add(min(c.patient, timeout))

	return errors.New("gave up")
}

func tool(t *testing.T) *testsops.Tool {
	t.Helper()

	p, err := testsops.Open(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(p.Close)

	return p
}

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}

	return v
}

func TestParseIdentities(t *testing.T) {
	p := tool(t)
	age, err := p.AgeKey()
	key := must(t, age, err)
	pgp, err := p.PGPKey(t.Context(), "ed25519", "")
	open := must(t, pgp, err)
	locked, err := p.PGPKey(t.Context(), "ed25519", "passphrase")
	protected := must(t, locked, err)
	secret := strings.TrimSpace(strings.Split(string(key.Private), "\n")[2])

	for name, c := range map[string]struct {
		reason string
		data   map[string]string
		count  int
		want   string
	}{
		"None":           {"other keys are left alone", map[string]string{"x": secret, "agekey": secret}, 0, ""},
		"Age":            {"comments and empty lines are skipped", map[string]string{"id.agekey": "\r\n" + string(key.Private) + "\n\n"}, 1, ""},
		"PGP":            {"armour is read", map[string]string{"id.asc": string(open.Private)}, 1, ""},
		"TextAround":     {"as is text around it", map[string]string{"id.asc": "my key\n" + string(open.Private) + "\nbye\n"}, 1, ""},
		"Both":           {"all keys count", map[string]string{"a.asc": string(open.Private), "b.agekey": secret}, 2, ""},
		"MalformedAge":   {"a wrong key is named and not shown", map[string]string{"id.agekey": "# c\n" + secret[:len(secret)-2]}, 0, "key 'id.agekey': line 2 is not an age identity"},
		"PublicAge":      {"a recipient decrypts nothing", map[string]string{"id.agekey": key.Recipient}, 0, "key 'id.agekey': line 1 is not an age identity"},
		"EmptyAge":       {"nor does nothing", map[string]string{"id.agekey": "# only a comment\n"}, 0, "key 'id.agekey': it holds no age identity"},
		"Protected":      {"nobody can enter a passphrase", map[string]string{"id.asc": string(protected.Private)}, 0, "key 'id.asc': it is protected by a passphrase"},
		"EmptyPGP":       {"an empty key decrypts nothing", map[string]string{"id.asc": ""}, 0, "key 'id.asc': it holds no OpenPGP key in ASCII armour"},
		"MalformedPGP":   {"nor does a broken one", map[string]string{"id.asc": strings.Replace(string(open.Private), "\n\nl", "\n\nxxxx", 1)[:300]}, 0, "key 'id.asc': the OpenPGP key is malformed or not supported"},
		"TooManyAgeKeys": {"each takes time", map[string]string{"id.agekey": strings.Repeat(secret+"\n", 257)}, 0, "key 'id.agekey': it holds more than 256 identities"},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for k, v := range c.data {
				data[k] = []byte(v)
			}

			identities, err := decryption.ParseIdentities(data)
			if c.want == "" && err == nil && identities.Len() == c.count {
				return
			}

			if c.want == "" || err == nil || err.Error() != c.want {
				t.Errorf("%s: %v, error %v, want %d keys or %q", c.reason, identities, err, c.count, c.want)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	p := tool(t)
	k, err := p.AgeKey()
	key := must(t, k, err)

	encrypted, err := p.Encrypt(t.Context(), []byte("a: "+secretValue+"\n"), "yaml", "--age", key.Recipient)
	file := must(t, encrypted, err)

	cluster := held{
		"ns/good": {"id.agekey": key.Private}, "ns/empty": {}, "ns/misspelt": {"id.age": key.Private}, "ns/broken": {"id.agekey": []byte("x")},
		"ns/token": {"sops.vault-token": []byte("x")}, "weir/age": {"id.agekey": key.Private, "id.asc": []byte("not looked at")},
		"weir/empty": {}, "ns/pgp": {"id.asc": []byte("x")},
	}

	for name, c := range map[string]struct {
		reason             string
		secret, fallback   string
		openErr, decrypted string
		err                string
	}{
		"Good":        {reason: "the key of the object decrypts", secret: "good", decrypted: "a: " + secretValue + "\n"},
		"Missing":     {reason: "a Secret that is not there is named", secret: "gone", openErr: "failed to get secret 'ns/gone': secrets \"gone\" not found"},
		"Empty":       {reason: "an empty one as well, when it is needed", secret: "empty", err: "decryption secret 'ns/empty' has no key that ends with '.agekey'"},
		"Misspelt":    {reason: "and one whose keys say nothing", secret: "misspelt", err: "decryption secret 'ns/misspelt' has no key that ends with '.agekey'"},
		"Broken":      {reason: "a broken key is named", secret: "broken", openErr: "decryption secret 'ns/broken': key 'id.agekey': line 1 is not an age identity"},
		"BrokenToken": {reason: "of key services, too", secret: "token", openErr: "decryption secret 'ns/token': key 'sops.vault-token': it is malformed"},
		"Fallback":    {reason: "the process has an age key for those without", fallback: "age", decrypted: "a: " + secretValue + "\n"},
		"OwnFirst":    {reason: "and not for those with a Secret", secret: "empty", fallback: "age", err: "decryption secret 'ns/empty' has no key"},
		"NoFallback":  {reason: "a missing one is named", fallback: "gone", openErr: "failed to get the secret with the age keys of the controller: secrets \"gone\" not found"},
		"EmptyOne":    {reason: "an empty one when it is needed", fallback: "empty", err: "decryption secret 'weir/empty' of the controller has no key that ends with '.agekey'"},
		"Nothing":     {reason: "nobody has a key", err: "the object names no Secret with keys"},
	} {
		t.Run(name, func(t *testing.T) {
			o := decryption.Options{Secrets: cluster, Services: &vaults{}, Lane: unbounded{}}
			if c.fallback != "" {
				o.Fallback = func(ctx context.Context) (*corev1.Secret, error) { return cluster.Secret(ctx, "weir", c.fallback) }
			}

			s, err := decryption.New(o).Open(t.Context(), decryption.Request{Kind: "Kustomization", Namespace: "ns", Name: "app", Secret: c.secret})
			if c.openErr != "" {
				if err == nil || err.Error() != c.openErr {
					t.Errorf("%s: error is %v, want %q", c.reason, err, c.openErr)
				}

				return
			}

			if err != nil {
				t.Fatalf("%s: %v", c.reason, err)
			}

			content, _, err := s.File(t.Context(), "a.yaml", "a.yaml", file)
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && err != nil {
				t.Errorf("%s: error is %v, want %q", c.reason, err, c.err)
			}

			if string(content) != c.decrypted {
				t.Errorf("%s: content is %q, want %q", c.reason, content, c.decrypted)
			}

			plain, _, err := s.File(t.Context(), "p.yaml", "p.yaml", []byte("sops: mac\n"))
			if string(plain) != "sops: mac\n" || err != nil {
				t.Errorf("%s: a plain file became %q, error %v", c.reason, plain, err)
			}
		})
	}
}

func TestFile(t *testing.T) {
	p := tool(t)
	k, err := p.AgeKey()
	key := must(t, k, err)
	s := session(t, held{"ns/s": {"id.agekey": key.Private}}, nil)

	for name, c := range map[string]struct {
		content, format string
		file, as        string
		want            string
	}{
		"YAML":           {"a: 1\n", "yaml", "f.yaml", "f.yaml", "a: 1\n"},
		"YAMLAsJSON":     {"a: 1\n", "yaml", "f.yaml", "k.json", "{\n\t\"a\": 1\n}\n"},
		"YAMLAsAnything": {"a: 1\n", "yaml", "f.yaml", "key", "a: 1\n"},
		"Dotenv":         {"A=1\n", "dotenv", "f.env", "", "A=1\n"},
		"DotenvByUse":    {"A=1\n", "dotenv", "secrets", "", "A=1\n"},
		"YAMLAsDotenv":   {"A: 1\n", "yaml", "f.yaml", "", "A=1\n"},
		"Binary":         {"x\x00y", "binary", "f.p12", "f.p12", "x\x00y"},
		"BinaryAsYAML":   {"a: 1 # as it was\n", "binary", "f.enc", "f.yaml", "a: 1 # as it was\n"},
		"INI":            {"[a]\nb = c\n", "ini", "f.ini", "f.ini", "[a]\nb = c\n"},
		"Docker":         {`{"auths": {}}`, "json", "d.json", ".dockerconfigjson", "{\n\t\"auths\": {}\n}\n"},
		"ByContent":      {"a: 1\n", "yaml", "f.enc", "f.enc", "a: 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			encrypted, err := p.Encrypt(t.Context(), []byte(c.content), c.format, "--age", key.Recipient)
			got, _, fileErr := s.File(t.Context(), c.file, c.as, must(t, encrypted, err))

			if fileErr != nil || string(got) != c.want {
				t.Errorf("got %q, error %v, want %q", got, fileErr, c.want)
			}
		})
	}
}

func session(t *testing.T, cluster held, services decryption.Services) *decryption.Session {
	t.Helper()

	s, err := decryption.New(decryption.Options{Secrets: cluster, Services: services, Lane: unbounded{}}).Open(t.Context(),
		decryption.Request{Kind: "Kustomization", Namespace: "ns", Name: "app", Secret: "s"})

	return must(t, s, err)
}

func TestObject(t *testing.T) {
	p := tool(t)
	k, err := p.AgeKey()
	key := must(t, k, err)
	s := session(t, held{"ns/s": {"id.agekey": key.Private}}, nil)

	encrypt := func(content, format string, args ...string) string {
		encrypted, err := p.Encrypt(t.Context(), []byte(content), format, append(args, "--age", key.Recipient)...)

		return string(must(t, encrypted, err))
	}

	base := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	secret := func(key, content string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\ndata:\n  " + key + ": " + base(content) + "\n"
	}

	whole := encrypt("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: "+secretValue+"\n", "yaml", "--encrypted-regex", "^stringData$")
	other := encrypt("apiVersion: example.com/v1\nkind: Thing\nmetadata:\n  name: s\nspec:\n  password: "+secretValue+"\n  port: 1234\n", "yaml", "--encrypted-regex", "^spec$")

	for name, c := range map[string]struct {
		reason, object, want, err string
	}{
		"Secret":     {"what has metadata is decrypted", whole, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: " + secretValue + "\n", ""},
		"OtherKind":  {"whatever its kind", other, "apiVersion: example.com/v1\nkind: Thing\nmetadata:\n  name: s\nspec:\n  password: " + secretValue + "\n  port: 1234\n", ""},
		"Disabled":   {"unless it says no, in whatever case", "metadata: {annotations: {kustomize.toolkit.fluxcd.io/decrypt: Disabled}}\nsops: {x: y}\n", "metadata: {annotations: {kustomize.toolkit.fluxcd.io/decrypt: Disabled}}\nsops: {x: y}\n", ""},
		"LabelOnly":  {"in an annotation", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {kustomize.toolkit.fluxcd.io/decrypt: disabled}}\nsops: {x: y}\n", "", "decryption failed for 'ConfigMap/c': metadata: it names nobody who can decrypt it"},
		"Plain":      {"what is not encrypted stays", secret("a", "plain"), secret("a", "plain"), ""},
		"DataBinary": {"data of Secrets may be files", secret("a.p12", encrypt("x\x00", "binary")), secret("a.p12", "x\x00"), ""},
		"DataYAML":   {"of each format", secret("a.yaml", encrypt("a: 1\n", "yaml")), secret("a.yaml", "a: 1\n"), ""},
		"DataJSON":   {"JSON", secret("a.json", encrypt(`{"a":1}`, "json")), secret("a.json", "{\n\t\"a\": 1\n}\n"), ""},
		"DataDotenv": {"dotenv", secret("a.env", encrypt("A=1\n", "dotenv")), secret("a.env", "A=1\n"), ""},
		"DataINI":    {"INI", secret("a.ini", encrypt("[a]\nb = c\n", "ini")), secret("a.ini", "[a]\nb = c\n"), ""},
		"DataDocker": {"and the one of Docker", secret(".dockerconfigjson", encrypt(`{"auths":{"r":{"auth":"x"}}}`, "json")), secret(".dockerconfigjson", "{\n\t\"auths\": {\n\t\t\"r\": {\n\t\t\t\"auth\": \"x\"\n\t\t}\n\t}\n}\n"), ""},
		"DataNoName": {"whatever its name", secret("a", encrypt("a: 1\n", "yaml")), secret("a", "a: 1\n"), ""},
		"DataBroken": {
			"what looks encrypted and does not decrypt is an error", secret("a.yaml", strings.Replace(encrypt("a: "+secretValue+"\n", "yaml"), "a: ENC", "b: ENC", 1)),
			"", "decryption failed for 'Secret/ns/s': key 'a.yaml': value at b: it was changed or moved, or encrypted with another data key",
		},
		"NotBase64": {"what is not base64 is left to the API server", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: \"*\"}\n", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: \"*\"}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := &unstructured.Unstructured{Object: object(t, c.object)}

			values, err := s.Object(t.Context(), u)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("%s: error is %v, want %q", c.reason, err, c.err)
				}

				return
			}

			got, _ := yaml.Marshal(u.Object)
			if diff := cmp.Diff(object(t, c.want), object(t, string(got))); err != nil || diff != "" {
				t.Errorf("%s: error %v, -want +got:\n%s", c.reason, err, diff)
			}

			if all := fmt.Sprint(values); strings.Contains(c.want, secretValue) && !strings.Contains(all, secretValue) {
				t.Errorf("%s: the values that were decrypted are %q", c.reason, all)
			}
		})
	}
}

func object(t *testing.T, content string) map[string]any {
	t.Helper()

	var o map[string]any
	if err := yaml.Unmarshal([]byte(content), &o); err != nil {
		t.Fatal(err)
	}

	return o
}

func TestDataKeysAreKeptForThoseWhoMayHaveThem(t *testing.T) {
	p := tool(t)
	k, err := p.AgeKey()
	key := must(t, k, err)

	// The data key of a file is known by decrypting it once, and then given by a key service instead.
	encrypted, err := p.Encrypt(t.Context(), []byte("a: 1\n"), "yaml", "--age", key.Recipient)
	file := must(t, encrypted, err)

	identities, err := decryption.ParseIdentities(map[string][]byte{"k.agekey": key.Private})
	if err != nil {
		t.Fatal(err)
	}

	services := &vaults{may: map[string]bool{"ns/good": true}}

	_, err = sops.Decrypt(t.Context(), file, sops.YAML, sops.YAML, sops.KeysFunc(func(ctx context.Context, r sops.Recipient) ([]byte, error) {
		services.dataKey, err = identities.Unwrap(ctx, r)

		return services.dataKey, err
	}))
	if err != nil {
		t.Fatal(err)
	}

	before, _, _ := strings.Cut(string(file), "sops:\n")
	remote := []byte(before + "sops: {kms: [{arn: k, enc: x}], mac: x}\n")

	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cluster := held{"ns/s": {"x": []byte("1")}, "ns/t": {"x": []byte("2")}, "other/s": {"x": []byte("1")}}
	d := decryption.New(decryption.Options{Secrets: cluster, Services: services, Lane: unbounded{}, Now: func() time.Time { return now }})

	for _, step := range []struct {
		reason    string
		later     time.Duration
		namespace string
		account   string
		secret    string
		asked     bool
		ok        bool
	}{
		{"the first one asks", 0, "ns", "good", "", true, true},
		{"the next one does not", 0, "ns", "good", "", false, true},
		{"another account does", 0, "ns", "bad", "", true, false},
		{"whoever was refused asks again", 0, "ns", "bad", "", true, false},
		{"no account is another one", 0, "ns", "", "", true, false},
		{"so is the same one elsewhere", 0, "other", "good", "", true, false},
		{"and with a Secret", 0, "ns", "good", "s", true, true},
		{"which is kept, too", 0, "ns", "good", "s", false, true},
		{"another Secret is somebody else", 0, "ns", "good", "t", true, true},
		{"nothing is kept for ever", 61 * time.Minute, "ns", "good", "", true, true},
	} {
		now = now.Add(step.later)
		services.asked = nil

		s, err := d.Open(t.Context(), decryption.Request{Namespace: step.namespace, Name: "app", ServiceAccount: step.account, Secret: step.secret})
		if err != nil {
			t.Fatal(err)
		}

		content, _, err := s.File(t.Context(), "f.yaml", "f.yaml", remote)
		if step.ok != (err == nil) || step.ok && string(content) != "a: 1\n" {
			t.Errorf("%s: content %q, error %v", step.reason, content, err)
		}

		if asked := len(services.asked) > 0; asked != step.asked {
			t.Errorf("%s: asked %q", step.reason, services.asked)
		}
	}
}

func TestFingerprintFollowsTheKeys(t *testing.T) {
	cluster := held{"ns/s": {"x": []byte("1")}, "ns/same": {"x": []byte("1")}}
	d := decryption.New(decryption.Options{Secrets: cluster})

	of := func(r decryption.Request) string {
		s, err := d.Open(t.Context(), r)

		return must(t, s, err).Fingerprint()
	}

	first := decryption.Request{Namespace: "ns", Name: "a", Secret: "s"}
	seen := map[string]string{of(first): "first"}

	if second := (decryption.Request{Namespace: "ns", Name: "b", Secret: "s"}); of(second) != of(first) {
		t.Error("objects with the same keys have different fingerprints")
	}

	cluster["ns/s"] = map[string][]byte{"x": []byte("2")}

	for what, r := range map[string]decryption.Request{
		"rotated": first,
		"account": {Namespace: "ns", Name: "a", Secret: "s", ServiceAccount: "b"},
		"none":    {Namespace: "ns", Name: "a"},
		"other":   {Namespace: "other", Name: "a"},
	} {
		if same, ok := seen[of(r)]; ok {
			t.Errorf("%s has the fingerprint of %s", what, same)
		}

		seen[of(r)] = what
	}
}

func TestSlowKeyServicesAreNotWaitedForLong(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lane := &crowded{now: &now, patient: 25 * time.Second}
	d := decryption.New(decryption.Options{
		Secrets: held{}, Services: &vaults{}, Lane: lane, Now: func() time.Time { return now },
	})

	s, err := d.Open(t.Context(), decryption.Request{Namespace: "ns", Name: "app"})
	if err != nil {
		t.Fatal(err)
	}

	_, _, err = s.File(t.Context(), "f.yaml", "f.yaml",
		[]byte("a: ENC[AES256_GCM,x]\nsops: {kms: [{arn: a}, {arn: b}, {arn: c}, {arn: d}, {arn: e}], mac: x}\n"))
	if err == nil || !strings.Contains(err.Error(), "kms a: gave up; kms b: gave up; kms c: gave up; kms d: it was not asked") {
		t.Errorf("error is %v", err)
	}

	if diff := cmp.Diff([]string{"ns 1m0s", "ns 35s", "ns 10s"}, lane.waited); diff != "" {
		t.Errorf("waited (-want +got):\n%s", diff)
	}
}

func TestManyUseASessionAtATime(t *testing.T) {
	p := tool(t)
	a, err := p.AgeKey()
	age := must(t, a, err)
	g, err := p.PGPKey(t.Context(), "rsa2048", "")
	pgp := must(t, g, err)

	for _, args := range [][]string{{"--age", age.Recipient}, {"--pgp", pgp.Recipient}} {
		encrypted, err := p.Encrypt(t.Context(), []byte("a: 1\n"), "yaml", args...)
		file := must(t, encrypted, err)
		d := decryption.New(decryption.Options{Secrets: held{"ns/s": {"a.agekey": age.Private, "p.asc": pgp.Private}}})

		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				s, err := d.Open(t.Context(), decryption.Request{Namespace: "ns", Name: "app", Secret: "s"})
				if err != nil {
					t.Error(err)

					return
				}

				if content, _, err := s.File(t.Context(), "f.yaml", "f.yaml", file); err != nil || string(content) != "a: 1\n" {
					t.Errorf("content %q, error %v", content, err)
				}
			})
		}

		all.Wait()
	}
}
