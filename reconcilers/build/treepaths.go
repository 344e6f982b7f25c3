package build

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// CleanedAbs implements filesys.FileSystem.
func (t *tree) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	rel, err := relative(name)
	if err != nil {
		return "", "", err
	}

	if files, inner := t.mounted(rel); files != nil {
		return confirm(files, rel, inner)
	}

	if t.root == nil {
		return t.confirmKept(rel)
	}

	info, err := t.root.Stat(rel)
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		return "", "", &fs.PathError{Op: "stat", Path: cause.Path, Err: cause.Err} // by the name that people know
	}

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

	dir, ok := t.stat(rel)

	return ok && dir
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

	_, ok := t.stat(rel)

	return ok
}
