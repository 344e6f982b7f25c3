package sops

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func parseDotenv(data []byte) (document, error) {
	if err := checkMarks(data); err != nil {
		return nil, err
	}

	var doc document

	for i, line := range strings.Split(string(data), "\n") {
		if line == "" {
			continue
		}

		if text, ok := strings.CutPrefix(line, "#"); ok {
			doc = append(doc, entry{comment: &comment{text: text}})

			continue
		}

		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("line %d of the dotenv file has no '='", i+1)
		}

		doc = append(doc, entry{key: key, value: strings.ReplaceAll(value, `\n`, "\n")})
	}

	return doc, nil
}

func emitDotenv(doc document) ([]byte, error) {
	var out bytes.Buffer

	for _, e := range doc {
		if e.comment != nil {
			fmt.Fprintf(&out, "#%s\n", e.comment.text)

			continue
		}

		value, ok := scalarText(e.value)
		if !ok {
			return nil, fmt.Errorf("the value of %s does not fit in a dotenv file", plain(e.key))
		}

		fmt.Fprintf(&out, "%s=%s\n", e.key, strings.ReplaceAll(value, "\n", `\n`))
	}

	return out.Bytes(), nil
}

// scalarText returns a value as formats without types have it.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case mapping, list:
		return "", false
	case float64:
		s := strconv.FormatFloat(v, 'G', -1, 64)
		if !strings.ContainsAny(s, ".E") {
			s = strconv.FormatFloat(v, 'f', 1, 64) // not to be taken for an integer
		}

		return s, true
	case time.Time:
		return v.Format(time.RFC3339), true
	default:
		return fmt.Sprint(v), true
	}
}
