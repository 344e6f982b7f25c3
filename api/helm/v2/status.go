package v2

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// Actions that a snapshot or the status names.
const (
	ActionInstall              = "install"
	ActionUpgrade              = "upgrade"
	ActionRollback             = "rollback"
	ActionUninstall            = "uninstall"
	ActionUninstallRemediation = "uninstall-remediation"
)

// SnapshotAPIVersion marks how the digest of a Snapshot is made. That of any other version cannot be verified.
const SnapshotAPIVersion = "v2"

// HelmReleaseStatus is what was released, and how it went.
type HelmReleaseStatus struct {
	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions of the HelmRelease.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// LastAttemptedReleaseAction is the last install or upgrade that was tried. It says whose remediation counts.
	// +kubebuilder:validation:Enum=install;upgrade
	// +optional
	LastAttemptedReleaseAction string `json:"lastAttemptedReleaseAction,omitempty"`

	// LastAttemptedReleaseActionDuration is how long it took.
	// +kubebuilder:validation:Type=string
	// +optional
	LastAttemptedReleaseActionDuration *metav1.Duration `json:"lastAttemptedReleaseActionDuration,omitempty"`

	// Failures is the number of failed reconciles since the spec, chart or values changed, or one succeeded.
	// +optional
	Failures int64 `json:"failures,omitempty"`

	// InstallFailures is the number of failed installs since then.
	// +optional
	InstallFailures int64 `json:"installFailures,omitempty"`

	// UpgradeFailures is the number of failed upgrades since then.
	// +optional
	UpgradeFailures int64 `json:"upgradeFailures,omitempty"`

	// HelmChart is the HelmChart that was made, as <namespace>/<name>.
	// +optional
	HelmChart string `json:"helmChart,omitempty"`

	// StorageNamespace is where the records of Helm are.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	StorageNamespace string `json:"storageNamespace,omitempty"`

	// History of the releases, newest first.
	// +optional
	History Snapshots `json:"history,omitempty"`

	// Inventory lists the objects of the release and the CRDs of the chart, without hooks.
	// +optional
	Inventory *meta.ResourceInventory `json:"inventory,omitempty"`

	// LastAttemptedGeneration is the generation that was last tried.
	// +optional
	LastAttemptedGeneration int64 `json:"lastAttemptedGeneration,omitempty"`

	// LastAttemptedRevision is the version of the chart that was last tried. For a chart from an OCIRepository it ends
	// with a plus sign and twelve digits of the digest.
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`

	// LastAttemptedRevisionDigest is the digest of that chart, if it came from an OCIRepository.
	// +optional
	LastAttemptedRevisionDigest string `json:"lastAttemptedRevisionDigest,omitempty"`

	// LastAttemptedConfigDigest is the digest of the values that were last tried.
	// +optional
	LastAttemptedConfigDigest string `json:"lastAttemptedConfigDigest,omitempty"`

	// LastAttemptedValuesChecksum was written by old versions; it is emptied.
	// +optional
	LastAttemptedValuesChecksum string `json:"lastAttemptedValuesChecksum,omitempty"`

	// LastReleaseRevision was written by old versions; it is emptied.
	// +optional
	LastReleaseRevision int `json:"lastReleaseRevision,omitempty"`

	// ObservedPostRenderersDigest is the digest of the spec.postRenderers that was last released.
	// +optional
	ObservedPostRenderersDigest string `json:"observedPostRenderersDigest,omitempty"`

	// ObservedCommonMetadataDigest is the digest of the spec.commonMetadata that was last released.
	// +optional
	ObservedCommonMetadataDigest string `json:"observedCommonMetadataDigest,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// LastHandledForceAt is the last value of the annotation reconcile.fluxcd.io/forceAt that was acted on.
	// +optional
	LastHandledForceAt string `json:"lastHandledForceAt,omitempty"`

	// LastHandledResetAt is the last value of the annotation reconcile.fluxcd.io/resetAt that was acted on.
	// +optional
	LastHandledResetAt string `json:"lastHandledResetAt,omitempty"`
}

// Snapshot records one release.
type Snapshot struct {
	// APIVersion says how Digest is made.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Digest of what Helm has stored of the release, as <algorithm>:<checksum>.
	// +required
	Digest string `json:"digest"`

	// Action that the record is of.
	// +optional
	Action string `json:"action,omitempty"`

	// Name of the release.
	// +required
	Name string `json:"name"`

	// Namespace of the release.
	// +required
	Namespace string `json:"namespace"`

	// Version is the revision that Helm gave to the release.
	// +required
	Version int `json:"version"`

	// Status that Helm gave to the release.
	// +required
	Status string `json:"status"`

	// ChartName is the name of the chart.
	// +required
	ChartName string `json:"chartName"`

	// ChartVersion is the version of the chart.
	// +required
	ChartVersion string `json:"chartVersion"`

	// AppVersion is the version of the application in the chart.
	// +optional
	AppVersion string `json:"appVersion,omitempty"`

	// ConfigDigest is the digest of the values, as <algorithm>:<checksum>.
	// +required
	ConfigDigest string `json:"configDigest"`

	// FirstDeployed is when the release was first deployed.
	// +required
	FirstDeployed metav1.Time `json:"firstDeployed"`

	// LastDeployed is when the release was last deployed.
	// +required
	LastDeployed metav1.Time `json:"lastDeployed"`

	// Deleted is when the release was deleted.
	// +optional
	Deleted *metav1.Time `json:"deleted,omitempty"`

	// TestHooks are the tests of the release, by name. Nil means that they were not run; an empty map, which the wire
	// format keeps, that there were none to run.
	// +optional
	TestHooks map[string]TestHookStatus `json:"testHooks,omitzero"`

	// OCIDigest is the digest of the chart, if it came from an OCIRepository.
	// +optional
	OCIDigest string `json:"ociDigest,omitempty"`
}

// TestHookStatus is how a test went.
type TestHookStatus struct {
	// LastStarted is when the test was started.
	// +optional
	LastStarted *metav1.Time `json:"lastStarted,omitempty"`

	// LastCompleted is when the test ended.
	// +optional
	LastCompleted *metav1.Time `json:"lastCompleted,omitempty"`

	// Phase is how it ended.
	// +optional
	Phase string `json:"phase,omitempty"`
}

// Snapshots is a history, newest first.
type Snapshots []Snapshot

// Latest returns the newest snapshot, or nil if there is none.
func (in Snapshots) Latest() *Snapshot {
	if len(in) == 0 {
		return nil
	}

	return &in[0]
}

// FullReleaseName returns <namespace>/<name>.v<version> of the release.
func (in *Snapshot) FullReleaseName() string {
	return fmt.Sprintf("%s/%s.v%d", in.Namespace, in.Name, in.Version)
}

// VersionedChartName returns <name>@<version> of the chart.
func (in *Snapshot) VersionedChartName() string {
	return in.ChartName + "@" + in.ChartVersion
}
