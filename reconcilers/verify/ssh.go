package verify

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// readAuthorizedKeys reads a list of SSH keys. Every line is one, or empty, or a comment.
func readAuthorizedKeys(b []byte) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey

	number := 0

	for line := range bytes.Lines(b) {
		number++

		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}

		key, _, options, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d is no public key", number)
		}

		if len(options) > 0 {
			return nil, fmt.Errorf("the key in line %d has options", number)
		}

		if err := strong(key); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}

		keys = append(keys, key)
	}

	if len(keys) == 0 {
		return nil, ErrNoKeys
	}

	return keys, nil
}

// strong refuses kinds of keys whose signatures are not worth anything, or need more than the key to be verified.
func strong(key ssh.PublicKey) error {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519,
		ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		if c, ok := key.(ssh.CryptoPublicKey); ok {
			if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() >= minRSABits {
				return nil
			}
		}

		return errors.New("the RSA key is too short")
	default:
		return fmt.Errorf("%w: key of type %q", ErrUnsupported, key.Type())
	}
}

// Parts of signatures of SSH, see OpenSSH's PROTOCOL.sshsig.
const (
	sshMagic     = "SSHSIG"
	sshVersion   = 1
	sshNamespace = "git"
)

// sshSignature is what stands in a signature of SSH.
type sshSignature struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// readSSHSignature reads the armour around a signature of SSH, and what is in it. Nothing may stand beside it.
func readSSHSignature(text []byte) (*sshSignature, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "SSH SIGNATURE" || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("malformed armour")
	}

	b, ok := bytes.CutPrefix(block.Bytes, []byte(sshMagic))
	if !ok {
		return nil, errors.New("malformed signature")
	}

	s := &sshSignature{}
	if err := ssh.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("malformed signature: %w", err)
	}

	if s.Version != sshVersion {
		return nil, fmt.Errorf("%w: version %d", ErrUnsupported, s.Version)
	}

	return s, nil
}

// message returns what was signed.
func (s *sshSignature) message(payload []byte) ([]byte, error) {
	var sum []byte

	switch s.Hash {
	case "sha256":
		h := sha256.Sum256(payload)
		sum = h[:]
	case "sha512":
		h := sha512.Sum512(payload)
		sum = h[:]
	default:
		return nil, fmt.Errorf("%w: hash %q", ErrUnsupported, s.Hash)
	}

	return append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{s.Namespace, s.Reserved, s.Hash, sum})...), nil
}

// verifySSH verifies a signature of SSH. The key has to be among the authorised ones, and the signature made for Git: one made
// for something else must not be taken for one of a commit.
func (k *Keyring) verifySSH(payload, text []byte) (string, error) {
	if len(k.ssh) == 0 {
		return "", errNoSSH
	}

	s, err := readSSHSignature(text)
	if err != nil {
		return "", err
	}

	if s.Namespace != sshNamespace {
		return "", fmt.Errorf("it was made for %q, not for %q", s.Namespace, sshNamespace)
	}

	message, err := s.message(payload)
	if err != nil {
		return "", err
	}

	var sig ssh.Signature
	if err := ssh.Unmarshal(s.Signature, &sig); err != nil {
		return "", fmt.Errorf("malformed signature: %w", err)
	}

	i := slices.IndexFunc(k.ssh, func(key ssh.PublicKey) bool { return bytes.Equal(key.Marshal(), s.PublicKey) })
	if i < 0 {
		return "", unknownKey(s.PublicKey)
	}

	key := k.ssh[i]

	// What verifies RSA takes SHA-1 too.
	if sig.Format == ssh.KeyAlgoRSA {
		return "", fmt.Errorf("%w: SHA-1", ErrUnsupported)
	}

	if err := key.Verify(message, &sig); err != nil {
		return "", fmt.Errorf("key %q: %w", ssh.FingerprintSHA256(key), err)
	}

	return ssh.FingerprintSHA256(key), nil
}

// unknownKey says whose signature it is, if that is known.
func unknownKey(b []byte) error {
	key, err := ssh.ParsePublicKey(b)
	if err != nil {
		return errors.New("malformed signature: malformed key")
	}

	if _, ok := key.(*ssh.Certificate); ok {
		return fmt.Errorf("%w: SSH certificate", ErrUnsupported)
	}

	return fmt.Errorf("key %q is not among the authorised ones", ssh.FingerprintSHA256(key))
}
