package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weir-dev/weir/test/cluster"
)

// down removes all that up has left, however that ended.
func (d *demo) down(ctx context.Context) error {
	if _, err := os.Stat(d.dir); errors.Is(err, fs.ErrNotExist) {
		d.out.linef("There is no demo in %s", d.dir)

		return nil
	}

	lock, err := d.alone()
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // nothing was written
	defer d.closeView()

	if err := d.clear(ctx); err != nil {
		return err
	}

	if err := os.Remove(lock.Name()); err != nil {
		return err
	}

	// The folder goes too, unless somebody has put something into it.
	if entries, err := os.ReadDir(d.dir); err == nil && len(entries) == 0 {
		return os.Remove(d.dir)
	}

	return nil
}

// clear stops what an earlier demo has started, and removes its files.
func (d *demo) clear(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(d.dir, "bin")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	if err := d.leave(ctx); err != nil {
		return err
	}

	return d.out.step("Removing the demo in "+d.dir, func() (string, error) {
		for _, name := range []string{"manager", "git", "cluster"} {
			if err := d.service(name).stop(ctx); err != nil {
				return "", err
			}
		}

		// What the cluster could not remove because it was killed.
		if err := cluster.Clean(""); err != nil {
			return "", err
		}

		for _, name := range []string{"manager", "git", "cluster", "run", "bin"} {
			if err := os.RemoveAll(filepath.Join(d.dir, name)); err != nil {
				return "", err
			}
		}

		return "", nil
	})
}
