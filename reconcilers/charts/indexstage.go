package charts

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/repo"
)

// NormalIndex is an index with all that its file says, in its normal form: without the entries that are none, the charts by
// name, the highest version first. What is not needed to find charts lies in a file without a name.
type NormalIndex struct {
	*Index

	// Digest of the bytes that were read.
	Digest digest.Digest

	head  *repo.IndexFile
	stage *stage
	spans []span
}

// NormalizeIndex reads an index as ReadIndex does, with all that it says. The directory is for temporary files; empty means
// that of the machine. The index has to be closed.
func NormalizeIndex(ctx context.Context, r io.Reader, l IndexLimits, dir string) (*NormalIndex, error) {
	file, err := nameless(dir)
	if err != nil {
		return nil, err
	}

	s := newStage(file)
	in := newInput(ctx, r, l.orDefaults())
	b := newBuilder(in.limits, s)

	x, head, err := in.read(b)
	if err == nil {
		err = s.flush()
	}

	if err != nil {
		_ = file.Close()

		return nil, err
	}

	return &NormalIndex{Index: x, Digest: in.digest(), head: head, stage: s, spans: b.spans}, nil
}

// nameless returns a temporary file that goes when it is closed.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(cmp.Or(dir, os.TempDir()), "index-*")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}

	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()

		return nil, fmt.Errorf("remove name of temporary file: %w", err)
	}

	return f, nil
}

// Close gives back what the index holds.
func (n *NormalIndex) Close() { _ = n.stage.file.Close() }

// WriteJSON writes the index as JSON. The same index gives the same bytes.
func (n *NormalIndex) WriteJSON(w io.Writer) error {
	before, after, err := n.frame()
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}

	out := bufio.NewWriterSize(w, 64<<10)
	_, _ = out.Write(before) // an error comes back with Flush

	for i, c := range n.charts {
		if i > 0 {
			_ = out.WriteByte(',')
		}

		if err := n.writeChart(out, c); err != nil {
			return fmt.Errorf("write index: %w", err)
		}
	}

	_, _ = out.Write(after)

	return out.Flush() //nolint:wrapcheck // it is the error of the writer
}

// frame returns what stands before and after the charts, in the order of Helm.
func (n *NormalIndex) frame() (before, after []byte, err error) {
	before, err = json.Marshal(struct {
		ServerInfo map[string]any `json:"serverInfo,omitempty"`
		APIVersion string         `json:"apiVersion"`
		Generated  time.Time      `json:"generated"`
	}{n.head.ServerInfo, n.head.APIVersion, n.head.Generated})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // the caller does
	}

	after, err = json.Marshal(struct {
		PublicKeys  []string          `json:"publicKeys,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}{n.head.PublicKeys, n.head.Annotations})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // the caller does
	}

	before = append(bytes.TrimSuffix(before, []byte("}")), `,"entries":{`...)
	after = bytes.TrimPrefix(after, []byte("{"))

	if len(after) > 1 {
		return before, append([]byte("},"), after...), nil
	}

	return before, []byte("}}"), nil
}

func (n *NormalIndex) writeChart(out *bufio.Writer, c chartRecord) error {
	name, err := json.Marshal(n.string(c.name))
	if err != nil {
		return err //nolint:wrapcheck // the caller does
	}

	_, _ = out.Write(name)
	_, _ = out.WriteString(":[")

	for i := range c.count {
		if i > 0 {
			_ = out.WriteByte(',')
		}

		s := n.spans[c.first+i]
		if _, err := io.Copy(out, io.NewSectionReader(n.stage.file, s.offset, int64(s.bytes))); err != nil {
			return fmt.Errorf("read temporary file: %w", err)
		}
	}

	return out.WriteByte(']') //nolint:wrapcheck // the caller does
}

// stage keeps the normal form of entries until their order is known.
type stage struct {
	file   *os.File
	buffer *bufio.Writer
	offset int64
	err    error // of the file: what is read is not to blame
}

// span is where an entry lies in the stage.
type span struct {
	offset int64
	bytes  uint32
}

func newStage(file *os.File) *stage {
	return &stage{file: file, buffer: bufio.NewWriterSize(file, 64<<10)}
}

func (s *stage) add(cv *repo.ChartVersion) (span, error) {
	raw, err := json.Marshal(cv)
	if err != nil {
		return span{}, fmt.Errorf("encode version: %w", err)
	}

	at := span{offset: s.offset, bytes: uint32(len(raw))} //nolint:gosec // the limits bound it
	s.offset += int64(len(raw))

	if _, err := s.buffer.Write(raw); err != nil {
		s.err = fmt.Errorf("write temporary file: %w", err)
	}

	return at, s.err
}

func (s *stage) flush() error {
	if err := s.buffer.Flush(); err != nil {
		s.err = fmt.Errorf("write temporary file: %w", err)
	}

	return s.err
}

// clear forgets all.
func (s *stage) clear() {
	s.buffer.Reset(s.file)
	s.offset = 0

	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		s.err = fmt.Errorf("rewind temporary file: %w", err)
	}
}
