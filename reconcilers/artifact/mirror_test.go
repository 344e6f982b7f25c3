package artifact_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/util/workqueue"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// attempt is what a mirror reports.
type attempt struct {
	owner artifact.Owner
	err   error
}

// leader is a store and its server, which counts the requests.
type leader struct {
	*artifact.Store
	*httptest.Server

	requests atomic.Int32
	answer   func(w http.ResponseWriter, r *http.Request) // instead of the store, if it is set
}

func newLeader(t *testing.T) *leader {
	t.Helper()

	l := &leader{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.requests.Add(1)

		if l.answer != nil {
			l.answer(w, r)
		} else {
			l.Handler().ServeHTTP(w, r)
		}
	}))
	t.Cleanup(l.Close)

	l.Store = newStore(t, artifact.StoreOptions{Address: l.Server.URL})

	return l
}

// newMirror returns a mirror that does not wait before it tries again, and what it reports.
func newMirror(t *testing.T, o artifact.MirrorOptions) (*artifact.Mirror, <-chan attempt) {
	t.Helper()

	reports := make(chan attempt, 100)
	o.Retry = workqueue.NewTypedItemExponentialFailureRateLimiter[artifact.Owner](0, 0)
	o.Report = func(owner artifact.Owner, err error) {
		select {
		case reports <- attempt{owner, err}:
		default: // nobody looks
		}
	}

	m := artifact.NewMirror(t.Context(), o)
	t.Cleanup(m.Stop)

	return m, reports
}

// success waits for an attempt that does not fail, and returns how many failed before.
func success(t *testing.T, reports <-chan attempt) (owner artifact.Owner, failures []error) {
	t.Helper()

	for r := range reports {
		if r.err == nil {
			return r.owner, failures
		}

		failures = append(failures, r.err)
	}

	return owner, failures
}

func TestMirrorTakesOver(t *testing.T) {
	const sources = 30

	lead := newLeader(t)
	standby := newStore(t, artifact.StoreOptions{Address: lead.Server.URL})
	mirror, reports := newMirror(t, artifact.MirrorOptions{Store: standby})

	artifacts := map[string]*meta.Artifact{}
	want := map[string]string{}

	for i := range sources {
		l := at(fmt.Sprintf("s%d", i), "a.tar.gz")
		text := strings.Repeat("content ", 1<<12) + fmt.Sprint(i%20)
		a := put(t, lead.Store, l, text)
		_, err := lead.Alias(l, latest)
		check(t, err)

		artifacts[l.Path()] = a
		want[l.Path()], want[at(l.Name, latest).Path()] = text, text
		mirror.Want(l.Owner, a, latest)
	}

	for range sources {
		success(t, reports)
	}

	if n := mirror.Pending(); n != 0 {
		t.Errorf("%d are pending", n)
	}

	// The leader dies.
	lead.Close()
	mirror.Stop()

	second := httptest.NewServer(standby.Handler())
	t.Cleanup(second.Close)

	got := map[string]string{}

	for p := range want {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, second.URL+"/"+p, nil)
		check(t, err)

		resp, err := http.DefaultClient.Do(req)
		check(t, err)

		b, err := io.ReadAll(resp.Body)
		check(t, errors.Join(err, resp.Body.Close()))

		got[p] = string(b)
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// The sources find all that their statuses say.
	for _, a := range artifacts {
		check(t, standby.Verify(a))
	}

	// What comes late is ignored.
	mirror.Drop(at("s0", "").Owner)
	mirror.Want(at("s1", "").Owner, nil)
	check(t, standby.Verify(artifacts[at("s0", "a.tar.gz").Path()]))
}

func TestMirrorFollows(t *testing.T) {
	lead, now, root := newLeader(t), newClock(), t.TempDir()
	standby := newStore(t, artifact.StoreOptions{Root: root, Now: now.Now})
	mirror, reports := newMirror(t, artifact.MirrorOptions{Store: standby})
	o := at("one", "").Owner

	follow := func(who, file, text string) {
		t.Helper()
		mirror.Want(at(who, "").Owner, put(t, lead.Store, at(who, file), text), latest)
		success(t, reports)
	}

	for _, f := range []string{"a", "b", "c"} {
		now.Add(time.Second)
		follow("one", f, f)
	}

	if got := serve(t, standby, at("one", latest)); got != "c" {
		t.Errorf("latest is %q", got)
	}

	// Superseded artifacts stay for a while, as they do where they come from.
	paths, _ := files(t, root)
	if diff := cmp.Diff([]string{owner + "one/b", owner + "one/c", owner + "one/" + latest}, paths); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// What another one has, and what is here already, is not fetched.
	before := lead.requests.Load()

	follow("two", "c", "c")
	mirror.Stop()

	mirror, reports = newMirror(t, artifact.MirrorOptions{Store: newStore(t, artifact.StoreOptions{Root: root, Now: now.Now})})
	follow("two", "c", "c")

	if n := lead.requests.Load() - before; n != 0 {
		t.Errorf("%d requests", n)
	}

	// The leader makes a lost one again: what is here stays so long.
	mirror.Want(o, nil)
	check(t, mirrorDrop(mirror, at("two", "").Owner, reports))

	if paths, _ := files(t, root); len(paths) != 3 {
		t.Errorf("there are %q", paths)
	}

	check(t, mirrorDrop(mirror, o, reports))

	if paths, blobs := files(t, root); len(paths)+blobs != 0 {
		t.Errorf("left behind: %q and %d contents", paths, blobs)
	}
}

func mirrorDrop(m *artifact.Mirror, o artifact.Owner, reports <-chan attempt) error {
	m.Drop(o)

	return (<-reports).err
}

func TestMirrorTriesAgain(t *testing.T) {
	text := strings.Repeat("content ", 1<<10)

	cases := map[string]struct {
		reason string
		answer func(w http.ResponseWriter)
		change func(a *meta.Artifact)
		max    int64
		want   func(error) bool
	}{
		"NotThere": {
			reason: "The leader makes it again.",
			answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
			want:   is(artifact.ErrNotFound),
		},
		"InTrouble": {
			reason: "The leader restarts.",
			answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
			want:   is(artifact.ErrUnavailable),
		},
		"Refused": {
			reason: "Somebody else serves there.",
			answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
			want:   func(err error) bool { return strings.HasSuffix(err.Error(), "403 Forbidden") },
		},
		"Another": {
			reason: "What does not have the digest is not taken.",
			answer: func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.ToUpper(text)) },
			want:   is(artifact.ErrDigestMismatch),
		},
		"Half": {
			reason: "What breaks off is not taken.",
			answer: func(w http.ResponseWriter) {
				w.Header().Set("Content-Length", fmt.Sprint(len(text)))
				_, _ = io.WriteString(w, text[:len(text)/2])
			},
			want: is(io.ErrUnexpectedEOF),
		},
		"TooMuch": {
			reason: "What is more than it should be is not taken.",
			answer: func(w http.ResponseWriter) { _, _ = io.WriteString(w, text+text) },
			want:   is(artifact.ErrDigestMismatch),
		},
		"Endless": {
			reason: "An answer of unknown length is bounded.",
			answer: func(w http.ResponseWriter) { _, _ = io.WriteString(w, text+text) },
			change: func(a *meta.Artifact) { a.Size = nil },
			max:    int64(len(text)),
			want:   tooMuch,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lead, root := newLeader(t), t.TempDir()
			standby := newStore(t, artifact.StoreOptions{Root: root})
			mirror, reports := newMirror(t, artifact.MirrorOptions{Store: standby, MaxBytes: tc.max})

			a := put(t, lead.Store, at("one", "a"), text)
			if tc.change != nil {
				tc.change(a)
			}

			lead.answer = func(w http.ResponseWriter, r *http.Request) {
				if lead.requests.Load() <= 3 {
					tc.answer(w)
				} else {
					lead.Handler().ServeHTTP(w, r)
				}
			}

			mirror.Want(at("one", "").Owner, a)

			_, failures := success(t, reports)
			if len(failures) != 3 {
				t.Errorf("%d failures", len(failures))
			}

			for _, err := range failures {
				if !tc.want(err) {
					t.Errorf("%s\nerror: %v", tc.reason, err)
				}
			}

			check(t, standby.Verify(a))

			if _, blobs := files(t, root); blobs != 1 {
				t.Errorf("%d contents", blobs)
			}
		})
	}
}

func is(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) }
}

func tooMuch(err error) bool {
	_, ok := errors.AsType[*ingest.LimitError](err)

	return ok
}

func TestMirrorRefuses(t *testing.T) {
	lead := newLeader(t)
	other := put(t, lead.Store, at("two", "a"), "other")

	cases := map[string]struct {
		reason string
		change func(a *meta.Artifact)
		want   func(error) bool
	}{
		"Foreign": {
			reason: "A status does not reach what another object has.",
			change: func(a *meta.Artifact) { *a = *other.DeepCopy() }, want: is(artifact.ErrInvalidPath),
		},
		"Climbing": {
			reason: "A path does not lead out.",
			change: func(a *meta.Artifact) { a.Path = "gitrepository/apps/one/../../x" }, want: is(artifact.ErrInvalidPath),
		},
		"Digest": {
			reason: "A digest is one.",
			change: func(a *meta.Artifact) { a.Digest = "md5:x" },
			want:   func(err error) bool { return strings.Contains(err.Error(), `digest "md5:x"`) },
		},
		"Large": {
			reason: "What is too large is not even asked for.",
			change: func(a *meta.Artifact) { a.Size = new(int64(5 << 30)) }, want: tooMuch,
		},
		"LinkLocal": {
			reason: "A status does not make us ask a metadata service.",
			change: func(a *meta.Artifact) { a.URL = "http://169.254.169.254/latest" },
			want:   func(err error) bool { return strings.Contains(err.Error(), "link-local") },
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			mirror, reports := newMirror(t, artifact.MirrorOptions{Store: newStore(t, artifact.StoreOptions{Root: root})})
			a := put(t, lead.Store, at("one", "a"), "content")
			before := lead.requests.Load()

			tc.change(a)
			mirror.Want(at("one", "").Owner, a)

			if got := <-reports; !tc.want(got.err) {
				t.Errorf("%s\nerror: %v", tc.reason, got.err)
			}

			mirror.Stop()

			if n := mirror.Pending(); n != 1 {
				t.Errorf("%d are pending", n)
			}

			if n := lead.requests.Load() - before; n != 0 {
				t.Errorf("%d requests", n)
			}

			if paths, blobs := files(t, root); len(paths)+blobs != 0 {
				t.Errorf("left behind: %q and %d contents", paths, blobs)
			}
		})
	}
}

// A stand-by that loses its storage fills it again.
func TestMirrorRecovers(t *testing.T) {
	lead, root := newLeader(t), filepath.Join(t.TempDir(), "store")

	var mirror *artifact.Mirror

	standby := newStore(t, artifact.StoreOptions{Root: root, Lost: func(o artifact.Owner) { mirror.Lost(o) }})
	mirror, reports := newMirror(t, artifact.MirrorOptions{Store: standby})

	want := map[artifact.Owner]*meta.Artifact{}

	for i := range 5 {
		l := at(fmt.Sprint("s", i), "a")
		l.Kind = "gitrepository"
		want[l.Owner] = put(t, lead.Store, l, fmt.Sprint("content", i))
		mirror.Want(l.Owner, want[l.Owner])
		success(t, reports)
	}

	check(t, os.RemoveAll(root))
	standby.Audit(t.Context())

	for left := maps.Clone(want); len(left) > 0; {
		o, _ := success(t, reports)
		delete(left, o)
	}

	for _, a := range want {
		check(t, standby.Verify(a))
	}
}

// A fetch that hangs ends with the mirror, and leaves nothing.
func TestMirrorStops(t *testing.T) {
	lead, root := newLeader(t), t.TempDir()
	asked := make(chan struct{})
	lead.answer = func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}

	mirror, _ := newMirror(t, artifact.MirrorOptions{Store: newStore(t, artifact.StoreOptions{Root: root})})
	mirror.Want(at("one", "").Owner, put(t, lead.Store, at("one", "a"), "content"))
	<-asked
	mirror.Stop()

	if paths, blobs := files(t, root); len(paths)+blobs != 0 {
		t.Errorf("left behind: %q and %d contents", paths, blobs)
	}
}

func TestMirrorTimesOut(t *testing.T) {
	lead := newLeader(t)
	lead.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

	mirror, reports := newMirror(t, artifact.MirrorOptions{
		Store: newStore(t, artifact.StoreOptions{}), Timeout: time.Millisecond,
	})
	mirror.Want(at("one", "").Owner, put(t, lead.Store, at("one", "a"), "content"))

	if got := <-reports; got.err == nil || !strings.HasSuffix(got.err.Error(), "timed out after 1ms") {
		t.Errorf("unexpected error: %v", got.err)
	}
}
