package artifact

import (
	"net/http"
	"os"
	"strings"
	"syscall"
)

// Handler serves the artifacts under their paths, with conditional and range requests; the entity tag is the digest. It serves
// nothing else: no directories, and nothing of the store's own.
func (s *Store) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Store) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)

		return
	}

	at, err := parsePath(strings.TrimPrefix(r.URL.Path, "/"))
	if err == nil {
		at, err = s.resolve(at)
	}

	if err != nil {
		http.NotFound(w, r)

		return
	}

	f, err := os.OpenFile(s.file(at.Path()), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		http.NotFound(w, r)

		return
	}
	defer f.Close() //nolint:errcheck // it was only read

	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)

		return
	}

	if d := s.trusted(info); d != "" {
		w.Header().Set("ETag", `"`+d.String()+`"`)
	}

	http.ServeContent(w, r, at.File, info.ModTime(), f)
}
