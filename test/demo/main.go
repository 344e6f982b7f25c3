// Command demo shows Weir from nothing: it builds it, brings up a Kubernetes cluster on this machine, installs the operator
// and lets one FluxInstance deliver a sample fleet from a real Git server. Then it edits an object by hand and pushes a
// commit, and tells the seconds that each took.
//
//	go run ./test/demo        # make demo
//	go run ./test/demo down   # make demo-down: removes all of it
//
// The cluster runs a real node where this machine lets it, and otherwise the control plane alone, with the controllers in
// one process beside it. Cluster and Git server stay up until they are removed. Everything is kept in one folder. With
// --kubeconfig the demo takes a cluster that is there already.
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
	"syscall"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/test/cluster"
)

const usage = `usage: demo [flags] [up|down]

  up     show Weir from nothing (default)
  down   remove all that up has left

`

func main() {
	logf.SetLogger(logr.Discard()) // that of the client

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	interrupted := ctx.Err() != nil

	stop()

	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case interrupted:
		fmt.Fprintln(os.Stderr, "\nInterrupted. `make demo-down` removes what runs.")
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, w io.Writer) error {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	dir := f.String("dir", ".demo", "`folder` of everything that the demo makes")
	node := f.String("node", "auto", "run a real node: true, false, or auto: if this machine lets us")
	kubeconfig := f.String("kubeconfig", "", "use the cluster of this `file`, which must have no Flux, instead of bringing up one")
	registry := f.String("registry", "", "with --kubeconfig: the `registry` to push images to, from which that cluster pulls them")
	host := f.String("host", "", "with --kubeconfig: the `address` under which the pods of that cluster reach this machine")
	topology := f.String("topology", "Distributed", "Distributed: a Deployment per component; Unified: one for all")

	if err := f.Parse(args); err != nil {
		return err
	}

	absolute, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}

	d := &demo{dir: absolute, topology: *topology, out: &output{w: w}}

	if *kubeconfig != "" {
		d.theirs = true
		d.place, err = theirs(*kubeconfig, *registry, *host)
	} else {
		d.mode, d.why, err = mode(*node)
	}

	if err != nil {
		return err
	}

	switch f.Arg(0) {
	case "", "up":
		return d.up(ctx)
	case "down":
		return d.down(ctx)
	case "daemon": // of the demo itself
		return d.daemon(ctx, f.Args()[1:])
	default:
		return fmt.Errorf("unknown command %q\n%s", f.Arg(0), usage)
	}
}

// mode tells what the cluster is to be, and why there is no node.
func mode(node string) (m cluster.Mode, why, err error) {
	switch node {
	case "true":
		return cluster.Node, nil, nil
	case "false":
		return cluster.ControlPlane, errors.New("--node=false"), nil
	case "auto":
		if why := cluster.NodeSupport(); why != nil {
			return cluster.ControlPlane, why, nil
		}

		return cluster.Node, nil, nil
	default:
		return 0, nil, fmt.Errorf("--node is %q, not true, false or auto", node)
	}
}
