package transport

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/weir-dev/weir/reconcilers/secrets"
)

// sshKeys are the credentials for SSH, ready for use. To decrypt a key takes a while, so they are kept.
type sshKeys struct {
	signer ssh.Signer
	known  *knownhosts.HostKeyDB
}

func (c Credentials) sshKeys(dir string) (sshKeys, error) {
	known, err := parseKnownHosts(dir, c.knownHosts)
	if err != nil {
		return sshKeys{}, err
	}

	signer, err := c.signer()

	return sshKeys{signer: signer, known: known}, err
}

// What a private key may cost. A worker waits for it, and nothing can stop it.
const (
	// maxKey is the bytes of its file: those of RSA with 16384 bits fit.
	maxKey = 16 << 10
	// maxKeyRounds is how often the passphrase is hashed: each round takes some milliseconds.
	maxKeyRounds = 1024
)

// checkKey refuses a private key that would take too long to read or to use.
func checkKey(file []byte) error {
	if len(file) > maxKey {
		return fmt.Errorf("invalid 'ssh' auth option: '%s' has more than %d bytes", keyIdentity, maxKey)
	}

	block, _ := pem.Decode(file)
	if block == nil {
		return nil
	}

	var key struct {
		Cipher, KDF, Options string
		Rest                 []byte `ssh:"rest"`
	}

	// Keys in other formats are decrypted fast.
	raw, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok || ssh.Unmarshal(raw, &key) != nil {
		return nil //nolint:nilerr // the library fails on it with the better message
	}

	var bcrypt struct {
		Salt   string
		Rounds uint32
	}

	if key.KDF == "bcrypt" && ssh.Unmarshal([]byte(key.Options), &bcrypt) == nil && bcrypt.Rounds > maxKeyRounds {
		return fmt.Errorf("invalid 'ssh' auth option: '%s' hashes its passphrase more than %d times", keyIdentity, maxKeyRounds)
	}

	return nil
}

// signer returns the private key for SSH. Its errors say nothing about the key.
func (c Credentials) signer() (ssh.Signer, error) {
	if err := checkKey(c.identity); err != nil {
		return nil, err
	}

	if len(c.passphrase) > 0 {
		if s, err := ssh.ParsePrivateKeyWithPassphrase(c.identity, c.passphrase); err == nil {
			return s, nil
		}
	}

	// A key without a passphrase is taken, although one is given.
	s, err := ssh.ParsePrivateKey(c.identity)
	if _, missing := errors.AsType[*ssh.PassphraseMissingError](err); missing {
		if len(c.passphrase) > 0 {
			return nil, fmt.Errorf("invalid 'ssh' auth option: '%s' does not decrypt '%s'", secrets.Password, keyIdentity)
		}

		return nil, fmt.Errorf("SSH identity key is encrypted but no 'password' field was provided in the secret '%s'", c.secret)
	}

	if err != nil {
		return nil, fmt.Errorf("invalid 'ssh' auth option: '%s' is no private key", keyIdentity)
	}

	return s, nil
}

// parseKnownHosts reads the host keys that may be trusted. The library wants a file, which is in the directory for a while.
func parseKnownHosts(dir string, content []byte) (*knownhosts.HostKeyDB, error) {
	f, err := os.CreateTemp(dir, "known-hosts-*")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}

	defer os.Remove(f.Name()) //nolint:errcheck // it holds no secret

	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("write temporary file: %w", err)
	}

	db, err := knownhosts.NewDB(f.Name())
	if err != nil {
		return nil, fmt.Errorf("invalid 'ssh' auth option: '%s': %s", keyKnownHosts, strings.ReplaceAll(err.Error(), f.Name(), "line"))
	}

	return db, nil
}
