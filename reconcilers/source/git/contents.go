package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
)

// contents are the files that make one artifact: those of a commit, of its submodules, and of the artifacts of other objects.
type contents struct {
	recipe  recipe
	limits  ingest.Limits
	clone   *clone
	modules *modules // nil if none are wanted
	trees   []*artifact.Tree
}

// copyError says that what is included cannot be copied.
type copyError struct{ err error }

// Error implements error.
func (e *copyError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *copyError) Unwrap() error { return e.err }

// openContents gets hold of all that a recipe asks for. The contents have to be closed.
func openContents(ctx context.Context, m *remote, c *clone, r recipe, trees Trees, limits ingest.Limits) (x *contents, err error) {
	x = &contents{recipe: r, limits: limits, clone: c}

	defer func() {
		if err != nil {
			x.close()
		}
	}()

	if r.submodules {
		if x.modules, err = newModules(ctx, m, c, limits); err != nil {
			return nil, err
		}
	}

	for _, i := range r.includes {
		tree, err := trees.Open(ctx, i.artifact)
		if err != nil {
			return nil, &copyError{fmt.Errorf("failed to copy '%s' include from %s to %s: %w", i.name, i.from, i.to, err)}
		}

		x.trees = append(x.trees, tree)
	}

	return x, nil
}

func (x *contents) close() {
	if x.modules != nil {
		x.modules.close()
	}

	for _, t := range x.trees {
		t.Close()
	}
}

// walk visits what is in the commit and its submodules.
func (x *contents) walk(ctx context.Context, o ingest.WalkOptions, visit func(ingest.Node) error) error {
	o.Limits, o.Under = x.limits, x.recipe.under
	if x.modules != nil {
		o.Submodule = x.modules.open
	}

	return x.clone.pack.Walk(ctx, x.clone.commit, o, visit)
}

// rules collects the ignore rules: those in files, and those of the object.
func (x *contents) rules(ctx context.Context) (source.Rules, error) {
	b := &source.RuleBook{}

	file := func(name string, open func() (io.ReadCloser, error)) error {
		in, err := open()
		if err != nil {
			return fmt.Errorf("open %q: %w", name, err)
		}
		defer in.Close()

		return b.File(name, in)
	}

	others := ingest.WalkOptions{
		Skip: func(elements []string, _ bool) bool { return elements[len(elements)-1] != source.IgnoreFile },
	}

	err := x.walk(ctx, others, func(n ingest.Node) error {
		if n.Dir {
			return nil
		}

		return file(n.Path, func() (io.ReadCloser, error) { return n.Open(ctx) })
	})
	if err != nil {
		return source.Rules{}, err
	}

	err = x.eachIncluded(ctx, func(f includedFile) error {
		if f.info.IsDir() || path.Base(f.path) != source.IgnoreFile {
			return nil
		}

		return file(f.path, f.open)
	})
	if err != nil {
		return source.Rules{}, err
	}

	if err := b.Spec(x.recipe.ignore); err != nil {
		return source.Rules{}, err
	}

	return b.Tree(), nil
}

// archive is the artifact: the files of the commit in their order, then those of each include.
func (x *contents) archive(ctx context.Context, store *artifact.Store, rules source.Rules) artifact.Content {
	return store.Tarball(func(tar *artifact.Tar) error {
		out := &assembly{tar: tar, rules: rules, tally: ingest.NewTally(x.limits), seen: map[string]bool{}}
		options := ingest.WalkOptions{Tally: out.tally, Skip: rules.Skip, Prune: rules.Prune}

		err := x.walk(ctx, options, func(n ingest.Node) error {
			if len(x.trees) > 0 {
				out.seen[n.Path] = n.Dir
			}

			if n.Dir {
				return tar.Dir(n.Path)
			}

			in, err := n.Open(ctx)
			if err != nil {
				return fmt.Errorf("open %q: %w", n.Path, err)
			}
			defer in.Close()

			return tar.File(n.Path, n.Executable, n.Size, in)
		})
		if err != nil {
			return err
		}

		return x.eachIncluded(ctx, out.include)
	})
}

// includedFile is a file or a directory of the artifact of another object.
type includedFile struct {
	path string // where it goes
	info fs.FileInfo
	open func() (io.ReadCloser, error)
}

// eachIncluded visits what is included, parents first, in order.
func (x *contents) eachIncluded(ctx context.Context, visit func(includedFile) error) error {
	for i, part := range x.recipe.includes {
		if err := eachFile(ctx, x.trees[i].Dir, part, visit); err != nil {
			return &copyError{fmt.Errorf("failed to copy '%s' include from %s to %s: %w", part.name, part.from, part.to, err)}
		}
	}

	return nil
}

func eachFile(ctx context.Context, dir string, part include, visit func(includedFile) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open tree: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was only read

	return fs.WalkDir(root.FS(), part.from, func(name string, e fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}

		if !e.IsDir() && !e.Type().IsRegular() {
			return nil
		}

		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("stat file: %w", err)
		}

		rest := name
		if part.from != "." {
			rest = strings.TrimPrefix(name, part.from)
		}

		return visit(includedFile{
			path: path.Join(part.to, rest), info: info,
			open: func() (io.ReadCloser, error) { return root.Open(name) },
		})
	})
}

// assembly is an archive that files come to from several places.
type assembly struct {
	tar   *artifact.Tar
	rules source.Rules
	tally *ingest.Tally
	seen  map[string]bool // paths so far: whether it is a directory
}

// include adds a file or directory that is included. What is there already is not replaced.
func (a *assembly) include(f includedFile) error {
	if f.path == "." {
		return nil
	}

	elements := strings.Split(f.path, "/")
	if a.leftOut(elements, f.info.IsDir()) {
		return nil
	}

	for i := 1; i < len(elements); i++ {
		above := strings.Join(elements[:i], "/")
		if isDir, ok := a.seen[above]; ok && !isDir {
			return fmt.Errorf("%q is a file already", above)
		}
	}

	if f.info.IsDir() {
		return a.dir(f.path, len(elements))
	}

	return a.file(f, len(elements))
}

// leftOut tells whether the rules leave a file out, itself or, if that is for good, with a directory that it lies in.
func (a *assembly) leftOut(elements []string, dir bool) bool {
	if a.rules.Prune {
		for i := 1; i < len(elements); i++ {
			if a.rules.Skip(elements[:i], true) {
				return true
			}
		}
	}

	return a.rules.Skip(elements, dir)
}

func (a *assembly) dir(name string, elements int) error {
	if isDir, ok := a.seen[name]; ok {
		if !isDir {
			return fmt.Errorf("%q is a file already", name)
		}

		return nil
	}

	a.seen[name] = true

	if err := a.tally.Entry(name, elements); err != nil {
		return err
	}

	return a.tar.Dir(name)
}

func (a *assembly) file(f includedFile, elements int) error {
	if _, ok := a.seen[f.path]; ok {
		return fmt.Errorf("%q is there already", f.path)
	}

	a.seen[f.path] = false

	if err := a.tally.Entry(f.path, elements); err != nil {
		return err
	}

	if err := a.tally.File(f.path, f.info.Size()); err != nil {
		return err
	}

	in, err := f.open()
	if err != nil {
		return fmt.Errorf("open %q: %w", f.path, err)
	}
	defer in.Close()

	return a.tar.File(f.path, f.info.Mode()&0o111 != 0, f.info.Size(), io.LimitReader(in, f.info.Size()))
}
