package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// clock is a clock that stands still unless it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.now = c.now.Add(d)
}

func newStore(t *testing.T, o artifact.StoreOptions) *artifact.Store {
	t.Helper()

	if o.Root == "" {
		o.Root = t.TempDir()
	}

	if o.Address == "" {
		o.Address = "source.test"
	}

	s, err := artifact.NewStore(o)
	if err != nil {
		t.Fatal(err)
	}

	return s
}

func at(name, file string) artifact.Location {
	return artifact.Location{Owner: artifact.Owner{Kind: "GitRepository", Namespace: "apps", Name: name}, File: file}
}

func content(s string) artifact.Content { return artifact.File(strings.NewReader(s)) }

func put(t *testing.T, s *artifact.Store, l artifact.Location, text string) *meta.Artifact {
	t.Helper()

	a, err := s.Put(t.Context(), l, "main@sha1:abc", content(text))
	if err != nil {
		t.Fatal(err)
	}

	return a
}

// files returns the paths of the layout under the root, and how many contents there are.
func files(t *testing.T, root string) (paths []string, blobs int) {
	t.Helper()

	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}

		rel, _ := filepath.Rel(root, p)
		if strings.HasPrefix(rel, ".blobs/") {
			blobs++
		} else {
			paths = append(paths, rel)
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return paths, blobs
}

func TestPut(t *testing.T) {
	root, now := t.TempDir(), newClock()
	s := newStore(t, artifact.StoreOptions{Root: root, Now: now.Now})

	got := put(t, s, at("one", "abc.tar.gz"), "content")
	sum := digest.FromString("content").String()

	if got.LastUpdateTime.Time != now.Now().Truncate(time.Second) {
		t.Errorf("last update time is %s", got.LastUpdateTime)
	}

	want := &meta.Artifact{
		Path: "gitrepository/apps/one/abc.tar.gz", URL: "http://source.test/gitrepository/apps/one/abc.tar.gz",
		Revision: "main@sha1:abc", Digest: sum, Size: new(int64(7)), LastUpdateTime: got.LastUpdateTime,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	b, err := os.ReadFile(filepath.Join(root, got.Path))
	if err != nil || string(b) != "content" {
		t.Errorf("file holds %q, %v", b, err)
	}

	if err := s.Verify(got); err != nil {
		t.Error(err)
	}
}

func TestEqualContentIsStoredOnce(t *testing.T) {
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root})

	a := put(t, s, at("one", "a"), "content")
	b := put(t, s, at("two", "b"), "content")

	c, err := s.Link(at("three", "c"), "main@sha1:abc", digest.Digest(a.Digest))
	if err != nil {
		t.Fatal(err)
	}

	paths, blobs := files(t, root)
	if diff := cmp.Diff([]string{a.Path, c.Path, b.Path}, paths); diff != "" || blobs != 1 {
		t.Errorf("%d contents, -want +got:\n%s", blobs, diff)
	}

	first, _ := os.Stat(filepath.Join(root, a.Path))
	third, _ := os.Stat(filepath.Join(root, c.Path))

	if !os.SameFile(first, third) {
		t.Error("the same content is stored twice")
	}

	for _, owner := range []string{"one", "two", "three"} {
		if blobs := remaining(t, root); blobs != 1 {
			t.Errorf("%d contents before %s is removed", blobs, owner)
		}

		if _, err := s.Remove(at(owner, "").Owner); err != nil {
			t.Fatal(err)
		}
	}

	if blobs := remaining(t, root); blobs != 0 {
		t.Errorf("%d contents without a path", blobs)
	}

	if _, err := s.Link(at("four", "d"), "r", digest.Digest(a.Digest)); !errors.Is(err, artifact.ErrNotFound) {
		t.Errorf("unexpected error: %v", err)
	}
}

// A path that gets another content gives the one before back.
func TestReplacedContentGoes(t *testing.T) {
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root})

	first := put(t, s, at("one", "a"), "first")
	put(t, s, at("two", "b"), "first")
	second := put(t, s, at("one", "a"), "second")

	if blobs := remaining(t, root); blobs != 2 {
		t.Errorf("%d contents while another path has the first one", blobs)
	}

	put(t, s, at("two", "b"), "second")

	if blobs := remaining(t, root); blobs != 1 {
		t.Errorf("%d contents", blobs)
	}

	// Who restores what another process has stored does so, too.
	check(t, s.Restore(t.Context(), first, content("first")))

	if blobs := remaining(t, root); blobs != 2 {
		t.Errorf("%d contents", blobs)
	}

	check(t, s.Restore(t.Context(), second, content("second")))

	if blobs := remaining(t, root); blobs != 1 {
		t.Errorf("%d contents", blobs)
	}
}

func remaining(t *testing.T, root string) int {
	t.Helper()

	_, blobs := files(t, root)

	return blobs
}

func TestAdd(t *testing.T) {
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root})

	// What is about to be linked stays, though another path of it goes.
	d, release, err := s.Add(t.Context(), content("content"))
	check(t, err)
	put(t, s, at("one", "a"), "content")

	if _, err := s.Remove(at("one", "").Owner); err != nil {
		t.Fatal(err)
	}

	linked, err := s.Link(at("two", "a"), "r", d)
	check(t, err)
	release()
	release() // twice is once
	check(t, s.Verify(linked))

	// What nobody linked goes.
	_, release, err = s.Add(t.Context(), content("other"))
	check(t, err)

	if blobs := remaining(t, root); blobs != 2 {
		t.Errorf("%d contents", blobs)
	}

	release()

	if blobs := remaining(t, root); blobs != 1 {
		t.Errorf("%d contents", blobs)
	}
}

func TestPutFails(t *testing.T) {
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root})
	failed := errors.New("failed")

	_, err := s.Put(t.Context(), at("one", "a"), "r", func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")

		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("unexpected error: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := s.Put(ctx, at("one", "a"), "r", content("content")); !errors.Is(err, context.Canceled) {
		t.Errorf("unexpected error: %v", err)
	}

	if paths, blobs := files(t, root); len(paths)+blobs != 0 {
		t.Errorf("left behind: %q and %d contents", paths, blobs)
	}
}

func TestPutRefusesNames(t *testing.T) {
	s := newStore(t, artifact.StoreOptions{})

	for _, l := range []artifact.Location{
		{},
		at("../x", "a"), at("one", "../a"), at("one", "a/b"), at("one", ".hidden"), at("", "a"), at("one", ""),
		at("one", `a\b`), at("one", "a\x00"), at("one", strings.Repeat("a", 256)),
		{Owner: artifact.Owner{Kind: ".blobs", Namespace: "n", Name: "n"}, File: "f"},
	} {
		if _, err := s.Put(t.Context(), l, "r", content("x")); !errors.Is(err, artifact.ErrInvalidPath) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

// A name that leads up must not make the path of another owner.
func TestPathsOfNoNames(t *testing.T) {
	s := newStore(t, artifact.StoreOptions{})
	victim := put(t, s, at("one", "a"), "content")

	for _, l := range []artifact.Location{
		{Owner: artifact.Owner{Kind: "ExternalArtifact", Namespace: "mine", Name: "../../gitrepository/apps/one"}, File: "a"},
		{Owner: artifact.Owner{Kind: "ExternalArtifact", Namespace: "mine", Name: "x"}, File: "../../../gitrepository/apps/one/a"},
		{Owner: artifact.Owner{Kind: "ExternalArtifact", Namespace: "..", Name: "gitrepository/apps/one"}, File: "a"},
		{Owner: artifact.Owner{Kind: "ExternalArtifact", Namespace: "mine", Name: ".."}, File: "a"},
	} {
		a := &meta.Artifact{Path: l.Path(), Digest: digest.FromString("other").String()}

		if err := s.Verify(a); !errors.Is(err, artifact.ErrInvalidPath) {
			t.Errorf("verify %q: %v", a.Path, err)
		}

		if err := s.Discard(a); !errors.Is(err, artifact.ErrInvalidPath) {
			t.Errorf("discard %q: %v", a.Path, err)
		}
	}

	check(t, s.Verify(victim))
}

func TestVerify(t *testing.T) {
	cases := map[string]struct {
		reason string
		harm   func(t *testing.T, file string)
		want   error
	}{
		"Untouched": {reason: "What was stored is there.", harm: func(*testing.T, string) {}},
		"Lost": {
			reason: "A file that is gone is noticed.",
			harm:   func(t *testing.T, file string) { check(t, os.Remove(file)) },
			want:   artifact.ErrNotFound,
		},
		"LostDirectory": {
			reason: "A directory that is gone is noticed.",
			harm:   func(t *testing.T, file string) { check(t, os.RemoveAll(filepath.Dir(file))) },
			want:   artifact.ErrNotFound,
		},
		"Changed": {
			reason: "A file that was changed in place is noticed.",
			harm:   func(t *testing.T, file string) { check(t, os.WriteFile(file, []byte("CONTENT"), 0o600)) },
			want:   artifact.ErrDigestMismatch,
		},
		"Replaced": {
			reason: "A file in the place of another is noticed.",
			harm: func(t *testing.T, file string) {
				check(t, os.Remove(file))
				check(t, os.WriteFile(file, []byte("CONTENT"), 0o600))
			},
			want: artifact.ErrDigestMismatch,
		},
		"Touched": {
			reason: "A file that looks changed and is not is fine.",
			harm: func(t *testing.T, file string) {
				check(t, os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)))
			},
		},
		"LostStorage": {
			reason: "A storage that was cleared is noticed.",
			harm: func(t *testing.T, file string) {
				root := filepath.Join(file, "../../../..")
				for _, name := range []string{"gitrepository", ".blobs", ".tmp"} {
					check(t, os.RemoveAll(filepath.Join(root, name)))
				}
			},
			want: artifact.ErrNotFound,
		},
		"Link": {
			reason: "A link is no artifact.",
			harm: func(t *testing.T, file string) {
				check(t, os.Remove(file))
				check(t, os.Symlink("/etc/hostname", file))
			},
			want: artifact.ErrNotFound,
		},
	}

	for name, tc := range cases {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart=%t", name, restart), func(t *testing.T) {
				root := t.TempDir()
				s := newStore(t, artifact.StoreOptions{Root: root})
				a := put(t, s, at("one", "a"), "content")

				tc.harm(t, filepath.Join(root, a.Path))

				if restart {
					s = newStore(t, artifact.StoreOptions{Root: root})
				}

				if err := s.Verify(a); !errors.Is(err, tc.want) {
					t.Errorf("%s\nerror: %v", tc.reason, err)
				}

				// Whatever happened, it can be stored again.
				if err := s.Verify(put(t, s, at("one", "a"), "content")); err != nil {
					t.Errorf("after storing again: %v", err)
				}
			})
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func TestRestartSweepsContentWithoutPath(t *testing.T) {
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root})
	kept, lost := put(t, s, at("one", "a"), "kept"), put(t, s, at("two", "a"), "lost")

	check(t, os.Remove(filepath.Join(root, lost.Path)))

	s = newStore(t, artifact.StoreOptions{Root: root})

	if blobs := remaining(t, root); blobs != 1 {
		t.Errorf("%d contents", blobs)
	}

	if err := s.Verify(kept); err != nil {
		t.Error(err)
	}

	if _, err := s.Link(at("three", "a"), "r", digest.Digest(kept.Digest)); err != nil {
		t.Errorf("content of before cannot be linked: %v", err)
	}
}

func TestRelocate(t *testing.T) {
	root := t.TempDir()
	a := put(t, newStore(t, artifact.StoreOptions{Root: root, Address: "old.test"}), at("one", "a"), "x")
	s := newStore(t, artifact.StoreOptions{Root: root, Address: "https://new.test:8443/"})

	if !s.Relocate(a) || a.URL != "https://new.test:8443/gitrepository/apps/one/a" {
		t.Errorf("URL is %q", a.URL)
	}

	if s.Relocate(a) {
		t.Error("relocated twice")
	}
}

func TestAlgorithms(t *testing.T) {
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		s := newStore(t, artifact.StoreOptions{Algorithm: algorithm})

		a := put(t, s, at("one", "a"), "content")
		if want := algorithm.FromString("content").String(); a.Digest != want {
			t.Errorf("got %q, want %q", a.Digest, want)
		}
	}

	for _, algorithm := range []digest.Algorithm{"md5", "sha1", "blake3"} {
		_, err := artifact.NewStore(artifact.StoreOptions{Root: t.TempDir(), Algorithm: algorithm})

		want := fmt.Sprintf("digest algorithm %q is not supported: it is one of sha256, sha384 and sha512", algorithm)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func TestTarballIsDeterministic(t *testing.T) {
	s := newStore(t, artifact.StoreOptions{})
	fill := func(tar *artifact.Tar) error {
		return errors.Join(
			tar.Dir("d"),
			tar.File("d/run.sh", true, 2, strings.NewReader("#!")),
			tar.File("d/"+strings.Repeat("long/", 40)+"a.yaml", false, 1, strings.NewReader("a")),
		)
	}

	var one, two bytes.Buffer
	check(t, s.Tarball(fill)(&one))
	check(t, s.Tarball(fill)(&two))

	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same files gave different bytes")
	}

	got, err := ingest.Untar(t.Context(), &one, t.TempDir(), ingest.Limits{})
	if err != nil || got.Bytes != 3 {
		t.Errorf("unpacked %+v, %v", got, err)
	}

	short := s.Tarball(func(tar *artifact.Tar) error { return tar.File("a", false, 5, strings.NewReader("a")) })
	if err := short(io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("unexpected error: %v", err)
	}
}

func TestStoreConcurrently(t *testing.T) {
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root, Lost: func(o artifact.Owner) { t.Errorf("%q lost something", o.Path()) }})

	var all, writers sync.WaitGroup

	ended := make(chan struct{})

	for i := range 8 {
		writers.Go(func() { live(t, s, fmt.Sprintf("o%d", i)) })
	}

	for i := range 4 {
		all.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}

				s.Audit(t.Context())
				get(t, s, at(fmt.Sprintf("o%d", i), latest).Path())
			}
		})
	}

	writers.Wait()
	close(ended)
	all.Wait()

	if paths, blobs := files(t, root); len(paths)+blobs != 0 {
		t.Errorf("left behind: %q and %d contents", paths, blobs)
	}
}

// live does all that an owner does with its artifacts.
func live(t *testing.T, s *artifact.Store, owner string) {
	t.Helper()

	for n := range 20 {
		text := fmt.Sprint(n % 3)

		d, release, err := s.Add(t.Context(), content(text))
		if err != nil {
			t.Error(err)

			return
		}

		l := at(owner, fmt.Sprint(n))
		a, err := s.Link(l, "r", d)
		release()

		if err != nil {
			t.Error(err)

			return
		}

		_, aliased := s.Alias(l, latest)
		_, collected := s.Collect(l.Owner, a)

		if err := errors.Join(aliased, collected, s.Verify(a)); err != nil {
			t.Error(err)
		}

		for _, file := range []string{l.File, latest} {
			if status, body, tag := get(t, s, at(owner, file).Path()); status != 200 || body != text || tag != a.Digest {
				t.Errorf("%s/%s: got %d, %q, %q", owner, file, status, body, tag)
			}
		}
	}

	if _, err := s.Remove(at(owner, "").Owner); err != nil {
		t.Error(err)
	}
}
