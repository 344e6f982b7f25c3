package ingest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// tarKind is what an entry of an archive is.
type tarKind int

const (
	tarFile tarKind = iota
	tarDir
	tarLink // a hard link
)

// tarEntry is an entry of an archive that may come out of it.
type tarEntry struct {
	kind tarKind
	name string // clean

	size       int64
	executable bool
	content    io.Reader

	target string // of a hard link; clean
}

// walkTar visits the files, directories and hard links of a tar stream, within the limits of the meter.
func walkTar(ctx context.Context, r io.Reader, m *meter, visit func(tarEntry) error) error {
	in, done, err := inflate(&contextReader{ctx: ctx, r: r}, m.limits)
	if err != nil {
		return err
	}
	defer done()

	archive := tar.NewReader(in)

	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}

		e, ok, err := readEntry(h, m)
		if err != nil {
			return err
		}

		if !ok {
			continue
		}

		e.content = archive

		if err := visit(e); err != nil {
			return err
		}
	}
}

// readEntry judges the header of an entry. It tells whether anything comes out.
func readEntry(h *tar.Header, m *meter) (e tarEntry, ok bool, err error) {
	name, err := cleanName(h.Name)
	if err != nil {
		return e, false, err
	}

	if err := m.entry(name, strings.Count(name, "/")+1); err != nil || name == "." {
		return e, false, err
	}

	e.name = name

	switch h.Typeflag {
	case tar.TypeDir:
		e.kind = tarDir
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		if isSparse(h) {
			return e, false, refuse(name, "sparse files are not supported")
		}

		e.kind, e.size, e.executable = tarFile, h.Size, h.Mode&0o111 != 0

		return e, true, m.file(name, h.Size)
	case tar.TypeSymlink:
		if leavesRoot(name, h.Linkname) {
			return e, false, refuse(name, "the symbolic link leads out of the tree: %q", h.Linkname)
		}

		return e, false, nil
	case tar.TypeLink:
		e.kind = tarLink
		if e.target, err = cleanName(h.Linkname); err != nil {
			return e, false, refuse(name, "the hard link leads out of the tree: %q", h.Linkname)
		}
	default:
		return e, false, nil
	}

	return e, true, nil
}

// isSparse tells whether a file has holes. They cost nothing in the archive, so that no ratio would bound them.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}

	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}

	return false
}
