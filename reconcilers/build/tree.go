package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// treeRoot is where the library sees the artifact. It is not the real directory, so that no message depends on where an
// artifact was unpacked, and not "/", so that a path that climbs out of the artifact does not silently end up in it.
const treeRoot = "/artifact"

// maxReads bounds the files that one build reads. Kustomizations that include each other in a lattice would otherwise be
// read exponentially often.
const maxReads = 20_000

// maxReadBytes bounds what one build reads, in files of the default size limit: a generator may name one large file under
// thousands of keys, and each becomes a copy of its own in memory.
const maxReadBytes = 8 * DefaultMaxFileSize

// maxFileValues and maxValues bound the YAML values in one file and in all that one build reads. A parsed value takes some
// two hundred bytes, so that a file of sixteen megabytes of them took two gigabytes.
const (
	maxFileValues = 2_000_000
	maxValues     = 3 * maxFileValues
)

var errReadOnly = errors.New("the artifact is read-only")

// tree is the artifact as the kustomize library sees it: read-only, confined to the directory of the artifact, with the
// generated kustomization files laid over it. It is made for one build and is not safe for concurrent use.
type tree struct {
	// The library passes no context on, so that of the build is kept here for its reads.
	ctx     context.Context
	root    *os.Root
	real    string
	maxFile int64

	overlay map[string][]byte
	reads   int
	bytes   int64 // that were read
	values  int   // that may be in them

	// refused is the first error that ends the build, whatever the library makes of it: it drops some read errors.
	refused error
	// customSchema is set once a kustomization with a schema of its own has been read.
	customSchema bool
}

var _ filesys.FileSystem = (*tree)(nil)

func openTree(ctx context.Context, dir string, maxFile int64) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open artifact: %w", err)
	}

	return &tree{ctx: ctx, root: root, real: dir, maxFile: maxFile, overlay: map[string][]byte{}}, nil
}

func (t *tree) close() { _ = t.root.Close() }

// refuse remembers the first error that must end the build, and returns err.
func (t *tree) refuse(err error) error {
	if t.refused == nil {
		t.refused = err
	}

	return err
}

// absolute returns where the library sees the file name, which is relative to the artifact.
func absolute(name string) string { return path.Join(treeRoot, name) }

// relative returns the path of a file as the library sees it, relative to the artifact.
func relative(name string) (string, error) {
	clean := path.Clean(name)
	if clean == treeRoot {
		return ".", nil
	}

	if rest, ok := strings.CutPrefix(clean, treeRoot+"/"); ok {
		return rest, nil
	}

	return "", &fs.PathError{Op: "open", Path: name, Err: errors.New("path is outside of the artifact")}
}

// read returns the content of the file, which is relative to the artifact.
func (t *tree) read(name string) ([]byte, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, t.refuse(err)
	}

	if data, ok := t.overlay[name]; ok {
		return data, nil
	}

	file, err := t.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()

	info, err := file.Stat()
	if err != nil {
		return nil, err
	}

	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}

	if t.reads++; t.reads > maxReads {
		return nil, t.refuse(fmt.Errorf("read %q: the build reads more than %d files", name, maxReads))
	}

	if info.Size() > t.maxFile {
		return nil, t.refuse(fmt.Errorf("read %q: the file has %d bytes, more than the limit of %d",
			name, info.Size(), t.maxFile))
	}

	if t.bytes += info.Size(); t.bytes > maxReadBytes {
		return nil, t.refuse(fmt.Errorf("read %q: the build reads more than %d bytes", name, maxReadBytes))
	}

	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(file, t.maxFile)); err != nil {
		return nil, err
	}

	n := countValues(data.Bytes())
	if t.values += n; n > maxFileValues || t.values > maxValues {
		return nil, t.refuse(fmt.Errorf("read %q: more than %d values in the file, or %d in all files of the build",
			name, maxFileValues, maxValues))
	}

	return data.Bytes(), nil
}

// countValues returns how many values the text holds at most, if it is YAML: each has one of the marks before it.
func countValues(data []byte) int {
	n := 1
	for _, mark := range []string{"\n", ",", ":", "[", "{", "- ", "-\t", "? "} {
		n += bytes.Count(data, []byte(mark))
	}

	return n
}

// ReadFile implements filesys.FileSystem. Everything that the library parses passes here, so this is where a build is
// kept from fetching and from blowing up.
func (t *tree) ReadFile(name string) ([]byte, error) {
	rel, err := relative(name)
	if err != nil {
		return nil, err
	}

	data, err := t.read(rel)
	if err != nil {
		return nil, err
	}

	if err := checkAliases(data); err != nil {
		return nil, t.refuse(fmt.Errorf("read %q: %w", rel, err))
	}

	if isKustomizationFile(path.Base(rel)) {
		if err := t.checkKustomization(rel, data); err != nil {
			return nil, t.refuse(err)
		}
	}

	return data, nil
}

func isKustomizationFile(base string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), base)
}

// kustomizationFile returns the kustomization file of the directory, relative to the artifact, or "" if it has none.
func (t *tree) kustomizationFile(dir string) string {
	for _, base := range konfig.RecognizedKustomizationFileNames() {
		name := path.Join(dir, base)
		if info, err := t.root.Stat(name); err == nil && info.Mode().IsRegular() {
			return name
		}
	}

	return ""
}

// CleanedAbs implements filesys.FileSystem.
func (t *tree) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	rel, err := relative(name)
	if err != nil {
		return "", "", err
	}

	info, err := t.root.Stat(rel)
	if err != nil {
		return "", "", err
	}

	// The root has vouched for the links on the way; this finds out where they lead.
	target, err := filepath.EvalSymlinks(filepath.Join(t.real, rel))
	if err != nil {
		return "", "", err
	}

	rel, err = filepath.Rel(t.real, target)
	if err != nil || !filepath.IsLocal(rel) {
		return "", "", &fs.PathError{Op: "open", Path: name, Err: errors.New("path is outside of the artifact")}
	}

	if info.IsDir() {
		return filesys.ConfirmedDir(absolute(rel)), "", nil
	}

	return filesys.ConfirmedDir(absolute(path.Dir(rel))), path.Base(rel), nil
}

// IsDir implements filesys.FileSystem.
func (t *tree) IsDir(name string) bool {
	rel, err := relative(name)
	if err != nil {
		return false
	}

	info, err := t.root.Stat(rel)

	return err == nil && info.IsDir()
}

// Exists implements filesys.FileSystem.
func (t *tree) Exists(name string) bool {
	rel, err := relative(name)
	if err != nil {
		return false
	}

	if _, ok := t.overlay[rel]; ok {
		return true
	}

	_, err = t.root.Stat(rel)

	return err == nil
}

// ReadDir implements filesys.FileSystem. The library does not list directories.
func (t *tree) ReadDir(string) ([]string, error) { return nil, errors.ErrUnsupported }

// Open implements filesys.FileSystem. The library reads whole files only.
func (t *tree) Open(name string) (filesys.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
}

// Glob implements filesys.FileSystem. The library does not use it for builds.
func (t *tree) Glob(string) ([]string, error) { return nil, errors.ErrUnsupported }

// Walk implements filesys.FileSystem. The library does not use it for builds.
func (t *tree) Walk(string, filepath.WalkFunc) error { return errors.ErrUnsupported }

// Create implements filesys.FileSystem.
func (t *tree) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir implements filesys.FileSystem.
func (t *tree) Mkdir(string) error { return errReadOnly }

// MkdirAll implements filesys.FileSystem.
func (t *tree) MkdirAll(string) error { return errReadOnly }

// RemoveAll implements filesys.FileSystem.
func (t *tree) RemoveAll(string) error { return errReadOnly }

// WriteFile implements filesys.FileSystem.
func (t *tree) WriteFile(string, []byte) error { return errReadOnly }
