package sops

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/weir-dev/weir/test/tool"
)

// Tool runs sops with keys of its own: nothing of whoever runs the tests is read.
type Tool struct {
	program string
	home    string
	age     []string // private keys
}

// Open returns a Tool, for which sops is built if it has to be. Progress goes to log. It has to be closed.
func Open(ctx context.Context, log io.Writer) (*Tool, error) {
	program, err := tool.SOPS().Build(ctx, log)
	if err != nil {
		return nil, err
	}

	home, err := os.MkdirTemp("", "sops-") // a short path: the socket of gpg's agent is in it
	if err != nil {
		return nil, fmt.Errorf("make a home: %w", err)
	}

	return &Tool{program: program, home: home}, nil
}

// Close removes the keys.
func (t *Tool) Close() {
	_, _ = t.run(context.Background(), nil, "gpgconf", "--kill", "gpg-agent")
	_ = os.RemoveAll(t.home)
}

// Key is a private key, and for whom to encrypt so that it decrypts.
type Key struct {
	// Recipient is what sops is told: a recipient of age, or the fingerprint of an OpenPGP key.
	Recipient string
	// Private is the private key: an identity of age, or ASCII armour.
	Private []byte
}

// AgeKey makes a key of age.
func (t *Tool) AgeKey() (Key, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("make age key: %w", err)
	}

	return t.keep(id.Recipient().String(), id.String()), nil
}

// HybridKey makes a key of age that quantum computers do not break.
func (t *Tool) HybridKey() (Key, error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return Key{}, fmt.Errorf("make hybrid age key: %w", err)
	}

	return t.keep(id.Recipient().String(), id.String()), nil
}

func (t *Tool) keep(recipient, private string) Key {
	t.age = append(t.age, private)

	return Key{Recipient: recipient, Private: []byte("# created: today\n# public key: " + recipient + "\n" + private + "\n")}
}

// PGPKey makes an OpenPGP key with gpg, of an algorithm such as rsa2048 or ed25519. The private key is protected by the
// passphrase, unless that is empty.
func (t *Tool) PGPKey(ctx context.Context, algorithm, passphrase string) (Key, error) {
	name := "Somebody <" + algorithm + passphrase + "@example.com>"

	if err := os.MkdirAll(filepath.Join(t.home, "gpg"), 0o700); err != nil {
		return Key{}, err
	}

	gpg := []string{"--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase}

	// A subkey encrypts.
	sub := algorithm
	if algorithm == "ed25519" {
		sub = "cv25519"
	}

	out, err := t.run(ctx, nil, "gpg", append(gpg, "--status-fd", "1", "--quick-generate-key", name, algorithm, "cert", "0")...)
	if err != nil {
		return Key{}, err
	}

	fields := strings.Fields(string(out))
	fingerprint := fields[len(fields)-1]

	if _, err := t.run(ctx, nil, "gpg", append(gpg, "--quick-add-key", fingerprint, sub, "encr", "0")...); err != nil {
		return Key{}, err
	}

	private, err := t.run(ctx, nil, "gpg", append(gpg, "--armor", "--export-secret-keys", fingerprint)...)
	if err != nil {
		return Key{}, err
	}

	return Key{Recipient: fingerprint, Private: private}, nil
}

// Encrypt encrypts content of a format (yaml, json, dotenv, ini or binary), as the other arguments of sops say: --age RECIPIENT
// and the like.
func (t *Tool) Encrypt(ctx context.Context, content []byte, format string, args ...string) ([]byte, error) {
	return t.sops(ctx, content, append(append([]string{"encrypt"}, args...), "--input-type", format, "--output-type", format)...)
}

// EncryptBy is Encrypt by the creation rules of a configuration file.
func (t *Tool) EncryptBy(ctx context.Context, content []byte, format, config string) ([]byte, error) {
	file := filepath.Join(t.home, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}

	return t.sops(ctx, content, "--config", file, "encrypt", "--filename-override", "file", "--input-type", format, "--output-type", format)
}

// Decrypt decrypts what Encrypt has encrypted from one format to another, with all keys that there are.
func (t *Tool) Decrypt(ctx context.Context, content []byte, from, to string) ([]byte, error) {
	return t.sops(ctx, content, "decrypt", "--input-type", from, "--output-type", to)
}

func (t *Tool) sops(ctx context.Context, content []byte, args ...string) ([]byte, error) {
	dir, err := os.MkdirTemp(t.home, "work-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // Close removes what is left

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return nil, err
	}

	return t.run(ctx, []string{"SOPS_AGE_KEY=" + strings.Join(t.age, "\n"), "SOPS_DISABLE_VERSION_CHECK=true"}, t.program, append(args, file)...)
}

// run runs a program with no environment but ours.
func (t *Tool) run(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.home, "GNUPGHOME=" + filepath.Join(t.home, "gpg"), "LANG=C", "LC_ALL=C",
	}, env...)

	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems

	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(name), args[0], err, strings.TrimSpace(problems.String()))
	}

	return out.Bytes(), nil
}
