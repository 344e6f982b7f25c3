package meta

// Condition types. Ready, Reconciling and Stalled follow kstatus; the others are set by some kinds only.
const (
	// ReadyCondition summarises the last reconcile.
	ReadyCondition = "Ready"

	// ReconcilingCondition is True while the object is on its way to the desired state, and absent otherwise.
	ReconcilingCondition = "Reconciling"

	// StalledCondition is True when no further attempt is made until something changes, and absent otherwise.
	StalledCondition = "Stalled"

	// HealthyCondition tells whether the applied objects passed their health checks.
	HealthyCondition = "Healthy"

	// ArtifactInStorageCondition is True when the artifact in the status can be fetched.
	ArtifactInStorageCondition = "ArtifactInStorage"

	// ArtifactOutdatedCondition is True when upstream has moved on from the artifact in the status.
	ArtifactOutdatedCondition = "ArtifactOutdated"

	// SourceVerifiedCondition tells whether the signature of the source was verified.
	SourceVerifiedCondition = "SourceVerified"

	// FetchFailedCondition is True when the last attempt to fetch from upstream failed.
	FetchFailedCondition = "FetchFailed"

	// BuildFailedCondition is True when an artifact could not be built from what was fetched.
	BuildFailedCondition = "BuildFailed"

	// StorageOperationFailedCondition is True when the artifact storage could not be read or written.
	StorageOperationFailedCondition = "StorageOperationFailed"

	// IncludeUnavailableCondition is True when an included source has no artifact.
	IncludeUnavailableCondition = "IncludeUnavailable"
)

// Reasons that several kinds give, in conditions and in events.
const (
	SucceededReason             = "Succeeded"
	FailedReason                = "Failed"
	FailureReason               = "Failure"
	ProgressingReason           = "Progressing"
	ProgressingWithRetryReason  = "ProgressingWithRetry"
	DependencyNotReadyReason    = "DependencyNotReady"
	AccessDeniedReason          = "AccessDenied"
	ValidationFailedReason      = "ValidationFailed"
	InvalidCELExpressionReason  = "InvalidCELExpression"
	FeatureGateDisabledReason   = "FeatureGateDisabled"
	PatchOperationFailedReason  = "PatchOperationFailed"
	AuthenticationFailedReason  = "AuthenticationFailed"
	ReadOperationFailedReason   = "ReadOperationFailed"
	GitOperationFailedReason    = "GitOperationFailed"
	GitOperationSucceededReason = "GitOperationSucceeded"

	ReconciliationSucceededReason = "ReconciliationSucceeded"
	ReconciliationFailedReason    = "ReconciliationFailed"
	ReconciliationDisabledReason  = "ReconciliationDisabled"
	ArtifactFailedReason          = "ArtifactFailed"
	BuildFailedReason             = "BuildFailed"
	PruneFailedReason             = "PruneFailed"
	HealthCheckFailedReason       = "HealthCheckFailed"
	HealthCheckCanceledReason     = "HealthCheckCanceled"
)
