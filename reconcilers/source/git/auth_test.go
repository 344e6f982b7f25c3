package git_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

func TestHTTPAuthentication(t *testing.T) {
	basic := gitserver.HTTPOptions{Username: "jane", Password: "secret"}

	cases := map[string]struct {
		reason  string
		options gitserver.HTTPOptions
		url     func(string) string
		secret  map[string]string
		want    string // of Ready
	}{
		"Basic": {
			reason:  "User name and password let in.",
			options: basic, secret: map[string]string{"username": "jane", "password": "secret"},
			want: "True Succeeded: ",
		},
		"URL": {
			reason:  "They may be in the URL.",
			options: basic, url: func(u string) string { return strings.Replace(u, "://", "://jane:secret@", 1) },
			want: "True Succeeded: ",
		},
		"SecretBeforeURL": {
			reason:  "Those of the Secret win.",
			options: basic, url: func(u string) string { return strings.Replace(u, "://", "://jane:guess@", 1) },
			secret: map[string]string{"username": "jane", "password": "secret"},
			want:   "True Succeeded: ",
		},
		"Wrong": {
			reason:  "A wrong password does not let in.",
			options: basic, secret: map[string]string{"username": "jane", "password": "guess"},
			want: "False GitOperationFailed: failed to checkout and determine revision: unable to list remote for '",
		},
		"None": {
			reason:  "Nothing does not let in.",
			options: basic,
			want:    "False GitOperationFailed: failed to checkout and determine revision: unable to list remote for '",
		},
		"Bearer": {
			reason:  "A token lets in.",
			options: gitserver.HTTPOptions{Token: "t0ken"}, secret: map[string]string{"bearerToken": "t0ken"},
			want: "True Succeeded: ",
		},
		"Both": {
			reason:  "It has to be clear what is meant.",
			options: basic, secret: map[string]string{"username": "jane", "password": "secret", "bearerToken": "t0ken"},
			want: "False AuthenticationFailed: failed to configure authentication options: invalid 'http' auth option",
		},
		"PasswordAlone": {
			reason:  "A password is somebody's.",
			options: basic, secret: map[string]string{"password": "secret"},
			want: "False AuthenticationFailed: failed to configure authentication options: " +
				"invalid 'http' auth option: 'password' requires 'username' to be set",
		},
		"GitHubApp": {
			reason: "The keys of a GitHub App are for the provider github.",
			secret: map[string]string{"githubAppID": "1", "githubAppPrivateKey": "x"},
			want:   "False InvalidProviderConfiguration: secretRef 'apps/auth' has github app data but provider is not set to github",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.repository(t, "app")
			s := w.serve(t, tc.options)

			url := s.URL(r)
			if tc.url != nil {
				url = tc.url(url)
			}

			obj := object("app", url)
			if tc.secret != nil {
				w.secret("auth", tc.secret)
				withSecret("auth")(&obj.Spec)
			}

			got := w.bench(t, obj).run(t, obj).Object
			expect(t, got, meta.ReadyCondition, tc.want)

			for _, c := range got.Status.Conditions {
				for _, secret := range []string{"secret@", "guess", "t0ken"} {
					if strings.Contains(c.Message, secret) {
						t.Errorf("%s\na secret shows in %q", tc.reason, c.Message)
					}
				}
			}
		})
	}
}

func TestMissingSecret(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r), withSecret("auth"))

	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.FetchFailedCondition, "True AuthenticationFailed: failed to get secret 'apps/auth': ")
}

func TestTLS(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{TLS: true, ClientAuth: true})

	cert, key, err := s.ClientCertificate()
	check(t, err)

	cases := map[string]struct {
		reason string
		secret map[string]string
		want   string
	}{
		"All": {
			reason: "The authority is trusted and the certificate is taken.",
			secret: map[string]string{"ca.crt": string(s.CA), "tls.crt": string(cert), "tls.key": string(key)},
			want:   "True Succeeded: ",
		},
		"LegacyCA": {
			reason: "The old name of the key of the authority is still good.",
			secret: map[string]string{"caFile": string(s.CA), "tls.crt": string(cert), "tls.key": string(key)},
			want:   "True Succeeded: ",
		},
		"NewCAWins": {
			reason: "The new name wins.",
			secret: map[string]string{"ca.crt": string(s.CA), "caFile": "x", "tls.crt": string(cert), "tls.key": string(key)},
			want:   "True Succeeded: ",
		},
		"NoCA": {
			reason: "An unknown authority is not trusted.",
			secret: map[string]string{"tls.crt": string(cert), "tls.key": string(key)},
			want:   "False GitOperationFailed: ",
		},
		"NoCertificate": {
			reason: "The server asks for a certificate.",
			secret: map[string]string{"ca.crt": string(s.CA)},
			want:   "False GitOperationFailed: ",
		},
		"NoKey": {
			reason: "A certificate needs its key.",
			secret: map[string]string{"tls.crt": string(cert)},
			want:   "False AuthenticationFailed: ",
		},
		"BadCA": {
			reason: "An authority has a certificate.",
			secret: map[string]string{"ca.crt": "x"},
			want: "False AuthenticationFailed: failed to configure authentication options: " +
				"invalid 'https' auth option: secret 'apps/tls': 'ca.crt' holds no certificate",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w.secret("tls", tc.secret)
			obj := object("app", s.URL(r), withSecret("tls"))

			expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, tc.want)
		})
	}
}

func TestSSH(t *testing.T) {
	identity, public, err := gitserver.NewKey("")
	check(t, err)
	locked, lockedPublic, err := gitserver.NewKey("open sesame")
	check(t, err)
	stranger, strangerPublic, err := gitserver.NewKey("")
	check(t, err)

	w := newWorld(t)
	r := w.repository(t, "team/it's")
	s, err := w.ServeSSH(t.Context(), gitserver.SSHOptions{Authorized: []ssh.PublicKey{public, lockedPublic}})
	check(t, err)
	t.Cleanup(s.Close)

	cases := map[string]struct {
		reason string
		url    func(string) string
		secret map[string]string
		want   string
	}{
		"Key": {
			reason: "A key that the server knows lets in.",
			secret: map[string]string{"identity": string(identity), "known_hosts": s.KnownHosts()},
			want:   "True Succeeded: ",
		},
		"DefaultUser": {
			reason: "The user is git unless the URL says otherwise.",
			url:    func(u string) string { return strings.Replace(u, "git@", "", 1) },
			secret: map[string]string{"identity": string(identity), "known_hosts": s.KnownHosts()},
			want:   "True Succeeded: ",
		},
		"OtherUser": {
			reason: "The URL says who logs in.",
			url:    func(u string) string { return strings.Replace(u, "git@", "jane@", 1) },
			secret: map[string]string{"identity": string(identity), "known_hosts": s.KnownHosts()},
			want:   "False GitOperationFailed: ",
		},
		"Passphrase": {
			reason: "A key may be encrypted.",
			secret: map[string]string{
				"identity": string(locked), "known_hosts": s.KnownHosts(), "password": "open sesame",
			},
			want: "True Succeeded: ",
		},
		"NoPassphrase": {
			reason: "An encrypted key needs its passphrase.",
			secret: map[string]string{"identity": string(locked), "known_hosts": s.KnownHosts()},
			want: "False AuthenticationFailed: failed to configure authentication options: " +
				"SSH identity key is encrypted but no 'password' field was provided in the secret 'apps/ssh'",
		},
		"WrongPassphrase": {
			reason: "An encrypted key needs its own passphrase.",
			secret: map[string]string{"identity": string(locked), "known_hosts": s.KnownHosts(), "password": "x"},
			want:   "False AuthenticationFailed: failed to configure authentication options: invalid 'ssh' auth option",
		},
		"Stranger": {
			reason: "A key that the server does not know does not let in.",
			secret: map[string]string{"identity": string(stranger), "known_hosts": s.KnownHosts()},
			want:   "False GitOperationFailed: ",
		},
		"WrongHostKey": {
			reason: "A server with another key is not trusted.",
			secret: map[string]string{"identity": string(identity), "known_hosts": gitserver.KnownHosts(s.Addr, strangerPublic)},
			want:   "False GitOperationFailed: ",
		},
		"UnknownHost": {
			reason: "A server that is not known is not trusted.",
			secret: map[string]string{"identity": string(identity), "known_hosts": gitserver.KnownHosts("example.com:22", public)},
			want:   "False GitOperationFailed: ",
		},
		"NoKnownHosts": {
			reason: "The server has to be known.",
			secret: map[string]string{"identity": string(identity)},
			want: "False AuthenticationFailed: failed to configure authentication options: " +
				"invalid 'ssh' auth option: 'known_hosts' is required",
		},
		"NoIdentity": {
			reason: "SSH needs a key.",
			secret: map[string]string{"known_hosts": s.KnownHosts()},
			want: "False AuthenticationFailed: failed to configure authentication options: " +
				"invalid 'ssh' auth option: 'identity' is required",
		},
		"BadIdentity": {
			reason: "A key is a key.",
			secret: map[string]string{"identity": "x", "known_hosts": s.KnownHosts()},
			want: "False AuthenticationFailed: failed to configure authentication options: " +
				"invalid 'ssh' auth option: 'identity' is no private key",
		},
		"BadKnownHosts": {
			reason: "What is known has to be readable.",
			secret: map[string]string{"identity": string(identity), "known_hosts": "example.com ssh-ed25519 x"},
			want: "False AuthenticationFailed: failed to configure authentication options: " +
				"invalid 'ssh' auth option: 'known_hosts': ",
		},
		"NoRepository": {
			reason: "The server's own words are passed on.",
			url:    func(u string) string { return u + "x" },
			secret: map[string]string{"identity": string(identity), "known_hosts": s.KnownHosts()},
			want:   "False GitOperationFailed: ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			url := s.URL(r)
			if tc.url != nil {
				url = tc.url(url)
			}

			w.secret("ssh", tc.secret)
			obj := object("app", url, withSecret("ssh"))

			got := w.bench(t, obj).run(t, obj).Object
			expect(t, got, meta.ReadyCondition, tc.want)

			if name == "NoRepository" && !strings.Contains(condition(got, meta.ReadyCondition), "does not appear to be a git repository") {
				t.Errorf("%s\n%s", tc.reason, condition(got, meta.ReadyCondition))
			}
		})
	}
}

func TestSSHNeedsSecret(t *testing.T) {
	w := newWorld(t)
	obj := object("app", "ssh://git@127.0.0.1:1/x.git")

	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.ReadyCondition, "False AuthenticationFailed: failed to configure authentication options: ")
}

func TestSSHCosts(t *testing.T) {
	identity, public, err := gitserver.NewKey("")
	check(t, err)

	w := newWorld(t)
	r := w.repository(t, "app")
	s, err := w.ServeSSH(t.Context(), gitserver.SSHOptions{Authorized: []ssh.PublicKey{public}})
	check(t, err)
	t.Cleanup(s.Close)

	w.secret("ssh", map[string]string{"identity": string(identity), "known_hosts": s.KnownHosts()})
	obj := object("app", s.URL(r), withSecret("ssh"))
	b := w.bench(t, obj)
	b.run(t, obj)
	before := s.Counts()

	w.clock.Advance(1e12)
	b.run(t, obj)

	if got := s.Counts(); got.InfoRefs != before.InfoRefs+1 || got.UploadPack != before.UploadPack || before.UploadPack != 1 {
		t.Errorf("requests before %+v, after %+v", before, got)
	}
}

// A server that moved a repository elsewhere must not get at the credentials for another.
func TestRedirectLosesCredentials(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")

	var leaked []string
	there := w.serve(t, gitserver.HTTPOptions{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if v := req.Header.Get("Authorization"); v != "" {
				leaked = append(leaked, v)
			}

			h.ServeHTTP(rw, req)
		})
	}})
	here := w.serve(t, gitserver.HTTPOptions{Wrap: func(http.Handler) http.Handler {
		return http.RedirectHandler(there.URL(r)+"/info/refs?service=git-upload-pack", http.StatusFound)
	}})

	w.secret("auth", map[string]string{"username": "jane", "password": "secret"})
	obj := object("app", here.URL(r), withSecret("auth"))
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")

	if len(leaked) > 0 {
		t.Errorf("credentials went to another server")
	}

	if got := there.Counts(); got.UploadPack != 1 {
		t.Errorf("requests: %+v", got)
	}
}

func withTimeout(d string) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) { s.Timeout = duration(d) }
}
