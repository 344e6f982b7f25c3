package artifact

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// TreesOptions are the parameters of Trees.
type TreesOptions struct {
	// Dir is the directory for the trees. It is made if it is not there, and no other process may use it.
	Dir string

	// Store of the same process, if there is one. What it holds is not fetched.
	Store *Store

	// Client fetches from other stores. Nil means one that refuses link-local addresses.
	Client *http.Client

	// Limits of what is unpacked. The ratio does not count: the archives are our own, and made of what passed limits before.
	Limits ingest.Limits

	// IdleBytes of trees that nobody uses are kept for the next who wants them; each file and directory counts as 4 KiB more,
	// for empty ones cost too. Zero means 256 MiB; negative means none.
	IdleBytes int64

	// Attempts to fetch, if a server cannot be reached or is in trouble. Zero means one: all who want the artifact wait as long
	// as there is another one, and callers that are run again anyway lose nothing when they are told at once.
	Attempts int

	// Timeout of all attempts together. Those who wait for an artifact may have none of their own, and a server that does
	// not come to an end must not hold them. Zero means 5 min.
	Timeout time.Duration

	// Wait waits before an attempt, the second one being number 2, or fails when the context ends. Nil means 500 ms,
	// doubled each time, 10 s at most.
	Wait func(ctx context.Context, attempt int) error
}

// treePrefix begins the names of the directories of trees.
const treePrefix = "tree-"

// Trees holds unpacked artifacts, each once, however many want it. It is safe for concurrent use.
type Trees struct {
	options TreesOptions

	mu        sync.Mutex
	nodes     map[digest.Digest]*node
	idle      *list.List // of *node, the one used last first
	idleBytes int64
}

// node is one unpacked artifact, or one on its way. Its fields are guarded by the lock of Trees; those that ready guards do not
// change once it is closed.
type node struct {
	digest digest.Digest
	users  int
	cancel context.CancelFunc // until ready
	gone   bool               // nobody waits any more
	idle   *list.Element

	ready chan struct{}
	dir   string
	got   ingest.Unpacked
	err   error
}

// weight is about how much of the disk the tree takes, in bytes.
func (n *node) weight() int64 {
	const entryBytes = 4 << 10

	return n.got.Bytes + int64(n.got.Entries)*entryBytes
}

// NewTrees returns trees in the directory. Those that an earlier process has left there are removed.
func NewTrees(o TreesOptions) (*Trees, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}

	dir, err := filepath.Abs(o.Dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}

	if err != nil {
		return nil, fmt.Errorf("resolve directory: %w", err)
	}

	o.Dir = dir

	stale, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}

	for _, e := range stale {
		if strings.HasPrefix(e.Name(), treePrefix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("remove stale tree: %w", err)
			}
		}
	}

	return &Trees{options: o.withDefaults(), nodes: map[digest.Digest]*node{}, idle: list.New()}, nil
}

func (o TreesOptions) withDefaults() TreesOptions {
	if o.Client == nil {
		o.Client = newClient()
	}

	if o.IdleBytes == 0 {
		o.IdleBytes = 256 << 20
	}

	if o.Attempts == 0 {
		o.Attempts = 1
	}

	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}

	if o.Wait == nil {
		o.Wait = backOff
	}

	return o
}

func backOff(ctx context.Context, attempt int) error {
	const first, most = 500 * time.Millisecond, 10 * time.Second

	timer := time.NewTimer(min(first<<max(attempt-2, 0), most))
	defer timer.Stop()

	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Tree is an unpacked artifact. It belongs to all who opened it: nobody may write to it.
type Tree struct {
	// Dir is the absolute path of the directory, without symbolic links in it.
	Dir string

	// Bytes of all its files.
	Bytes int64

	release func()
	once    sync.Once
}

// Close gives the tree back. The directory may be gone afterwards.
func (t *Tree) Close() { t.once.Do(t.release) }

// Open returns the unpacked artifact, which the caller has to close. It is found by its digest; the URL is only asked if it is
// neither unpacked nor in the store of the same process. What is fetched has the digest, or the error is ErrDigestMismatch; if
// the server does not have it, it is ErrNotFound. Archives that break a rule or a limit give the errors of ingest.
func (t *Trees) Open(ctx context.Context, a *meta.Artifact) (*Tree, error) {
	d, err := digest.Parse(a.Digest)
	if err != nil {
		return nil, fmt.Errorf("digest %q: %w", a.Digest, err)
	}

	n := t.use(ctx, d, a)

	select {
	case <-n.ready:
	case <-ctx.Done():
		t.release(n)

		return nil, ctx.Err()
	}

	if n.err != nil {
		t.release(n)

		return nil, n.err
	}

	return &Tree{Dir: n.dir, Bytes: n.got.Bytes, release: func() { t.release(n) }}, nil
}

// use returns the node of the digest with one user more. The first user makes it be loaded: for all who wait, not only as
// long as the first one does.
func (t *Trees) use(ctx context.Context, d digest.Digest, a *meta.Artifact) *node {
	t.mu.Lock()
	defer t.mu.Unlock()

	n, ok := t.nodes[d]
	if !ok {
		n = &node{digest: d, ready: make(chan struct{})}
		t.nodes[d] = n

		ctx, n.cancel = context.WithTimeoutCause(context.WithoutCancel(ctx), t.options.Timeout,
			fmt.Errorf("timed out after %s", t.options.Timeout))
		go t.load(ctx, n, a.DeepCopy())
	}

	if n.idle != nil {
		t.idle.Remove(n.idle)
		t.idleBytes -= n.weight()
		n.idle = nil
	}

	n.users++

	return n
}

// load fills a node.
func (t *Trees) load(ctx context.Context, n *node, a *meta.Artifact) {
	dir, got, err := t.guarded(ctx, n.digest, a)

	t.mu.Lock()
	n.dir, n.got, n.err = dir, got, err

	if err != nil && !n.gone {
		delete(t.nodes, n.digest)
	}

	gone := n.gone
	close(n.ready)
	n.cancel()
	n.cancel = nil // it holds the context of who came first, and all that is in it
	t.mu.Unlock()

	if gone && err == nil {
		_ = os.RemoveAll(dir)
	}
}

// guarded unpacks an artifact. What is not expected of foreign bytes must not end the process, and what takes too long says so.
func (t *Trees) guarded(ctx context.Context, d digest.Digest, a *meta.Artifact) (dir string, got ingest.Unpacked, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()

	dir, got, err = t.unpack(ctx, d, a)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("fetch artifact %q: %w", ingest.Redact(a.URL), context.Cause(ctx))
	}

	return dir, got, err
}

// release takes a user away from a node. What nobody uses is kept for a while, and what nobody waits for is given up.
func (t *Trees) release(n *node) {
	for _, dir := range t.retire(n) {
		_ = os.RemoveAll(dir)
	}
}

// retire returns the directories that are to be removed because a user of the node is gone.
func (t *Trees) retire(n *node) []string {
	t.mu.Lock()
	defer t.mu.Unlock()

	if n.users--; n.users > 0 {
		return nil
	}

	select {
	case <-n.ready:
	default:
		n.gone = true
		n.cancel()
		delete(t.nodes, n.digest)

		return nil
	}

	if n.err != nil {
		return nil
	}

	n.idle = t.idle.PushFront(n)
	t.idleBytes += n.weight()

	var dirs []string

	for t.idleBytes > t.options.IdleBytes && t.idle.Len() > 0 {
		old := t.idle.Remove(t.idle.Back()).(*node) //nolint:forcetypeassert // the list holds nothing else
		t.idleBytes -= old.weight()
		delete(t.nodes, old.digest)
		dirs = append(dirs, old.dir)
	}

	return dirs
}
