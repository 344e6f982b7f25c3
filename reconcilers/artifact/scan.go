package artifact

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// scan finds out what an earlier process has left, and removes all content that no path leads to. The names of the contents say
// which digest a path should have. Whether it has is not known before it is read.
func (s *Store) scan() error {
	contents, err := s.sweep()
	if err != nil {
		return err
	}

	root := s.options.Root

	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}

		if strings.HasPrefix(e.Name(), ".") {
			return skip(e)
		}

		if !e.Type().IsRegular() {
			return nil
		}

		info, err := e.Info()
		if err != nil {
			return err
		}

		at, err := parsePath(filepath.ToSlash(strings.TrimPrefix(name, root+string(filepath.Separator))))
		if err != nil {
			return nil //nolint:nilerr // it is none of the store's
		}

		if d, ok := contents[stampOf(info)]; ok {
			s.links[at.Path()] = link{digest: d, made: info.ModTime()}
		}

		return nil
	})
	if err != nil {
		return fmt.Errorf("look at storage: %w", err)
	}

	return nil
}

func skip(e fs.DirEntry) error {
	if e.IsDir() {
		return fs.SkipDir
	}

	return nil
}

// sweep removes all content that no path leads to, and returns the digests by which the rest is stored.
func (s *Store) sweep() (map[stamp]digest.Digest, error) {
	contents := map[stamp]digest.Digest{}

	err := filepath.WalkDir(filepath.Join(s.options.Root, blobsDir), func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}

		info, err := e.Info()
		if err != nil {
			return err
		}

		algorithm := digest.Algorithm(filepath.Base(filepath.Dir(name)))
		d := digest.NewDigestFromEncoded(algorithm, e.Name())

		if names(info) == 1 || d.Validate() != nil {
			return os.Remove(name) //nolint:gosec // the directory is the store's alone
		}

		contents[stampOf(info)] = d

		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sweep content: %w", err)
	}

	return contents, nil
}

// names returns how many names a file has.
func names(info fs.FileInfo) uint64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Nlink) //nolint:unconvert // not an uint64 everywhere
	}

	return 1
}
