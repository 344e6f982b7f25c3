package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is how much memory a zstd stream may want, in bytes: what every decoder has to offer, and all that the usual levels
// need. Source: RFC 8878, section 3.1.1.1.2.
const maxWindow = 8 << 20

// inflate returns what the stream holds once inflated, bounded by the limits. The caller ends it with done.
func inflate(r io.Reader, l Limits) (out io.Reader, done func(), err error) {
	most := plus(l.Bytes, times(l.Entries, entryOverhead))

	raw := &countingReader{r: r, max: plus(most, freeBytes)}
	in := bufio.NewReaderSize(raw, 16<<10) // most archives are smaller than that
	bounded := &boundedReader{r: in, max: most, ratio: l.Ratio, compressed: &raw.n}

	magic, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("read archive: %w", err)
	}

	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		zip, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("read gzip header: %w", err)
		}

		bounded.r = zip

		return bounded, func() {}, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		zip, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("read zstd header: %w", err)
		}

		bounded.r = zip

		return bounded, zip.Close, nil
	}

	bounded.ratio = 1

	return bounded, func() {}, nil
}

// times multiplies, but for numbers that are no limit at all.
func times(n int, each int64) int64 { return min(int64(n), math.MaxInt64/each) * each }

// plus adds, but for numbers that are no limit at all.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}

	return a + b
}
