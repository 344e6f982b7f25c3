package git_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/test/gitserver"
)

func duration(s string) *metav1.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return nil
	}

	return &metav1.Duration{Duration: d}
}

func TestHangingServers(t *testing.T) {
	identity, public, err := gitserver.NewKey("")
	check(t, err)

	w := newWorld(t)
	r := w.repository(t, "app")
	overHTTP := w.serve(t, gitserver.HTTPOptions{})
	overSSH, err := w.ServeSSH(t.Context(), gitserver.SSHOptions{Authorized: []ssh.PublicKey{public}})
	check(t, err)
	t.Cleanup(overSSH.Close)

	overHTTP.Hang(true)
	overSSH.Hang(true)
	w.secret("ssh", map[string]string{"identity": string(identity), "known_hosts": overSSH.KnownHosts(), "username": "x"})

	for name, obj := range map[string]*sourcev1.GitRepository{
		"HTTP": object("app", strings.Replace(overHTTP.URL(r), "://", "://jane:secret@", 1), withTimeout("50ms")),
		"SSH":  object("app", overSSH.URL(r), withTimeout("50ms"), withSecret("ssh")),
	} {
		t.Run(name, func(t *testing.T) {
			got := w.bench(t, obj).run(t, obj)
			shown := ingest.Redact(obj.Spec.URL)

			expect(t, got.Object, meta.FetchFailedCondition, "True GitOperationFailed: failed to checkout and determine "+
				"revision: unable to list remote for '"+shown+"': timed out after 50ms")
			expect(t, got.Object, meta.ReadyCondition, "False GitOperationFailed: ")
			expect(t, got.Object, meta.ReconcilingCondition, "True ProgressingWithRetry: ")

			if got.Object.Status.ObservedGeneration == 1 || got.Result.RequeueAfter == 0 {
				t.Errorf("observed generation %d, result %+v", got.Object.Status.ObservedGeneration, got.Result)
			}
		})
	}
}

// A server may answer the listing and hang on the pack.
func TestHangingPack(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodPost {
				<-req.Context().Done()

				return
			}

			h.ServeHTTP(rw, req)
		})
	}})
	// Another object sees to it that the references are known: only the pack can be late.
	other := object("other", s.URL(r), withRef(sourcev1.GitRepositoryRef{Branch: "nowhere"}))
	obj := object("app", s.URL(r), withTimeout("200ms"))
	b := w.bench(t, other, obj)
	b.run(t, other)

	got := b.run(t, obj).Object
	expect(t, got, meta.FetchFailedCondition, "True GitOperationFailed: failed to checkout and determine revision: "+
		"unable to clone '"+s.URL(r)+"': timed out after 200ms")
}

func TestServersInTrouble(t *testing.T) {
	answer := func(status int, contentType, body string) func(http.Handler) http.Handler {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", contentType)
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			})
		}
	}
	smart := "application/x-git-upload-pack-advertisement"

	cases := map[string]struct {
		reason string
		wrap   func(http.Handler) http.Handler
		want   string
	}{
		"NotFound":  {reason: "A repository has to be there.", wrap: answer(404, "text/html", "gone"), want: "repository not found: 404 Not Found"},
		"Forbidden": {reason: "Credentials have to be right.", wrap: answer(403, "text/html", "no"), want: "authentication required or credentials are wrong: 403 Forbidden"},
		"Error":     {reason: "A server may be in trouble.", wrap: answer(503, "text/html", "later"), want: `the server answers "503 Service Unavailable"`},
		"Page":      {reason: "A web page is no repository.", wrap: answer(200, "text/html", "<html>"), want: "the server does not speak the smart protocol of Git"},
		"Nothing":   {reason: "No answer is none.", wrap: answer(200, smart, ""), want: "the server hung up without an answer"},
		"Garbage":   {reason: "Garbage is no answer.", wrap: answer(200, smart, "zzzz"), want: "read references: "},
		"Words": {
			reason: "The server's words are passed on.", wrap: answer(200, smart, "001eERR access denied to team\n"),
			want: `the server says "access denied to team"`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.serve(t, gitserver.HTTPOptions{Wrap: tc.wrap})
			obj := object("app", s.URL(w.repository(t, "app")))

			got := condition(w.bench(t, obj).run(t, obj).Object, meta.FetchFailedCondition)
			if !strings.Contains(got, tc.want) || !strings.Contains(got, s.Addr) {
				t.Errorf("%s\ngot:  %s\nwant: %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestEmptyRepository(t *testing.T) {
	w := newWorld(t)
	r, err := w.Create(t.Context(), "empty")
	check(t, err)

	obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r))
	b := w.bench(t, obj)

	got := b.run(t, obj)
	expect(t, got.Object, meta.FetchFailedCondition, "True EmptyGitRepository: git repository is empty")
	expect(t, got.Object, meta.ReadyCondition, "False EmptyGitRepository: git repository is empty")

	if got.Result.RequeueAfter == 0 {
		t.Error("it is not tried again")
	}

	commit(t, r, "main", gitserver.Change{Files: map[string]string{"a": "a"}})
	w.clock.Advance(time.Minute)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")
}

func TestRefusedContent(t *testing.T) {
	large := strings.Repeat("\x00", 1<<20)

	cases := map[string]struct {
		reason  string
		change  gitserver.Change
		filters bool
		ignore  *string
		typ     string
		want    string
	}{
		"LinkOut": {
			reason: "A link out of the tree is named.",
			change: gitserver.Change{Symlinks: map[string]string{"apps/passwd": "../../../etc/passwd"}},
			typ:    meta.StorageOperationFailedCondition,
			want:   `"apps/passwd": the symbolic link leads out of the tree: "../../../etc/passwd"`,
		},
		"LinkOutIgnored": {
			reason: "Ignore rules leave it out.",
			change: gitserver.Change{Symlinks: map[string]string{"apps/passwd": "/etc/passwd"}},
			ignore: new("/apps/passwd"),
		},
		"LinkIn": {
			reason: "A link that stays inside is passed over.",
			change: gitserver.Change{Symlinks: map[string]string{"apps/link": "../app.yaml"}},
		},
		"Submodule": {
			reason: "Sub-modules are passed over.",
			change: gitserver.Change{Submodules: map[string]string{"lib": strings.Repeat("1", 40)}},
		},
		"Large": {
			reason: "A file that is too large is named as well as it can be.",
			change: gitserver.Change{Files: map[string]string{"disk/huge.img": large, "z.txt": "z"}},
			typ:    meta.FetchFailedCondition,
			want:   `one of "disk/huge.img", "z.txt": the limit of 65536 bytes per file is exceeded`,
		},
		"LargeFiltered": {
			reason: "A server that leaves out large files tells which one it is.",
			change: gitserver.Change{Files: map[string]string{"disk/huge.img": large, "z.txt": "z"}}, filters: true,
			typ:  meta.FetchFailedCondition,
			want: `': "disk/huge.img": the limit of 65536 bytes per file is exceeded`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.remotes.Limits.FileBytes = 64 << 10
			r := w.repository(t, "app")
			commit(t, r, "main", tc.change)

			if tc.filters {
				check(t, r.Configure(t.Context(), "uploadpack.allowFilter", "true"))
			}

			obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r), func(s *sourcev1.GitRepositorySpec) {
				s.Ignore = tc.ignore
			})

			got := w.bench(t, obj).run(t, obj).Object
			if tc.want == "" {
				expect(t, got, meta.ReadyCondition, "True Succeeded: ")

				if diff := cmp.Diff("app.yaml 600 a: 1\n", w.files(t, got.Status.Artifact)[0]); diff != "" {
					t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
				}

				return
			}

			expect(t, got, meta.ReadyCondition, "False ")

			if message := condition(got, tc.typ); !strings.Contains(message, tc.want) {
				t.Errorf("%s\ngot:  %s\nwant: %s", tc.reason, message, tc.want)
			}
		})
	}
}

func TestArtifactLimits(t *testing.T) {
	w := newWorld(t)
	w.limits.Bytes = 100
	r := w.repository(t, "app")
	commit(t, r, "main", gitserver.Change{Files: map[string]string{"b": strings.Repeat("b", 100)}})

	obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r))
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.StorageOperationFailedCondition, "True ArchiveOperationFailed: "+
		"failed to archive commit: ")
}

func TestMissingSparseDirectory(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r), func(s *sourcev1.GitRepositorySpec) {
		s.SparseCheckout = []string{"nowhere"}
	})

	for _, submodules := range []bool{false, true} {
		obj.Spec.RecurseSubmodules = submodules

		got := w.bench(t, obj.DeepCopy()).run(t, obj).Object
		expect(t, got, meta.ReadyCondition, "False GitOperationFailed: failed to sparse checkout directories : ")
		expect(t, got, meta.FetchFailedCondition, "True GitOperationFailed: failed to sparse checkout directories : ")
	}
}

func TestRefusedAddress(t *testing.T) {
	w := newWorld(t)
	w.remotes.Transports.Allow = func(a netip.Addr) error {
		if a.IsLoopback() {
			return ingest.RefuseLinkLocal(netip.MustParseAddr("169.254.169.254"))
		}

		return nil
	}
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r))

	got := condition(w.bench(t, obj).run(t, obj).Object, meta.FetchFailedCondition)
	if !strings.Contains(got, "is link-local") || s.Counts() != (gitserver.Counts{}) {
		t.Errorf("%s, requests %+v", got, s.Counts())
	}
}
