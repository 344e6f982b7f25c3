package values

import (
	_ "crypto/sha256" // package digest has no algorithm of its own
	_ "crypto/sha512"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v2"
)

// Digest returns the digest of values: of their YAML with the keys of all maps sorted, lists in their order, and of nothing at
// all for no values. It is an error if the algorithm is not known.
func Digest(values map[string]any, algorithm digest.Algorithm) (digest.Digest, error) {
	if !algorithm.Available() {
		return "", fmt.Errorf("digest values: %w: %q", digest.ErrDigestUnsupported, algorithm)
	}

	digester := algorithm.Digester()
	if len(values) == 0 {
		return digester.Digest(), nil
	}

	e := yaml.NewEncoder(digester.Hash())
	if err := e.Encode(ordered(values)); err != nil {
		return "", fmt.Errorf("digest values: %w", err)
	}

	if err := e.Close(); err != nil {
		return "", fmt.Errorf("digest values: %w", err)
	}

	return digester.Digest(), nil
}

// Matches tells whether a digest is that of values, whatever its algorithm. One that cannot be read is of none.
func Matches(want string, values map[string]any) bool {
	parsed, err := digest.Parse(want)
	if err != nil {
		return false
	}

	got, err := Digest(values, parsed.Algorithm())

	return err == nil && got == parsed
}

// ordered returns values such that the encoder writes the keys of maps in the order of their bytes. Its own order compares
// numbers in keys by their value, and is not the same for all sets of keys.
func ordered(value any) any {
	switch value := value.(type) {
	case map[string]any:
		sorted := make(yaml.MapSlice, 0, len(value))
		for k, v := range value {
			sorted = append(sorted, yaml.MapItem{Key: k, Value: ordered(v)})
		}

		slices.SortFunc(sorted, func(a, b yaml.MapItem) int { return strings.Compare(key(a), key(b)) })

		return sorted
	case []any:
		list := make([]any, len(value))
		for i, v := range value {
			list[i] = ordered(v)
		}

		return list
	case float64:
		return whole(value)
	default:
		return value
	}
}

func key(item yaml.MapItem) string {
	k, _ := item.Key.(string)

	return k
}

// whole returns a number that came from JSON as an integer, if it is one: 10000000 is not to be written as 1e+07.
func whole(f float64) any {
	if i := int64(f); f == float64(i) {
		return i
	}

	if u := uint64(f); f == float64(u) {
		return u
	}

	return f
}
