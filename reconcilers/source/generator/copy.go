package generator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

// copier carries out the copy operations of one artifact.
type copier struct {
	roots   map[string]*os.Root // of the sources, by alias
	scratch *scratch
	tree    *tree
}

// job is one operation on its way.
type job struct {
	*copier
	*operation

	root            *os.Root // of the source
	taken, excluded int      // files
}

// copy carries out one operation.
func (c *copier) copy(ctx context.Context, o *operation) error {
	root, ok := c.roots[o.alias]
	if !ok {
		return fmt.Errorf("source alias '%s' not found", o.alias)
	}

	j := &job{copier: c, operation: o, root: root}

	err := j.single
	if o.glob != nil {
		err = j.matching
	}

	if err := err(ctx); err != nil {
		return err
	}

	return j.verdict()
}

// verdict says what is wrong with a job that has taken nothing.
func (j *job) verdict() error {
	switch {
	case j.taken > 0:
		return nil
	case j.excluded > 0:
		return fmt.Errorf("all files matching '%s' in source '%s' were excluded", j.what(), j.alias)
	case j.glob == nil:
		return nil // an empty directory
	case j.strategy == v1beta1.CopyExtract:
		return fmt.Errorf("no tarballs (.tar.gz or .tgz) match pattern '%s' in source '%s'", j.what(), j.alias)
	default:
		return fmt.Errorf("no files match pattern '%s' in source '%s'", j.what(), j.alias)
	}
}

// what names what an operation copies.
func (o *operation) what() string {
	if o.glob != nil {
		return o.glob.text
	}

	return join(o.from)
}

// single copies what is at a path: a file to the path or into the directory, a directory into the directory, as cp -r does.
func (j *job) single(ctx context.Context) error {
	info, err := lstat(j.root, j.from)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("source '%s' does not exist", j.what())
	case err != nil:
		return fmt.Errorf("source '%s': %w", j.what(), err)
	case info.IsDir() && j.strategy == v1beta1.CopyExtract:
		return fmt.Errorf("extract strategy is not supported for directories, got '%s'", j.what())
	case info.IsDir():
		return j.below(ctx, j.from, slices.Concat(j.to, last(j.from)), len(j.from))
	case j.leavesOut(j.from):
		j.excluded++

		return nil
	case j.strategy == v1beta1.CopyExtract && !isArchive(j.what()):
		return fmt.Errorf("extract strategy requires tarball file (.tar.gz or .tgz), got '%s'", j.what())
	}

	to := j.to
	if j.intoTo || j.tree.isDir(join(j.to)) {
		to = slices.Concat(to, last(j.from))
	}

	return j.file(ctx, j.what(), join(to), info, true)
}

// last returns the last element, if there is one.
func last(elements []string) []string { return elements[max(len(elements)-1, 0):] }

// matching copies what matches a pattern, with the path that it has below the part that is no pattern.
func (j *job) matching(ctx context.Context) error {
	info, err := lstat(j.root, j.from)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("source '%s': %w", join(j.from), err)
	case !info.IsDir():
		return nil
	}

	f := j.glob.start()
	for _, e := range j.from {
		f = j.glob.step(f, e)
	}

	return j.descend(ctx, j.from, f)
}

// descend looks for matches in a directory.
func (j *job) descend(ctx context.Context, dir []string, f front) error {
	entries, err := children(j.root, join(dir))
	if err != nil {
		return err
	}

	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}

		next := j.glob.step(f, e.Name())
		if err := j.visit(ctx, slices.Concat(dir, []string{e.Name()}), e, next); err != nil {
			return err
		}
	}

	return nil
}

// visit looks at one entry of a directory that may match.
func (j *job) visit(ctx context.Context, at []string, e fs.DirEntry, f front) error {
	accepted, alive := j.glob.accepted(f), e.IsDir() && j.glob.alive(f)

	switch {
	case !accepted && !alive:
		return nil
	case j.leavesOut(at, len(j.from)):
		j.excluded++

		return nil
	case e.IsDir() && (!accepted || j.strategy == v1beta1.CopyExtract):
		if !alive {
			return nil
		}

		return j.descend(ctx, at, f)
	case j.strategy == v1beta1.CopyExtract && !isArchive(e.Name()):
		return nil
	}

	to := slices.Concat(j.to, at[len(j.from):])
	if e.IsDir() {
		return j.below(ctx, at, to, len(at))
	}

	return j.entry(ctx, at, to, e)
}

// below copies what is in a directory that is, or is in, one that is copied as a whole: that one's path has so many elements.
func (j *job) below(ctx context.Context, from, to []string, whole int) error {
	entries, err := children(j.root, join(from))
	if err == nil {
		err = j.tree.dir(join(to))
	}

	if err != nil {
		return err
	}

	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}

		at, into := slices.Concat(from, []string{e.Name()}), slices.Concat(to, []string{e.Name()})

		switch {
		case j.leavesOut(at, len(j.from), whole):
			j.excluded++
		case e.IsDir():
			err = j.below(ctx, at, into, whole)
		default:
			err = j.entry(ctx, at, into, e)
		}

		if err != nil {
			return err
		}
	}

	return nil
}

// entry copies a file that was found in a directory.
func (j *job) entry(ctx context.Context, at, to []string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return fmt.Errorf("stat file: %w", err)
	}

	return j.file(ctx, join(at), join(to), info, false)
}

// file copies, merges or extracts one file. Named tells that the operation names it, and no other.
func (j *job) file(ctx context.Context, from, to string, info fs.FileInfo, named bool) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("source '%s': %w", from, errLink)
	}

	j.taken++

	n := fileIn(j.root, from, info)

	if j.strategy == v1beta1.CopyExtract {
		if err := j.extract(ctx, n, join(j.to)); err != nil {
			return fmt.Errorf("failed to extract tarball '%s': %w", from, err)
		}

		return nil
	}

	old := j.tree.nodes[to]
	if j.strategy == v1beta1.CopyMerge && old != nil && !old.dir && (named || isDocument(to)) {
		merged, err := j.merge(old, n, to)
		if err != nil {
			return fmt.Errorf("failed to merge '%s' into '%s': %w", from, to, err)
		}

		n = merged
	}

	return j.tree.file(to, n)
}
