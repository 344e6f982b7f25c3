package generator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// parseDocument reads the one YAML or JSON document of a file, which has to be a map. Nothing is an empty map. Several documents
// are refused: which one is meant cannot be known, and to leave out the others would lose what they say.
func parseDocument(content []byte) (map[string]any, error) {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))

	var table map[string]any

	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return table, nil
		}

		if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}

		if err := ingest.CheckAliases(text); err != nil {
			return nil, err //nolint:wrapcheck // it says what is wrong with the YAML
		}

		var next map[string]any
		if err := yaml.Unmarshal(text, &next, useNumber); err != nil {
			return nil, fmt.Errorf("parse YAML: %w", err)
		}

		if table != nil && next != nil {
			return nil, errors.New("the file holds several documents")
		}

		if next != nil {
			table = next
		}
	}
}

// useNumber keeps numbers as they are written: as floating point numbers, long ones would become others.
func useNumber(d *json.Decoder) *json.Decoder {
	d.UseNumber()

	return d
}

// formatDocument is the reverse of parseDocument.
func formatDocument(table map[string]any, asJSON bool) ([]byte, error) {
	if asJSON {
		var b bytes.Buffer

		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")

		if err := e.Encode(table); err != nil {
			return nil, fmt.Errorf("write JSON: %w", err)
		}

		return b.Bytes(), nil
	}

	content, err := yaml.Marshal(table)
	if err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}

	return content, nil
}

// mergeTables returns the base with what the overlay says, as helm merges several --values: maps are merged, all else is
// replaced. A null stays, so that it takes back a default where the result is used.
func mergeTables(base, overlay map[string]any) map[string]any {
	if base == nil {
		base = map[string]any{}
	}

	for key, value := range overlay {
		below, isTable := value.(map[string]any)
		if have, ok := base[key].(map[string]any); ok && isTable {
			value = mergeTables(have, below)
		}

		base[key] = value
	}

	return base
}
