package helmrepository_test

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/test/helmrepo"
	"github.com/weir-dev/weir/test/proxy"
)

func TestAuthentication(t *testing.T) {
	basic := map[string]string{"username": "jane", "password": "secret"}

	cases := map[string]struct {
		reason string
		url    func(string) string
		secret map[string]string
		want   string // of Ready
	}{
		"Right": {reason: "The right credentials are let in.", secret: basic, want: "True Succeeded: "},
		"URL": {
			reason: "They may be in the URL.", url: func(u string) string { return strings.Replace(u, "://", "://jane:secret@", 1) },
			want: "True Succeeded: ",
		},
		"Wrong": {
			reason: "Wrong ones are not.", secret: map[string]string{"username": "jane", "password": "guess"},
			want: "False Failed: failed to fetch Helm repository index: failed to fetch ",
		},
		"PasswordAlone": {
			reason: "A password is somebody's.", secret: map[string]string{"password": "secret"},
			want: "False AuthenticationFailed: failed to configure authentication options: secret 'apps/auth': ",
		},
		"Misspelt": {
			reason: "A Secret with other keys is no Secret.", secret: map[string]string{"user": "jane", "pass": "secret"},
			want: "False AuthenticationFailed: failed to configure authentication options: secret 'apps/auth': " +
				"'username' and 'password' are required",
		},
		"Missing": {
			reason: "The Secret has to be there.",
			want:   "False AuthenticationFailed: failed to get secret 'apps/auth': ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, helmrepo.Options{Username: "jane", Password: "secret"}, "6.3.5")

			obj := object("podinfo", s.URL(), withSecret("auth"))
			if tc.url != nil {
				obj = object("podinfo", tc.url(s.URL()))
			}

			if tc.secret != nil {
				w.secret("auth", tc.secret)
			}

			got := w.bench(t, obj).run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, tc.want)

			for _, text := range append(told(got.Events), conditions(got.Object)...) {
				for _, secret := range []string{"jane:secret", "guess"} {
					if strings.Contains(text, secret) {
						t.Errorf("%s\na secret shows in %q", tc.reason, text)
					}
				}
			}

			if failed := strings.HasPrefix(tc.want, "False"); failed {
				expect(t, got.Object, meta.FetchFailedCondition, "True "+strings.TrimPrefix(tc.want, "False "))
				expect(t, got.Object, meta.StalledCondition, "")
			}
		})
	}
}

func TestTLS(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{TLS: true, ClientAuth: true}, "6.3.5")
	cert, key, err := s.ClientCertificate()
	check(t, err)

	right := map[string]string{"ca.crt": string(s.CA), "tls.crt": string(cert), "tls.key": string(key)}
	legacy := map[string]string{"caFile": string(s.CA), "certFile": string(cert), "keyFile": string(key)}

	cases := map[string]struct {
		reason        string
		certs, secret map[string]string
		want          string
	}{
		"Certs":  {reason: "The Secret with certificates is taken.", certs: right, want: "True Succeeded: "},
		"Legacy": {reason: "They may still be with the password, under their old names.", secret: legacy, want: "True Succeeded: "},
		"CertsWin": {
			reason: "The Secret with certificates wins.", certs: right, secret: map[string]string{"caFile": string(s.CA)},
			want: "True Succeeded: ",
		},
		"LegacyInCerts": {
			reason: "Old names have no place among the new ones.", certs: legacy,
			want: "False AuthenticationFailed: failed to configure authentication options: secret 'apps/certs': none of the keys is there",
		},
		"NoKey": {
			reason: "A certificate needs its key.", certs: map[string]string{"tls.crt": string(cert)},
			want: "False AuthenticationFailed: ",
		},
		"NoCA": {
			reason: "An unknown authority is not trusted.", certs: map[string]string{"tls.crt": string(cert), "tls.key": string(key)},
			want: "False Failed: failed to fetch Helm repository index: failed to fetch ",
		},
		"NoCertificate": {
			reason: "The server asks for a certificate.", certs: map[string]string{"ca.crt": string(s.CA)},
			want: "False Failed: failed to fetch Helm repository index: failed to fetch ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			clear(w.secrets)

			obj := object("podinfo", s.URL())
			if tc.certs != nil {
				w.secret("certs", tc.certs)
				withCerts("certs")(&obj.Spec)
			}

			if tc.secret != nil {
				w.secret("auth", tc.secret)
				withSecret("auth")(&obj.Spec)
			}

			expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, tc.want)
		})
	}
}

func TestStalled(t *testing.T) {
	cases := map[string]struct {
		reason string
		url    string
		want   string
	}{
		"Scheme": {
			reason: "A registry is another type.", url: "oci://registry.test/charts",
			want: "Failed: invalid Helm repository URL: the scheme is neither http nor https",
		},
		"NoHost": {reason: "A URL has a host.", url: "https://", want: "URLInvalid: invalid Helm repository URL: there is no host"},
		"NoURL": {
			reason: "A URL can be read, and what it holds is not shown.", url: "https://jane:sec ret@x y/",
			want: "URLInvalid: invalid Helm repository URL: ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			obj := object("podinfo", tc.url)

			got := w.bench(t, obj).run(t, obj)
			expect(t, got.Object, meta.StalledCondition, "True "+tc.want)
			expect(t, got.Object, meta.FetchFailedCondition, "True "+tc.want)
			expect(t, got.Object, meta.ReadyCondition, "False "+tc.want)
			expect(t, got.Object, meta.ReconcilingCondition, "")

			if got.Object.Status.ObservedGeneration != 1 || got.Result.RequeueAfter != 0 ||
				strings.Contains(strings.Join(conditions(got.Object), ""), "sec ret") {
				t.Errorf("%s\n%+v %v", tc.reason, got.Result, conditions(got.Object))
			}
		})
	}
}

func TestServersInTrouble(t *testing.T) {
	index := func(text string) helmrepo.Options {
		return helmrepo.Options{Wrap: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
		}}
	}
	status := func(code int) helmrepo.Options {
		return helmrepo.Options{Wrap: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "words", code) })
		}}
	}
	cut := helmrepo.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("apiVersion: v1\n"))
		})
	}}

	fetch, load := "Failed: failed to fetch Helm repository index: failed to fetch URL/index.yaml : ",
		"IndexationFailed: failed to load Helm repository from index YAML at URL: "

	cases := map[string]struct {
		reason  string
		options helmrepo.Options
		limit   int64
		want    string
	}{
		"NotFound":    {reason: "An index has to be there.", options: status(404), want: fetch + "404 Not Found"},
		"Unavailable": {reason: "A server may be in trouble.", options: status(503), want: fetch + "503 Service Unavailable"},
		"NotModified": {reason: "An answer fits the question.", options: status(304), want: fetch + "304 Not Modified"},
		"Empty":       {reason: "An empty file is no index.", options: index(""), want: load + "empty index.yaml file"},
		"Page":        {reason: "A web page is no index.", options: index("<html>\n"), want: load + "error "},
		"NoVersion":   {reason: "An index says what it is.", options: index("entries: {}\n"), want: load + "no API version specified"},
		"Unknown":     {reason: "An index holds what is known.", options: index("apiVersion: v1\nfoo: bar\n"), want: load + "error unmarshaling JSON: "},
		"Large": {
			reason: "It may be too large.", options: index(strings.Repeat("#", 100)), limit: 99,
			want: fetch + "the limit of 99 bytes per index is exceeded",
		},
		"Bomb": {
			reason:  "It may be too large once it is inflated.",
			options: helmrepo.Options{Gzip: true, Wrap: func(h http.Handler) http.Handler { return h }}, limit: 300,
			want: "Failed: failed to fetch Helm repository index: failed to fetch URL/index.yaml : \"URL/index.yaml\": " +
				"the limit of 300 bytes per answer is exceeded",
		},
		"Cut": {reason: "Half of it is not it.", options: cut, want: fetch + "unexpected EOF"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.repositories.Limits.Bytes = tc.limit
			s := serve(t, tc.options, "6.3.5")
			obj := object("podinfo", s.URL())

			got := w.bench(t, obj).run(t, obj)
			want := strings.ReplaceAll(tc.want, "URL", s.URL())
			expect(t, got.Object, meta.FetchFailedCondition, "True "+want)
			expect(t, got.Object, meta.ReadyCondition, "False "+want)
			expect(t, got.Object, meta.ReconcilingCondition, "True ProgressingWithRetry: ")

			if got.Object.Status.Artifact != nil || got.Result.RequeueAfter == 0 || got.Object.Status.ObservedGeneration == 1 {
				t.Errorf("%s\n%+v, artifact %+v", tc.reason, got.Result, got.Object.Status.Artifact)
			}

			if diff := cmp.Diff([]string{want}, trim(told(got.Events), len(want))); diff != "" {
				t.Errorf("%s\nevents: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func trim(all []string, n int) []string {
	for i, s := range all {
		all[i] = s[:min(len(s), n)]
	}

	return all
}

func TestHangingServer(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, "6.3.5")
	s.Hang(true)

	obj := object("podinfo", s.URL(), withTimeout(50*time.Millisecond))
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.FetchFailedCondition,
		"True Failed: failed to fetch Helm repository index: timed out after 50ms")
}

// TestLane holds that servers that do not answer do not hold all workers.
func TestLane(t *testing.T) {
	w := newWorld(t)
	w.workers, w.patience = 2, time.Millisecond // room for one

	ended := make(chan struct{})
	s := serve(t, helmrepo.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-req.Context().Done():
			case <-ended:
			}
		})
	}})

	one, other := object("one", s.URL()), object("other", s.URL())
	b, results := w.bench(t, one, other), make(chan *sourcev1.HelmRepository, 2)

	for _, obj := range []*sourcev1.HelmRepository{one, other} {
		go func() { results <- b.run(t, obj).Object }()
	}

	const busy = "gave up after 1ms: the server is slow, and so are others that are waited for"

	if c := engine.Condition(<-results, meta.ReadyCondition); c.Reason != "Failed" || !strings.Contains(c.Message, busy) {
		t.Errorf("%s: %s", c.Reason, c.Message)
	}

	close(ended)

	if c := engine.Condition(<-results, meta.ReadyCondition); strings.Contains(c.Message, busy) {
		t.Errorf("nobody waits: %s", c.Message)
	}
}

func TestRefusedAddress(t *testing.T) {
	w := newWorld(t)
	w.repositories.Transports.Allow = func(netip.Addr) error {
		return ingest.RefuseLinkLocal(netip.MustParseAddr("169.254.169.254"))
	}
	s := serve(t, helmrepo.Options{}, "6.3.5")
	obj := object("podinfo", s.URL())

	got := condition(w.bench(t, obj).run(t, obj).Object, meta.FetchFailedCondition)
	if !strings.Contains(got, "is link-local") || len(s.Requests()) != 0 {
		t.Errorf("%s, requests %+v", got, s.Requests())
	}
}

func TestProxy(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, "6.3.5")

	p, err := proxy.Serve(t.Context(), proxy.Options{Hosts: map[string]string{"charts.test:80": s.Addr}})
	check(t, err)
	t.Cleanup(p.Close)

	via, err := url.Parse(p.URL())
	check(t, err)

	w.repositories.Transports.Proxy = http.ProxyURL(via)
	obj := object("podinfo", "http://charts.test/charts")
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")

	if diff := cmp.Diff([]proxy.Request{{Method: "GET", Target: "http://charts.test/charts/index.yaml"}}, p.Requests()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A storage that fails is not the fault of the index.
func TestStorageFails(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, "6.3.5")
	obj := object("podinfo", s.URL())

	// A file is in the place of the directory of the kind.
	check(t, os.WriteFile(filepath.Join(w.root, "helmrepository"), nil, 0o600))

	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.StorageOperationFailedCondition, "True ")
	expect(t, got, meta.FetchFailedCondition, "")
	expect(t, got, meta.ReadyCondition, "False ")
}

// A redirect to another host gets no credentials.
func TestRedirect(t *testing.T) {
	var leaked []string

	elsewhere := serve(t, helmrepo.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if user, _, ok := req.BasicAuth(); ok {
				leaked = append(leaked, user)
			}

			h.ServeHTTP(w, req)
		})
	}}, "6.3.5")
	s := serve(t, helmrepo.Options{Wrap: func(http.Handler) http.Handler {
		return http.RedirectHandler(elsewhere.URL()+"/index.yaml", http.StatusFound)
	}})

	w := newWorld(t)
	w.secret("auth", map[string]string{"username": "jane", "password": "secret"})
	obj := object("podinfo", s.URL(), withSecret("auth"), func(s *sourcev1.HelmRepositorySpec) { s.PassCredentials = true })
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")

	if len(leaked) != 0 {
		t.Errorf("credentials of %q came through", leaked)
	}
}

// Temporary files are gone when the run is over.
func TestNothingStays(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, "6.3.5")
	obj := object("podinfo", s.URL())
	b := w.bench(t, obj)
	b.run(t, obj)
	s.SetIndex(bytes.Repeat([]byte("x"), 1000))
	w.clock.Advance(time.Minute)
	b.run(t, obj)

	files, err := os.ReadDir(w.repositories.Dir)
	if err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}
