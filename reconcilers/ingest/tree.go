package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Node is a file or a directory in the tree of a commit.
type Node struct {
	// Path from the root, with slashes.
	Path string

	// Dir tells that it is a directory. The fields below are those of files.
	Dir bool

	// Executable tells that somebody may execute the file.
	Executable bool

	// Size of the file in bytes.
	Size int64

	// Hash of the blob.
	Hash plumbing.Hash

	pack *Pack // that it is in
}

// Open returns the content of the file.
func (n Node) Open(ctx context.Context) (io.ReadCloser, error) { return n.pack.Open(ctx, n.Hash) }

// WalkOptions say what of a tree is wanted.
type WalkOptions struct {
	// Limits of what comes out. Of all that is looked at, ten times as many entries are allowed.
	Limits Limits

	// Under optionally names directories; only what lies in one of them comes out.
	Under []string

	// Skip optionally leaves out a file or directory, given by the elements of its path. What is in a directory that is left
	// out is looked at all the same, unless Prune says otherwise.
	Skip func(elements []string, dir bool) bool

	// Prune tells that what is in a directory that is left out is left out too.
	Prune bool

	// Submodule optionally returns what is in the submodule at the path, of which the tree names a commit: that commit, and
	// the pack that holds it, which has to stay open as long as its files are wanted. What is in the tree of that commit comes
	// out as if it were in a directory at the path. A nil pack means that the submodule is passed over.
	Submodule func(ctx context.Context, path string, commit plumbing.Hash) (*Pack, *object.Commit, error)

	// Tally optionally goes on counting for a whole of which the tree is a part. Nil means one of Limits.
	Tally *Tally
}

// ErrNoDirectory says that a directory in WalkOptions.Under is not in the tree.
var ErrNoDirectory = errors.New("no such directory in the tree")

// Walk calls visit for the directories and regular files in the tree of a commit, parents first, in an order that depends on
// nothing else. Symbolic links and, without WalkOptions.Submodule, submodules are passed over, but a symbolic link that leads out
// of the tree is a *RefusedError, unless it is left out, and so is a name that is dangerous on some file system.
func (p *Pack) Walk(ctx context.Context, commit *object.Commit, o WalkOptions, visit func(Node) error) error {
	if o.Tally == nil {
		o.Tally = NewTally(o.Limits)
	}

	w := &walk{
		pack: p, options: o, visit: visit,
		meter: &o.Tally.meter, visits: int64(o.Tally.meter.limits.Entries) * visitsPerEntry,
	}

	for _, u := range o.Under {
		elements := slices.DeleteFunc(strings.Split(path.Clean(u), "/"), func(e string) bool { return e == "." || e == "" })
		if len(elements) == 0 {
			w.under = nil

			break
		}

		w.under = append(w.under, &under{elements: elements})
	}

	if err := w.tree(ctx, commit.TreeHash, nil); err != nil {
		return fmt.Errorf("walk tree of commit %s: %w", commit.Hash, err)
	}

	for _, u := range w.under {
		if !u.found {
			return fmt.Errorf("%q: %w", strings.Join(u.elements, "/"), ErrNoDirectory)
		}
	}

	return nil
}

// maxPath is the longest path that is looked at, in bytes, be it wanted or not: no operating system takes a longer one. A path is
// made for each entry, and a name may be as long as its tree.
const maxPath = 4096

// visitsPerEntry is how many entries may be looked at for one that may come out.
const visitsPerEntry = 10

// walk is the state of one Walk.
type walk struct {
	*meter

	pack    *Pack // of the tree that is walked
	options WalkOptions
	visit   func(Node) error
	visits  int64 // that are left
	under   []*under
}

// under is one of WalkOptions.Under.
type under struct {
	elements []string
	found    bool
}

// wanted tells whether a path lies in a wanted directory, or leads to one.
func (w *walk) wanted(elements []string, dir bool) (in, leads bool) {
	if len(w.under) == 0 {
		return true, true
	}

	for _, u := range w.under {
		n := min(len(u.elements), len(elements))
		if !slices.Equal(u.elements[:n], elements[:n]) {
			continue
		}

		switch {
		case len(elements) > len(u.elements), dir && len(elements) == len(u.elements):
			u.found, in, leads = true, true, true
		case dir:
			leads = true
		}
	}

	return in, leads
}

func (w *walk) tree(ctx context.Context, hash plumbing.Hash, parent []string) error {
	entries, err := w.pack.tree(ctx, hash)
	if err != nil {
		return err
	}

	// All at once: those of the trees above stay in memory while those of the trees below are looked at.
	if w.visits -= int64(len(entries)); w.visits < 0 {
		return over(int64(w.limits.Entries)*visitsPerEntry, unitVisits, strings.Join(parent, "/"))
	}

	names := make(map[string]bool, len(entries))
	for _, e := range entries {
		if names[e.Name] {
			return refuse(path.Join(path.Join(parent...), e.Name), "the name comes twice")
		}

		names[e.Name] = true

		if err := w.entryOf(ctx, e, parent); err != nil {
			return err
		}
	}

	return nil
}

func (w *walk) entryOf(ctx context.Context, e object.TreeEntry, parent []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	above := strings.Join(parent, "/")
	if len(above)+len(e.Name) >= maxPath { // it is not named: it may have as many bytes as the tree
		return over(maxPath, unitPathBytes, above+"/…")
	}

	if err := checkGitName(e.Name, above); err != nil {
		return err
	}

	elements := append(slices.Clip(parent), e.Name)
	name := strings.Join(elements, "/")

	if len(elements) > w.limits.Depth {
		return over(int64(w.limits.Depth), unitDepth, name)
	}

	module := e.Mode == filemode.Submodule && w.options.Submodule != nil
	dir := e.Mode == filemode.Dir || module

	in, leads := w.wanted(elements, dir)
	if !leads {
		return nil
	}

	skipped := !in || w.options.Skip != nil && w.options.Skip(elements, dir)

	switch {
	case module:
		return w.submodule(ctx, e.Hash, elements, in, skipped)
	case dir:
		return w.dir(ctx, e.Hash, elements, in, skipped)
	case skipped:
		return nil
	}

	return w.leaf(ctx, e, name, len(elements))
}

// submodule visits the tree of a submodule, which is in another pack.
func (w *walk) submodule(ctx context.Context, hash plumbing.Hash, elements []string, in, skipped bool) error {
	if skipped && in && w.options.Prune {
		return nil
	}

	pack, commit, err := w.options.Submodule(ctx, strings.Join(elements, "/"), hash)
	if err != nil || pack == nil {
		return err
	}

	outer := w.pack
	w.pack = pack

	defer func() { w.pack = outer }()

	return w.dir(ctx, commit.TreeHash, elements, in, skipped)
}

// dir visits a directory, of which the tree has the hash, and what is in it.
func (w *walk) dir(ctx context.Context, hash plumbing.Hash, elements []string, in, skipped bool) error {
	if !skipped {
		name := strings.Join(elements, "/")
		if err := w.entry(name, len(elements)); err != nil {
			return err
		}

		if err := w.visit(Node{Path: name, Dir: true}); err != nil {
			return err
		}
	}

	if skipped && in && w.options.Prune {
		return nil
	}

	return w.tree(ctx, hash, elements)
}

// leaf visits what is no directory.
func (w *walk) leaf(ctx context.Context, e object.TreeEntry, name string, elements int) error {
	switch e.Mode { // go-git knows no others: it takes them for one of these, as Git does
	case filemode.Submodule:
		return nil
	case filemode.Symlink:
		return w.symlink(ctx, e.Hash, name)
	default:
	}

	size, err := w.pack.Size(e.Hash)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}

	if err := w.entry(name, elements); err != nil {
		return err
	}

	if err := w.file(name, size); err != nil {
		return err
	}

	return w.visit(Node{Path: name, Executable: e.Mode == filemode.Executable, Size: size, Hash: e.Hash, pack: w.pack})
}

// symlink refuses a link that leads out of the tree.
func (w *walk) symlink(ctx context.Context, hash plumbing.Hash, name string) error {
	const maxTarget = 4096

	r, err := w.pack.Open(ctx, hash)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer r.Close()

	target, err := io.ReadAll(io.LimitReader(r, maxTarget+1))
	if err != nil {
		return fmt.Errorf("read target of symbolic link %q: %w", name, err)
	}

	if len(target) > maxTarget {
		return over(maxTarget, "bytes per target of a symbolic link", name)
	}

	if leavesRoot(name, string(target)) {
		return refuse(name, "the symbolic link leads out of the tree: %q", target)
	}

	return nil
}

// Missing names the files in the tree of the commit that are not in the pack, in the order in which Git packs them.
// Directories that are not in the pack end in a slash. At most 1000 are named, and a tree that is larger or deeper than the
// default limits is not looked at to its end.
func (p *Pack) Missing(ctx context.Context, hash plumbing.Hash) []string {
	commit, err := p.Commit(ctx, hash)
	if err != nil {
		return nil
	}

	limits := Limits{}.orDefaults()
	m := &missing{pack: p, done: map[plumbing.Hash]bool{}, visits: limits.Entries * visitsPerEntry}
	m.tree(ctx, commit.TreeHash, "", limits.Depth)

	return m.names
}

// maxMissing bounds the names that are collected.
const maxMissing = 1000

type missing struct {
	pack   *Pack
	done   map[plumbing.Hash]bool
	names  []string
	visits int // that are left
}

// tree looks at a tree, and at those below it as far down as depth says.
func (m *missing) tree(ctx context.Context, hash plumbing.Hash, name string, depth int) {
	entries, err := m.pack.tree(ctx, hash)
	if err != nil {
		if name != "" {
			m.names = append(m.names, name+"/")
		}

		return
	}

	if m.visits -= len(entries); m.visits < 0 || depth == 0 {
		return
	}

	for _, e := range entries {
		if len(m.names) >= maxMissing || ctx.Err() != nil {
			return
		}

		if m.done[e.Hash] || e.Mode == filemode.Submodule || len(name)+len(e.Name) >= maxPath {
			continue
		}

		m.done[e.Hash] = true

		switch at := path.Join(name, e.Name); {
		case e.Mode == filemode.Dir:
			m.tree(ctx, e.Hash, at, depth-1)
		case !m.pack.Has(e.Hash):
			m.names = append(m.names, at)
		}
	}
}
