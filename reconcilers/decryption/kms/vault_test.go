package kms_test

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/ingest"
	clouds "github.com/weir-dev/weir/test/cloud"
)

const vaultAddress = "https://vault.test:8200"

// newVault returns a Vault on the internet of the test, which knows the ServiceAccount reader, one that says itself how it logs in,
// and that of the process.
func newVault() *clouds.Vault {
	v := &clouds.Vault{Cloud: sky, Token: secret, Audience: vaultAddress, Lease: 3600, Logins: map[string]string{
		"auth/kubernetes/login apps_reader": "apps/reader", "ns1/auth/jwt/login special": "apps/annotated",
		"auth/kubernetes/login system_weir": "system/weir",
	}}
	sky.Handle("vault.test:8200", v)

	return v
}

func listed(content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "vaults"}, Data: map[string]string{"config.yaml": content},
	}
}

const usual = "instances:\n- address: " + vaultAddress + "\n  loginPath: auth/kubernetes/login\n"

func annotated() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "annotated", Annotations: map[string]string{
		"transit-engine.auth.fluxcd.io/login-path": "ns1/auth/jwt/login", "transit-engine.auth.fluxcd.io/role": "special",
	}}}
}

func self(context.Context) (types.NamespacedName, error) {
	return types.NamespacedName{Namespace: "system", Name: "weir"}, nil
}

func TestVault(t *testing.T) {
	v := newVault()
	list := func(o *kms.Options) { o.Vault.Instances = types.NamespacedName{Namespace: "system", Name: "vaults"} }
	env := func(address string) func(*kms.Options) {
		return func(o *kms.Options) { o.Vault.Address, o.Vault.Token = address, secret }
	}
	at := func(address, engine, key string) sops.Recipient {
		return sops.Recipient{
			Kind: sops.VaultTransit, Address: address, EnginePath: engine, KeyName: key,
			Encrypted: v.Seal(strings.Trim(engine, "/")+"/keys/"+key, dataKey),
		}
	}
	good := at(vaultAddress, "transit", "sops")
	token := map[string]string{"sops.vault-token": secret + "\n"}

	cases := map[string]struct {
		reason    string
		recipient sops.Recipient
		request   kms.Request
		list      string
		change    []func(*kms.Options)
		want      string
		audiences []string
	}{
		"Secret": {reason: "A Secret may have a token.", recipient: good, request: request("reader", token), list: usual, change: []func(*kms.Options){list}},
		"Engine": {reason: "An engine may have a path.", recipient: at(vaultAddress, "/team/transit/", "sops"), request: request("", token)},
		"WrongToken": {
			reason: "It has to be good.", recipient: good, request: request("", map[string]string{"sops.vault-token": secret + "x"}),
			want: `decrypt with Vault at "https://vault.test:8200": 403 Forbidden`,
		},
		"NoToken": {
			reason: "It has to be a token.", recipient: good, request: request("", map[string]string{"sops.vault-token": secret + "\nX: y"}),
			want: `key "sops.vault-token" of the decryption Secret: it is no token`,
		},
		"Login": {
			reason: "A ServiceAccount logs in where the operator says.", recipient: good, request: request("reader", nil), list: usual,
			change: []func(*kms.Options){list}, audiences: []string{vaultAddress},
		},
		"LoginBeforeEnvironment": {
			reason: "Rather than that the process lends its token.", recipient: good, request: request("nobody", nil), list: usual,
			change: []func(*kms.Options){list, env(vaultAddress)}, audiences: []string{vaultAddress},
			want: `log in to Vault at "https://vault.test:8200" as service account 'apps/nobody', role "apps_nobody": 403 Forbidden`,
		},
		"Self": {
			reason: "So does the process.", recipient: good, request: request("", nil), list: usual,
			change: []func(*kms.Options){list, func(o *kms.Options) { o.Vault.Self = self }}, audiences: []string{vaultAddress},
		},
		"Unlisted": {
			reason: "Not elsewhere.", recipient: at("https://evil.test", "transit", "sops"), request: request("reader", nil), list: usual,
			change: []func(*kms.Options){list}, want: `no ServiceAccount may log in at "https://evil.test:443"`,
		},
		"UnlistedAnnotations": {
			reason: "Whatever it says itself.", recipient: at("https://evil.test", "transit", "sops"), request: request("annotated", nil), list: usual,
			change: []func(*kms.Options){list}, want: `no ServiceAccount may log in at "https://evil.test:443"`,
		},
		"Annotations": {
			reason: "Without a list, it says how it logs in.", recipient: good, request: request("annotated", nil), audiences: []string{vaultAddress},
		},
		"AnnotationsOnTheList": {
			reason: "And with one, for addresses on it.", recipient: good, request: request("annotated", nil), list: usual,
			change: []func(*kms.Options){list}, audiences: []string{vaultAddress},
		},
		"AnnotationsPlainHTTP": {
			reason: "Its token is not for everybody on the way.", recipient: at("http://vault.test:8200", "transit", "sops"),
			request: request("annotated", nil), want: `service account 'apps/annotated' does not log in at "http://vault.test:8200", which is not HTTPS`,
		},
		"OtherAudience": {
			reason: "The token is for the address of the list as it stands there.", recipient: at("https://VAULT.test:8200/", "transit", "sops"),
			request: request("reader", nil), list: "instances: [{address: 'https://Vault.test:8200', loginPath: auth/kubernetes/login}]",
			change: []func(*kms.Options){list}, audiences: []string{"https://Vault.test:8200"}, want: "403 Forbidden",
		},
		"Environment":       {reason: "The process may have a token for one address.", recipient: good, request: request("", nil), change: []func(*kms.Options){env(vaultAddress + "/")}},
		"EnvironmentListed": {reason: "Or for those on the list.", recipient: good, request: request("", nil), list: usual, change: []func(*kms.Options){list, env("")}},
		"EnvironmentElsewhere": {
			reason: "It goes nowhere that only a file says.", recipient: at("https://evil.test", "transit", "sops"), request: request("", nil),
			change: []func(*kms.Options){env(vaultAddress)},
			want:   `the token of the controller is not for "https://evil.test:443", which is neither in VAULT_ADDR nor in the ConfigMap`,
		},
		"EnvironmentPort": {
			reason: "Nor to another port.", recipient: at("https://vault.test:8201", "transit", "sops"), request: request("", nil),
			change: []func(*kms.Options){env(vaultAddress)}, want: `the token of the controller is not for "https://vault.test:8201"`,
		},
		"EnvironmentPlainHTTP": {
			reason: "Nor over plain HTTP.", recipient: at("http://vault.test:8200", "transit", "sops"), request: request("", nil),
			change: []func(*kms.Options){env(vaultAddress)}, want: `the token of the controller is not for "http://vault.test:8200"`,
		},
		"EnvironmentAnywhere": {
			reason: "Without an address, it goes nowhere.", recipient: good, request: request("", nil), change: []func(*kms.Options){env("")},
			want: "the token of the controller is not for",
		},
		"Nothing": {reason: "There may be nothing.", recipient: good, request: request("", nil), want: `the decryption Secret has no "sops.vault-token"`},
		"Gone": {
			reason: "A ServiceAccount has to be there.", recipient: good, request: request("gone", nil), list: usual, change: []func(*kms.Options){list},
			want: "failed to get service account 'apps/gone'",
		},
		"NoList": {
			reason: "So does the list.", recipient: good, request: request("reader", nil), change: []func(*kms.Options){list},
			want: `read ConfigMap 'system/vaults': configmaps "vaults" not found`,
		},
		"BadList": {
			reason: "Which has to be right.", recipient: good, request: request("reader", nil), list: "instances: [{url: x}]",
			change: []func(*kms.Options){list}, want: `ConfigMap 'system/vaults', key 'config.yaml': parse: `,
		},
		"BadListPath": {
			reason: "All of it.", recipient: good, request: request("reader", nil), list: "instances: [{address: 'https://v.test', loginPath: ../x}]",
			change: []func(*kms.Options){list}, want: `ConfigMap 'system/vaults', key 'config.yaml': instances[0].loginPath: it is no path`,
		},
		"Twice": {
			reason: "Without contradictions.", recipient: good, request: request("reader", nil), list: usual + "- {address: 'https://Vault.test:8200/', loginPath: a}\n",
			change: []func(*kms.Options){list}, want: `instances[1].address: "https://vault.test:8200" is there twice`,
		},
		"Metadata": {
			reason: "A file asks no metadata service.", recipient: at("http://169.254.169.254", "transit", "sops"), request: request("", token),
			want: "address 169.254.169.254 is link-local",
		},
		"UserInfo": {
			reason: "An address has no user.", recipient: at("https://vault.test:8200@evil.test", "transit", "sops"), request: request("", token),
			want: "the address of Vault has more than scheme, host and port",
		},
		"Scheme": {reason: "It is a URL.", recipient: at("file:///etc/passwd", "transit", "sops"), request: request("", token), want: "the address of Vault is no URL"},
		"Path": {
			reason: "A path leads nowhere else.", recipient: at(vaultAddress, "transit/../sys", "sops"), request: request("", token),
			want: "the engine or the key: it is no path",
		},
		"KeyPath": {
			reason: "A key has no path.", recipient: at(vaultAddress, "transit", "sops/../../sys"), request: request("", token), want: "the engine or the key: it is no path",
		},
		"Query": {
			reason: "A question mark is a part of a name.", recipient: at(vaultAddress, "transit?x=", "sops"), request: request("", token),
		},
		"OtherKey": {
			reason:  "Another key does not decrypt it.",
			request: request("", token), want: `decrypt with Vault at "https://vault.test:8200": 400 Bad Request`,
			recipient: sops.Recipient{Kind: sops.VaultTransit, Address: vaultAddress, EnginePath: "transit", KeyName: "x", Encrypted: good.Encrypted},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{annotated()}
			if tc.list != "" {
				objects = append(objects, listed(tc.list))
			}

			c := newCluster(t, objects...)
			got, err := unwrap(t, services(t, c, tc.change...), tc.request, tc.recipient)
			expect(t, tc.reason, tc.want, got, err)

			if diff := cmp.Diff(tc.audiences, c.tokens()); diff != "" {
				t.Errorf("%s\ntokens for -want +got:\n%s", tc.reason, diff)
			}

			for _, r := range sky.Requests() {
				if r.Host != "vault.test:8200" {
					t.Errorf("%s\nrequest: %s", tc.reason, r)
				}
			}
		})
	}
}

// A login serves all who are the same, until its time is over or Vault takes it back.
func TestVaultLoginIsKept(t *testing.T) {
	v := newVault()
	now := time.Now()
	c := newCluster(t, listed(usual), annotated())
	s := services(t, c, func(o *kms.Options) {
		o.Vault.Instances = types.NamespacedName{Namespace: "system", Name: "vaults"}
		o.Now = func() time.Time { return now }
	})
	recipient := sops.Recipient{
		Kind: sops.VaultTransit, Address: vaultAddress, EnginePath: "transit", KeyName: "sops", Encrypted: v.Seal("transit/keys/sops", dataKey),
	}

	steps := []struct {
		reason  string
		before  func()
		account string
		want    int
	}{
		{"It logs in.", func() {}, "reader", 1},
		{"Once.", func() {}, "reader", 0},
		{"For itself.", func() {}, "annotated", 1},
		{"As long as it is good.", func() { now = now.Add(47 * time.Minute) }, "reader", 0},
		{"Then again.", func() { now = now.Add(2 * time.Minute) }, "reader", 1},
		{"Also when the token was taken back.", v.Revoke, "reader", 1},
		{"Another account is another one.", func() {
			account := &corev1.ServiceAccount{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "reader"}, account); err != nil {
				t.Fatal(err)
			}

			account.Labels = map[string]string{"a": "b"}
			if err := c.Update(t.Context(), account); err != nil {
				t.Fatal(err)
			}
		}, "reader", 1},
	}

	for _, step := range steps {
		step.before()

		got, err := unwrap(t, s, request(step.account, nil), recipient)
		expect(t, step.reason, "", got, err)

		if n := len(c.tokens()); n != step.want {
			t.Errorf("%s\n%d logins, want %d", step.reason, n, step.want)
		}
	}
}

func TestVaultConcurrently(t *testing.T) {
	v := newVault()
	c := newCluster(t, listed(usual))
	s := services(t, c, func(o *kms.Options) { o.Vault.Instances = types.NamespacedName{Namespace: "system", Name: "vaults"} })

	k, err := s.For(request("reader", nil))
	if err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			got, err := k.Unwrap(t.Context(), sops.Recipient{
				Kind: sops.VaultTransit, Address: vaultAddress, EnginePath: "transit", KeyName: "sops", Encrypted: v.Seal("transit/keys/sops", dataKey),
			})
			expect(t, "All get it.", "", got, err)
		})
	}

	wg.Wait()
}

// A Vault with a certificate of its own authority, in a namespace of its own.
func TestVaultOfTheOperator(t *testing.T) {
	v := &clouds.Vault{Cloud: sky, Token: secret, Namespace: "team"}
	server := httptest.NewTLSServer(v)
	t.Cleanup(server.Close)

	recipient := sops.Recipient{
		Kind: sops.VaultTransit, Address: server.URL, EnginePath: "transit", KeyName: "sops", Encrypted: v.Seal("transit/keys/sops", dataKey),
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})

	cases := map[string]struct {
		reason string
		vault  kms.Vault
		allow  ingest.AllowAddr
		want   string
	}{
		"Trusted":   {"It is trusted.", kms.Vault{Address: server.URL, Token: secret, Namespace: "team", CA: ca}, loopback, ""},
		"Untrusted": {"Others are not.", kms.Vault{Address: server.URL, Token: secret, Namespace: "team"}, loopback, "certificate"},
		"NoPEM":     {"What is no certificate helps nobody.", kms.Vault{Address: server.URL, Token: secret, CA: []byte("x")}, loopback, "the authority of Vault is no certificate in PEM"},
		"Namespace": {"The namespace is another one.", kms.Vault{Address: server.URL, Token: secret, CA: ca}, loopback, "403 Forbidden"},
		"Local":     {"This machine is not for files.", kms.Vault{Address: server.URL, Token: secret, CA: ca}, kms.RefuseLocal, "address 127.0.0.1 is this machine"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request("", nil)
			r.Proxy = nil

			got, err := unwrap(t, services(t, newCluster(t), func(o *kms.Options) {
				o.Vault, o.Transports = tc.vault, &ingest.Transports{Allow: tc.allow}
			}), r, recipient)
			expect(t, tc.reason, tc.want, got, err)
		})
	}
}

// A server that a file names may do anything.
func TestHostileVault(t *testing.T) {
	var elsewhere atomic.Int64

	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)

	cases := map[string]struct {
		reason string
		serve  http.HandlerFunc
		want   string
	}{
		"Redirect": {"It sends us elsewhere.", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "307 Temporary Redirect"},
		"Echo": {"It says the token aloud.", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, r.Header.Get("X-Vault-Token"), http.StatusTeapot)
		}, "418 I'm a teapot"},
		"Endless": {"It does not stop talking.", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "decrypt with Vault at"},
		"NoJSON": {"It gives something else.", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"data": {"plaintext": 1, "x": "` + secret + `"}}`))
		}, "the answer is no JSON of the service"},
		"NoBase64": {"It gives no data key.", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"data": {"plaintext": "` + secret + `!"}}`))
		}, "the service gave no usable data key"},
		"Long": {"It gives too much.", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"data": {"plaintext": "` + strings.Repeat("AAAA", 1000) + `"}}`))
		}, "the service gave no usable data key"},
		"Nothing": {"It gives nothing.", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{}`))
		}, "the service gave no usable data key"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.serve)
			t.Cleanup(server.Close)

			r := request("", map[string]string{"sops.vault-token": secret})
			r.Proxy = nil

			got, err := unwrap(t, services(t, newCluster(t)), r, sops.Recipient{
				Kind: sops.VaultTransit, Address: server.URL, EnginePath: "transit", KeyName: "sops", Encrypted: "vault:v1:x",
			})
			expect(t, tc.reason, tc.want, got, err)
		})
	}

	if elsewhere.Load() > 0 {
		t.Error("the token was sent elsewhere")
	}
}

// Nobody waits longer than they want for a server that does not answer, nor for longer than the services allow.
func TestSilentVault(t *testing.T) {
	asked := make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see who hangs up
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)

	r := request("", map[string]string{"sops.vault-token": secret})
	r.Proxy = nil
	recipient := sops.Recipient{Kind: sops.VaultTransit, Address: server.URL, EnginePath: "transit", KeyName: "sops", Encrypted: "vault:v1:x"}

	k, err := services(t, newCluster(t)).For(r)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())

	go func() {
		<-asked
		cancel()
	}()

	_, err = k.Unwrap(ctx, recipient)
	expect(t, "Who asks has lost interest.", "context canceled", nil, err)

	short, err := services(t, newCluster(t), func(o *kms.Options) { o.Timeout = time.Millisecond }).For(r)
	if err != nil {
		t.Fatal(err)
	}

	_, err = short.Unwrap(t.Context(), recipient)
	expect(t, "It takes too long.", "timed out after 1ms", nil, err)
}

// A proxy that an object names is an address that somebody gives.
func TestGuardedProxy(t *testing.T) {
	r := request("reader", nil)
	r.Proxy = &url.URL{Scheme: "http", Host: "169.254.169.254", User: url.UserPassword("u", secret)}

	got, err := unwrap(t, services(t, newCluster(t)), r, sops.Recipient{Kind: sops.AWSKMS, ARN: arn, Encrypted: std([]byte("x"))})
	expect(t, "It is guarded.", "address 169.254.169.254 is link-local", got, err)
}
