package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxSignatures bounds the signatures in an entry of a Secret. Keys that many people have signed have thousands.
const maxSignatures = 20_000

// readOpenPGP reads keyrings in ASCII armour, of which there may be several in a row.
func readOpenPGP(b []byte) (all openpgp.EntityList, err error) {
	defer guard(&err)

	cost := &ingest.OpenPGP{MaxSignatures: maxSignatures}

	// The reader is the one of all blocks: each block's decoder takes it as it is.
	for r := bufio.NewReader(bytes.NewReader(b)); ; {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			return nil, plain(err)
		}

		if block.Type != openpgp.PublicKeyType && block.Type != openpgp.PrivateKeyType {
			return nil, fmt.Errorf("it holds a %q", block.Type)
		}

		raw, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, plain(err)
		}

		if err := cost.Check(raw); err != nil {
			return nil, err //nolint:wrapcheck // says it of OpenPGP keys
		}

		keys, err := openpgp.ReadKeyRing(bytes.NewReader(raw))
		if err != nil {
			return nil, plain(err)
		}

		all = append(all, keys...)
	}

	if len(all) == 0 {
		return nil, fmt.Errorf("%w in ASCII armour", ErrNoKeys)
	}

	return all, nil
}

// verifyOpenPGP verifies a detached signature of OpenPGP. The library refuses weak keys and hashes, signatures older than their
// keys, and keys that were not valid when they signed.
func (k *Keyring) verifyOpenPGP(payload, text []byte) (string, error) {
	if len(k.pgp) == 0 {
		return "", errNoOpenPGP
	}

	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		return "", fmt.Errorf("read signature: %w", err)
	}

	k.mu.Lock()
	defer k.mu.Unlock()

	config := &packet.Config{Time: k.now}

	sig, signer, err := openpgp.VerifyDetachedSignature(k.pgp, bytes.NewReader(payload), block.Body, config)
	if err != nil {
		return "", err //nolint:wrapcheck // it is the reason
	}

	if sig == nil || signer == nil || sig.IssuerKeyId == nil || sig.SigType != packet.SigTypeBinary {
		return "", fmt.Errorf("%w: it is not of a document", ErrUnsupported)
	}

	id := signer.PrimaryKey.KeyIdString()

	if err := usable(signer, *sig.IssuerKeyId, config); err != nil {
		return "", fmt.Errorf("key %q: %w", id, err)
	}

	return id, nil
}

// usable tells whether a key could sign now.
func usable(e *openpgp.Entity, id uint64, config *packet.Config) error {
	now := config.Now()

	if _, err := e.VerifyPrimaryKey(now, config); err != nil {
		return err //nolint:wrapcheck // it is the reason
	}

	if _, ok := e.SigningKeyById(now, id, config); !ok {
		return errors.New("its subkey has expired or was revoked, or may not sign any more")
	}

	return nil
}
