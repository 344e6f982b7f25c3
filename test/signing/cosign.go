package signing

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/weir-dev/weir/test/tool"
)

// Cosign is the program cosign with a folder of its own.
type Cosign struct{ program, dir string }

// NewCosign returns the program, building it if need be, with a folder for its keys and settings. Progress goes to log.
func NewCosign(ctx context.Context, dir string, log io.Writer) (*Cosign, error) {
	program, err := tool.Cosign().Build(ctx, log)
	if err != nil {
		return nil, err
	}

	return &Cosign{program: program, dir: dir}, nil
}

// Key is a pair of keys of cosign.
type Key struct {
	file string

	// Public is the public key in PEM.
	Public []byte
}

// Key makes a pair of keys. Names must not be used twice.
func (c *Cosign) Key(ctx context.Context, name string) (*Key, error) {
	if err := c.run(ctx, nil, "generate-key-pair", "--output-key-prefix", name); err != nil {
		return nil, err
	}

	return c.key(name)
}

// Import makes cosign's pair of keys of a private key.
func (c *Cosign) Import(ctx context.Context, name string, private crypto.PrivateKey) (*Key, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}

	file := filepath.Join(c.dir, name+".pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, err
	}

	if err := c.run(ctx, nil, "import-key-pair", "--yes", "--key", file, "--output-key-prefix", name); err != nil {
		return nil, err
	}

	return c.key(name)
}

func (c *Cosign) key(name string) (*Key, error) {
	public, err := os.ReadFile(filepath.Join(c.dir, name+".pub"))
	if err != nil {
		return nil, err
	}

	return &Key{file: filepath.Join(c.dir, name+".key"), Public: public}, nil
}

// Layout is where a signature goes.
type Layout int

// The layouts that cosign writes.
const (
	Tag       Layout = iota // a tag made of the digest
	Referrers               // payloads that refer to the image, an experiment of cosign 2
	Bundle                  // Sigstore bundles that refer to the image, as cosign 3 writes them
)

// arguments of a layout.
func (l Layout) arguments() (args, env []string) {
	switch l {
	case Referrers:
		return []string{"--registry-referrers-mode=oci-1-1"}, []string{"COSIGN_EXPERIMENTAL=1"}
	case Bundle:
		return []string{"--new-bundle-format"}, nil
	case Tag:
	}

	return nil, nil
}

// Sign signs an image, given by digest, with a key. The registry may speak plain HTTP.
func (c *Cosign) Sign(ctx context.Context, image string, k *Key, l Layout, more ...string) error {
	args, env := l.arguments()
	args = append([]string{"sign", "--yes", "--allow-http-registry", "--tlog-upload=false", "--key", k.file}, args...)

	return c.run(ctx, env, append(append(args, more...), image)...)
}

// Attest says something about an image, given by digest, as a Sigstore bundle. The statement is JSON.
func (c *Cosign) Attest(ctx context.Context, image string, k *Key, statement string) error {
	dir, err := os.MkdirTemp(c.dir, "statement-")
	if err != nil {
		return err
	}

	file := filepath.Join(dir, "statement.json")
	if err := os.WriteFile(file, []byte(statement), 0o600); err != nil {
		return err
	}

	return c.run(ctx, nil, "attest", "--yes", "--allow-http-registry", "--tlog-upload=false", "--new-bundle-format",
		"--key", k.file, "--predicate", file, image)
}

// SignKeyless signs an image, given by digest, as somebody whom the issuer knows. With a timestamp, the authority of the
// Sigstore is asked for one.
func (c *Cosign) SignKeyless(ctx context.Context, image string, s *Sigstore, issuer, subject string, l Layout, timestamp bool,
	more ...string,
) error {
	dir, err := os.MkdirTemp(c.dir, "sigstore-")
	if err != nil {
		return err
	}

	files, err := s.keys(dir)
	if err != nil {
		return err
	}

	args, env := l.arguments()
	args = append([]string{
		"sign", "--yes", "--allow-http-registry", "--fulcio-url", s.URL, "--rekor-url", s.URL,
		"--identity-token", token(issuer, subject),
	}, args...)

	if timestamp {
		args = append(args, "--timestamp-server-url", s.URL+timestampPath)
	}

	return c.run(ctx, append(env, files...), append(append(args, more...), image)...)
}

// run runs the program, which knows nothing of the user's settings.
func (c *Cosign) run(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Dir = c.dir
	cmd.Env = append([]string{
		"HOME=" + c.dir, "TUF_ROOT=" + filepath.Join(c.dir, "tuf"), "COSIGN_PASSWORD=", "PATH=" + os.Getenv("PATH"),
		"SIGSTORE_NO_CACHE=1", "NO_PROXY=*",
	}, env...)

	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cosign %s: %w\n%s", args[0], err, tool.Tail(out))
	}

	return nil
}
