package bucket

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

// spool keeps files one after the other in a file that has no name: none of theirs ever reaches the file system.
type spool struct {
	file *os.File
	out  *bufio.Writer
	size int64
}

// piece is a file in a spool.
type piece struct {
	file      *os.File
	off, size int64
}

// spoolBuffer is the memory that a spool takes, in bytes.
const spoolBuffer = 32 << 10

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "bucket-*")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}

	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()

		return nil, fmt.Errorf("unlink temporary file: %w", err)
	}

	// A file would be read into by other means, with a new buffer each time.
	return &spool{file: f, out: bufio.NewWriterSize(struct{ io.Writer }{f}, spoolBuffer)}, nil
}

func (s *spool) close() { _ = s.file.Close() }

// add appends a file. What is there after an error is no part of any.
func (s *spool) add(content io.Reader) (piece, error) {
	p := piece{file: s.file, off: s.size}

	n, err := s.out.ReadFrom(content)
	s.size += n
	p.size = n

	return p, err //nolint:wrapcheck // the caller does
}

// flush makes what was added readable.
func (s *spool) flush() error {
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}

	return nil
}

// reset forgets all files.
func (s *spool) reset() error {
	s.out.Reset(struct{ io.Writer }{s.file})
	s.size = 0

	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reset temporary file: %w", err)
	}

	if err := s.file.Truncate(0); err != nil {
		return fmt.Errorf("reset temporary file: %w", err)
	}

	return nil
}

// archive is the content of an artifact with all files that came. Parents come first, names in order, so that the same files give
// the same bytes.
func (f *fetch) archive(store *artifact.Store) (artifact.Content, error) {
	for _, s := range f.spools {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}

	paths := make([]string, 0, len(f.pieces))
	for p := range f.pieces {
		paths = append(paths, p)
	}

	slices.SortFunc(paths, inOrder)

	return store.Tarball(func(tar *artifact.Tar) error {
		dirs := map[string]bool{".": true}

		for _, p := range paths {
			if err := addDirs(tar, path.Dir(p), dirs); err != nil {
				return err
			}

			piece := f.pieces[p]
			if err := tar.File(p, false, piece.size, io.NewSectionReader(piece.file, piece.off, piece.size)); err != nil {
				return err //nolint:wrapcheck // it names the file
			}
		}

		return nil
	}), nil
}

// addDirs adds a directory and those above it, unless they are there.
func addDirs(tar *artifact.Tar, dir string, have map[string]bool) error {
	if have[dir] {
		return nil
	}

	have[dir] = true

	if err := addDirs(tar, path.Dir(dir), have); err != nil {
		return err
	}

	return tar.Dir(dir) //nolint:wrapcheck // it names the directory
}

// inOrder compares paths by their elements, as a walk through directories does.
func inOrder(a, b string) int {
	for {
		x, restX, moreX := strings.Cut(a, "/")
		y, restY, moreY := strings.Cut(b, "/")

		if c := strings.Compare(x, y); c != 0 {
			return c
		}

		switch {
		case !moreX && !moreY:
			return 0
		case !moreX:
			return -1
		case !moreY:
			return 1
		}

		a, b = restX, restY
	}
}
