package charts

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// DefaultIndexBytes and DefaultChartBytes are what an index and a chart may have if nobody says otherwise.
const (
	DefaultIndexBytes = 50 << 20
	DefaultChartBytes = 10 << 20
)

// IndexLimits bound what an index may cost. A field that is zero takes its default.
type IndexLimits struct {
	// Bytes of the file. The default is DefaultIndexBytes.
	Bytes int64

	// Entries are charts and their versions together. The default is 500 000.
	Entries int

	// EntryBytes of one version, and of all that is not about charts. The default is 1 MiB.
	EntryBytes int

	// WholeBytes of a file that is laid out so that it can only be read as a whole, such as YAML in flow style or with anchors
	// that are used elsewhere. Reading takes more than 20 times as much memory. The default is 4 MiB.
	WholeBytes int
}

func (l IndexLimits) orDefaults() IndexLimits {
	l.Bytes = cmp.Or(l.Bytes, DefaultIndexBytes)
	l.Entries = cmp.Or(l.Entries, 500_000)
	l.EntryBytes = cmp.Or(l.EntryBytes, 1<<20)
	l.WholeBytes = cmp.Or(l.WholeBytes, 4<<20)

	return l
}

// ReadIndex reads the index of a repository, as YAML or JSON, and returns it with the digest of what was read. It takes and
// refuses what Helm does, within the limits, and passes over the same entries: those without a name, or with a version that is
// none. Memory does not grow with the size of the file, but with the number of versions.
func ReadIndex(ctx context.Context, r io.Reader, l IndexLimits) (*Index, digest.Digest, error) {
	in := newInput(ctx, r, l.orDefaults())

	x, _, err := in.read(newBuilder(in.limits, nil))

	return x, in.digest(), err
}

// errLayout says that something is not laid out so that it can be read piece by piece.
var errLayout = errors.New("unusual layout")

// input is an index file while it is read.
type input struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call that was given the context
	r      io.Reader
	limits IndexLimits

	sum   hash.Hash
	bytes int64
	stop  int64  // reading beyond is an error of the piece that is being read; zero means no bound
	whole []byte // all that was read, nil once that is too much
	err   error  // of the source, or of a limit
}

func newInput(ctx context.Context, r io.Reader, l IndexLimits) *input {
	return &input{ctx: ctx, r: r, limits: l, sum: sha256.New(), whole: []byte{}}
}

// maxRead is how much is read at a time, so that a piece is found too large before it is read.
const maxRead = 32 << 10

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if in.err == nil {
		in.err = in.ctx.Err()
	}

	if in.err != nil {
		return 0, in.err
	}

	n, err := in.r.Read(p[:min(len(p), maxRead)])
	in.take(p[:n])

	switch {
	case in.bytes > in.limits.Bytes:
		in.err = &ingest.LimitError{Max: in.limits.Bytes, Unit: "bytes per index"}
	case in.stop > 0 && in.bytes > in.stop:
		in.err = in.tooLarge()
	default:
		in.err = err

		return n, err
	}

	return 0, in.err
}

func (in *input) take(p []byte) {
	in.sum.Write(p)
	in.bytes += int64(len(p))

	switch {
	case in.whole == nil:
	case len(in.whole)+len(p) > in.limits.WholeBytes:
		in.whole = nil
	default:
		in.whole = append(in.whole, p...)
	}
}

// bound bounds the piece that begins at an offset.
func (in *input) bound(offset int64) { in.stop = offset + int64(in.limits.EntryBytes) + 2*maxRead }

func (in *input) tooLarge() error {
	return &ingest.LimitError{Max: int64(in.limits.EntryBytes), Unit: "bytes per version of a chart"}
}

func (in *input) digest() digest.Digest { return digest.NewDigest(digest.SHA256, in.sum) }

// read reads all of the index, piece by piece if possible.
func (in *input) read(b *builder) (*Index, *repo.IndexFile, error) {
	buffered := bufio.NewReaderSize(in, maxRead)

	pieces := in.readYAML
	if looksLikeJSON(buffered) {
		pieces = in.readJSON
	}

	x, head, err := pieces(buffered, b)
	if err == nil {
		return x, head, nil
	}

	if final(in.err) {
		return nil, nil, brief(in.err)
	}

	if _, over := errors.AsType[*ingest.LimitError](err); over || b.stage != nil && b.stage.err != nil {
		return nil, nil, err
	}

	if e := in.rest(); e != nil {
		return nil, nil, e
	}

	if in.whole == nil {
		return nil, nil, brief(err)
	}

	return in.readWhole(b)
}

// rest reads the file to its end, as long as it can be kept.
func (in *input) rest() error {
	in.stop = 0

	for in.whole != nil {
		if _, err := io.CopyN(io.Discard, in, maxRead); err != nil {
			return ignoreEnd(err)
		}
	}

	return nil
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}

	return err
}

// final tells whether the error of the source is more than its end.
func final(err error) bool { return err != nil && !errors.Is(err, io.EOF) }

// looksLikeJSON tells whether the first character is that of an object.
func looksLikeJSON(r *bufio.Reader) bool {
	for n := 1; n <= r.Size(); n++ {
		p, err := r.Peek(n)
		if err != nil {
			return false
		}

		if c := p[n-1]; !strings.ContainsRune(" \t\r\n", rune(c)) {
			return c == '{'
		}
	}

	return false
}

// readWhole reads the index at once, as Helm does.
func (in *input) readWhole(b *builder) (*Index, *repo.IndexFile, error) {
	b.clear()

	if len(in.whole) == 0 {
		return nil, nil, repo.ErrEmptyIndexYaml
	}

	head := &repo.IndexFile{}
	if err := unmarshal(in.whole, head); err != nil {
		return nil, nil, brief(err)
	}

	for name, versions := range head.Entries {
		if err := b.chart(name); err != nil {
			return nil, nil, err
		}

		for _, cv := range versions {
			if err := b.add(cv); err != nil {
				return nil, nil, err
			}
		}
	}

	return b.close(head, true)
}

// close returns the index, if the head is that of one.
func (b *builder) close(head *repo.IndexFile, lastCounts bool) (*Index, *repo.IndexFile, error) {
	head.Entries = nil

	x, err := b.finish(lastCounts)

	switch {
	case err != nil:
		return nil, nil, err
	case head.APIVersion == "":
		return nil, nil, repo.ErrNoAPIVersion
	}

	return x, head, nil
}

// unmarshal reads JSON as JSON, and anything else as YAML, in which nothing may be there that is not known.
func unmarshal(raw []byte, into any) error {
	if json.Valid(raw) {
		return json.Unmarshal(raw, into)
	}

	return strictly(raw, maxWholeValues, into)
}

// brief shortens an error that may quote the file.
func brief(err error) error {
	const most = 512

	if s := err.Error(); len(s) > most {
		return fmt.Errorf("%s…", bytes.ToValidUTF8([]byte(s[:most]), nil))
	}

	return err
}
