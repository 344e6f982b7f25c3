package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// credentials are the headers that a server saw.
func credentials(h http.Header) []string {
	var got []string
	for _, name := range []string{"Authorization", "Cookie", "X-Token", "Accept"} {
		if v := h.Get(name); v != "" {
			got = append(got, name+": "+v)
		}
	}

	return got
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}

	req.Header.Set("Authorization", "Bearer t0ken")
	req.Header.Set("Cookie", "session=1")
	req.Header.Set("X-Token", "t0ken")
	req.Header.Set("Accept", "text/plain")

	return req
}

func TestClientRedirects(t *testing.T) {
	var seen []string

	end := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = credentials(r.Header) })
	other := httptest.NewServer(end)
	t.Cleanup(other.Close)

	mux := http.NewServeMux()
	mux.Handle("/end", end)
	mux.Handle("/same", http.RedirectHandler("/end", http.StatusFound))
	mux.Handle("/other", http.RedirectHandler(other.URL, http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))

	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	all := []string{"Authorization: Bearer t0ken", "Cookie: session=1", "X-Token: t0ken", "Accept: text/plain"}

	cases := map[string]struct {
		reason string
		path   string
		want   []string
		err    string
	}{
		"Same":  {reason: "The same server gets the credentials.", path: "/same", want: all},
		"Other": {reason: "Another port is another server and gets none.", path: "/other", want: []string{"Accept: text/plain"}},
		"Loop":  {reason: "There is an end to redirects.", path: "/loop", err: "more than 10 redirects"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			seen = nil
			client := ingest.NewClient(ingest.NewTransport(ingest.HTTPOptions{}), nil)

			resp, err := client.Do(request(t, server.URL+tc.path))
			if err == nil {
				_ = resp.Body.Close()
			}

			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s\nerror: %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, seen); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestClientRefusesDowngrade(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)

	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(secure.Close)

	tls := secure.Client().Transport.(*http.Transport).TLSClientConfig
	client := ingest.NewClient(ingest.NewTransport(ingest.HTTPOptions{TLS: tls}), nil)

	resp, err := client.Do(request(t, secure.URL))
	if err == nil {
		_ = resp.Body.Close()
		t.Error("a redirect from HTTPS to HTTP was followed")
	}
}

func TestClientBoundsBodies(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/error" {
			w.WriteHeader(http.StatusInternalServerError)
		}

		_, _ = io.WriteString(w, strings.Repeat("x", 100<<10))
	}))
	t.Cleanup(server.Close)

	cases := map[string]struct {
		reason string
		path   string
		max    func(*http.Response) int64
		over   bool
	}{
		"NoBound":    {reason: "Without a bound all is read.", path: "/"},
		"Below":      {reason: "What is within the bound is read.", path: "/", max: func(*http.Response) int64 { return 100 << 10 }},
		"Over":       {reason: "What is over the bound is not.", path: "/", max: func(*http.Response) int64 { return 1000 }, over: true},
		"ErrorBound": {reason: "Errors are always bounded.", path: "/error", over: true},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			resp, err := ingest.NewClient(ingest.NewTransport(ingest.HTTPOptions{}), tc.max).Do(request(t, server.URL+tc.path))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()

			_, err = io.Copy(io.Discard, resp.Body)
			if over := (*ingest.LimitError)(nil); errors.As(err, &over) != tc.over {
				t.Errorf("%s\nerror: %v", tc.reason, err)
			}
		})
	}
}

// What the transport inflates counts as it comes out.
func TestClientBoundsInflatedBodies(t *testing.T) {
	bomb := zipped(t, make([]byte, 10<<20))

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	}))
	t.Cleanup(server.Close)

	const most = 1 << 20
	if len(bomb) > most {
		t.Fatal("it is no bomb")
	}

	client := ingest.NewClient(ingest.NewTransport(ingest.HTTPOptions{}), func(*http.Response) int64 { return most })

	resp, err := client.Do(request(t, server.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	n, err := io.Copy(io.Discard, resp.Body)
	if _, over := errors.AsType[*ingest.LimitError](err); !over || n > most {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestClientBoundsHeaders(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range 1000 {
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1000))
		}
	}))
	t.Cleanup(server.Close)

	resp, err := ingest.NewClient(ingest.NewTransport(ingest.HTTPOptions{}), nil).Do(request(t, server.URL))
	if err == nil {
		_ = resp.Body.Close()
		t.Error("a megabyte of headers was taken")
	}
}

// slowBody brings a byte each time after a while, and then nothing.
type slowBody struct {
	io.Reader

	ctx context.Context //nolint:containedctx // it lives as long as the request
}

func (b slowBody) Read(p []byte) (int, error) {
	<-time.After(59 * time.Second) // on the clock of the bubble

	n, err := b.Reader.Read(p[:1])
	if err == nil {
		return n, nil
	}

	<-b.ctx.Done()

	return 0, b.ctx.Err()
}

func (b slowBody) Close() error { return nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

// A server that sends ever so little may take its time; one that sends nothing may not.
func TestClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := ingest.NewClient(roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: slowBody{strings.NewReader("12345"), req.Context()}, Request: req}, nil
		}), nil)

		resp, err := client.Do(request(t, "https://user:secret@example.com/a?token=x"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()

		b, err := io.ReadAll(resp.Body)
		if want := `"https://example.com/a": nothing came for 1m0s`; err == nil || err.Error() != want || string(b) != "12345" {
			t.Errorf("read %q, %v", b, err)
		}
	})
}

// A server that says nothing must not hold a request for ever: others may wait for it, too.
func TestTransportHasLimits(t *testing.T) {
	tr := ingest.NewTransport(ingest.HTTPOptions{})
	if tr.ResponseHeaderTimeout <= 0 || tr.TLSHandshakeTimeout <= 0 || tr.IdleConnTimeout <= 0 || tr.MaxResponseHeaderBytes <= 0 {
		t.Errorf("a limit is missing: %+v", tr)
	}
}

func TestRedact(t *testing.T) {
	cases := map[string]string{
		"https://user:secret@example.com/a?token=x#y": "https://example.com/a",
		"https://t0ken@example.com/a":                 "https://example.com/a",
		"ssh://git@example.com:22/a":                  "ssh://example.com:22/a",
		"https://exa mple\x7f":                        "invalid URL",
		"https:///user:secret@example.com/a":          "invalid URL",
		"https:/user:secret@example.com/a":            "invalid URL",
		"https:user:secret@example.com/a":             "invalid URL",
		"user:secret@example.com/a":                   "invalid URL",
		"https://example.com/@scope/a":                "https://example.com/@scope/a",
		"file:///a/b":                                 "file:///a/b",
	}

	for raw, want := range cases {
		if got := ingest.Redact(raw); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}

func TestRedactError(t *testing.T) {
	cases := map[string]string{
		"https://user:se/cret@example.com": "invalid port",
		"https://user:se#cret@example.com": "invalid port",
		"https://user:%secret@example.com": "invalid URL escape",
		"https://us er@example.com/\x7f":   "net/url: invalid control character in URL",
	}

	for raw, want := range cases {
		_, err := url.Parse(raw)
		if err == nil {
			t.Fatalf("%q is a URL", raw)
		}

		if got := ingest.RedactError(fmt.Errorf("outer: %w", err)).Error(); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	for code, want := range map[int]string{404: "404 Not Found", 799: "799"} {
		resp := &http.Response{StatusCode: code, Status: strings.Repeat("x", 1<<20)}
		if got := ingest.Status(resp); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
