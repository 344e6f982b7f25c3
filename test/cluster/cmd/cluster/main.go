// Command cluster runs a Kubernetes cluster on this machine for tests, demos and benchmarks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/weir-dev/weir/test/cluster"
)

const usage = `usage: cluster COMMAND [flag ...]

  up      start a cluster in the background and return when it is ready
  down    stop it and remove its files
  status  tell what runs
  build   make the programs that the next up would have to

up, down and status take --dir, the run folder: one cluster per folder.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv("WEIR_CACHE"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to the deferred call but to forget the signals
	}
}

// command is what the flags say.
type command struct {
	dir, node string
	options   cluster.Options
	out, log  io.Writer
}

func run(ctx context.Context, args []string, out, log io.Writer, cache string) error {
	if len(args) == 0 {
		return errors.New(strings.TrimSpace(usage))
	}
	c := &command{out: out, log: log}
	f := flag.NewFlagSet("cluster "+args[0], flag.ContinueOnError)
	f.SetOutput(log)
	f.StringVar(&c.dir, "dir", "", "run folder (default: one in the cache)")
	f.StringVar(&c.node, "node", "auto", "run a node for pods: true, false, or auto: if this machine lets us")
	f.StringVar(&c.options.Cache, "cache", cache, "folder of built programs; WEIR_CACHE sets it too (default: weir/cluster in the user's cache folder)")
	f.BoolVar(&c.options.Audit, "audit", false, "log API requests to audit.log in the run folder")
	f.BoolVar(&c.options.Keep, "keep", false, "keep logs and other files when the cluster stops")
	if err := f.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return nil // it has been printed
	} else if err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if err := c.complete(); err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return c.up(ctx)
	case "supervise":
		return c.supervise(ctx)
	case "down":
		return c.down()
	case "status":
		return c.status(ctx)
	case "build":
		_, err := cluster.Build(ctx, c.options.Cache, c.options.Mode == cluster.Node, c.log)
		return err
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}

// complete fills in what the flags leave open.
func (c *command) complete() error {
	if c.dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		c.dir = filepath.Join(base, "weir", "run")
	}
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return err
	}
	c.dir, c.options.Dir = dir, dir
	c.options.Log = c.log
	switch c.node {
	case "true":
		c.options.Mode = cluster.Node
	case "false":
		c.options.Mode = cluster.ControlPlane
	case "auto":
		c.options.Mode = cluster.Node
		if cluster.NodeSupport() != nil {
			c.options.Mode = cluster.ControlPlane
		}
	default:
		return fmt.Errorf("--node is %q, not true, false or auto", c.node)
	}
	return nil
}
