package sops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Version of the program. It takes a few minutes to build it, once per machine.
const Version = "v3.13.3"

// Build returns the path of the program sops, which it builds if it is not in the user's cache folder. Progress goes to log.
func Build(ctx context.Context, log io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder: %w", err)
	}

	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("ask the go command for its version: %w", err)
	}

	key := sha256.Sum256(fmt.Appendf(nil, "%s %s/%s", version, runtime.GOOS, runtime.GOARCH))
	dir := filepath.Join(cache, "weir", "sops", "sops-"+Version+"-"+hex.EncodeToString(key[:8]))
	program := filepath.Join(dir, "sops")

	if _, err := os.Stat(program); err == nil {
		return program, nil
	}

	unlock, err := lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()

	if _, err := os.Stat(program); err == nil { // built while this process waited
		return program, nil
	}

	if err := install(ctx, dir, log); err != nil {
		return "", err
	}

	return program, nil
}

// install builds the program. What is in its folder is whole: it got there by a rename.
func install(ctx context.Context, dir string, log io.Writer) error {
	tmp := dir + ".tmp"
	defer os.RemoveAll(tmp) //nolint:errcheck // the next build removes what is left

	if err := errors.Join(os.RemoveAll(tmp), os.MkdirAll(tmp, 0o755)); err != nil {
		return err
	}

	fmt.Fprintf(log, "building sops %s (a few minutes, once)\n", Version)

	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags", "-s -w", "github.com/getsops/sops/v3/cmd/sops@"+Version)
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "GOBIN="+tmp, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off", "GOOS=", "GOARCH=")

	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build sops %s: %w\n%s", Version, err, tail(out))
	}

	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}

	return nil
}

// lock waits until no other process builds. The kernel releases the lock when its holder ends.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}

	f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}

	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}

	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %q: %w", f.Name(), err), f.Close())
	}

	return func() { _ = f.Close() }, nil //nolint:errcheck // nothing was written
}

// tail keeps the last lines of a program's output, which say why it failed.
func tail(b []byte) string {
	const most = 20

	lines := strings.Split(strings.TrimSpace(string(b)), "\n")

	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
