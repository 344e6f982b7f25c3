package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupTimeout bounds the wait for the kernel to forget the processes of a cgroup that have ended.
const cgroupTimeout = 10 * time.Second

// isolated is for the node's first process.
func isolated() *syscall.SysProcAttr {
	a := detached()
	a.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
	return a
}

// NodeSupport returns nil if this machine and user can run a node, or says what is missing.
func NodeSupport() error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root")
	}
	if len(cgroups()) == 0 {
		return errors.New("a node needs cgroups, and none is mounted")
	}
	if b, err := os.ReadFile("/proc/filesystems"); err != nil || !bytes.Contains(b, []byte("\toverlay\n")) {
		if exec.CommandContext(context.Background(), "modprobe", "overlay").Run() != nil {
			return errors.New("a node needs the overlay file system, which this kernel has not")
		}
	}
	if _, err := missing(runtimePackages()); err != nil {
		return fmt.Errorf("a node needs programs of the distribution: %w", err)
	}
	probe := exec.CommandContext(context.Background(), "true")
	probe.SysProcAttr = isolated()
	probe.SysProcAttr.Pdeathsig = 0 // this thread may end before it
	if err := probe.Run(); err != nil {
		return fmt.Errorf("a node needs namespaces (CAP_SYS_ADMIN): %w", err)
	}
	return nil
}

// layered reports whether the folder is on an overlay file system.
func layered(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Type == unix.OVERLAYFS_SUPER_MAGIC
}

// childrenOf lists the processes that a process has started, named by their executables.
func childrenOf(parent int) ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		status, err := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if err != nil || !bytes.Contains(status, fmt.Appendf(nil, "\nPPid:\t%d\n", parent)) {
			continue // another's, or just gone
		}
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		program, _, _ := strings.Cut(string(args), "\x00")
		found = append(found, Process{filepath.Base(program), pid})
	}
	return found, nil
}

// cgroups lists the places where cgroups are mounted: one, or with version 1 one for each controller.
func cgroups() []string {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // it was only read
	var dirs []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			dirs = append(dirs, fields[1])
		}
	}
	return dirs
}

// makeCgroup makes the cgroup under which the kubelet puts pods.
func (s *slot) makeCgroup() error {
	for _, root := range cgroups() {
		dir := filepath.Join(root, s.name())
		delegate(root)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		delegate(dir)
	}
	return nil
}

// delegate lets the children of a cgroup of version 2 have all controllers that
// it has itself. Where that is refused, the kubelet says which it misses.
func delegate(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return // version 1
	}
	for name := range strings.FieldsSeq(string(b)) {
		os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644) //nolint:errcheck,gosec // see above
	}
}

// clearNode removes what namespaces do not: the cgroup, and the link if the kernel still has it.
func (s *slot) clearNode() error {
	if exists(filepath.Join("/sys/class/net", s.name())) {
		// It goes by itself when the kernel takes down the node's network, maybe right now.
		err := batch(context.Background(), []string{"link del " + s.name()})
		if err != nil && exists(filepath.Join("/sys/class/net", s.name())) {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), cgroupTimeout)
	defer cancel()
	for _, root := range cgroups() {
		if err := removeCgroup(ctx, filepath.Join(root, s.name())); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroup removes a cgroup and those below it. Their files are the kernel's and go with them.
func removeCgroup(ctx context.Context, dir string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := removeFolders(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C: // its processes have ended, but not to the last
		}
	}
}

func removeFolders(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := os.Remove(d); err != nil {
			return err
		}
	}
	return nil
}
