package decryption

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"filippo.io/age"
	agearmor "filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	ageExtension = ".agekey"
	pgpExtension = ".asc"

	// maxIdentities bounds the private keys of one Secret, each of which is parsed with some arithmetic.
	maxIdentities = 256

	// maxSignatures bounds the signatures in the OpenPGP keys of a Secret.
	maxSignatures = 1000

	// maxMessage bounds what is encrypted for OpenPGP, in bytes: each packet in it may be tried.
	maxMessage = 8 << 10

	// maxDataKey bounds what a recipient may hold: a data key, or a part of one.
	maxDataKey = 1 << 10
)

// Identities are private keys of age and OpenPGP. They are safe for concurrent use, and never written anywhere.
type Identities struct {
	age map[string]age.Identity // by recipient

	mu  sync.Mutex // nothing says that entities may be used at the same time
	pgp openpgp.EntityList
}

// ParseIdentities reads the private keys of a Secret: age identities, one per line, from the keys that end with .agekey, and
// OpenPGP keys in ASCII armour, without a passphrase, from those that end with .asc. Others are left alone. Its errors name the
// key of the Secret, and do not hold what is in it.
func ParseIdentities(data map[string][]byte) (*Identities, error) {
	all := &Identities{age: map[string]age.Identity{}}
	cost := &ingest.OpenPGP{MaxSignatures: maxSignatures}

	for _, key := range slices.Sorted(maps.Keys(data)) {
		var err error

		switch path.Ext(key) {
		case ageExtension:
			err = all.addAge(data[key])
		case pgpExtension:
			err = all.addPGP(data[key], cost)
		}

		if err == nil && len(all.age)+len(all.pgp) > maxIdentities {
			err = fmt.Errorf("with it there are more than %d private keys", maxIdentities)
		}

		if err != nil {
			return nil, fmt.Errorf("key '%s': %w", key, err)
		}
	}

	return all, nil
}

// Len returns the number of private keys.
func (i *Identities) Len() int { return len(i.age) + len(i.pgp) }

func (i *Identities) addAge(data []byte) error {
	found := 0

	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}

		if found++; found > maxIdentities {
			return fmt.Errorf("it holds more than %d identities", maxIdentities)
		}

		recipient, identity := parseAge(line)
		if identity == nil {
			return fmt.Errorf("line %d is not an age identity", n+1)
		}

		i.age[recipient] = identity
	}

	if found == 0 {
		return errors.New("it holds no age identity")
	}

	return nil
}

// parseAge returns the identity and whom to encrypt to for it, or nil. The library's errors may quote the identity.
func parseAge(line string) (string, age.Identity) {
	if id, err := age.ParseX25519Identity(line); err == nil {
		return id.Recipient().String(), id
	}

	if id, err := age.ParseHybridIdentity(line); err == nil {
		return id.Recipient().String(), id
	}

	return "", nil
}

func (i *Identities) addPGP(data []byte, cost *ingest.OpenPGP) error {
	entities, err := readPGP(data, cost)
	if err != nil {
		return err
	}

	private, protected := false, false

	for _, entity := range entities {
		for _, key := range privateKeys(entity) {
			if bits, err := key.BitLength(); err != nil || bits > ingest.MaxRSA {
				return fmt.Errorf("an OpenPGP key has more than %d bits", ingest.MaxRSA)
			}

			switch {
			case !key.Encrypted:
				private = true
			case !key.Dummy():
				protected = true
			}
		}
	}

	switch {
	case protected:
		return errors.New("it is protected by a passphrase")
	case !private:
		return errors.New("it holds no private OpenPGP key")
	}

	i.pgp = append(i.pgp, entities...)

	return nil
}

// Unwrap implements sops.Keys, for age and OpenPGP.
func (i *Identities) Unwrap(_ context.Context, r sops.Recipient) ([]byte, error) {
	switch r.Kind {
	case sops.Age:
		return i.unwrapAge(r)
	case sops.PGP:
		return i.unwrapPGP(r)
	default:
		return nil, &sops.NoKeyError{}
	}
}

func (i *Identities) unwrapAge(r sops.Recipient) ([]byte, error) {
	identity, ok := i.age[strings.TrimSpace(r.Recipient)]
	if !ok {
		return nil, &sops.NoKeyError{}
	}

	content, err := age.Decrypt(agearmor.NewReader(strings.NewReader(r.Encrypted)), identity)
	if err != nil {
		return nil, errors.New("the data key is not encrypted to it, or malformed")
	}

	return readDataKey(content)
}

func (i *Identities) unwrapPGP(r sops.Recipient) (key []byte, err error) {
	if len(i.pgp) == 0 {
		return nil, &sops.NoKeyError{}
	}

	if len(r.Encrypted) > maxMessage {
		return nil, fmt.Errorf("the encrypted data key has more than %d bytes", maxMessage)
	}

	defer guard(&err)

	block, err := armor.Decode(strings.NewReader(r.Encrypted))
	if err != nil {
		return nil, errMalformed
	}

	i.mu.Lock()
	defer i.mu.Unlock()

	message, err := openpgp.ReadMessage(block.Body, i.pgp, nil, nil)
	if err != nil || !message.IsEncrypted || message.DecryptedWith.PrivateKey == nil {
		if i.knows(r.Fingerprint) {
			return nil, errMalformed
		}

		return nil, &sops.NoKeyError{}
	}

	return readDataKey(message.UnverifiedBody)
}

// knows tells whether there is the private key with the fingerprint, or with the last digits of it.
func (i *Identities) knows(fingerprint string) bool {
	fingerprint = strings.ToLower(strings.ReplaceAll(fingerprint, " ", ""))
	if fingerprint == "" {
		return false
	}

	for _, entity := range i.pgp {
		for _, key := range privateKeys(entity) {
			if strings.HasSuffix(fmt.Sprintf("%x", key.Fingerprint), fingerprint) {
				return true
			}
		}
	}

	return false
}

var errMalformed = errors.New("the data key does not decrypt with it")

// readDataKey reads to the end, where it shows whether all of it is authentic.
func readDataKey(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxDataKey+1))
	if err != nil {
		return nil, errMalformed
	}

	if len(content) > maxDataKey {
		return nil, fmt.Errorf("the data key has more than %d bytes", maxDataKey)
	}

	return content, nil
}

// guard turns a panic of a library that reads foreign bytes into an error.
func guard(err *error) {
	if recover() != nil {
		*err = errors.New("the OpenPGP packets are malformed")
	}
}

// pgpBlock begins each key in ASCII armour.
const pgpBlock = "-----BEGIN PGP "

// readPGP reads keys in ASCII armour, of which there may be several in a row.
func readPGP(data []byte, cost *ingest.OpenPGP) (all openpgp.EntityList, err error) {
	defer guard(&err)

	start := bytes.Index(data, []byte(pgpBlock))
	if start < 0 {
		return nil, errors.New("it holds no OpenPGP key in ASCII armour")
	}

	for rest := data[start:]; len(rest) > 0; {
		next := bytes.Index(rest[1:], []byte(pgpBlock)) + 1
		if next == 0 {
			next = len(rest)
		}

		entities, err := readBlock(rest[:next], cost)
		if err != nil {
			return nil, err
		}

		if all = append(all, entities...); len(all) > maxIdentities {
			return nil, fmt.Errorf("it holds more than %d keys", maxIdentities)
		}

		rest = rest[next:]
	}

	return all, nil
}

// readBlock reads one block of keys.
func readBlock(data []byte, cost *ingest.OpenPGP) (openpgp.EntityList, error) {
	block, err := armor.Decode(bytes.NewReader(data))
	if err != nil || block.Type != openpgp.PublicKeyType && block.Type != openpgp.PrivateKeyType {
		return nil, ingest.ErrOpenPGP
	}

	keys, err := io.ReadAll(block.Body)
	if err != nil {
		return nil, ingest.ErrOpenPGP
	}

	if err := cost.Check(keys); err != nil {
		return nil, err
	}

	entities, err := openpgp.ReadKeyRing(bytes.NewReader(keys))
	if err != nil {
		return nil, ingest.ErrOpenPGP
	}

	return entities, nil
}

// privateKeys returns the private keys of an entity and its subkeys.
func privateKeys(entity *openpgp.Entity) []*packet.PrivateKey {
	var all []*packet.PrivateKey
	if entity.PrivateKey != nil {
		all = append(all, entity.PrivateKey)
	}

	for _, sub := range entity.Subkeys {
		if sub.PrivateKey != nil {
			all = append(all, sub.PrivateKey)
		}
	}

	return all
}
