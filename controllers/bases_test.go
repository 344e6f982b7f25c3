package controllers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/test/gitserver"
)

// place is where remote bases lie: a Git server and an HTTPS server. It remembers who came with credentials.
type place struct {
	git     string // URL of the repository
	files   string // URL of the files
	hash    string // of the first commit
	repo    *gitserver.Repository
	fetcher *bases

	mu          sync.Mutex
	credentials []string
	stop        func() // called when somebody asks for /slow.yaml
}

func baseConfigMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}

func (p *place) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
			if r.Header.Get(name) != "" {
				p.credentials = append(p.credentials, r.URL.Path)
			}
		}
		p.mu.Unlock()

		next.ServeHTTP(w, r)
	})
}

func (p *place) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/all.yaml":
		_, _ = w.Write([]byte(baseConfigMap("all")))
	case "/big.yaml":
		_, _ = w.Write([]byte(baseConfigMap("big") + "# " + strings.Repeat("x", build.DefaultMaxFileSize)))
	case "/moved.yaml":
		http.Redirect(w, r, "/all.yaml", http.StatusFound)
	case "/slow.yaml":
		p.stop()
		<-r.Context().Done()
	default:
		http.NotFound(w, r)
	}
}

func newPlace(t *testing.T) *place {
	t.Helper()

	ctx := context.Background()
	p := &place{}

	all, err := gitserver.NewRepositories(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	if p.repo, err = all.Create(ctx, "org/repo"); err != nil {
		t.Fatal(err)
	}

	p.hash = p.commit(t, "first")

	server, err := all.ServeHTTP(ctx, gitserver.HTTPOptions{Wrap: p.watch})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(server.Close)

	files := httptest.NewTLSServer(p.watch(http.HandlerFunc(p.serve)))
	t.Cleanup(files.Close)

	roots := x509.NewCertPool()
	roots.AddCert(files.Certificate())

	transports := &ingest.Transports{Allow: ingest.RefuseLinkLocal}

	p.git, p.files = strings.TrimSuffix(server.URL(p.repo), ".git"), files.URL

	if p.fetcher, err = newBases(transports, ingest.Route{ID: "test", TLS: func() (*tls.Config, error) {
		return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
	}}); err != nil {
		t.Fatal(err)
	}

	return p
}

// commit changes the object in the repository.
func (p *place) commit(t *testing.T, name string) string {
	t.Helper()

	hash, err := p.repo.Commit(context.Background(), "main", name, gitserver.Change{Files: map[string]string{
		"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": baseConfigMap(name),
		"over/kustomization.yaml": "namePrefix: over-\nresources: [../base]\n",
	}})
	if err != nil {
		t.Fatal(err)
	}

	return hash
}

func names(t *testing.T, b *build.Builder, ctx context.Context, ref string) ([]string, error) { //nolint:revive // the test comes first
	t.Helper()

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("resources: ['"+ref+"']\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	set, err := b.Build(ctx, build.Request{Dir: dir, Digest: "sha256:" + ref})
	if err != nil {
		return nil, err //nolint:wrapcheck // it is looked at
	}

	var all []string
	for _, u := range set.Objects {
		all = append(all, u.GetName())
	}

	return all, nil
}

func TestBases(t *testing.T) {
	p := newPlace(t)
	if err := p.repo.Tag(context.Background(), "v1", p.hash, ""); err != nil {
		t.Fatal(err)
	}

	if err := p.repo.Tag(context.Background(), "v1-annotated", p.hash, "a tag"); err != nil {
		t.Fatal(err)
	}

	second := p.commit(t, "second")

	cases := map[string]struct {
		reason, ref string
		want        []string
		err         string
	}{
		"Default":   {"The default branch counts.", p.git + ".git//base", []string{"second"}, ""},
		"Branch":    {"A branch by its name.", p.git + ".git//over?ref=main", []string{"over-second"}, ""},
		"Tag":       {"A tag by its name.", p.git + ".git//over?ref=v1", []string{"over-first"}, ""},
		"Annotated": {"A tag with a message.", p.git + ".git//base?ref=v1-annotated", []string{"first"}, ""},
		"Commit":    {"A commit by its hash.", p.git + ".git//base?ref=" + p.hash, []string{"first"}, ""},
		"Latest":    {"Also the latest.", p.git + ".git//base?version=" + second, []string{"second"}, ""},
		"FullRef":   {"A reference in full.", p.git + ".git//base?ref=refs/heads/main", []string{"second"}, ""},
		"NoRef":     {"A version that is not there is named.", p.git + ".git//base?ref=v9", nil, `no tag, branch or commit "v9"`},
		"NoRepo":    {"So is a repository.", strings.Replace(p.git, "repo", "gone", 1) + ".git//base", nil, "not found"},
		"NoDir":     {"And a directory.", p.git + ".git//gone", nil, `"gone" in the repository: file does not exist`},
		"File":      {"A file over HTTPS.", p.files + "/all.yaml", []string{"all"}, ""},
		"Redirect":  {"Through a redirect.", p.files + "/moved.yaml", []string{"all"}, ""},
		"NoFile":    {"What the server says is told.", p.files + "/gone.yaml", nil, `the server answers "404 Not Found"`},
		"Big":       {"A file has a limit.", p.files + "/big.yaml", nil, "limit"},
		"Metadata":  {"The guard holds for files.", "http://169.254.169.254/latest.yaml", nil, "link-local"},
		"GitGuard":  {"And for repositories.", "http://169.254.169.254/org/repo?ref=main", nil, "link-local"},
		"Proxied":   {"A password is none of ours.", strings.Replace(p.git, "://", "://me:s3cret@", 1) + "?ref=v1", nil, "must not hold a password"},
	}

	b := build.New(build.Options{Fetcher: p.fetcher})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := names(t, b, context.Background(), tc.ref)

			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%s\nBuild(): error %v, want one with %q", tc.reason, err, tc.err)
				}

				return
			}

			if err != nil {
				t.Fatalf("%s\nBuild(): %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nBuild(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}

	if len(p.credentials) > 0 {
		t.Errorf("credentials were sent to %q", p.credentials)
	}
}

// What is fetched is fetched again by the next build, though the artifact is the same.
func TestBasesMoveOn(t *testing.T) {
	p := newPlace(t)
	ref := p.git + ".git//base"

	for _, want := range []string{"first", "second"} {
		// A listing counts for a moment, so that each has a view of its own.
		f, err := newBases(&ingest.Transports{}, ingest.Route{})
		if err != nil {
			t.Fatal(err)
		}

		got, err := names(t, build.New(build.Options{Fetcher: f}), context.Background(), ref)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("Build(): %q, %v, want %q", got, err, want)
		}

		p.commit(t, "second")
	}
}

// A server that does not answer ends with the context of the build.
func TestSlowBase(t *testing.T) {
	p := newPlace(t)
	why := errors.New("a new revision came")

	ctx, cancel := context.WithCancelCause(context.Background())
	p.stop = func() { cancel(why) }

	_, err := names(t, build.New(build.Options{Fetcher: p.fetcher}), ctx, p.files+"/slow.yaml")
	if !errors.Is(err, why) {
		t.Errorf("Build(): error %v, want %v", err, why)
	}
}

func TestRemoteBasesOption(t *testing.T) {
	for _, on := range []bool{false, true} {
		p := &Process{Options: Options{Kustomizations: KustomizationOptions{RemoteBases: on}}}

		f, err := p.remoteBases()
		if err != nil || (f != nil) != on {
			t.Errorf("remoteBases(): %v, %v, want one: %v", f, err, on)
		}
	}
}

// TestRemoteBasesOfThisMachine holds that no file makes the process ask itself, or what else listens on its machine only.
func TestRemoteBasesOfThisMachine(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(server.Close)

	p := &Process{Options: Options{Kustomizations: KustomizationOptions{RemoteBases: true}}}

	f, err := p.remoteBases()
	if err != nil {
		t.Fatal(err)
	}

	_, err = f.File(t.Context(), server.URL+"/a.yaml", 1<<10)
	_, err2 := f.Repository(t.Context(), server.URL+"/a.git", "")

	for _, err := range []error{err, err2} {
		if err == nil || !strings.Contains(err.Error(), "is this machine") {
			t.Errorf("error is %v, want that it is this machine", err)
		}
	}

	if asked {
		t.Error("the machine was asked")
	}
}
