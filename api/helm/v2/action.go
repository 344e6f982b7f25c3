package v2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What an action does with the CRDs of a chart.
const (
	// CRDsSkip leaves them out.
	CRDsSkip = "Skip"

	// CRDsCreate creates those that do not exist.
	CRDsCreate = "Create"

	// CRDsCreateReplace creates them, and replaces those that exist.
	CRDsCreateReplace = "CreateReplace"
)

// Whether an upgrade or rollback is applied on the server.
const (
	ServerSideApplyEnabled  = "enabled"
	ServerSideApplyDisabled = "disabled"

	// ServerSideApplyAuto does as the release before did.
	ServerSideApplyAuto = "auto"
)

// What is done when an install or upgrade fails.
const (
	// StrategyRemediateOnFailure remediates, and retries as often as the remediation says.
	StrategyRemediateOnFailure = "RemediateOnFailure"

	// StrategyRetryOnFailure retries by upgrading, without end.
	StrategyRetryOnFailure = "RetryOnFailure"
)

// How a failed upgrade is remediated.
const (
	RemediationRollback  = "rollback"
	RemediationUninstall = "uninstall"
)

// What an upgrade does when the name of the chart has changed.
const (
	// ChartNameChangeReinstall uninstalls the release and installs it again.
	ChartNameChangeReinstall = "Reinstall"

	// ChartNameChangeInPlaceUpdate upgrades the release.
	ChartNameChangeInPlaceUpdate = "InPlaceUpdate"
)

// How an uninstall deletes objects that own others.
const (
	DeletionBackground = "background"
	DeletionForeground = "foreground"
	DeletionOrphan     = "orphan"
)

// Install configures the first release.
type Install struct {
	// Timeout of each Kubernetes operation of the action. Defaults to spec.timeout.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Strategy says what to do when it fails. Defaults to RemediateOnFailure.
	// +optional
	Strategy *InstallStrategy `json:"strategy,omitempty"`

	// Remediation says how often to retry; between attempts the release is uninstalled.
	// +optional
	Remediation *InstallRemediation `json:"remediation,omitempty"`

	// DisableTakeOwnership fails on objects that exist and belong to no release, or to another one.
	// +optional
	DisableTakeOwnership bool `json:"disableTakeOwnership,omitempty"`

	// DisableWait does not wait for the objects to be healthy.
	// +optional
	DisableWait bool `json:"disableWait,omitempty"`

	// DisableWaitForJobs does not wait for Jobs to complete.
	// +optional
	DisableWaitForJobs bool `json:"disableWaitForJobs,omitempty"`

	// DisableHooks runs no hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`

	// DisableOpenAPIValidation does not validate the objects against the schema of the Kubernetes API.
	// +optional
	DisableOpenAPIValidation bool `json:"disableOpenAPIValidation,omitempty"`

	// DisableSchemaValidation does not validate the values against the schema of the chart.
	// +optional
	DisableSchemaValidation bool `json:"disableSchemaValidation,omitempty"`

	// Replace takes over the name of a release that was deleted and whose records are kept.
	// +optional
	Replace bool `json:"replace,omitempty"`

	// SkipCRDs has no effect; set CRDs to Skip.
	// +optional
	SkipCRDs bool `json:"skipCRDs,omitempty"`

	// CRDs says what to do with the CRDs of the chart. Defaults to Create.
	// +kubebuilder:validation:Enum=Skip;Create;CreateReplace
	// +optional
	CRDs string `json:"crds,omitempty"`

	// CreateNamespace creates spec.targetNamespace, if it is set and does not exist.
	// +optional
	CreateNamespace bool `json:"createNamespace,omitempty"`

	// ServerSideApply applies on the server. Defaults to true.
	// +optional
	ServerSideApply *bool `json:"serverSideApply,omitempty"`
}

// InstallStrategy says what to do when an install fails.
//
// +kubebuilder:validation:XValidation:rule="!has(self.retryInterval) || self.name != 'RemediateOnFailure'",message=".retryInterval cannot be set when .name is 'RemediateOnFailure'"
type InstallStrategy struct {
	// Name of the strategy.
	// +kubebuilder:validation:Enum=RemediateOnFailure;RetryOnFailure
	// +required
	Name string `json:"name"`

	// RetryInterval is the time to the next attempt with RetryOnFailure. Defaults to 5m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	RetryInterval *metav1.Duration `json:"retryInterval,omitempty"`
}

// InstallRemediation says how to remediate a failed install, which is by uninstalling.
type InstallRemediation struct {
	// Retries is the number of attempts after the first one; a negative number is no limit. Defaults to 0.
	// +optional
	Retries int `json:"retries,omitempty"`

	// IgnoreTestFailures lets tests fail. Defaults to spec.test.ignoreFailures.
	// +optional
	IgnoreTestFailures *bool `json:"ignoreTestFailures,omitempty"`

	// RemediateLastFailure also remediates when no attempt is left. Defaults to false.
	// +optional
	RemediateLastFailure *bool `json:"remediateLastFailure,omitempty"`
}

// Upgrade configures the releases after the first one.
type Upgrade struct {
	// Timeout of each Kubernetes operation of the action. Defaults to spec.timeout.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Strategy says what to do when it fails. Defaults to RemediateOnFailure.
	// +optional
	Strategy *UpgradeStrategy `json:"strategy,omitempty"`

	// Remediation says how often to retry, and what to do between attempts.
	// +optional
	Remediation *UpgradeRemediation `json:"remediation,omitempty"`

	// DisableTakeOwnership fails on objects that exist and belong to no release, or to another one.
	// +optional
	DisableTakeOwnership bool `json:"disableTakeOwnership,omitempty"`

	// DisableWait does not wait for the objects to be healthy.
	// +optional
	DisableWait bool `json:"disableWait,omitempty"`

	// DisableWaitForJobs does not wait for Jobs to complete.
	// +optional
	DisableWaitForJobs bool `json:"disableWaitForJobs,omitempty"`

	// DisableHooks runs no hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`

	// DisableOpenAPIValidation does not validate the objects against the schema of the Kubernetes API.
	// +optional
	DisableOpenAPIValidation bool `json:"disableOpenAPIValidation,omitempty"`

	// DisableSchemaValidation does not validate the values against the schema of the chart.
	// +optional
	DisableSchemaValidation bool `json:"disableSchemaValidation,omitempty"`

	// Force replaces objects that cannot be changed. Without effect if ServerSideApply is in use.
	// +optional
	Force bool `json:"force,omitempty"`

	// PreserveValues starts from the values of the release before, not from those of the chart.
	// +optional
	PreserveValues bool `json:"preserveValues,omitempty"`

	// CleanupOnFail deletes the objects that a failed upgrade has created.
	// +optional
	CleanupOnFail bool `json:"cleanupOnFail,omitempty"`

	// CRDs says what to do with the CRDs of the chart. Defaults to Create.
	// +kubebuilder:validation:Enum=Skip;Create;CreateReplace
	// +optional
	CRDs string `json:"crds,omitempty"`

	// ChartNameChangeStrategy says what to do when the name of the chart has changed. Defaults to Reinstall.
	// +kubebuilder:validation:Enum=InPlaceUpdate;Reinstall
	// +optional
	ChartNameChangeStrategy string `json:"chartNameChangeStrategy,omitempty"`

	// ServerSideApply says whether to apply on the server; auto, the default, does as the release before did.
	// +kubebuilder:validation:Enum=enabled;disabled;auto
	// +optional
	ServerSideApply string `json:"serverSideApply,omitempty"`
}

// UpgradeStrategy says what to do when an upgrade fails.
//
// +kubebuilder:validation:XValidation:rule="!has(self.retryInterval) || self.name == 'RetryOnFailure'",message=".retryInterval can only be set when .name is 'RetryOnFailure'"
type UpgradeStrategy struct {
	// Name of the strategy.
	// +kubebuilder:validation:Enum=RemediateOnFailure;RetryOnFailure
	// +required
	Name string `json:"name"`

	// RetryInterval is the time to the next attempt with RetryOnFailure. Defaults to 5m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	RetryInterval *metav1.Duration `json:"retryInterval,omitempty"`
}

// UpgradeRemediation says how to remediate a failed upgrade.
type UpgradeRemediation struct {
	// Retries is the number of attempts after the first one; a negative number is no limit. Defaults to 0.
	// +optional
	Retries int `json:"retries,omitempty"`

	// IgnoreTestFailures lets tests fail. Defaults to spec.test.ignoreFailures.
	// +optional
	IgnoreTestFailures *bool `json:"ignoreTestFailures,omitempty"`

	// RemediateLastFailure also remediates when no attempt is left. Defaults to true if Retries is positive.
	// +optional
	RemediateLastFailure *bool `json:"remediateLastFailure,omitempty"`

	// Strategy of the remediation. Defaults to rollback.
	// +kubebuilder:validation:Enum=rollback;uninstall
	// +optional
	Strategy string `json:"strategy,omitempty"`
}

// Test configures the tests of the chart.
type Test struct {
	// Enable runs the tests after an install or upgrade.
	// +optional
	Enable bool `json:"enable,omitempty"`

	// Timeout of each Kubernetes operation of the action. Defaults to spec.timeout.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// IgnoreFailures lets tests fail.
	// +optional
	IgnoreFailures bool `json:"ignoreFailures,omitempty"`

	// Filters select tests by name. Without them, all are run.
	// +optional
	Filters []Filter `json:"filters,omitempty"`
}

// Filter selects tests.
type Filter struct {
	// Name of a test.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`

	// Exclude leaves the test out, in place of running it.
	// +optional
	Exclude bool `json:"exclude,omitempty"`
}

// Rollback configures the way back to an earlier release.
type Rollback struct {
	// Timeout of each Kubernetes operation of the action. Defaults to spec.timeout.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// DisableWait does not wait for the objects to be healthy.
	// +optional
	DisableWait bool `json:"disableWait,omitempty"`

	// DisableWaitForJobs does not wait for Jobs to complete.
	// +optional
	DisableWaitForJobs bool `json:"disableWaitForJobs,omitempty"`

	// DisableHooks runs no hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`

	// Recreate has no effect.
	// +optional
	Recreate bool `json:"recreate,omitempty"`

	// Force replaces objects that cannot be changed. Without effect if ServerSideApply is in use.
	// +optional
	Force bool `json:"force,omitempty"`

	// CleanupOnFail deletes the objects that a failed rollback has created.
	// +optional
	CleanupOnFail bool `json:"cleanupOnFail,omitempty"`

	// ServerSideApply says whether to apply on the server; auto, the default, does as the release before did.
	// +kubebuilder:validation:Enum=enabled;disabled;auto
	// +optional
	ServerSideApply string `json:"serverSideApply,omitempty"`
}

// Uninstall configures the end of the release.
type Uninstall struct {
	// Timeout of each Kubernetes operation of the action. Defaults to spec.timeout.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// DisableHooks runs no hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`

	// KeepHistory keeps the records of Helm.
	// +optional
	KeepHistory bool `json:"keepHistory,omitempty"`

	// DisableWait does not wait for the objects to be gone.
	// +optional
	DisableWait bool `json:"disableWait,omitempty"`

	// DeletionPropagation says how to delete objects that own others. Defaults to background.
	// +kubebuilder:validation:Enum=background;foreground;orphan
	// +kubebuilder:default=background
	// +optional
	DeletionPropagation string `json:"deletionPropagation,omitempty"`
}
