package ingest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

func TestCheckAliases(t *testing.T) {
	cases := map[string]struct {
		reason, document string
		want             error
		fails            bool
	}{
		"None":      {reason: "Most documents have no aliases.", document: "a: b * c & d\n"},
		"Few":       {reason: "Aliases are good for something.", document: "a: &a {b: c}\nd: *a\ne:\n  <<: *a\n"},
		"Loop":      {reason: "What holds itself has no end.", document: "a: &a [*a]\n", want: ingest.ErrAliasLoop},
		"Laughs":    {reason: "Lists of lists grow by powers.", document: laughs(), want: ingest.ErrAliasSize},
		"Quadratic": {reason: "One long text many times is as bad.", document: quadratic(), want: ingest.ErrAliasSize},
		"UTF16":     {reason: "Other encodings are looked into.", document: utf16("a: &a [*a]\n"), want: ingest.ErrAliasLoop},
		"Malformed": {reason: "What cannot be checked is refused.", document: "a: &a b\nc: *a\n\td: [", fails: true},
		"NotYAML":   {reason: "Without aliases, it is the reader's business.", document: "a: [\n"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := ingest.CheckAliases([]byte(tc.document))
			if tc.want != nil && !errors.Is(err, tc.want) || (err != nil) != (tc.want != nil || tc.fails) {
				t.Errorf("%s\nunexpected error: %v", tc.reason, err)
			}
		})
	}
}

// TestExpandedAliases holds that what aliases stand for is counted, and nothing else.
func TestExpandedAliases(t *testing.T) {
	for document, want := range map[string]ingest.Expanded{
		"a: bcd\n":                 {},
		"a: &x bcd\ne: [*x, *x]\n": {Nodes: 8, Bytes: 11}, // the document, the map, two keys, bcd, the list and twice bcd
	} {
		if got, err := ingest.ExpandedAliases([]byte(document)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", document, got, err, want)
		}
	}
}

// laughs is a document in which each line stands for ten of the line before.
func laughs() string {
	var b strings.Builder

	b.WriteString("a: &a [x]\n")

	for c := 'b'; c <= 'i'; c++ {
		b.WriteString(string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 10) + "]\n")
	}

	return b.String()
}

func quadratic() string {
	return "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 1000) + "]\n"
}

func utf16(text string) string {
	b := []byte{0xff, 0xfe}
	for _, c := range []byte(text) {
		b = append(b, c, 0)
	}

	return string(b)
}
