package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	server "github.com/weir-dev/weir/test/registry"
)

// breaking serves a registry of which break answers some requests, and then returns true.
func breaking(t *testing.T, o server.Options, breaks func(w http.ResponseWriter, req *http.Request) bool) *server.Server {
	t.Helper()

	o.Wrap = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if !breaks(w, req) {
				h.ServeHTTP(w, req)
			}
		})
	}

	return serve(t, o)
}

// Not all registries answer to HEAD as they should.
func TestHead(t *testing.T) {
	cases := map[string]struct {
		reason string
		head   func(h http.Header) int // status, after it changed the header
		gets   int64
		err    error
	}{
		"Complete":     {reason: "The head says all.", head: func(http.Header) int { return 200 }},
		"NotAllowed":   {reason: "No heads at all.", head: func(http.Header) int { return 405 }, gets: 1},
		"NotFound":     {reason: "It may say that about heads only.", head: func(http.Header) int { return 404 }, gets: 1},
		"Forbidden":    {reason: "So may a firewall.", head: func(http.Header) int { return 403 }, gets: 1},
		"Unauthorized": {reason: "This is clear.", head: func(http.Header) int { return 401 }, err: registry.ErrUnauthorized},
		"NoDigest": {reason: "The digest has to be there.", gets: 1, head: func(h http.Header) int {
			h.Del("Docker-Content-Digest")

			return 200
		}},
		"OtherAlgorithm": {reason: "There is one name for a manifest.", gets: 1, head: func(h http.Header) int {
			h.Set("Docker-Content-Digest", "sha512:"+strings.Repeat("a", 128))

			return 200
		}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var (
				digest v1.Hash
				gets   int64
			)

			s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
				if req.Method != http.MethodHead {
					return false
				}

				w.Header().Set("Docker-Content-Digest", digest.String())
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				w.Header().Set("Content-Length", "10")
				w.WriteHeader(tc.head(w.Header()))

				return true
			})
			digest = push(t, s, "org/app", "v1", "one")

			d, err := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app", registry.Access{}).
				Resolve(t.Context(), "v1", time.Time{})
			if !errors.Is(err, tc.err) {
				t.Fatalf("%s\nunexpected error: %v", tc.reason, err)
			}

			if gets = s.Counts().Manifests; gets != tc.gets || tc.err == nil && d.Digest != digest {
				t.Errorf("%s\n%d manifests, digest %s", tc.reason, gets, d.Digest)
			}
		})
	}
}

func TestNotFound(t *testing.T) {
	s := serve(t, server.Options{})
	push(t, s, "org/app", "v1", "one")

	r := newRegistries(&enginetest.Clock{})
	repo := open(t, r, s.Addr+"/org/app", registry.Access{})

	_, err := repo.Resolve(t.Context(), "v2", time.Time{})
	want := "GET http://" + s.Addr + "/v2/org/app/manifests/v2: 404 Not Found (MANIFEST_UNKNOWN)"

	if !errors.Is(err, registry.ErrNotFound) || err.Error() != want {
		t.Errorf("unexpected error: %v", err)
	}

	if _, err := open(t, r, s.Addr+"/org/none", registry.Access{}).Tags(t.Context(), time.Time{}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("unexpected error: %v", err)
	}

	for _, bad := range []string{"", "../v1", "a/b", "a?b", "sha256:abc", strings.Repeat("a", 129)} {
		before := s.Counts()
		if _, err := repo.Resolve(t.Context(), bad, time.Time{}); err == nil || s.Counts() != before {
			t.Errorf("%q was asked for: %v", bad, err)
		}
	}
}

// A registry that wants to be left alone is.
func TestRateLimit(t *testing.T) {
	clock := &enginetest.Clock{}
	limited := true

	s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
		if limited && req.URL.Path != "/v2/" {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
		}

		return limited && req.URL.Path != "/v2/"
	})
	push(t, s, "org/app", "v1", "one")

	r := newRegistries(clock)
	ask := func() error {
		_, err := open(t, r, s.Addr+"/org/app", registry.Access{}).Resolve(t.Context(), "v1", clock.Now())

		return err
	}

	if err := ask(); !errors.Is(err, registry.ErrRateLimited) {
		t.Fatalf("unexpected error: %v", err)
	}

	limited = false

	clock.Advance(59 * time.Second)

	if err := ask(); !errors.Is(err, registry.ErrRateLimited) || s.Counts().Heads != 0 {
		t.Errorf("it was asked too early: %v", err)
	}

	clock.Advance(time.Second)
	check(t, ask())
}

func TestTags(t *testing.T) {
	cases := map[string]struct {
		reason string
		limits registry.Limits
		pages  []string // bodies
		link   func(n int) string
		want   []string
		err    string
	}{
		"Pages": {
			reason: "All pages are read.", pages: []string{`{"name":"x","tags":["a","b"]}`, `{"tags":["c"]}`},
			want: []string{"a", "b", "c"},
		},
		"None":    {reason: "There may be none.", pages: []string{`{"name":"x","tags":null}`}},
		"Unnamed": {reason: "Other things do not matter.", pages: []string{`{"x":{"tags":[1]},"tags":["a"]}`}, want: []string{"a"}},
		"Many": {
			reason: "There are too many of them.", pages: []string{`{"tags":["a","b","c"]}`},
			limits: registry.Limits{Tags: 2}, err: "there are more than 2 tags",
		},
		"Long": {
			reason: "They are too long.", pages: []string{`{"tags":["` + strings.Repeat("a", 200) + `"]}`},
			limits: registry.Limits{TagBytes: 100}, err: "limit of 100 bytes per answer",
		},
		"NoTag": {
			reason: "One that is too long for a tag.", want: []string{strings.Repeat("a", 128)},
			pages: []string{`{"tags":["` + strings.Repeat("a", 129) + `","` + strings.Repeat("a", 128) + `"]}`},
		},
		"NoJSON": {reason: "It is something else.", pages: []string{`<html>`}, err: "the answer is no list of tags"},
		"Cut":    {reason: "It is not whole.", pages: []string{`{"tags":["a"`}, err: "the answer is no list of tags"},
		"Numbers": {
			reason: "It holds something else.", pages: []string{`{"tags":[1]}`}, err: "the answer is no list of tags",
		},
		"Elsewhere": {
			reason: "The next page is on another server.", pages: []string{`{"tags":["a"]}`},
			link: func(int) string { return "<http://elsewhere.test/next>" }, err: "on another server",
		},
		"Circle": {
			reason: "The pages do not end.", pages: []string{`{"tags":["a"]}`},
			link: func(int) string { return "<?page=0>" }, err: "more than 1000 pages",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
				if !strings.HasSuffix(req.URL.Path, "/tags/list") {
					return false
				}

				n, _ := strconv.Atoi(req.URL.Query().Get("page"))

				switch {
				case tc.link != nil:
					w.Header().Set("Link", tc.link(n))
				case n+1 < len(tc.pages):
					w.Header().Set("Link", fmt.Sprintf(`</v2/org/app/tags/list?page=%d>; rel="next"`, n+1))
				}

				_, _ = io.WriteString(w, tc.pages[n])

				return true
			})

			r := registry.New(registry.Options{Transports: &ingest.Transports{}, Limits: tc.limits})
			got, err := open(t, r, s.Addr+"/org/app", registry.Access{}).Tags(t.Context(), time.Time{})

			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%s\nunexpected error: %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCorrupt(t *testing.T) {
	cases := map[string]struct {
		reason string
		blob   func(b []byte) []byte
		length bool // say how long it is
		err    error
	}{
		"Whole":   {reason: "It is what it is.", blob: func(b []byte) []byte { return b }, length: true},
		"Other":   {reason: "It is something else.", blob: func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }, err: registry.ErrCorrupt},
		"Short":   {reason: "Something is missing.", blob: func(b []byte) []byte { return b[:len(b)-1] }, err: registry.ErrCorrupt},
		"Long":    {reason: "It goes on.", blob: func(b []byte) []byte { return append(b, "more"...) }, err: errAny},
		"TooLong": {reason: "It says so.", blob: func(b []byte) []byte { return append(b, "more"...) }, length: true, err: registry.ErrCorrupt},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var inner http.Handler

			s := serve(t, server.Options{Wrap: func(h http.Handler) http.Handler {
				inner = h

				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if !strings.Contains(req.URL.Path, "/blobs/") {
						h.ServeHTTP(w, req)

						return
					}

					out := httptest.NewRecorder()
					inner.ServeHTTP(out, req)

					body := tc.blob(out.Body.Bytes())
					if tc.length {
						w.Header().Set("Content-Length", strconv.Itoa(len(body)))
					} else {
						w.WriteHeader(http.StatusOK)
						w.(http.Flusher).Flush() //nolint:forcetypeassert // servers can
					}

					_, _ = w.Write(body)
				})
			}})
			push(t, s, "org/app", "v1", "one")

			_, err := readAll(t.Context(), open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app", registry.Access{}))
			if !is(err, tc.err) {
				t.Errorf("%s\nunexpected error: %v", tc.reason, err)
			}
		})
	}
}

// A manifest that is not the one of its digest is refused, and so is one that is too large.
func TestManifest(t *testing.T) {
	var body string

	s := breaking(t, server.Options{}, func(w http.ResponseWriter, req *http.Request) bool {
		if body == "" || !strings.Contains(req.URL.Path, "/manifests/") || req.Method != http.MethodGet {
			return false
		}

		_, _ = io.WriteString(w, body)

		return true
	})
	digest := push(t, s, "org/app", "v1", "one")

	cases := map[string]struct{ body, err string }{
		"Other": {`{"schemaVersion":2,"layers":[]}`, "the registry has another manifest under " + digest.String()},
		"Large": {strings.Repeat(" ", 5000), "limit of 4000 bytes per answer"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			body = tc.body

			r := registry.New(registry.Options{Transports: &ingest.Transports{}, Limits: registry.Limits{ManifestBytes: 4000}})
			repo := open(t, r, s.Addr+"/org/app", registry.Access{})

			if _, err := repo.Manifest(t.Context(), digest); err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("unexpected error: %v", err)
			}

			if _, err := repo.Pull(t.Context(), digest.String(), time.Time{}); err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("unexpected error: %v", err)
			}
		})
	}
}

// What another host may see of the requests: nothing that is for the registry.
func TestRedirect(t *testing.T) {
	for name, o := range map[string]server.Options{
		"Basic": {Username: "u", Password: "p"}, "Token": {Username: "u", Password: "p", Tokens: true},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				seen []http.Header
				blob []byte
			)

			storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				seen = append(seen, req.Header.Clone())
				_, _ = w.Write(blob)
			}))
			t.Cleanup(storage.Close)

			s := breaking(t, o, func(w http.ResponseWriter, req *http.Request) bool {
				if strings.Contains(req.URL.Path, "/blobs/") {
					http.Redirect(w, req, storage.URL+"/signed?secret=1", http.StatusTemporaryRedirect)

					return true
				}

				return false
			})

			img, err := server.Flux(map[string]string{"app.yaml": "one"}, nil)
			check(t, err)
			_, err = s.Push(t.Context(), "org/app", "v1", img)
			check(t, err)

			layers, err := img.Layers()
			check(t, err)
			in, err := layers[0].Compressed()
			check(t, err)
			blob, err = io.ReadAll(in)
			check(t, err)

			repo := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app",
				registry.Access{Secret: dockerConfig("u", "p", s.Addr)})
			_, err = readAll(t.Context(), repo)
			check(t, err)

			if len(seen) != 1 || seen[0].Get("Authorization") != "" || seen[0].Get("Cookie") != "" {
				t.Errorf("the other host has seen %v", seen)
			}
		})
	}
}

// A token server is where the registry says, but secrets do not go over HTTP because of that.
func TestTokenServer(t *testing.T) {
	var asked []string

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked = append(asked, req.Header.Get("Authorization"))
		w.Header().Set("Location", "http://"+strings.Replace(req.Host, "127.0.0.1", "localhost", 1)+"/else")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	t.Cleanup(other.Close)

	cases := map[string]struct {
		reason string
		tls    bool
		realm  string
		err    string
		secret func(addr string) *corev1.Secret
		asked  bool
	}{
		"Plain": {
			reason: "The registry speaks HTTPS.", tls: true, realm: other.URL,
			err: `the registry names a token server with the scheme "http"`,
		},
		"NoURL":     {reason: "It is no URL.", realm: "::", err: "the registry names a token server that has no valid URL"},
		"NoHost":    {reason: "It has no host.", realm: "/token", err: "the registry names a token server that has no valid URL"},
		"File":      {reason: "It is a file.", realm: "file://host/etc/passwd", err: `with the scheme "file"`},
		"Redirects": {reason: "A redirect loses the password.", realm: other.URL, err: "more than 10 redirects", asked: true},
		"RedirectsPost": {
			reason: "A refresh token is not sent on.", realm: other.URL, err: "307 Temporary Redirect", asked: true,
			secret: func(addr string) *corev1.Secret {
				return &corev1.Secret{Data: map[string][]byte{
					corev1.DockerConfigJsonKey: []byte(`{"auths":{"` + addr + `":{"identitytoken":"refresh"}}}`),
				}}
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			asked = nil

			s := breaking(t, server.Options{TLS: tc.tls}, func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+tc.realm+`",service="x"`)
				w.WriteHeader(http.StatusUnauthorized)

				return true
			})

			a := registry.Access{Secret: dockerConfig("u", "secret-password", s.Addr)}
			if tc.secret != nil {
				a.Secret = tc.secret(s.Addr)
			}

			if tc.tls {
				a.TLS = clientSecret(t, s, secrets.CA)
			}

			_, err := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app", a).Resolve(t.Context(), "v1", time.Time{})
			if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "secret-password") {
				t.Errorf("%s\nunexpected error: %v", tc.reason, err)
			}

			if len(asked) > 0 != tc.asked {
				t.Errorf("%s\nthe token server was asked %q", tc.reason, asked)
			}

			for i, header := range asked {
				if i > 0 && header != "" {
					t.Errorf("%s\na redirect took %q along", tc.reason, header)
				}
			}
		})
	}
}

// Nothing that a token server says gets into an error.
func TestTokenAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"Empty": `{"refresh_token":"hidden"}`, "Broken": `hidden{`, "Header": `{"token":"hidden\nX: y"}`,
		"Type": `{"token":["hidden"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := breaking(t, server.Options{Tokens: true}, func(w http.ResponseWriter, req *http.Request) bool {
				if req.URL.Path == "/token" {
					_, _ = io.WriteString(w, body)
				}

				return req.URL.Path == "/token"
			})
			push(t, s, "org/app", "v1", "one")

			_, err := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app", registry.Access{}).
				Resolve(t.Context(), "v1", time.Time{})
			if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "token") {
				t.Errorf("unexpected error: %v", err)
			}
		})
	}
}

// What a registry says of an error is passed on only if it is a code.
func TestErrorCode(t *testing.T) {
	for body, want := range map[string]string{
		`{"errors":[{"code":"DENIED","message":"p4ss"}]}`: "403 Forbidden (DENIED)",
		`{"errors":[{"code":"p4ss word"}]}`:               "403 Forbidden",
		`p4ss`:                                            "403 Forbidden",
	} {
		s := breaking(t, server.Options{}, func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, body)

			return true
		})

		_, err := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app", registry.Access{}).Tags(t.Context(), time.Time{})
		if !errors.Is(err, registry.ErrUnauthorized) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("unexpected error: %v", err)
		}
	}
}

func TestBadSecrets(t *testing.T) {
	cases := map[string]struct {
		reason string
		data   map[string]string
		err    string
	}{
		"Empty":     {reason: "A misspelt key is an error.", data: map[string]string{".dockerconfig.json": "{}"}, err: "there is no '.dockerconfigjson'"},
		"NoJSON":    {reason: "Its words are kept back.", data: map[string]string{".dockerconfigjson": `{"auths":"p4ss"}`}, err: "'.dockerconfigjson' is no configuration of Docker"},
		"BadAuth":   {reason: "So are these.", data: map[string]string{".dockerconfigjson": `{"auths":{"r.test":{"auth":"p4ss"}}}`}, err: "'.dockerconfigjson' is no configuration of Docker"},
		"OldNoJSON": {reason: "And these.", data: map[string]string{".dockercfg": `p4ss`}, err: "'.dockercfg' is no configuration of Docker"},
		"Half":      {reason: "Half of the credentials.", data: map[string]string{"username": "u"}, err: "'username' and 'password' have to be set together"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			secret := dockerConfig("", "")
			secret.Data = map[string][]byte{}

			for k, v := range tc.data {
				secret.Data[k] = []byte(v)
			}

			_, err := newRegistries(&enginetest.Clock{}).Open(t.Context(), "r.test/a", registry.Access{Secret: secret})
			if err == nil || err.Error() != "secret 'apps/pull': "+tc.err {
				t.Errorf("%s\nunexpected error: %v", tc.reason, err)
			}
		})
	}
}
