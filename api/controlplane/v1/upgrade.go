package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UpgradedCondition tells how the last change of the revision went: True, if it runs; Unknown while it is under way or waits for a window or
// an approval; False, if it failed. It is there once the first revision was applied.
const UpgradedCondition = "Upgraded"

// Reasons of UpgradedCondition.
const (
	// UpgradeSucceededReason says that the revision runs.
	UpgradeSucceededReason = "UpgradeSucceeded"

	// UpgradeProgressingReason says that it is being applied, awaited or soaked.
	UpgradeProgressingReason = "UpgradeProgressing"

	// UpgradeWindowReason says that it waits for a maintenance window.
	UpgradeWindowReason = "WaitingForWindow"

	// UpgradeApprovalReason says that its plan waits for approval.
	UpgradeApprovalReason = "WaitingForApproval"

	// UpgradeRollingBackReason says that it failed, and that the last good revision is on its way back.
	UpgradeRollingBackReason = "RollingBack"

	// UpgradeRolledBackReason says that it failed, and that the last good revision runs.
	UpgradeRolledBackReason = "RolledBack"

	// UpgradeFailedReason says that it failed, and that there is nothing to go back to, or that going back is switched off or failed.
	UpgradeFailedReason = "UpgradeFailed"
)

// ApprovedPlanAnnotation on a FluxInstance with spec.upgrade.mode Manual has the digest of the plan that may be applied.
const ApprovedPlanAnnotation = "fluxcd.controlplane.io/approved-plan"

// Values of spec.upgrade.mode.
const (
	// UpgradeAutomatic changes the revision without asking.
	UpgradeAutomatic = "Automatic"

	// UpgradeManual waits for the approval of each plan.
	UpgradeManual = "Manual"
)

// Upgrade says when and how the instance gets from one revision to the next.
type Upgrade struct {
	// Mode says whether a new revision waits for approval: Automatic, the default, does not; Manual does. Then what would change is written to
	// the ConfigMap flux-plan, and done when the annotation fluxcd.controlplane.io/approved-plan has the digest of that plan. The first
	// revision of an instance waits for nobody.
	// +kubebuilder:validation:Enum=Automatic;Manual
	// +kubebuilder:default=Automatic
	// +optional
	Mode string `json:"mode,omitempty"`

	// Windows are when the release, which is the version, its artifact and its images, may change. Changes of the spec that stay within the
	// release do not wait for one. Defaults to any time.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Windows []UpgradeWindow `json:"windows,omitempty"`

	// Timeout is how long a new revision may take until all of its objects are healthy. Defaults to the annotation
	// fluxcd.controlplane.io/reconcileTimeout, and that to 5 minutes.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Soak is how long a new revision has to stay healthy before it counts as good. Defaults to none.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +optional
	Soak *metav1.Duration `json:"soak,omitempty"`

	// Rollback brings the last good revision back when a new one fails. A revision that failed is tried again when the spec, the artifact or
	// the annotation reconcile.fluxcd.io/requestedAt has changed. Defaults to true.
	// +kubebuilder:default=true
	// +optional
	Rollback *bool `json:"rollback,omitempty"`

	// Operator says whether the Deployment of the operator follows the release, as the last part of an upgrade: Follow, the default; or Report,
	// which only says that there is a newer one, as is always done where OLM, Helm or another manager owns the Deployment.
	// +kubebuilder:validation:Enum=Follow;Report
	// +kubebuilder:default=Follow
	// +optional
	Operator string `json:"operator,omitempty"`
}

// UpgradeWindow is a time that comes again and again.
type UpgradeWindow struct {
	// Schedule says when it opens, as five fields of cron: minute, hour, day of the month, month and day of the week.
	// +kubebuilder:validation:MinLength=1
	// +required
	Schedule string `json:"schedule"`

	// TimeZone of the schedule, as named by the IANA database. Defaults to UTC.
	// +kubebuilder:default="UTC"
	// +optional
	TimeZone string `json:"timeZone,omitempty"`

	// Duration is how long it stays open. What was begun in it is brought to its end.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +required
	Duration metav1.Duration `json:"duration"`
}

// Values of spec.upgrade.operator.
const (
	// OperatorFollows lets the operator's own Deployment follow the release.
	OperatorFollows = "Follow"

	// OperatorReports leaves it alone.
	OperatorReports = "Report"
)

// Pruning says what goes when parts are taken out of the spec. What it does not say stays.
type Pruning struct {
	// Definitions deletes the custom resource definitions of components that are no longer wanted, and with them all objects of their
	// kinds. Defaults to false.
	// +optional
	Definitions bool `json:"definitions,omitempty"`

	// Synced deletes what the Kustomization of a sync has deployed, when the sync is taken out. Defaults to false.
	// +optional
	Synced bool `json:"synced,omitempty"`
}

// Phases of an upgrade.
const (
	UpgradePhasePending     = "Pending"     // waits for a window or an approval
	UpgradePhaseApplying    = "Applying"    // objects are being applied
	UpgradePhaseWaiting     = "Waiting"     // they are to become healthy
	UpgradePhaseSoaking     = "Soaking"     // they are to stay so
	UpgradePhaseRollingBack = "RollingBack" // the last good revision is on its way back
	UpgradePhaseSucceeded   = "Succeeded"   // the revision runs
	UpgradePhaseRolledBack  = "RolledBack"  // the last good revision runs
	UpgradePhaseFailed      = "Failed"      // neither does
)

// UpgradeStatus is the last change of the revision. It is how an operator that was started anew goes on where the one before it was stopped.
type UpgradeStatus struct {
	// Phase that it is in.
	// +kubebuilder:validation:Enum=Pending;Applying;Waiting;Soaking;RollingBack;Succeeded;RolledBack;Failed
	// +required
	Phase string `json:"phase"`

	// From is the last good revision, and empty for the first.
	// +optional
	From string `json:"from,omitempty"`

	// To is the revision that is wanted.
	// +required
	To string `json:"to"`

	// Attempt identifies what it was begun with: the spec and the request. The revision is tried again when it changes.
	// +optional
	Attempt string `json:"attempt,omitempty"`

	// Plan is the digest of the plan that waits for approval, or was approved.
	// +optional
	Plan string `json:"plan,omitempty"`

	// NextWindow is when the next maintenance window opens, if it waits for one.
	// +optional
	NextWindow *metav1.Time `json:"nextWindow,omitempty"`

	// StartedAt is when the phase Applying began.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// HealthyAt is when all objects were healthy.
	// +optional
	HealthyAt *metav1.Time `json:"healthyAt,omitempty"`

	// FinishedAt is when the last phase was reached.
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`

	// Message says why it failed, or what it waits for.
	// +optional
	Message string `json:"message,omitempty"`
}

// OperatorStatus is the operator's own Deployment.
type OperatorStatus struct {
	// Image that it runs.
	// +optional
	Image string `json:"image,omitempty"`

	// Available is the image of the release, if it is another one.
	// +optional
	Available string `json:"available,omitempty"`

	// ManagedBy says who upgrades it: Weir, OLM, Helm or the name of another manager.
	// +optional
	ManagedBy string `json:"managedBy,omitempty"`

	// Failed is the last image that did not come up.
	// +optional
	Failed string `json:"failed,omitempty"`

	// Attempt identifies what the last image was tried with: the spec and the request. It is tried again when it changes.
	// +optional
	Attempt string `json:"attempt,omitempty"`

	// StartedAt is when the Deployment was given the available image, while that is on its way.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
}
