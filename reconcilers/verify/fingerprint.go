package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Fingerprint stands for the public keys, certificates, policies and trusted roots among the entries of Secrets, in whatever
// order and under whatever names they come, as long as the names mean the same: what was verified with one set has to be
// verified again with another. Entries that mean nothing to NewCosign and NewNotation do not count, so that no private key or
// password leaves a trace in it. It is empty when there is nothing.
func Fingerprint(entries ...map[string][]byte) string {
	var all []part

	for _, data := range entries {
		for name, value := range data {
			switch {
			case name == trustPolicyEntry, name == TrustedRootEntry:
				all = append(all, part{role: name, value: value})
			case hasSuffix(name, ".pub"):
				all = append(all, part{role: "key", value: value})
			case hasSuffix(name, ".crt", ".pem"):
				all = append(all, part{role: "certificate", value: value})
			}
		}
	}

	return fingerprint(all)
}

// part is something that decides on trust, and what it is good for.
type part struct {
	role  string
	value []byte
}

// fingerprint stands for a set of parts.
func fingerprint(parts []part) string {
	if len(parts) == 0 {
		return ""
	}

	sums := make([]string, 0, len(parts))
	for _, p := range parts {
		sum := sha256.Sum256(append([]byte(p.role+"\x00"), p.value...))
		sums = append(sums, hex.EncodeToString(sum[:]))
	}

	slices.Sort(sums)

	all := sha256.Sum256([]byte(strings.Join(slices.Compact(sums), "\n")))

	return "sha256:" + hex.EncodeToString(all[:])
}
