package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weir-dev/weir/test/e2e/platform"
)

// readyFD is where a daemon says that it is ready: the first file after the standard ones.
const readyFD = 3

// lockPoll is how often a held lock is tried again: locks cannot be watched.
const lockPoll = 20 * time.Millisecond

// service is a process of the demo that lives on after it. Its lock, which the kernel drops with the process, tells whether
// it runs; the file of the lock holds its number.
type service struct{ dir, name string }

func (d *demo) service(name string) service { return service{filepath.Join(d.dir, "run"), name} }

func (s service) lock() string { return filepath.Join(s.dir, s.name+".lock") }
func (s service) log() string  { return filepath.Join(s.dir, s.name+".log") }

// start runs this program as the service, detached, and returns what it said when it was ready.
func (s service) start(ctx context.Context, program string, args ...string) (string, error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil { //nolint:gosec // holds no secret
		return "", err
	}

	if err := os.Remove(s.lock()); err != nil && !errors.Is(err, fs.ErrNotExist) { // the number in it is of another
		return "", err
	}

	log, err := os.Create(s.log())
	if err != nil {
		return "", err
	}
	defer log.Close() //nolint:errcheck // the service has its own

	ready, theirs, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer ready.Close() //nolint:errcheck // only read

	cmd := exec.Command(program, args...) //nolint:gosec,noctx // it is this very program, and is to outlive the context
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	if err := errors.Join(cmd.Start(), theirs.Close()); err != nil {
		return "", fmt.Errorf("start the %s: %w", s.name, err)
	}

	interrupted := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) //nolint:errcheck // it may have ended
	defer interrupted()

	said, err := io.ReadAll(ready)
	if err != nil {
		return "", err
	}

	message, ok := strings.CutPrefix(string(said), "ready ")
	if !ok {
		content, _ := os.ReadFile(s.log()) //nolint:errcheck // then there is nothing to tell

		return "", fmt.Errorf("the %s did not start:\n%s", s.name, platform.Tail(content, 20)) //nolint:mnd // a screenful
	}

	return message, nil
}

// stop ends the service, and returns when it is gone.
func (s service) stop(ctx context.Context) error {
	signal, sent := syscall.SIGTERM, time.Time{}

	for {
		running, err := held(s.lock())
		if err != nil || !running {
			return err
		}

		// Read while it is held: so it is the number of the process that runs.
		content, err := os.ReadFile(s.lock())
		if err != nil {
			return err
		}

		if pid, err := strconv.Atoi(string(content)); err == nil && time.Since(sent) > stopTimeout {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop the %s, process %d: %w", s.name, pid, err)
			}

			signal, sent = syscall.SIGKILL, time.Now()
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("stop the %s: %w", s.name, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}

// stopTimeout is how long a service may take to end by itself.
const stopTimeout = 30 * time.Second

// claim makes this process the one that runs the service. The lock is held until it ends, by whatever program it becomes.
func (s service) claim(inherit bool) error {
	f, err := tryLock(s.lock())
	if err != nil {
		return err
	}

	if f == nil {
		return fmt.Errorf("the %s runs already", s.name)
	}

	if err := f.Truncate(0); err != nil {
		return err
	}

	if _, err := f.WriteString(strconv.Itoa(os.Getpid())); err != nil {
		return err
	}

	// The copy stays open for as long as the process lives: nobody closes it.
	fd, err := syscall.Dup(int(f.Fd()))
	if err == nil && !inherit {
		syscall.CloseOnExec(fd)
	}

	return err
}

// tryLock takes a lock, and returns nil when another holds it.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // our own file
	if err != nil {
		return nil, err
	}

	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}

	_ = f.Close() //nolint:errcheck // nothing was written

	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}

	return nil, fmt.Errorf("lock %q: %w", path, err)
}

// held tells whether a process has the lock.
func held(path string) (bool, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}

	f, err := tryLock(path)
	if f != nil {
		return false, f.Close()
	}

	return err == nil, err
}
