package controllers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

// sharedTrees returns the unpacked artifacts of the process, and makes them if they are not there. They lie in a temporary
// folder that no other process uses.
func (p *Process) sharedTrees() (*artifact.Trees, error) {
	if p.trees != nil {
		return p.trees, nil
	}

	dir, err := p.folder("weir-trees-")
	if err != nil {
		return nil, err
	}

	o := artifact.TreesOptions{Dir: dir, Attempts: p.FetchRetries + 1}

	if slices.ContainsFunc(p.Components, func(c Component) bool { return len(c.Artifacts) > 0 }) {
		if o.Store, err = p.sharedStorage(); err != nil {
			return nil, err
		}
	}

	if p.trees, err = artifact.NewTrees(o); err != nil {
		return nil, fmt.Errorf("open unpacked artifacts: %w", err)
	}

	return p.trees, nil
}

// folder makes a temporary folder that no other process uses.
func (p *Process) folder(prefix string) (string, error) {
	dir, held, err := ownFolder(prefix)
	if err != nil {
		return "", fmt.Errorf("make temporary folder: %w", err)
	}

	p.held = append(p.held, held)

	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make temporary folder: %w", err)
	}

	return dir, nil
}

// ownFolder makes a temporary folder for this process, and removes those with the prefix that killed processes have left
// behind. A folder is in use as long as the file that is returned with it is open, which ends with the process.
func ownFolder(prefix string) (string, *os.File, error) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return "", nil, fmt.Errorf("look for old folders: %w", err)
	}

	for _, old := range left {
		if f, err := lock(old); err == nil {
			_ = os.RemoveAll(old) //nolint:errcheck // another user's, say: it harms nobody
			_ = f.Close()         //nolint:errcheck // nothing was written
		}
	}

	for attempt := 1; ; attempt++ {
		dir, err := os.MkdirTemp("", prefix)
		if err != nil {
			return "", nil, err //nolint:wrapcheck // names the folder
		}

		f, err := lock(dir)
		if err == nil {
			return filepath.Join(dir, "content"), f, nil
		}

		if attempt == 3 { // a process that starts at the same time may take an unlocked folder for an old one
			return "", nil, err
		}
	}
}

// lockStorage makes the folder of the artifacts, and takes its lock: two processes in one folder would remove each other's files.
// It is given back when the process ends. Where the file system knows no locks, nothing is returned.
func lockStorage(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err //nolint:wrapcheck // names the folder
	}

	f, err := lockFile(filepath.Join(dir, ".lock"))

	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, fmt.Errorf("another process uses %q: each replica needs a volume of its own", dir)
	case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS):
		return nil, nil //nolint:nilnil // there is nothing to hold
	}

	return f, err
}

// lock takes the lock of a folder, or fails at once.
func lock(dir string) (*os.File, error) { return lockFile(filepath.Join(dir, "lock")) }

// lockFile takes the lock of a file, or fails at once.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the folder is ours
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}

	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // descriptors are small
		_ = f.Close() //nolint:errcheck // nothing was written

		return nil, fmt.Errorf("lock %q: %w", f.Name(), err)
	}

	return f, nil
}
