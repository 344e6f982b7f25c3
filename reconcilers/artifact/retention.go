package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
)

// maxCollect is how many files of an object are looked at in one Collect.
const maxCollect = 1000

// Collect removes superseded artifacts of the owner: those that are older than the retention time, and the oldest of those
// that are too many. The current one, which may be nil, always stays. It returns the paths that it removed, even with an error.
func (s *Store) Collect(owner Owner, current *meta.Artifact) ([]string, error) {
	if err := owner.validate(); err != nil {
		return nil, err
	}

	s.write.Lock()
	defer s.write.Unlock()

	old, err := s.superseded(owner, current)
	if err != nil {
		return nil, err
	}

	keep := s.options.RetentionRecords
	if current != nil {
		keep--
	}

	var removed []string

	for i, f := range old {
		if i < keep && s.options.Now().Sub(f.made) <= s.options.RetentionTTL {
			continue
		}

		if err := s.unlink(f.path); err != nil {
			return removed, err
		}

		removed = append(removed, f.path)
	}

	return removed, nil
}

// Remove removes all artifacts of the owner, and returns their paths.
func (s *Store) Remove(owner Owner) ([]string, error) {
	if err := owner.validate(); err != nil {
		return nil, err
	}

	s.write.Lock()
	defer s.write.Unlock()

	files, err := os.ReadDir(s.file(owner.Path()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read directory: %w", err)
	}

	var removed []string

	for _, f := range files {
		p := owner.Path() + "/" + f.Name()
		if err := s.unlink(p); err != nil {
			return removed, err
		}

		removed = append(removed, p)
	}

	s.leave(owner)

	dir := s.file(owner.Path())
	if err := os.RemoveAll(dir); err != nil {
		return removed, fmt.Errorf("remove directory: %w", err)
	}

	_ = os.Remove(filepath.Dir(dir)) // of the namespace, if this was the last object in it

	return removed, nil
}

// leave forgets all paths of the owner, also those that have no file any more.
func (s *Store) leave(owner Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()

	maps.DeleteFunc(s.links, func(p string, _ link) bool { return path.Dir(p) == owner.Path() })
	delete(s.lost, owner.Path())
}

// dated is a file with the time since when it is there.
type dated struct {
	path string
	made time.Time
}

// superseded returns the files of the owner but the current one, the youngest first.
func (s *Store) superseded(owner Owner, current *meta.Artifact) ([]dated, error) {
	dir, err := os.Open(s.file(owner.Path()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	defer dir.Close() //nolint:errcheck // it was only read

	// An empty directory is an error of its own.
	files, err := dir.ReadDir(maxCollect)
	if err != nil && len(files) > 0 {
		return nil, fmt.Errorf("read directory: %w", err)
	}

	old := make([]dated, 0, len(files))

	for _, f := range files {
		p := owner.Path() + "/" + f.Name()
		if !f.Type().IsRegular() || current != nil && current.Path == p {
			continue
		}

		info, err := f.Info()
		if err != nil {
			continue // it is gone already
		}

		old = append(old, dated{path: p, made: s.since(p, info)})
	}

	slices.SortFunc(old, func(a, b dated) int {
		if c := b.made.Compare(a.made); c != 0 {
			return c
		}

		return strings.Compare(a.path, b.path)
	})

	return old, nil
}

// since returns when the path was linked. The time of the file itself is that of the content, which may be older.
func (s *Store) since(p string, info fs.FileInfo) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()

	if l, ok := s.links[p]; ok {
		return l.made
	}

	return info.ModTime()
}

// unlink removes a path, and its content with the last path. The caller holds the write lock.
func (s *Store) unlink(p string) error {
	name := s.file(p)

	info, err := os.Lstat(name)
	if err == nil {
		err = os.RemoveAll(name)
	}

	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %q: %w", p, err)
	}

	s.mu.Lock()
	d := s.links[p].digest
	delete(s.links, p)
	s.mu.Unlock()

	if d == "" && info != nil {
		d = s.trusted(info)
	}

	if info != nil && names(info) == 1 {
		s.distrust(info)
	}

	if d != "" {
		s.reap(d)
	}

	return nil
}

// reap removes content that no path leads to any more, unless it is about to get one. The caller holds the write lock.
func (s *Store) reap(d digest.Digest) {
	if s.pins[d] > 0 {
		return
	}

	blob := s.blob(d)
	if info, err := os.Lstat(blob); err == nil && names(info) == 1 && os.Remove(blob) == nil {
		s.distrust(info)
	}
}
