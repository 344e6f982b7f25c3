package git

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

// Files are the files of a commit, read from its pack. They are safe for concurrent use until they are closed.
type Files struct {
	// Commit is the hash of the commit, in hexadecimal digits.
	Commit string

	nodes   map[string]ingest.Node
	release func()
}

// Anonymous returns the files of a public repository, at a branch, a tag, a full reference or the hash of a commit; an empty
// version is the default branch. No credentials are used. Symbolic links and submodules are left out.
func (r *Remotes) Anonymous(ctx context.Context, url, version string, limits ingest.Limits) (*Files, error) {
	u, err := transport.ParseURL(url)
	if err != nil {
		return nil, err
	}

	m, err := r.open(u, transport.Credentials{}, nil)
	if err != nil {
		return nil, err
	}

	l, err := m.list(ctx, r.options.Now().Add(-r.options.Moment))
	if err != nil {
		return nil, fmt.Errorf("list references of %q: %w", m.shown, err)
	}

	t, err := named(version, l)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", m.shown, err)
	}

	c, release, err := m.clone(ctx, l, t)
	if err != nil {
		return nil, fmt.Errorf("clone %q: %w", m.shown, err)
	}

	f := &Files{Commit: t.commit.String(), nodes: map[string]ingest.Node{".": {Dir: true}}, release: release}

	err = c.pack.Walk(ctx, c.commit, ingest.WalkOptions{Limits: limits}, func(n ingest.Node) error {
		f.nodes[n.Path] = n

		return nil
	})
	if err != nil {
		release()

		return nil, fmt.Errorf("read files of %q: %w", m.shown, err)
	}

	return f, nil
}

// named finds what a version names, tags before branches as Git does.
func named(version string, l *listing) (target, error) {
	switch {
	case version == "":
		return resolveRef("", headRef, l)
	case isCommit(version):
		return resolveCommit(&sourcev1.GitRepositoryRef{Commit: version}, l)
	case strings.HasPrefix(version, "refs/"):
		return resolveRef(version, version, l)
	}

	t, err := resolveRef(version, tagsRef+version, l)
	if err != nil {
		t, err = resolveRef(version, branchesRef+version, l)
	}

	if err != nil {
		return target{}, fmt.Errorf("there is no tag, branch or commit %q", version)
	}

	return t, nil
}

// Stat returns the size of the file, or that it is a directory. What is not there is fs.ErrNotExist.
func (f *Files) Stat(name string) (size int64, dir bool, err error) {
	n, ok := f.nodes[name]
	if !ok {
		return 0, false, fs.ErrNotExist
	}

	return n.Size, n.Dir, nil
}

// Open returns the content of the file.
func (f *Files) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	n, ok := f.nodes[name]
	if !ok || n.Dir {
		return nil, fs.ErrNotExist
	}

	return n.Open(ctx)
}

// Close lets go of the files.
func (f *Files) Close() { f.release() }
