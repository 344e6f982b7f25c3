package secrets_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/secrets"
)

func secret(data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "auth"}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}

	return s
}

// pair returns a certificate and its key in PEM.
func pair(t *testing.T) (cert, key string) {
	t.Helper()

	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weir"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), IsCA: true, BasicConstraintsValid: true,
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}

	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}

	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func message(err error) string {
	if err == nil {
		return ""
	}

	return err.Error()
}

func TestReadTLS(t *testing.T) {
	cert, key := pair(t)
	_, other := pair(t)

	type want struct {
		Err            string
		Authority, Own bool
	}

	cases := map[string]struct {
		reason string
		data   map[string]string
		legacy bool
		want   want
	}{
		"All": {
			reason: "an authority and a certificate of our own may come together",
			data:   map[string]string{"ca.crt": cert, "tls.crt": cert, "tls.key": key},
			want:   want{Authority: true, Own: true},
		},
		"Authority": {reason: "an authority is enough", data: map[string]string{"ca.crt": cert}, want: want{Authority: true}},
		"Legacy": {
			reason: "the old keys count where the contract says so",
			data:   map[string]string{"caFile": cert, "certFile": cert, "keyFile": key}, legacy: true,
			want: want{Authority: true, Own: true},
		},
		"NewKeysWin": {
			reason: "the new keys win",
			data:   map[string]string{"tls.crt": cert, "tls.key": key, "certFile": "x", "keyFile": "y"}, legacy: true,
			want: want{Own: true},
		},
		"LegacyElsewhere": {
			reason: "the old keys mean nothing elsewhere, and a Secret without certificates must not mean less protection",
			data:   map[string]string{"caFile": cert},
			want:   want{Err: "secret 'apps/auth': none of the keys is there: want 'ca.crt', or 'tls.crt' and 'tls.key'"},
		},
		"Empty": {
			reason: "an empty value is as bad as none",
			data:   map[string]string{"ca.crt": ""},
			want:   want{Err: "secret 'apps/auth': none of the keys is there: want 'ca.crt', or 'tls.crt' and 'tls.key'"},
		},
		"NoKey": {
			reason: "a certificate without its key proves nothing",
			data:   map[string]string{"tls.crt": cert},
			want:   want{Err: "secret 'apps/auth': 'tls.crt' and 'tls.key' have to be set together"},
		},
		"OtherKey": {
			reason: "the error says which keys, and nothing of what they hold",
			data:   map[string]string{"tls.crt": cert, "tls.key": other},
			want:   want{Err: "secret 'apps/auth': 'tls.crt' and 'tls.key' are no pair of certificate and key"},
		},
		"NoPEM": {
			reason: "what is no certificate must not be taken for trust in nobody, or in all",
			data:   map[string]string{"ca.crt": "hello"},
			want:   want{Err: "secret 'apps/auth': 'ca.crt' holds no certificate"},
		},
		"HugeKey": {
			reason: "reading a key cannot be stopped",
			data:   map[string]string{"tls.crt": cert, "tls.key": strings.Repeat("k", 17<<10)},
			want:   want{Err: "secret 'apps/auth': 'tls.key' has more than 16384 bytes"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want

			read, err := secrets.ReadTLS(secret(tc.data), tc.legacy)
			got.Err = message(err)

			if err == nil {
				config, err := read.Config()
				if err != nil {
					t.Fatal(err)
				}

				got.Authority, got.Own = config.RootCAs != nil, len(config.Certificates) == 1
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFindTLS(t *testing.T) {
	none, err := secrets.FindTLS(secret(map[string]string{"username": "u"}), true)
	if none != nil || err != nil {
		t.Errorf("FindTLS without certificates: %v, %v", none, err)
	}

	if config, err := none.Config(); config != nil || err != nil {
		t.Errorf("Config of nil: %v, %v", config, err)
	}

	if _, err := secrets.FindTLS(secret(map[string]string{"ca.crt": "hello"}), true); err == nil {
		t.Error("FindTLS took what is no certificate")
	}

	cert, _ := pair(t)

	some, err := secrets.FindTLS(secret(map[string]string{"ca.crt": cert}), false)
	if err != nil {
		t.Fatal(err)
	}

	if some.Fingerprint() == none.Fingerprint() {
		t.Error("certificates have the fingerprint of none")
	}
}

func TestProxy(t *testing.T) {
	cases := map[string]struct {
		reason   string
		data     map[string]string
		want     string
		wantFail string
	}{
		"Plain": {reason: "an address is enough", data: map[string]string{"address": "http://proxy:3128"}, want: "http://proxy:3128"},
		"Authenticated": {
			reason: "username and password go into the URL, escaped",
			data:   map[string]string{"address": "socks5://proxy:1080", "username": "u", "password": "p@s"}, want: "socks5://u:p%40s@proxy:1080",
		},
		"Missing":  {reason: "the address is required", wantFail: "secret 'apps/auth': 'address' is required for a proxy"},
		"NoScheme": {reason: "host and port are no URL", data: map[string]string{"address": "proxy:3128"}, wantFail: "secret 'apps/auth': 'address' has no host"},
		"Scheme": {
			reason: "nothing else is a proxy", data: map[string]string{"address": "ftp://proxy"},
			wantFail: "secret 'apps/auth': 'address': the scheme is none of http, https and socks5",
		},
		"HalfAuthenticated": {
			reason: "half an identity is a mistake", data: map[string]string{"address": "http://proxy", "username": "u"},
			wantFail: "secret 'apps/auth': 'username' and 'password' have to be set together",
		},
		"Secret": {
			reason: "what cannot be read may hold a password, which is not shown",
			data:   map[string]string{"address": "http://u:hunter2@[proxy"}, wantFail: "secret 'apps/auth': 'address' is no URL: missing ']' in host",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u, err := secrets.Proxy(secret(tc.data))
			if got := message(err); got != tc.wantFail {
				t.Errorf("%s: want error %q, got %q", tc.reason, tc.wantFail, got)
			}

			if err == nil && u.String() != tc.want {
				t.Errorf("%s: want %q, got %q", tc.reason, tc.want, u)
			}
		})
	}
}

func TestGet(t *testing.T) {
	r := secrets.ReaderFunc(func(_ context.Context, _, name string) (*corev1.Secret, error) {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
	})

	_, err := secrets.Get(t.Context(), r, "apps", "auth")
	if got, want := message(err), `failed to get secret 'apps/auth': secrets "auth" not found`; got != want {
		t.Errorf("want %q, got %q", want, got)
	}

	if !apierrors.IsNotFound(err) {
		t.Error("the cause is lost")
	}
}
