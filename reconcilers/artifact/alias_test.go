package artifact_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

const latest = "latest.tar.gz"

// get returns the status and the body of what the handler serves at a path, and its entity tag.
func get(t *testing.T, s *artifact.Store, path string) (status int, body, tag string) {
	t.Helper()

	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+path, nil))

	b, err := io.ReadAll(w.Result().Body)
	check(t, err)

	return w.Code, string(b), strings.Trim(w.Header().Get("ETag"), `"`)
}

func TestAlias(t *testing.T) {
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root})
	first, second := put(t, s, at("one", "a.tar.gz"), "first"), put(t, s, at("one", "b.tar.gz"), "second")

	alias := at("one", latest)

	for _, a := range []struct{ file, digest, content string }{
		{"a.tar.gz", first.Digest, "first"},
		{"b.tar.gz", second.Digest, "second"},
		{"b.tar.gz", second.Digest, "second"},
		{"a.tar.gz", first.Digest, "first"},
	} {
		url, err := s.Alias(at("one", a.file), latest)
		check(t, err)

		if url != "http://source.test/gitrepository/apps/one/latest.tar.gz" {
			t.Errorf("URL is %q", url)
		}

		if status, body, tag := get(t, s, alias.Path()); status != http.StatusOK || body != a.content || tag != a.digest {
			t.Errorf("%s: got %d, %q, %q", a.file, status, body, tag)
		}
	}

	// It is no artifact, and not superseded.
	if removed, err := s.Collect(alias.Owner, first); err != nil || len(removed) != 0 {
		t.Errorf("removed %q, %v", removed, err)
	}

	// It is still right after a restart.
	s = newStore(t, artifact.StoreOptions{Root: root})
	check(t, errors.Join(s.Verify(first), s.Verify(second)))

	if status, body, _ := get(t, s, alias.Path()); status != http.StatusOK || body != "first" {
		t.Errorf("after a restart: got %d, %q", status, body)
	}

	// What is gone has no second name either.
	check(t, s.Discard(first))

	if status, _, _ := get(t, s, alias.Path()); status != http.StatusNotFound {
		t.Errorf("without an artifact: got %d", status)
	}

	put(t, s, at("one", "a.tar.gz"), "third")

	if status, body, _ := get(t, s, alias.Path()); status != http.StatusOK || body != "third" {
		t.Errorf("stored again: got %d, %q", status, body)
	}

	_, err := s.Remove(alias.Owner)
	check(t, err)

	if paths, blobs := files(t, root); len(paths)+blobs != 0 {
		t.Errorf("left behind: %q and %d contents", paths, blobs)
	}
}

func TestAliasRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		at     artifact.Location
		name   string
		want   error
	}{
		"Climbing": {reason: "A name does not lead out.", at: at("one", "a"), name: "../x", want: artifact.ErrInvalidPath},
		"Hidden":   {reason: "A name is not one of the store.", at: at("one", "a"), name: ".x", want: artifact.ErrInvalidPath},
		"Empty":    {reason: "There is a name.", at: at("one", "a"), want: artifact.ErrInvalidPath},
		"Itself":   {reason: "A name does not lead to itself.", at: at("one", "a"), name: "a", want: artifact.ErrInvalidPath},
		"Artifact": {reason: "The name of an artifact is taken.", at: at("one", "a"), name: "b", want: artifact.ErrInvalidPath},
		"Location": {reason: "The location is one.", at: at("../one", "a"), name: latest, want: artifact.ErrInvalidPath},
		"Missing":  {reason: "There has to be an artifact.", at: at("one", "c"), name: latest, want: artifact.ErrNotFound},
		"Alias":    {reason: "An alias is no artifact.", at: at("one", "alias"), name: latest, want: artifact.ErrNotFound},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := newStore(t, artifact.StoreOptions{Root: root})
			put(t, s, at("one", "a"), "content")
			put(t, s, at("one", "b"), "content")

			_, err := s.Alias(at("one", "a"), "alias")
			check(t, err)

			if _, err := s.Alias(tc.at, tc.name); !errors.Is(err, tc.want) {
				t.Errorf("%s\nerror: %v", tc.reason, err)
			}

			paths, _ := files(t, root)

			var got []string
			for _, p := range paths {
				got = append(got, filepath.Base(p))
			}

			if diff := cmp.Diff([]string{"a", "alias", "b"}, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Links that the store did not make lead nowhere.
func TestHandlerFollowsOnlyAliases(t *testing.T) {
	root := t.TempDir()
	s := newStore(t, artifact.StoreOptions{Root: root})
	a := put(t, s, at("one", "a"), "content")
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, os.WriteFile(outside, []byte("outside"), 0o600))

	for name, to := range map[string]string{"absolute": outside, "climbing": "../../../../x", "missing": "b", "loop": "loop"} {
		check(t, os.Symlink(to, filepath.Join(root, filepath.Dir(a.Path), name)))

		if status, body, _ := get(t, s, at("one", name).Path()); status != http.StatusNotFound {
			t.Errorf("%s: got %d, %q", name, status, body)
		}
	}
}
