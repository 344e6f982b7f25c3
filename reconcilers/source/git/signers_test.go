package git_test

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

// signedAt is when OpenPGP keys are made and sign, which is before the tests take place.
const signedAt = "20250601T000000"

func sshSigner(t *testing.T) *gitserver.Signer {
	t.Helper()

	s, err := gitserver.NewSSHSigner(t.Context())
	check(t, err)
	t.Cleanup(s.Close)

	return s
}

// gpgSigner makes a signer whose key is good for as long as expire says.
func gpgSigner(t *testing.T, expire string) *gitserver.Signer {
	t.Helper()

	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip(err)
	}

	s, err := gitserver.NewGPGSigner(t.Context(), signedAt, expire)
	check(t, err)
	t.Cleanup(s.Close)

	return s
}

func withVerify(mode, secret string) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) {
		s.Verification = &sourcev1.GitRepositoryVerification{Mode: mode, SecretRef: meta.LocalObjectReference{Name: secret}}
	}
}

// trust makes the Secret with the public keys.
func (w *world) trust(signers ...*gitserver.Signer) {
	data := map[string]string{}
	for i, s := range signers {
		data[strings.Repeat("x", i)+s.Name] = string(s.Public)
	}

	w.secret("keys", data)
}

// keyOf is how the conditions name the key of a signer, or the beginning of it.
func keyOf(t *testing.T, s *gitserver.Signer) string {
	t.Helper()

	if !strings.HasSuffix(s.Name, ".sshpub") {
		return ""
	}

	key, _, _, _, err := ssh.ParseAuthorizedKey(s.Public)
	check(t, err)

	return ssh.FingerprintSHA256(key)
}

// tamper writes the object that the name stands for with other words, and the signature that it had. It returns the new hash.
func tamper(t *testing.T, r *gitserver.Repository, kind, name string) string {
	t.Helper()

	raw := mustGit(t, r, "cat-file", kind, name)

	changed := strings.Replace(raw, "The signed words", "Some other words", 1)
	if changed == raw {
		t.Fatalf("nothing to tamper with: %s", raw)
	}

	hash, err := r.WriteObject(t.Context(), kind, []byte(changed+"\n"))
	check(t, err)

	return hash
}

// signed adds a commit to main, signed if there is a signer.
func signed(t *testing.T, r *gitserver.Repository, s *gitserver.Signer) string {
	t.Helper()

	change := gitserver.Change{Files: map[string]string{"more.yaml": "b: " + mustGit(t, r, "rev-parse", "main") + "\n"}}
	commit := func() (string, error) { return r.Commit(t.Context(), "main", "The signed words", change) }

	if s != nil {
		commit = func() (string, error) { return r.CommitSigned(t.Context(), "main", "The signed words", change, s) }
	}

	hash, err := commit()
	check(t, err)

	return hash
}
