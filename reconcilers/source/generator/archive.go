package generator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/source"
)

// plan is what an artifact will hold, and the hash of it.
type plan struct {
	tree    *tree
	paths   []string // in their order in the archive, without those that the default ignore rules leave out
	hash    string   // hexadecimal SHA-256 of the paths and the content
	scratch *scratch
}

// close removes what was made for the plan.
func (p *plan) close() { p.scratch.close() }

// file returns the name of the archive.
func (p *plan) file() string { return p.hash + ".tar.gz" }

// planned carries out the operations, and returns what comes of it. It has to be closed.
func (r *reconciler) planned(ctx context.Context, roots map[string]*os.Root, operations []operation) (*plan, error) {
	s := &scratch{parent: r.Dir}
	c := &copier{roots: roots, scratch: s, tree: newTree(r.Limits)}
	p := &plan{tree: c.tree, scratch: s}

	for i := range operations {
		if err := c.copy(ctx, &operations[i]); err != nil {
			p.close()

			return nil, fmt.Errorf("failed to apply copy operation from %s: %w", operations[i].shown, err)
		}
	}

	p.paths = kept(c.tree)

	if err := p.sum(ctx); err != nil {
		p.close()

		return nil, err
	}

	return p, nil
}

// kept returns the paths of a tree that the default ignore rules do not leave out.
func kept(t *tree) []string {
	rules := (&source.RuleBook{}).Tree()
	paths := t.paths()
	keep := paths[:0]
	pruned := map[string]bool{}

	for _, at := range paths {
		dir := t.nodes[at].dir
		if pruned[path.Dir(at)] || rules.Skip(strings.Split(at, "/"), dir) {
			pruned[at] = dir

			continue
		}

		keep = append(keep, at)
	}

	return keep
}

// sum computes the hash. It does not depend on how archives are written, so it stays the same with other versions of us.
func (p *plan) sum(ctx context.Context) error {
	all, buffer := sha256.New(), make([]byte, 64<<10)

	for _, at := range p.paths {
		if err := ctx.Err(); err != nil {
			return err
		}

		n := p.tree.nodes[at]
		if n.dir {
			fmt.Fprintf(all, "dir %q\n", at)

			continue
		}

		one := sha256.New()
		if err := n.copyTo(one, buffer); err != nil {
			return fmt.Errorf("read %q: %w", at, err)
		}

		fmt.Fprintf(all, "file %q %t %x\n", at, n.executable, one.Sum(nil))
	}

	p.hash = hex.EncodeToString(all.Sum(nil))

	return nil
}

// copyTo writes the content of a file.
func (n *node) copyTo(w io.Writer, buffer []byte) error {
	f, err := n.open()
	if err != nil {
		return err
	}
	defer f.Close()

	_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, buffer)

	return err //nolint:wrapcheck // the caller says which file it is
}

// content writes the archive.
func (p *plan) content(store *artifact.Store) artifact.Content {
	return store.Tarball(func(tar *artifact.Tar) error {
		for _, at := range p.paths {
			if err := p.add(tar, at); err != nil {
				return err
			}
		}

		return nil
	})
}

// add writes one path to the archive.
func (p *plan) add(tar *artifact.Tar, at string) error {
	n := p.tree.nodes[at]
	if n.dir {
		return tar.Dir(at) //nolint:wrapcheck // it says which one
	}

	f, err := n.open()
	if err != nil {
		return err
	}
	defer f.Close()

	return tar.File(at, n.executable, n.size, io.LimitReader(f, n.size)) //nolint:wrapcheck // it says which one
}
