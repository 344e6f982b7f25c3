package git

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

// SubmoduleLimits bound the submodules of one artifact. A field that is zero takes its default.
type SubmoduleLimits struct {
	// Count of all of them. The default is 100.
	Count int

	// Depth is how many may lie in each other. The default is 10.
	Depth int

	// Bytes of the packs of all of them. The last one may go beyond it, as far as the limits of one clone allow. The default is
	// 4 GiB.
	Bytes int64
}

func (l SubmoduleLimits) orDefaults() SubmoduleLimits {
	l.Count = cmp.Or(l.Count, 100)
	l.Depth = cmp.Or(l.Depth, 10)
	l.Bytes = cmp.Or(l.Bytes, 4<<30)

	return l
}

// modules are the submodules of one commit, as far as they have been asked for. They must not be used concurrently.
type modules struct {
	limits ingest.Limits // of the trees
	at     map[string]*module
	count  int
	bytes  int64
}

// module is a repository in its place in the tree of another, or the outermost one.
type module struct {
	remote  *remote
	own     bool // the credentials of the outermost repository are good for it
	depth   int
	clone   *clone
	urls    map[string]string // of its submodules, by path
	release func()
}

// newModules returns the submodules of the clone, which has to be open as long as they are used.
func newModules(ctx context.Context, m *remote, c *clone, limits ingest.Limits) (*modules, error) {
	x := &modules{limits: limits, at: map[string]*module{}}
	root := &module{remote: m, own: true, clone: c, release: func() {}}

	x.at[""] = root

	return x, x.read(ctx, root)
}

// close gives all clones back.
func (x *modules) close() {
	for _, m := range x.at {
		if m != nil {
			m.release()
		}
	}
}

// fetch sees to it that all submodules in the directories, and in each other, are here.
func (x *modules) fetch(ctx context.Context, under []string) error {
	root := x.at[""].clone
	options := ingest.WalkOptions{
		Limits: x.limits, Under: under, Submodule: x.open,
		Skip: func(_ []string, dir bool) bool { return !dir },
	}

	return root.pack.Walk(ctx, root.commit, options, func(ingest.Node) error { return nil })
}

// open returns what is in the submodule at the path. One that no file names is none.
func (x *modules) open(ctx context.Context, path string, hash plumbing.Hash) (*ingest.Pack, *object.Commit, error) {
	m, known := x.at[path]
	if !known {
		var err error
		if m, err = x.find(ctx, path, hash); err != nil {
			return nil, nil, fmt.Errorf("submodule %q: %w", path, err)
		}

		x.at[path] = m
	}

	if m == nil {
		return nil, nil, nil
	}

	return m.clone.pack, m.clone.commit, nil
}

// find fetches the submodule at the path, of which the tree names the commit.
func (x *modules) find(ctx context.Context, path string, hash plumbing.Hash) (*module, error) {
	parent, rest := x.parent(path)

	raw, ok := parent.urls[rest]
	if !ok {
		return nil, nil //nolint:nilnil // nil is none
	}

	limits := parent.remote.remotes.options.Submodules
	if x.count++; x.count > limits.Count {
		return nil, fmt.Errorf("there are more than %d submodules", limits.Count)
	}

	if parent.depth+1 > limits.Depth {
		return nil, fmt.Errorf("more than %d submodules lie in each other", limits.Depth)
	}

	m, err := parent.submodule(raw)
	if err != nil {
		return nil, err
	}

	if m.clone, m.release, err = m.remote.anywhere(ctx, hash); err != nil {
		return nil, fmt.Errorf("unable to clone '%s': %w", m.remote.shown, err)
	}

	if x.bytes += m.clone.pack.Bytes(); x.bytes > limits.Bytes {
		err = fmt.Errorf("the packs of all submodules have more than %d bytes", limits.Bytes)
	} else {
		err = x.read(ctx, m)
	}

	if err != nil {
		m.release()
	}

	return m, err
}

// parent returns the repository in which the submodule at the path lies, and its path there.
func (x *modules) parent(path string) (m *module, rest string) {
	for at := path; ; {
		i := strings.LastIndex(at, "/")
		if i < 0 {
			return x.at[""], path
		}

		at = at[:i]
		if m := x.at[at]; m != nil {
			return m, path[i+1:]
		}
	}
}

// submodule returns the remote of a submodule of the repository. Credentials go only to the server that they are for, and not
// back to it by way of another one.
func (m *module) submodule(raw string) (*module, error) {
	u, err := moduleURL(m.remote.url, raw)
	if err != nil {
		return nil, err
	}

	sub := &module{depth: m.depth + 1, own: m.own && transport.SameServer(m.remote.url, u)}

	credentials := m.remote.credentials.Elsewhere(u)
	if sub.own {
		credentials = m.remote.credentials.At(u)
	}

	if sub.remote, err = m.remote.remotes.open(u, credentials, m.remote.proxy); err != nil {
		return nil, fmt.Errorf("'%s': %w", ingest.Redact(u.String()), err)
	}

	return sub, nil
}

// anywhere returns a commit of the repository, whatever branch or tag it is in.
func (m *remote) anywhere(ctx context.Context, hash plumbing.Hash) (*clone, func(), error) {
	l, err := m.list(ctx, m.remotes.options.Now().Add(-m.remotes.options.Moment))
	if err != nil {
		return nil, nil, err
	}

	t := target{commit: hash, want: hash}
	t.anywhere = !l.givesAny() && !l.advertises(hash)

	return m.clone(ctx, l, t)
}

// read reads which submodules a repository has.
func (x *modules) read(ctx context.Context, m *module) error {
	options := ingest.WalkOptions{
		Limits: x.limits, Prune: true,
		Skip: func(elements []string, _ bool) bool { return len(elements) > 1 || elements[0] != modulesFile },
	}

	return m.clone.pack.Walk(ctx, m.clone.commit, options, func(n ingest.Node) (err error) {
		if n.Dir {
			return nil
		}

		in, err := n.Open(ctx)
		if err != nil {
			return fmt.Errorf("open %q: %w", n.Path, err)
		}
		defer in.Close()

		m.urls, err = readModules(io.Reader(in))

		return err
	})
}
