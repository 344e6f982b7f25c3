package ingest

import (
	"context"
	"io"
)

// TarFile is a regular file of an archive.
type TarFile struct {
	// Name is the path, relative and with slashes.
	Name string

	// Size in bytes.
	Size int64

	// Executable tells whether somebody may execute it.
	Executable bool
}

// ReadTar hands the regular files of a tar stream, compressed with gzip, zstd or not at all, to visit, in their order, and
// writes nothing. What visit does not read of the content is skipped. The rules are those of Untar, but a name may come more
// than once, and hard links are refused: what they lead to has gone by. Its errors are a *LimitError or *RefusedError if the
// archive is to blame, or that of visit. What it returns counts all entries.
func ReadTar(ctx context.Context, r io.Reader, l Limits, visit func(f TarFile, content io.Reader) error) (Unpacked, error) {
	m := &meter{limits: l.orDefaults()}

	err := walkTar(ctx, r, m, func(e tarEntry) error {
		switch e.kind {
		case tarFile:
			return visit(TarFile{Name: e.name, Size: e.size, Executable: e.executable}, e.content)
		case tarLink:
			return refuse(e.name, "the archive holds a hard link: %q", e.target)
		case tarDir:
		}

		return nil
	})

	return Unpacked{Bytes: m.bytes, Entries: m.entries}, err
}
