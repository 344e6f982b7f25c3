package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/fleet"
	"github.com/weir-dev/weir/test/gitserver"
)

// patience is how long the cluster may take to become what it should.
const patience = 5 * time.Minute

// nextVersion is the one that is released.
const nextVersion = "1.1.0"

// demo is what is shown, and where it lives.
type demo struct {
	dir, topology string
	mode          cluster.Mode
	why           error // there is no node
	out           *output

	theirs bool // the cluster is not the demo's own
	place

	program string // this one, where it stays
	manager string
	client  *platform.Client
	view    *platform.View
	release platform.Release
	repo    *gitserver.Repository
	url     string
}

// place is where the demo takes place.
type place struct {
	kubeconfig string
	registry   string // empty if the cluster has none that this machine can push to
	host       string // under which pods reach this machine
}

func (d *demo) repositories() string { return filepath.Join(d.dir, "git") }

// outside tells that the controllers run beside the cluster.
func (d *demo) outside() bool {
	if d.theirs {
		return d.registry == ""
	}

	return d.mode != cluster.Node
}

func (d *demo) up(ctx context.Context) error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil { //nolint:gosec // holds no secret
		return err
	}

	lock, err := d.alone()
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // nothing was written

	defer d.closeView()

	if err := d.clear(ctx); err != nil {
		return err
	}

	if err := d.keepTogether(); err != nil {
		return err
	}

	for _, step := range []func(context.Context) error{
		d.build, d.startCluster, d.pushImages, d.serveFleet, d.installOperator, d.deliver, d.editByHand, d.releaseNext,
	} {
		if err := step(ctx); err != nil {
			return d.explain(ctx, err)
		}
	}

	return d.hints(ctx)
}

// closeView ends the watches.
func (d *demo) closeView() {
	if d.view != nil {
		d.view.Close()
	}
}

// keepTogether has temporary files made in the folder of the demo, by the programs that it runs as well, so that they can be
// removed after a kill.
func (d *demo) keepTogether() error {
	dir := filepath.Join(d.dir, "bin", "tmp")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // holds no secret
		return err
	}

	return os.Setenv("TMPDIR", dir)
}

// alone makes sure that no other up or down is at work in the folder.
func (d *demo) alone() (*os.File, error) {
	lock, err := tryLock(filepath.Join(d.dir, "lock"))
	if err == nil && lock == nil {
		err = fmt.Errorf("another demo is at work in %q", d.dir)
	}

	return lock, err
}

func (d *demo) build(ctx context.Context) error {
	// Services outlive the program that `go run` has made for this one.
	d.program = filepath.Join(d.dir, "bin", "demo")
	if err := copySelf(d.program); err != nil {
		return err
	}

	return d.out.step("Building Weir", func() (string, error) {
		var (
			log    bytes.Buffer
			err    error
			system = "linux"
		)

		if d.outside() {
			system = runtime.GOOS
		}

		if d.manager, err = platform.Build(ctx, filepath.Join(d.dir, "bin"), system, &log); err != nil {
			return "", fmt.Errorf("%w\n%s", err, log.Bytes())
		}

		info, err := os.Stat(d.manager)
		if err != nil {
			return "", err
		}

		return fmt.Sprintf("one program of %d MB", info.Size()>>20), nil //nolint:mnd // bytes to MB
	})
}

func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}

	content, err := os.ReadFile(self) //nolint:gosec // it is this very program
	if err != nil {
		return err
	}

	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // holds no secret
		return err
	}

	return os.WriteFile(to, content, 0o755) //nolint:gosec // a program
}

func (d *demo) startCluster(ctx context.Context) error {
	if d.theirs && d.outside() {
		d.why = errors.New("that needs --registry and --host")
	}

	if d.outside() {
		d.out.linef("• No pods run (%v): the controllers run in one process beside the cluster,\n"+
			"  and workloads are scaled to zero", d.why)
	}

	if d.theirs {
		return d.out.step("Looking at the cluster", func() (string, error) { return d.join(ctx) })
	}

	// What is not built yet takes minutes, and says so itself.
	if _, err := cluster.Build(ctx, "", d.mode == cluster.Node, &prefixed{w: d.out.w}); err != nil {
		return err
	}

	what := "Starting Kubernetes with a real node"
	if d.outside() {
		what = "Starting the control plane of Kubernetes"
	}

	return d.out.step(what, func() (string, error) {
		if _, err := d.service("cluster").start(ctx, d.program,
			"--dir="+d.dir, fmt.Sprintf("--node=%t", !d.outside()), "daemon", "cluster"); err != nil {
			return "", err
		}

		c, err := cluster.Open(filepath.Join(d.dir, "cluster"))
		if err != nil {
			return "", err
		}

		d.place = place{kubeconfig: c.Kubeconfig(), registry: c.Registry(), host: c.HostIP()}

		return d.connect()
	})
}

// connect makes the clients of the cluster, and says where it is.
func (d *demo) connect() (string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig)
	if err != nil {
		return "", err
	}

	config.QPS = -1 // the API server decides

	if d.client, err = platform.NewClient(config); err != nil {
		return "", err
	}

	d.view, err = platform.NewView(config)

	return config.Host, err
}

func (d *demo) pushImages(ctx context.Context) error {
	if d.registry == "" {
		return d.withoutImages()
	}

	return d.out.step("Pushing images to "+d.registry, func() (string, error) {
		var (
			log bytes.Buffer
			err error
		)

		manager := d.manager
		if runtime.GOOS != "linux" {
			if manager, err = platform.Build(ctx, filepath.Join(d.dir, "bin"), "linux", &log); err != nil {
				return "", fmt.Errorf("%w\n%s", err, log.Bytes())
			}
		}

		if d.release, err = platform.Push(ctx, manager, d.registry, "demo", &log); err != nil {
			return "", fmt.Errorf("%w\n%s", err, log.Bytes())
		}

		if err := fleet.Push(ctx, d.registry, &log, fleet.Version, nextVersion); err != nil {
			return "", fmt.Errorf("%w\n%s", err, log.Bytes())
		}

		return short(d.release.Image), nil
	})
}

func (d *demo) serveFleet(ctx context.Context) error {
	return d.out.step("Serving the fleet's repository", func() (string, error) {
		repositories, err := gitserver.NewRepositories(d.repositories())
		if err != nil {
			return "", err
		}

		if d.repo, err = repositories.Create(ctx, "fleet"); err != nil {
			return "", err
		}

		replicas := 1
		if d.outside() {
			replicas = 0
		}

		files, err := fleet.Files(fleet.Settings{Cluster: "demo", Registry: d.imageRegistry(), Replicas: replicas})
		if err != nil {
			return "", err
		}

		if _, err := d.repo.Commit(ctx, "main", "Deploy the fleet", gitserver.Change{Files: files}); err != nil {
			return "", err
		}

		address, err := d.service("git").start(ctx, d.program, "--dir="+d.dir, "daemon", "git", d.listen())
		if err != nil {
			return "", err
		}

		_, port, err := net.SplitHostPort(address)
		d.url = "http://" + net.JoinHostPort(d.host, port) + "/" + d.repo.Path

		return d.url, err
	})
}

// explain adds to an error what the cluster says about it.
func (d *demo) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil || d.client == nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	d.out.linef("\nThis went wrong: %v\n", err)
	d.client.Diagnose(ctx, d.out.w)

	if log, err := os.ReadFile(d.service("manager").log()); err == nil {
		d.out.linef("== The manager says\n%s", platform.Tail(log, 40)) //nolint:mnd // a screenful
	}

	d.out.linef("\nTo look around: export KUBECONFIG=%s\nTo remove what the demo has left: make demo-down", d.kubeconfig)

	first, _, _ := strings.Cut(err.Error(), "\n")

	return errors.New(first)
}

// prefixed sets each line that others write apart.
type prefixed struct {
	w io.Writer
}

// Write implements io.Writer.
func (p *prefixed) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if _, err := fmt.Fprintf(p.w, "  %s", line); err != nil {
			return 0, err
		}
	}

	return len(b), nil
}
