package main

import (
	"slices"
	"strings"
	"time"

	"github.com/weir-dev/weir/test/tool"
)

// phaseTimeout is the default for each package: long, for a busy machine.
const phaseTimeout = 40 * time.Minute

const module = "github.com/weir-dev/weir/"

// testPackage is a package that has tests.
type testPackage struct {
	path    string
	imports []string // of the tests
}

// phase is a run of go test.
type phase int

const (
	// first is what is quick to say no, and never comes from the cache: it reads the whole tree, of which go test does not know.
	first phase = iota

	// together is what may run side by side.
	together

	// alone is what runs a node, or many processes, and gets the machine for itself.
	alone

	phases
)

func phaseOf(path string) phase {
	switch {
	case under("test/arch")(path):
		return first
	case onNode(path), under("test/e2e")(path):
		return alone
	default:
		return together
	}
}

// arguments of go test in the phase.
func (p phase) arguments(race bool) []string {
	switch {
	case p == first:
		return []string{"-count=1"}
	case p == alone:
		return []string{"-count=1", "-p=1"}
	case race:
		return []string{"-race"}
	default:
		return nil
	}
}

func under(folder string) func(string) bool {
	return func(path string) bool {
		return strings.HasPrefix(path+"/", strings.TrimSuffix(module+folder, "/")+"/")
	}
}

// onNode tells whether the tests of a package run a node.
func onNode(path string) bool {
	return path == module+"test/e2e" || path == module+"test/cluster/nodetest" || under("test/demo")(path)
}

// plan returns the arguments of each run of go test, in order.
func plan(packages []testPackage, race bool) [][]string {
	var runs [][]string
	for p := range phases {
		var paths []string
		for _, t := range packages {
			if phaseOf(t.path) == p {
				paths = append(paths, t.path)
			}
		}

		if len(paths) > 0 {
			runs = append(runs, slices.Concat(p.arguments(race), paths))
		}
	}

	return runs
}

// need is how much of a cluster tests take.
type need int

const (
	nothing need = iota
	controlPlane
	node
)

// needs returns what the most demanding of the packages needs.
func needs(packages []testPackage) need {
	most := nothing
	for _, p := range packages {
		if onNode(p.path) {
			return node
		}

		for _, i := range p.imports {
			if i == module+"test/cluster" || under("test/e2e")(i) {
				most = controlPlane
			}
		}
	}

	return most
}

// tools returns the programs that the tests of the packages run.
func tools(packages []testPackage) []tool.Tool {
	users := []struct {
		through string
		tool    tool.Tool
	}{
		{"test/signing", tool.Cosign()},
		{"test/sops", tool.SOPS()},
		{"test/tool", tool.Flux()},
		{"test/helmcli", tool.Helm()},
		{"test/helmcli", tool.Helm4()},
	}

	var found []tool.Tool

	for _, u := range users {
		if slices.ContainsFunc(packages, func(p testPackage) bool { return slices.Contains(p.imports, module+u.through) }) {
			found = append(found, u.tool)
		}
	}

	return found
}
