package decryption

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	// maxDSA bounds the numbers of DSA and ElGamal keys, and maxDSAOrder those of signatures with DSA, in bits.
	maxDSA      = 4096
	maxDSAOrder = 512

	// maxSignatures bounds the signatures in one key of a Secret, each of which may be verified.
	maxSignatures = 1000
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

// checkPackets looks at keys before the library does: that calculates with them as it reads them, which takes minutes if the numbers
// are long enough, and nothing could stop it. What is malformed is left to the library.
func checkPackets(keys []byte) error {
	r := packet.NewOpaqueReader(bytes.NewReader(keys))

	for signatures := 0; ; {
		p, err := r.Next()
		if err != nil {
			return nil //nolint:nilerr // that is the end, or malformed
		}

		switch p.Tag {
		case tagSignature:
			if signatures++; signatures > maxSignatures {
				return fmt.Errorf("it holds more than %d signatures", maxSignatures)
			}
		case tagSecretKey, tagPublicKey, tagSecretSubkey, tagPublicSubkey:
			if err := checkNumbers(p.Contents); err != nil {
				return err
			}
		}
	}
}

// checkNumbers looks at the numbers of a key: those of the public one, and for ElGamal and DSA the private one.
func checkNumbers(key []byte) error {
	if len(key) < lengthOfKeyHeader {
		return nil
	}

	version, algorithm, rest := key[0], key[lengthOfKeyHeader-1], key[lengthOfKeyHeader:]

	var limits []int

	switch {
	case algorithm >= algorithmRSA && algorithm <= algorithmRSALast:
		limits = []int{maxRSA, maxRSA}
		if version > versionOfDSA {
			rest = rest[min(4, len(rest)):] // how many bytes there are
		}
	case algorithm == algorithmElGamal:
		limits = []int{maxDSA, maxDSA, maxDSA}
	case algorithm == algorithmDSA:
		limits = []int{maxDSA, maxDSAOrder, maxDSA, maxDSA}
	default:
		return nil // points on curves have one length
	}

	if algorithm >= algorithmElGamal && version > versionOfDSA {
		return errors.New("the OpenPGP key is malformed or not supported")
	}

	for _, most := range limits {
		var err error
		if rest, err = checkNumber(rest, most); err != nil {
			return err
		}
	}

	if algorithm >= algorithmElGamal && len(rest) > 0 && rest[0] == 0 { // not encrypted
		_, err := checkNumber(rest[1:], maxDSA)

		return err
	}

	return nil
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
