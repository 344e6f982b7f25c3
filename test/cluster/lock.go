package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a held lock is tried again.
const lockPoll = 20 * time.Millisecond

// fileLock is an advisory lock on a file. The kernel releases it when its holder
// ends, however that comes about, so a lock that is free means that nobody lives
// who took it. Child processes do not inherit it.
type fileLock struct{ file *os.File }

// tryLock takes the lock at path, creating the file, and returns nil when another holds it.
func tryLock(path string) (*fileLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		if err := flock(f); err != nil {
			_ = f.Close() //nolint:errcheck // nothing was written
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, nil
			}
			return nil, fmt.Errorf("lock %q: %w", path, err)
		}
		if current(f, path) {
			return &fileLock{f}, nil
		}
		_ = f.Close() //nolint:errcheck // removed by its former holder: this lock guards nothing
	}
}

// lock waits for the lock at path.
func lock(ctx context.Context, path string) (*fileLock, error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		l, err := tryLock(path)
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for lock %q: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// unlock releases the lock and leaves the file, since others may wait on it.
func (l *fileLock) unlock() { _ = l.file.Close() } //nolint:errcheck // nothing was written

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func current(f *os.File, path string) bool {
	there, err := os.Stat(path)
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(there, mine)
}
