package build

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// Limits of what the aliases of one file may expand to.
const (
	maxExpandedNodes = 1_000_000
	maxExpandedBytes = 64 << 20
)

var (
	errAliasLoop = errors.New("a YAML alias refers to itself")
	errAliasSize = fmt.Errorf("the YAML aliases expand to more than %d values or %d bytes",
		maxExpandedNodes, maxExpandedBytes)
)

const separator = "\n---"

// split returns the documents of a YAML stream in the way of the library: a line that begins with --- separates them, and
// may go on with a comment only.
func split(data []byte) ([][]byte, error) {
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))

	var documents [][]byte

	start, from := 0, 0

	for {
		i := bytes.Index(data[from:], []byte(separator))
		if i < 0 {
			break
		}

		line := data[from+i+len(separator):]

		end := bytes.IndexByte(line, '\n')
		if end < 0 {
			break
		}

		if rest := bytes.TrimSpace(line[:end]); len(rest) > 0 && rest[0] != '#' {
			return nil, fmt.Errorf("invalid document separator: ---%s", line[:end])
		}

		documents = append(documents, data[start:from+i+1])
		start = from + i + len(separator) + end + 1
		from = start
	}

	return append(documents, data[start:]), nil
}

// checkAliases refuses YAML whose aliases refer to themselves or expand beyond all measure: the library replaces them by
// copies, without a limit. What is not YAML passes.
func checkAliases(data []byte) error {
	if !mayHaveAliases(data) {
		return nil
	}

	documents, err := split(data)
	if err != nil {
		return nil //nolint:nilerr // Not YAML.
	}

	for _, doc := range documents {
		var node yaml.Node
		if err := yaml.Unmarshal(doc, &node); err != nil {
			continue
		}

		e := expansion{known: map[*yaml.Node]size{}, open: map[*yaml.Node]bool{}}
		if _, err := e.of(&node); err != nil {
			return err
		}
	}

	return nil
}

// mayHaveAliases tells cheaply whether there may be both an anchor and an alias. UTF-16 is not looked into.
func mayHaveAliases(data []byte) bool {
	if len(data) > 1 && (data[0] == 0xfe && data[1] == 0xff || data[0] == 0xff && data[1] == 0xfe) {
		return true
	}

	return hasMark(data, '&') && hasMark(data, '*')
}

func hasMark(data []byte, mark byte) bool {
	for i := 0; ; i++ {
		j := bytes.IndexByte(data[i:], mark)
		if j < 0 {
			return false
		}

		i += j

		if (i == 0 || !isWord(data[i-1])) && i+1 < len(data) && data[i+1] > ' ' {
			return true
		}
	}
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

type size struct{ nodes, bytes int }

func (s *size) add(o size) { s.nodes, s.bytes = s.nodes+o.nodes, s.bytes+o.bytes }

// expansion computes what nodes grow to when aliases are replaced by copies.
type expansion struct {
	known map[*yaml.Node]size
	open  map[*yaml.Node]bool
}

func (e *expansion) of(node *yaml.Node) (size, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}

	if s, ok := e.known[node]; ok {
		return s, nil
	}

	if e.open[node] {
		return size{}, errAliasLoop
	}

	e.open[node] = true
	total := size{nodes: 1, bytes: len(node.Value)}

	for _, n := range node.Content {
		s, err := e.of(n)
		if err != nil {
			return size{}, err
		}

		if total.add(s); total.nodes > maxExpandedNodes || total.bytes > maxExpandedBytes {
			return size{}, errAliasSize
		}
	}

	delete(e.open, node)

	if node.Anchor != "" {
		e.known[node] = total
	}

	return total, nil
}

// jsonValue turns what the YAML decoder yields into what the JSON decoder of Kubernetes yields for the same value: string,
// bool, int64, float64, nil, and maps and lists of them. Maps and lists are changed in place.
func jsonValue(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}

		return float64(v), nil
	case float64:
		return jsonNumber(v)
	case time.Time:
		return jsonTime(v)
	case []any:
		return v, jsonList(v)
	case map[string]any:
		return v, jsonMap(v)
	case map[any]any:
		return nil, errors.New("a key is not a string")
	default:
		return nil, fmt.Errorf("unsupported value of type %T", v)
	}
}

func jsonList(v []any) error {
	for i, e := range v {
		value, err := jsonValue(e)
		if err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}

		v[i] = value
	}

	return nil
}

func jsonMap(v map[string]any) error {
	for k, e := range v {
		value, err := jsonValue(e)
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}

		v[k] = value
	}

	return nil
}

// jsonNumber returns an integer where JSON, which writes 1.0 as 1, would.
func jsonNumber(v float64) (any, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, fmt.Errorf("unsupported number %v", v)
	}

	if v == math.Trunc(v) && math.Abs(v) < 1e21 {
		if i, err := strconv.ParseInt(strconv.FormatFloat(v, 'f', -1, 64), 10, 64); err == nil {
			return i, nil
		}
	}

	return v, nil
}

func jsonTime(v time.Time) (any, error) {
	text, err := v.MarshalText()
	if err != nil {
		return nil, err
	}

	return string(text), nil
}
