package build

import (
	"fmt"
	"strings"

	"github.com/fluxcd/pkg/envsubst/parse"
)

// Limits of what is substituted in one object. The parser of the library calls itself for each dollar sign, and a stack
// that overflows ends the process; its functions have no limits of their own.
const (
	// maxText is the bytes of the object. What is larger fits into no cluster.
	maxText = 4 << 20
	// maxDollars is the dollar signs in the object.
	maxDollars = 50_000
	// maxSubstituted bounds the bytes that the variables add to the object, and maxAllSubstituted to all of a build.
	maxSubstituted    = 16 << 20
	maxAllSubstituted = 64 << 20
	// maxCompared bounds the characters that are compared to cut patterns off values.
	maxCompared = 1 << 31
	// endless is more than any limit, and small enough to be multiplied.
	endless = 1 << 40
)

// checkGrowth refuses a text in which the substitution would not come to an end in reasonable time and space, and returns how
// many bytes it adds at most. Text that the library cannot parse passes.
func checkGrowth(text string, variables *Variables) (int, error) {
	if len(text) > maxText {
		return 0, fmt.Errorf("the object has more than %d bytes", maxText)
	}

	if strings.Count(text, "$") > maxDollars {
		return 0, fmt.Errorf("the object has more than %d dollar signs", maxDollars)
	}

	tree, err := parse.Parse(text)
	if err != nil {
		return 0, nil //nolint:nilerr // The library fails on it with the better message.
	}

	g := growth{variables: variables}
	if g.of(tree.Root); g.added > maxSubstituted {
		return 0, fmt.Errorf("the variables add more than %d bytes", maxSubstituted)
	}

	if g.compared > maxCompared {
		return 0, fmt.Errorf("a value is too long to cut a pattern off: more than %d comparisons", maxCompared)
	}

	return g.added, nil
}

// growth is an upper bound of what a substitution costs.
type growth struct {
	variables *Variables
	added     int // bytes that functions make, those in arguments of others included
	compared  int
}

// of returns how many bytes a node makes at most.
func (g *growth) of(node parse.Node) int {
	total := 0

	switch n := node.(type) {
	case *parse.TextNode:
		total = len(n.Value)
	case *parse.ListNode:
		for _, e := range n.Nodes {
			total += g.of(e)
		}
	case *parse.FuncNode:
		total = g.function(n)
		g.added = min(g.added+total, endless)
	}

	return min(total, endless)
}

func (g *growth) function(n *parse.FuncNode) int {
	value, _ := g.variables.get(n.Param)
	args, last := 0, 0

	for _, a := range n.Args {
		last = g.of(a)
		args = min(args+last, endless)
	}

	switch n.Name {
	case "//":
		return len(value) + min(matches(value, n.Args)*last, endless)
	case "#", "##", "%", "%%":
		// A pattern is tried on each prefix of the value, and at each place of it.
		g.compared = min(g.compared+min(len(value)*len(value), endless)*min(args, maxText), endless)

		return len(value)
	}

	return len(value) + args
}

// matches returns how often the pattern, the first argument, is in the value at most.
func matches(value string, args []parse.Node) int {
	if len(args) < 2 {
		return 0
	}

	if pattern, ok := args[0].(*parse.TextNode); ok {
		return strings.Count(value, pattern.Value)
	}

	return len(value) + 1
}
