package sops

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// binaryKey has all of a file that has no format.
const binaryKey = "data"

var errJSON = errors.New("it is not one JSON object")

func parseJSON(data []byte) (document, error) {
	if err := checkMarks(data); err != nil {
		return nil, err
	}

	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()

	r := &jsonReader{dec: dec}

	v, err := r.value(0)
	if err != nil {
		return nil, err
	}

	doc, ok := v.(mapping)
	if !ok {
		return nil, errJSON
	}

	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}

	return doc, nil
}

type jsonReader struct {
	dec   *json.Decoder
	meter meter
}

func (r *jsonReader) value(depth int) (any, error) {
	if err := r.meter.add(depth, 0); err != nil {
		return nil, err
	}

	token, err := r.dec.Token()
	if err != nil {
		return nil, errJSON
	}

	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return r.fields(depth)
		}

		return r.items(depth)
	case json.Number:
		if n, err := token.Int64(); err == nil {
			return int(n), nil
		}

		f, err := token.Float64()
		if err != nil {
			return nil, errors.New("a number is out of range")
		}

		return f, nil
	default:
		return token, nil
	}
}

func (r *jsonReader) fields(depth int) (mapping, error) {
	fields, seen := mapping{}, map[string]bool{}

	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return nil, errJSON
		}

		key, ok := token.(string)
		if !ok {
			return nil, errJSON
		}

		if seen[key] {
			return nil, fmt.Errorf("key %s is there twice", plain(key))
		}

		seen[key] = true

		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}

		fields = append(fields, entry{key: key, value: value})
	}

	return fields, r.end()
}

func (r *jsonReader) items(depth int) (list, error) {
	items := list{}

	for r.dec.More() {
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}

		items = append(items, value)
	}

	return items, r.end()
}

// end reads the closing bracket.
func (r *jsonReader) end() error {
	if _, err := r.dec.Token(); err != nil {
		return errJSON
	}

	return nil
}

func emitJSON(doc document) ([]byte, error) {
	var flat, out bytes.Buffer
	if err := writeJSON(&flat, doc); err != nil {
		return nil, err
	}

	if err := json.Indent(&out, flat.Bytes(), "", "\t"); err != nil {
		return nil, errWrite
	}

	out.WriteByte('\n')

	return out.Bytes(), nil
}

func writeJSON(out *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case mapping:
		return writeObject(out, v)
	case list:
		return writeArray(out, v)
	default:
		data, err := json.Marshal(v)
		if err != nil {
			return errWrite
		}

		out.Write(data)

		return nil
	}
}

func writeObject(out *bytes.Buffer, m mapping) error {
	out.WriteByte('{')

	first := true

	for _, e := range m {
		if e.comment != nil {
			continue
		}

		if !first {
			out.WriteByte(',')
		}

		first = false

		if err := writeJSON(out, e.key); err != nil {
			return err
		}

		out.WriteByte(':')

		if err := writeJSON(out, e.value); err != nil {
			return err
		}
	}

	out.WriteByte('}')

	return nil
}

func writeArray(out *bytes.Buffer, l list) error {
	out.WriteByte('[')

	first := true

	for _, item := range l {
		if _, ok := item.(*comment); ok {
			continue
		}

		if !first {
			out.WriteByte(',')
		}

		first = false

		if err := writeJSON(out, item); err != nil {
			return err
		}
	}

	out.WriteByte(']')

	return nil
}

func emitBinary(doc document) ([]byte, error) {
	_, value, found := doc.take(binaryKey)
	if content, ok := value.(string); ok && found == 1 {
		return []byte(content), nil
	}

	return nil, fmt.Errorf("it is no binary file: %q is not text", binaryKey)
}
