package build

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/weir-dev/weir/reconcilers/ingest"
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
	documents, err := split(data)
	if err != nil {
		return nil //nolint:nilerr // Not YAML.
	}

	for _, doc := range documents {
		if err := ingest.CheckAliases(doc); errors.Is(err, ingest.ErrAliasLoop) || errors.Is(err, ingest.ErrAliasSize) {
			return err //nolint:wrapcheck // The caller names the file.
		}
	}

	return nil
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
