package state

import (
	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/helm/values"
)

// Requests are what somebody has asked for with annotations.
type Requests struct {
	// Force a release even if nothing has changed or no attempt is left.
	Force bool

	// Reset the failures.
	Reset bool
}

// TakeRequests returns what is asked for, and writes down that it was seen: each request counts once, and only if the request to
// reconcile has the same token. It is to be called once in a reconcile, before lastHandledReconcileAt is written.
func TakeRequests(obj *v2.HelmRelease) Requests {
	return Requests{
		Force: take(obj, meta.ForceRequestAnnotation, &obj.Status.LastHandledForceAt),
		Reset: take(obj, meta.ResetRequestAnnotation, &obj.Status.LastHandledResetAt),
	}
}

func take(obj *v2.HelmRelease, annotation string, handled *string) bool {
	token, ok := obj.Annotations[annotation]
	if !ok {
		return false
	}

	before := *handled
	*handled = token

	return token != "" && token == obj.Annotations[meta.ReconcileRequestAnnotation] &&
		token != obj.Status.LastHandledReconcileAt && token != before
}

// Attempt is what is tried, for the status.
type Attempt struct {
	// Revision is the version of the chart.
	Revision string

	// RevisionDigest is the digest of a chart from a registry.
	RevisionDigest string

	// ConfigDigest is the digest of the values.
	ConfigDigest string
}

// Begin resets the failures if something else is tried than before, or if that is asked for, and writes down what is tried. It
// returns why the failures were reset, empty if they were not.
func Begin(obj *v2.HelmRelease, a Attempt, wanted map[string]any, reset bool) (why string) {
	switch s := &obj.Status; {
	case obj.Generation != s.LastAttemptedGeneration:
		why = "generation changed"
	case a.Revision != s.LastAttemptedRevision:
		why = "chart version changed"
	case !values.Matches(s.LastAttemptedConfigDigest, wanted):
		why = "values changed"
	case reset:
		why = "reset requested"
	}

	if why != "" {
		clearFailures(obj)
	}

	s := &obj.Status
	s.LastAttemptedGeneration, s.LastAttemptedRevision = obj.Generation, a.Revision
	s.LastAttemptedRevisionDigest, s.LastAttemptedConfigDigest = a.RevisionDigest, a.ConfigDigest
	s.LastAttemptedValuesChecksum, s.LastReleaseRevision = "", 0

	return why
}

// TargetChanged tells whether what was released is somewhere else, or has another name, than what is to be released, and why: it
// has to be uninstalled first.
func TargetChanged(obj *v2.HelmRelease, chartName string) (why string, changed bool) {
	latest := obj.Status.History.Latest()
	if obj.Status.StorageNamespace == "" || latest == nil {
		return "", false
	}

	switch {
	case obj.Status.StorageNamespace != obj.GetStorageNamespace():
		return "storage namespace changed", true
	case latest.Namespace != obj.GetReleaseNamespace():
		return "target namespace changed", true
	case latest.Name != obj.GetReleaseName():
		return "release name changed", true
	case latest.ChartName != chartName && obj.GetUpgrade().GetChartNameChangeStrategy() == v2.ChartNameChangeReinstall:
		return "chart name changed", true
	default:
		return "", false
	}
}
