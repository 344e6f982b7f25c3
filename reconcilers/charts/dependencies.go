package charts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
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

	// Fetch gets a chart from a repository. It is called by several goroutines at a time.
	Fetch func(ctx context.Context, d Dependency) (*chart.Chart, error)

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

	var g errgroup.Group
	g.SetLimit(cmp.Or(d.Parallel, defaultParallel))

	for i, dep := range missing {
		g.Go(func() error {
			found[i], failed[i] = d.find(ctx, dep)

			return nil // all are tried, so that the same failure always says the same
		})
	}

	_ = g.Wait() // its functions keep their errors

	if i := slices.IndexFunc(failed, func(err error) bool { return err != nil }); i >= 0 {
		return 0, fmt.Errorf("dependency '%s': %w", missing[i].Name, failed[i])
	}

	total := weigh(c)
	for _, sub := range found {
		total += weigh(sub)
	}

	if most := d.Source.limits.Bytes * growth; total > most {
		return 0, &ingest.LimitError{Max: most, Unit: "bytes in a chart and those that it depends on"}
	}

	c.AddDependency(found...)

	return len(found), nil
}

// weigh returns the bytes of all files of a chart.
func weigh(c *chart.Chart) (n int64) {
	for _, f := range c.Raw {
		n += int64(len(f.Data))
	}

	return n
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
	c, err := semver.NewConstraint(cmp.Or(constraint, "*"))
	if err != nil {
		return false
	}

	v, err := semver.NewVersion(version)

	return err == nil && c.Check(v)
}

// find gets one chart.
func (d Dependencies) find(ctx context.Context, dep Dependency) (*chart.Chart, error) {
	if _, err := semver.NewConstraint(dep.Version); err != nil {
		return nil, fmt.Errorf("version '%s': %w", dep.Version, err)
	}

	var (
		c   *chart.Chart
		err error
	)

	switch {
	case dep.Repository == "":
		return nil, errors.New("it has no repository, and is not in charts/")
	case strings.HasPrefix(dep.Repository, localScheme):
		c, err = d.local(ctx, dep)
	case IsRemote(dep.Repository):
		c, err = d.Fetch(ctx, dep)
	default:
		return nil, fmt.Errorf("repository '%s': only URLs of file, http, https and oci are supported, and no names of repositories",
			ingest.Redact(dep.Repository))
	}

	switch {
	case err != nil:
		return nil, err
	case c.Name() != dep.Name:
		return nil, fmt.Errorf("the chart found is called '%s'", c.Name())
	case !allows(dep.Version, c.Metadata.Version):
		return nil, fmt.Errorf("the chart found has version '%s', want '%s'", c.Metadata.Version, dep.Version)
	}

	return c, nil
}

// IsRemote tells whether a repository is one that charts are fetched from.
func IsRemote(repository string) bool {
	scheme, _, ok := strings.Cut(repository, "://")

	return ok && slices.Contains([]string{"http", "https", "oci"}, strings.ToLower(scheme))
}

// local loads a chart beside the one that depends on it.
func (d Dependencies) local(ctx context.Context, dep Dependency) (*chart.Chart, error) {
	name := path.Join(d.Path, strings.TrimPrefix(dep.Repository, localScheme))
	if name == ".." || strings.HasPrefix(name, "../") {
		return nil, fmt.Errorf("repository '%s' leads out of the source", dep.Repository)
	}

	return d.Source.Load(ctx, name)
}
