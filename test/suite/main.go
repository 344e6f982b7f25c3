// Command suite runs the Go tests of this module, in an order that fits one small machine: what is quick to say no first,
// what starts a cluster with a node last and alone. It builds the programs that tests run before, so that no test waits for a
// compiler, prints what failed in full and what passed in a line, and ends with the figures of all.
//
//	go run ./test/suite [-race] [package ...]    # make test
//
// It runs under `go test -json` and adds nothing to it: what `go test` of a package says is what counts here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/weir-dev/weir/test/cluster"
)

// errFailed tells that tests failed, which the report has said.
var errFailed = errors.New("tests failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()

	if err != nil && !errors.Is(err, errFailed) && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "suite:", err)
	}

	if err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("suite", flag.ContinueOnError)
	race := f.Bool("race", false, "detect data races, where no cluster with a node is needed; takes a C compiler")
	timeout := f.Duration("timeout", phaseTimeout, "for each package")

	if err := f.Parse(args); err != nil {
		return err
	}

	patterns := f.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}

	packages, err := list(ctx, patterns)
	if err != nil {
		return err
	}

	if err := prepare(ctx, packages); err != nil {
		return err
	}

	r := newReport(os.Stdout)
	for _, p := range plan(packages, *race) {
		if err := test(ctx, r, append([]string{"-timeout", timeout.String()}, p...)); err != nil {
			return err
		}
	}

	if !r.summary() {
		return errFailed
	}

	return nil
}

// list resolves the patterns into the packages that have tests.
func list(ctx context.Context, patterns []string) ([]testPackage, error) {
	const format = `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}{{end}}`

	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"list", "-f", format}, patterns)...)
	cmd.Stderr = os.Stderr

	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}

	var packages []testPackage
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		packages = append(packages, testPackage{path: fields[0], imports: fields[1:]})
	}

	return packages, nil
}

// prepare builds the programs that tests run into the cache where they look for them: those of the test cluster, and others.
func prepare(ctx context.Context, packages []testPackage) error {
	if err := prepareTools(ctx, packages); err != nil {
		return err
	}

	need := needs(packages)
	if need == nothing {
		return nil
	}

	if _, err := cluster.Build(ctx, "", need == node && cluster.NodeSupport() == nil, os.Stderr); err != nil {
		return fmt.Errorf("build the test cluster: %w", err)
	}

	return nil
}

// prepareTools builds the programs that tests run, one after the other.
func prepareTools(ctx context.Context, packages []testPackage) error {
	for _, t := range tools(packages) {
		if _, err := t.Build(ctx, os.Stderr); err != nil {
			return err //nolint:wrapcheck // names the program
		}
	}

	return nil
}

// test runs go test and reports what it says. Failed tests are no error.
func test(ctx context.Context, r *report, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go test then ends its tests

	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("read from go test: %w", err)
	}

	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}

	bad := r.read(out)
	if bad != nil {
		_, _ = io.Copy(io.Discard, out) // so that go test comes to its end
	}

	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return fmt.Errorf("run go test: %w", err)
	} else if err != nil {
		r.exited()
	}

	return bad
}
