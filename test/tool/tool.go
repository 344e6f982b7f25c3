package tool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// Tool is a program of a version.
type Tool struct {
	// Name of the program, and the folder in the cache folder that it is kept in.
	Name, Folder string
	// Version of its module.
	Version string
	// Package is the path of the command.
	Package string
	// Module is the path of its module, if the source needs something that is not in the module: Prepare adds it to a copy.
	Module  string
	Prepare func(dir string) error
	// Flags are for the linker, beyond those that leave out debugging information.
	Flags string
	// Takes says for people how long it takes to build it.
	Takes string
}

// Build returns the path of the program, which it builds if it is not there. Progress goes to log. Processes that need the
// same program wait for each other.
func (t Tool) Build(ctx context.Context, log io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder: %w", err)
	}

	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("ask the go command for its version: %w", err)
	}

	key := sha256.Sum256(fmt.Appendf(nil, "%s %s/%s", version, runtime.GOOS, runtime.GOARCH))
	dir := filepath.Join(cache, "weir", t.Folder, t.Name+"-"+t.Version+"-"+hex.EncodeToString(key[:8]))
	program := filepath.Join(dir, t.Name)

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

	if err := t.install(ctx, dir, log); err != nil {
		return "", fmt.Errorf("build %s %s: %w", t.Name, t.Version, err)
	}

	return program, nil
}

// install builds the program. What is in its folder is whole: it got there by a rename.
func (t Tool) install(ctx context.Context, dir string, log io.Writer) error {
	tmp, src := dir+".tmp", dir+".src"

	clean := func() error { return errors.Join(os.RemoveAll(tmp), os.RemoveAll(src)) }
	defer clean() //nolint:errcheck // the next build removes what is left

	if err := errors.Join(clean(), os.MkdirAll(tmp, 0o755)); err != nil {
		return err
	}

	fmt.Fprintf(log, "building %s %s (%s, once)\n", t.Name, t.Version, t.Takes)

	flags := strings.TrimSpace("-s -w " + t.Flags)
	args, in := []string{"install", "-trimpath", "-ldflags", flags, t.Package + "@" + t.Version}, tmp

	if t.Module != "" {
		if err := t.copy(ctx, src); err != nil {
			return err
		}

		args, in = []string{"build", "-trimpath", "-ldflags", flags, "-o", tmp + "/", t.Package}, src
	}

	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = in
	cmd.Env = append(os.Environ(), "GOBIN="+tmp, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off", "GOOS=", "GOARCH=")

	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, Tail(out))
	}

	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}

	return nil
}

// copy puts the source of the module into a folder, and prepares it.
func (t Tool) copy(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", t.Module+"@"+t.Version)
	cmd.Dir = filepath.Dir(to) // no module

	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("download: %w\n%s", err, Tail(out))
	}

	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil {
		return fmt.Errorf("download: %w", err)
	}

	if err := os.CopyFS(to, os.DirFS(found.Dir)); err != nil {
		return fmt.Errorf("copy the source: %w", err)
	}

	return t.Prepare(to)
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

// Tail keeps the last lines of a program's output, which say why it failed.
func Tail(b []byte) string {
	const most = 20

	lines := strings.Split(strings.TrimSpace(string(b)), "\n")

	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
