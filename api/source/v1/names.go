package v1

import "time"

// DefaultTimeout bounds an operation on a source that sets no timeout.
const DefaultTimeout = 60 * time.Second

// Reasons of the artifact storage, given by every kind that stores.
const (
	DirCreationFailedReason          = "DirectoryCreationFailed"
	StatOperationFailedReason        = "StatOperationFailed"
	InvalidPathReason                = "InvalidPath"
	AcquireLockFailedReason          = "AcquireLockFailed"
	ArchiveOperationFailedReason     = "ArchiveOperationFailed"
	SymlinkUpdateFailedReason        = "SymlinkUpdateFailed"
	CacheOperationFailedReason       = "CacheOperationFailed"
	GarbageCollectionSucceededReason = "GarbageCollectionSucceeded"
	GarbageCollectionFailedReason    = "GarbageCollectionFailed"
	ArtifactVerificationFailedReason = "ArtifactVerificationFailed"
	ArtifactUpToDateReason           = "ArtifactUpToDate"
	NewArtifactReason                = "NewArtifact"
	SourceIgnoreErrorReason          = "SourceIgnoreError"
)

// Reasons that several kinds of source give.
const (
	URLInvalidReason        = "URLInvalid"
	VerificationErrorReason = "VerificationError"
	NewRevisionReason       = "NewRevision"
)

// Reasons that a GitRepository gives.
const (
	EmptyGitRepositoryReason           = "EmptyGitRepository"
	InvalidProviderConfigurationReason = "InvalidProviderConfiguration"
	InvalidVerificationModeReason      = "InvalidVerificationMode"
	InvalidGitObjectReason             = "InvalidGitObject"
	InvalidTagSignatureReason          = "InvalidTagSignature"
	InvalidCommitSignatureReason       = "InvalidCommitSignature"
	NotFoundReason                     = "NotFound"
	NoArtifactReason                   = "NoArtifact"
	IllegalPathReason                  = "IllegalPath"
	CopyFailureReason                  = "CopyFailure"
	IncludeChangeReason                = "IncludeChange"
)

// Reasons that an OCIRepository gives.
const (
	OCIPullFailedReason           = "OCIArtifactPullFailed"
	OCILayerOperationFailedReason = "OCIArtifactLayerOperationFailed"
)

// IndexationFailedReason says that the index of a HelmRepository could not be read.
const IndexationFailedReason = "IndexationFailed"

// Reasons that a HelmChart gives.
const (
	SourceUnavailableReason      = "SourceUnavailable"
	NoSourceArtifactReason       = "NoSourceArtifact"
	UnsupportedSourceKindReason  = "UnsupportedSourceKind"
	ChartPullSucceededReason     = "ChartPullSucceeded"
	ChartPackageSucceededReason  = "ChartPackageSucceeded"
	InvalidChartReferenceReason  = "InvalidChartReference"
	ChartPullErrorReason         = "ChartPullError"
	MetadataPatchErrorReason     = "MetadataPatchError"
	ValuesFilesErrorReason       = "ValuesFilesError"
	DependencyBuildErrorReason   = "DependencyBuildError"
	ChartPackageErrorReason      = "ChartPackageError"
	ChartVerificationErrorReason = "ChartVerificationError"
	UnknownReason                = "Unknown"
	NewChartReason               = "NewChart"
	ResolvedDependenciesReason   = "ResolvedDependencies"
)

// Reasons that a Bucket gives.
const (
	BucketOperationFailedReason   = "BucketOperationFailed"
	InvalidSTSConfigurationReason = "InvalidSTSConfiguration"
)
