package charts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// brokenIndexes are files that are no index, with how the error begins.
func brokenIndexes() map[string]struct{ text, want string } {
	head := "apiVersion: v1\nentries:\n  a:\n"
	aliases := "apiVersion: v1\nannotations:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'z'; c++ {
		aliases += fmt.Sprintf("  %c: &%c [*%c%s]\n", c, c, c-1, strings.Repeat(fmt.Sprintf(",*%c", c-1), 9))
	}

	return map[string]struct{ text, want string }{
		"Empty":          {"", "empty index.yaml file"},
		"Blank":          {"\n\n", "no API version specified"},
		"NoVersion":      {"entries: {}\n", "no API version specified"},
		"NullVersion":    {"apiVersion:\nentries: {}\n", "no API version specified"},
		"JSONNoVersion":  {"{}", "no API version specified"},
		"JSONWords":      {`{"apiVersion":"v1","entries":[]}`, "json: cannot unmarshal array"},
		"JSONTypes":      {`{"apiVersion":"v1","entries":{"a":[{"name":1}]}}`, "json: cannot unmarshal number"},
		"JSONCut":        {`{"apiVersion":"v1","entries":{"a":[{"name":"a"`, "error converting YAML to JSON: yaml: "},
		"Text":           {"hello\n", "error unmarshaling JSON: "},
		"List":           {"- a\n", "error unmarshaling JSON: "},
		"Page":           {"<html><body>x: y</body></html>\n", "error unmarshaling JSON: "},
		"Unknown":        {"apiVersion: v1\nfoo: 1\n", "error unmarshaling JSON: while decoding JSON: json: unknown field"},
		"UnknownInEntry": {head + "  - name: a\n    foo: 1\n", "error unmarshaling JSON: while decoding JSON: json: unknown field"},
		"TwiceChart":     {head + "  - name: a\n  b:\n  - name: b\n  a: []\n", "error converting YAML to JSON: yaml: "},
		"TwiceKey":       {head + "  - name: a\n    name: b\n", "error converting YAML to JSON: yaml: "},
		"TwiceVersion":   {"apiVersion: v1\napiVersion: v2\n", "error converting YAML to JSON: yaml: "},
		"TwiceEntries":   {head + "  - name: a\nentries: {}\n", "error converting YAML to JSON: yaml: "},
		"EntriesAgain":   {"apiVersion: v1\nentries: null\nentries:\n  a: []\n", "error converting YAML to JSON: yaml: "},
		"NoList":         {head + "    name: a\n", "error unmarshaling JSON: "},
		"ListOfCharts":   {"apiVersion: v1\nentries:\n- a\n", "error unmarshaling JSON: "},
		"ListBelow":      {"apiVersion: v1\nentries:\n  - a\n", "error unmarshaling JSON: "},
		"Types":          {head + "  - name: a\n    version: 1.0\n", "error unmarshaling JSON: "},
		"Time":           {head + "  - name: a\n    created: yesterday\n", "error unmarshaling JSON: "},
		"Tab":            {head + "\t- name: a\n", "error converting YAML to JSON: yaml: "},
		"OpenQuote":      {head + "  - name: \"a\n  b:\n  - name: b\n", "error converting YAML to JSON: yaml: "},
		"OddIndent":      {head + " - name: a\n", "error converting YAML to JSON: yaml: "},
		"Dedent":         {head + "    - name: a\n   - name: b\n", "error converting YAML to JSON: yaml: "},
		"NoAnchor":       {head + "  - name: *x\n", "error converting YAML to JSON: yaml: "},
		"Control":        {head + "  - name: \"\x00\"\n", "error converting YAML to JSON: yaml: "},
		"HiddenControl":  {"apiVersion: v1\nentries:\n  a:\n  # \x00\n  - name: a\n    version: 1.0.0\n", "error converting YAML to JSON: yaml: "},
		"TwoMarks":       {"---\n---\napiVersion: v1\n", "no API version specified"},
		"Aliases":        {aliases, "the YAML aliases expand to more than"},
		"Deep":           {head + "  - annotations: " + strings.Repeat("[", 20000), "error converting YAML to JSON: yaml: "},
		"DeepJSON":       {`{"apiVersion":"v1","entries":{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}}", "error "},
	}
}

func TestBrokenIndexes(t *testing.T) {
	for name, tc := range brokenIndexes() {
		t.Run(name, func(t *testing.T) {
			if _, err := helmReads(t, []byte(tc.text)); err == nil {
				t.Error("Helm takes it")
			}

			for _, l := range []charts.IndexLimits{{}, piecewise()} {
				_, _, err := charts.ReadIndex(t.Context(), strings.NewReader(tc.text), l)
				if err == nil || len(err.Error()) > 600 || l.WholeBytes == 0 && !strings.HasPrefix(err.Error(), tc.want) {
					t.Errorf("got %v\nwant %s", err, tc.want)
				}
			}
		})
	}
}

// endless goes on and on.
type endless struct {
	head, rest string
	read       int64
}

// Read implements io.Reader.
func (e *endless) Read(p []byte) (int, error) {
	if e.head == "" {
		e.head = e.rest
	}

	n := copy(p, e.head)
	e.head = e.head[n:]
	e.read += int64(n)

	return n, nil
}

func TestIndexLimits(t *testing.T) {
	yaml := "apiVersion: v1\nentries:\n  a:\n"

	cases := map[string]struct {
		reason string
		in     endless
		limits charts.IndexLimits
		want   ingest.LimitError
		most   int64 // that may be read
	}{
		"Bytes": {
			reason: "The whole file is bounded.", in: endless{head: yaml, rest: "  - {name: a, version: 1.0.0}\n"},
			limits: charts.IndexLimits{Bytes: 1 << 20},
			want:   ingest.LimitError{Max: 1 << 20, Unit: "bytes per index"}, most: 1<<20 + 64<<10,
		},
		"Entries": {
			reason: "The number of entries is bounded.", in: endless{head: yaml, rest: "  - null\n"},
			limits: charts.IndexLimits{Entries: 1000},
			want:   ingest.LimitError{Max: 1000, Unit: "charts and versions per index"}, most: 128 << 10,
		},
		"Charts": {
			reason: "Charts without versions count, too.", in: endless{head: `{"entries":{"a":[]`, rest: `,"a":null`},
			limits: charts.IndexLimits{Entries: 1000},
			want:   ingest.LimitError{Max: 1000, Unit: "charts and versions per index"}, most: 128 << 10,
		},
		"EntryBytes": {
			reason: "A version is bounded.", in: endless{head: yaml + "  - name: a\n", rest: "    x: y\n"},
			limits: charts.IndexLimits{EntryBytes: 1 << 10},
			want:   ingest.LimitError{Max: 1 << 10, Unit: "bytes per version of a chart"}, most: 128 << 10,
		},
		"LongLine": {
			reason: "A line is bounded.", in: endless{head: yaml + "  - name: a", rest: "aaaaaaa"},
			limits: charts.IndexLimits{EntryBytes: 1 << 10},
			want:   ingest.LimitError{Max: 1 << 10, Unit: "bytes per version of a chart"}, most: 128 << 10,
		},
		"EntryBytesJSON": {
			reason: "A version is bounded in JSON.", in: endless{head: `{"entries":{"a":[{"name":"`, rest: "aaaa"},
			limits: charts.IndexLimits{EntryBytes: 1 << 10},
			want:   ingest.LimitError{Max: 1 << 10, Unit: "bytes per version of a chart"}, most: 256 << 10,
		},
		"Head": {
			reason: "What is beside the charts is bounded.", in: endless{head: "annotations:\n", rest: "  a: b\n"},
			limits: charts.IndexLimits{EntryBytes: 1 << 10},
			want:   ingest.LimitError{Max: 1 << 10, Unit: "bytes beside the charts"}, most: 128 << 10,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := charts.ReadIndex(t.Context(), &tc.in, tc.limits)

			got, ok := errors.AsType[*ingest.LimitError](err)
			if !ok {
				t.Fatalf("%s\ngot %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, *got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			if tc.in.read > tc.most {
				t.Errorf("%s\n%d bytes were read", tc.reason, tc.in.read)
			}
		})
	}
}

// An index that can only be read as a whole says so when it is too large for that.
func TestIndexLayout(t *testing.T) {
	text := "apiVersion: v1\nentries:\n  ? a\n  : []\n" + strings.Repeat("# more\n", 1000)

	_, _, err := charts.ReadIndex(t.Context(), strings.NewReader(text), charts.IndexLimits{WholeBytes: 1 << 10})

	want := "line 3: the YAML is laid out so that it can only be read as a whole, which has a limit of 1024 bytes"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What is too large to be read as a whole is not read to its end.
func TestIndexLayoutIsFoundEarly(t *testing.T) {
	in := &endless{head: "{apiVersion: v1, entries: {", rest: "a: [],"}

	_, _, err := charts.ReadIndex(t.Context(), in, charts.IndexLimits{WholeBytes: 1 << 10})
	if err == nil || in.read > 128<<10 {
		t.Errorf("%d bytes were read: %v", in.read, err)
	}
}

// An error in a large index says where it is.
func TestErrorInLargeIndex(t *testing.T) {
	text := "apiVersion: v1\nentries:\n  a:\n  - name: a\n    foo: bar\n" + strings.Repeat("# more\n", 1000)

	_, _, err := charts.ReadIndex(t.Context(), strings.NewReader(text), charts.IndexLimits{WholeBytes: 1 << 10})
	if want := `chart "a": the version at line 4: error unmarshaling JSON: `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestIndexIsCancelled(t *testing.T) {
	cause := errors.New("enough")

	ctx, cancel := context.WithCancelCause(t.Context())
	in := &endless{head: "apiVersion: v1\nentries:\n  a:\n", rest: "  - {name: a, version: 1.0.0}\n"}

	go func() {
		cancel(cause)
	}()

	if _, _, err := charts.ReadIndex(ctx, in, charts.IndexLimits{Bytes: 1 << 40, Entries: 1 << 40}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The error of the source is that of the index.
func TestIndexSourceFails(t *testing.T) {
	broken := errors.New("broken pipe")
	in := io.MultiReader(strings.NewReader("apiVersion: v1\n"), &failing{broken})

	if _, _, err := charts.ReadIndex(t.Context(), in, charts.IndexLimits{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

// Read implements io.Reader.
func (f *failing) Read([]byte) (int, error) { return 0, f.err }
