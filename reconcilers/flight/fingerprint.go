package flight

import (
	"crypto/sha256"
	"encoding/binary"
)

// Fingerprint stands for a list of strings, some of which may be secret: it tells lists apart without giving them away.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns the fingerprint of the parts, in their order. The bounds between them count.
func FingerprintOf(parts ...string) Fingerprint {
	sum := sha256.New()

	for _, p := range parts {
		_ = binary.Write(sum, binary.BigEndian, int64(len(p))) // hashes never fail
		sum.Write([]byte(p))
	}

	return Fingerprint(sum.Sum(nil))
}
