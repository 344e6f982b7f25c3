package distribution

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// match tells whether the version of the distribution lies in the range, such as 2.x or 2.9.5.
func (d *Distribution) match(wanted string) error {
	constraint, err := semver.NewConstraint(wanted)
	if err != nil {
		return fmt.Errorf("invalid semver %q: %w", wanted, err)
	}
	if !constraint.Check(d.version) {
		return fmt.Errorf("no match found for semver: %s: this operator carries %s", wanted, d.version)
	}
	return nil
}

// CheckUpgrade tells whether an instance at the revision or version from may be brought to that of to. A lower minor or
// major version is refused: its API server objects and stored state may be newer than it understands. A lower patch is
// not. Anything that is no version, such as an empty from, is not held against it.
func CheckUpgrade(from, to string) error {
	have, err := versionOf(from)
	if err != nil {
		return nil //nolint:nilerr // nothing to compare with
	}
	want, err := versionOf(to)
	if err != nil {
		return nil //nolint:nilerr // nothing to compare with
	}
	if want.Major() > have.Major() || want.Major() == have.Major() && want.Minor() >= have.Minor() {
		return nil
	}
	return fmt.Errorf("downgrading from %s to %s is not supported, reinstall needed", have, want)
}

// Newer tells whether a version is higher than another one. What is no version is not.
func Newer(a, b string) bool {
	x, err := versionOf(a)
	if err != nil {
		return false
	}
	y, err := versionOf(b)
	return err == nil && x.GreaterThan(y)
}

// versionOf reads the version of a revision <version>@<digest>.
func versionOf(revision string) (*semver.Version, error) {
	version, _, _ := strings.Cut(revision, "@")
	return semver.NewVersion(version)
}
