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
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/artifact"
)

// told are the owners that were told of a loss.
type told struct {
	mu   sync.Mutex
	list []string
}

func (l *told) Lost(o artifact.Owner) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.list = append(l.list, o.Path())
}

// take returns whom was told since the last time, once nobody is telling any more. It has to run in a bubble.
func (l *told) take() []string {
	synctest.Wait()

	l.mu.Lock()
	defer l.mu.Unlock()

	list := l.list
	l.list = nil

	slices.Sort(list)

	return list
}

const owner = "gitrepository/apps/"

// rot changes a file so that it looks as before.
func rot(t *testing.T, file, content string) {
	t.Helper()

	info, err := os.Stat(file)
	check(t, err)
	check(t, os.WriteFile(file, []byte(content), 0o600))
	check(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
}

func TestLoss(t *testing.T) {
	// One and two have the same content under one name each; other is not harmed.
	cases := map[string]struct {
		reason string
		harm   func(t *testing.T, root string)
		want   []string // who is told
		quiet  bool     // it does not show by looking
	}{
		"Nothing": {reason: "Nobody is told of what is there.", harm: func(*testing.T, string) {}},
		"Removed": {
			reason: "A file that is gone is lost for its owner.",
			harm:   func(t *testing.T, root string) { check(t, os.Remove(filepath.Join(root, owner, "one/a.tar.gz"))) },
			want:   []string{owner + "one"},
		},
		"Directory": {
			reason: "So is one in a directory that is gone.",
			harm:   func(t *testing.T, root string) { check(t, os.RemoveAll(filepath.Join(root, owner, "one"))) },
			want:   []string{owner + "one"},
		},
		"Replaced": {
			reason: "Another file in its place is not the artifact.",
			harm: func(t *testing.T, root string) {
				file := filepath.Join(root, owner, "one/a.tar.gz")
				check(t, errors.Join(os.Remove(file), os.WriteFile(file, []byte("CONTENT"), 0o600)))
			},
			want: []string{owner + "one"},
		},
		"Link": {
			reason: "Neither is a link.",
			harm: func(t *testing.T, root string) {
				file := filepath.Join(root, owner, "one/a.tar.gz")
				check(t, errors.Join(os.Remove(file), os.Symlink("/etc/hostname", file)))
			},
			want: []string{owner + "one"},
		},
		"Nested": {
			reason: "Neither is a directory.",
			harm: func(t *testing.T, root string) {
				file := filepath.Join(root, owner, "one/a.tar.gz")
				check(t, errors.Join(os.Remove(file), os.Mkdir(file, 0o700)))
			},
			want: []string{owner + "one"},
		},
		"Changed": {
			reason: "A content that was changed is lost for all who have it.",
			harm: func(t *testing.T, root string) {
				check(t, os.WriteFile(filepath.Join(root, owner, "one/a.tar.gz"), []byte("CHANGED CONTENT"), 0o600))
			},
			want: []string{owner + "one", owner + "two"},
		},
		"Truncated": {
			reason: "What a crash leaves of a file is nothing worth.",
			harm: func(t *testing.T, root string) {
				check(t, os.Truncate(filepath.Join(root, owner, "one/a.tar.gz"), 0))
			},
			want: []string{owner + "one", owner + "two"},
		},
		"Rotten": {
			reason: "What does not look changed is noticed when it is read.",
			harm:   func(t *testing.T, root string) { rot(t, filepath.Join(root, owner, "one/a.tar.gz"), "CONTENT") },
			want:   []string{owner + "one", owner + "two"}, quiet: true,
		},
		"Cleared": {
			reason: "A storage that was cleared is lost for all.",
			harm:   func(t *testing.T, root string) { check(t, os.RemoveAll(root)) },
			want:   []string{owner + "one", owner + "other", owner + "two"},
		},
	}

	for name, tc := range cases {
		// However it is noticed, by a look at all or by a request, the same is told, once, and nothing wrong is served.
		for _, way := range []string{"audit", "request", "restart"} {
			if way == "audit" && tc.quiet {
				continue
			}

			t.Run(name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					root, losses := filepath.Join(t.TempDir(), "store"), &told{}
					options := artifact.StoreOptions{Root: root, Lost: losses.Lost}
					s := newStore(t, options)

					for _, who := range []string{"one", "two", "other"} {
						text := "content"
						if who == "other" {
							text = "other"
						}

						put(t, s, at(who, "a.tar.gz"), text)
						_, err := s.Alias(at(who, "a.tar.gz"), latest)
						check(t, err)
					}

					if way == "restart" {
						s = newStore(t, options)
					}

					tc.harm(t, root)

					if way == "audit" {
						s.Audit(t.Context())
					}

					served := map[string]string{}

					for _, who := range []string{"one", "other", "two"} {
						for _, file := range []string{latest, "a.tar.gz"} {
							served[who] += serve(t, s, at(who, file))
						}
					}

					s.Audit(t.Context())

					want := map[string]string{"one": "contentcontent", "two": "contentcontent", "other": "otherother"}
					for _, o := range tc.want {
						want[filepath.Base(o)] = ""
					}

					if diff := cmp.Diff(want, served); diff != "" {
						t.Errorf("%s\nserved: -want +got:\n%s", tc.reason, diff)
					}

					if diff := cmp.Diff(tc.want, losses.take()); diff != "" {
						t.Errorf("%s\ntold: -want +got:\n%s", tc.reason, diff)
					}

					// It can be stored again, and then there is nothing to tell.
					put(t, s, at("one", "a.tar.gz"), "content")
					s.Audit(t.Context())

					if got := serve(t, s, at("one", latest)); tc.want != nil && name != "Directory" && name != "Cleared" && got != "content" {
						t.Errorf("served %q after it was stored again", got)
					}

					if got := losses.take(); got != nil {
						t.Errorf("told %q after it was stored again", got)
					}
				})
			})
		}
	}
}

// serve returns what the handler serves as a whole.
func serve(t *testing.T, s *artifact.Store, l artifact.Location) string {
	t.Helper()

	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+l.Path(), nil))

	if w.Code != http.StatusOK {
		return ""
	}

	if want := w.Header().Get("Content-Length"); want != fmt.Sprint(w.Body.Len()) {
		return "" // the client gets an error
	}

	return w.Body.String()
}

// A client does not take what turns out wrong while it is sent for the whole.
func TestRottenFileDoesNotComeThrough(t *testing.T) {
	root := t.TempDir()
	lost := make(chan artifact.Owner, 1)
	s := newStore(t, artifact.StoreOptions{Root: root, Lost: func(o artifact.Owner) { lost <- o }})
	text := strings.Repeat("content ", 1<<17)
	a := put(t, s, at("one", "a"), text)

	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)

	rot(t, filepath.Join(root, a.Path), "X"+text[1:])

	fetch := func() (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/"+a.Path, nil)
		check(t, err)

		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		defer resp.Body.Close()

		_, err = io.Copy(io.Discard, resp.Body)

		return resp.StatusCode, err
	}

	if status, err := fetch(); status != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d, %v", status, err)
	}

	if o := <-lost; o != (artifact.Owner{Kind: "gitrepository", Namespace: "apps", Name: "one"}) {
		t.Errorf("told %+v", o)
	}

	if status, err := fetch(); status != http.StatusNotFound || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
}

// An owner that removes or replaces its artifacts itself has lost nothing.
func TestAuditIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		losses, now := &told{}, newClock()
		s := newStore(t, artifact.StoreOptions{Lost: losses.Lost, Now: now.Now})
		o := at("one", "").Owner

		put(t, s, at("one", "a"), "a")
		now.Add(time.Hour)

		b := put(t, s, at("one", "a"), "b")
		s.Audit(t.Context())

		c := put(t, s, at("one", "c"), "c")
		now.Add(time.Hour)

		if removed, err := s.Collect(o, c); err != nil || len(removed) != 1 || removed[0] != b.Path {
			t.Errorf("removed %q, %v", removed, err)
		}

		s.Audit(t.Context())

		if _, err := s.Remove(o); err != nil {
			t.Error(err)
		}

		s.Audit(t.Context())

		if got := losses.take(); got != nil {
			t.Errorf("told %q", got)
		}
	})
}

// What cannot be looked at may be there: its owner is told once, and nothing is thrown away.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, losses := t.TempDir(), &told{}
		s := newStore(t, artifact.StoreOptions{Root: root, Lost: losses.Lost})
		a := put(t, s, at("one", "a"), "content")
		dir := filepath.Dir(filepath.Join(root, a.Path))

		check(t, errors.Join(os.Rename(dir, dir+"-away"), os.WriteFile(dir, nil, 0o600)))

		s.Audit(t.Context())
		s.Audit(t.Context())

		if status, _, _ := get(t, s, a.Path); status != http.StatusServiceUnavailable {
			t.Errorf("got %d", status)
		}

		if diff := cmp.Diff([]string{owner + "one"}, losses.take()); diff != "" {
			t.Errorf("told: -want +got:\n%s", diff)
		}

		check(t, errors.Join(os.Remove(dir), os.Rename(dir+"-away", dir)))

		if status, body, _ := get(t, s, a.Path); status != http.StatusOK || body != "content" {
			t.Errorf("got %d, %q", status, body)
		}

		// New trouble is told again.
		s.Audit(t.Context())
		check(t, errors.Join(os.Rename(dir, dir+"-away"), os.WriteFile(dir, nil, 0o600)))
		s.Audit(t.Context())

		if diff := cmp.Diff([]string{owner + "one"}, losses.take()); diff != "" {
			t.Errorf("told: -want +got:\n%s", diff)
		}
	})
}

// What is wrong and cannot be removed, as on a disk that takes no more writes, is not served; its owner is told once.
func TestTroubleWithRemoval(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("nothing keeps root from removing a file")
	}

	synctest.Test(t, func(t *testing.T) {
		root, losses := t.TempDir(), &told{}
		s := newStore(t, artifact.StoreOptions{Root: root, Lost: losses.Lost})
		a := put(t, s, at("one", "a"), "content")
		file := filepath.Join(root, a.Path)

		check(t, errors.Join(os.WriteFile(file, []byte("rot"), 0o600), os.Chmod(filepath.Dir(file), 0o500))) //nolint:gosec // a directory

		s.Audit(t.Context())
		s.Audit(t.Context())

		if status, _, _ := get(t, s, a.Path); status != http.StatusNotFound {
			t.Errorf("got %d", status)
		}

		if diff := cmp.Diff([]string{owner + "one"}, losses.take()); diff != "" {
			t.Errorf("told: -want +got:\n%s", diff)
		}

		check(t, os.Chmod(filepath.Dir(file), 0o700)) //nolint:gosec // a directory
		check(t, s.Discard(a))
		put(t, s, at("one", "a"), "content")
		s.Audit(t.Context())

		if status, body, _ := get(t, s, a.Path); status != http.StatusOK || body != "content" {
			t.Errorf("got %d, %q", status, body)
		}
	})
}

// A storage that comes back, like a volume that is mounted again, is as good as before.
func TestStorageComesBack(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	s := newStore(t, artifact.StoreOptions{Root: root})
	a := put(t, s, at("one", "a"), "content")

	check(t, os.Rename(root, root+"-away"))
	s.Audit(t.Context())
	check(t, os.Rename(root+"-away", root))
	check(t, s.Verify(a))

	if status, body, _ := get(t, s, a.Path); status != http.StatusOK || body != "content" {
		t.Errorf("got %d, %q", status, body)
	}
}

// Times have whole seconds. Those who wait for a lost artifact have to see that there is another one.
func TestStoredAgainIsLater(t *testing.T) {
	cases := map[string]struct {
		reason  string
		restart bool
		notice  func(t *testing.T, s *artifact.Store, a *meta.Artifact)
	}{
		"Audit":   {reason: "Lost as seen from here.", notice: func(t *testing.T, s *artifact.Store, _ *meta.Artifact) { s.Audit(t.Context()) }},
		"Request": {reason: "Lost as seen by a consumer.", notice: func(t *testing.T, s *artifact.Store, a *meta.Artifact) { get(t, s, a.Path) }},
		"Verify":  {reason: "Lost as seen by its owner.", notice: verifyLost},
		"Restart": {reason: "Lost while there was no process.", restart: true, notice: verifyLost},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root, now := filepath.Join(t.TempDir(), "store"), newClock()
			options := artifact.StoreOptions{Root: root, Now: now.Now}
			s := newStore(t, options)
			before := put(t, s, at("one", "a"), "content")

			for i := range 3 { // again and again within the same second
				check(t, os.RemoveAll(root))

				if tc.restart {
					s = newStore(t, options)
				}

				tc.notice(t, s, before)

				after := put(t, s, at("one", "a"), "content")
				if got := after.LastUpdateTime.Sub(before.LastUpdateTime.Time); got != time.Second {
					t.Errorf("%s\nloss %d: %s later", tc.reason, i, got)
				}

				// Who has to store it once more has still a later time than the lost one.
				if again := put(t, s, at("one", "a"), "content"); !tc.restart && !again.LastUpdateTime.Equal(&after.LastUpdateTime) {
					t.Errorf("%s\nloss %d: %s, then %s", tc.reason, i, after.LastUpdateTime, again.LastUpdateTime)
				}

				before = after
			}

			now.Add(time.Hour)

			if got := put(t, s, at("one", "a"), "content").LastUpdateTime; !got.Time.Equal(now.Now().Truncate(time.Second)) {
				t.Errorf("later, it is %s", got)
			}
		})
	}
}

func verifyLost(t *testing.T, s *artifact.Store, a *meta.Artifact) {
	t.Helper()

	if err := s.Verify(a); !errors.Is(err, artifact.ErrNotFound) {
		t.Errorf("unexpected error: %v", err)
	}
}

// After a crash, a file may have the right name and hold anything. It is never taken for the content.
func TestCrashLeavesGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, losses := t.TempDir(), &told{}
		options := artifact.StoreOptions{Root: root, Lost: losses.Lost}
		s := newStore(t, options)
		a := put(t, s, at("one", "a"), "content")

		for _, garbage := range []string{"", "CONTENT"} {
			rot(t, filepath.Join(root, a.Path), garbage)

			s = newStore(t, options)

			if got := serve(t, s, at("one", "a")); got != "" {
				t.Errorf("served %q", got)
			}

			if _, err := s.Link(at("two", "a"), "r", digest.Digest(a.Digest)); !errors.Is(err, artifact.ErrNotFound) {
				t.Errorf("linked: %v", err)
			}

			check(t, s.Verify(put(t, s, at("one", "a"), "content")))

			if got := serve(t, s, at("one", "a")); got != "content" {
				t.Errorf("served %q", got)
			}
		}

		if diff := cmp.Diff([]string{owner + "one", owner + "one"}, losses.take()); diff != "" {
			t.Errorf("told: -want +got:\n%s", diff)
		}
	})
}

// Content that was lost with its last path does not stay for ever.
func TestAuditRemovesOrphans(t *testing.T) {
	root, now := t.TempDir(), newClock()
	s := newStore(t, artifact.StoreOptions{Root: root, Now: now.Now})

	for _, f := range []string{"a", "b"} {
		a := put(t, s, at(f, f), f)
		check(t, os.Remove(filepath.Join(root, a.Path)))
	}

	s.Audit(t.Context())

	// Those who come soon have it at once.
	linked, err := s.Link(at("a", "a"), "r", digest.FromString("a"))
	check(t, err)

	now.Add(time.Hour)
	s.Audit(t.Context())

	if blobs := remaining(t, root); blobs != 1 {
		t.Errorf("%d contents", blobs)
	}

	check(t, s.Verify(linked))
}

func TestAuditEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, losses := t.TempDir(), &told{}
		s := newStore(t, artifact.StoreOptions{Root: root, Lost: losses.Lost})
		a := put(t, s, at("one", "a"), "content")
		check(t, os.Remove(filepath.Join(root, a.Path)))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Audit(ctx)

		if got := losses.take(); got != nil {
			t.Errorf("told %q", got)
		}
	})
}
