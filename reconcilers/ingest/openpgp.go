package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// MaxRSA is the number of bits that the numbers of an RSA key in OpenPGP may have.
const MaxRSA = 8192

// ErrOpenPGP says that keys of OpenPGP cannot be read, for errors.Is.
var ErrOpenPGP = errors.New("the OpenPGP key is malformed or not supported")

const (
	// maxDSA bounds the numbers of DSA and ElGamal keys, and maxDSAOrder those of signatures with DSA, in bits.
	maxDSA      = 4096
	maxDSAOrder = 512

	// maxElGamal bounds the keys of ElGamal, of which each takes a second.
	maxElGamal = 4
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

// OpenPGP bounds what it costs to read the OpenPGP keys of one Secret. It is not safe for concurrent use.
type OpenPGP struct {
	// MaxSignatures bounds the signatures, each of which may be verified.
	MaxSignatures int

	signatures, elGamal int
}

// Check looks at keys before a library does: that calculates with them as it reads them, which takes minutes if the numbers are
// long enough, and nothing could stop it. What this cannot read is ErrOpenPGP, since the library may find a key behind it. The
// keys are binary, without armour; no error holds any of them.
func (t *OpenPGP) Check(keys []byte) error {
	r := packet.NewOpaqueReader(bytes.NewReader(keys))

	for {
		p, err := r.Next()

		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return ErrOpenPGP
		}

		switch p.Tag {
		case tagSignature:
			if t.signatures++; t.signatures > t.MaxSignatures {
				return fmt.Errorf("with it there are more than %d OpenPGP signatures", t.MaxSignatures)
			}
		case tagSecretKey, tagPublicKey, tagSecretSubkey, tagPublicSubkey:
			if err := t.checkKey(p.Contents); err != nil {
				return err
			}
		}
	}
}

// checkKey looks at the numbers of a key: those of the public one, and for ElGamal and DSA the private one.
func (t *OpenPGP) checkKey(key []byte) error {
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
		return ErrOpenPGP
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
		return []int{MaxRSA, MaxRSA}
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
