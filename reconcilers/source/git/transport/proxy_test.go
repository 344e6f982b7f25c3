package transport_test

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
	"github.com/weir-dev/weir/test/gitserver"
	"github.com/weir-dev/weir/test/proxy"
)

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// servers serve one repository in every way.
type servers struct {
	http, https *gitserver.HTTP
	ssh         *gitserver.SSH
	repository  *gitserver.Repository
	secret      *corev1.Secret // good for all of them
}

func serve(t *testing.T) *servers {
	t.Helper()

	all, err := gitserver.NewRepositories(t.TempDir())
	check(t, err)

	s := &servers{}
	s.repository, err = all.Create(t.Context(), "app")
	check(t, err)
	_, err = s.repository.Commit(t.Context(), "main", "Begin", gitserver.Change{Files: map[string]string{"a": "1"}})
	check(t, err)

	s.http, err = all.ServeHTTP(t.Context(), gitserver.HTTPOptions{})
	check(t, err)
	t.Cleanup(s.http.Close)

	s.https, err = all.ServeHTTP(t.Context(), gitserver.HTTPOptions{TLS: true})
	check(t, err)
	t.Cleanup(s.https.Close)

	identity, public, err := gitserver.NewKey("")
	check(t, err)

	s.ssh, err = all.ServeSSH(t.Context(), gitserver.SSHOptions{Authorized: []ssh.PublicKey{public}})
	check(t, err)
	t.Cleanup(s.ssh.Close)

	s.secret = &corev1.Secret{Data: map[string][]byte{
		"ca.crt": s.https.CA, "identity": identity, "known_hosts": []byte(s.ssh.KnownHosts()),
	}}

	return s
}

// urls returns the URLs of the repository and the addresses of the servers, by scheme.
func (s *servers) urls() map[string][2]string {
	return map[string][2]string{
		"http":  {s.http.URL(s.repository), s.http.Addr},
		"https": {s.https.URL(s.repository), s.https.Addr},
		"ssh":   {s.ssh.URL(s.repository), s.ssh.Addr},
	}
}

// list lists the references of the repository at the URL, through the proxy.
func (s *servers) list(t *testing.T, raw, proxy string, allow ingest.AllowAddr) error {
	t.Helper()

	u, err := transport.ParseURL(raw)
	check(t, err)

	c, err := transport.ReadCredentials(u, s.secret)
	check(t, err)

	var by *url.URL
	if proxy != "" {
		by, err = url.Parse(proxy)
		check(t, err)
	}

	n := transport.NewNetwork(transport.Options{Transports: &ingest.Transports{Allow: allow}, Dir: t.TempDir()})

	tr, err := n.Open(u, c, by)
	if err != nil {
		return err
	}

	adv, err := tr.List(t.Context())
	if err == nil && len(adv.References) == 0 {
		t.Error("there are no references")
	}

	return err
}

func TestProxies(t *testing.T) {
	s := serve(t)

	open, err := proxy.Serve(t.Context(), proxy.Options{})
	check(t, err)
	t.Cleanup(open.Close)

	guarded, err := proxy.Serve(t.Context(), proxy.Options{Username: "jane", Password: "secret"})
	check(t, err)
	t.Cleanup(guarded.Close)

	secure, err := proxy.Serve(t.Context(), proxy.Options{TLS: true})
	check(t, err)
	t.Cleanup(secure.Close)

	login := strings.Replace(guarded.URL(), "://", "://jane:secret@", 1)
	socks := serveSOCKS(t, "", "")
	socksLogin := serveSOCKS(t, "jane", "secret")

	cases := map[string]struct {
		reason  string
		proxy   string
		used    func() []string // targets
		schemes []string        // for which it works; for the others it fails
		want    string          // in the error
	}{
		"HTTP": {
			reason: "Everything goes through a proxy.", proxy: open.URL(), schemes: []string{"http", "https", "ssh"},
			used: func() []string { return targets(open) },
		},
		"Login": {
			reason: "A proxy may want to know who it is.", proxy: login, schemes: []string{"http", "https", "ssh"},
			used: func() []string { return targets(guarded) },
		},
		"NoLogin": {
			reason: "Without a password it does nothing.", proxy: guarded.URL(),
			used: func() []string { return nil }, want: "407 Proxy Authentication Required",
		},
		"HTTPS": {
			reason: "A proxy that nobody vouches for is not used.", proxy: secure.URL(),
			used: func() []string { return targets(secure) }, want: "certificate signed by unknown authority",
		},
		"SOCKS": {
			reason: "There are proxies that know no HTTP.", proxy: "socks5://" + socks.addr, schemes: []string{"http", "https", "ssh"},
			used: socks.targets,
		},
		"SOCKSLogin": {
			reason: "They may want to know who it is.", proxy: "socks5://jane:secret@" + socksLogin.addr, schemes: []string{"http", "https", "ssh"},
			used: socksLogin.targets,
		},
		"Nowhere": {
			reason: "Nobody goes around a proxy.", proxy: "http://127.0.0.1:1", used: func() []string { return nil }, want: "connection refused",
		},
	}

	for name, tc := range cases {
		for scheme, server := range s.urls() {
			t.Run(name+"/"+scheme, func(t *testing.T) {
				before := len(tc.used())
				err := s.list(t, server[0], tc.proxy, nil)

				if !slices.Contains(tc.schemes, scheme) {
					// net/http leaves the number out.
					if err == nil || !strings.Contains(err.Error(), tc.want) && !strings.Contains(tc.want, err.Error()) {
						t.Errorf("%s\nerror: %v", tc.reason, err)
					}

					return
				}

				check(t, err)

				if used := tc.used(); len(used) != before+1 || !strings.Contains(used[before], server[1]) {
					t.Errorf("%s\nthe proxy was asked for %q", tc.reason, used[before:])
				}
			})
		}
	}
}

func targets(p *proxy.Proxy) []string {
	var all []string
	for _, r := range p.Requests() {
		if !r.Refused {
			all = append(all, r.Target)
		}
	}

	return all
}

// What may not be connected to may not be connected to through a proxy either.
func TestProxyGuard(t *testing.T) {
	s := serve(t)

	p, err := proxy.Serve(t.Context(), proxy.Options{})
	check(t, err)
	t.Cleanup(p.Close)

	refused := errors.New("refused")
	_, port, err := net.SplitHostPort(s.ssh.Addr)
	check(t, err)

	s.secret.Data["known_hosts"] = []byte(strings.Replace(s.ssh.KnownHosts(), "127.0.0.1", "127.0.0.2", 1))

	err = s.list(t, "ssh://git@127.0.0.2:"+port+"/app.git", p.URL(), func(a netip.Addr) error {
		if a == netip.MustParseAddr("127.0.0.2") {
			return refused
		}

		return nil
	})
	if !errors.Is(err, refused) || len(p.Requests()) > 0 {
		t.Errorf("error: %v, requests %v", err, p.Requests())
	}

	if err := s.list(t, s.ssh.URL(s.repository), p.URL(), func(netip.Addr) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("error: %v", err)
	}
}

// What a proxy says is foreign input.
func TestBadProxies(t *testing.T) {
	s := serve(t)

	for name, tc := range map[string]struct{ says, want string }{
		"Garbage": {"hello\r\n\r\n", "the answer is not HTTP"},
		"Nothing": {"", "read answer: unexpected EOF"},
		"Endless": {strings.Repeat("x", 64<<10), "the head of the answer has no end"},
		"Refuses": {"HTTP/1.1 403 No Way secret\r\n\r\n", `the proxy answers "403 Forbidden"`},
		"Cut":     {"HTTP/1.1 200 OK\r\n", "read answer: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			check(t, err)
			t.Cleanup(func() { _ = l.Close() })

			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}

				b := make([]byte, 1<<10)
				_, _ = conn.Read(b)
				_, _ = conn.Write([]byte(tc.says))
				_ = conn.Close()
			}()

			err = s.list(t, s.ssh.URL(s.repository), "http://jane:pa55@"+l.Addr().String(), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "pa55") {
				t.Errorf("got:  %v\nwant: %s", err, tc.want)
			}
		})
	}
}

func TestSameServer(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"https://a/x", "https://a/y"}:              true,
		{"https://a/x", "https://A:443/y"}:          true,
		{"https://a:443/x", "https://a/y"}:          true,
		{"http://a/x", "https://a/y"}:               true,
		{"https://a/x", "http://a/y"}:               false,
		{"https://a/x", "https://a:444/y"}:          false,
		{"https://a/x", "https://b/y"}:              false,
		{"https://a/x", "https://a.b/y"}:            false,
		{"http://a:8080/x", "https://a:8080/y"}:     false,
		{"ssh://git@a/x", "ssh://jane@a:22/y"}:      true,
		{"ssh://git@a/x", "ssh://git@a:2222/y"}:     false,
		{"ssh://git@a/x", "https://a/y"}:            false,
		{"https://a/x", "ssh://a/y"}:                false,
		{"ssh://git@a:22/x", "ssh://git@a.evil/x"}:  false,
		{"https://u:p@a/x", "https://other:pw@a/x"}: true,
	} {
		from, err := transport.ParseURL(pair[0])
		check(t, err)
		to, err := transport.ParseURL(pair[1])
		check(t, err)

		if diff := cmp.Diff(want, transport.SameServer(from, to)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", pair, diff)
		}
	}
}
