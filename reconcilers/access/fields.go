package access

import (
	"bytes"
	"errors"
	"fmt"
)

// errJSON says that what should be JSON is cut off or something else. The position is added where it is known.
var errJSON = errors.New("not the expected JSON")

// EachField calls fn with the key and the value of each field of a JSON object, both as they stand in raw: keys
// without quotes and with their escapes, values whole. It goes as deep as it must to find the end of a value and
// decodes nothing, which makes it the cheap way to pick a few fields out of a large object. Values are not validated.
func EachField(raw []byte, fn func(key, value []byte) error) error {
	return entries(raw, '{', '}', func(i int) (int, error) {
		colon := value(raw, i)
		if colon < 0 || raw[i] != '"' {
			return i, fmt.Errorf("no key at byte %d: %w", i, errJSON)
		}
		key := raw[i+1 : colon-1]
		if colon = space(raw, colon); colon >= len(raw) || raw[colon] != ':' {
			return i, fmt.Errorf("no colon at byte %d: %w", colon, errJSON)
		}
		start := space(raw, colon+1)
		end := value(raw, start)
		if end < 0 {
			return i, fmt.Errorf("no value at byte %d: %w", start, errJSON)
		}
		return end, fn(key, raw[start:end])
	})
}

// EachElement calls fn with each element of a JSON array, as EachField does with the fields of an object.
func EachElement(raw []byte, fn func(value []byte) error) error {
	return entries(raw, '[', ']', func(i int) (int, error) {
		end := value(raw, i)
		if end < 0 {
			return i, fmt.Errorf("no value at byte %d: %w", i, errJSON)
		}
		return end, fn(raw[i:end])
	})
}

// entries calls each with where an entry begins, which returns where it ends.
func entries(raw []byte, first, last byte, each func(i int) (int, error)) error {
	i := space(raw, 0)
	if i >= len(raw) || raw[i] != first {
		return fmt.Errorf("no %q at byte %d: %w", first, i, errJSON)
	}
	for i = space(raw, i+1); i < len(raw) && raw[i] != last; {
		end, err := each(i)
		if err != nil {
			return err
		}
		if i = comma(raw, end); i < 0 {
			break
		}
	}
	if i < 0 || i >= len(raw) {
		return fmt.Errorf("no %q at the end: %w", last, errJSON)
	}
	return nil
}

// comma returns where the next entry begins, or the closing bracket stands; -1 if neither follows.
func comma(raw []byte, i int) int {
	i = space(raw, i)
	if i >= len(raw) {
		return -1
	}
	switch raw[i] {
	case ',':
		return space(raw, i+1)
	case '}', ']':
		return i
	}
	return -1
}

func space(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

// value returns where the value that begins at i ends, or -1.
func value(raw []byte, i int) int {
	if i >= len(raw) {
		return -1
	}
	switch raw[i] {
	case '"':
		return quoted(raw, i)
	case '{', '[':
		return nested(raw, i)
	}
	start := i
	for i < len(raw) && !isEnd(raw[i]) {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func isEnd(b byte) bool {
	switch b {
	case ',', '}', ']', ':', ' ', '\n', '\t', '\r', '"', '{', '[':
		return true
	}
	return false
}

func quoted(raw []byte, i int) int {
	for i++; ; {
		n := bytes.IndexByte(raw[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		escapes := 0
		for raw[i-1-escapes] == '\\' { // ends at the opening quote at the latest
			escapes++
		}
		i++
		if escapes%2 == 0 {
			return i
		}
	}
}

func nested(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			if i = quoted(raw, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}
