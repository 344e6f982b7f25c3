package ingest

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Unpacked says what came out of an archive.
type Unpacked struct {
	// Bytes of all regular files.
	Bytes int64

	// Entries that were written, directories included.
	Entries int
}

// Untar unpacks a tar stream, compressed with gzip or not, into a directory that exists. Nothing is written outside of it,
// whatever the entries are called and whatever links are there. Files get the mode 0600, or 0700 if somebody may execute
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

	l = l.orDefaults()
	u := &untar{root: root, meter: meter{limits: l}, dirs: map[string]bool{".": true}, buffer: make([]byte, 64<<10)}

	in, err := inflate(&contextReader{ctx: ctx, r: r}, l)
	if err != nil {
		return Unpacked{}, err
	}

	err = u.all(tar.NewReader(in))

	return Unpacked{Bytes: u.bytes, Entries: u.written}, err
}

// inflate returns what the stream holds once inflated, bounded by the limits.
func inflate(r io.Reader, l Limits) (io.Reader, error) {
	raw := &countingReader{r: r}
	in := bufio.NewReaderSize(raw, 64<<10)

	out := &boundedReader{r: in, max: l.Bytes, compressed: &raw.n}
	if room := int64(l.Entries) * entryOverhead; out.max < out.max+room {
		out.max += room // else it is no limit at all
	}

	magic, err := in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read archive: %w", err)
	}

	if len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b {
		out.ratio = 1

		return out, nil
	}

	zip, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("read gzip header: %w", err)
	}

	out.r, out.ratio = zip, l.Ratio

	return out, nil
}

// untar is the state of one Untar.
type untar struct {
	meter

	root    *os.Root
	dirs    map[string]bool // directories that are there for sure
	written int
	buffer  []byte
}

func (u *untar) all(in *tar.Reader) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}

		if err := u.one(h, in); err != nil {
			return err
		}
	}
}

func (u *untar) one(h *tar.Header, content io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}

	if err := u.entry(name, strings.Count(name, "/")+1); err != nil {
		return err
	}

	if name == "." {
		return nil
	}

	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(name)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.regular(name, h, content)
	case tar.TypeSymlink:
		if leavesRoot(name, h.Linkname) {
			return refuse(name, "the symbolic link leads out of the tree: %q", h.Linkname)
		}
	case tar.TypeLink:
		return u.hardLink(name, h.Linkname)
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

	if err := u.entry(parent, 1); err != nil {
		return err
	}

	return u.dir(parent)
}

// isDir tells whether the name is a directory, and not a link to one.
func (u *untar) isDir(name string) bool {
	info, err := u.root.Lstat(name)

	return err == nil && info.IsDir()
}

func (u *untar) regular(name string, h *tar.Header, content io.Reader) (err error) {
	if err := u.file(name, h.Size); err != nil {
		return err
	}

	if err := u.parents(name); err != nil {
		return err
	}

	mode := fs.FileMode(0o600)
	if h.Mode&0o111 != 0 {
		mode = 0o700
	}

	f, err := u.create(name, mode)
	if err != nil {
		return err
	}

	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("close %q: %w", name, e)
		}
	}()

	if _, err := io.CopyBuffer(onlyWriter{f}, content, u.buffer); err != nil {
		return fmt.Errorf("unpack %q: %w", name, err)
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

// hardLink makes a second name of a file that the archive held before.
func (u *untar) hardLink(name, target string) error {
	old, err := cleanName(target)
	if err != nil {
		return refuse(name, "the hard link leads out of the tree: %q", target)
	}

	info, err := u.root.Lstat(old)
	if err != nil || !info.Mode().IsRegular() || old == name {
		return refuse(name, "the hard link leads to nothing: %q", target)
	}

	if err := u.parents(name); err != nil {
		return err
	}

	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace file: %w", err)
	}

	if err := u.root.Link(old, name); err != nil {
		return fmt.Errorf("link file: %w", err)
	}

	u.written++

	return nil
}
