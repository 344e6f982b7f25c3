package generator

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// tree is what an artifact will hold: its paths, and the files that they come from.
type tree struct {
	limits ingest.Limits
	nodes  map[string]*node
	bytes  int64
}

// node is a directory or a file of a tree.
type node struct {
	dir        bool
	executable bool
	size       int64
	origin     origin
}

// origin is where the content of a file is.
type origin struct {
	root *os.Root
	name string
}

func newTree(l ingest.Limits) *tree {
	l.Bytes = cmp.Or(l.Bytes, 1<<30)
	l.FileBytes = cmp.Or(l.FileBytes, 512<<20)
	l.Entries = cmp.Or(l.Entries, 100_000)
	l.Depth = cmp.Or(l.Depth, 64)
	l.PathBytes = cmp.Or(l.PathBytes, 1024)

	return &tree{limits: l, nodes: map[string]*node{}}
}

// dir adds a directory and those above it.
func (t *tree) dir(at string) error {
	if at == "." {
		return nil
	}

	if n, ok := t.nodes[at]; ok {
		if !n.dir {
			return fmt.Errorf("%q is a file already", at)
		}

		return nil
	}

	if err := t.dir(path.Dir(at)); err != nil {
		return err
	}

	return t.put(at, &node{dir: true})
}

// file adds a file, or replaces one.
func (t *tree) file(at string, n *node) error {
	old := t.nodes[at]
	if at == "." || old != nil && old.dir {
		return fmt.Errorf("%q is a directory already", at)
	}

	if n.size > t.limits.FileBytes {
		return &ingest.LimitError{Names: []string{at}, Max: t.limits.FileBytes, Unit: "bytes per file"}
	}

	if old != nil {
		t.bytes -= old.size
	}

	if t.bytes += n.size; t.bytes > t.limits.Bytes {
		return &ingest.LimitError{Names: []string{at}, Max: t.limits.Bytes, Unit: "bytes in all files"}
	}

	if err := t.dir(path.Dir(at)); err != nil {
		return err
	}

	return t.put(at, n)
}

func (t *tree) put(at string, n *node) error {
	over := func(limit int, unit string) error {
		return &ingest.LimitError{Names: []string{at}, Max: int64(limit), Unit: unit}
	}

	switch {
	case strings.Count(at, "/")+1 > t.limits.Depth:
		return over(t.limits.Depth, "path elements")
	case len(at) > t.limits.PathBytes:
		return over(t.limits.PathBytes, "bytes per path")
	}

	if t.nodes[at] = n; len(t.nodes) > t.limits.Entries {
		return over(t.limits.Entries, "entries")
	}

	return nil
}

// isDir tells whether there is a directory at the path.
func (t *tree) isDir(at string) bool {
	n := t.nodes[at]

	return at == "." || n != nil && n.dir
}

// remaining returns the limits of what may still be added.
func (t *tree) remaining() ingest.Limits {
	l := t.limits
	l.Bytes = max(l.Bytes-t.bytes, 1)
	l.Entries = max(l.Entries-len(t.nodes), 1)

	return l
}

// paths returns the paths of the tree, parents first, in an order that depends on nothing else.
func (t *tree) paths() []string {
	all := make([]string, 0, len(t.nodes))
	for at := range t.nodes {
		all = append(all, at)
	}

	slices.Sort(all)

	return all
}

// open opens the content of a file, which has the size that it had when it was planned.
func (n *node) open() (io.ReadCloser, error) {
	f, err := n.origin.root.Open(n.origin.name)
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}

	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != n.size) {
		err = fmt.Errorf("%q has changed", n.origin.name)
	}

	if err != nil {
		_ = f.Close()

		return nil, err
	}

	return f, nil
}

// fileIn returns a node for a regular file.
func fileIn(root *os.Root, name string, info fs.FileInfo) *node {
	return &node{
		executable: info.Mode()&0o111 != 0, size: info.Size(), origin: origin{root: root, name: name},
	}
}

// errLink says that a path is, or leads through, something that is neither a file nor a directory.
var errLink = errors.New("it is no regular file")

// lstat returns what is at a path of a source. Symbolic links are not followed, also not on the way.
func lstat(root *os.Root, elements []string) (fs.FileInfo, error) {
	info, err := root.Lstat(".")

	for i := 0; err == nil && i < len(elements); i++ {
		info, err = root.Lstat(join(elements[:i+1]))
		if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
			err = errLink
		}
	}

	return info, err //nolint:wrapcheck // the caller knows which path was asked for
}

// children returns the directories and regular files of a directory, in order.
func children(root *os.Root, dir string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}

	return slices.DeleteFunc(all, func(e fs.DirEntry) bool { return !e.IsDir() && !e.Type().IsRegular() }), nil
}
