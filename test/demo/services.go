package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/gitserver"
)

// daemon is one of the processes that live on: the cluster, the Git server or the manager.
func (d *demo) daemon(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which daemon")
	}

	// Children of the daemon do not need it.
	syscall.CloseOnExec(readyFD)

	switch args[0] {
	case "cluster":
		return d.runCluster(ctx)
	case "git":
		return d.runGit(ctx, args[1])
	case "manager":
		return d.runManager(args[1:])
	default:
		return fmt.Errorf("unknown daemon %q", args[0])
	}
}

// ready tells the one that started the daemon that it is ready.
func ready(message string) error {
	f := os.NewFile(readyFD, "ready")
	_, _ = f.WriteString("ready " + message) //nolint:errcheck // if nobody waits any more, nobody needs to know

	return f.Close()
}

func (d *demo) runCluster(ctx context.Context) error {
	if err := d.service("cluster").claim(false); err != nil {
		return err
	}

	c, err := cluster.Start(ctx, cluster.Options{Mode: d.mode, Dir: filepath.Join(d.dir, "cluster"), Log: os.Stderr})
	if err != nil {
		return err
	}

	if err := ready(""); err != nil {
		return errors.Join(err, c.Stop())
	}

	<-ctx.Done()

	return c.Stop()
}

func (d *demo) runGit(ctx context.Context, host string) error {
	if err := d.service("git").claim(false); err != nil {
		return err
	}

	repositories, err := gitserver.NewRepositories(d.repositories())
	if err != nil {
		return err
	}

	server, err := repositories.ServeHTTP(ctx, gitserver.HTTPOptions{Addr: host + ":0"})
	if err != nil {
		return err
	}
	defer server.Close()

	if err := ready(server.Addr); err != nil {
		return err
	}

	<-ctx.Done()

	return nil
}

// runManager becomes the manager.
func (d *demo) runManager(command []string) error {
	if err := d.service("manager").claim(true); err != nil {
		return err
	}

	if err := ready(""); err != nil {
		return err
	}

	return syscall.Exec(command[0], command, os.Environ())
}
