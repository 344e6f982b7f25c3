package build

import (
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// mounted returns the fetched files in which the name lies, and the name in them, or nil.
func (t *tree) mounted(name string) (Files, string) {
	if !strings.HasPrefix(name, mountPrefix) {
		return nil, ""
	}

	if t.mounts == nil {
		return single(nil), name // there is nothing
	}

	return t.mounts.at(name)
}

func (t *tree) readMounted(files Files, name, inner string) ([]byte, error) {
	size, dir, err := files.Stat(inner)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}

	if dir {
		return nil, notRegular(name)
	}

	file, err := files.Open(t.ctx, inner)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = file.Close() }()

	return t.content(name, file, size)
}

// confirm is CleanedAbs for what was fetched, in which there are no links.
func confirm(files Files, rel, inner string) (filesys.ConfirmedDir, string, error) {
	_, dir, err := files.Stat(inner)

	switch {
	case err != nil:
		return "", "", &fs.PathError{Op: "stat", Path: rel, Err: err}
	case dir:
		return filesys.ConfirmedDir(absolute(rel)), "", nil
	}

	return filesys.ConfirmedDir(absolute(path.Dir(rel))), path.Base(rel), nil
}
