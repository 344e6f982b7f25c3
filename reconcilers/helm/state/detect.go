package state

import (
	"errors"
	"fmt"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/values"
)

// State of a release.
type State string

// States.
const (
	// Absent says that there is no release.
	Absent State = "Absent"

	// Locked says that Helm was interrupted in the middle of an action.
	Locked State = "Locked"

	// Unmanaged says that the release is not the one that was last recorded.
	Unmanaged State = "Unmanaged"

	// OutOfSync says that the release is not the one that is wanted.
	OutOfSync State = "OutOfSync"

	// Untested says that the tests of the release were not run.
	Untested State = "Untested"

	// Failed says that the release or one of its tests has failed.
	Failed State = "Failed"

	// Drifted says that the cluster differs from the release.
	Drifted State = "Drifted"

	// InSync says that all is as wanted.
	InSync State = "InSync"
)

// ErrStatus says that Helm gave a status to a release with which nothing can be done, for errors.Is.
var ErrStatus = errors.New("unable to determine state")

// Observed is a state, and why it is that.
type Observed struct {
	State State

	// Why, for the log.
	Why string
}

// Wanted is what is to be released.
type Wanted struct {
	// Chart, with the version that is to be seen in the release.
	Chart *chart.Metadata

	// Values of the user.
	Values map[string]any
}

// Drift tells whether the cluster differs from the release.
type Drift func() (bool, error)

// Detect returns the state of a release. Latest is the newest revision that Helm has stored under the name, nil if there is none.
// Whether the cluster differs is only asked if nothing else is to be done and the spec wants to know.
//
// An uninstall that was interrupted is Locked too. In Flux it is an error that lasts until somebody cleans up.
func Detect(obj *v2.HelmRelease, latest *release.Release, want Wanted, drift Drift) (Observed, error) {
	if o, ok := detectLost(obj, latest); ok {
		return o, nil
	}

	switch status := statusOf(latest); status {
	case release.StatusDeployed:
	case release.StatusFailed:
		return Observed{Failed, "the release has failed"}, nil
	case release.StatusUninstalled:
		return Observed{Absent, "the release is uninstalled"}, nil
	default:
		return Observed{}, fmt.Errorf("%w: release '%s/%s.v%d' has the status %q", ErrStatus, latest.Namespace, latest.Name, latest.Version, status)
	}

	if o, ok := detectChange(obj, latest, want); ok {
		return o, nil
	}

	if o, ok := detectTests(obj); ok {
		return o, nil
	}

	return detectDrift(obj, drift)
}

// detectLost finds releases that are not there, or not as they were left.
func detectLost(obj *v2.HelmRelease, latest *release.Release) (Observed, bool) {
	if latest == nil {
		return Observed{Absent, "there is no release"}, true
	}

	status := statusOf(latest)
	if status.IsPending() || status == release.StatusUninstalling {
		return Observed{Locked, fmt.Sprintf("the release is in the state '%s'", status)}, true
	}

	switch recorded := obj.Status.History.Latest(); {
	case recorded == nil && status == release.StatusUninstalled:
		return Observed{Absent, "the release is uninstalled"}, true
	case recorded == nil:
		return Observed{Unmanaged, "the release was not made by this HelmRelease"}, true
	case !Verify(recorded, latest):
		return Observed{Unmanaged, "the release is not as it was left"}, true
	default:
		return Observed{}, false
	}
}

// detectChange finds releases of something else.
func detectChange(obj *v2.HelmRelease, latest *release.Release, want Wanted) (Observed, bool) {
	is := chartOf(latest)

	switch {
	case is.Name != want.Chart.Name || is.Version != want.Chart.Version:
		return Observed{OutOfSync, "release chart changed"}, true
	case !values.Matches(obj.Status.History.Latest().ConfigDigest, want.Values):
		return Observed{OutOfSync, "release config values changed"}, true
	case obj.Generation == obj.Status.ObservedGeneration:
		return Observed{}, false // a digest that is made in another way is no change
	case obj.Status.ObservedPostRenderersDigest != postRenderersDigest(obj):
		return Observed{OutOfSync, "post-renderers changed"}, true
	case obj.Status.ObservedCommonMetadataDigest != commonMetadataDigest(obj):
		return Observed{OutOfSync, "common metadata changed"}, true
	default:
		return Observed{}, false
	}
}

func detectTests(obj *v2.HelmRelease) (Observed, bool) {
	if !obj.GetTest().Enable {
		return Observed{}, false
	}

	switch latest := obj.Status.History.Latest(); {
	case !Tested(latest):
		return Observed{Untested, "release has not been tested"}, true
	case TestFailed(latest) && !IgnoresTestFailures(obj):
		return Observed{Failed, "release has test in failed phase"}, true
	default:
		return Observed{}, false
	}
}

func detectDrift(obj *v2.HelmRelease, drift Drift) (Observed, error) {
	if obj.GetDriftDetectionMode() == v2.DriftDetectionDisabled {
		return Observed{InSync, ""}, nil
	}

	drifted, err := drift()

	switch {
	case err != nil:
		return Observed{}, fmt.Errorf("detect drift: %w", err)
	case drifted:
		return Observed{Drifted, "the cluster differs from the release"}, nil
	default:
		return Observed{InSync, ""}, nil
	}
}
