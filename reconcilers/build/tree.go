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
	"slices"
	"strings"
	"sync/atomic"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// treeRoot is where the library sees the artifact. It is not the real directory, so that no message depends on where an
// artifact was unpacked, and not "/", so that a path that climbs out of the artifact does not silently end up in it.
const treeRoot = "/artifact"

// tree is the artifact as the kustomize library sees it: read-only, confined to the directory of the artifact, with the
// generated kustomization files laid over it. It is made for one build and is not safe for concurrent use.
type tree struct {
	// The library passes no context on, so that of the build is kept here for its reads.
	ctx     context.Context
	root    *os.Root
	real    string
	maxFile int64

	overlay map[string][]byte
	// files are all that there is, if root is nil.
	files map[string][]byte
	spent budget
	// refused is the first error that ends the build, whatever the library makes of it: it drops some read errors.
	refused error
	// alone says that no other build uses the library, so that a kustomization may bring a schema of its own.
	alone bool
	// mounts is what was fetched. Nil means that nothing is.
	mounts *mounts

	// owner is whom the build is for. A large one has to pass the gate, and is then the visitor.
	owner string
	gate  *gate
	large *visitor
	// users are those who still read: the build, and a run of the library that goes on though nobody waits for it.
	users atomic.Int32

	// decrypter decrypts, or is nil, and mask hides what it has decrypted.
	decrypter Decrypter
	mask      *Mask
}

var _ filesys.FileSystem = (*tree)(nil)

// openTree opens the artifact for one user, who has to close it.
func (b *Builder) openTree(ctx context.Context, dir, owner string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open artifact: %w", err)
	}

	t := &tree{
		ctx: ctx, root: root, real: dir, maxFile: b.maxFile, overlay: map[string][]byte{}, owner: owner, gate: b.large,
	}
	t.users.Store(1)

	if b.fetcher != nil {
		t.mounts = &mounts{fetcher: b.fetcher}
	}

	return t, nil
}

// hold adds a user, who has to close the tree.
func (t *tree) hold() { t.users.Add(1) }

func (t *tree) close() {
	if t.users.Add(-1) == 0 {
		t.shrink()

		if t.mounts != nil {
			t.mounts.close()
		}

		if t.root != nil {
			_ = t.root.Close()
		}
	}
}

// again gets ready for another run.
func (t *tree) again() {
	t.shrink()

	t.overlay, t.spent, t.refused = map[string][]byte{}, budget{alone: t.alone}, nil
}

// grow waits until no other build is large. One that is alone does not, for all others would wait with it.
func (t *tree) grow() error {
	if t.large != nil {
		return nil
	}

	var (
		v   *visitor
		err error
	)

	if t.alone {
		v, err = t.gate.try(t.owner)
	} else {
		v, err = t.gate.pass(t.ctx, t.owner, false)
	}

	if err == nil {
		t.large = v
	}

	return err
}

// shrink makes room for another large build.
func (t *tree) shrink() {
	if t.large != nil {
		t.large.leave()
		t.large = nil
	}
}

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

	if strings.HasPrefix(clean, mountRoot) {
		return ".." + clean, nil
	}

	return "", &fs.PathError{Op: "open", Path: name, Err: errors.New("path is outside of the artifact")}
}

// read returns the content of the file, which is relative to the artifact.
func (t *tree) read(name string) ([]byte, error) {
	if t.ctx.Err() != nil {
		return nil, t.refuse(context.Cause(t.ctx))
	}

	if data, ok := t.overlay[name]; ok {
		return data, nil
	}

	if files, inner := t.mounted(name); files != nil {
		return t.readMounted(files, name, inner)
	}

	if t.root == nil {
		return t.kept(name)
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
		return nil, notRegular(name)
	}

	return t.content(name, file, info.Size())
}

func notRegular(name string) error {
	return &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
}

// stat tells whether there is a file or a directory, and what it is.
func (t *tree) stat(name string) (dir, ok bool) {
	if files, inner := t.mounted(name); files != nil {
		_, dir, err := files.Stat(inner)

		return dir, err == nil
	}

	if t.root == nil {
		_, ok := t.files[name]

		return name == ".", ok || name == "."
	}

	info, err := t.root.Stat(name)

	return err == nil && info.IsDir(), err == nil && (info.IsDir() || info.Mode().IsRegular())
}

// content reads a file that the budget allows.
func (t *tree) content(name string, file io.Reader, size int64) ([]byte, error) {
	if size > t.maxFile {
		return nil, t.refuse(fmt.Errorf("read %q: the file has %d bytes, more than the limit of %d", name, size, t.maxFile))
	}

	if err := t.spend(name, t.spent.file(size)); err != nil {
		return nil, err
	}

	data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(file, size)); err != nil {
		return nil, err
	}

	return data.Bytes(), t.spend(name, t.spent.content(data.Bytes()))
}

// spend refuses to go on if a file was too much, and waits if the build has become large.
func (t *tree) spend(name string, err error) error {
	if err == nil && t.spent.large() {
		if err := t.grow(); err != nil {
			return t.refuse(err)
		}
	}

	if err != nil {
		return t.refuse(fmt.Errorf("read %q: %w", name, err))
	}

	return nil
}

// ReadFile implements filesys.FileSystem. Everything that the library parses passes here, so this is where a build is
// kept from fetching and from blowing up.
func (t *tree) ReadFile(name string) ([]byte, error) {
	rel, err := relative(name)
	if err != nil {
		return nil, err
	}

	data, k, err := t.checked(rel)
	if err != nil || k == nil || t.mounts == nil {
		return data, err
	}

	if data, err = t.mountRemotes(rel, k, data); err != nil {
		return nil, t.refuse(err)
	}

	return data, nil
}

// checked returns the content of the file, which is relative to the artifact, and the kustomization in it if it is one.
func (t *tree) checked(name string) ([]byte, *types.Kustomization, error) {
	data, err := t.read(name)
	if err != nil {
		return nil, nil, err
	}

	if err := checkAliases(data); err != nil {
		return nil, nil, t.refuse(fmt.Errorf("read %q: %w", name, err))
	}

	var k *types.Kustomization

	if isKustomizationFile(path.Base(name)) {
		k, err = t.checkKustomization(name, data)
	} else if e := t.spent.resources(data); e != nil {
		err = fmt.Errorf("read %q: %w", name, e)
	}

	if err != nil {
		return nil, nil, t.refuse(err)
	}

	return data, k, nil
}

func isKustomizationFile(base string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), base)
}

// kustomizationFile returns the kustomization file of the directory, relative to the artifact, or "" if it has none.
func (t *tree) kustomizationFile(dir string) string {
	for _, base := range konfig.RecognizedKustomizationFileNames() {
		name := path.Join(dir, base)
		if dir, ok := t.stat(name); ok && !dir {
			return name
		}
	}

	return ""
}
