package charts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"helm.sh/helm/v3/pkg/repo"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// yamlReader reads an index in YAML version by version. It cuts the file before the lines at which, by their indentation, a
// version, a chart or something else begins, and leaves each piece to a real parser.
//
// Such a cut is right if the piece before it can be read: what is open there, such as a quoted string, cannot be; and a plain
// or literal string ends at a line that is indented as little as that. What is laid out in any other way is refused with
// errLayout, to be read as a whole.
type yamlReader struct {
	in *input
	b  *builder

	number int          // of the line
	head   bytes.Buffer // all that is not about charts
	piece  bytes.Buffer // the version or chart that is being read
	begin  int          // its line

	marked  bool // there was a line that marks the begin of the document
	began   bool // there was a line that is not indented
	where   where
	entries bool // the key was there
	block   bool // with charts below it
	column  int  // of the names of charts; zero until the first one
	dash    int  // of the dashes before versions of the chart
	chart   string
}

// where tells to what a line belongs.
type where int

const (
	inHead   where = iota
	inCharts       // before the first chart
	inChart        // after its name
	inList         // in a version
	inline         // in a chart that begins on the line of its name
)

func (in *input) readYAML(r *bufio.Reader, b *builder) (*Index, *repo.IndexFile, error) {
	y := &yamlReader{in: in, b: b}

	head, err := y.read(r)
	if errors.Is(err, errLayout) {
		err = fmt.Errorf("line %d: the YAML is laid out so that it can only be read as a whole, which has a limit of %d bytes",
			y.number, in.limits.WholeBytes)
	}

	if err != nil {
		return nil, nil, err
	}

	return b.close(head, false)
}

func (y *yamlReader) read(r *bufio.Reader) (*repo.IndexFile, error) {
	for end := false; !end; {
		line, err := y.next(r)
		if end = errors.Is(err, io.EOF); !end && err != nil {
			return nil, err
		}

		if len(line) == 0 {
			continue
		}

		if err := y.line(line); err != nil {
			return nil, err
		}
	}

	if err := y.flush(); err != nil {
		return nil, err
	}

	head := &repo.IndexFile{}
	if err := strictly(y.head.Bytes(), maxPieceValues, head); err != nil {
		return nil, err //nolint:wrapcheck // it says which line
	}

	if len(head.Entries) > 0 || y.block && head.Entries != nil {
		return nil, errLayout
	}

	return head, nil
}

// next returns the next line with its end, and the error after it.
func (y *yamlReader) next(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}

	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(long) > y.in.limits.EntryBytes {
			return nil, y.tooLarge()
		}

		line, err = r.ReadSlice('\n')
		long = append(long, line...)
	}

	return long, err
}

// line takes a line.
func (y *yamlReader) line(line []byte) error {
	y.number++

	if y.number == 1 {
		line = bytes.TrimPrefix(line, []byte("\uFEFF"))
	}

	if odd(line) {
		return errLayout
	}

	rest := bytes.TrimLeft(line, " ")
	column := len(line) - len(rest)

	switch {
	case blank(rest):
		return y.keep(line)
	case column == 0:
		return y.top(rest)
	case !y.began:
		return errLayout
	case y.where == inHead:
		return y.keep(line)
	case y.column == 0:
		y.column = column
	}

	return y.below(line, rest, column)
}

func (y *yamlReader) tooLarge() error {
	if y.where == inHead {
		return &ingest.LimitError{Max: int64(y.in.limits.EntryBytes), Unit: "bytes beside the charts"}
	}

	return y.in.tooLarge()
}

// keep adds a line to what is being read.
func (y *yamlReader) keep(line []byte) error {
	to := &y.piece

	switch y.where {
	case inHead:
		to = &y.head
	case inCharts, inChart:
		return nil // there is nothing yet
	case inList, inline:
	}

	if to.Len()+len(line) > y.in.limits.EntryBytes {
		return y.tooLarge()
	}

	to.Write(line)

	return nil
}

// top takes a line that is not indented.
func (y *yamlReader) top(rest []byte) error {
	text := string(bytes.TrimRight(rest, " \r\n"))

	if text == "---" && !y.began && !y.marked {
		y.marked = true

		return nil
	}

	if dashed(rest) && y.where == inHead && y.began {
		return y.keep(rest)
	}

	key, value, ok := strings.Cut(text, ":")
	if !ok || key == "" || strings.Trim(key, letters) != "" || value != "" && value[0] != ' ' {
		return errLayout
	}

	if err := y.flush(); err != nil {
		return err
	}

	y.began = true

	if key == "entries" && y.entries {
		return errLayout
	}

	if key == "entries" {
		y.entries, y.block = true, blank([]byte(strings.TrimLeft(value, " ")))
	}

	if key == "entries" && y.block {
		y.where = inCharts

		return nil
	}

	y.where = inHead

	return y.keep(rest)
}

// below takes an indented line under entries.
func (y *yamlReader) below(line, rest []byte, column int) error {
	switch {
	case column < y.column:
		return errLayout
	case column == y.column && !dashed(rest):
		return y.name(line, rest)
	case y.where == inline:
		if column == y.column {
			return errLayout
		}

		return y.keep(line)
	case y.where == inChart && dashed(rest):
		y.dash = column

		return y.version(line)
	case y.where != inList, column < y.dash:
		return errLayout
	case column > y.dash:
		return y.keep(line)
	case dashed(rest):
		return y.version(line)
	}

	return errLayout
}

// name takes the line with the name of a chart.
func (y *yamlReader) name(line, rest []byte) error {
	if err := y.flush(); err != nil {
		return err
	}

	name, value, ok := nameOf(string(bytes.TrimRight(rest, " \r\n")))
	if !ok {
		return errLayout
	}

	if !blank([]byte(value)) {
		y.where, y.begin = inline, y.number

		return y.keep(line)
	}

	y.where, y.chart = inChart, name

	return y.b.chart(name)
}

// version takes the line at which a version begins.
func (y *yamlReader) version(line []byte) error {
	if err := y.flush(); err != nil {
		return err
	}

	y.where, y.begin = inList, y.number

	return y.keep(line)
}

// flush reads the piece that has come to its end.
func (y *yamlReader) flush() error {
	if y.piece.Len() == 0 {
		return nil
	}
	defer y.piece.Reset()

	if y.where == inline {
		return y.flushInline()
	}

	var versions repo.ChartVersions
	if err := strictly(y.piece.Bytes(), maxPieceValues, &versions); err != nil {
		return fmt.Errorf("chart %q: the version at line %d: %w", y.chart, y.begin, err)
	}

	return y.addAll(versions)
}

// flushInline reads a chart that is there as a whole.
func (y *yamlReader) flushInline() error {
	var charts map[string]repo.ChartVersions
	if err := strictly(y.piece.Bytes(), maxPieceValues, &charts); err != nil {
		return fmt.Errorf("the chart at line %d: %w", y.begin, err)
	}

	for name, versions := range charts {
		if err := y.b.chart(name); err != nil {
			return err
		}

		if err := y.addAll(versions); err != nil {
			return err
		}
	}

	return nil
}

func (y *yamlReader) addAll(versions repo.ChartVersions) error {
	for _, cv := range versions {
		if err := y.b.add(cv); err != nil {
			return err
		}
	}

	return nil
}
