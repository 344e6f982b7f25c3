package oci_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/test/proxy"
	server "github.com/weir-dev/weir/test/registry"
)

func TestBadURL(t *testing.T) {
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

	cases := map[string]struct{ url, shown, want string }{
		"Tag":       {url: "oci://r.test/org/app:v1", want: "URL must not contain a tag; remove ':v1'"},
		"TagOnPort": {url: "oci://r.test:5000/app:v1", want: "URL must not contain a tag; remove ':v1'"},
		"Digest":    {url: "oci://r.test/app@" + digest, want: "URL must not contain a digest; remove '@" + digest + "'"},
		"Scheme":    {url: "https://r.test/app", want: "URL must be in format 'oci://<domain>/<org>/<repo>'"},
		"Empty":     {url: "oci://", want: "URL must be in format 'oci://<domain>/<org>/<repo>'"},
		"Upper":     {url: "oci://r.test/Org/App", want: "URL must be in format 'oci://<domain>/<org>/<repo>'"},
		"User": {
			url: "oci://user:pass@r.test/app", shown: "oci://r.test/app",
			want: "URL must be in format 'oci://<domain>/<org>/<repo>'",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, server.Options{})
			obj := object("app", s, func(s *sourcev1.OCIRepositorySpec) { s.URL = tc.url })

			if tc.shown == "" {
				tc.shown = tc.url
			}

			got := w.bench(t, obj).run(t, obj)
			message := "URLInvalid: URL validation failed for '" + tc.shown + "': " + tc.want
			expect(t, got.Object, meta.ReadyCondition, "False "+message)
			expect(t, got.Object, meta.StalledCondition, "True "+message)
			expect(t, got.Object, meta.FetchFailedCondition, "True "+message)
			expect(t, got.Object, meta.ReconcilingCondition, "")

			if got.Object.Status.ObservedGeneration != 1 || got.Result.RequeueAfter != 0 {
				t.Errorf("observed generation %d, next run after %s", got.Object.Status.ObservedGeneration, got.Result.RequeueAfter)
			}
		})
	}
}

func TestAccess(t *testing.T) {
	protected := server.Options{Username: "u", Password: "p", Tokens: true}
	ref := func(name string) *meta.LocalObjectReference { return &meta.LocalObjectReference{Name: name} }

	cases := map[string]struct {
		reason string
		server server.Options
		world  func(t *testing.T, w *world, s *server.Server)
		spec   func(*sourcev1.OCIRepositorySpec)
		want   string
	}{
		"Secret": {
			reason: "A pull secret opens the registry.", server: protected,
			world: func(_ *testing.T, w *world, s *server.Server) { w.pullSecret("pull", s, "u", "p") },
			spec:  func(s *sourcev1.OCIRepositorySpec) { s.SecretRef = ref("pull") },
			want:  "True Succeeded: ",
		},
		"ServiceAccount": {
			reason: "So does one of the service account.", server: protected,
			world: func(_ *testing.T, w *world, s *server.Server) {
				w.pullSecret("pull", s, "u", "p")
				w.accounts[types.NamespacedName{Namespace: "apps", Name: "puller"}] = &corev1.ServiceAccount{
					ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
				}
			},
			spec: func(s *sourcev1.OCIRepositorySpec) { s.ServiceAccountName = "puller" },
			want: "True Succeeded: ",
		},
		"Cloud": {
			reason: "So does the login of a cloud.", server: protected,
			world: func(t *testing.T, w *world, _ *server.Server) {
				t.Helper()

				w.cloud = registry.CloudFunc(func(_ context.Context, who registry.Identity, _ string) (string, string, error) {
					want := registry.Identity{Provider: "gcp", Kind: "OCIRepository", Namespace: "apps", Name: "app"}
					if diff := cmp.Diff(want, who); diff != "" {
						t.Errorf("-want +got:\n%s", diff)
					}

					return "u", "p", nil
				})
			},
			spec: func(s *sourcev1.OCIRepositorySpec) { s.Provider = "gcp" },
			want: "True Succeeded: ",
		},
		"CloudFails": {
			reason: "The cloud may refuse.",
			world: func(_ *testing.T, w *world, _ *server.Server) {
				w.cloud = registry.CloudFunc(func(context.Context, registry.Identity, string) (string, string, error) {
					return "", "", errors.New("no identity")
				})
			},
			spec: func(s *sourcev1.OCIRepositorySpec) { s.Provider = "azure" },
			want: `False AuthenticationFailed: failed to configure authentication options: login with provider "azure": no identity`,
		},
		"Certificates": {
			reason: "The secret holds an authority and a client certificate.", server: server.Options{TLS: true, ClientAuth: true},
			world: func(t *testing.T, w *world, s *server.Server) {
				t.Helper()

				cert, key, err := s.ClientCertificate()
				check(t, err)
				w.secret("tls", map[string]string{"ca.crt": string(s.CA), "tls.crt": string(cert), "tls.key": string(key)})
			},
			spec: func(s *sourcev1.OCIRepositorySpec) { s.CertSecretRef = ref("tls") },
			want: "True Succeeded: ",
		},
		"Insecure": {
			reason: "Any certificate is taken.", server: server.Options{TLS: true},
			spec: func(s *sourcev1.OCIRepositorySpec) { s.Insecure = true }, want: "True Succeeded: ",
		},
		"UnknownAuthority": {
			reason: "A certificate that nobody knows.", server: server.Options{TLS: true},
			want: "False OCIArtifactPullFailed: failed to determine artifact digest: ",
		},
		"NoSecret": {
			reason: "The secret is not there.", spec: func(s *sourcev1.OCIRepositorySpec) { s.SecretRef = ref("pull") },
			want: "False AuthenticationFailed: failed to get secret 'apps/pull': ",
		},
		"BadSecret": {
			reason: "The secret holds something else.",
			world:  func(_ *testing.T, w *world, _ *server.Server) { w.secret("pull", map[string]string{"user": "u"}) },
			spec:   func(s *sourcev1.OCIRepositorySpec) { s.SecretRef = ref("pull") },
			want: "False AuthenticationFailed: failed to configure authentication options: secret 'apps/pull': " +
				"there is no '.dockerconfigjson'",
		},
		"NoServiceAccount": {
			reason: "The service account is not there.",
			spec:   func(s *sourcev1.OCIRepositorySpec) { s.ServiceAccountName = "puller" },
			want:   "False AuthenticationFailed: failed to get service account 'apps/puller': ",
		},
		"NoPullSecret": {
			reason: "What the service account names is not there.",
			world: func(_ *testing.T, w *world, _ *server.Server) {
				w.accounts[types.NamespacedName{Namespace: "apps", Name: "puller"}] = &corev1.ServiceAccount{
					ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
				}
			},
			spec: func(s *sourcev1.OCIRepositorySpec) { s.ServiceAccountName = "puller" },
			want: "False AuthenticationFailed: failed to get secret 'apps/pull': ",
		},
		"NoCertificates": {
			reason: "A misspelt key is no certificate.",
			world:  func(_ *testing.T, w *world, _ *server.Server) { w.secret("tls", map[string]string{"ca.cert": "x"}) },
			spec:   func(s *sourcev1.OCIRepositorySpec) { s.CertSecretRef = ref("tls") },
			want:   "False AuthenticationFailed: failed to configure authentication options: ",
		},
		"NoProxy": {
			reason: "A proxy needs an address.",
			world:  func(_ *testing.T, w *world, _ *server.Server) { w.secret("proxy", map[string]string{"addr": "x"}) },
			spec:   func(s *sourcev1.OCIRepositorySpec) { s.ProxySecretRef = ref("proxy") },
			want:   "False AuthenticationFailed: failed to configure authentication options: ",
		},
		"WrongPassword": {
			reason: "The registry refuses.", server: protected,
			world: func(_ *testing.T, w *world, s *server.Server) { w.pullSecret("pull", s, "u", "p4ss") },
			spec:  func(s *sourcev1.OCIRepositorySpec) { s.SecretRef = ref("pull") },
			want:  "False OCIArtifactPullFailed: failed to determine artifact digest: ",
		},
		"NoTag": {
			reason: "There is no such tag.", spec: func(s *sourcev1.OCIRepositorySpec) {
				s.Reference = &sourcev1.OCIRepositoryRef{Tag: "none"}
			},
			want: "False OCIArtifactPullFailed: failed to determine artifact digest: ",
		},
		"NoRepository": {
			reason: "There is no such repository to list.",
			spec: func(s *sourcev1.OCIRepositorySpec) {
				s.URL += "-none"
				s.Reference = &sourcev1.OCIRepositoryRef{SemVer: "*"}
			},
			want: "False ReadOperationFailed: failed to determine the artifact tag for '",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, tc.server)
			push(t, s, "latest", "a: 1\n")

			if tc.world != nil {
				tc.world(t, w, s)
			}

			obj := object("app", s)
			if tc.spec != nil {
				tc.spec(&obj.Spec)
			}

			got := w.bench(t, obj).run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, tc.want)

			if strings.HasPrefix(tc.want, "True") {
				return
			}

			expect(t, got.Object, meta.FetchFailedCondition, "True"+strings.TrimPrefix(tc.want, "False"))
			expect(t, got.Object, meta.ReconcilingCondition, "True ProgressingWithRetry: ")

			if len(got.Events) != 1 || got.Events[0].Type != corev1.EventTypeWarning {
				t.Errorf("%s\nevents %q", tc.reason, reasons(got.Events))
			}

			for _, c := range got.Object.Status.Conditions {
				if strings.Contains(c.Message, "p4ss") {
					t.Errorf("%s\na condition holds the password: %s", tc.reason, c.Message)
				}
			}
		})
	}
}

// A failure leaves what is stored, and its end is told.
func TestFailAndRecover(t *testing.T) {
	down := false

	w := newWorld(t)
	s := serve(t, server.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if down {
				w.WriteHeader(http.StatusServiceUnavailable)

				return
			}

			h.ServeHTTP(w, req)
		})
	}})
	push(t, s, "latest", "a: 1\n")

	obj := object("app", s)
	b := w.bench(t, obj)
	first := b.run(t, obj).Object

	down = true

	w.clock.Advance(time.Minute)

	second := b.run(t, obj).Object
	expect(t, second, meta.ReadyCondition, "False OCIArtifactPullFailed: failed to determine artifact digest: ")
	expect(t, second, meta.ArtifactInStorageCondition, "True")

	if diff := cmp.Diff(first.Status.Artifact, second.Status.Artifact); diff != "" {
		t.Errorf("-first +second:\n%s", diff)
	}

	down = false

	w.clock.Advance(time.Minute)

	third := b.run(t, obj)
	expect(t, third.Object, meta.ReadyCondition, "True Succeeded: ")
	expect(t, third.Object, meta.FetchFailedCondition, "")

	if got := reasons(third.Events); len(got) != 1 || !strings.HasPrefix(got[0], "Succeeded: stored artifact with revision") {
		t.Errorf("events %q", got)
	}
}

// While something new is fetched, people see what it is.
func TestOutdated(t *testing.T) {
	broken := false

	w := newWorld(t)
	s := serve(t, server.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if broken && strings.Contains(req.URL.Path, "/blobs/") {
				w.WriteHeader(http.StatusNotFound)

				return
			}

			h.ServeHTTP(w, req)
		})
	}})
	push(t, s, "latest", "a: 1\n")

	obj := object("app", s)
	b := w.bench(t, obj)
	first := b.run(t, obj).Object

	broken = true
	hash := push(t, s, "latest", "a: 2\n")

	w.clock.Advance(time.Minute)

	second := b.run(t, obj).Object
	expect(t, second, meta.ArtifactOutdatedCondition,
		"True NewRevision: new revision 'latest@"+hash.String()+"' for '"+obj.Spec.URL+"'")
	expect(t, second, meta.ReadyCondition, "False OCIArtifactPullFailed: failed to pull artifact from '"+obj.Spec.URL+"': ")

	if diff := cmp.Diff(first.Status.Artifact, second.Status.Artifact); diff != "" {
		t.Errorf("-first +second:\n%s", diff)
	}

	broken = false

	third := b.run(t, obj).Object
	expect(t, third, meta.ArtifactOutdatedCondition, "")
	expect(t, third, meta.ReadyCondition, "True Succeeded: stored artifact for digest 'latest@"+hash.String()+"'")
}

// A name that exists only for the proxy shows that all goes through it.
func TestProxy(t *testing.T) {
	cases := map[string]struct {
		reason   string
		server   server.Options
		port     string
		password string
		want     string
	}{
		"Plain":  {reason: "Requests are passed on.", port: "80", password: "p4ss", want: "True Succeeded: "},
		"Tunnel": {reason: "There is a tunnel.", port: "443", server: server.Options{TLS: true}, password: "p4ss", want: "True Succeeded: "},
		"Refused": {
			reason: "The proxy has a password.", port: "443", server: server.Options{TLS: true}, password: "other-p4ss",
			want: "False OCIArtifactPullFailed: failed to determine artifact digest: ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, tc.server)
			push(t, s, "latest", "a: 1\n")

			p, err := proxy.Serve(t.Context(), proxy.Options{
				Username: "me", Password: "p4ss", Hosts: map[string]string{"registry.test:" + tc.port: s.Addr},
			})
			check(t, err)
			t.Cleanup(p.Close)

			w.secret("proxy", map[string]string{"address": "http://" + p.Addr, "username": "me", "password": tc.password})

			obj := object("app", s, func(s *sourcev1.OCIRepositorySpec) {
				s.URL, s.Insecure = "oci://registry.test/org/app", true
				s.ProxySecretRef = &meta.LocalObjectReference{Name: "proxy"}
			})
			got := w.bench(t, obj).run(t, obj).Object
			expect(t, got, meta.ReadyCondition, tc.want)

			for _, c := range got.Status.Conditions {
				if strings.Contains(c.Message, "p4ss") {
					t.Errorf("%s\na condition holds the password: %s", tc.reason, c.Message)
				}
			}
		})
	}
}
