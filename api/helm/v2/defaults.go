package v2

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GetTimeout returns the timeout of each Kubernetes operation: DefaultTimeout, unless the spec sets one.
func (in *HelmRelease) GetTimeout() time.Duration { return duration(in.Spec.Timeout, DefaultTimeout) }

// GetMaxHistory returns the number of revisions that Helm keeps: DefaultMaxHistory, unless the spec sets one.
func (in *HelmRelease) GetMaxHistory() int {
	if in.Spec.MaxHistory == nil {
		return DefaultMaxHistory
	}

	return *in.Spec.MaxHistory
}

// GetReleaseName returns the name of the release: that of the spec, or the name of the HelmRelease after the target
// namespace, if that is set, and a hyphen. A name over MaxReleaseNameLength is cut to 40 characters, a hyphen and 12
// digits of the SHA-256 of the whole.
func (in *HelmRelease) GetReleaseName() string {
	name := in.Spec.ReleaseName
	if name == "" {
		name = in.Name
		if in.Spec.TargetNamespace != "" {
			name = in.Spec.TargetNamespace + "-" + name
		}
	}

	if len(name) <= MaxReleaseNameLength {
		return name
	}

	const digits = 12

	sum := sha256.Sum256([]byte(name))

	return name[:MaxReleaseNameLength-1-digits] + "-" + hex.EncodeToString(sum[:])[:digits]
}

// GetReleaseNamespace returns the namespace to release to: the target namespace, or that of the HelmRelease.
func (in *HelmRelease) GetReleaseNamespace() string {
	return cmp.Or(in.Spec.TargetNamespace, in.Namespace)
}

// GetStorageNamespace returns where Helm keeps its records: that of the spec, or the namespace of the HelmRelease.
func (in *HelmRelease) GetStorageNamespace() string {
	return cmp.Or(in.Spec.StorageNamespace, in.Namespace)
}

// GetHelmChartName returns the name of the HelmChart that is made of spec.chart.
func (in *HelmRelease) GetHelmChartName() string { return in.Namespace + "-" + in.Name }

// UsesPersistentClient tells whether one client is used for a whole reconcile, which is so unless the spec says no.
func (in *HelmRelease) UsesPersistentClient() bool { return isTrue(in.Spec.PersistentClient, true) }

// GetDriftDetectionMode returns what is done about drift: DriftDetectionDisabled, unless the spec says otherwise.
func (in *HelmRelease) GetDriftDetectionMode() string {
	if in.Spec.DriftDetection == nil {
		return DriftDetectionDisabled
	}

	return cmp.Or(in.Spec.DriftDetection.Mode, DriftDetectionDisabled)
}

// GetPostRenderStrategy returns how hooks are rendered: PostRenderCombined, unless the spec says otherwise.
func (in *HelmRelease) GetPostRenderStrategy() string {
	return cmp.Or(in.Spec.PostRenderStrategy, PostRenderCombined)
}

// GetWaitStrategy returns how to wait: WaitStrategyPoller, unless the spec says otherwise.
func (in *HelmRelease) GetWaitStrategy() string {
	if in.Spec.WaitStrategy == nil {
		return WaitStrategyPoller
	}

	return cmp.Or(in.Spec.WaitStrategy.Name, WaitStrategyPoller)
}

// GetInstall returns spec.install, empty if it is not set.
func (in *HelmRelease) GetInstall() Install { return orEmpty(in.Spec.Install) }

// GetUpgrade returns spec.upgrade, empty if it is not set.
func (in *HelmRelease) GetUpgrade() Upgrade { return orEmpty(in.Spec.Upgrade) }

// GetTest returns spec.test, empty if it is not set.
func (in *HelmRelease) GetTest() Test { return orEmpty(in.Spec.Test) }

// GetRollback returns spec.rollback, empty if it is not set.
func (in *HelmRelease) GetRollback() Rollback { return orEmpty(in.Spec.Rollback) }

// GetUninstall returns spec.uninstall, empty if it is not set.
func (in *HelmRelease) GetUninstall() Uninstall { return orEmpty(in.Spec.Uninstall) }

// GetTimeout returns the timeout of the action: its own, or that of the release, which is given.
func (in Install) GetTimeout(release time.Duration) time.Duration {
	return duration(in.Timeout, release)
}

// GetTimeout returns the timeout of the action: its own, or that of the release, which is given.
func (in Upgrade) GetTimeout(release time.Duration) time.Duration {
	return duration(in.Timeout, release)
}

// GetTimeout returns the timeout of the action: its own, or that of the release, which is given.
func (in Test) GetTimeout(release time.Duration) time.Duration { return duration(in.Timeout, release) }

// GetTimeout returns the timeout of the action: its own, or that of the release, which is given.
func (in Rollback) GetTimeout(release time.Duration) time.Duration {
	return duration(in.Timeout, release)
}

// GetTimeout returns the timeout of the action: its own, or that of the release, which is given.
func (in Uninstall) GetTimeout(release time.Duration) time.Duration {
	return duration(in.Timeout, release)
}

// GetCRDs returns what to do with CRDs: CRDsCreate, unless the spec says otherwise.
func (in Install) GetCRDs() string { return cmp.Or(in.CRDs, CRDsCreate) }

// GetCRDs returns what to do with CRDs: CRDsCreate, unless the spec says otherwise.
func (in Upgrade) GetCRDs() string { return cmp.Or(in.CRDs, CRDsCreate) }

// GetServerSideApply tells whether to apply on the server, which is so unless the spec says no.
func (in Install) GetServerSideApply() bool { return isTrue(in.ServerSideApply, true) }

// GetServerSideApply returns whether to apply on the server: ServerSideApplyAuto, unless the spec says otherwise.
func (in Upgrade) GetServerSideApply() string {
	return cmp.Or(in.ServerSideApply, ServerSideApplyAuto)
}

// GetServerSideApply returns whether to apply on the server: ServerSideApplyAuto, unless the spec says otherwise.
func (in Rollback) GetServerSideApply() string {
	return cmp.Or(in.ServerSideApply, ServerSideApplyAuto)
}

// GetStrategy returns what to do on failure, with the retry interval filled in: StrategyRemediateOnFailure, unless the
// spec says otherwise.
func (in Install) GetStrategy() (name string, retryInterval time.Duration) {
	s := orEmpty(in.Strategy)

	return cmp.Or(s.Name, StrategyRemediateOnFailure), duration(s.RetryInterval, DefaultRetryInterval)
}

// GetStrategy returns what to do on failure, with the retry interval filled in: StrategyRemediateOnFailure, unless the
// spec says otherwise.
func (in Upgrade) GetStrategy() (name string, retryInterval time.Duration) {
	s := orEmpty(in.Strategy)

	return cmp.Or(s.Name, StrategyRemediateOnFailure), duration(s.RetryInterval, DefaultRetryInterval)
}

// GetRemediation returns the remediation, empty if it is not set.
func (in Install) GetRemediation() InstallRemediation { return orEmpty(in.Remediation) }

// GetRemediation returns the remediation, empty if it is not set.
func (in Upgrade) GetRemediation() UpgradeRemediation { return orEmpty(in.Remediation) }

// GetChartNameChangeStrategy returns what to do when the name of the chart has changed: ChartNameChangeReinstall,
// unless the spec says otherwise.
func (in Upgrade) GetChartNameChangeStrategy() string {
	return cmp.Or(in.ChartNameChangeStrategy, ChartNameChangeReinstall)
}

// GetDeletionPropagation returns how to delete: DeletionBackground, unless the spec says otherwise.
func (in Uninstall) GetDeletionPropagation() string {
	return cmp.Or(in.DeletionPropagation, DeletionBackground)
}

// IgnoresTestFailures tells whether tests may fail; test is what spec.test.ignoreFailures says.
func (in InstallRemediation) IgnoresTestFailures(test bool) bool {
	return isTrue(in.IgnoreTestFailures, test)
}

// IgnoresTestFailures tells whether tests may fail; test is what spec.test.ignoreFailures says.
func (in UpgradeRemediation) IgnoresTestFailures(test bool) bool {
	return isTrue(in.IgnoreTestFailures, test)
}

// RemediatesLastFailure tells whether to remediate when no attempt is left, which is not so unless the spec says yes.
func (in InstallRemediation) RemediatesLastFailure() bool {
	return isTrue(in.RemediateLastFailure, false)
}

// RemediatesLastFailure tells whether to remediate when no attempt is left, which is so if there are retries, unless
// the spec says otherwise.
func (in UpgradeRemediation) RemediatesLastFailure() bool {
	return isTrue(in.RemediateLastFailure, in.Retries > 0)
}

// GetStrategy returns how to remediate: RemediationRollback, unless the spec says otherwise.
func (in UpgradeRemediation) GetStrategy() string { return cmp.Or(in.Strategy, RemediationRollback) }

// RetriesExhausted tells whether no attempt is left after the number of failures.
func (in InstallRemediation) RetriesExhausted(failures int64) bool {
	return exhausted(in.Retries, failures)
}

// RetriesExhausted tells whether no attempt is left after the number of failures.
func (in UpgradeRemediation) RetriesExhausted(failures int64) bool {
	return exhausted(in.Retries, failures)
}

func exhausted(retries int, failures int64) bool { return retries >= 0 && failures > int64(retries) }

func duration(set *metav1.Duration, byDefault time.Duration) time.Duration {
	if set == nil {
		return byDefault
	}

	return set.Duration
}

func isTrue(set *bool, byDefault bool) bool {
	if set == nil {
		return byDefault
	}

	return *set
}

func orEmpty[T any](set *T) T {
	if set == nil {
		var empty T

		return empty
	}

	return *set
}
