package values

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"helm.sh/helm/v3/pkg/strvals"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Errors of values to set.
var (
	errText   = errors.New("the content is not UTF-8")
	errSyntax = errors.New("the content cannot be parsed, see the syntax of helm --set")
)

// set sets the content at the target path of a reference, as helm --set does: the content is typed, {a,b} is a list, and after a
// comma another path may follow. In quotes it is text, and a literal is text as it stands.
func (b *budget) set(into map[string]any, ref *meta.ValuesReference, data []byte) error {
	if !utf8.Valid(data) {
		return errText // the parser would replace what it cannot read
	}

	set, text := strvals.ParseInto, string(data)

	switch {
	case ref.Literal:
		set, text = strvals.ParseIntoString, escape(text)
	case quoted(text, `'`), quoted(text, `"`):
		set, text = strvals.ParseIntoString, strings.Trim(text, `'"`)
	}

	expression := ref.TargetPath + "=" + text
	if err := b.index(expression); err != nil {
		return err
	}

	err := set(expression, into)
	if err != nil && ref.Kind == kindSecret {
		err = errSyntax
	}

	if err != nil {
		return fmt.Errorf("set %q: %w", ref.TargetPath, err)
	}

	return nil
}

func quoted(text, quote string) bool {
	return strings.HasPrefix(text, quote) && strings.HasSuffix(text, quote)
}

// escape takes the meaning from what has one to the parser.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`).Replace(text)
}

// index counts the items of the lists that an expression asks for: the parser makes a list as long as the index says, and an
// expression may hold as many indices as it has room for.
func (b *budget) index(expression string) error {
	s := scanner{rest: expression}

	for s.rest != "" {
		switch r, escaped := s.next(); {
		case escaped:
		case r == '=':
			s.value()
			s.depth = 0
		case r == '[':
			s.depth++

			// What is no number the parser refuses.
			if i, err := strconv.Atoi(s.until(']')); err == nil && i >= 0 {
				b.items -= min(i, maxItems) + 1
			}
		}

		if b.items < 0 {
			return &ingest.LimitError{Max: maxItems, Unit: "items in lists that indices of target paths make"}
		}

		if s.depth > maxDepth {
			return errDepth
		}
	}

	return nil
}

// scanner reads an expression as the parser of Helm does, as far as it takes to find the indices in it.
type scanner struct {
	rest string

	// depth of lists in lists at the present key.
	depth int
}

// next returns the next rune, and whether a backslash took its meaning away.
func (s *scanner) next() (r rune, escaped bool) {
	r = s.rune()
	if r == '\\' && s.rest != "" {
		return s.rune(), true
	}

	return r, false
}

func (s *scanner) rune() rune {
	r, size := utf8.DecodeRuneInString(s.rest)
	s.rest = s.rest[size:]

	return r
}

// until returns what comes before a rune, and skips the rune too.
func (s *scanner) until(stop rune) string {
	var b strings.Builder

	for s.rest != "" {
		r, escaped := s.next()
		if r == stop && !escaped {
			break
		}

		b.WriteRune(r)
	}

	return b.String()
}

// value skips a value.
func (s *scanner) value() {
	if !strings.HasPrefix(s.rest, "{") {
		s.until(',')

		return
	}

	s.until('}')
}
