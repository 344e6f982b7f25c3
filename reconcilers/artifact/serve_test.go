package artifact_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

func TestHandler(t *testing.T) {
	s := newStore(t, artifact.StoreOptions{})
	a := put(t, s, at("one", "a.tar.gz"), "content")
	tag := `"` + a.Digest + `"`

	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)

	cases := map[string]struct {
		reason string
		method string
		path   string
		header http.Header
		status int
		body   string
		tag    string
	}{
		"Get": {reason: "The file is served.", path: a.Path, status: 200, body: "content", tag: tag},
		"Unchanged": {
			reason: "What the client has is not sent again.",
			path:   a.Path, header: http.Header{"If-None-Match": {tag}}, status: 304, tag: tag,
		},
		"Range": {
			reason: "A download may be resumed.",
			path:   a.Path, header: http.Header{"Range": {"bytes=3-"}, "If-Range": {tag}}, status: 206, body: "tent", tag: tag,
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
		})
	}
}
