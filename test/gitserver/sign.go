package gitserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Signer signs commits and tags with a key of its own, as people do: through git, with ssh-keygen or gpg.
type Signer struct {
	// Public is the public key: a line as in authorized_keys, or a keyring in ASCII armour.
	Public []byte

	// Name under which the public key belongs in a Secret.
	Name string

	options []string // of git
	env     []string
	close   func()
}

// Close removes the private key.
func (s *Signer) Close() { s.close() }

// NewSSHSigner makes a key with ssh-keygen.
func NewSSHSigner(ctx context.Context) (*Signer, error) {
	dir, err := os.MkdirTemp("", "sshsign-")
	if err != nil {
		return nil, fmt.Errorf("make directory for key: %w", err)
	}

	s := &Signer{Name: "author.sshpub", close: func() { _ = os.RemoveAll(dir) }}
	key := filepath.Join(dir, "key")

	if err := program(ctx, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", AuthorEmail, "-f", key); err != nil {
		s.close()

		return nil, err
	}

	s.options = []string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + key}

	if s.Public, err = os.ReadFile(key + ".pub"); err != nil {
		s.close()

		return nil, fmt.Errorf("read public key: %w", err)
	}

	return s, nil
}

// NewGPGSigner makes an OpenPGP key with gpg. The key is made, and signs, at the time, which looks like 20250601T000000; it is
// good for as long as expire says, such as 1y, or for ever if that is 0.
func NewGPGSigner(ctx context.Context, at, expire string) (*Signer, error) {
	dir, err := os.MkdirTemp("", "gpg-") // a short path: the agent's socket is in it
	if err != nil {
		return nil, fmt.Errorf("make directory for key: %w", err)
	}

	s := &Signer{Name: "author.asc", env: []string{"GNUPGHOME=" + dir}}
	s.close = func() {
		_ = program(context.Background(), s.env, "gpgconf", "--kill", "gpg-agent")
		_ = os.RemoveAll(dir)
	}

	// Git cannot be told options of gpg, but another program.
	gpg := filepath.Join(dir, "gpg")
	script := "#!/bin/sh\nexec gpg --batch --quiet --faked-system-time '" + at + "!' \"$@\"\n"

	err = os.WriteFile(gpg, []byte(script), 0o700) //nolint:gosec // it is executed
	if err == nil {
		err = program(ctx, s.env, gpg, "--passphrase", "", "--quick-gen-key", AuthorName+" <"+AuthorEmail+">", "ed25519", "sign", expire)
	}

	public := filepath.Join(dir, "public.asc")
	if err == nil {
		err = program(ctx, s.env, gpg, "--armor", "--output", public, "--export", AuthorEmail)
	}

	if err == nil {
		s.Public, err = os.ReadFile(public)
	}

	if err != nil {
		s.close()

		return nil, fmt.Errorf("make OpenPGP key: %w", err)
	}

	s.options = []string{"-c", "gpg.program=" + gpg, "-c", "user.signingKey=" + AuthorEmail}

	return s, nil
}

// CommitSigned is Commit, signed.
func (r *Repository) CommitSigned(ctx context.Context, branch, message string, c Change, s *Signer) (string, error) {
	const draft = "draft"

	if err := r.copyRef(ctx, "refs/heads/"+branch, "refs/heads/"+draft); err != nil {
		return "", err
	}

	if _, err := r.Commit(ctx, draft, message, c); err != nil {
		return "", err
	}

	args := append(s.args(), "commit-tree", "-S", "-m", message, "refs/heads/"+draft+"^{tree}")
	if parent, err := r.run(ctx, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch); err == nil {
		args = append(args, "-p", parent)
	}

	hash, err := r.git.run(ctx, r.Dir, nil, append(r.identity(), s.env...), args...)
	if err != nil {
		return "", err
	}

	if _, err := r.run(ctx, "update-ref", "-d", "refs/heads/"+draft); err != nil {
		return "", err
	}

	return hash, r.SetRef(ctx, "refs/heads/"+branch, hash)
}

// TagSigned makes an annotated tag, signed, of what the revision names.
func (r *Repository) TagSigned(ctx context.Context, name, revision, message string, s *Signer) error {
	args := append(s.args(), "tag", "--force", "--sign", "--message", message, name, revision)
	_, err := r.git.run(ctx, r.Dir, nil, append(r.identity(), s.env...), args...)

	return err
}

// copyRef points one reference at what another one points at, or removes it if that is not there.
func (r *Repository) copyRef(ctx context.Context, from, to string) error {
	if hash, err := r.run(ctx, "rev-parse", "--verify", "--quiet", from); err == nil {
		return r.SetRef(ctx, to, hash)
	}

	_, err := r.run(ctx, "update-ref", "-d", to)

	return err
}

func (s *Signer) args() []string { return append([]string(nil), s.options...) }

// program runs a program that makes keys.
func program(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C", "LC_ALL=C"}, env...)

	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out

	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(out.String()))
	}

	return nil
}
