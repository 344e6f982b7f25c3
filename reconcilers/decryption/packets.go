package decryption

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	// maxDSA bounds the numbers of DSA and ElGamal keys, and maxDSAOrder those of signatures with DSA, in bits.
	maxDSA      = 4096
	maxDSAOrder = 512

	// maxSignatures bounds the signatures in a Secret, each of which may be verified, and maxElGamal the keys of ElGamal, of
	// which each takes a second.
	maxSignatures = 1000
	maxElGamal    = 4
)

// Tags of packets and numbers of algorithms (RFC 9580).
const (
	tagSignature    = 2
	tagSecretKey    = 5
	tagPublicKey    = 6
	tagSecretSubkey = 7
	tagPublicSubkey = 14

	algorithmRSA      = 1 // to 3
	algorithmRSALast  = 3
	algorithmElGamal  = 16
	algorithmDSA      = 17
	versionOfDSA      = 4
	lengthOfKeyHeader = 6 // version, time and algorithm
)

// toll is what reading the keys of a Secret costs.
type toll struct{ signatures, elGamal int }

// check looks at keys before the library does: that calculates with them as it reads them, which takes minutes if the numbers
// are long enough, and nothing could stop it. What this cannot read is refused, since the library may find a key behind it.
func (t *toll) check(keys []byte) error {
	r := packet.NewOpaqueReader(bytes.NewReader(keys))

	for {
		p, err := r.Next()

		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errKey
		}

		switch p.Tag {
		case tagSignature:
			if t.signatures++; t.signatures > maxSignatures {
				return fmt.Errorf("with it there are more than %d OpenPGP signatures", maxSignatures)
			}
		case tagSecretKey, tagPublicKey, tagSecretSubkey, tagPublicSubkey:
			if err := t.checkKey(p.Contents); err != nil {
				return err
			}
		}
	}
}

// checkKey looks at the numbers of a key: those of the public one, and for ElGamal and DSA the private one.
func (t *toll) checkKey(key []byte) error {
	if len(key) < lengthOfKeyHeader {
		return nil
	}

	version, algorithm, rest := key[0], key[lengthOfKeyHeader-1], key[lengthOfKeyHeader:]

	limits := limitsOf(algorithm)
	if limits == nil {
		return nil // points on curves have one length
	}

	if algorithm == algorithmElGamal {
		t.elGamal++
	}

	switch {
	case t.elGamal > maxElGamal:
		return fmt.Errorf("with it there are more than %d keys of ElGamal", maxElGamal)
	case version > versionOfDSA && algorithm >= algorithmElGamal:
		return errKey
	case version > versionOfDSA:
		rest = rest[min(4, len(rest)):] // how many bytes there are
	}

	for _, most := range limits {
		var err error
		if rest, err = checkNumber(rest, most); err != nil {
			return err
		}
	}

	if algorithm < algorithmElGamal || len(rest) == 0 || rest[0] != 0 { // encrypted
		return nil
	}

	_, err := checkNumber(rest[1:], maxDSA)

	return err
}

// limitsOf returns how many bits the public numbers of an algorithm may have.
func limitsOf(algorithm byte) []int {
	switch {
	case algorithm >= algorithmRSA && algorithm <= algorithmRSALast:
		return []int{maxRSA, maxRSA}
	case algorithm == algorithmElGamal:
		return []int{maxDSA, maxDSA, maxDSA}
	case algorithm == algorithmDSA:
		return []int{maxDSA, maxDSAOrder, maxDSA, maxDSA}
	default:
		return nil
	}
}

// checkNumber returns what follows a number, which has no more bits than that.
func checkNumber(data []byte, most int) (rest []byte, err error) {
	const prefix = 2 // bytes of the number of bits

	if len(data) < prefix {
		return nil, nil
	}

	bits := int(binary.BigEndian.Uint16(data))
	if bits > most {
		return nil, fmt.Errorf("an OpenPGP key has more than %d bits", most)
	}

	return data[min(prefix+(bits+7)/8, len(data)):], nil
}
