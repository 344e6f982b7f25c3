package artifact_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

func TestHandler(t *testing.T) {
	now := newClock()
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root, Now: now.Now})
	a := put(t, s, at("one", "a.tar.gz"), "content")
	tag := `"` + a.Digest + `"`

	_, err := s.Alias(at("one", "a.tar.gz"), latest)
	check(t, err)

	date := now.Now().UTC().Truncate(time.Second)
	check(t, chtimes(filepath.Join(root, filepath.Dir(a.Path), latest), date))
	now.Add(time.Minute)

	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)

	earlier, same := date.Add(-time.Second).Format(http.TimeFormat), date.Format(http.TimeFormat)
	alias := at("one", latest).Path()

	cases := map[string]struct {
		reason string
		method string
		path   string
		header http.Header
		status int
		body   string
		tag    string
	}{
		"Get":   {reason: "The file is served.", path: a.Path, status: 200, body: "content", tag: tag},
		"Alias": {reason: "So is it under its other name.", path: alias, status: 200, body: "content", tag: tag},
		"Head":  {reason: "Or only what is to be known of it.", method: http.MethodHead, path: a.Path, status: 200, tag: tag},
		"Unchanged": {
			reason: "What the client has is not sent again.",
			path:   a.Path, header: http.Header{"If-None-Match": {tag}}, status: 304, tag: tag,
		},
		"UnchangedWeak": {
			reason: "Nor if somebody on the way made the tag a weak one.",
			path:   alias, header: http.Header{"If-None-Match": {`"x", W/` + tag}}, status: 304, tag: tag,
		},
		"Changed": {
			reason: "Something else is.",
			path:   a.Path, header: http.Header{"If-None-Match": {`"sha256:other"`}}, status: 200, body: "content", tag: tag,
		},
		"NotModified": {
			reason: "A time will do.",
			path:   alias, header: http.Header{"If-Modified-Since": {same}}, status: 304, tag: tag,
		},
		"Modified": {
			reason: "An earlier one will not.",
			path:   alias, header: http.Header{"If-Modified-Since": {earlier}}, status: 200, body: "content", tag: tag,
		},
		"TagFirst": {
			reason: "The tag counts more than the time.",
			path:   a.Path, header: http.Header{"If-Modified-Since": {same}, "If-None-Match": {`"x"`}}, status: 200, body: "content", tag: tag,
		},
		"Match": {
			reason: "Something else is not sent to who wants this.",
			path:   a.Path, header: http.Header{"If-Match": {`"x"`}}, status: 412, tag: tag,
		},
		"Range": {
			reason: "A download may be resumed.",
			path:   a.Path, header: http.Header{"Range": {"bytes=3-"}, "If-Range": {tag}}, status: 206, body: "tent", tag: tag,
		},
		"RangeOfAnother": {
			reason: "But not one of another content.",
			path:   a.Path, header: http.Header{"Range": {"bytes=3-"}, "If-Range": {`"x"`}}, status: 200, body: "content", tag: tag,
		},
		"RangeOfTime": {
			reason: "Nor one of another time.",
			path:   a.Path, header: http.Header{"Range": {"bytes=3-"}, "If-Range": {earlier}}, status: 200, body: "content", tag: tag,
		},
		"WholeRange": {
			reason: "All is a range.",
			path:   a.Path, header: http.Header{"Range": {"bytes=0-"}}, status: 206, body: "content", tag: tag,
		},
		"Beyond": {
			reason: "There is nothing behind the end.",
			path:   a.Path, header: http.Header{"Range": {"bytes=7-"}}, status: 416,
		},
		"Missing":   {reason: "What is not there is not found.", path: "gitrepository/apps/one/b", status: 404},
		"Directory": {reason: "There are no listings.", path: "gitrepository/apps/one/", status: 404},
		"Root":      {reason: "There are no listings.", path: "", status: 404},
		"Contents":  {reason: "The store's own files are not served.", path: ".blobs/sha256/x/y", status: 404},
		"Climbing":  {reason: "Nothing else is served.", path: "gitrepository/apps/one/..%2f..%2fx", status: 404},
		"Post":      {reason: "Nothing is taken.", method: http.MethodPost, path: a.Path, status: 405},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, server.URL+"/"+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}

			req.Header = tc.header

			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()

			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}

			if resp.StatusCode != tc.status || resp.Header.Get("ETag") != tc.tag {
				t.Errorf("%s\nstatus %d, tag %q", tc.reason, resp.StatusCode, resp.Header.Get("ETag"))
			}

			if tc.status < 300 && string(body) != tc.body {
				t.Errorf("%s\nbody %q", tc.reason, body)
			}

			if kind := resp.Header.Get("Content-Type"); tc.status == 200 && kind != "application/gzip" {
				t.Errorf("content type %q", kind)
			}
		})
	}
}

// The content of a name may be an older one than what the name had before. A time that comes from the content would say that
// nothing has changed since.
func TestHandlerGoesBack(t *testing.T) {
	root, now := t.TempDir(), newClock()
	options := artifact.StoreOptions{Root: root, Now: now.Now}
	s := newStore(t, options)
	put(t, s, at("one", "a"), "first")
	put(t, s, at("two", "a"), "first") // keeps the content

	now.Add(time.Minute)
	put(t, s, at("one", "a"), "second")
	now.Add(time.Minute)

	date := modified(t, s, at("one", "a"))
	if date == "" {
		t.Fatal("there is no date")
	}

	put(t, s, at("one", "a"), "first")

	if got := modified(t, s, at("one", "a")); got != "" {
		t.Errorf("the date of this very second is %q", got)
	}

	now.Add(time.Minute)

	for _, store := range []*artifact.Store{s, newStore(t, options)} {
		now.Add(time.Minute)

		if got := modified(t, store, at("one", "a")); got <= date {
			t.Errorf("%q is not after %q", got, date)
		}
	}
}

// modified returns the time that the handler gives a file.
func modified(t *testing.T, s *artifact.Store, l artifact.Location) string {
	t.Helper()

	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/"+l.Path(), nil))

	return w.Header().Get("Last-Modified")
}

// chtimes sets the time of a link itself.
func chtimes(link string, to time.Time) error {
	ts := unix.NsecToTimespec(to.UnixNano())

	return unix.UtimesNanoAt(unix.AT_FDCWD, link, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
