package cluster

import (
	"bytes"
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
	"slices"
	"strings"
)

// module is the module that this package is part of; its folder holds the tools' sources.
const module = "github.com/weir-dev/weir"

// Binaries returns the folder of etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler, kubelet, kube-proxy and kubectl, absolute and fit to be
// envtest's BinaryAssetsDirectory (KUBEBUILDER_ASSETS). It finds them in the
// cache, or builds them from Go modules, which takes minutes once per machine.
// An empty cache stands for the user's cache folder. Progress goes to log, which
// may be nil. It must run somewhere within this module's source tree.
func Binaries(ctx context.Context, cache string, log io.Writer) (string, error) {
	w, err := newWorkshop(ctx, cache, log)
	if err != nil {
		return "", err
	}
	return w.get(ctx, kubernetes())
}

// Build builds all that a cluster with a node needs, or only a control plane's
// programs, and reports where each tool is, by tool name.
func Build(ctx context.Context, cache string, node bool, log io.Writer) (map[string]string, error) {
	w, err := newWorkshop(ctx, cache, log)
	if err != nil {
		return nil, err
	}
	tools := []tool{kubernetes()}
	if node {
		tools = slices.Concat(tools, nodeTools())
	}
	dirs := make(map[string]string, len(tools))
	for _, t := range tools {
		if dirs[t.name], err = w.get(ctx, t); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// workshop finds tools in the cache and builds those that are not there.
type workshop struct {
	cache  string // absolute
	source string // folder of the tools' nested modules
	goVer  string
	log    io.Writer
}

func newWorkshop(ctx context.Context, cache string, log io.Writer) (*workshop, error) {
	if log == nil {
		log = io.Discard
	}
	cache, err := cacheDir(cache)
	if err != nil {
		return nil, err
	}
	source, err := sourceDir()
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("ask the go command for its version: %w", err)
	}
	return &workshop{cache: cache, source: source, goVer: strings.TrimSpace(string(out)), log: log}, nil
}

func cacheDir(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder: %w", err)
	}
	return filepath.Join(base, "weir", "cluster"), nil
}

// sourceDir looks for the module's root from the working directory upwards.
func sourceDir() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && firstLine(b) == "module "+module {
			return filepath.Join(dir, "test", "cluster", "tools"), nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%q is not within the source tree of %s", start, module)
		}
	}
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimSpace(string(line))
}

// get returns the folder of a tool's programs. Builds of one tool exclude each
// other, and what is in the cache is whole: it got there by a rename.
func (w *workshop) get(ctx context.Context, t tool) (string, error) {
	key, err := w.key(t)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(w.cache, key)
	if exists(dir) {
		return dir, nil
	}
	l, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer l.unlock()
	if exists(dir) { // built while this process waited
		return dir, nil
	}
	if err := w.build(ctx, t, dir); err != nil {
		return "", fmt.Errorf("build %s %s: %w", t.name, t.version, err)
	}
	return dir, nil
}

func (w *workshop) build(ctx context.Context, t tool, dir string) error {
	if err := install(ctx, w.log, t.needs); err != nil {
		return err
	}
	tmp := dir + ".tmp"
	defer os.RemoveAll(tmp) //nolint:errcheck // the next build removes what is left
	// A build that was killed may have left it: nobody else builds this now.
	if err := errors.Join(os.RemoveAll(tmp), os.MkdirAll(tmp, 0o755)); err != nil {
		return err
	}
	fmt.Fprintf(w.log, "building %s %s (%s)\n", t.name, t.version, t.takes)
	cmd := exec.CommandContext(ctx, "go", t.args(tmp)...)
	cmd.Dir = filepath.Join(w.source, t.source)
	cmd.Env = slices.Concat(os.Environ(), t.env, []string{
		"GOBIN=" + tmp, "GOFLAGS=-buildvcs=false", "GOWORK=off", "GOOS=", "GOARCH=",
	})
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, tail(out))
	}
	for link, target := range t.links {
		if err := os.Symlink(target, filepath.Join(tmp, link)); err != nil {
			return err
		}
	}
	return os.Rename(tmp, dir)
}

// key names a build by all that decides what comes out of it.
func (w *workshop) key(t tool) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s/%s\n%q\n%q\n%v\n", w.goVer, runtime.GOOS, runtime.GOARCH, t.args(""), t.env, t.links)
	if t.source != "" {
		if err := hashTree(h, filepath.Join(w.source, t.source)); err != nil {
			return "", fmt.Errorf("read the sources of %s: %w", t.name, err)
		}
	}
	return fmt.Sprintf("%s-%s-%s", t.name, t.version, hex.EncodeToString(h.Sum(nil))[:16]), nil
}

// hashTree writes the names and contents of all files of a folder, in the order of names.
func hashTree(w io.Writer, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%q %d\n%s\n", name, len(b), b)
		return nil
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// tail keeps the last lines of a program's output, which say why it failed.
func tail(b []byte) string {
	const most = 20
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
