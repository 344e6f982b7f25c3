// Command bench measures what fleets cost: Kustomizations of one Git repository, of an OCI artifact each, and with pods; HelmReleases
// of one chart, in a small cluster and in one with hundreds of definitions; and OCI and Git sources by themselves. It tells seconds until all are Ready, peak memory, processor time, requests to the API server
// by verb and to the servers of the sources, and what an idle object costs per interval. It runs the real manager against a real
// API server, Git server and registry, all on this machine, prints a table, and appends the same figures as JSON lines to the
// file named by BENCH_OUT. It asserts nothing: figures are compared by people, as ratios within one run.
package main

import (
	"context"
	"errors"
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
	pods       int
	replicas   int
	ocis, gits int
	interval   time.Duration
	idle       int
	drift      int
	failing    int
	layout     layout
	manager    string
	flags      []string
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

// Names of the fleets.
const (
	git         = "git"
	oci         = "oci"
	pods        = "pods"
	releases    = "releases"
	definitions = "definitions"
	sources     = "sources"
)

func fleetNames() []string { return []string{git, oci, pods, releases, definitions, sources} }

func parse(args []string, getenv func(string) string) (settings, error) {
	s := settings{out: getenv("BENCH_OUT"), cache: getenv("WEIR_CACHE")}
	counts, form, fleets, flags := "", "", "", ""

	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&fleets, "fleets", strings.Join(fleetNames(), ","), "what to measure, separated by commas: Kustomizations of one Git repository, "+
		"of an OCI artifact each, of one Git repository and with a pod each, HelmReleases of one chart, the same in a cluster with 300 "+
		"definitions more, and sources alone")
	fs.StringVar(&counts, "n", "100,500,1000", "how many Kustomizations and HelmReleases, separated by commas; the last is that of oci and definitions")
	fs.IntVar(&s.pods, "pods", 500, "how many Kustomizations are in pods")
	fs.IntVar(&s.replicas, "replicas", 0, "how many pods each HelmRelease has")
	fs.IntVar(&s.ocis, "oci", 1000, "how many OCIRepositories are in sources")
	fs.IntVar(&s.gits, "git", 500, "how many GitRepositories are in sources beside them")
	fs.DurationVar(&s.interval, "interval", time.Minute, "interval of all objects")
	fs.IntVar(&s.idle, "idle", 1, "how many intervals to watch the idle fleet; 0 leaves that out")
	fs.IntVar(&s.drift, "drift", 20, "how many objects to edit by hand; 0 leaves that out")
	fs.IntVar(&s.failing, "failing", 10, "the share of failing Kustomizations of the last part, in percent; 0 leaves that out")
	fs.StringVar(&form, "layout", string(plain), "layout of the manifests: plain or kustomize")
	fs.StringVar(&s.manager, "manager", "", "path of a manager to measure instead of the one of this tree")
	fs.StringVar(&flags, "flags", "", "more flags of the manager, separated by blanks")
	fs.StringVar(&s.profile, "profile", "", "folder for profiles of the manager's processor time, allocations and heap in each part, "+
		"which then takes a minute at least")
	fs.BoolVar(&s.keep, "keep", false, "leave the folder of the run, with its logs")

	if err := fs.Parse(args); err != nil {
		return s, err //nolint:wrapcheck // flag says it
	}

	if s.layout = layout(form); s.layout != plain && s.layout != kustomize {
		return s, fmt.Errorf("-layout: %q is neither plain nor kustomize", form)
	}

	s.flags, s.fleets = strings.Fields(flags), strings.Split(fleets, ",")
	for _, f := range s.fleets {
		if !slices.Contains(fleetNames(), f) {
			return s, fmt.Errorf("-fleets: %q is none of %s", f, strings.Join(fleetNames(), ", "))
		}
	}

	if min(s.ocis, s.gits, s.pods) < 1 {
		return s, fmt.Errorf("-oci %d, -git %d, -pods %d: want at least one", s.ocis, s.gits, s.pods)
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

// scenarios are the fleets to measure.
func (s settings) scenarios() []scenario {
	var all []scenario

	for _, f := range s.fleets {
		switch f {
		case git:
			for _, n := range s.counts {
				all = append(all, &fleet{settings: s, what: f, n: n})
			}
		case releases:
			for _, n := range s.counts {
				all = append(all, &releaseFleet{settings: s, what: f, n: n})
			}
		case definitions:
			all = append(all, &releaseFleet{settings: s, what: f, n: s.counts[len(s.counts)-1]})
		case sources:
			all = append(all, &upstream{settings: s})
		case pods:
			all = append(all, &fleet{settings: s, what: f, n: s.pods})
		default:
			all = append(all, &fleet{settings: s, what: f, n: s.counts[len(s.counts)-1]})
		}
	}

	return all
}

func run(ctx context.Context, s settings) error {
	report, err := newReport(os.Stdout, s.out)
	if err != nil {
		return err
	}
	defer report.close()

	for _, f := range s.scenarios() {
		if err := measure(ctx, s, f, report); err != nil {
			return errors.Join(fmt.Errorf("%s of %d: %w", f.about().name, f.about().objects, err), report.print())
		}
	}

	return report.print()
}

// scenario is a fleet, and what is done to it.
type scenario interface {
	// about tells what the fleet is.
	about() about

	// open starts what the fleet needs beside the cluster. Its server counts requests.
	open(ctx context.Context, st *stage) (server, error)

	// parts are what is measured, in order.
	parts() []part
}

type about struct {
	name        string
	objects     int
	fakeNode    bool   // pods are to become Ready
	controllers string // that the manager runs
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

	name, n := f.about().name, f.about().objects

	for _, p := range f.parts() {
		if !p.on {
			continue
		}

		progressf("%s of %d: %s", name, n, p.name)

		x, err := st.measure(ctx, fmt.Sprintf("%s-%d-%s", name, n, p.name), p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}

		x.Fleet, x.Objects, x.Part = name, n, p.name
		report.add(x)
	}

	return nil
}

// measure runs a part and tells what it took.
func (s *stage) measure(ctx context.Context, name string, p part) (row, error) {
	told, err := s.sourceEvents(ctx)
	if err != nil {
		return row{}, err
	}

	if err := s.forgetPeak(); err != nil {
		return row{}, err
	}

	profiled := s.startProfile(ctx, name)

	before, err := s.snapshot(ctx)
	if err != nil {
		return row{}, err
	}

	figures, err := p.run(ctx, s)
	if err != nil {
		return row{}, err
	}

	after, err := s.snapshot(ctx)
	if err != nil {
		return row{}, err
	}

	profiled()

	tells, err := s.sourceEvents(ctx)
	if err != nil {
		return row{}, err
	}

	used := after.since(before)

	return row{
		Figures: figures, CPU: used.cpu, Memory: used.memory, Requests: used.requests, Served: used.served,
		OfSources: used.ofSources + tells - told,
	}, nil
}

func progressf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
