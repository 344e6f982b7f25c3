// Command bench measures what a fleet of Git-sourced Kustomizations costs: seconds from a source revision to all Ready, peak
// memory, processor time, API requests by verb, and requests of an idle object per interval. It runs the real manager against a
// real API server and a real Git server, all on this machine, prints a table, and appends the same figures as JSON lines to the
// file named by BENCH_OUT. It asserts nothing: figures are compared by people, as ratios within one run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// settings of a run.
type settings struct {
	counts   []int
	interval time.Duration
	idle     int
	drift    int
	failing  int
	layout   layout
	manager  string
	cache    string
	profile  string
	keep     bool
	out      string
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
	counts, form := "", ""

	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&counts, "n", "100,1000", "how many Kustomizations; several runs are separated by commas")
	fs.DurationVar(&s.interval, "interval", time.Minute, "interval of the Kustomizations and of their source")
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

	for _, n := range s.counts {
		if err := measure(ctx, s, n, report); err != nil {
			return fmt.Errorf("%d Kustomizations: %w", n, err)
		}
	}

	return report.print()
}

// measure runs all parts for one size of the fleet, in a cluster of its own.
func measure(ctx context.Context, s settings, n int, report *report) (err error) {
	st, err := newStage(ctx, s, n)
	if err != nil {
		return err
	}

	defer func() {
		if e := st.close(err != nil || s.keep); err == nil {
			err = e
		}
	}()

	for _, part := range []struct {
		name string
		on   bool
		run  func(context.Context, *stage) (figures, error)
	}{
		{"install", true, install},
		{"revision", true, revision},
		{"idle", s.idle > 0, idle},
		{"drift", s.drift > 0, drift},
		{"revision with failing", s.failing > 0, failing},
	} {
		if !part.on {
			continue
		}

		progressf("%d Kustomizations: %s", n, part.name)

		before, err := st.snapshot(ctx)
		if err != nil {
			return err
		}

		f, err := part.run(ctx, st)
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}

		after, err := st.snapshot(ctx)
		if err != nil {
			return err
		}

		report.add(n, part.name, f, after.since(before))
		st.profile(ctx, part.name)
	}

	return nil
}

func progressf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
