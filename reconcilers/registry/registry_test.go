package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	server "github.com/weir-dev/weir/test/registry"
)

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, o server.Options) *server.Server {
	t.Helper()

	s, err := server.Serve(t.Context(), o)
	check(t, err)
	t.Cleanup(s.Close)

	return s
}

func push(t *testing.T, s *server.Server, repository, tag, content string) v1.Hash {
	t.Helper()

	img, err := server.Flux(map[string]string{"app.yaml": content}, map[string]string{"who": content})
	check(t, err)

	digest, err := s.Push(t.Context(), repository, tag, img)
	check(t, err)

	return digest
}

func open(t *testing.T, r *registry.Registries, repository string, a registry.Access) *registry.Repository {
	t.Helper()

	repo, err := r.Open(t.Context(), repository, a)
	check(t, err)

	return repo
}

func newRegistries(clock *enginetest.Clock) *registry.Registries {
	return registry.New(registry.Options{Transports: &ingest.Transports{}, Now: clock.Now})
}

// dockerConfig returns a pull secret for the hosts.
func dockerConfig(username, password string, hosts ...string) *corev1.Secret {
	auths := make([]string, 0, len(hosts))
	for _, h := range hosts {
		auths = append(auths, fmt.Sprintf(`%q: {"auth": %q}`, h,
			base64.StdEncoding.EncodeToString([]byte(username+":"+password))))
	}

	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths": {` + strings.Join(auths, ",") + `}}`)},
	}
}

func clientSecret(t *testing.T, s *server.Server, keys ...string) *secrets.TLS {
	t.Helper()

	cert, key, err := s.ClientCertificate()
	check(t, err)

	all := map[string][]byte{secrets.CA: s.CA, secrets.Cert: cert, secrets.Key: key}
	for k := range all {
		if !slices.Contains(keys, k) {
			delete(all, k)
		}
	}

	out, err := secrets.ReadTLS(&corev1.Secret{Data: all}, false)
	check(t, err)

	return out
}

func TestOpenAndRead(t *testing.T) {
	clock := &enginetest.Clock{}

	cases := map[string]struct {
		reason string
		server server.Options
		access func(t *testing.T, s *server.Server) registry.Access
		want   server.Counts // to resolve a tag, read the manifest and the first layer
		err    error
	}{
		"Open": {
			reason: "A registry on this machine may speak HTTP: it is asked once.",
			want:   server.Counts{Pings: 1, Heads: 1, Manifests: 1, Blobs: 1},
		},
		"Basic": {
			reason: "Credentials are shown after the registry has asked for them.",
			server: server.Options{Username: "u", Password: "p"},
			access: func(_ *testing.T, s *server.Server) registry.Access {
				return registry.Access{Secret: dockerConfig("u", "p", s.Addr)}
			},
			want: server.Counts{Pings: 1, Heads: 2, Manifests: 1, Blobs: 1, Refused: 2},
		},
		"Token": {
			reason: "One token opens the repository.",
			server: server.Options{Username: "u", Password: "p", Tokens: true},
			access: func(_ *testing.T, s *server.Server) registry.Access {
				return registry.Access{PullSecrets: []corev1.Secret{*dockerConfig("u", "p", "http://"+s.Addr+"/v2/")}}
			},
			want: server.Counts{Pings: 1, Tokens: 1, Heads: 2, Manifests: 1, Blobs: 1, Refused: 2},
		},
		"TokenOfNobody": {
			reason: "Some registries want tokens that they give to everybody.",
			server: server.Options{Tokens: true, TokenSeconds: 300},
			want:   server.Counts{Pings: 1, Tokens: 1, Heads: 2, Manifests: 1, Blobs: 1, Refused: 2},
		},
		"IdentityToken": {
			reason: "A refresh token is exchanged as well.",
			server: server.Options{Username: "u", Password: "refresh", Tokens: true},
			access: func(_ *testing.T, s *server.Server) registry.Access {
				secret := dockerConfig("", "")
				secret.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{"` + s.Addr + `":{"identitytoken":"refresh"}}}`)

				return registry.Access{Secret: secret}
			},
			want: server.Counts{Pings: 1, Tokens: 1, Heads: 2, Manifests: 1, Blobs: 1, Refused: 2},
		},
		"Login": {
			reason: "A secret may hold a user name and a password.",
			server: server.Options{Username: "u", Password: "p"},
			access: func(*testing.T, *server.Server) registry.Access {
				return registry.Access{Secret: &corev1.Secret{
					Data: map[string][]byte{secrets.Username: []byte("u"), secrets.Password: []byte("p")},
				}}
			},
			want: server.Counts{Pings: 1, Heads: 2, Manifests: 1, Blobs: 1, Refused: 2},
		},
		"WrongPassword": {
			reason: "Wrong credentials are an error, and are not tried again.",
			server: server.Options{Username: "u", Password: "p"},
			access: func(_ *testing.T, s *server.Server) registry.Access {
				return registry.Access{Secret: dockerConfig("u", "wrong", s.Addr)}
			},
			want: server.Counts{Pings: 1, Heads: 2, Refused: 3},
			err:  registry.ErrUnauthorized,
		},
		"WrongPasswordForToken": {
			reason: "The token server refuses them, too.",
			server: server.Options{Username: "u", Password: "p", Tokens: true},
			access: func(_ *testing.T, s *server.Server) registry.Access {
				return registry.Access{Secret: dockerConfig("u", "wrong", s.Addr)}
			},
			want: server.Counts{Pings: 1, Tokens: 1, Heads: 1, Refused: 2},
			err:  registry.ErrUnauthorized,
		},
		"OtherHost": {
			reason: "Credentials for another host are not shown to this one.",
			server: server.Options{Username: "u", Password: "p"},
			access: func(*testing.T, *server.Server) registry.Access {
				return registry.Access{Secret: dockerConfig("u", "p", "ghcr.io", "127.0.0.1:1")}
			},
			want: server.Counts{Pings: 1, Heads: 1, Refused: 2},
			err:  registry.ErrUnauthorized,
		},
		"MutualTLS": {
			reason: "The secret holds the authority and the client certificate.",
			server: server.Options{TLS: true, ClientAuth: true},
			access: func(t *testing.T, s *server.Server) registry.Access {
				return registry.Access{TLS: clientSecret(t, s, secrets.CA, secrets.Cert, secrets.Key)}
			},
			want: server.Counts{Pings: 1, Heads: 1, Manifests: 1, Blobs: 1},
		},
		"UnknownAuthority": {
			reason: "HTTP does not stand in for a certificate that nobody knows.",
			server: server.Options{TLS: true},
			err:    errAny,
		},
		"InsecureTLS": {
			reason: "Insecure takes any certificate.",
			server: server.Options{TLS: true, Username: "u", Password: "p"},
			access: func(_ *testing.T, s *server.Server) registry.Access {
				return registry.Access{Insecure: true, Secret: dockerConfig("u", "p", s.Addr)}
			},
			want: server.Counts{Pings: 1, Heads: 2, Manifests: 1, Blobs: 1, Refused: 2},
		},
		"InsecureWithAuthority": {
			reason: "Whoever names an authority wants certificates to be checked.",
			server: server.Options{TLS: true},
			access: func(t *testing.T, _ *server.Server) registry.Access {
				other := serve(t, server.Options{TLS: true})

				return registry.Access{Insecure: true, TLS: clientSecret(t, other, secrets.CA)}
			},
			err: errAny,
		},
		"Insecure": {
			reason: "Insecure speaks HTTP to who does not speak HTTPS.",
			access: func(*testing.T, *server.Server) registry.Access { return registry.Access{Insecure: true} },
			want:   server.Counts{Pings: 1, Heads: 1, Manifests: 1, Blobs: 1},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.server)
			digest := push(t, s, "org/app", "v1", "one")

			var a registry.Access
			if tc.access != nil {
				a = tc.access(t, s)
			}

			repo := open(t, newRegistries(clock), s.Addr+"/org/app", a)

			got, err := readAll(t.Context(), repo)
			if !is(err, tc.err) {
				t.Fatalf("%s\nunexpected error: %v", tc.reason, err)
			}

			if err != nil && strings.Contains(err.Error(), "wrong") {
				t.Errorf("%s\nthe error gives the password away: %v", tc.reason, err)
			}

			if err == nil && got != digest {
				t.Errorf("%s\ngot %s, want %s", tc.reason, got, digest)
			}

			if diff := cmp.Diff(tc.want, s.Counts()); diff != "" && !errors.Is(tc.err, errAny) {
				t.Errorf("%s\nrequests: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// errAny stands for any error.
var errAny = errors.New("any")

// is tells whether an error is the one that is wanted.
func is(err, want error) bool {
	if errors.Is(want, errAny) {
		return err != nil
	}

	return errors.Is(err, want)
}

// readAll resolves the tag v1, and reads the manifest and the first layer.
func readAll(ctx context.Context, repo *registry.Repository) (v1.Hash, error) {
	d, err := repo.Resolve(ctx, "v1", time.Time{})
	if err != nil {
		return v1.Hash{}, err
	}

	m, err := repo.Manifest(ctx, d.Digest)
	if err != nil {
		return v1.Hash{}, err
	}

	blob, err := repo.Blob(ctx, m.Layers[0])
	if err != nil {
		return v1.Hash{}, err
	}
	defer blob.Close()

	_, err = io.Copy(io.Discard, blob)

	return d.Digest, err
}

func TestShared(t *testing.T) {
	clock := &enginetest.Clock{}
	s := serve(t, server.Options{Username: "u", Password: "p", Tokens: true})
	push(t, s, "org/app", "v1", "one")

	r := newRegistries(clock)
	access := registry.Access{Secret: dockerConfig("u", "p", s.Addr)}

	var all sync.WaitGroup

	for range 50 {
		all.Go(func() {
			repo, err := r.Open(t.Context(), s.Addr+"/org/app", access)
			if err != nil {
				t.Error(err)

				return
			}

			d, err := repo.Resolve(t.Context(), "v1", time.Time{})
			if err != nil {
				t.Error(err)

				return
			}

			if _, err := repo.Manifest(t.Context(), d.Digest); err != nil {
				t.Error(err)
			}

			if tags, err := repo.Tags(t.Context(), time.Time{}); err != nil || len(tags) != 1 {
				t.Errorf("tags %q: %v", tags, err)
			}
		})
	}

	all.Wait()

	got := s.Counts()
	if got.Pings != 1 || got.Tokens != 1 || got.Heads != 2 || got.Manifests != 1 || got.Tags != 1 {
		t.Errorf("requests %+v", got)
	}

	// Later, the token is still good, and the manifest stays what it is.
	clock.Advance(30 * time.Second)

	repo := open(t, r, s.Addr+"/org/app", access)
	d, err := repo.Resolve(t.Context(), "v1", clock.Now())
	check(t, err)
	_, err = repo.Manifest(t.Context(), d.Digest)
	check(t, err)

	if diff := cmp.Diff(server.Counts{Heads: 1}, s.Counts().Since(got)); diff != "" {
		t.Errorf("requests: -want +got:\n%s", diff)
	}

	// Other credentials share nothing of that.
	stranger := open(t, r, s.Addr+"/org/app", registry.Access{})
	if _, err := stranger.Resolve(t.Context(), "v1", time.Time{}); !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("unexpected error: %v", err)
	}

	if _, err := stranger.Manifest(t.Context(), d.Digest); !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("unexpected error: %v", err)
	}

	if stranger.Key() == repo.Key() {
		t.Error("different credentials have the same key")
	}
}

func TestTokens(t *testing.T) {
	cases := map[string]struct {
		reason  string
		seconds int
		later   time.Duration
		expire  bool
		want    server.Counts
	}{
		"Lasting": {
			reason: "A token is used as long as it lasts.", seconds: 300, later: time.Minute,
			want: server.Counts{Heads: 1},
		},
		"Old": {
			reason: "One that is about to expire is replaced before it is refused.", seconds: 300, later: 295 * time.Second,
			want: server.Counts{Heads: 1, Tokens: 1},
		},
		"Unknown": {
			reason: "One that says nothing is used as long as it is taken.", later: 24 * time.Hour,
			want: server.Counts{Heads: 1},
		},
		"Refused": {
			reason: "One that is refused is replaced.", later: time.Minute, expire: true,
			want: server.Counts{Heads: 2, Tokens: 1, Refused: 1},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			clock := &enginetest.Clock{}
			s := serve(t, server.Options{Username: "u", Password: "p", Tokens: true, TokenSeconds: tc.seconds})
			push(t, s, "org/app", "v1", "one")

			r := newRegistries(clock)
			access := registry.Access{Secret: dockerConfig("u", "p", s.Addr)}

			_, err := open(t, r, s.Addr+"/org/app", access).Resolve(t.Context(), "v1", time.Time{})
			check(t, err)

			before := s.Counts()

			clock.Advance(tc.later)

			if tc.expire {
				s.Expire()
			}

			_, err = open(t, r, s.Addr+"/org/app", access).Resolve(t.Context(), "v1", clock.Now())
			check(t, err)

			if diff := cmp.Diff(tc.want, s.Counts().Since(before)); diff != "" {
				t.Errorf("%s\nrequests: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCloud(t *testing.T) {
	s := serve(t, server.Options{Username: "AWS", Password: "p"})
	push(t, s, "org/app", "v1", "one")

	var asked []registry.Identity

	r := registry.New(registry.Options{
		Transports: &ingest.Transports{},
		Cloud: registry.CloudFunc(func(_ context.Context, who registry.Identity, repository string) (string, string, error) {
			asked = append(asked, who)
			if repository != s.Addr+"/org/app" {
				t.Errorf("repository %q", repository)
			}

			return "AWS", "p", nil
		}),
	})

	a := registry.Access{Provider: "aws", Kind: "OCIRepository", Namespace: "apps", Name: "app", ServiceAccount: "puller"}
	_, err := open(t, r, s.Addr+"/org/app", a).Resolve(t.Context(), "v1", time.Time{})
	check(t, err)

	want := []registry.Identity{{
		Provider: "aws", Kind: "OCIRepository", Namespace: "apps", Name: "app", ServiceAccount: "puller",
	}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	a.Secret = dockerConfig("AWS", "wrong", s.Addr)
	if _, err := open(t, r, s.Addr+"/org/app", a).Resolve(t.Context(), "v1", time.Time{}); !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("a secret comes before the cloud: %v", err)
	}

	a.Secret, a.Insecure = nil, true
	if _, err := r.Open(t.Context(), s.Addr+"/org/app", a); err == nil || len(asked) != 1 {
		t.Errorf("what a cloud gives went to an insecure registry: %v", err)
	}

	own := serve(t, server.Options{TLS: true})
	tls, err := secrets.ReadTLS(&corev1.Secret{Data: map[string][]byte{secrets.CA: own.CA}}, false)
	check(t, err)

	a.Insecure, a.TLS, a.ServiceAccount = false, tls, ""
	if _, err := r.Open(t.Context(), s.Addr+"/org/app", a); err == nil || len(asked) != 1 {
		t.Errorf("what the process gets of a cloud went to a server of somebody's own authority: %v", err)
	}

	a.TLS = nil
	if _, err := newRegistries(&enginetest.Clock{}).Open(t.Context(), s.Addr+"/org/app", a); err == nil {
		t.Error("without a cloud, its provider is an error")
	}
}

func TestProxy(t *testing.T) {
	var seen []string

	proxy := serve(t, server.Options{Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			seen = append(seen, req.Method+" "+req.URL.String()+" "+req.Header.Get("Proxy-Authorization"))
			w.WriteHeader(http.StatusNotFound)
		})
	}})

	u, err := url.Parse("http://user:pass@" + proxy.Addr)
	check(t, err)

	repo := open(t, newRegistries(&enginetest.Clock{}), "registry.test/org/app", registry.Access{Insecure: true, Proxy: u})
	if _, err := repo.Resolve(t.Context(), "v1", time.Time{}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("unexpected error: %v", err)
	}

	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:pass"))
	if want := "HEAD http://registry.test/v2/org/app/manifests/v1 " + auth; !slices.Contains(seen, want) {
		t.Errorf("the proxy has seen %q", seen)
	}
}

// Remote reads with the options for other libraries, and asks no more than is needed.
func TestRemote(t *testing.T) {
	s := serve(t, server.Options{Username: "u", Password: "p", Tokens: true})
	digest := push(t, s, "org/app", "v1", "one")

	repo := open(t, newRegistries(&enginetest.Clock{}), s.Addr+"/org/app",
		registry.Access{Secret: dockerConfig("u", "p", s.Addr), Insecure: true})

	_, err := repo.Resolve(t.Context(), "v1", time.Time{})
	check(t, err)

	before := s.Counts()

	img, err := remote.Image(repo.Name().Digest(digest.String()), append(repo.Remote(), remote.WithContext(t.Context()))...)
	check(t, err)

	layers, err := img.Layers()
	check(t, err)

	in, err := layers[0].Compressed()
	check(t, err)
	_, err = io.Copy(io.Discard, in)
	check(t, err)

	if diff := cmp.Diff(server.Counts{Manifests: 1, Blobs: 1}, s.Counts().Since(before)); diff != "" {
		t.Errorf("requests: -want +got:\n%s", diff)
	}

	tags, err := remote.List(repo.Name(), append(repo.Remote(), remote.WithContext(t.Context()))...)
	if err != nil || len(tags) != 1 {
		t.Errorf("tags %q: %v", tags, err)
	}
}

func TestNames(t *testing.T) {
	cases := map[string]struct {
		in, want string
		err      bool
	}{
		"DockerHub": {in: "docker.io/org/app", want: "index.docker.io/org/app"},
		"Library":   {in: "docker.io/alpine", want: "index.docker.io/library/alpine"},
		"Port":      {in: "registry.test:5000/a/b/c", want: "registry.test:5000/a/b/c"},
		"Tag":       {in: "registry.test/a:v1", err: true},
		"Digest":    {in: "registry.test/a@sha256:" + strings.Repeat("a", 64), err: true},
		"Climb":     {in: "registry.test/../a", err: true},
		"Empty":     {in: "", err: true},
		"User":      {in: "user:pass@registry.test/a", err: true},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := registry.ParseName(tc.in, false)
			if (err != nil) != tc.err || err == nil && got.Name() != tc.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
