package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Setup is what the machine looks like.
type Setup struct {
	Hostname string
	// Mounts happen in order. Their sources are looked up before the first, so one may cover the source of another.
	Mounts []Mount
	// Masks are files under /proc/sys that show a value without having it: the
	// kubelet sets those that differ from what it wants, and they are the host's.
	Masks map[string]string
	// Network is a batch for the ip command.
	Network []string
	// Values are written to files under /proc/sys that belong to the network namespace.
	Values map[string]string
}

// Mount shows a folder of the host at Target, or an empty file system in memory if Source is empty.
type Mount struct{ Source, Target string }

func (s *Setup) apply() error {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"set host name", func() error { return syscall.Sethostname([]byte(s.Hostname)) }},
		{"mount", s.mount},
		{"mask kernel settings", s.mask},
		{"set up network", s.network},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func (s *Setup) mount() error {
	// First cut off from the host, then shared within: volumes may ask for propagation.
	for _, how := range []uintptr{syscall.MS_PRIVATE, syscall.MS_SHARED} {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|how, ""); err != nil {
			return err
		}
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	sources := make([]string, len(s.Mounts))
	for i, m := range s.Mounts {
		if m.Source == "" {
			continue
		}
		f, err := os.Open(m.Source)
		if err != nil {
			return err
		}
		defer f.Close()
		sources[i] = fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	}
	for i, m := range s.Mounts {
		if err := m.at(sources[i]); err != nil {
			return fmt.Errorf("%q: %w", m.Target, err)
		}
	}
	return nil
}

func (m Mount) at(source string) error {
	if err := os.MkdirAll(m.Target, 0o755); err != nil {
		return err
	}
	if source == "" {
		return syscall.Mount("tmpfs", m.Target, "tmpfs", 0, "mode=0755")
	}
	return syscall.Mount(source, m.Target, "", syscall.MS_BIND|syscall.MS_REC, "")
}

func (s *Setup) mask() error {
	for name, value := range s.Masks {
		file, shown := filepath.Join("/run/masks", name), filepath.Join("/proc/sys", name)
		if _, err := os.Stat(shown); os.IsNotExist(err) {
			continue // a kernel without it
		}
		if err := write(file, value+"\n"); err != nil {
			return err
		}
		if err := syscall.Mount(file, shown, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

func (s *Setup) network() error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(s.Network, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, out)
	}
	for name, value := range s.Values {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}
