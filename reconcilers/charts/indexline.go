package charts

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// odd tells whether there are characters in a line that the parser takes for the end of one, or does not take. Not all lines
// are passed on to it.
func odd(line []byte) bool {
	for i := 0; i < len(line); {
		c := line[i]
		if ' ' <= c && c <= '~' || c == '\t' || c == '\n' {
			i++

			continue
		}

		r, size := utf8.DecodeRune(line[i:])

		switch {
		case r == '\r' && string(line[i:]) == "\r\n":
		case r < 0xA0, r == utf8.RuneError && size == 1, r == '\u2028', r == '\u2029', r == '\uFEFF', r == '\uFFFE', r == '\uFFFF':
			return true
		}

		i += size
	}

	return false
}

// blank tells whether there is nothing in a line, or a comment.
func blank(rest []byte) bool {
	rest = bytes.TrimRight(rest, " \r\n")

	return len(rest) == 0 || rest[0] == '#'
}

// dashed tells whether an element of a list begins.
func dashed(rest []byte) bool {
	return rest[0] == '-' && (len(rest) == 1 || strings.IndexByte(" \r\n", rest[1]) >= 0)
}

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// maxName bounds the names of charts; a parser has a bound, too.
const maxName = 256

// nameOf returns the name of a chart and what stands behind it. It takes no name that YAML could see anything else in.
func nameOf(text string) (name, value string, ok bool) {
	if text[0] == '"' || text[0] == '\'' {
		name, value, ok = strings.Cut(text[1:], text[:1])
		value, colon := strings.CutPrefix(value, ":")
		ok = ok && colon && name != ""

		return name, strings.TrimLeft(value, " "), ok && plainName(name) && spaced(value)
	}

	name, value, ok = strings.Cut(text, ":")
	if !ok || !spaced(value) || !plainName(name) || strings.IndexByte(letters, name[0]) < 0 {
		return "", "", false
	}

	// Words such as "yes" are no strings.
	if len(name) <= len("false") && !strings.Contains(name, "-") {
		var is map[string]any
		if err := yaml.Unmarshal([]byte(name+": 1"), &is); err != nil || is[name] == nil {
			return "", "", false
		}
	}

	return name, strings.TrimLeft(value, " "), true
}

func plainName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, letters+digits+"-_.") == ""
}

func spaced(value string) bool { return value == "" || value[0] == ' ' }
