package gitserver_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/weir-dev/weir/test/gitserver"
)

func repository(t *testing.T) (*gitserver.Repositories, *gitserver.Repository) {
	t.Helper()

	all, err := gitserver.NewRepositories(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	r, err := all.Create(t.Context(), "team/app")
	if err != nil {
		t.Fatal(err)
	}

	return all, r
}

func commit(t *testing.T, r *gitserver.Repository, branch string, c gitserver.Change) string {
	t.Helper()

	hash, err := r.Commit(t.Context(), branch, "Change files", c)
	if err != nil {
		t.Fatal(err)
	}

	return hash
}

// clone clones the URL with the program git and returns the files of the work tree.
func clone(t *testing.T, url string, env ...string) (map[string]string, error) {
	t.Helper()

	dir := filepath.Join(t.TempDir(), "clone")
	cmd := exec.CommandContext(t.Context(), "git", "clone", "--quiet", url, dir)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
	}, env...)

	if err := cmd.Run(); err != nil {
		return nil, err
	}

	files := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		switch {
		case err != nil:
			return err
		case rel == ".git":
			return filepath.SkipDir
		case e.Type().IsRegular():
			b, err := os.ReadFile(p)
			files[rel] = string(b)

			return err
		}

		return nil
	})

	return files, err
}

func TestCommit(t *testing.T) {
	all, r := repository(t)

	first := commit(t, r, "main", gitserver.Change{
		Files:       map[string]string{"a.yaml": "a: 1\n", "dir/b \"quoted\".txt": "b", "gone/c": "c"},
		Executables: map[string]string{"run.sh": "#!/bin/sh\n"},
	})
	second := commit(t, r, "main", gitserver.Change{
		Files: map[string]string{"a.yaml": "a: 2\n"}, Symlinks: map[string]string{"link": "a.yaml"}, Remove: []string{"gone"},
	})

	if err := r.Tag(t.Context(), "v1.0.0", first, "The first"); err != nil {
		t.Fatal(err)
	}

	s, err := all.ServeHTTP(t.Context(), gitserver.HTTPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	files, err := clone(t, s.URL(r))
	if err != nil {
		t.Fatal(err)
	}

	want := map[string]string{"a.yaml": "a: 2\n", "dir/b \"quoted\".txt": "b", "run.sh": "#!/bin/sh\n"}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if got, _ := r.Git(t.Context(), "rev-parse", "v1.0.0^{commit}", "main"); got != first+"\n"+second {
		t.Errorf("tag and branch are %q", got)
	}

	if got := s.Counts(); got.InfoRefs != 1 || got.UploadPack < 1 {
		t.Errorf("unexpected requests: %+v", got)
	}
}

func TestSameInputSameHash(t *testing.T) {
	change := gitserver.Change{Files: map[string]string{"a": "1"}}
	_, one := repository(t)
	_, two := repository(t)

	if a, b := commit(t, one, "main", change), commit(t, two, "main", change); a != b {
		t.Errorf("hashes differ: %s, %s", a, b)
	}
}

func TestHTTPAuthentication(t *testing.T) {
	cases := map[string]struct {
		reason  string
		options gitserver.HTTPOptions
		url     func(string) string
		env     []string
		ok      bool
	}{
		"Basic": {
			reason:  "The right user name and password are let in.",
			options: gitserver.HTTPOptions{Username: "jane", Password: "secret"},
			url:     func(u string) string { return strings.Replace(u, "://", "://jane:secret@", 1) },
			ok:      true,
		},
		"BasicWrong": {
			reason:  "A wrong password is not.",
			options: gitserver.HTTPOptions{Username: "jane", Password: "secret"},
			url:     func(u string) string { return strings.Replace(u, "://", "://jane:guess@", 1) },
		},
		"Bearer": {
			reason:  "The right token is let in.",
			options: gitserver.HTTPOptions{Token: "t0ken"},
			env: []string{
				"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader",
				"GIT_CONFIG_VALUE_0=Authorization: Bearer t0ken",
			},
			ok: true,
		},
		"BearerMissing": {
			reason:  "No token is not.",
			options: gitserver.HTTPOptions{Token: "t0ken"},
		},
		"UntrustedAuthority": {
			reason:  "A client that does not know the authority does not connect.",
			options: gitserver.HTTPOptions{TLS: true},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all, r := repository(t)
			commit(t, r, "main", gitserver.Change{Files: map[string]string{"a": "1"}})

			s, err := all.ServeHTTP(t.Context(), tc.options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)

			url := s.URL(r)
			if tc.url != nil {
				url = tc.url(url)
			}

			if _, err := clone(t, url, tc.env...); (err == nil) != tc.ok {
				t.Errorf("%s\nclone: %v", tc.reason, err)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	all, r := repository(t)
	commit(t, r, "main", gitserver.Change{Files: map[string]string{"a": "1"}})

	s, err := all.ServeHTTP(t.Context(), gitserver.HTTPOptions{TLS: true, ClientAuth: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	cert, key, err := s.ClientCertificate()
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	for name, content := range map[string][]byte{"ca": s.CA, "cert": cert, "key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := clone(t, s.URL(r), "GIT_SSL_CAINFO="+filepath.Join(dir, "ca")); err == nil {
		t.Error("a client without a certificate was let in")
	}

	if _, err := clone(t, s.URL(r), "GIT_SSL_CAINFO="+filepath.Join(dir, "ca"),
		"GIT_SSL_CERT="+filepath.Join(dir, "cert"), "GIT_SSL_KEY="+filepath.Join(dir, "key")); err != nil {
		t.Errorf("a client with a certificate was not let in: %v", err)
	}
}

func TestHang(t *testing.T) {
	all, r := repository(t)

	arrived := make(chan struct{})
	s, err := all.ServeHTTP(t.Context(), gitserver.HTTPOptions{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			close(arrived)
			h.ServeHTTP(w, req)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}

	s.Hang(true)

	done := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL(r)+"/info/refs", nil)

		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()

	<-arrived
	s.Close()

	if err := <-done; err == nil {
		t.Error("a hanging server answered")
	}
}

func TestSSH(t *testing.T) {
	all, r := repository(t)
	hash := commit(t, r, "main", gitserver.Change{Files: map[string]string{"a": "1"}})

	identity, public, err := gitserver.NewKey("")
	if err != nil {
		t.Fatal(err)
	}

	s, err := all.ServeSSH(t.Context(), gitserver.SSHOptions{Authorized: []ssh.PublicKey{public}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	client := dial(t, s, identity)

	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}

	session.Stdin = strings.NewReader("0000")

	out, err := session.Output("git-upload-pack '/" + r.Path + "'")
	if err != nil {
		t.Fatal(err)
	}

	if !strings.Contains(string(out), hash+" refs/heads/main") {
		t.Errorf("references do not show the branch: %q", out)
	}

	if got, want := s.Counts(), (gitserver.Counts{InfoRefs: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSSHUnknownKey(t *testing.T) {
	all, _ := repository(t)

	s, err := all.ServeSSH(t.Context(), gitserver.SSHOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	identity, _, err := gitserver.NewKey("")
	if err != nil {
		t.Fatal(err)
	}

	if _, err := ssh.Dial("tcp", s.Addr, config(t, s, identity)); err == nil {
		t.Error("an unknown key was let in")
	}
}

func dial(t *testing.T, s *gitserver.SSH, identity []byte) *ssh.Client {
	t.Helper()

	client, err := ssh.Dial("tcp", s.Addr, config(t, s, identity))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })

	return client
}

func config(t *testing.T, s *gitserver.SSH, identity []byte) *ssh.ClientConfig {
	t.Helper()

	signer, err := ssh.ParsePrivateKey(identity)
	if err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(s.KnownHosts()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	callback, err := knownhosts.New(file)
	if err != nil {
		t.Fatal(err)
	}

	return &ssh.ClientConfig{User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: callback}
}
