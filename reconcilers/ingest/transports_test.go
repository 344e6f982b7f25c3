package ingest_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

func TestTransports(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy:3128", User: url.UserPassword("u", "p")}
	made := 0
	theirs := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "theirs"}
	config := func() (*tls.Config, error) {
		made++

		return theirs, nil
	}

	pool := &ingest.Transports{}

	to := func(r ingest.Route) *http.Transport {
		t.Helper()

		got, err := pool.To(r)
		if err != nil {
			t.Fatal(err)
		}

		return got
	}

	routes := []ingest.Route{
		{}, {ID: "a", TLS: config}, {ID: "b", TLS: config}, {Proxy: proxy}, {ID: "a", TLS: config, Proxy: proxy},
		{Proxy: &url.URL{Scheme: "http", Host: "proxy:3128"}}, {Unverified: true}, {ID: "a", TLS: config, Unverified: true},
	}

	all := map[*http.Transport]bool{}
	for _, r := range routes {
		all[to(r)] = true
	}

	if len(all) != len(routes) {
		t.Errorf("%d ways to reach a server, %d transports", len(routes), len(all))
	}

	before := made
	for _, r := range routes {
		if !all[to(r)] {
			t.Error("the same way has a new transport")
		}
	}

	if made != before {
		t.Error("the configuration was made again")
	}

	if c := to(ingest.Route{ID: "a", TLS: config, Unverified: true}).TLSClientConfig; !c.InsecureSkipVerify || c.ServerName != "theirs" {
		t.Error("an unverified route has lost its configuration, or verifies")
	}

	if c := to(ingest.Route{ID: "a", TLS: config}).TLSClientConfig; c.InsecureSkipVerify {
		t.Error("a route is not verified although that was not asked for")
	}

	if _, err := pool.To(ingest.Route{ID: "bad", TLS: func() (*tls.Config, error) { return nil, errors.New("no key") }}); err == nil {
		t.Error("a route without its certificate is taken")
	}
}

// TestTransportsBounded holds that what users write does not fill the memory.
func TestTransportsBounded(t *testing.T) {
	pool := &ingest.Transports{}

	for i := range 1000 {
		if _, err := pool.To(ingest.Route{ID: string(rune('a' + i))}); err != nil {
			t.Fatal(err)
		}
	}

	if n := pool.Len(); n > 128 {
		t.Errorf("%d transports are kept", n)
	}
}
