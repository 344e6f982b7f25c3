package sops

import (
	"errors"
	"fmt"
)

// Limits of one file.
const (
	// MaxSize is the number of bytes that a file may have.
	MaxSize = 5 << 20

	maxDepth  = 100     // of what contains each other
	maxValues = 400_000 // keys and values, aliases expanded
	maxText   = 4 * MaxSize
	maxBound  = 16 << 10 // bytes of the keys that lead to a value
)

var (
	errDepth  = fmt.Errorf("more than %d levels", maxDepth)
	errValues = fmt.Errorf("more than %d values", maxValues)
	errText   = fmt.Errorf("the aliases expand to more than %d bytes", maxText)
	errBound  = fmt.Errorf("the keys that lead to a value have more than %d bytes", maxBound)
	errKey    = errors.New("a key is not a string")
)

// document is what one file, or one document of a YAML stream, says: a mapping in its order, comments included.
type document = mapping

type mapping []entry

// entry is a key with its value, or a comment between them.
type entry struct {
	key     string
	value   any // mapping, list, or a scalar: string, int, float64, bool, time.Time, nil and what else YAML knows
	comment *comment
}

// list holds values, and comments as *comment.
type list []any

// comment is one line of comment, without the mark in front of it.
type comment struct {
	text string
	// inline is behind a value and not above it.
	inline bool
}

// take removes all entries with the key and returns the value of the last one.
func (m mapping) take(key string) (rest mapping, value any, found int) {
	rest = make(mapping, 0, len(m))

	for _, e := range m {
		if e.comment == nil && e.key == key {
			value, found = e.value, found+1
		} else {
			rest = append(rest, e)
		}
	}

	return rest, value, found
}

// plainValue turns a tree into maps and slices without order and comments, for metadata.
func plainValue(v any) any {
	switch v := v.(type) {
	case mapping:
		fields := make(map[string]any, len(v))

		for _, e := range v {
			if e.comment == nil {
				fields[e.key] = plainValue(e.value)
			}
		}

		return fields
	case list:
		items := make([]any, 0, len(v))

		for _, item := range v {
			if _, ok := item.(*comment); !ok {
				items = append(items, plainValue(item))
			}
		}

		return items
	default:
		return v
	}
}

// meter bounds how much is read.
type meter struct {
	values, text int
}

func (m *meter) add(depth, text int) error {
	m.values++
	m.text += text

	switch {
	case depth > maxDepth:
		return errDepth
	case m.values > maxValues:
		return errValues
	case m.text > maxText:
		return errText
	default:
		return nil
	}
}
