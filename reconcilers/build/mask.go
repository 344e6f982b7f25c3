package build

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxMasked      = 40_000
	maxMaskedBytes = 2 << 20

	// maxLine is from which length on only the beginning of a line is kept: from there to the end of the line nothing shows.
	maxLine = 512

	mask = "*****"

	// hidden stands for a message that may hold more secrets than are kept to look for.
	hidden = "the reason is left out, for it may hold what was decrypted"
)

// Mask hides what was decrypted from messages. Nil hides nothing. It is not safe for use while something is added to it.
type Mask struct {
	values map[string]bool
	long   map[string]bool // beginnings of lines
	size   int
	full   bool
}

// Add hides the values, line by line, as they are and as messages write them. Values of one or two bytes are not: see
// Variables.Redact.
func (m *Mask) Add(values ...string) {
	for _, value := range values {
		if m.full {
			return // it hides everything
		}

		if len(value) >= minSecret {
			m.add(base64.StdEncoding.EncodeToString([]byte(value)))
		}

		if !utf8.ValidString(value) {
			continue // no message holds it in another form
		}

		for line := range strings.SplitSeq(value, "\n") {
			for _, text := range written(strings.TrimSpace(line)) {
				m.add(text)
			}
		}
	}
}

func (m *Mask) add(text string) {
	in := &m.values
	if len(text) > maxLine {
		in, text = &m.long, text[:maxLine]
	}

	if len(text) < minSecret || (*in)[text] || m.full {
		return
	}

	if *in == nil {
		*in = map[string]bool{}
	}

	(*in)[strings.Clone(text)] = true // or all that it is cut from would stay in memory
	m.size += len(text)
	m.full = len(m.values)+len(m.long) > maxMasked || m.size > maxMaskedBytes
}

// written returns the ways in which messages may write a text: as it is, in quotes of Go, JSON and YAML.
func written(text string) []string {
	all := []string{text}

	add := func(form string) {
		if !slices.Contains(all, form) {
			all = append(all, form)
		}
	}

	quoted := strconv.Quote(text)
	add(quoted[1 : len(quoted)-1])

	for _, escape := range []bool{true, false} {
		var out bytes.Buffer

		e := json.NewEncoder(&out)
		e.SetEscapeHTML(escape)

		if err := e.Encode(text); err == nil { // a string always can be
			line := strings.TrimSuffix(out.String(), "\n")
			add(line[1 : len(line)-1])
		}
	}

	add(strings.ReplaceAll(text, "'", "''"))

	return all
}

// Hide returns the text with the values masked.
func (m *Mask) Hide(text string) string {
	if m == nil || len(m.values)+len(m.long) == 0 {
		return text
	}

	if m.full {
		return hidden
	}

	for start := range m.long {
		text = hideLines(text, start)
	}

	values := make([]string, 0, len(m.values))
	for v := range m.values {
		values = append(values, v)
	}

	return replaced(text, values)
}

// hideLines masks what begins so, to the end of its line.
func hideLines(text, start string) string {
	var out strings.Builder

	for {
		before, after, found := strings.Cut(text, start)
		out.WriteString(before)

		if !found {
			return out.String()
		}

		out.WriteString(mask)

		if text = ""; strings.Contains(after, "\n") {
			text = after[strings.IndexByte(after, '\n'):]
		}
	}
}

// replaced returns the text with the values masked, longer ones first, so that none shows because part of it was masked.
func replaced(text string, values []string) string {
	const short = 64 << 10 // bytes of a text in which to look for each value by itself

	if len(text) <= short {
		values = slices.DeleteFunc(values, func(v string) bool { return !strings.Contains(text, v) })
	}

	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })

	pairs := make([]string, 0, 2*len(values)) //nolint:mnd // a value and what takes its place
	for _, v := range values {
		pairs = append(pairs, v, mask)
	}

	return strings.NewReplacer(pairs...).Replace(text)
}

// bytes is what the mask takes in memory, roughly.
func (m *Mask) bytes() int64 {
	const perValue = 64

	if m == nil {
		return 0
	}

	return int64(m.size + (len(m.values)+len(m.long))*perValue)
}

// maskedError is an error without what was decrypted.
type maskedError struct {
	err  error
	text string
}

// err hides the values in an error, which stays what it is.
func (m *Mask) err(err error) error {
	if err == nil || m == nil || m.size == 0 {
		return err
	}

	return &maskedError{err: err, text: m.Hide(err.Error())}
}

// Error implements error.
func (e *maskedError) Error() string { return e.text }

// Unwrap returns the error as it was. Its text must not be shown.
func (e *maskedError) Unwrap() error { return e.err }
