package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of go test -json, see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// report prints the progress of tests and counts them. A test that has subtests is not counted beside them, unless it failed
// and none of them did.
type report struct {
	out      io.Writer
	packages map[string]*progress
	builds   map[string][]string // output of a failed build, by import path

	passed, failed, skipped int

	counted int      // failures before the present run of go test
	notes   []string // what was skipped, and why
}

// progress of a package.
type progress struct {
	tests  map[string]*result
	order  []string
	output []string // of the package, and of tests that did not pass
	cached bool
}

type result struct {
	action string // how it ended, or empty
	parent bool
	output []string
}

func newReport(out io.Writer) *report {
	return &report{out: out, packages: map[string]*progress{}, builds: map[string][]string{}}
}

// read takes in what one run of go test says.
func (r *report) read(in io.Reader) error {
	r.counted = r.failed

	d := json.NewDecoder(in)
	for {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read from go test: %w", err)
		}

		r.take(e)
	}
}

// exited counts a failure that go test told of by its exit status alone.
func (r *report) exited() {
	if r.failed == r.counted {
		r.failed++
		fmt.Fprintln(r.out, "FAIL go test")
	}
}

func (r *report) take(e event) {
	switch {
	case e.Action == "build-output":
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
	case e.Package == "":
	case e.Test == "":
		r.takePackage(e)
	default:
		r.takeTest(e)
	}
}

func (r *report) of(name string) *progress {
	if r.packages[name] == nil {
		r.packages[name] = &progress{tests: map[string]*result{}}
	}

	return r.packages[name]
}

func (r *report) takeTest(e event) {
	p := r.of(e.Package)

	t := p.tests[e.Test]
	if t == nil {
		t = &result{}
		p.tests[e.Test] = t
		p.order = append(p.order, e.Test)
	}

	if i := strings.LastIndex(e.Test, "/"); i > 0 {
		if parent := p.tests[e.Test[:i]]; parent != nil {
			parent.parent = true
		}
	}

	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.action = e.Action
	}
}

func (r *report) takePackage(e event) {
	p := r.of(e.Package)

	switch e.Action {
	case "output":
		p.output = append(p.output, e.Output)
		p.cached = p.cached || strings.Contains(e.Output, "(cached)")
	case "pass", "fail", "skip":
		r.finish(e, p)
		delete(r.packages, e.Package)
	}
}

// finish counts the tests of a package that has come to its end, and prints what there is to say.
func (r *report) finish(e event, p *progress) {
	for _, name := range p.order {
		t := p.tests[name]

		switch {
		case t.action == "skip":
			r.skipped++
			r.notes = append(r.notes, fmt.Sprintf("skipped %s %s: %s", e.Package, name, t.reason()))
		case t.action == "pass" && !t.parent:
			r.passed++
		}
	}

	if e.Action != "fail" {
		took := fmt.Sprintf("%.1fs", e.Elapsed)
		if p.cached {
			took = "(cached)"
		}

		fmt.Fprintf(r.out, "%-4s %s %s\n", map[string]string{"pass": "ok", "skip": "-"}[e.Action], e.Package, took)

		return
	}

	r.print(r.builds[e.FailedBuild])

	failures := p.failures()
	for _, name := range failures {
		r.print(p.tests[name].output)
	}

	r.print(p.output)
	r.failed += max(len(leaves(failures)), 1)
}

// failures returns the tests of a failed package that failed, or did not come to an end.
func (p *progress) failures() []string {
	return slices.DeleteFunc(slices.Clone(p.order), func(name string) bool {
		action := p.tests[name].action

		return action == "pass" || action == "skip"
	})
}

// leaves returns the names without those of tests whose subtests are among them.
func leaves(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(names, func(other string) bool { return strings.HasPrefix(other, name+"/") })
	})
}

// reason returns what a skipped test said.
func (t *result) reason() string {
	var said []string
	for _, line := range t.output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}

	return strings.Join(said, " ")
}

func (r *report) print(lines []string) {
	for _, line := range lines {
		_, _ = io.WriteString(r.out, line) // nowhere to say that there is nowhere to say anything
	}
}

// summary prints the figures, alone on the last line, and tells whether all is well.
func (r *report) summary() bool {
	for _, note := range r.notes {
		fmt.Fprintln(r.out, note)
	}

	if r.skipped > 0 {
		fmt.Fprintf(r.out, "%d skipped\n", r.skipped)
	}

	fmt.Fprintf(r.out, "%d passed, %d failed\n", r.passed, r.failed)

	return r.failed == 0
}
