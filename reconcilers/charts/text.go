package charts

import (
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxValues bounds the values in all YAML that is read of a chart, and of the charts in it. A parser takes up to 600 bytes of
// memory for each, however few bytes it has in its file. Large charts have some ten thousand.
const maxValues = 500_000

// text counts YAML that is about to be read, with what its aliases expand to.
func (b *budget) text(name string, data []byte) error {
	expanded, err := ingest.ExpandedAliases(data)
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}

	b.values -= max(countValues(data), expanded.Nodes)
	b.bytes -= int64(expanded.Bytes)

	switch {
	case b.values < 0:
		return &ingest.LimitError{Max: maxValues, Unit: "values in the YAML of a chart"}
	case b.bytes < 0:
		return &ingest.LimitError{Max: b.limits.Bytes * growth, Unit: "bytes in all files"}
	}

	return nil
}

// Bounds of the values in the YAML of an index: in a piece of it, which is one version most of the time, and in one that is read
// as a whole.
const (
	maxPieceValues = 100_000
	maxWholeValues = 250_000
)

// strictly reads YAML of an index, in which nothing may be that is not known.
func strictly(data []byte, most int, into any) error {
	if countValues(data) > most {
		return &ingest.LimitError{Max: int64(most), Unit: "values in YAML that can only be read as a whole"}
	}

	if err := ingest.CheckAliases(data); err != nil {
		return err //nolint:wrapcheck // it says what is wrong
	}

	return yaml.UnmarshalStrict(data, into)
}

// countValues returns about how many values there are in YAML, and never less than half of them. It counts what makes a value out of
// text: commas, brackets and braces anywhere, dashes, colons and question marks before a space or the end of a line.
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

// yamlFile tells whether Helm reads a file of a chart as YAML when it loads it.
func yamlFile(name string) bool {
	switch name {
	case chartFile, valuesFile, "Chart.lock", "requirements.yaml", "requirements.lock":
		return true
	}

	return false
}
