package build

import (
	"slices"
	"strconv"
	"strings"
)

const (
	maxMasked      = 20_000
	maxMaskedBytes = 1 << 20

	// hidden stands for a message that may hold more secrets than are kept to look for.
	hidden = "the reason is left out, for it may hold what was decrypted"
)

// Mask hides what was decrypted from messages. Nil hides nothing. It is not safe for use while something is added to it.
type Mask struct {
	values map[string]bool
	size   int
	full   bool
}

// Add hides the values, line by line, as they are and in quotes. Values of one or two bytes are not: see Variables.Redact.
func (m *Mask) Add(values ...string) {
	for _, value := range values {
		for line := range strings.SplitSeq(value, "\n") {
			m.add(line)

			if q := strconv.Quote(line); q != `"`+line+`"` {
				m.add(q[1 : len(q)-1])
			}
		}
	}
}

func (m *Mask) add(text string) {
	if text = strings.TrimSpace(text); len(text) < minSecret || m.values[text] || m.full {
		return
	}

	if m.values == nil {
		m.values = map[string]bool{}
	}

	m.values[text] = true
	m.size += len(text)
	m.full = len(m.values) > maxMasked || m.size > maxMaskedBytes
}

// Hide returns the text with the values masked.
func (m *Mask) Hide(text string) string {
	if m == nil || len(m.values) == 0 {
		return text
	}

	if m.full {
		return hidden
	}

	values := make([]string, 0, len(m.values))
	for v := range m.values {
		if strings.Contains(text, v) {
			values = append(values, v)
		}
	}

	// Longer values first, so that none shows because part of it was masked.
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })

	for _, v := range values {
		text = strings.ReplaceAll(text, v, "*****")
	}

	return text
}

// bytes is what the mask takes in memory, roughly.
func (m *Mask) bytes() int64 {
	const perValue = 64

	if m == nil {
		return 0
	}

	return int64(m.size + len(m.values)*perValue)
}

// maskedError is an error without what was decrypted.
type maskedError struct {
	err  error
	text string
}

// err hides the values in an error, which stays what it is.
func (m *Mask) err(err error) error {
	if err == nil || m == nil || len(m.values) == 0 {
		return err
	}

	return &maskedError{err: err, text: m.Hide(err.Error())}
}

// Error implements error.
func (e *maskedError) Error() string { return e.text }

// Unwrap returns the error as it was. Its text must not be shown.
func (e *maskedError) Unwrap() error { return e.err }
