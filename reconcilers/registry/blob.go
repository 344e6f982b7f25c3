package registry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrCorrupt says that content is not what its digest and size stand for.
var ErrCorrupt = errors.New("the content is not that of its digest")

// Blob returns the content of a layer or config. Whether it is the content of the digest shows at its end: reading it fails
// in place of io.EOF if it is not, and what was read before must not be used. No more than the size of the descriptor is read.
func (r *Repository) Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	sum, err := v1.Hasher(d.Digest.Algorithm)
	if err != nil {
		return nil, fmt.Errorf("digest algorithm %q is not available", d.Digest.Algorithm)
	}

	resp, err := r.request(ctx, http.MethodGet, "/blobs/"+d.Digest.String(), max(d.Size, 1))
	if err != nil {
		return nil, err
	}

	if resp.ContentLength >= 0 && resp.ContentLength != d.Size {
		_ = resp.Body.Close()

		return nil, fmt.Errorf("blob %s: %w: it has %d bytes in place of %d", d.Digest, ErrCorrupt, resp.ContentLength, d.Size)
	}

	return &blob{body: resp.Body, want: d, left: d.Size, sum: sum}, nil
}

// blob checks what it reads.
type blob struct {
	body io.ReadCloser
	want v1.Descriptor
	left int64
	sum  hash.Hash
}

// Read implements io.Reader.
func (b *blob) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.sum.Write(p[:n])

	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("blob %s: %w: it has more than %d bytes", b.want.Digest, ErrCorrupt, b.want.Size)
	}

	if !errors.Is(err, io.EOF) {
		return n, err
	}

	if b.left > 0 {
		return 0, fmt.Errorf("blob %s: %w: %d bytes are missing", b.want.Digest, ErrCorrupt, b.left)
	}

	if got := hex.EncodeToString(b.sum.Sum(nil)); got != b.want.Digest.Hex {
		return 0, fmt.Errorf("blob %s: %w: it is that of %q", b.want.Digest, ErrCorrupt, got)
	}

	return n, err
}

// Close implements io.Closer.
func (b *blob) Close() error { return b.body.Close() }
