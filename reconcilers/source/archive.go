package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

// ReadRules collects the rules for a directory of files that were unpacked by package ingest: those of its .sourceignore
// files, then those of the object, which may be nil.
func ReadRules(ctx context.Context, dir string, spec *string) (*RuleBook, error) {
	b := &RuleBook{}

	err := walk(ctx, dir, Rules{}, func(root *os.Root, name string, info fs.FileInfo) error {
		if info.IsDir() || path.Base(name) != IgnoreFile {
			return nil
		}

		f, err := root.Open(name)
		if err != nil {
			return fmt.Errorf("open ignore rules: %w", err)
		}
		defer f.Close() //nolint:errcheck // it was only read

		return b.File(name, f)
	})
	if err != nil {
		return nil, err
	}

	return b, b.Spec(spec)
}

// Archive is the content of an artifact with the files of a directory, but those that the rules leave out. Parents come first,
// names in order, so that the same files give the same bytes.
func Archive(ctx context.Context, store *artifact.Store, dir string, rules Rules) artifact.Content {
	return store.Tarball(func(tar *artifact.Tar) error {
		return walk(ctx, dir, rules, func(root *os.Root, name string, info fs.FileInfo) error {
			if info.IsDir() {
				return tar.Dir(name)
			}

			f, err := root.Open(name)
			if err != nil {
				return fmt.Errorf("open file: %w", err)
			}
			defer f.Close() //nolint:errcheck // it was only read

			return tar.File(name, info.Mode()&0o111 != 0, info.Size(), io.LimitReader(f, info.Size()))
		})
	})
}

// walk visits the directories and regular files of a directory that the rules leave in.
func walk(ctx context.Context, dir string, rules Rules, visit func(root *os.Root, name string, info fs.FileInfo) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was only read

	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}

		if name == "." || !e.IsDir() && !e.Type().IsRegular() {
			return nil
		}

		if rules.Skip(strings.Split(name, "/"), e.IsDir()) {
			if e.IsDir() && rules.Prune {
				return fs.SkipDir
			}

			return nil
		}

		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("stat file: %w", err)
		}

		return visit(root, name, info)
	})
}
