package build

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// streamFile is where the library sees a stream that is transformed.
const streamFile = "objects.yaml"

// Transform returns the objects of a YAML stream with what the spec does to them: in memory, within the limits of a build, and
// without a cache. Components are refused. Owner is whom it is for, such as a namespace.
func (b *Builder) Transform(ctx context.Context, owner string, stream []byte, spec Spec) (*Set, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.timeout, fmt.Errorf("the build takes longer than %s", b.timeout))
	defer cancel()

	t := &tree{
		ctx: ctx, maxFile: b.maxFile, overlay: map[string][]byte{}, files: map[string][]byte{streamFile: stream},
		owner: owner, gate: b.large, mask: &Mask{},
	}
	t.users.Store(1)

	defer t.close()

	objects, err := b.buildWithLibrary(t, ".", "", &plain{entries: []string{streamFile}}, &spec)
	if err != nil {
		return nil, err
	}

	for _, u := range objects {
		if err := checkNamed(u); err != nil {
			return nil, err
		}
	}

	if err := addMetadata(objects, spec.CommonMetadata); err != nil {
		return nil, err
	}

	e, err := encode(objects)
	if err != nil {
		return nil, err
	}

	return e.set(objects)
}

// kept returns a file of a tree that is in memory.
func (t *tree) kept(name string) ([]byte, error) {
	data, ok := t.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}

	return t.content(name, bytes.NewReader(data), int64(len(data)))
}

// confirmKept is CleanedAbs for a tree that is in memory: its root, and the files in it.
func (t *tree) confirmKept(name string) (filesys.ConfirmedDir, string, error) {
	if name == "." {
		return treeRoot, "", nil
	}

	if _, ok := t.files[name]; !ok && t.overlay[name] == nil {
		return "", "", &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}

	return treeRoot, name, nil
}
