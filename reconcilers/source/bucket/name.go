package bucket

import (
	"path"
	"strings"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxElement is how long the name of a file may be, in bytes.
const maxElement = 255

// pathOf returns the path that the key of an object means in an artifact. Slashes at the beginning, and several in a row, mean
// nothing.
func pathOf(key string) (string, error) {
	refused := func(reason string) (string, error) { return "", &ingest.RefusedError{Name: key, Reason: reason} }

	if strings.ContainsRune(key, 0) {
		return refused("the name holds a NUL character")
	}

	for e := range strings.FieldsFuncSeq(key, func(r rune) bool { return r == '/' || r == '\\' }) {
		switch {
		case e == "..":
			return refused("the name leads out of the tree")
		case len(e) > maxElement:
			return refused("the name is no file name: it is too long")
		}
	}

	p := path.Clean("/" + key)[1:]
	if p == "" {
		return refused("the name is no file name")
	}

	return p, nil
}

// file is an object that goes into the artifact, and where.
type file struct {
	object

	path string
}

// layout returns where the objects go. Two that cannot both be there are an error, but an empty one that stands for the
// directory of others, as some tools make them, is left out.
func layout(objects []object, limits ingest.Limits) ([]file, error) {
	tally := ingest.NewTally(limits)
	files := make([]file, 0, len(objects))
	dirs := map[string]bool{}

	for _, o := range objects {
		p, err := pathOf(o.key)
		if err != nil {
			return nil, err //nolint:wrapcheck // it names the key
		}

		for dir := path.Dir(p); dir != "." && !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true

			if err := tally.Entry(dir, 1); err != nil {
				return nil, err //nolint:wrapcheck // it names the directory
			}
		}

		if err := count(tally, p, o.size); err != nil {
			return nil, err
		}

		files = append(files, file{object: o, path: p})
	}

	return distinct(files, dirs)
}

func count(tally *ingest.Tally, p string, size int64) error {
	if err := tally.Entry(p, strings.Count(p, "/")+1); err != nil {
		return err //nolint:wrapcheck // it names the file
	}

	return tally.File(p, max(size, 0)) //nolint:wrapcheck // it names the file
}

// distinct refuses files that cannot be in one tree.
func distinct(files []file, dirs map[string]bool) ([]file, error) {
	seen := make(map[string]bool, len(files))
	kept := files[:0]

	for _, f := range files {
		switch {
		case seen[f.path]:
			return nil, &ingest.RefusedError{Name: f.key, Reason: "another object has a name that means the same file"}
		case dirs[f.path] && f.size > 0:
			return nil, &ingest.RefusedError{Name: f.key, Reason: "the name is that of a directory of other objects"}
		case dirs[f.path]:
			continue
		}

		seen[f.path] = true
		kept = append(kept, f)
	}

	return kept, nil
}
