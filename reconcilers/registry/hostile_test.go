package registry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	server "github.com/weir-dev/weir/test/registry"
)

// A few megabytes of a manifest must not become hundreds of them, whoever reads it.
func TestManyParts(t *testing.T) {
	part := map[string]string{
		"Layers": `{"schemaVersion":2,"layers":[%s{}]}`, "Annotations": `{"schemaVersion":2,"layers":[],"annotations":{%s"a":""}}`,
	}
	repeated := map[string]string{"Layers": `{},`, "Annotations": `"":"",`}

	for name, body := range part {
		t.Run(name, func(t *testing.T) {
			const want = "the document has more than 50000 parts"

			s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
				if !strings.Contains(req.URL.Path, "/manifests/") || req.Method != http.MethodGet {
					return false
				}

				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				_, _ = fmt.Fprintf(w, body, strings.Repeat(repeated[name], 60_000))

				return true
			})
			digest := push(t, s, "org/app", "v1", "one")
			repo := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app", registry.Access{})

			if _, err := repo.Manifest(t.Context(), digest); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("unexpected error: %v", err)
			}

			if _, err := repo.Pull(t.Context(), "v1", time.Time{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("unexpected error: %v", err)
			}

			_, err := remote.Get(repo.Name().Tag("v1"), append(repo.Remote(), remote.WithContext(t.Context()))...)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("unexpected error: %v", err)
			}
		})
	}
}

// Who has spoken HTTPS does not get credentials over HTTP later: somebody else may have taken its place.
func TestStaysSecure(t *testing.T) {
	cases := map[string]struct {
		reason   string
		insecure bool
		seen     bool
	}{
		"Secure":   {reason: "Nobody has allowed HTTP."},
		"Insecure": {reason: "Who allows HTTP gets it.", insecure: true, seen: true},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := serve(t, server.Options{TLS: true, Username: "u", Password: "p"})
			push(t, s, "org/app", "v1", "one")

			clock := &enginetest.Clock{}
			repo := open(t, newRegistries(clock), s.Addr+"/org/app", registry.Access{
				Secret: dockerConfig("u", "p", s.Addr), TLS: clientSecret(t, s, secrets.CA), Insecure: tc.insecure,
			})

			_, err := repo.Resolve(t.Context(), "v1", time.Time{})
			check(t, err)
			s.Close()

			seen := false

			breaking(t, server.Options{Addr: s.Addr}, func(w http.ResponseWriter, req *http.Request) bool {
				seen = seen || req.Header.Get("Authorization") != ""

				w.WriteHeader(http.StatusNotFound)

				return true
			})

			for range 3 {
				clock.Advance(time.Minute)

				if _, err := repo.Resolve(t.Context(), "v1", clock.Now()); err == nil {
					t.Error("there is no such tag any more")
				}
			}

			if seen != tc.seen {
				t.Errorf("%s\ncredentials were seen: %t", tc.reason, seen)
			}
		})
	}
}

// Many connections of others do not make a registry be asked that wants to be left alone.
func TestManyConnections(t *testing.T) {
	asked := 0
	s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/v2/" {
			asked++

			w.WriteHeader(http.StatusTooManyRequests)
		}

		return req.URL.Path != "/v2/"
	})
	r := newRegistries(&enginetest.Clock{})

	for i := range 300 { // more than there are connections
		_, err := open(t, r, s.Addr+"/org/app", registry.Access{}).Resolve(t.Context(), "v1", time.Time{})
		if !errors.Is(err, registry.ErrRateLimited) {
			t.Fatalf("unexpected error: %v", err)
		}

		proxy := &url.URL{Scheme: "http", Host: "proxy-" + strconv.Itoa(i) + ".test"}
		open(t, r, "registry.test/org/app", registry.Access{Proxy: proxy})
	}

	if pings := s.Counts().Pings; asked != 1 || pings != 1 {
		t.Errorf("it was asked %d times, and %d times what it speaks", asked, pings)
	}
}

// A redirect may lead to a URL of any length, which has no place in a condition.
func TestLongURL(t *testing.T) {
	s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
		switch {
		case req.URL.Path == "/v2/":
			return false
		case len(req.URL.Path) > 1000:
			w.WriteHeader(http.StatusNotFound)
		default:
			http.Redirect(w, req, "/"+strings.Repeat("a", 10_000), http.StatusFound)
		}

		return true
	})

	_, err := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app", registry.Access{}).Tags(t.Context(), time.Time{})
	if err == nil || !strings.HasSuffix(err.Error(), "aaa…: 404 Not Found") || len(err.Error()) > 1000 {
		t.Errorf("unexpected error: %v", err)
	}
}

// The question what a registry speaks leads nowhere else.
func TestPingStays(t *testing.T) {
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(other.Close)

	s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path == "/v2/" {
			http.Redirect(w, req, other.URL, http.StatusFound)
		}

		return req.URL.Path == "/v2/"
	})
	push(t, s, "org/app", "v1", "one")

	_, err := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app", registry.Access{}).Resolve(t.Context(), "v1", time.Time{})
	check(t, err)

	if asked != 0 {
		t.Error("another server was asked")
	}
}

// Tokens may be of any size, and there may be any number of repositories.
func TestTokensAreBounded(t *testing.T) {
	const repositories = 600 // tokens of 60 KB have room for fewer

	for size, want := range map[int]int{100: repositories, 60_000: repositories + 1} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			exchanges := 0

			s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
				switch {
				case req.URL.Path == "/token":
					exchanges++
					_, _ = io.WriteString(w, `{"token":"`+strings.Repeat("a", size)+`"}`)
				case req.URL.Path != "/v2/" && req.Header.Get("Authorization") == "":
					w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+req.Host+`/token"`)
					w.WriteHeader(http.StatusUnauthorized)
				default:
					w.WriteHeader(http.StatusNotFound)
				}

				return true
			})

			r := newRegistries(&enginetest.Clock{})

			for i := range repositories + 1 {
				name := s.Addr + "/org/app-" + strconv.Itoa(i%repositories)
				if _, err := open(t, r, name, registry.Access{}).Tags(t.Context(), time.Time{}); !errors.Is(err, registry.ErrNotFound) {
					t.Fatalf("unexpected error: %v", err)
				}
			}

			if exchanges != want {
				t.Errorf("%d tokens were asked for, want %d", exchanges, want)
			}
		})
	}
}
