package charts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/chart"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	// maxDependencies bounds the charts that a chart depends on.
	maxDependencies = 256

	// defaultParallel is how many charts are fetched at a time for one chart.
	defaultParallel = 4

	localScheme = "file://"
)

// Dependency is a chart in a repository that another chart depends on.
type Dependency struct {
	// Name of the chart.
	Name string

	// Version is a version or a range. It is never empty.
	Version string

	// Repository is the URL of the repository: http, https or oci.
	Repository string
}

// Dependencies finds the charts that a chart in a source depends on.
type Dependencies struct {
	// Source holds the chart, and those that it names by file://.
	Source *Source

	// Path of the directory of the chart in the source, as Clean gives it.
	Path string

	// Fetch gets the package of a chart from a repository. It is called by several goroutines at a time.
	Fetch func(ctx context.Context, d Dependency) ([]byte, error)

	// Parallel is how many charts are fetched at a time. Zero means 4.
	Parallel int
}

// Resolve adds the charts to a chart that it depends on and that are not in it yet, and returns how many they are. Those that
// are in it, below charts/, are taken as they are. A lock file names the versions, as far as they are ones that the chart asks
// for.
func (d Dependencies) Resolve(ctx context.Context, c *chart.Chart) (int, error) {
	missing := missingIn(c)
	if len(missing) > maxDependencies {
		return 0, &ingest.LimitError{Max: maxDependencies, Unit: "dependencies"}
	}

	found, failed := make([]*chart.Chart, len(missing)), make([]error, len(missing))
	r := &resolution{Dependencies: d, left: newBudget(ctx, d.Source.limits)}
	r.left.spend(c)

	var g errgroup.Group
	g.SetLimit(cmp.Or(d.Parallel, defaultParallel))

	for i, dep := range missing {
		g.Go(func() error {
			found[i], failed[i] = r.guarded(ctx, dep)

			return nil // all are tried, so that the same failure always says the same
		})
	}

	_ = g.Wait() // its functions keep their errors

	if err := r.left.over(); err != nil {
		return 0, err
	}

	if i := slices.IndexFunc(failed, func(err error) bool { return err != nil }); i >= 0 {
		return 0, fmt.Errorf("dependency '%s': %w", missing[i].Name, failed[i])
	}

	c.AddDependency(found...)

	return len(found), nil
}

// missingIn returns what a chart depends on and does not hold, with the versions of its lock file.
func missingIn(c *chart.Chart) []Dependency {
	var missing []Dependency

	for _, want := range c.Metadata.Dependencies {
		dep := Dependency{Name: want.Name, Version: locked(c, want), Repository: want.Repository}

		// One chart may be wanted more than once, under several names.
		if !slices.Contains(missing, dep) && !holds(c, want) {
			missing = append(missing, dep)
		}
	}

	return missing
}

// holds tells whether a chart holds one that it depends on. One of another version counts, unless the chart wants several
// versions: who puts a chart there wants that one.
func holds(c *chart.Chart, want *chart.Dependency) bool {
	wants := 0

	for _, other := range c.Metadata.Dependencies {
		if other.Name == want.Name {
			wants++
		}
	}

	return slices.ContainsFunc(c.Dependencies(), func(have *chart.Chart) bool {
		return have.Name() == want.Name && (wants == 1 || allows(want.Version, have.Metadata.Version))
	})
}

// locked returns the version that the lock file names, if it is one that is wanted, or else the range that is wanted.
func locked(c *chart.Chart, want *chart.Dependency) string {
	if c.Lock != nil {
		for _, lock := range c.Lock.Dependencies {
			if lock != nil && lock.Name == want.Name && lock.Version != "" && allows(want.Version, lock.Version) {
				return lock.Version
			}
		}
	}

	return cmp.Or(want.Version, "*")
}

// allows tells whether a range allows a version.
func allows(constraint, version string) bool {
	c, err := Range(constraint)
	if err != nil {
		return false
	}

	v, err := semver.NewVersion(version)

	return err == nil && c.Check(v)
}

// IsRemote tells whether a repository is one that charts are fetched from.
func IsRemote(repository string) bool {
	scheme, _, ok := strings.Cut(repository, "://")

	return ok && slices.Contains([]string{"http", "https", "oci"}, strings.ToLower(scheme))
}
