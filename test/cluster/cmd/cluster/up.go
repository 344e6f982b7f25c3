package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-dev/weir/test/cluster"
)

// up starts a supervisor that outlives this process, and passes on what it says until the cluster is ready.
func (c *command) up(ctx context.Context) error {
	if running, err := cluster.Open(c.dir); err == nil {
		fmt.Fprintln(c.out, "already running")
		return c.describe(ctx, running)
	} else if !errors.Is(err, cluster.ErrNotRunning) {
		return err
	}
	if c.node == "auto" && c.options.Mode != cluster.Node {
		fmt.Fprintf(c.log, "control plane only, no node for pods: %v\n", cluster.NodeSupport())
	}
	// Built here, where it can be interrupted and its progress be seen.
	if _, err := cluster.Build(ctx, c.options.Cache, c.options.Mode == cluster.Node, c.log); err != nil {
		return err
	}
	begin := time.Now()
	if err := c.detach(ctx); err != nil {
		return err
	}
	running, err := cluster.Open(c.dir)
	if errors.Is(err, cluster.ErrNotRunning) {
		return errors.New("the cluster did not start")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "ready after %.1f s\n", time.Since(begin).Seconds())
	return c.describe(ctx, running)
}

// detach starts the supervisor and returns when it says no more: the cluster is ready, or has failed.
func (c *command) detach(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	progress, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer progress.Close() //nolint:errcheck // it is only read
	//nolint:gosec,noctx // it is this very program, and is to outlive the context
	cmd := exec.Command(self, "supervise", "--dir", c.dir, "--cache", c.options.Cache,
		"--node", strconv.FormatBool(c.options.Mode == cluster.Node),
		"--audit="+strconv.FormatBool(c.options.Audit), "--keep="+strconv.FormatBool(c.options.Keep))
	cmd.Stderr = theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = errors.Join(cmd.Start(), theirs.Close())
	if err != nil {
		return err
	}
	interrupted := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) }) //nolint:errcheck // it may have ended
	defer interrupted()
	_, err = io.Copy(c.log, progress)
	return errors.Join(err, context.Cause(ctx))
}

// supervise runs the cluster until a signal comes.
func (c *command) supervise(ctx context.Context) error {
	running, err := cluster.Start(ctx, c.options)
	if err != nil {
		return err
	}
	if err := redirect(filepath.Join(running.Dir(), "logs", "supervisor.log")); err != nil {
		return errors.Join(err, running.Stop())
	}
	<-ctx.Done()
	return running.Stop()
}

// redirect sends our own output to a file. That closes the pipe to the process
// that waits for the cluster, which thereby knows that it is ready.
func redirect(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // the copies stay open
	return errors.Join(unix.Dup2(int(f.Fd()), syscall.Stdout), unix.Dup2(int(f.Fd()), syscall.Stderr))
}

func (c *command) down() error {
	running, err := cluster.Open(c.dir)
	if errors.Is(err, cluster.ErrNotRunning) {
		fmt.Fprintln(c.out, err)
		return cluster.Clean(c.options.Cache)
	}
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := running.Stop(); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "stopped after %.1f s\n", time.Since(begin).Seconds())
	return cluster.Clean(c.options.Cache) // a supervisor that was killed meanwhile has left its files
}

func (c *command) status(ctx context.Context) error {
	running, err := cluster.Open(c.dir)
	if err != nil {
		return err
	}
	if err := running.Ready(ctx); err != nil {
		fmt.Fprintf(c.out, "not ready: %v\n", err)
	}
	return c.describe(ctx, running)
}

// describe tells people how to use the cluster.
func (c *command) describe(ctx context.Context, running *cluster.Cluster) error {
	kube, err := cluster.Binaries(ctx, c.options.Cache, c.log)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "API server\t%s\n", running.Config().Host)
	fmt.Fprintf(w, "registry\t%s\n", running.Registry())
	fmt.Fprintf(w, "host, as pods see it\t%s\n", running.HostIP())
	fmt.Fprintf(w, "kubectl\t%s\n", filepath.Join(kube, "kubectl"))
	fmt.Fprintf(w, "logs\t%s\n", filepath.Join(running.Dir(), "logs"))
	for _, p := range running.Processes() {
		fmt.Fprintf(w, "%s\tprocess %d\n", p.Name, p.PID)
	}
	fmt.Fprintf(w, "export KUBECONFIG=%s\n", running.Kubeconfig())
	return w.Flush()
}
