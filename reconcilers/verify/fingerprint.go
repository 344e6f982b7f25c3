package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Fingerprint stands for the public keys, certificates, policies and trusted roots among the entries of Secrets, in whatever
// order and under whatever names they come: what was verified with one set has to be verified again with another. Entries that
// mean nothing to NewCosign and NewNotation do not count, so that no private key or password leaves a trace in it. It is empty
// when there is nothing.
func Fingerprint(entries ...map[string][]byte) string {
	var all [][]byte

	for _, data := range entries {
		for name, value := range data {
			if hasSuffix(name, ".pub", ".crt", ".pem", trustPolicyEntry, TrustedRootEntry) {
				all = append(all, value)
			}
		}
	}

	return fingerprint(all)
}

// fingerprint stands for a set of values.
func fingerprint(values [][]byte) string {
	if len(values) == 0 {
		return ""
	}

	sums := make([]string, 0, len(values))
	for _, v := range values {
		sum := sha256.Sum256(v)
		sums = append(sums, hex.EncodeToString(sum[:]))
	}

	slices.Sort(sums)

	all := sha256.Sum256([]byte(strings.Join(slices.Compact(sums), "\n")))

	return "sha256:" + hex.EncodeToString(all[:])
}
