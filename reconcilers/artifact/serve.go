package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Handler serves the artifacts under their paths, with conditional and range requests; the entity tag is the digest. It serves
// nothing else: no directories, and nothing of the store's own.
//
// What is served is known to have the digest that was stored or verified for the path. A file that nobody has read since it
// changed, or since the process began, is read before; and one that is served as a whole is read once more on the way, and does
// not come to its end if it is wrong. What turns out wrong is not found, and its owner is told.
func (s *Store) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Store) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)

		return
	}

	name, err := parsePath(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		http.NotFound(w, r)

		return
	}

	at, changed, err := s.resolve(name)
	if err != nil {
		http.NotFound(w, r)

		return
	}

	f, err := s.take(at)

	switch {
	case errors.Is(err, ErrNotFound):
		http.NotFound(w, r)

		return
	case err != nil: // which says nothing about the artifact
		http.Error(w, "storage is not available", http.StatusServiceUnavailable)

		return
	}
	defer f.Close() //nolint:errcheck // it was only read

	made := f.link.made
	if !f.link.verified {
		made = s.began // the content may be older than its name
	}

	if made.After(changed) {
		changed = made
	}

	if s.options.Now().Before(changed.Truncate(time.Second).Add(time.Second)) {
		changed = time.Time{} // another content may come within the same second
	}

	h := w.Header()
	h.Set("ETag", `"`+f.link.digest.String()+`"`)
	h.Set("Content-Type", contentType(at.File))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache") // names may get another content: ask again

	http.ServeContent(w, r, "", changed, f)
}

// Has tells whether there is something to serve at a path, which may be an alias, as far as this process knows.
func (s *Store) Has(p string) bool {
	name, err := parsePath(p)
	if err != nil {
		return false
	}

	at, _, err := s.resolve(name)
	if err != nil {
		return false
	}

	_, ok := s.known(at.Path())

	return ok
}

// contentType does not depend on what the machine knows of file names.
func contentType(file string) string {
	switch {
	case strings.HasSuffix(file, ".gz"), strings.HasSuffix(file, ".tgz"):
		return "application/gzip"
	case strings.HasSuffix(file, ".yaml"):
		return "application/yaml"
	}

	return "application/octet-stream"
}

// take opens the file of an artifact that has its digest, or fails with ErrNotFound.
func (s *Store) take(at Location) (*servedFile, error) {
	p := at.Path()

	for {
		l, ok := s.known(p)
		if !ok {
			return nil, fmt.Errorf("%w: %q is not known", ErrNotFound, p)
		}

		f, err := s.takeOne(p, l)
		if err == nil {
			return f, nil
		}

		if now, ok := s.known(p); !ok || now.digest == l.digest {
			return nil, err
		}
		// It was stored anew in between.
	}
}

// takeOne opens the file of a path, and clears it away if it is not what it should be.
func (s *Store) takeOne(p string, l link) (*servedFile, error) {
	info, err := os.Lstat(s.file(p))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		s.tell(s.missing(p))

		return nil, fmt.Errorf("%w: %q", ErrNotFound, p)
	}

	f, err := open(s.file(p))
	if err != nil {
		s.troubled(p)

		return nil, fmt.Errorf("open artifact: %w", err)
	}

	info, err = s.examine(f, l.digest)

	switch {
	case err == nil:
		return s.serving(f, info, p, l), nil
	case errors.Is(err, ErrDigestMismatch):
		s.corrupt(p, l.digest, info)

		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	default:
		s.troubled(p)
	}

	_ = f.Close()

	return nil, err
}

// servedFile is the open file of an artifact. Who reads it from the start does not get to its end if it does not have its
// digest.
type servedFile struct {
	file  *os.File
	link  link
	size  int64
	wrong func()

	sum  digest.Digester
	at   int64 // where the next read begins
	read int64 // what went into the sum
}

func (s *Store) serving(f *os.File, info fs.FileInfo, p string, l link) *servedFile {
	return &servedFile{
		file: f, link: l, size: info.Size(), sum: l.digest.Algorithm().Digester(),
		wrong: func() {
			s.distrust(info)
			s.corrupt(p, l.digest, info)
		},
	}
}

// Read implements io.Reader.
func (f *servedFile) Read(p []byte) (int, error) {
	n, err := f.file.Read(p)
	if f.at == f.read {
		_, _ = f.sum.Hash().Write(p[:n]) // hashes never fail
		f.read += int64(n)
	}

	f.at += int64(n)

	if n > 0 && f.read == f.size && f.at == f.size && f.sum.Digest() != f.link.digest {
		f.wrong()

		return 0, ErrDigestMismatch
	}

	return n, err //nolint:wrapcheck // io.EOF is one
}

// Seek implements io.Seeker.
func (f *servedFile) Seek(offset int64, whence int) (int64, error) {
	at, err := f.file.Seek(offset, whence)
	f.at = at

	return at, err //nolint:wrapcheck // it names the file
}

// Close implements io.Closer.
func (f *servedFile) Close() error {
	return f.file.Close() //nolint:wrapcheck // it names the file
}
