package generator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// scratch holds what does not come from a source as it is: merged files, and what was in tarballs. It is made when it is needed.
type scratch struct {
	parent string // directory in which it is made
	dir    string
	root   *os.Root
	names  int

	// What was written so far. It counts though something else may have taken its place in the artifact: the disk is that of all.
	bytes   int64
	entries int
}

// name returns a name in the scratch that is free.
func (s *scratch) name() (string, error) {
	if s.root == nil {
		dir, err := os.MkdirTemp(s.parent, "generator-*")
		if err != nil {
			return "", fmt.Errorf("make directory: %w", err)
		}

		s.dir = dir

		if s.root, err = os.OpenRoot(dir); err != nil {
			return "", fmt.Errorf("open root: %w", err)
		}
	}

	s.names++

	return strconv.Itoa(s.names), nil
}

// close removes all that is in the scratch.
func (s *scratch) close() {
	if s.root != nil {
		_ = s.root.Close()
	}

	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// write keeps a file, within the limits.
func (s *scratch) write(content []byte, executable bool, l ingest.Limits) (*node, error) {
	if s.bytes += int64(len(content)); s.bytes > l.Bytes {
		return nil, &ingest.LimitError{Max: l.Bytes, Unit: "bytes in merged and extracted files"}
	}

	if s.entries++; s.entries > l.Entries {
		return nil, &ingest.LimitError{Max: int64(l.Entries), Unit: "merged and extracted files"}
	}

	name, err := s.name()
	if err != nil {
		return nil, err
	}

	if err := s.root.WriteFile(name, content, 0o600); err != nil {
		return nil, fmt.Errorf("write file: %w", err)
	}

	return &node{executable: executable, size: int64(len(content)), origin: origin{root: s.root, name: name}}, nil
}

// extract unpacks an archive into a directory of the artifact.
func (c *copier) extract(ctx context.Context, archive *node, to string) error {
	s := c.scratch

	top, err := s.name()
	if err != nil {
		return err
	}

	if err := s.root.Mkdir(top, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}

	in, err := archive.open()
	if err != nil {
		return err
	}
	defer in.Close()

	got, err := ingest.Untar(ctx, in, filepath.Join(s.dir, top), c.room())
	if err != nil {
		return err //nolint:wrapcheck // it says which entry, and the caller which archive
	}

	s.bytes += got.Bytes
	s.entries += got.Entries

	return fs.WalkDir(s.root.FS(), top, func(name string, e fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}

		at := path.Join(to, strings.TrimPrefix(name, top))
		if e.IsDir() {
			return c.tree.dir(at)
		}

		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("stat file: %w", err)
		}

		return c.tree.file(at, fileIn(s.root, name, info))
	})
}

// room returns the limits of what may still be extracted: it has to fit into the artifact, and into the scratch.
func (c *copier) room() ingest.Limits {
	l, all := c.tree.remaining(), c.tree.limits
	l.Bytes = min(l.Bytes, max(all.Bytes-c.scratch.bytes, 1))
	l.Entries = min(l.Entries, max(all.Entries-c.scratch.entries, 1))

	return l
}

// maxDocument is how large a file may be that is merged, in bytes.
const maxDocument = 4 << 20

// merge makes the file that holds both: maps are merged, what the second one says wins.
func (c *copier) merge(base, overlay *node, to string) (*node, error) {
	var documents [2]map[string]any

	for i, n := range []*node{base, overlay} {
		content, err := n.read(maxDocument)
		if err != nil {
			return nil, err
		}

		if documents[i], err = parseDocument(content); err != nil {
			return nil, err
		}
	}

	merged, err := formatDocument(mergeTables(documents[0], documents[1]), path.Ext(to) == ".json")
	if err != nil {
		return nil, err
	}

	return c.scratch.write(merged, base.executable, c.tree.limits)
}

// read returns the content of a file, of which there may be so many bytes.
func (n *node) read(limit int64) ([]byte, error) {
	if n.size > limit {
		return nil, &ingest.LimitError{Names: []string{n.origin.name}, Max: limit, Unit: "bytes per merged file"}
	}

	f, err := n.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()

	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}

	return b.Bytes(), nil
}
