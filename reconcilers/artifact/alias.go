package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Alias makes the name a second name of the artifact at the location, beside its file: latest.tar.gz, say. It returns the URL
// of that name. A name that led to another artifact leads to this one at once; Collect keeps it, and it goes with Remove. Once
// the artifact itself is gone, nothing is served under the name. It fails with ErrNotFound if there is no such artifact.
func (s *Store) Alias(at Location, name string) (url string, err error) {
	alias := Location{Owner: at.Owner, File: name}
	if err := errors.Join(at.validate(), alias.validate()); err != nil {
		return "", err
	}

	if name == at.File {
		return "", fmt.Errorf("%w: %q is the name of the artifact itself", ErrInvalidPath, name)
	}

	s.write.Lock()
	defer s.write.Unlock()

	info, err := os.Lstat(s.file(at.Path()))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: %q", ErrNotFound, at.Path())
	}

	if err != nil {
		return "", fmt.Errorf("stat artifact: %w", err)
	}

	return s.URL(alias.Path()), s.point(alias, at.File)
}

// point makes the alias lead to the file beside it. The caller holds the write lock.
func (s *Store) point(alias Location, file string) error {
	have, err := os.Lstat(s.file(alias.Path()))

	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("stat alias: %w", err)
	case err == nil && have.Mode().IsRegular():
		return fmt.Errorf("%w: %q is an artifact", ErrInvalidPath, alias.Path())
	case err == nil && have.Mode().Type() == fs.ModeSymlink:
		if to, err := os.Readlink(s.file(alias.Path())); err == nil && to == file {
			return nil
		}
	}

	// The name is free: the caller holds the write lock.
	temp := filepath.Join(s.options.Root, tempDir, "alias")
	_ = os.Remove(temp)

	if err := os.MkdirAll(filepath.Dir(temp), 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}

	if err := os.Symlink(file, temp); err != nil {
		return fmt.Errorf("make alias: %w", err)
	}

	if err := os.Rename(temp, s.file(alias.Path())); err != nil {
		_ = os.Remove(temp)

		return fmt.Errorf("make alias: %w", err)
	}

	return nil
}

// resolve returns the location of the artifact that a location means, which is another one if it is an alias, since a time.
func (s *Store) resolve(at Location) (Location, time.Time, error) {
	info, err := os.Lstat(s.file(at.Path()))
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		return at, time.Time{}, nil //nolint:nilerr // what is wrong with the file shows when it is opened
	}

	file, err := os.Readlink(s.file(at.Path()))
	if err != nil {
		return at, time.Time{}, fmt.Errorf("read alias: %w", err)
	}

	to := Location{Owner: at.Owner, File: file}

	return to, info.ModTime(), to.validate()
}
