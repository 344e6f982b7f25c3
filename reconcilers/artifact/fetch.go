package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// unpack unpacks an artifact, from the store of the process or from where it is served, into a new directory.
func (t *Trees) unpack(ctx context.Context, d digest.Digest, a *meta.Artifact) (dir string, bytes int64, err error) {
	if t.options.Store != nil {
		dir, bytes, err = t.into(func(dir string) (int64, error) { return t.local(ctx, dir, d) })
		if !errors.Is(err, ErrNotFound) {
			return dir, bytes, err
		}
	}

	for attempt := 1; ; attempt++ {
		dir, bytes, err = t.into(func(dir string) (int64, error) { return t.fetch(ctx, dir, d, a) })
		if err == nil {
			return dir, bytes, nil
		}

		if !temporary(ctx, err) || attempt >= t.options.Attempts {
			return "", 0, err
		}

		if t.options.Wait(ctx, attempt+1) != nil {
			return "", 0, err
		}
	}
}

// into makes a directory for what fill unpacks.
func (t *Trees) into(fill func(dir string) (int64, error)) (string, int64, error) {
	dir, err := os.MkdirTemp(t.options.Dir, treePrefix+"*")
	if err != nil {
		return "", 0, fmt.Errorf("make directory: %w", err)
	}

	bytes, err := fill(dir)
	if err != nil {
		_ = os.RemoveAll(dir)

		return "", 0, err
	}

	return dir, bytes, nil
}

// temporary tells whether another attempt may succeed.
func temporary(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errors.Is(err, ErrUnavailable)
}

// local unpacks an artifact from the store of the process, or fails with ErrNotFound.
func (t *Trees) local(ctx context.Context, dir string, d digest.Digest) (int64, error) {
	f, err := t.options.Store.Open(d)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // it was only read

	bytes, err := t.untar(ctx, f, dir, d)
	if errors.Is(err, ErrDigestMismatch) {
		t.options.Store.Doubt(d)

		return 0, fmt.Errorf("%w: %w", ErrNotFound, err)
	}

	return bytes, err
}

// fetch unpacks an artifact from where it is served.
func (t *Trees) fetch(ctx context.Context, dir string, d digest.Digest, a *meta.Artifact) (int64, error) {
	body, err := download(ctx, t.options.Client, a)
	if err != nil {
		return 0, err
	}
	defer body.Close()

	bytes, err := t.untar(ctx, body, dir, d)
	if err != nil {
		return 0, fmt.Errorf("fetch artifact %q: %w", ingest.Redact(a.URL), err)
	}

	return bytes, nil
}

const (
	// maxRest is how much may follow the archive in its file.
	maxRest = 1 << 20

	// maxWrong is how much is read of what is no archive, to tell whether it is the right file.
	maxWrong = 4 << 30
)

// untar unpacks an archive into a directory, and checks its digest. What was unpacked is worth nothing with an error.
func (t *Trees) untar(ctx context.Context, r io.Reader, dir string, d digest.Digest) (int64, error) {
	if !d.Algorithm().Available() {
		return 0, fmt.Errorf("digest algorithm %q is not available", d.Algorithm())
	}

	sum := d.Algorithm().Digester()
	in := &notingReader{r: r, w: sum.Hash()}

	limits := t.options.Limits
	limits.Ratio = math.MaxInt64

	got, err := ingest.Untar(ctx, in, dir, limits)
	if _, over := errors.AsType[*ingest.LimitError](err); over || ctx.Err() != nil {
		return 0, fmt.Errorf("unpack artifact: %w", err)
	}

	rest := int64(maxRest)
	if err != nil {
		rest = maxWrong // it may be another file altogether
	}

	if _, e := io.Copy(io.Discard, io.LimitReader(in, rest)); e != nil {
		return 0, &transferError{fmt.Errorf("read artifact: %w", e)}
	}

	if computed := sum.Digest(); computed != d {
		return 0, fmt.Errorf("%w: computed %q, expected %q", ErrDigestMismatch, computed, d)
	}

	if err != nil {
		return 0, fmt.Errorf("unpack artifact: %w", err)
	}

	return got.Bytes, nil
}

// notingReader writes what is read to a hash, and keeps the error of the source.
type notingReader struct {
	r   io.Reader
	w   io.Writer
	err error
}

// Read implements io.Reader.
func (n *notingReader) Read(p []byte) (int, error) {
	if n.err != nil {
		return 0, n.err
	}

	c, err := n.r.Read(p)
	n.err = err

	_, _ = n.w.Write(p[:c]) // hashes never fail

	return c, err
}
