package build

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// Fetcher gets what kustomizations name that is not in their artifact. It has no credentials, and bounds what it gets.
type Fetcher interface {
	// File returns what a server has at the URL, if that has no more than so many bytes.
	File(ctx context.Context, url string, maxBytes int64) ([]byte, error)
	// Repository returns the files of the Git repository at the URL, in the branch, tag or commit, or the default branch.
	Repository(ctx context.Context, url, version string) (Files, error)
}

// Files are the files of a commit. They are safe for concurrent use until they are closed.
type Files interface {
	// Stat returns the size of the file, or that it is a directory. The name is clean, relative and has slashes. What is not
	// there is fs.ErrNotExist.
	Stat(name string) (size int64, dir bool, err error)
	// Open returns the content of the file.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	Close()
}

// Limits of what one build fetches.
const (
	maxFetched      = 32
	maxFetchedBytes = 64 << 20 // of files; repositories lie on the disk
)

// Fetched files are seen by the library under /.fetched/<number>, beside the artifact. Relative to the artifact, that begins with
// mountPrefix.
const (
	mountRoot   = "/.fetched/"
	mountPrefix = ".." + mountRoot
	mountedFile = "resource.yaml"
)

// errWanted says that a kustomization names something that has to be fetched first.
var errWanted = errors.New("something has to be fetched first")

// mounts is what was fetched for a build.
type mounts struct {
	fetcher Fetcher
	list    []mount
	// wanted are references that were read and not fetched yet, with the files that name them.
	wanted []wanted
	bytes  int64
}

type mount struct {
	reference *reference
	files     Files
	// base of what the reference names, relative to the artifact.
	base string
}

type wanted struct{ file, ref string }

// single is a file that was fetched.
type single []byte

// Stat implements Files.
func (s single) Stat(name string) (size int64, dir bool, err error) {
	switch name {
	case ".":
		return 0, true, nil
	case mountedFile:
		return int64(len(s)), false, nil
	}

	return 0, false, fs.ErrNotExist
}

// Open implements Files.
func (s single) Open(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s)), nil
}

// Close implements Files.
func (s single) Close() {}

func (m *mounts) close() {
	for _, e := range m.list {
		e.files.Close()
	}

	m.list = nil
}

// find returns what the reference names, if it was fetched.
func (m *mounts) find(ref string) *mount {
	for i := range m.list {
		if m.list[i].reference.raw == ref {
			return &m.list[i]
		}
	}

	return nil
}

// at returns the fetched files in which the name, relative to the artifact, lies, and the name in them. There are none for
// a name in the artifact.
func (m *mounts) at(name string) (Files, string) {
	rest, ok := strings.CutPrefix(name, mountPrefix)
	if !ok {
		return nil, ""
	}

	number, inner, _ := strings.Cut(rest, "/")

	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(m.list) {
		return single(nil), "none"
	}

	return m.list[i].files, cmp.Or(path.Clean(inner), ".")
}

// area tells apart what lies in the artifact, and in each of what was fetched.
func area(name string) string {
	rest, ok := strings.CutPrefix(name, mountPrefix)
	if !ok {
		return ""
	}

	number, _, _ := strings.Cut(rest, "/")

	return mountPrefix + number
}

// checkArea refuses a path in a kustomization file that leads from what was fetched to somewhere else, or to it.
func checkArea(file, ref string) error {
	name := path.Join(path.Dir(file), ref)
	if path.IsAbs(ref) {
		name, _ = filepath.Rel(treeRoot, path.Clean(ref))
	}

	if area(name) == area(file) {
		return nil
	}

	return &RefusedError{File: file, What: fmt.Sprintf("path %q", ref), Why: "it leads out of the repository"}
}

// checkPluginPath is checkArea for a path in the configuration of a plugin, which is relative to the directory of some
// kustomization.
func checkPluginPath(file, ref string) error {
	name := path.Clean(ref)

	climbs := area(file) != "" && !filepath.IsLocal(name)
	if climbs || strings.HasPrefix(name, mountRoot) || strings.Contains(name, mountPrefix) {
		return &RefusedError{File: file, What: fmt.Sprintf("path %q", ref), Why: "it leads out of the repository"}
	}

	return nil
}

// mountRemotes returns the kustomization with what was fetched in the place of remote references. What was not is wanted.
func (t *tree) mountRemotes(file string, k *types.Kustomization, data []byte) ([]byte, error) {
	changed := false

	for _, list := range [][]string{k.Resources, k.Components} {
		for i, ref := range list {
			if !isRemote(ref) {
				continue
			}

			changed = true

			m := t.mounts.find(ref)
			if m == nil {
				t.mounts.want(file, ref)

				continue
			}

			local, err := filepath.Rel(path.Dir(file), m.base)
			if err != nil {
				return nil, err
			}

			list[i] = local
		}
	}

	switch {
	case len(t.mounts.wanted) > 0:
		return nil, errWanted
	case !changed:
		return data, nil
	}

	return yaml.Marshal(k)
}

func (m *mounts) want(file, ref string) {
	if !slices.ContainsFunc(m.wanted, func(w wanted) bool { return w.ref == ref }) {
		m.wanted = append(m.wanted, wanted{file, ref})
	}
}

// fetch gets what is wanted.
func (m *mounts) fetch(ctx context.Context, maxFile int64) error {
	for _, w := range m.wanted {
		if len(m.list) >= maxFetched {
			return fetchError(w.file, w.ref, fmt.Errorf("the build names more than %d remote references", maxFetched))
		}

		if err := m.mount(ctx, w.ref, min(maxFile, maxFetchedBytes-m.bytes)); err != nil {
			return fetchError(w.file, w.ref, err)
		}
	}

	m.wanted = nil

	return nil
}

func (m *mounts) mount(ctx context.Context, ref string, maxBytes int64) error {
	r, err := parseReference(ref)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, fmt.Errorf("it takes longer than %s", r.timeout))
	defer cancel()

	files, inner, err := m.get(ctx, r, maxBytes)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}

	if err != nil {
		if files != nil {
			files.Close()
		}

		return err
	}

	base := path.Join(mountPrefix+strconv.Itoa(len(m.list)), inner)
	m.list = append(m.list, mount{reference: r, files: files, base: base})

	return nil
}

// get fetches what the reference may be: a file if it has objects, else a repository.
func (m *mounts) get(ctx context.Context, r *reference, maxBytes int64) (Files, string, error) {
	var fileErr error

	if r.file != "" {
		var data []byte
		if data, fileErr = m.fetcher.File(ctx, r.file, maxBytes); fileErr == nil && (r.repository == "" || hasObjects(data)) {
			m.bytes += int64(len(data))

			return single(data), mountedFile, nil
		}
	}

	if r.repository == "" {
		return nil, "", fileErr
	}

	files, err := m.fetcher.Repository(ctx, r.repository, r.version)
	if err != nil {
		return nil, "", errors.Join(fileErr, err)
	}

	_, dir, err := files.Stat(cmp.Or(r.path, "."))
	if err == nil && !dir {
		err = errors.New("it is a file, not a directory")
	}

	if err != nil {
		err = fmt.Errorf("%q in the repository: %w", r.path, err)
	}

	return files, r.path, err
}

// hasObjects tells a file of objects from a page about one.
func hasObjects(data []byte) bool {
	if checkAliases(data) != nil {
		return false
	}

	found, err := decode(data)

	return err == nil && len(found.objects) > 0
}
