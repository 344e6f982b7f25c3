package git_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/source/git"
	"github.com/weir-dev/weir/test/gitserver"
)

func withSubmodules(s *sourcev1.GitRepositorySpec) { s.RecurseSubmodules = true }

// module is a submodule of a repository: where it says it is, and which commit.
type module struct{ path, url, commit string }

// superproject adds a commit with submodules to main, and some files.
func superproject(t *testing.T, r *gitserver.Repository, files map[string]string, modules ...module) string {
	t.Helper()

	change := gitserver.Change{Files: maps.Clone(files), Submodules: map[string]string{}}
	if change.Files == nil {
		change.Files = map[string]string{}
	}

	var b strings.Builder
	for i, m := range modules {
		fmt.Fprintf(&b, "[submodule \"m%d\"]\n\tpath = %s\n\turl = %s\n", i, m.path, m.url)
		change.Submodules[m.path] = m.commit
	}

	change.Files[".gitmodules"] = b.String()

	return commit(t, r, "main", change)
}

func TestSubmodules(t *testing.T) {
	w := newWorld(t)
	inner, lib, app := w.repository(t, "team/inner"), w.repository(t, "team/lib"), w.repository(t, "team/app")

	innerHash := commit(t, inner, "main", gitserver.Change{Files: map[string]string{"deep.yaml": "deep"}})
	superproject(t, lib, map[string]string{"lib.yaml": "lib", ".sourceignore": "/app.yaml\n"}, module{"nested", "../inner.git", innerHash})

	libHash := mustGit(t, lib, "rev-parse", "main")
	commit(t, lib, "main", gitserver.Change{Files: map[string]string{"lib.yaml": "newer"}})

	s := w.serve(t, gitserver.HTTPOptions{Username: "jane", Password: "secret"})
	w.secret("auth", map[string]string{"username": "jane", "password": "secret"})

	superproject(t, app, nil, module{"libs/relative", "../lib.git", libHash}, module{"libs/absolute", s.URL(inner), innerHash})
	commit(t, app, "main", gitserver.Change{Submodules: map[string]string{"unknown": libHash}}) // named in no file

	for name, given := range map[string]bool{"GivenByHash": true, "FoundInHistory": false} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []*gitserver.Repository{lib, inner} {
				check(t, r.Configure(t.Context(), "uploadpack.allowReachableSHA1InWant", fmt.Sprint(given)))
			}

			obj := object("app", s.URL(app), withSecret("auth"), withSubmodules)
			b := w.bench(t, obj)
			got := b.run(t, obj).Object
			expect(t, got, meta.ReadyCondition, "True Succeeded: ")

			want := []string{
				"app.yaml 600 a: 1\n", "libs/", "libs/absolute/", "libs/absolute/app.yaml 600 a: 1\n", "libs/absolute/deep.yaml 600 deep",
				"libs/relative/", "libs/relative/.sourceignore 600 /app.yaml\n", "libs/relative/lib.yaml 600 lib",
				"libs/relative/nested/", "libs/relative/nested/app.yaml 600 a: 1\n", "libs/relative/nested/deep.yaml 600 deep",
			}
			if diff := cmp.Diff(want, w.files(t, got.Status.Artifact)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}

			if !got.Status.ObservedRecurseSubmodules {
				t.Error("it is not observed")
			}

			// Nothing new costs nothing, and without submodules the artifact is another one.
			before := s.Counts()
			w.clock.Advance(5e9)

			if second := b.run(t, obj); len(second.Patches) > 0 || s.Counts().UploadPack != before.UploadPack {
				t.Errorf("%d patches, requests %+v, before %+v", len(second.Patches), s.Counts(), before)
			}

			b.update(t, obj, func(s *sourcev1.GitRepositorySpec) { s.RecurseSubmodules = false })

			if diff := cmp.Diff([]string{"app.yaml 600 a: 1\n", "libs/"}, w.files(t, b.run(t, obj).Object.Status.Artifact)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSparseSubmodules(t *testing.T) {
	w := newWorld(t)
	lib, app := w.repository(t, "lib"), w.repository(t, "app")
	hash := commit(t, lib, "main", gitserver.Change{Files: map[string]string{"deploy/x.yaml": "x", "docs/y.md": "y"}})
	superproject(t, app, nil, module{"lib", "../lib.git", hash}, module{"other", "https://nowhere.invalid/x.git", hash})

	obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(app), withSubmodules, func(s *sourcev1.GitRepositorySpec) {
		s.SparseCheckout = []string{"./lib/deploy"}
	})

	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.ReadyCondition, "True Succeeded: ")

	if diff := cmp.Diff([]string{"lib/", "lib/deploy/", "lib/deploy/x.yaml 600 x"}, w.files(t, got.Status.Artifact)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Credentials are for the server of the repository. A submodule on another one is asked for without them, and one that comes back
// from there as well.
func TestSubmoduleCredentials(t *testing.T) {
	w := newWorld(t)
	secret, lib, app := w.repository(t, "secret"), w.repository(t, "lib"), w.repository(t, "app")
	here := w.serve(t, gitserver.HTTPOptions{Username: "jane", Password: "secret"})

	var (
		mu     sync.Mutex
		leaked []string
	)

	there := w.serve(t, gitserver.HTTPOptions{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			mu.Lock()
			defer mu.Unlock()

			if v := req.Header.Get("Authorization"); v != "" {
				leaked = append(leaked, v)
			}

			h.ServeHTTP(rw, req)
		})
	}})
	w.secret("auth", map[string]string{"username": "jane", "password": "secret"})

	hash := commit(t, lib, "main", gitserver.Change{Files: map[string]string{"lib.yaml": "lib"}})
	superproject(t, app, nil, module{"lib", there.URL(lib), hash})

	obj := object("app", here.URL(app), withSecret("auth"), withSubmodules)
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")

	back := superproject(t, lib, nil, module{"back", here.URL(secret), mustGit(t, secret, "rev-parse", "main")})
	superproject(t, app, nil, module{"lib", there.URL(lib), back})
	w.clock.Advance(5e9)

	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.FetchFailedCondition, `True GitOperationFailed: failed to checkout and determine revision: unable to clone '`+
		here.URL(app)+`': `)

	if message := condition(got, meta.FetchFailedCondition); !strings.Contains(message, `submodule "lib/back": unable to clone '`+here.URL(secret)) {
		t.Error(message)
	}

	if len(leaked) > 0 {
		t.Error("credentials went to another server")
	}
}

func TestSubmodulesOverSSH(t *testing.T) {
	identity, public, err := gitserver.NewKey("")
	check(t, err)

	w := newWorld(t)
	lib, app := w.repository(t, "lib"), w.repository(t, "app")
	s, err := w.ServeSSH(t.Context(), gitserver.SSHOptions{Authorized: []ssh.PublicKey{public}, User: "jane"})
	check(t, err)
	t.Cleanup(s.Close)

	hash := mustGit(t, lib, "rev-parse", "main")
	superproject(t, app, nil, module{"relative", "../lib.git", hash}, module{"absolute", s.URL(lib), hash})
	w.secret("ssh", map[string]string{"identity": string(identity), "known_hosts": s.KnownHosts()})

	obj := object("app", s.URL(app), withSecret("ssh"), withSubmodules)
	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.ReadyCondition, "True Succeeded: ")

	want := []string{"absolute/", "absolute/app.yaml 600 a: 1\n", "app.yaml 600 a: 1\n", "relative/", "relative/app.yaml 600 a: 1\n"}
	if diff := cmp.Diff(want, w.files(t, got.Status.Artifact)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRefusedSubmodules(t *testing.T) {
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)

	limited := func(l git.SubmoduleLimits) func(*world) { return func(w *world) { w.remotes.Submodules = l } }

	cases := map[string]struct {
		reason string
		file   string // .gitmodules; HASH and LIB are replaced
		change func(*world)
		want   string
	}{
		"File":      {reason: "Files of this machine are not for tenants.", file: "[submodule \"x\"]\npath = lib\nurl = file:///etc\n", want: "the scheme is none of http, https and ssh"},
		"Local":     {reason: "Files of this machine are not for tenants.", file: "[submodule \"x\"]\npath = lib\nurl = /var/lib/x\n", want: "the URL is none of HTTP and SSH"},
		"Command":   {reason: "No command is run.", file: "[submodule \"x\"]\npath = lib\nurl = ext::sh -c id\n", want: "the URL is none of HTTP and SSH"},
		"Option":    {reason: "No option is passed on.", file: "[submodule \"x\"]\npath = lib\nurl = --upload-pack=id\n", want: "the URL is none of HTTP and SSH"},
		"Above":     {reason: "A relative URL stays on the server.", file: "[submodule \"x\"]\npath = lib\nurl = ../../../x\n", want: "the URL leads above the root of the server"},
		"Inside":    {reason: "A relative URL goes up at its beginning.", file: "[submodule \"x\"]\npath = lib\nurl = ./a/../../../x\n", want: "the URL leads up within itself"},
		"OtherSSH":  {reason: "Another server has no use for the key.", file: "[submodule \"x\"]\npath = lib\nurl = git@example.com:x/y.git\n", want: "'ssh://example.com/x/y.git': invalid 'ssh' auth option: there is no 'identity'"},
		"Path":      {reason: "Paths stay in the tree.", file: "[submodule \"x\"]\npath = /lib\nurl = LIB\n", want: `path "/lib" of a submodule is not allowed`},
		"Name":      {reason: "A submodule has a name.", file: "[submodule \"\"]\npath = lib\nurl = LIB\n", want: `".gitmodules" cannot be read`},
		"Twice":     {reason: "It has to be clear which one is meant.", file: "[submodule \"x\"]\npath = lib\nurl = LIB\n[submodule \"y\"]\npath = lib\nurl = LIB\n", want: `two submodules for "lib"`},
		"Garbage":   {reason: "The file has to be readable.", file: "[submodule\n", want: `".gitmodules" cannot be read`},
		"Large":     {reason: "The file has its bounds.", file: strings.Repeat("#", 300<<10), want: `".gitmodules" has more than 262144 bytes`},
		"NotThere":  {reason: "The repository has to be there.", file: "[submodule \"x\"]\npath = lib\nurl = " + elsewhere.URL + "/x.git\n", want: "unable to clone '" + elsewhere.URL + "/x.git': repository not found"},
		"NotInRepo": {reason: "The commit has to be in it.", file: "[submodule \"x\"]\npath = other\nurl = LIB\n", want: `commit "1111111111111111111111111111111111111111" is in no branch and no tag`},
		"Count": {
			reason: "There are so many at most.", file: "[submodule \"x\"]\npath = lib\nurl = LIB\n",
			change: limited(git.SubmoduleLimits{Count: -1}), want: "there are more than -1 submodules",
		},
		"Depth": {
			reason: "They lie so deep at most.", file: "[submodule \"x\"]\npath = lib\nurl = LIB\n",
			change: limited(git.SubmoduleLimits{Depth: -1}), want: "more than -1 submodules lie in each other",
		},
		"Bytes": {
			reason: "They have so many bytes at most.", file: "[submodule \"x\"]\npath = lib\nurl = LIB\n",
			change: limited(git.SubmoduleLimits{Bytes: 10}), want: "the packs of all submodules have more than 10 bytes",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tc.change != nil {
				tc.change(w)
			}

			lib, app := w.repository(t, "lib"), w.repository(t, "app")
			s := w.serve(t, gitserver.HTTPOptions{})
			commit(t, app, "main", gitserver.Change{
				Files:      map[string]string{".gitmodules": strings.ReplaceAll(tc.file, "LIB", s.URL(lib))},
				Submodules: map[string]string{"lib": mustGit(t, lib, "rev-parse", "main"), "other": strings.Repeat("1", 40)},
			})

			obj := object("app", s.URL(app), withSubmodules)
			got := w.bench(t, obj).run(t, obj).Object
			expect(t, got, meta.FetchFailedCondition, "True GitOperationFailed: ")

			if message := condition(got, meta.FetchFailedCondition); !strings.Contains(message, tc.want) || got.Status.Artifact != nil {
				t.Errorf("%s\ngot:  %s\nwant: %s", tc.reason, message, tc.want)
			}
		})
	}
}

// Names and paths that lead out of something belong to no submodule.
func TestClimbingModules(t *testing.T) {
	for name, file := range map[string]string{
		"Path": "[submodule \"x\"]\npath = ../lib\nurl = file:///etc\n", "Name": "[submodule \"../x\"]\npath = lib\nurl = file:///etc\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			app := w.repository(t, "app")
			commit(t, app, "main", gitserver.Change{
				Files: map[string]string{".gitmodules": file}, Submodules: map[string]string{"lib": strings.Repeat("1", 40)},
			})

			obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(app), withSubmodules)
			got := w.bench(t, obj).run(t, obj).Object
			expect(t, got, meta.ReadyCondition, "True Succeeded: ")

			if diff := cmp.Diff([]string{"app.yaml 600 a: 1\n"}, w.files(t, got.Status.Artifact)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A file of submodules that is a link is not followed: it could be any file of the tree.
func TestLinkedModulesFile(t *testing.T) {
	w := newWorld(t)
	app := w.repository(t, "app")
	commit(t, app, "main", gitserver.Change{
		Files:      map[string]string{"modules": "[submodule \"x\"]\npath = lib\nurl = file:///etc\n"},
		Symlinks:   map[string]string{".gitmodules": "modules"},
		Submodules: map[string]string{"lib": strings.Repeat("1", 40)},
	})

	obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(app), withSubmodules)
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")
}
