package artifact

import (
	"archive/tar"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Content writes what is to be stored. It has to write the same bytes for the same thing: their digest is compared.
type Content func(w io.Writer) error

// File is the content of a reader as it is.
func File(r io.Reader) Content {
	return func(w io.Writer) error {
		if _, err := io.Copy(w, r); err != nil {
			return fmt.Errorf("copy content: %w", err)
		}

		return nil
	}
}

// Tarball is a tar archive, compressed with gzip, of what fill adds to it. Nothing in it depends on when, where or by whom it is
// made: the same files in the same order give the same bytes.
func (s *Store) Tarball(fill func(*Tar) error) Content {
	return func(w io.Writer) error {
		zip, err := s.zip()
		if err != nil {
			return err
		}

		zip.Reset(w)
		defer s.zips.Put(zip)

		t := &Tar{w: tar.NewWriter(zip)}
		if err := fill(t); err != nil {
			return err
		}

		if err := t.w.Close(); err != nil {
			return fmt.Errorf("end archive: %w", err)
		}

		if err := zip.Close(); err != nil {
			return fmt.Errorf("end compression: %w", err)
		}

		return nil
	}
}

// compression is the level that takes half the time of the default one for a tenth more bytes.
const compression = 2

// zip returns a compressor, used before or new.
func (s *Store) zip() (*gzip.Writer, error) {
	if zip, ok := s.zips.Get().(*gzip.Writer); ok {
		return zip, nil
	}

	zip, err := gzip.NewWriterLevel(nil, compression)
	if err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}

	return zip, nil
}

// Tar is an archive in the making.
type Tar struct {
	w      *tar.Writer
	buffer []byte // grows to what the largest file needs, and to maxBuffer at most
}

const maxBuffer = 32 << 10

// Modes of what is in an archive.
const (
	modeFile       = 0o600
	modeExecutable = 0o700
	modeDir        = 0o750
)

// Dir adds a directory. Its path is relative, with slashes.
func (t *Tar) Dir(path string) error {
	h := &tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: modeDir}
	if err := t.w.WriteHeader(h); err != nil {
		return fmt.Errorf("archive directory %q: %w", path, err)
	}

	return nil
}

// File adds a file of the size in bytes. Its path is relative, with slashes; directories above it need not be added.
func (t *Tar) File(path string, executable bool, size int64, content io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: modeFile, Size: size}
	if executable {
		h.Mode = modeExecutable
	}

	if err := t.w.WriteHeader(h); err != nil {
		return fmt.Errorf("archive file %q: %w", path, err)
	}

	if need := max(min(size, maxBuffer), 1); int64(len(t.buffer)) < need {
		t.buffer = make([]byte, need)
	}

	n, err := io.CopyBuffer(struct{ io.Writer }{t.w}, content, t.buffer)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}

	if err != nil {
		return fmt.Errorf("archive file %q: %w", path, err)
	}

	return nil
}
