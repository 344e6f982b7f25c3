// Command bench measures what fleets cost: Git-sourced Kustomizations, and OCI and Git sources by themselves. It tells seconds
// until all are Ready, peak memory, processor time, requests to the API server by verb and to the servers of the sources, and
// what an idle object costs per interval. It runs the real manager against a real API server, Git server and registry, all on
// this machine, prints a table, and appends the same figures as JSON lines to the file named by BENCH_OUT. It asserts nothing:
// figures are compared by people, as ratios within one run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// settings of a run.
type settings struct {
	fleets     []string
	counts     []int
	ocis, gits int
	interval   time.Duration
	idle       int
	drift      int
	failing    int
	layout     layout
	manager    string
	cache      string
	profile    string
	keep       bool
	out        string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	logf.SetLogger(logr.Discard()) // the libraries of the bench itself have nothing to tell

	s, err := parse(os.Args[1:], os.Getenv)
	if err == nil {
		err = run(ctx, s)
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func parse(args []string, getenv func(string) string) (settings, error) {
	s := settings{out: getenv("BENCH_OUT"), cache: getenv("WEIR_CACHE")}
	counts, form, fleets := "", "", ""

	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&fleets, "fleets", "kustomizations,sources", "what to measure, separated by commas")
	fs.StringVar(&counts, "n", "100,1000", "how many Kustomizations; several runs are separated by commas")
	fs.IntVar(&s.ocis, "oci", 1000, "how many OCIRepositories")
	fs.IntVar(&s.gits, "git", 500, "how many GitRepositories beside them")
	fs.DurationVar(&s.interval, "interval", time.Minute, "interval of all objects")
	fs.IntVar(&s.idle, "idle", 2, "how many intervals to watch the idle fleet; 0 leaves that out")
	fs.IntVar(&s.drift, "drift", 20, "how many objects to edit by hand; 0 leaves that out")
	fs.IntVar(&s.failing, "failing", 10, "the share of failing Kustomizations of the last part, in percent; 0 leaves that out")
	fs.StringVar(&form, "layout", string(plain), "layout of the manifests: plain or kustomize")
	fs.StringVar(&s.manager, "manager", "", "path of a manager to measure instead of the one of this tree")
	fs.StringVar(&s.profile, "profile", "", "folder for processor and heap profiles of the manager")
	fs.BoolVar(&s.keep, "keep", false, "leave the folder of the run, with its logs")

	if err := fs.Parse(args); err != nil {
		return s, err //nolint:wrapcheck // flag says it
	}

	if s.layout = layout(form); s.layout != plain && s.layout != kustomize {
		return s, fmt.Errorf("-layout: %q is neither plain nor kustomize", form)
	}

	s.fleets = strings.Split(fleets, ",")
	for _, f := range s.fleets {
		if f != kustomizations && f != sources {
			return s, fmt.Errorf("-fleets: %q is neither %s nor %s", f, kustomizations, sources)
		}
	}

	if s.ocis < 1 || s.gits < 1 {
		return s, fmt.Errorf("-oci %d, -git %d: want at least one", s.ocis, s.gits)
	}

	for c := range strings.SplitSeq(counts, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(c))
		if err != nil || n < 1 {
			return s, fmt.Errorf("-n: %q is no number of Kustomizations", c)
		}

		s.counts = append(s.counts, n)
	}

	return s, nil
}

func run(ctx context.Context, s settings) error {
	report, err := newReport(os.Stdout, s.out)
	if err != nil {
		return err
	}
	defer report.close()

	if slices.Contains(s.fleets, kustomizations) {
		for _, n := range s.counts {
			f := &fleet{settings: s, n: n}
			if err := measure(ctx, s, f, report); err != nil {
				return fmt.Errorf("%d %s: %w", n, kustomizations, err)
			}
		}
	}

	if slices.Contains(s.fleets, sources) {
		if err := measure(ctx, s, &upstream{settings: s}, report); err != nil {
			return fmt.Errorf("%s: %w", sources, err)
		}
	}

	return report.print()
}

// Names of what is measured.
const (
	kustomizations = "kustomizations"
	sources        = "sources"
)

// scenario is a fleet, and what is done to it.
type scenario interface {
	// name of the fleet, and how many objects it has.
	name() (string, int)

	// open starts what the fleet needs beside the cluster. Its server counts requests.
	open(ctx context.Context, st *stage) (server, error)

	// parts are what is measured, in order.
	parts() []part
}

// server is what sources are fetched from.
type server interface {
	// served returns how many requests it has had.
	served() float64

	close()
}

// part is one measurement.
type part struct {
	name string
	on   bool
	run  func(ctx context.Context, st *stage) (figures, error)
}

// measure runs all parts for one fleet, in a cluster of its own.
func measure(ctx context.Context, s settings, f scenario, report *report) (err error) {
	st, err := newStage(ctx, s, f)
	if err != nil {
		return err
	}

	defer func() {
		if e := st.close(err != nil || s.keep); err == nil {
			err = e
		}
	}()

	name, n := f.name()

	for _, p := range f.parts() {
		if !p.on {
			continue
		}

		progressf("%d %s: %s", n, name, p.name)

		before, err := st.snapshot(ctx)
		if err != nil {
			return err
		}

		figures, err := p.run(ctx, st)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}

		after, err := st.snapshot(ctx)
		if err != nil {
			return err
		}

		report.add(name, n, p.name, figures, after.since(before))
		st.profile(ctx, fmt.Sprintf("%s-%d-%s", name, n, p.name))
	}

	return nil
}

func progressf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
