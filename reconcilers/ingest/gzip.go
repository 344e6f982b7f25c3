package ingest

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Gunzip returns what was compressed with gzip. One that holds more bytes than most is refused before it is read to
// its end.
func Gunzip(content []byte, most int64) ([]byte, error) {
	if !bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
		return nil, fmt.Errorf("it is no gzip: it begins with %q", content[:min(len(content), 2)])
	}

	zip, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("read gzip header: %w", err)
	}

	out, err := io.ReadAll(io.LimitReader(zip, most+1))

	switch {
	case err != nil:
		return nil, fmt.Errorf("decompress: %w", err)
	case int64(len(out)) > most:
		return nil, fmt.Errorf("it has more than %d bytes", most)
	}

	return out, nil
}

// Gzip compresses, the same bytes always to the same.
func Gzip(content []byte) ([]byte, error) { return compress(content, gzip.DefaultCompression) }

// Squeeze compresses as far as gzip can, which takes several times as long.
func Squeeze(content []byte) ([]byte, error) { return compress(content, gzip.BestCompression) }

func compress(content []byte, level int) ([]byte, error) {
	var out bytes.Buffer

	zip, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}

	if _, err := zip.Write(content); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}

	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}

	return out.Bytes(), nil
}
