package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/test/proxy"
)

func TestProxy(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Proxy-Authorization") != "" {
			t.Error("the credentials of the proxy came through")
		}

		_, _ = io.WriteString(w, "hello")
	})

	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)

	// The certificate of httptest is for example.com.
	hosts := map[string]string{
		"plain.test:80": plain.Listener.Addr().String(), "example.com:443": secure.Listener.Addr().String(),
	}

	cases := map[string]struct {
		reason  string
		options proxy.Options
		user    *url.Userinfo
		url     string
		want    int // zero if there is no answer at all
		log     []proxy.Request
	}{
		"Plain": {
			reason: "A plain request is passed on.", url: "http://plain.test/a?b=secret", want: http.StatusOK,
			log: []proxy.Request{{Method: "GET", Target: "http://plain.test/a"}},
		},
		"Tunnel": {
			reason: "HTTPS goes through a tunnel.", url: "https://example.com/a", want: http.StatusOK,
			log: []proxy.Request{{Method: "CONNECT", Target: "example.com:443"}},
		},
		"OverTLS": {
			reason: "The proxy itself may be reached over TLS.", options: proxy.Options{TLS: true},
			url: "https://example.com/a", want: http.StatusOK,
			log: []proxy.Request{{Method: "CONNECT", Target: "example.com:443"}},
		},
		"Credentials": {
			reason: "The right credentials are let in.", options: proxy.Options{Username: "jane", Password: "secret"},
			user: url.UserPassword("jane", "secret"), url: "https://example.com/a", want: http.StatusOK,
			log: []proxy.Request{{Method: "CONNECT", Target: "example.com:443", User: "jane"}},
		},
		"WrongPassword": {
			reason: "The wrong ones are not.", options: proxy.Options{Username: "jane", Password: "secret"},
			user: url.UserPassword("jane", "guess"), url: "http://plain.test/a", want: http.StatusProxyAuthRequired,
			log: []proxy.Request{{Method: "GET", Target: "http://plain.test/a", User: "jane", Refused: true}},
		},
		"NoCredentials": {
			reason: "None are not.", options: proxy.Options{Username: "jane", Password: "secret"},
			url: "https://example.com/a",
			log: []proxy.Request{{Method: "CONNECT", Target: "example.com:443", Refused: true}},
		},
		"NoTarget": {
			reason: "A target that is not there is an answer of the proxy.", url: "http://127.0.0.1:1/a", want: http.StatusBadGateway,
			log: []proxy.Request{{Method: "GET", Target: "http://127.0.0.1:1/a"}},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.options.Hosts = hosts

			p, err := proxy.Serve(t.Context(), tc.options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)

			got, err := get(t, p, tc.user, secure, tc.url)
			if got != tc.want || (err != nil) != (tc.want == 0) {
				t.Errorf("%s\ngot %d, %v", tc.reason, got, err)
			}

			if diff := cmp.Diff(tc.log, p.Requests()); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// get asks for a URL through the proxy, and returns the status.
func get(t *testing.T, p *proxy.Proxy, user *url.Userinfo, secure *httptest.Server, target string) (int, error) {
	t.Helper()

	via, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}

	via.User = user

	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	pool.AppendCertsFromPEM(p.CA)

	transport := &http.Transport{
		Proxy: http.ProxyURL(via), TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}
	t.Cleanup(transport.CloseIdleConnections)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}

	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()

	_, err = io.Copy(io.Discard, resp.Body)

	return resp.StatusCode, err
}

func TestClose(t *testing.T) {
	arrived, done := make(chan struct{}), make(chan error)
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		close(arrived)
		<-req.Context().Done()
	}))
	t.Cleanup(server.Close)

	p, err := proxy.Serve(t.Context(), proxy.Options{Hosts: map[string]string{
		"example.com:443": server.Listener.Addr().String(),
	}})
	if err != nil {
		t.Fatal(err)
	}

	go func() {
		_, err := get(t, p, nil, server, "https://example.com/")
		done <- err
	}()

	<-arrived
	p.Close()

	if err := <-done; err == nil {
		t.Error("a tunnel outlives the proxy")
	}
}
