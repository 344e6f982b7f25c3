package git

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
)

// recipe says which files of a commit make an artifact.
type recipe struct {
	ignore string // rules of the object; they count only if ruled
	ruled  bool
	under  string // directories, one per line; none means all
}

// directories are those of which the files are wanted; none means all.
func (r recipe) directories() []string {
	if r.under == "" {
		return nil
	}

	return strings.Split(r.under, "\n")
}

// fingerprint tells recipes apart, of which some are long.
func (r recipe) fingerprint() flight.Fingerprint {
	return flight.FingerprintOf(r.ignore, strconv.FormatBool(r.ruled), r.under)
}

// readRules collects the rules of the commit and of the recipe.
func readRules(ctx context.Context, c *clone, r recipe, limits ingest.Limits) (source.Rules, error) {
	b := &source.RuleBook{}

	options := ingest.WalkOptions{
		Limits: limits, Under: r.directories(),
		Skip: func(elements []string, _ bool) bool { return elements[len(elements)-1] != source.IgnoreFile },
	}

	err := c.pack.Walk(ctx, c.commit, options, func(n ingest.Node) error {
		if n.Dir {
			return nil
		}

		in, err := c.pack.Open(ctx, n.Hash)
		if err != nil {
			return fmt.Errorf("open %q: %w", n.Path, err)
		}
		defer in.Close()

		return b.File(n.Path, in)
	})
	if err != nil {
		return source.Rules{}, err
	}

	if r.ruled {
		b.Spec(&r.ignore)
	}

	return b.Tree(), nil
}
