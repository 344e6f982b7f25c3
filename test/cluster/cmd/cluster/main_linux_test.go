package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-dev/weir/test/cluster"
)

// vanishing bounds how long processes may take to end with their supervisor.
const vanishing = 10 * time.Second

// TestMain makes this executable the command too, since up runs itself as the supervisor.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "supervise" {
		main()
		return
	}
	os.Exit(m.Run())
}

// execute runs the command and returns what it prints.
func execute(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), args, &out, t.Output(), ""); err != nil {
		t.Fatalf("cluster %s: %v", strings.Join(args, " "), err)
	}
	return out.String()
}

func TestUpAndDown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	up := []string{"up", "--dir", dir, "--node", "false"}
	t.Cleanup(func() { _ = run(context.Background(), []string{"down", "--dir", dir}, t.Output(), t.Output(), "") }) //nolint:errcheck // as a rule nothing runs any more
	kubeconfig := "export KUBECONFIG=" + filepath.Join(dir, "kubeconfig")
	for _, step := range []struct {
		args []string
		want string
	}{
		{up, kubeconfig},
		{up, "already running"},
		{[]string{"status", "--dir", dir}, kubeconfig},
		{[]string{"down", "--dir", dir}, "stopped"},
		{[]string{"down", "--dir", dir}, "no cluster is running"},
	} {
		if got := execute(t, step.args...); !strings.Contains(got, step.want) {
			t.Errorf("cluster %s: want %q in %q", step.args[0], step.want, got)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run folder is left: %v", err)
	}
}

func TestKilledSupervisor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	execute(t, "up", "--dir", dir)
	t.Cleanup(func() { _ = run(context.Background(), []string{"down", "--dir", dir}, t.Output(), t.Output(), "") }) //nolint:errcheck // as a rule nothing runs any more
	c, err := cluster.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	watched := map[string]*os.File{}
	supervisor := cluster.Process{Name: "supervisor", PID: c.Supervisor()} // until it has ended, it runs a cluster
	for _, p := range append(c.Processes(), supervisor) {
		fd, err := unix.PidfdOpen(p.PID, 0)
		if err != nil {
			t.Fatalf("%s does not run: %v", p.Name, err)
		}
		f := os.NewFile(uintptr(fd), p.Name)
		defer f.Close()
		watched[p.Name] = f
	}
	if err := syscall.Kill(c.Supervisor(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for name, f := range watched {
		if err := ended(f); err != nil {
			t.Errorf("%s outlived its supervisor: %v", name, err)
		}
	}
	if got := execute(t, "down", "--dir", dir); !strings.Contains(got, "no cluster is running") {
		t.Errorf("down: %q", got)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run folder is left: %v", err)
	}
}

func TestMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"nothing":  {reason: "tells what there is", want: "usage"},
		"command":  {reason: "tells what there is", args: []string{"sideways"}, want: "unknown command"},
		"flag":     {reason: "is not ignored", args: []string{"up", "--nodes"}, want: "nodes"},
		"argument": {reason: "is not ignored", args: []string{"down", "/tmp"}, want: "unexpected"},
		"node":     {reason: "is not guessed", args: []string{"up", "--node", "maybe"}, want: "maybe"},
		"status":   {reason: "fails when nothing runs", args: []string{"status", "--dir", t.TempDir()}, want: "no cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), tt.args, t.Output(), t.Output(), "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: want %q, got %v", tt.reason, tt.want, err)
			}
		})
	}
}

// ended waits until the process of a pidfd has ended.
func ended(pidfd *os.File) error {
	events := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(events, int(vanishing.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR): // a signal to this process: the wait begins anew
		case err != nil:
			return err
		case n != 1:
			return fmt.Errorf("still there after %s", vanishing)
		default:
			return nil
		}
	}
}
