package git_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/test/gitserver"
	"github.com/weir-dev/weir/test/proxy"
)

func withProvider(provider string) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) { s.Provider = provider }
}

func withProxy(name string) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) { s.ProxySecretRef = &meta.LocalObjectReference{Name: name} }
}

func TestProxy(t *testing.T) {
	identity, public, err := gitserver.NewKey("")
	check(t, err)

	w := newWorld(t)
	r := w.repository(t, "app")
	plain, secure := w.serve(t, gitserver.HTTPOptions{}), w.serve(t, gitserver.HTTPOptions{TLS: true})
	overSSH, err := w.ServeSSH(t.Context(), gitserver.SSHOptions{Authorized: []ssh.PublicKey{public}})
	check(t, err)
	t.Cleanup(overSSH.Close)

	// Nobody but the proxy knows the host.
	const host = "git.test:8443"

	key := strings.Replace(overSSH.KnownHosts(), "["+strings.Replace(overSSH.Addr, ":", "]:", 1), "[git.test]:8443", 1)
	w.secret("ssh", map[string]string{"identity": string(identity), "known_hosts": key})
	w.secret("ca", map[string]string{"ca.crt": string(secure.CA)})

	cases := map[string]struct {
		reason string
		url    string
		server string
		secret string
		proxy  map[string]string // ADDR is replaced
		want   string
	}{
		"HTTP": {
			reason: "The proxy is asked for the page.", url: "http://" + host + "/app.git", server: plain.Addr,
			proxy: map[string]string{"address": "ADDR", "username": "jane", "password": "secret"}, want: "True Succeeded: ",
		},
		"SSH": {
			reason: "The proxy makes a tunnel.", url: "ssh://git@" + host + "/app.git", server: overSSH.Addr, secret: "ssh",
			proxy: map[string]string{"address": "ADDR", "username": "jane", "password": "secret"}, want: "True Succeeded: ",
		},
		"HTTPS": {
			reason: "The tunnel leads to a server that has to prove who it is.", url: "https://" + host + "/app.git", server: secure.Addr,
			secret: "ca", proxy: map[string]string{"address": "ADDR", "username": "jane", "password": "secret"},
			want: "False GitOperationFailed: ",
		},
		"Wrong": {
			reason: "The proxy knows who may use it.", url: "http://" + host + "/app.git", server: plain.Addr,
			proxy: map[string]string{"address": "ADDR", "username": "jane", "password": "guess"}, want: "False GitOperationFailed: ",
		},
		"Empty": {
			reason: "A misspelt key must not mean no proxy.", url: plain.URL(r), proxy: map[string]string{"adr": "ADDR"},
			want: "False AuthenticationFailed: failed to configure proxy options: secret 'apps/proxy': 'address' is required for a proxy",
		},
		"Scheme": {
			reason: "A proxy is one of three kinds.", url: plain.URL(r), proxy: map[string]string{"address": "ftp://jane:secret@x"},
			want: "False AuthenticationFailed: failed to configure proxy options: secret 'apps/proxy': 'address': the scheme",
		},
		"Missing": {
			reason: "The Secret has to be there.", url: plain.URL(r),
			want: "False AuthenticationFailed: failed to get secret 'apps/proxy': ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := proxy.Serve(t.Context(), proxy.Options{
				Username: "jane", Password: "secret", Hosts: map[string]string{host: tc.server},
			})
			check(t, err)
			t.Cleanup(p.Close)

			obj := object("app", tc.url, withProxy("proxy"))
			if tc.secret != "" {
				withSecret(tc.secret)(&obj.Spec)
			}

			clear(w.secrets)
			w.secret("ssh", map[string]string{"identity": string(identity), "known_hosts": key})
			w.secret("ca", map[string]string{"ca.crt": string(secure.CA)})

			if tc.proxy != nil {
				tc.proxy["address"] = strings.Replace(tc.proxy["address"], "ADDR", p.URL(), 1)
				w.secret("proxy", tc.proxy)
			}

			got := w.bench(t, obj).run(t, obj).Object
			expect(t, got, meta.ReadyCondition, tc.want)

			if message := condition(got, meta.ReadyCondition); strings.Contains(message, "guess") || strings.Contains(message, "jane") {
				t.Errorf("%s\na secret shows in %q", tc.reason, message)
			}

			if used := len(p.Requests()) > 0; used != (tc.server != "") {
				t.Errorf("%s\nthe proxy was used: %t", tc.reason, used)
			}
		})
	}
}

// What is seen through one proxy is not shown to those who go another way: who runs a proxy can show what he likes.
func TestProxyIsolation(t *testing.T) {
	w := newWorld(t)
	r, forged := w.repository(t, "app"), w.repository(t, "forged")
	s := w.serve(t, gitserver.HTTPOptions{})
	liar := w.serve(t, gitserver.HTTPOptions{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			req.URL.Path = strings.Replace(req.URL.Path, r.Path, forged.Path, 1)
			h.ServeHTTP(rw, req)
		})
	}})

	commit(t, forged, "main", gitserver.Change{Files: map[string]string{"forged": "x"}})

	p, err := proxy.Serve(t.Context(), proxy.Options{Hosts: map[string]string{s.Addr: liar.Addr}})
	check(t, err)
	t.Cleanup(p.Close)
	w.secret("proxy", map[string]string{"address": p.URL()})

	mallory, obj := object("mallory", s.URL(r), withProxy("proxy")), object("app", s.URL(r))
	b := w.bench(t, mallory, obj)
	expect(t, b.run(t, mallory).Object, meta.ReadyCondition, "True Succeeded: stored artifact for revision 'main@sha1:"+mustGit(t, forged, "rev-parse", "main"))
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: stored artifact for revision 'main@sha1:"+mustGit(t, r, "rev-parse", "main"))
}

func TestProviderMisuse(t *testing.T) {
	app := map[string]string{"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": "x"}

	cases := map[string]struct {
		reason   string
		provider string
		account  string
		url      string
		secret   map[string]string
		want     string
		stalled  bool
	}{
		"NoSecret": {
			reason: "A GitHub App is in a Secret.", provider: "github", stalled: true,
			want: "InvalidProviderConfiguration: secretRef with github app data must be specified when provider is set to github",
		},
		"OtherProvider": {
			reason: "An App is one of GitHub.", provider: "azure", secret: app, stalled: true,
			want: "InvalidProviderConfiguration: secretRef 'apps/auth' has github app data but provider is not set to github",
		},
		"NoProvider": {
			reason: "An App is one of GitHub.", secret: app, stalled: true,
			want: "InvalidProviderConfiguration: secretRef 'apps/auth' has github app data but provider is not set to github",
		},
		"ClientID": {
			reason: "So is one that is named by its client ID.", secret: map[string]string{"githubAppClientID": "x"}, stalled: true,
			want: "InvalidProviderConfiguration: secretRef 'apps/auth' has github app data but provider is not set to github",
		},
		"NoApp": {
			reason: "The Secret has to be that of an App.", provider: "github", secret: map[string]string{"username": "jane", "password": "x"},
			want: "AuthenticationFailed: failed to configure authentication options: secret 'apps/auth': exactly one of 'githubAppID' and",
		},
		"SSH": {
			reason: "Tokens are for HTTPS.", provider: "github", url: "ssh://git@github.test/x", secret: app, stalled: true,
			want: "InvalidProviderConfiguration: provider 'github' works over HTTPS, not over SSH",
		},
		"ServiceAccount": {
			reason: "Only some providers know ServiceAccounts.", account: "x", stalled: true,
			want: "InvalidProviderConfiguration: serviceAccountName can only be set when provider is 'azure' or 'aws'",
		},
		"Unknown": {
			reason: "A provider is one of four.", provider: "gcp", stalled: true,
			want: "InvalidProviderConfiguration: provider 'gcp' is none of generic, aws, azure and github",
		},
		"NoCloud": {
			reason: "A process may know no clouds.", provider: "aws",
			want: `AuthenticationFailed: failed to configure authentication options: there are no credentials of provider "aws"`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.serve(t, gitserver.HTTPOptions{})

			obj := object("app", s.URL(w.repository(t, "app")), withProvider(tc.provider))
			obj.Spec.ServiceAccountName = tc.account

			if tc.url != "" {
				obj.Spec.URL = tc.url
			}

			if tc.secret != nil {
				w.secret("auth", tc.secret)
				withSecret("auth")(&obj.Spec)
			}

			got := w.bench(t, obj).run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, "False "+tc.want)
			expect(t, got.Object, meta.FetchFailedCondition, "True "+tc.want)

			if stalled := condition(got.Object, meta.StalledCondition) != ""; stalled != tc.stalled || s.Counts() != (gitserver.Counts{}) {
				t.Errorf("%s\nstalled: %t, requests %+v", tc.reason, stalled, s.Counts())
			}
		})
	}
}

// TestGitHub clones with the token of an App. How the App proves itself is tested in package github.
func TestGitHub(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)

	var issued, good atomic.Int64

	good.Store(1)

	w := newWorld(t)
	api := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusCreated)
		fmt.Fprintf(rw, `{"token": "ghs_%d", "expires_at": %q}`, issued.Add(1), w.clock.Now().Add(time.Hour).Format(time.RFC3339))
	}))
	t.Cleanup(api.Close)

	s := w.serve(t, gitserver.HTTPOptions{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if user, password, _ := req.BasicAuth(); user != "x-access-token" || password != fmt.Sprintf("ghs_%d", good.Load()) {
				http.Error(rw, "no", http.StatusUnauthorized)

				return
			}

			h.ServeHTTP(rw, req)
		})
	}})
	w.secret("auth", map[string]string{
		"githubAppID": "1", "githubAppInstallationID": "2", "githubAppBaseURL": api.URL,
		"githubAppPrivateKey": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"ca.crt":              string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})),
	})

	r := w.repository(t, "app")
	obj, other := object("app", s.URL(r), withProvider("github"), withSecret("auth")), object("other", s.URL(r), withProvider("github"), withSecret("auth"))
	b := w.bench(t, obj, other)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")
	expect(t, b.run(t, other).Object, meta.ReadyCondition, "True Succeeded: ")

	if got := s.Counts(); issued.Load() != 1 || got.UploadPack != 1 {
		t.Errorf("%d tokens, requests %+v", issued.Load(), got)
	}

	// A token that the server takes no more is not used again.
	good.Store(2)
	w.clock.Advance(time.Minute)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "False GitOperationFailed: ")
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")

	// One that has expired is not, either.
	good.Store(3)
	w.clock.Advance(time.Hour)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")
}

// cloudFunc is a function as git.Cloud.
type cloudFunc func(r cloud.Request, _ string) (username, password, bearer string, err error)

// Git implements git.Cloud.
func (f cloudFunc) Git(_ context.Context, r cloud.Request, url string) (username, password, bearer string, err error) {
	return f(r, url)
}

func TestClouds(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	byToken, byName := w.serve(t, gitserver.HTTPOptions{TLS: true, Token: "t0ken"}), w.serve(t, gitserver.HTTPOptions{Username: "jane", Password: "pa55"})

	var asked []cloud.Request

	w.deps.Cloud = cloudFunc(func(r cloud.Request, _ string) (username, password, bearer string, err error) {
		asked = append(asked, r)

		switch {
		case r.ServiceAccount == "nobody":
			return "", "", "", errors.New("get azure token: no such account")
		case r.Provider == "azure":
			return "", "", "t0ken", nil
		}

		return "jane", "pa55", "", nil
	})
	w.secret("ca", map[string]string{"ca.crt": string(byToken.CA)})

	azure := object("azure", byToken.URL(r), withProvider("azure"), withSecret("ca"))
	azure.Spec.ServiceAccountName = "builder"
	aws := object("aws", byName.URL(r), withProvider("aws"))
	nobody := object("nobody", byToken.URL(r), withProvider("azure"))
	nobody.Spec.ServiceAccountName = "nobody"

	b := w.bench(t, azure, aws, nobody)
	expect(t, b.run(t, azure).Object, meta.ReadyCondition, "True Succeeded: ")
	expect(t, b.run(t, aws).Object, meta.ReadyCondition, "True Succeeded: ")
	expect(t, b.run(t, nobody).Object, meta.ReadyCondition,
		"False AuthenticationFailed: failed to configure authentication options: get azure token: no such account")

	want := []cloud.Request{
		{Provider: "azure", Kind: "GitRepository", Namespace: "apps", Name: "azure", ServiceAccount: "builder"},
		{Provider: "aws", Kind: "GitRepository", Namespace: "apps", Name: "aws"},
		{Provider: "azure", Kind: "GitRepository", Namespace: "apps", Name: "nobody", ServiceAccount: "nobody"},
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The credentials of a cloud may be those of the process. Whoever names the proxy on the way, and the authority that it signs its
// certificates with, must not read them.
func TestCloudsOfTheProcess(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{TLS: true})
	asked := 0
	w.deps.Cloud = cloudFunc(func(cloud.Request, string) (username, password, bearer string, err error) {
		asked++

		return "", "", "t0ken", nil
	})
	w.secret("ca", map[string]string{"ca.crt": string(s.CA)})

	for _, provider := range []string{"azure", "aws"} {
		obj := object(provider, s.URL(r), withProvider(provider), withSecret("ca"))

		expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition,
			"False AuthenticationFailed: failed to configure authentication options: provider \""+provider+
				"\": an authority of a secret needs an identity of the object's own, see spec.serviceAccountName")
	}

	if n := s.Counts(); asked != 0 || n != (gitserver.Counts{}) {
		t.Errorf("credentials were asked for %d times, and requests made: %+v", asked, n)
	}
}
