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
func (t *Trees) unpack(ctx context.Context, d digest.Digest, a *meta.Artifact) (dir string, got ingest.Unpacked, err error) {
	if t.options.Store != nil {
		dir, got, err = t.into(func(dir string) (ingest.Unpacked, error) { return t.local(ctx, dir, d) })
		if !errors.Is(err, ErrNotFound) {
			return dir, got, err
		}
	}

	for attempt := 1; ; attempt++ {
		dir, got, err = t.into(func(dir string) (ingest.Unpacked, error) { return t.fetch(ctx, dir, d, a) })
		if err == nil {
			return dir, got, nil
		}

		if !temporary(ctx, err) || attempt >= t.options.Attempts {
			return "", got, err
		}

		if t.options.Wait(ctx, attempt+1) != nil {
			return "", got, err
		}
	}
}

// into makes a directory for what fill unpacks.
func (t *Trees) into(fill func(dir string) (ingest.Unpacked, error)) (string, ingest.Unpacked, error) {
	dir, err := os.MkdirTemp(t.options.Dir, treePrefix+"*")
	if err != nil {
		return "", ingest.Unpacked{}, fmt.Errorf("make directory: %w", err)
	}

	got, err := fill(dir)
	if err != nil {
		_ = os.RemoveAll(dir)

		return "", ingest.Unpacked{}, err
	}

	return dir, got, nil
}

// temporary tells whether another attempt may succeed.
func temporary(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errors.Is(err, ErrUnavailable)
}

// local unpacks an artifact from the store of the process, or fails with ErrNotFound.
func (t *Trees) local(ctx context.Context, dir string, d digest.Digest) (ingest.Unpacked, error) {
	f, err := t.options.Store.Open(d)
	if err != nil {
		return ingest.Unpacked{}, err
	}
	defer f.Close() //nolint:errcheck // it was only read

	got, err := t.untar(ctx, f, dir, d)
	if errors.Is(err, ErrDigestMismatch) {
		t.options.Store.Doubt(d)

		return ingest.Unpacked{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}

	return got, err
}

// fetch unpacks an artifact from where it is served.
func (t *Trees) fetch(ctx context.Context, dir string, d digest.Digest, a *meta.Artifact) (ingest.Unpacked, error) {
	body, err := download(ctx, t.options.Client, a)
	if err != nil {
		return ingest.Unpacked{}, err
	}
	defer body.Close()

	got, err := t.untar(ctx, body, dir, d)
	if err != nil {
		return ingest.Unpacked{}, fmt.Errorf("fetch artifact %q: %w", ingest.Redact(a.URL), err)
	}

	return got, nil
}

// maxRest is how much is read of what follows the archive in its file, or of what is no archive: the digest is that of the whole.
const maxRest = 4 << 30

// untar unpacks an archive into a directory, and checks its digest. What was unpacked is worth nothing with an error.
func (t *Trees) untar(ctx context.Context, r io.Reader, dir string, d digest.Digest) (ingest.Unpacked, error) {
	if !d.Algorithm().Available() {
		return ingest.Unpacked{}, fmt.Errorf("digest algorithm %q is not available", d.Algorithm())
	}

	sum := d.Algorithm().Digester()
	in := &notingReader{r: r, w: sum.Hash()}

	limits := t.options.Limits
	limits.Ratio = math.MaxInt64

	got, err := ingest.Untar(ctx, in, dir, limits)
	if _, over := errors.AsType[*ingest.LimitError](err); over || ctx.Err() != nil {
		return ingest.Unpacked{}, fmt.Errorf("unpack artifact: %w", err)
	}

	if _, e := io.Copy(io.Discard, io.LimitReader(in, maxRest)); e != nil {
		return ingest.Unpacked{}, &transferError{fmt.Errorf("read artifact: %w", e)}
	}

	if computed := sum.Digest(); computed != d {
		return ingest.Unpacked{}, fmt.Errorf("%w: computed %q, expected %q", ErrDigestMismatch, computed, d)
	}

	if err != nil {
		return ingest.Unpacked{}, fmt.Errorf("unpack artifact: %w", err)
	}

	return got, nil
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
