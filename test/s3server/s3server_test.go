package s3server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/weir-dev/weir/test/s3server"
)

func TestServer(t *testing.T) {
	s := start(t, s3server.Options{
		Keys: map[string]string{"reader": "secret"}, LDAP: map[string]string{"alice": "password"}, TLS: true, ClientAuth: true,
	})

	etag, err := s.Put("box", "dir/ä +?.txt", "text")
	check(t, err)

	expired := s.Keys().Issue(-time.Minute)
	cases := map[string]struct {
		reason string
		creds  *credentials.Credentials
		want   string
	}{
		"Right":   {"Good keys are taken.", credentials.NewStaticV4("reader", "secret", ""), ""},
		"Wrong":   {"Wrong ones are not.", credentials.NewStaticV4("reader", "wrong", ""), "SignatureDoesNotMatch"},
		"Unknown": {"Nor are unknown ones.", credentials.NewStaticV4("other", "secret", ""), "InvalidAccessKeyId"},
		"Token":   {"Nor is a token that was not given.", credentials.NewStaticV4("reader", "secret", "t"), "InvalidToken"},
		"Nobody":  {"Nobody gets nothing.", credentials.NewStaticV4("", "", ""), "AccessDenied"},
		"Expired": {
			"Keys expire.", credentials.NewStaticV4(expired.AccessKey, expired.SecretKey, expired.SessionToken), "ExpiredToken",
		},
		"LDAP":      {"A password gives keys.", ldap(t, s, "password"), ""},
		"WrongLDAP": {"A wrong one does not.", ldap(t, s, "wrong"), "InvalidParameterValue"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := minio.New(s.Addr, &minio.Options{
				Creds: tc.creds, Secure: true, Transport: transport(t, s), Region: "us-east-1", MaxRetries: 1,
			})
			check(t, err)

			content, err := read(t.Context(), c)
			if got := code(err); got != tc.want || err == nil && content != "text" {
				t.Errorf("%s\n%q, error %q: %v", tc.reason, content, got, err)
			}
		})
	}

	c, err := minio.New(s.Addr, &minio.Options{
		Creds: credentials.NewStaticV4("reader", "secret", ""), Secure: true, Transport: transport(t, s), Region: "us-east-1",
	})
	check(t, err)
	s.Requests()

	_, err = c.PutObject(t.Context(), "box", "new", bytes.NewReader([]byte("x")), 1, minio.PutObjectOptions{})
	check(t, err)

	for o := range c.ListObjects(t.Context(), "box", minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil || o.Key == "dir/ä +?.txt" && o.ETag != etag {
			t.Errorf("%+v", o)
		}
	}

	all := s.Requests()
	if len(all) != 2 || all[0].AccessKey != "reader" || all[0].Status != http.StatusOK || !all[1].Listing() {
		t.Errorf("requests: %+v", all)
	}

	check(t, s.Delete("box", "new"))
	check(t, s.RemoveBucket("box"))
}

// Whoever has no certificate does not get that far.
func TestClientAuth(t *testing.T) {
	s := start(t, s3server.Options{TLS: true, ClientAuth: true})

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA)

	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL(), nil)
	check(t, err)

	if resp, err := c.Do(req); err == nil {
		_ = resp.Body.Close()

		t.Error("the server answers")
	}
}

// Buckets have hosts of their own, as on AWS.
func TestDomains(t *testing.T) {
	s := start(t, s3server.Options{Domains: []string{"s3.test"}})
	_, err := s.Put("box", "key", "text")
	check(t, err)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/key", nil)
	check(t, err)
	req.Host = "box.s3.test"

	resp, err := http.DefaultClient.Do(req)
	check(t, err)

	defer resp.Body.Close()

	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "text" || s.Connections() != 1 {
		t.Errorf("%q, %v", body, err)
	}
}

func start(t *testing.T, o s3server.Options) *s3server.Server {
	t.Helper()

	s, err := s3server.Start(t.Context(), o)
	check(t, err)
	t.Cleanup(s.Close)
	check(t, s.MakeBucket("box"))

	return s
}

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func transport(t *testing.T, s *s3server.Server) http.RoundTripper {
	t.Helper()

	cert, key, err := s.ClientCertificate()
	check(t, err)

	pair, err := tls.X509KeyPair(cert, key)
	check(t, err)

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA)

	return &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
	}}
}

func ldap(t *testing.T, s *s3server.Server, password string) *credentials.Credentials {
	t.Helper()

	return credentials.New(&credentials.LDAPIdentity{
		Client: &http.Client{Transport: transport(t, s)}, STSEndpoint: s.URL(), LDAPUsername: "alice", LDAPPassword: password,
	})
}

func read(ctx context.Context, c *minio.Client) (string, error) {
	o, err := c.GetObject(ctx, "box", "dir/ä +?.txt", minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	defer o.Close() //nolint:errcheck // it was only read

	b, err := io.ReadAll(o)

	return string(b), err
}

func code(err error) string {
	if err == nil {
		return ""
	}

	if sts, ok := err.(credentials.ErrorResponse); ok { //nolint:errorlint // it is not wrapped
		return sts.STSError.Code
	}

	return minio.ToErrorResponse(err).Code
}
