package values

import (
	"errors"
	"fmt"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Bounds of the values of one release. Large ones have a few thousand values, in some hundred kilobytes.
const (
	// maxBytes of all that is referred to, with copies in the place of YAML aliases.
	maxBytes = 16 << 20

	// maxValues in all YAML that is referred to: a parser takes up to 600 bytes of memory for each, however short it is.
	maxValues = 250_000

	// maxItems of the lists that indices make, twice what Helm takes for a single index.
	maxItems = 2 * 65_536

	// maxDepth of maps and lists in each other: the digest is made of indented text, which grows with its square.
	maxDepth = 100
)

var errDepth = fmt.Errorf("the values are nested deeper than %d levels", maxDepth)

// budget is what is left of the bounds.
type budget struct {
	bytes, values, items int
}

func newBudget() budget { return budget{bytes: maxBytes, values: maxValues, items: maxItems} }

// text counts what was read.
func (b *budget) text(data []byte) error {
	b.bytes -= len(data)

	return b.check()
}

// expand counts YAML that is about to be parsed.
func (b *budget) expand(data []byte) error {
	expanded, err := ingest.ExpandedAliases(data)
	if err != nil {
		return err //nolint:wrapcheck // it says what is wrong
	}

	b.bytes -= expanded.Bytes
	b.values -= max(expanded.Nodes, countValues(data))

	return b.check()
}

func (b *budget) check() error {
	switch {
	case b.bytes < 0:
		return &ingest.LimitError{Max: maxBytes, Unit: "bytes of values"}
	case b.values < 0:
		return &ingest.LimitError{Max: maxValues, Unit: "values"}
	}

	return nil
}

// countValues returns about how many values there are in YAML, and never less than half of them.
func countValues(data []byte) (n int) {
	for i, c := range data {
		switch c {
		case ',', '[', '{':
			n++
		case '-', ':', '?':
			if i+1 == len(data) || data[i+1] <= ' ' || data[i+1] > '~' {
				n++
			}
		}
	}

	return n
}

// checkDepth refuses values that are nested too deep.
func checkDepth(value any, left int) error {
	if left < 0 {
		return errDepth
	}

	switch value := value.(type) {
	case map[string]any:
		for _, v := range value {
			if err := checkDepth(v, left-1); err != nil {
				return err
			}
		}
	case []any:
		for _, v := range value {
			if err := checkDepth(v, left-1); err != nil {
				return err
			}
		}
	}

	return nil
}

// limited tells whether an error is about a bound, and so holds nothing of what was read.
func limited(err error) bool {
	var over *ingest.LimitError

	return errors.As(err, &over) || errors.Is(err, ingest.ErrAliasLoop) || errors.Is(err, ingest.ErrAliasSize)
}
