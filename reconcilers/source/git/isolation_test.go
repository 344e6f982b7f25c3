package git_test

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

// Who serves a commit of a tree that somebody else has stored gets nothing that they did not serve.
func TestTreeHashOpensNothing(t *testing.T) {
	w := newWorld(t)
	private := w.repository(t, "private")
	s := w.serve(t, gitserver.HTTPOptions{})
	owner := object("owner", s.URL(private))
	hash := strings.TrimSpace(mustGit(t, private, "rev-parse", "main"))

	thief := httptest.NewServer(onlyCommit(t, private, hash))
	t.Cleanup(thief.Close)

	obj := object("thief", thief.URL+"/r.git")
	b := w.bench(t, owner, obj)
	expect(t, b.run(t, owner).Object, meta.ReadyCondition, "True Succeeded: ")

	got := b.run(t, obj).Object
	if got.Status.Artifact != nil {
		t.Errorf("the artifact of somebody else was given away: %v", w.files(t, got.Status.Artifact))
	}

	expect(t, got, meta.StorageOperationFailedCondition, "True ArchiveOperationFailed: failed to archive commit: ")
}

// onlyCommit serves a commit without its files.
func onlyCommit(t *testing.T, r *gitserver.Repository, hash string) http.Handler {
	t.Helper()

	c := exec.CommandContext(t.Context(), "git", "-C", r.Dir, "pack-objects", "--stdout", "--quiet")
	c.Stdin = strings.NewReader(hash + "\n")

	pack, err := c.Output()
	check(t, err)

	line := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			_, _ = fmt.Fprintf(w, "%s%s", line("NAK\n"), pack)

			return
		}

		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = fmt.Fprint(w, line("# service=git-upload-pack\n"), "0000", line(hash+" refs/heads/main\x00ofs-delta\n"), "0000")
	})
}

func mustGit(t *testing.T, r *gitserver.Repository, args ...string) string {
	t.Helper()

	out, err := r.Git(t.Context(), args...)
	check(t, err)

	return out
}

// What the status says is no reason to touch the artifact of somebody else: people may write statuses.
func TestArtifactOfSomebodyElse(t *testing.T) {
	w := newWorld(t)
	s := w.serve(t, gitserver.HTTPOptions{})
	owner, other := object("owner", s.URL(w.repository(t, "a"))), object("other", s.URL(w.repository(t, "b")))
	b := w.bench(t, owner, other)
	kept := b.run(t, owner).Object.Status.Artifact
	b.run(t, other)

	current := &sourcev1.GitRepository{}
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(other), current))
	current.Status.Artifact.Path = kept.Path
	current.Status.Artifact.Digest = "sha256:" + strings.Repeat("0", 64)
	check(t, b.api.Status().Update(t.Context(), current))

	got := b.run(t, other).Object.Status.Artifact
	if got == nil || !strings.HasPrefix(got.Path, "gitrepository/apps/other/") {
		t.Errorf("the artifact is %+v", got)
	}

	if err := w.store.Verify(kept); err != nil {
		t.Errorf("the artifact of the owner: %v", err)
	}
}

// A Secret must not keep a worker busy for days.
func TestCostlyKeys(t *testing.T) {
	locked, public, err := gitserver.NewKey("open sesame")
	check(t, err)

	cases := map[string]struct {
		reason string
		key    []byte
		want   string
	}{
		"Rounds": {
			reason: "The key says how often its passphrase is hashed.",
			key:    withRounds(t, locked, 1<<31), want: "'identity' hashes its passphrase more than 1024 times",
		},
		"Size": {
			reason: "Numbers of a million bits take as long.",
			key:    bytes.Repeat([]byte("x"), 1<<20), want: "'identity' has more than 16384 bytes",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.secret("ssh", map[string]string{
				"identity": string(tc.key), "password": "open sesame", "known_hosts": gitserver.KnownHosts("127.0.0.1:1", public),
			})

			obj := object("app", "ssh://git@127.0.0.1:1/x.git", withSecret("ssh"))
			expect(t, w.bench(t, obj).run(t, obj).Object, meta.FetchFailedCondition,
				"True AuthenticationFailed: failed to configure authentication options: invalid 'ssh' auth option: "+tc.want)
		})
	}
}

// withRounds changes how often an encrypted key hashes its passphrase.
func withRounds(t *testing.T, key []byte, rounds uint32) []byte {
	t.Helper()

	block, _ := pem.Decode(key)
	kdf := []byte("bcrypt")

	at := bytes.Index(block.Bytes, kdf)
	if at < 0 {
		t.Fatal("the key is not encrypted")
	}

	const saltBytes, lengthBytes = 16, 4
	at += len(kdf) + lengthBytes + lengthBytes + saltBytes
	binary.BigEndian.PutUint32(block.Bytes[at:], rounds)

	return pem.EncodeToMemory(block)
}

// Many files of ignore rules must not become more rules than memory holds.
func TestIgnoreRulesAreBounded(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	files := map[string]string{}

	for i := range 5 {
		files[fmt.Sprintf("d%d/.sourceignore", i)] = strings.Repeat(strings.Repeat("a", 255)+"\n", 1<<10)
	}

	commit(t, r, "main", gitserver.Change{Files: files})

	obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r))
	got := condition(w.bench(t, obj).run(t, obj).Object, meta.StorageOperationFailedCondition)

	if want := `"d4/.sourceignore": the files of ignore rules have more than 1048576 bytes`; !strings.Contains(got, want) {
		t.Errorf("got:  %s\nwant: %s", got, want)
	}
}

// A URL is kept with all that is remembered of its repository.
func TestLongURL(t *testing.T) {
	w := newWorld(t)
	obj := object("app", "https://user:secret@example.com/"+strings.Repeat("x", 5000))

	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.ReadyCondition, "False URLInvalid: failed to parse url: it has more than 4096 bytes")
}

// No part of a password shows in the conditions, even if it makes the URL unreadable.
func TestUnreadableURL(t *testing.T) {
	w := newWorld(t)
	obj := object("app", "https://user:sec/ret@example.com/r.git")

	got := w.bench(t, obj).run(t, obj).Object
	expect(t, got, meta.ReadyCondition, "False URLInvalid: failed to parse url 'invalid URL': invalid port")

	if strings.Contains(condition(got, meta.ReadyCondition), "sec") {
		t.Error(condition(got, meta.ReadyCondition))
	}
}
