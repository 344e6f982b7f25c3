package artifact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// origin is a store that is served over HTTP, and counts the requests.
type origin struct {
	*artifact.Store

	root     string
	requests atomic.Int64
	before   atomic.Pointer[func(http.ResponseWriter, *http.Request) bool] // tells that it has answered
}

func newOrigin(t *testing.T) *origin {
	t.Helper()

	o := &origin{root: t.TempDir()}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.requests.Add(1)

		if before := o.before.Load(); before != nil && (*before)(w, r) {
			return
		}

		o.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)

	o.Store = newStore(t, artifact.StoreOptions{Root: o.root, Address: server.URL})

	return o
}

// A process that is gone without a word takes the connections that it has to no end: none is used twice, so that the next one leads to
// whoever has taken its place.
func TestTreesConnectEachTime(t *testing.T) {
	o := newOrigin(t)

	var remotes sync.Map

	note := func(_ http.ResponseWriter, r *http.Request) bool {
		if _, again := remotes.LoadOrStore(r.RemoteAddr, true); again {
			t.Errorf("the connection of %s was used again", r.RemoteAddr)
		}

		return false
	}
	o.before.Store(&note)

	trees, err := artifact.NewTrees(artifact.TreesOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"one", "two", "three"} {
		tree, err := trees.Open(t.Context(), o.tarball(t, name, name))
		if err != nil {
			t.Fatal(err)
		}

		tree.Close()
	}

	if n := o.requests.Load(); n != 3 {
		t.Errorf("there were %d requests", n)
	}
}

// tarball stores an archive of one file.
func (o *origin) tarball(t *testing.T, name, text string) *meta.Artifact {
	t.Helper()

	a, err := o.Put(t.Context(), at(name, name+".tar.gz"), "r", o.Tarball(func(tar *artifact.Tar) error {
		return tar.File("dir/a.txt", false, int64(len(text)), strings.NewReader(text))
	}))
	if err != nil {
		t.Fatal(err)
	}

	return a
}

func newTrees(t *testing.T, o artifact.TreesOptions) *artifact.Trees {
	t.Helper()

	if o.Dir == "" {
		o.Dir = t.TempDir()
	}

	if o.Wait == nil {
		o.Wait = func(context.Context, int) error { return nil }
	}

	trees, err := artifact.NewTrees(o)
	if err != nil {
		t.Fatal(err)
	}

	return trees
}

func open(t *testing.T, trees *artifact.Trees, a *meta.Artifact) *artifact.Tree {
	t.Helper()

	tree, err := trees.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}

	return tree
}

func read(t *testing.T, tree *artifact.Tree) string {
	t.Helper()

	b, err := os.ReadFile(filepath.Join(tree.Dir, "dir", "a.txt"))
	if err != nil {
		t.Error(err)
	}

	return string(b)
}

func TestOpenFetchesOnce(t *testing.T) {
	o := newOrigin(t)
	a := o.tarball(t, "one", "text")
	trees := newTrees(t, artifact.TreesOptions{})

	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			tree, err := trees.Open(t.Context(), a)
			if err != nil {
				t.Error(err)

				return
			}
			defer tree.Close()

			if got := read(t, tree); got != "text" || tree.Bytes != 4 {
				t.Errorf("got %q, %d bytes", got, tree.Bytes)
			}
		})
	}

	wg.Wait()

	// Another path with the same content is no other tree.
	other := o.tarball(t, "two", "text")
	open(t, trees, other).Close()

	if got := o.requests.Load(); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestOpenFromStore(t *testing.T) {
	o := newOrigin(t)
	a := o.tarball(t, "one", "text")
	trees := newTrees(t, artifact.TreesOptions{Store: o.Store})

	tree := open(t, trees, a)
	defer tree.Close()

	if got := read(t, tree); got != "text" || o.requests.Load() != 0 {
		t.Errorf("got %q with %d requests", got, o.requests.Load())
	}
}

// Content of the own store that turns out wrong is lost for those who link it, and what has the digest elsewhere will do.
func TestOpenFromRottenStore(t *testing.T) {
	o := newOrigin(t)
	a := o.tarball(t, "one", "text")
	lost := make(chan artifact.Owner, 1)

	raw, err := os.ReadFile(filepath.Join(o.root, a.Path))
	check(t, err)

	root := t.TempDir()
	own := newStore(t, artifact.StoreOptions{Root: root, Lost: func(o artifact.Owner) { lost <- o }})
	put(t, own, at("copy", "a"), string(raw))

	raw[len(raw)-1]++
	rot(t, filepath.Join(root, at("copy", "a").Path()), string(raw))

	trees := newTrees(t, artifact.TreesOptions{Store: own})

	tree := open(t, trees, a)
	defer tree.Close()

	if got := read(t, tree); got != "text" || o.requests.Load() != 1 {
		t.Errorf("got %q with %d requests", got, o.requests.Load())
	}

	if got := <-lost; got.Name != "copy" {
		t.Errorf("told %+v", got)
	}
}

func TestOpenFails(t *testing.T) {
	o := newOrigin(t)
	a := o.tarball(t, "one", "text")
	large := o.tarball(t, "large", strings.Repeat("x", 1000))

	raw, err := o.Put(t.Context(), at("raw", "raw"), "r", content("no archive"))
	if err != nil {
		t.Fatal(err)
	}

	cases := map[string]struct {
		reason   string
		artifact func() *meta.Artifact
		before   func(w http.ResponseWriter, r *http.Request) bool
		limits   ingest.Limits
		want     func(error) bool
		requests int64
	}{
		"NotFound": {
			reason:   "What is gone is not asked for again.",
			artifact: func() *meta.Artifact { b := a.DeepCopy(); b.URL += "x"; return b },
			want:     func(err error) bool { return errors.Is(err, artifact.ErrNotFound) },
			requests: 1,
		},
		"OtherContent": {
			reason:   "What was replaced is not taken for what it was.",
			artifact: func() *meta.Artifact { b := a.DeepCopy(); b.Digest = "sha256:" + strings.Repeat("0", 64); return b },
			want:     func(err error) bool { return errors.Is(err, artifact.ErrDigestMismatch) },
			requests: 1,
		},
		"LongerContent": {
			reason:   "Not more is read than there should be.",
			artifact: func() *meta.Artifact { b := a.DeepCopy(); b.Size = new(int64(10)); return b },
			want:     func(err error) bool { return errors.Is(err, artifact.ErrDigestMismatch) },
			requests: 1,
		},
		"NoArchive": {
			reason:   "The right bytes may be no archive.",
			artifact: func() *meta.Artifact { return raw },
			want:     func(err error) bool { return strings.Contains(err.Error(), "unpack artifact") },
			requests: 1,
		},
		"BadDigest": {
			reason:   "A digest is needed.",
			artifact: func() *meta.Artifact { b := a.DeepCopy(); b.Digest = "x"; return b },
			want:     func(err error) bool { return strings.Contains(err.Error(), "digest") },
		},
		"Limit": {
			reason:   "Limits hold.",
			artifact: func() *meta.Artifact { return large },
			limits:   ingest.Limits{Bytes: 100},
			want:     func(err error) bool { l := (*ingest.LimitError)(nil); return errors.As(err, &l) },
			requests: 1,
		},
		"Trouble": {
			reason:   "A server in trouble is asked again, but not forever.",
			artifact: func() *meta.Artifact { return a },
			before: func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusBadGateway)

				return true
			},
			want: func(err error) bool {
				return errors.Is(err, artifact.ErrUnavailable) && strings.Contains(err.Error(), "502")
			},
			requests: 3,
		},
		"Torn": {
			reason:   "A connection that breaks is no wrong digest.",
			artifact: func() *meta.Artifact { return a },
			before: func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Length", "100")
				_, _ = w.Write([]byte{0x1f, 0x8b, 8})

				return true
			},
			want:     func(err error) bool { return err != nil && !errors.Is(err, artifact.ErrDigestMismatch) },
			requests: 3,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o.requests.Store(0)
			o.before.Store(nil)

			if tc.before != nil {
				o.before.Store(&tc.before)
			}

			dir := t.TempDir()
			trees := newTrees(t, artifact.TreesOptions{Dir: dir, Limits: tc.limits, Attempts: 3})

			tree, err := trees.Open(t.Context(), tc.artifact())
			if err == nil {
				tree.Close()
			}

			if err == nil || !tc.want(err) {
				t.Errorf("%s\nerror: %v", tc.reason, err)
			}

			if got := o.requests.Load(); got != tc.requests {
				t.Errorf("%s\n%d requests", tc.reason, got)
			}

			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestOpenRecovers(t *testing.T) {
	o := newOrigin(t)
	a := o.tarball(t, "one", "text")

	var failures atomic.Int64
	before := func(w http.ResponseWriter, _ *http.Request) bool {
		if failures.Add(1) > 2 {
			return false
		}

		w.WriteHeader(http.StatusServiceUnavailable)

		return true
	}
	o.before.Store(&before)

	var attempts []int
	trees := newTrees(t, artifact.TreesOptions{Attempts: 4, Wait: func(_ context.Context, n int) error {
		attempts = append(attempts, n)

		return nil
	}})

	open(t, trees, a).Close()

	if fmt.Sprint(attempts) != "[2 3]" {
		t.Errorf("waited before %v", attempts)
	}
}

// A consumer that gives up does not take the others along, and the last one stops the download.
func TestOpenGivesUp(t *testing.T) {
	o := newOrigin(t)
	a := o.tarball(t, "one", "text")

	arrived, stopped := make(chan struct{}), make(chan struct{})
	before := func(_ http.ResponseWriter, r *http.Request) bool {
		close(arrived)
		<-r.Context().Done()
		close(stopped)

		return true
	}
	o.before.Store(&before)

	dir := t.TempDir()
	trees := newTrees(t, artifact.TreesOptions{Dir: dir})
	first, cancelFirst := context.WithCancel(t.Context())
	second, cancelSecond := context.WithCancel(t.Context())

	results := make(chan error, 2)
	for _, ctx := range []context.Context{first, second} {
		go func() {
			_, err := trees.Open(ctx, a)
			results <- err
		}()
	}

	<-arrived
	cancelFirst()

	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("unexpected error: %v", err)
	}

	select {
	case <-stopped:
		t.Error("the download stopped though somebody waits")
	default:
	}

	cancelSecond()

	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("unexpected error: %v", err)
	}

	<-stopped

	// Whoever comes next begins anew.
	o.before.Store(nil)
	tree := open(t, trees, a)
	defer tree.Close()

	if got := read(t, tree); got != "text" {
		t.Errorf("got %q", got)
	}
}

// Those who wait may have no end of their own: a server that never answers must not hold them.
func TestOpenEnds(t *testing.T) {
	o := newOrigin(t)
	before := func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()

		return true
	}
	o.before.Store(&before)

	trees := newTrees(t, artifact.TreesOptions{Timeout: 50 * time.Millisecond})

	_, err := trees.Open(t.Context(), o.tarball(t, "one", "text"))
	if err == nil || !strings.HasSuffix(err.Error(), "timed out after 50ms") {
		t.Errorf("unexpected error: %v", err)
	}
}

// panicking is a transport with a bug.
type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("no idea") }

// What nobody expects of foreign bytes is the failure of one artifact, and not the end of the process.
func TestOpenRecoversFromPanics(t *testing.T) {
	trees := newTrees(t, artifact.TreesOptions{Client: &http.Client{Transport: panicking{}}})

	_, err := trees.Open(t.Context(), newOrigin(t).tarball(t, "one", "text"))
	if err == nil || err.Error() != "internal error: no idea" {
		t.Errorf("unexpected error: %v", err)
	}
}

func TestIdleTreesAreBounded(t *testing.T) {
	o := newOrigin(t)
	dir := t.TempDir()
	trees := newTrees(t, artifact.TreesOptions{Dir: dir, IdleBytes: 2*(10+2*4096) + 5})

	artifacts := map[string]*meta.Artifact{}
	for _, name := range []string{"a", "b", "c"} {
		artifacts[name] = o.tarball(t, name, strings.Repeat(name, 10))
	}

	used := open(t, trees, artifacts["a"])
	open(t, trees, artifacts["b"]).Close()
	open(t, trees, artifacts["c"]).Close()
	open(t, trees, artifacts["b"]).Close() // used last

	if left, _ := os.ReadDir(dir); len(left) != 3 {
		t.Errorf("%d trees", len(left))
	}

	used.Close()
	used.Close() // twice is once

	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d trees", len(left))
	}

	o.requests.Store(0)
	open(t, trees, artifacts["b"]).Close()

	if o.requests.Load() != 0 {
		t.Error("the tree used last is gone")
	}

	open(t, trees, artifacts["c"]).Close()

	if o.requests.Load() != 1 {
		t.Error("the tree not used for longest is still there")
	}
}

func TestStaleTreesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(dir, link))
	check(t, os.MkdirAll(filepath.Join(dir, "tree-123", "x"), 0o700))
	check(t, os.MkdirAll(filepath.Join(dir, "other"), 0o700))

	o := newOrigin(t)
	trees := newTrees(t, artifact.TreesOptions{Dir: link})

	if _, err := os.Stat(filepath.Join(dir, "tree-123")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a stale tree is still there")
	}

	if _, err := os.Stat(filepath.Join(dir, "other")); err != nil {
		t.Error("something else was removed")
	}

	tree := open(t, trees, o.tarball(t, "one", "text"))
	defer tree.Close()

	if !strings.HasPrefix(tree.Dir, dir+"/") {
		t.Errorf("%q is not the real path", tree.Dir)
	}
}

func TestTreesConcurrently(t *testing.T) {
	o := newOrigin(t)
	dir := t.TempDir()
	trees := newTrees(t, artifact.TreesOptions{Dir: dir, Store: o.Store, IdleBytes: 2*4096 + 10})

	artifacts := make([]*meta.Artifact, 5)
	for i := range artifacts {
		artifacts[i] = o.tarball(t, fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 5))
	}

	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 50 {
				i := (w*7 + n) % len(artifacts)

				ctx, cancel := context.WithCancel(t.Context())
				if n%5 == 0 {
					cancel()
				}

				tree, err := trees.Open(ctx, artifacts[i])
				cancel()

				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}

					continue
				}

				if got := read(t, tree); got != strings.Repeat(fmt.Sprint(i), 5) {
					t.Errorf("tree %d holds %q", i, got)
				}

				tree.Close()
			}
		})
	}

	wg.Wait()
}

// Trees of empty files cost, too: they are not kept without end.
func TestIdleTreesOfNothingAreBounded(t *testing.T) {
	o := newOrigin(t)
	dir := t.TempDir()
	trees := newTrees(t, artifact.TreesOptions{Dir: dir, IdleBytes: 10 << 12})

	for i := range 5 {
		name := fmt.Sprint(i)

		a, err := o.Put(t.Context(), at(name, name), "r", o.Tarball(func(tar *artifact.Tar) error {
			for n := range 4 {
				if err := tar.File(fmt.Sprint(i, "-", n), false, 0, strings.NewReader("")); err != nil {
					return err
				}
			}

			return nil
		}))
		check(t, err)

		open(t, trees, a).Close()
	}

	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d trees", len(left))
	}
}

// The digest is that of the whole file, however much follows the archive in it.
func TestOpenWithTail(t *testing.T) {
	o := newOrigin(t)

	a, err := o.Put(t.Context(), at("one", "a"), "r", func(w io.Writer) error {
		err := o.Tarball(func(tar *artifact.Tar) error {
			return tar.File("dir/a.txt", false, 4, strings.NewReader("text"))
		})(w)

		_, e := w.Write(make([]byte, 3<<20))

		return errors.Join(err, e)
	})
	check(t, err)

	for name, options := range map[string]artifact.TreesOptions{"Store": {Store: o.Store}, "Fetched": {}} {
		t.Run(name, func(t *testing.T) {
			tree := open(t, newTrees(t, options), a)
			defer tree.Close()

			if got := read(t, tree); got != "text" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// A tree that is kept does not keep what was in the context of who opened it first, such as a whole reconcile.
func TestTreesLetGo(t *testing.T) {
	type key struct{}

	o := newOrigin(t)
	trees := newTrees(t, artifact.TreesOptions{Store: o.Store})
	held := &[1024]byte{}
	seen := weak.Make(held)

	tree, err := trees.Open(context.WithValue(t.Context(), key{}, held), o.tarball(t, "a", "text"))
	if err != nil {
		t.Fatal(err)
	}

	runtime.KeepAlive(held)
	tree.Close()

	defer runtime.KeepAlive(trees)

	for range 100 { // the goroutine may not be gone yet
		if runtime.GC(); seen.Value() == nil {
			return
		}

		runtime.Gosched()
	}

	t.Error("the context is still there")
}
