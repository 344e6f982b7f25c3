package bucket

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// earlier is an archive from which files are taken.
type earlier struct {
	past

	open func() (*os.File, error)
}

// take takes files from an earlier archive, which may be nil. An archive that is not what it should be gives none: all is fetched
// then, and whatever is wrong with the archive shows when it is checked the next time.
func (f *fetch) take(ctx context.Context, files []file, e *earlier) error {
	if e == nil {
		return nil
	}

	wanted := map[string]bool{}

	for _, o := range files {
		if o.etag != "" && e.members.has(o.object) { // without an etag, it may be another one now
			wanted[o.path] = true
		}
	}

	if len(wanted) == 0 {
		return nil
	}

	s, err := f.spool()
	if err != nil {
		return err
	}

	if f.pieces, err = f.unpack(ctx, wanted, e, s); err == nil {
		return nil
	}

	f.pieces = map[string]piece{}
	f.bytes.Store(0)

	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}

	return s.reset()
}

// unpack reads the wanted files of an archive.
func (f *fetch) unpack(ctx context.Context, wanted map[string]bool, e *earlier, s *spool) (map[string]piece, error) {
	in, err := e.open()
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // it was only read

	sum := e.digest.Verifier()
	all := io.TeeReader(in, sum)
	pieces := make(map[string]piece, len(wanted))

	limits := f.limits
	limits.Ratio = math.MaxInt64 // we made it

	_, err = ingest.ReadTar(ctx, all, limits, func(t ingest.TarFile, content io.Reader) error {
		if !wanted[t.Name] {
			return nil
		}

		p, err := s.add(&meter{Reader: content, fetch: f, name: t.Name})
		pieces[t.Name] = p

		return err
	})
	if err != nil {
		return nil, fmt.Errorf("unpack artifact: %w", err)
	}

	if _, err := io.Copy(io.Discard, all); err != nil {
		return nil, fmt.Errorf("read artifact: %w", err)
	}

	if !sum.Verified() {
		return nil, artifact.ErrDigestMismatch
	}

	return pieces, nil
}
