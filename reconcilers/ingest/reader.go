package ingest

import (
	"context"
	"io"
)

// contextReader fails once its context has ended.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives as long as the call that was given the context
	r   io.Reader
}

// Read implements io.Reader.
func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}

	return c.r.Read(p)
}

// countingReader counts what is read, and fails when it is more than the limit. Zero means no limit.
type countingReader struct {
	r      io.Reader
	n, max int64
}

// Read implements io.Reader.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)

	if c.max > 0 && c.n > c.max {
		return 0, over(c.max, unitRaw)
	}

	return n, err
}

// boundedReader fails when too much comes out of an archive, in all or for what went in.
type boundedReader struct {
	r          io.Reader
	n, max     int64
	ratio      int64
	compressed *int64
}

// Read implements io.Reader.
func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)

	if b.n > b.max {
		return 0, over(b.max, unitBytes)
	}

	if b.ratio > 1 && b.n > freeBytes && b.n/b.ratio > *b.compressed {
		return 0, over(b.ratio, unitRatio)
	}

	return n, err
}

// onlyWriter hides all but Write, so that io.CopyBuffer uses the buffer it is given.
type onlyWriter struct{ io.Writer }
