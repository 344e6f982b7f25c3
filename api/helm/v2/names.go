package v2

import "time"

// Labels that name the HelmRelease which owns an object.
const (
	OwnerNameLabel      = Group + "/name"
	OwnerNamespaceLabel = Group + "/namespace"
)

// DriftDetectionMark, a label or annotation, with meta.DisabledValue excludes an object from drift detection.
const DriftDetectionMark = Group + "/driftDetection"

// Keys of the metadata of events, without the group.
const (
	EventAppVersionKey = "app-version"
	EventOCIDigestKey  = "oci-digest"
)

// Condition types that only a HelmRelease has.
const (
	// ReleasedCondition tells how the last install, upgrade, rollback or uninstall of the release went.
	ReleasedCondition = "Released"

	// TestSuccessCondition tells how the tests of the release went. Absent if they are not enabled.
	TestSuccessCondition = "TestSuccess"

	// RemediatedCondition tells how the remediation of a failed release went. Absent if there was none.
	RemediatedCondition = "Remediated"

	// DriftedCondition tells whether the cluster differs from the release. Absent if that is not looked for.
	DriftedCondition = "Drifted"
)

// Reasons that only a HelmRelease gives.
const (
	InstallSucceededReason   = "InstallSucceeded"
	InstallFailedReason      = "InstallFailed"
	UpgradeSucceededReason   = "UpgradeSucceeded"
	UpgradeFailedReason      = "UpgradeFailed"
	RollbackSucceededReason  = "RollbackSucceeded"
	RollbackFailedReason     = "RollbackFailed"
	UninstallSucceededReason = "UninstallSucceeded"
	UninstallFailedReason    = "UninstallFailed"

	AwaitingTestsReason = "AwaitingTests"
	TestSucceededReason = "TestSucceeded"
	TestFailedReason    = "TestFailed"

	PendingReleaseReason        = "PendingRelease"
	RetriesExceededReason       = "RetriesExceeded"
	MissingRollbackTargetReason = "MissingRollbackTarget"
	NamespaceCheckSkippedReason = "NamespaceCheckSkipped"
	InventoryBuildFailedReason  = "InventoryBuildFailed"

	DriftDetectedReason         = "DriftDetected"
	NoDriftDetectedReason       = "NoDriftDetected"
	DriftCorrectedReason        = "DriftCorrected"
	DriftCorrectionFailedReason = "DriftCorrectionFailed"

	SourceNotReadyReason       = "SourceNotReady"
	ValuesErrorReason          = "ValuesError"
	ChartMutateErrorReason     = "ChartMutateError"
	RESTClientErrorReason      = "RESTClientError"
	ResourceManagerErrorReason = "ResourceManagerError"
	StateErrorReason           = "StateError"

	HelmChartCreatedReason    = "HelmChartCreated"
	HelmChartConfiguredReason = "HelmChartConfigured"
	HelmChartDeletedReason    = "HelmChartDeleted"
	HelmChartSyncErrorReason  = "HelmChartSyncErr"
)

// Defaults of a HelmRelease.
const (
	// DefaultTimeout bounds each Kubernetes operation of a Helm action.
	DefaultTimeout = 5 * time.Minute

	// DefaultMaxHistory is the number of revisions that Helm keeps.
	DefaultMaxHistory = 5

	// DefaultRetryInterval is the time to the next attempt with StrategyRetryOnFailure.
	DefaultRetryInterval = 5 * time.Minute

	// MaxReleaseNameLength is what Helm takes.
	MaxReleaseNameLength = 53
)
