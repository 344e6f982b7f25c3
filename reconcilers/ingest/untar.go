package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Unpacked says what came out of an archive.
type Unpacked struct {
	// Bytes of all regular files.
	Bytes int64

	// Entries that were written, directories included.
	Entries int
}

// Untar unpacks a tar stream, compressed with gzip, zstd or not at all, into a directory that exists. Nothing is written outside
// of it, whatever the entries are called and whatever links are there. Files get the mode 0600, or 0700 if somebody may execute
// them; directories 0700. A name that comes twice means the last one.
//
// Symbolic links inside the tree, devices and pipes are dropped; links that lead out of the tree are refused. On an error,
// which is a *LimitError or *RefusedError if the archive is to blame, the directory holds what was written before it. What
// follows the archive in the stream is not read.
func Untar(ctx context.Context, r io.Reader, dir string, l Limits) (Unpacked, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Unpacked{}, fmt.Errorf("open root: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was only read

	u := &untar{root: root, dirs: map[string]bool{".": true}}
	u.meter = &meter{limits: l.orDefaults()}

	err = walkTar(ctx, r, u.meter, u.one)

	return Unpacked{Bytes: u.meter.bytes, Entries: u.written}, err
}

// untar is the state of one Untar.
type untar struct {
	meter   *meter
	root    *os.Root
	dirs    map[string]bool // directories that are there for sure
	written int
	buffer  []byte // grows to what the largest file needs, and to maxBuffer at most
}

const maxBuffer = 64 << 10

func (u *untar) one(e tarEntry) error {
	switch e.kind {
	case tarDir:
		return u.dir(e.name)
	case tarFile:
		return u.regular(e)
	case tarLink:
		return u.hardLink(e.name, e.target)
	}

	return nil
}

// dir makes a directory and those above it.
func (u *untar) dir(name string) error {
	if u.dirs[name] {
		return nil
	}

	if err := u.parents(name); err != nil {
		return err
	}

	if err := u.root.Mkdir(name, 0o700); err != nil && !u.isDir(name) {
		return fmt.Errorf("make directory: %w", err)
	}

	u.dirs[name] = true
	u.written++

	return nil
}

// parents makes the directories above an entry. Those that the archive does not list count as entries too.
func (u *untar) parents(name string) error {
	parent := path.Dir(name)
	if u.dirs[parent] {
		return nil
	}

	if err := u.meter.entry(parent, 1); err != nil {
		return err
	}

	return u.dir(parent)
}

// isDir tells whether the name is a directory, and not a link to one.
func (u *untar) isDir(name string) bool {
	info, err := u.root.Lstat(name)

	return err == nil && info.IsDir()
}

func (u *untar) regular(e tarEntry) (err error) {
	if err := u.parents(e.name); err != nil {
		return err
	}

	mode := fs.FileMode(0o600)
	if e.executable {
		mode = 0o700
	}

	f, err := u.create(e.name, mode)
	if err != nil {
		return err
	}

	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("close file: %w", e)
		}
	}()

	if need := max(min(e.size, maxBuffer), 1); int64(len(u.buffer)) < need {
		u.buffer = make([]byte, need)
	}

	if _, err := io.CopyBuffer(onlyWriter{f}, e.content, u.buffer); err != nil {
		return fmt.Errorf("unpack %q: %w", e.name, err)
	}

	u.written++

	return nil
}

// create makes a new file, in the place of one that an earlier entry of the same name may have made.
func (u *untar) create(name string, mode fs.FileMode) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL

	f, err := u.root.OpenFile(name, flags, mode)
	if errors.Is(err, fs.ErrExist) {
		if err = u.root.Remove(name); err == nil {
			delete(u.dirs, name)

			f, err = u.root.OpenFile(name, flags, mode)
		}
	}

	if err != nil {
		return nil, fmt.Errorf("create file: %w", err)
	}

	return f, nil
}

// hardLink makes a second name of a file that the archive held before. It counts like a copy, because it costs those who read
// the tree as much.
func (u *untar) hardLink(name, target string) error {
	info, err := u.root.Lstat(target)
	if err != nil || !info.Mode().IsRegular() || target == name {
		return refuse(name, "the hard link leads to nothing: %q", target)
	}

	if err := u.meter.file(name, info.Size()); err != nil {
		return err
	}

	if err := u.parents(name); err != nil {
		return err
	}

	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace file: %w", err)
	}

	delete(u.dirs, name)

	if err := u.root.Link(target, name); err != nil {
		return fmt.Errorf("link file: %w", err)
	}

	u.written++

	return nil
}
