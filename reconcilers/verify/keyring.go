package verify

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/ssh"
)

// maxSignature bounds a signature of Git, in bytes.
const maxSignature = 256 << 10

// Keyring holds the public keys of those who may sign commits and tags. It is safe for concurrent use.
type Keyring struct {
	// Now is the clock that says whether keys have expired. Nil means that of the machine. It must not be changed once the
	// keyring is used.
	Now func() time.Time

	fingerprint string
	ssh         []ssh.PublicKey

	// OpenPGP notes in its keys what it found out about them.
	mu  sync.Mutex
	pgp openpgp.EntityList
}

// NewKeyring reads the entries of a Secret: those whose names end in ".sshpub" are lists of SSH keys as in authorized_keys,
// all others keyrings of OpenPGP in ASCII armour. SSH keys with options are refused, which would limit what they are good for.
// It is ErrNoKeys if there are no entries, and an error if one of them cannot be read or holds no key.
func NewKeyring(data map[string][]byte) (*Keyring, error) {
	if len(data) == 0 {
		return nil, ErrNoKeys
	}

	k := &Keyring{}
	parts := make([]part, 0, len(data))

	for _, entry := range slices.Sorted(maps.Keys(data)) {
		if err := k.add(entry, data[entry]); err != nil {
			return nil, fmt.Errorf("read public keys %q: %w", entry, err)
		}

		role := "openpgp"
		if hasSuffix(entry, sshSuffix) {
			role = "ssh"
		}

		parts = append(parts, part{role: role, value: data[entry]})
	}

	k.fingerprint = fingerprint(parts)

	return k, nil
}

// sshSuffix is how the names of entries with SSH keys end.
const sshSuffix = ".sshpub"

func (k *Keyring) add(entry string, b []byte) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return ErrNoKeys
	}

	if hasSuffix(entry, sshSuffix) {
		keys, err := readAuthorizedKeys(b)
		k.ssh = append(k.ssh, keys...)

		return err
	}

	keys, err := readOpenPGP(b)
	k.pgp = append(k.pgp, keys...)

	return err
}

// Fingerprint stands for the keys, in whatever order and under whatever names they came.
func (k *Keyring) Fingerprint() string { return k.fingerprint }

// Verify verifies the signature of a commit or tag, given as it stands in the object, over the payload, which is the object
// without it. It returns who signed: the ID of the primary key for OpenPGP, in hexadecimal digits, and the SHA-256 fingerprint
// for SSH.
//
// Its errors are ErrNoSignature for an empty signature, and ErrNotTrusted for all else, together with ErrUnsupported if it is
// of a kind that is never verified, such as that of X.509. Keys of OpenPGP that have expired or were revoked are not trusted,
// whenever they signed: the time in a signature is what the signer says.
func (k *Keyring) Verify(payload, signature []byte) (signer string, err error) {
	text := bytes.TrimSpace(signature)

	switch {
	case len(text) == 0:
		return "", ErrNoSignature
	case len(text) > maxSignature:
		return "", notTrusted(fmt.Errorf("the signature has more than %d bytes", maxSignature))
	}

	signer, err = k.verify(payload, text)
	if err != nil {
		return "", notTrusted(err)
	}

	return signer, nil
}

func (k *Keyring) verify(payload, text []byte) (signer string, err error) {
	defer guard(&err)

	first, _, _ := bytes.Cut(text, []byte("\n"))

	switch line := strings.TrimSpace(string(first)); line {
	case "-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----":
		return k.verifyOpenPGP(payload, text)
	case "-----BEGIN SSH SIGNATURE-----":
		return k.verifySSH(payload, text)
	case "-----BEGIN SIGNED MESSAGE-----":
		return "", fmt.Errorf("%w: X.509", ErrUnsupported)
	default:
		return "", ErrUnsupported
	}
}

func (k *Keyring) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}

	return k.Now()
}

// errNoOpenPGP and errNoSSH say that a signature cannot be trusted whatever it is.
var (
	errNoOpenPGP = errors.New("it is one of OpenPGP, and there are no keys of OpenPGP")
	errNoSSH     = errors.New("it is one of SSH, and there are no SSH keys")
)
