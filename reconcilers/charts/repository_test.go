package charts_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/test/helmrepo"
	"github.com/weir-dev/weir/test/proxy"
)

func newRepositories(t testing.TB, change ...func(*charts.RepositoriesOptions)) *charts.Repositories {
	t.Helper()

	o := charts.RepositoriesOptions{Transports: &ingest.Transports{}, Dir: t.TempDir()}
	for _, c := range change {
		c(&o)
	}

	return charts.NewRepositories(o)
}

func serve(t testing.TB, o helmrepo.Options, versions ...string) *helmrepo.Server {
	t.Helper()

	s, err := helmrepo.Serve(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	for _, v := range versions {
		if err := s.Add(helmrepo.Chart("podinfo", v)); err != nil {
			t.Fatal(err)
		}
	}

	return s
}

// latest returns the index of a repository as it is now.
func latest(t testing.TB, r *charts.Repositories, a charts.RepositoryAccess) *charts.Index {
	t.Helper()

	x, release, err := r.Latest(t.Context(), a, r.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)

	return x
}

// noted remembers what requests for packages brought along.
type noted struct {
	mu    sync.Mutex
	users []string
}

func (n *noted) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, ".tgz") {
			user, _, _ := req.BasicAuth()

			n.mu.Lock()
			n.users = append(n.users, user)
			n.mu.Unlock()
		}

		h.ServeHTTP(w, req)
	})
}

// TestChartCredentials holds who gets to see the credentials of a repository.
func TestChartCredentials(t *testing.T) {
	const theirs = "THEIRS" // stands for the URL of another server, ours for that of the repository
	const ours = "OURS"

	cases := map[string]struct {
		reason string
		chart  string // URL in the index
		pass   bool
		want   []string // users that the server of the package saw
		query  string
	}{
		"Relative":    {reason: "A package beside the index.", chart: "podinfo-6.3.5.tgz", want: []string{"jane"}},
		"Rooted":      {reason: "A package elsewhere on the server.", chart: "/charts/podinfo-6.3.5.tgz", want: []string{"jane"}},
		"Absolute":    {reason: "A package on the server, by its whole URL.", chart: ours + "/podinfo-6.3.5.tgz", want: []string{"jane"}},
		"OtherHost":   {reason: "Another server gets nothing.", chart: theirs + "/podinfo-6.3.5.tgz", want: []string{""}},
		"PassOn":      {reason: "Unless that is wanted.", chart: theirs + "/podinfo-6.3.5.tgz", pass: true, want: []string{"jane"}},
		"Query":       {reason: "The query of the repository goes along.", chart: "podinfo-6.3.5.tgz", query: "?token=1", want: []string{"jane"}},
		"SchemeOnly":  {reason: "A URL may leave out the scheme.", chart: "//" + theirs + "/podinfo-6.3.5.tgz", want: []string{""}},
		"QueryElse":   {reason: "But not to another server.", chart: "//" + theirs + "/podinfo-6.3.5.tgz", query: "?token=1", want: []string{""}},
		"PassOnMyOwn": {reason: "What is passed on elsewhere is not lost at home.", chart: "podinfo-6.3.5.tgz", pass: true, want: []string{"jane"}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n := &noted{}
			other := serve(t, helmrepo.Options{Wrap: n.wrap}, "6.3.5")
			own := serve(t, helmrepo.Options{Username: "jane", Password: "secret", Wrap: n.wrap}, "6.3.5")

			chart := strings.ReplaceAll(tc.chart, "//"+theirs, strings.TrimPrefix(other.URL(), "http:"))
			chart = strings.NewReplacer(theirs, other.URL(), ours, own.URL()).Replace(chart)
			own.SetIndex([]byte(strings.ReplaceAll(string(own.Index()), "- podinfo-6.3.5.tgz", "- "+chart)))

			want, err := own.Package("podinfo", "6.3.5")
			if err != nil {
				t.Fatal(err)
			}

			if strings.Contains(tc.chart, theirs) { // packages hold the time at which they were made
				if want, err = other.Package("podinfo", "6.3.5"); err != nil {
					t.Fatal(err)
				}
			}

			r := newRepositories(t)
			a := charts.RepositoryAccess{URL: own.URL() + tc.query, Username: "jane", Password: "secret", PassCredentials: tc.pass}

			e, err := latest(t, r, a).Find("podinfo", "")
			if err != nil {
				t.Fatal(err)
			}

			e.Digest = ""

			got, err := r.FetchChart(t.Context(), a, e, 0)
			if err != nil || string(got) != string(want) {
				t.Errorf("%s\n%d bytes, %v", tc.reason, len(got), err)
			}

			if diff := cmp.Diff(tc.want, n.users); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			for _, req := range own.Requests() {
				if "?"+req.Query != tc.query && req.Query != "" {
					t.Errorf("%s\nquery %q", tc.reason, req.Query)
				}
			}

			for _, req := range other.Requests() {
				if req.Query != "" {
					t.Errorf("%s\nquery of another server %q", tc.reason, req.Query)
				}
			}
		})
	}
}

// TestChartCertificate holds who gets to see the certificate of a client.
func TestChartCertificate(t *testing.T) {
	cases := map[string]struct {
		reason   string
		redirect bool
		pass     bool
		want     int64 // certificates that the other server saw
	}{
		"Other":    {reason: "Another server sees none."},
		"Redirect": {reason: "However it came to be asked.", redirect: true},
		"Pass":     {reason: "Unless that is wanted.", pass: true, want: 1},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var saw atomic.Int64
			saw.Store(-1)

			other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				saw.Store(int64(len(req.TLS.PeerCertificates)))
				_, _ = io.WriteString(w, "chart")
			}))
			other.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
			other.StartTLS()
			t.Cleanup(other.Close)

			own := serve(t, helmrepo.Options{TLS: true, ClientAuth: true, Wrap: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if strings.HasSuffix(req.URL.Path, ".tgz") {
						http.Redirect(w, req, other.URL+"/x.tgz", http.StatusFound)

						return
					}

					h.ServeHTTP(w, req)
				})
			}}, "6.3.5")

			cert, key, err := own.ClientCertificate()
			if err != nil {
				t.Fatal(err)
			}

			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})

			certificates, err := secrets.ReadTLS(&corev1.Secret{Data: map[string][]byte{
				"ca.crt": append(ca, own.CA...), "tls.crt": cert, "tls.key": key,
			}}, false)
			if err != nil {
				t.Fatal(err)
			}

			if !tc.redirect {
				own.SetIndex([]byte(strings.ReplaceAll(string(own.Index()), "- podinfo-6.3.5.tgz", "- "+other.URL+"/x.tgz")))
			}

			r := newRepositories(t)
			a := charts.RepositoryAccess{URL: own.URL(), TLS: certificates, PassCredentials: tc.pass}

			e, err := latest(t, r, a).Find("podinfo", "")
			if err != nil {
				t.Fatal(err)
			}

			e.Digest = ""

			if got, err := r.FetchChart(t.Context(), a, e, 0); err != nil || string(got) != "chart" {
				t.Errorf("%s\n%q, %v", tc.reason, got, err)
			}

			if got := saw.Load(); got != tc.want {
				t.Errorf("%s\nthe other server saw %d certificates, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

func TestChartDigest(t *testing.T) {
	s := serve(t, helmrepo.Options{}, "6.3.5")
	r := newRepositories(t)
	a := charts.RepositoryAccess{URL: s.URL() + "/"}

	raw, err := s.Package("podinfo", "6.3.5")
	if err != nil {
		t.Fatal(err)
	}

	right := digest.FromBytes(raw)
	wrong := digest.FromString("x").Encoded()

	cases := map[string]struct {
		reason string
		digest string
		want   string
	}{
		"None":      {reason: "An index need not give one."},
		"Right":     {reason: "The right one is fine.", digest: right.Encoded()},
		"Upper":     {reason: "In capitals, too.", digest: strings.ToUpper(right.Encoded())},
		"Algorithm": {reason: "With its algorithm, too.", digest: right.String()},
		"Longer":    {reason: "Longer ones, too.", digest: digest.SHA512.FromBytes(raw).Encoded()},
		"Wrong": {
			reason: "The wrong one is not.", digest: wrong,
			want: "failed to fetch " + s.URL() + `/podinfo-6.3.5.tgz : digest mismatch: computed "` + right.String() +
				`", the index says "sha256:` + wrong + `"`,
		},
		"Odd": {
			reason: "What cannot be checked is none.", digest: "abc",
			want: "the index has a digest that cannot be checked: invalid checksum digest length",
		},
		"Unknown": {
			reason: "Nor is one of an unknown algorithm.", digest: "md5:abc",
			want: "the index has a digest that cannot be checked: unsupported digest algorithm",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := charts.Entry{Name: "podinfo", Version: "6.3.5", URLs: []string{"podinfo-6.3.5.tgz"}, Digest: tc.digest}

			got, err := r.FetchChart(t.Context(), a, e, 0)
			if fmt.Sprint(err) != fmt.Sprint(tc.want) && (err != nil || tc.want != "") {
				t.Errorf("%s\ngot %v, want %s", tc.reason, err, tc.want)
			}

			if err == nil && string(got) != string(raw) {
				t.Errorf("%s\ngot %d bytes", tc.reason, len(got))
			}

			if name == "Wrong" && !errors.Is(err, charts.ErrDigest) {
				t.Errorf("%s\n%v is no ErrDigest", tc.reason, err)
			}
		})
	}
}

func TestChartFails(t *testing.T) {
	s := serve(t, helmrepo.Options{}, "6.3.5")

	cases := map[string]struct {
		reason string
		urls   []string
		limit  int64
		want   string
	}{
		"NoURL":  {reason: "There may be no URL.", want: "chart 'podinfo' with version '6.3.5' has no downloadable URLs"},
		"Scheme": {reason: "Registries are reached otherwise.", urls: []string{"oci://x/y"}, want: "chart URL 'oci://x/y': the scheme is neither http nor https"},
		"BadURL": {reason: "A URL can be read.", urls: []string{"http://jane:sec ret@x/"}, want: "invalid chart URL: net/url: invalid userinfo"},
		"Gone":   {reason: "A package has to be there.", urls: []string{"x.tgz?secret"}, want: "failed to fetch " + s.URL() + "/x.tgz : 404 Not Found"},
		"Large": {
			reason: "A package is bounded.", urls: []string{"podinfo-6.3.5.tgz"}, limit: 10,
			want: "failed to fetch " + s.URL() + "/podinfo-6.3.5.tgz : the limit of 10 bytes per chart is exceeded",
		},
		"Outside": {
			reason: "A package may be anywhere on the server.", urls: []string{"../x.tgz"},
			want: "failed to fetch " + strings.TrimSuffix(s.URL(), "/charts") + "/x.tgz : 404 Not Found",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := newRepositories(t).FetchChart(t.Context(), charts.RepositoryAccess{URL: s.URL()},
				charts.Entry{Name: "podinfo", Version: "6.3.5", URLs: tc.urls}, tc.limit)
			if err == nil || err.Error() != tc.want {
				t.Errorf("%s\ngot %v\nwant %s", tc.reason, err, tc.want)
			}
		})
	}
}

// TestChartOnce holds that a package with a digest is fetched once for all who want it, and one without for all at a time.
func TestChartOnce(t *testing.T) {
	s := serve(t, helmrepo.Options{}, "6.3.5")
	r := newRepositories(t)
	a := charts.RepositoryAccess{URL: s.URL()}

	e, err := latest(t, r, a).Find("podinfo", "")
	if err != nil {
		t.Fatal(err)
	}

	before := len(s.Requests())

	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := r.FetchChart(t.Context(), a, e, 0); err != nil {
				t.Error(err)
			}
		})
	}

	all.Wait()

	if got := len(s.Requests()) - before; got != 1 {
		t.Errorf("%d requests", got)
	}

	// Somebody else has no right to it.
	if _, err := r.FetchChart(t.Context(), charts.RepositoryAccess{URL: s.URL(), Username: "x", Password: "y"}, e, 0); err != nil {
		t.Error(err)
	}

	e.Digest = ""
	for range 2 {
		if _, err := r.FetchChart(t.Context(), a, e, 0); err != nil {
			t.Error(err)
		}
	}

	if got := len(s.Requests()) - before; got != 4 {
		t.Errorf("%d requests", got)
	}
}

// TestIndexOnce holds that an artifact is read once for all who want it, however many and whenever.
func TestIndexOnce(t *testing.T) {
	const text = "apiVersion: v1\nentries:\n  a:\n  - {name: a, version: 1.0.0}\n"

	now := time.Unix(1000, 0)
	r := newRepositories(t, func(o *charts.RepositoriesOptions) { o.Now = func() time.Time { return now } })

	var opened atomic.Int64
	open := func() (io.ReadCloser, error) {
		opened.Add(1)

		return io.NopCloser(strings.NewReader(text)), nil
	}

	for range 3 {
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				x, release, err := r.Index(t.Context(), digest.FromString(text), open)
				if err != nil {
					t.Error(err)

					return
				}
				defer release()

				if _, err := x.Find("a", "*"); err != nil {
					t.Error(err)
				}
			})
		}

		all.Wait()
		now = now.Add(time.Minute)
	}

	if got := opened.Load(); got != 1 {
		t.Errorf("read %d times", got)
	}

	if _, _, err := r.Index(t.Context(), digest.FromString("x"), open); err == nil || !strings.HasPrefix(err.Error(), "digest mismatch") {
		t.Errorf("another content: %v", err)
	}

	if _, _, err := r.Index(t.Context(), digest.FromString("y"), func() (io.ReadCloser, error) {
		return nil, context.DeadlineExceeded
	}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no content: %v", err)
	}
}

func TestIndexURL(t *testing.T) {
	s := serve(t, helmrepo.Options{}, "6.3.5")
	base := strings.TrimSuffix(s.URL(), "/charts")

	cases := map[string]struct {
		reason      string
		url         string
		path, query string
	}{
		"Plain": {reason: "The index lies below the URL.", url: "/charts", path: "/charts/index.yaml"},
		"Slash": {reason: "A slash at its end is no difference.", url: "/charts/", path: "/charts/index.yaml"},
		"Root":  {reason: "There may be no path.", path: "/index.yaml"},
		"Query": {reason: "The query is kept.", url: "/charts?a=b&c", path: "/charts/index.yaml", query: "a=b&c"},
		"Coded": {reason: "What is escaped stays so.", url: "/a%2Fb/c%20d", path: "/a/b/c d/index.yaml"},
		"Mark":  {reason: "A fragment is nobody's business.", url: "/charts#x", path: "/charts/index.yaml"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := len(s.Requests())

			_, release, err := newRepositories(t).FetchIndex(t.Context(), charts.RepositoryAccess{URL: base + tc.url}, "", time.Now())
			if err == nil {
				release()
			}

			got := s.Requests()[before:]
			if len(got) != 1 || got[0].Path != tc.path || got[0].Query != tc.query {
				t.Errorf("%s\ngot %+v", tc.reason, got)
			}
		})
	}
}

// TestProxyOfUser holds that a proxy that the user names is used, with its credentials, and for nobody else.
func TestProxyOfUser(t *testing.T) {
	s := serve(t, helmrepo.Options{TLS: true}, "6.3.5")

	p, err := proxy.Serve(t.Context(), proxy.Options{Username: "jane", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)

	via, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}

	via.User = url.UserPassword("jane", "secret")

	certs, err := secrets.ReadTLS(&corev1.Secret{Data: map[string][]byte{"ca.crt": s.CA}}, false)
	if err != nil {
		t.Fatal(err)
	}

	r := newRepositories(t)
	latest(t, r, charts.RepositoryAccess{URL: s.URL(), TLS: certs, Proxy: via})
	latest(t, r, charts.RepositoryAccess{URL: s.URL(), TLS: certs})

	if diff := cmp.Diff([]proxy.Request{{Method: "CONNECT", Target: s.Addr, User: "jane"}}, p.Requests()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDownloadIsGivenBack holds that a download that somebody uses stays, and that waiting can be given up.
func TestDownloadIsGivenBack(t *testing.T) {
	s := serve(t, helmrepo.Options{}, "6.3.5")
	r := newRepositories(t, func(o *charts.RepositoriesOptions) { o.Moment = time.Nanosecond })
	a := charts.RepositoryAccess{URL: s.URL()}

	one, release, err := r.FetchIndex(t.Context(), a, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer release()

	s.Hang(true)

	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)

	if _, _, err := r.FetchIndex(ctx, a, "", time.Now()); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}

	raw, err := io.ReadAll(one.Reader())
	if err != nil || string(raw) != string(s.Index()) || one.Size != int64(len(raw)) || one.Digest != digest.FromBytes(raw) {
		t.Errorf("got %d bytes, %v", len(raw), err)
	}
}
