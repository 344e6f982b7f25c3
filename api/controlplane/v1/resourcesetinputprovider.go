package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// ResourceSetInputProviderKind is the kind of a ResourceSetInputProvider.
const ResourceSetInputProviderKind = "ResourceSetInputProvider"

// Types of provider: where the inputs come from.
const (
	InputProviderStatic                   = "Static"
	InputProviderGitHubBranch             = "GitHubBranch"
	InputProviderGitHubTag                = "GitHubTag"
	InputProviderGitHubPullRequest        = "GitHubPullRequest"
	InputProviderGitLabBranch             = "GitLabBranch"
	InputProviderGitLabTag                = "GitLabTag"
	InputProviderGitLabMergeRequest       = "GitLabMergeRequest"
	InputProviderGitLabEnvironment        = "GitLabEnvironment"
	InputProviderAzureDevOpsBranch        = "AzureDevOpsBranch"
	InputProviderAzureDevOpsTag           = "AzureDevOpsTag"
	InputProviderAzureDevOpsPullRequest   = "AzureDevOpsPullRequest"
	InputProviderAWSCodeCommitBranch      = "AWSCodeCommitBranch"
	InputProviderAWSCodeCommitTag         = "AWSCodeCommitTag"
	InputProviderAWSCodeCommitPullRequest = "AWSCodeCommitPullRequest"
	InputProviderGiteaBranch              = "GiteaBranch"
	InputProviderGiteaTag                 = "GiteaTag"
	InputProviderGiteaPullRequest         = "GiteaPullRequest"
	InputProviderOCIArtifactTag           = "OCIArtifactTag"
	InputProviderACRArtifactTag           = "ACRArtifactTag"
	InputProviderECRArtifactTag           = "ECRArtifactTag"
	InputProviderGARArtifactTag           = "GARArtifactTag"
	InputProviderExternalService          = "ExternalService"
	InputProviderExternalArtifact         = "ExternalArtifact"
)

// Defaults of a ResourceSetInputProvider.
const (
	// DefaultFilterLimit is the number of inputs that are exported at most.
	DefaultFilterLimit = 100

	// DefaultTimeZone is the time zone of a schedule.
	DefaultTimeZone = "UTC"

	// AllNamespaces, in a selector, selects ExternalArtifacts in every namespace.
	AllNamespaces = "*"
)

// ResourceSetInputProvider exports inputs for ResourceSets: branches, tags, change requests and more.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=rsip,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type ResourceSetInputProvider struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ResourceSetInputProviderSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +optional
	Status ResourceSetInputProviderStatus `json:"status,omitzero"`
}

// ResourceSetInputProviderList is a list of ResourceSetInputProviders.
//
// +kubebuilder:object:root=true
type ResourceSetInputProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []ResourceSetInputProvider `json:"items"`
}

// ResourceSetInputProviderSpec says where to look for inputs, and which to export.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'Static' || !has(self.url)",message="spec.url must be empty when spec.type is 'Static'"
// +kubebuilder:validation:XValidation:rule="self.type != 'ExternalArtifact' || !has(self.url)",message="spec.url must be empty when spec.type is 'ExternalArtifact'"
// +kubebuilder:validation:XValidation:rule="self.type == 'Static' || self.type == 'ExternalArtifact' || has(self.url)",message="spec.url must not be empty when spec.type is not 'Static' or 'ExternalArtifact'"
// +kubebuilder:validation:XValidation:rule="!self.type.startsWith('Git') || self.url.startsWith('http')",message="spec.url must start with 'http://' or 'https://' when spec.type is a Git provider"
// +kubebuilder:validation:XValidation:rule="!self.type.startsWith('AzureDevOps') || self.url.startsWith('http://') || self.url.startsWith('https://')",message="spec.url must start with 'http://' or 'https://' when spec.type is an AzureDevOps provider"
// +kubebuilder:validation:XValidation:rule="!self.type.startsWith('AWSCodeCommit') || self.url.startsWith('https://')",message="spec.url must start with 'https://' when spec.type is a AWSCodeCommit provider"
// +kubebuilder:validation:XValidation:rule="!self.type.endsWith('ArtifactTag') || self.url.startsWith('oci')",message="spec.url must start with 'oci://' when spec.type is an OCI provider"
// +kubebuilder:validation:XValidation:rule="!self.type.endsWith('ArtifactTag') || !self.url.startsWith('oci://') || self.url.substring(6).contains('/')",message="spec.url must include the repository path after the registry host when spec.type is an OCI provider"
// +kubebuilder:validation:XValidation:rule="self.type != 'ExternalService' || self.url.startsWith('http')",message="spec.url must start with 'http://' or 'https://' when spec.type is 'ExternalService'"
// +kubebuilder:validation:XValidation:rule="!has(self.insecure) || !self.insecure || self.type == 'ExternalService' || self.type == 'OCIArtifactTag'",message="spec.insecure can only be set when spec.type is 'ExternalService' or 'OCIArtifactTag'"
// +kubebuilder:validation:XValidation:rule="self.type != 'ExternalService' || !self.url.startsWith('http://') || (has(self.insecure) && self.insecure)",message="spec.url must use 'https://' unless spec.insecure is true"
// +kubebuilder:validation:XValidation:rule="!has(self.serviceAccountName) || self.type.startsWith('AzureDevOps') || self.type.startsWith('AWSCodeCommit') || self.type.endsWith('ArtifactTag') || self.type == 'ExternalArtifact'",message="cannot specify spec.serviceAccountName when spec.type is not one of AzureDevOps*, AWSCodeCommit*, *ArtifactTag or ExternalArtifact"
// +kubebuilder:validation:XValidation:rule="!has(self.certSecretRef) || !(self.type == 'Static' || self.type == 'ExternalArtifact' || self.type.startsWith('AzureDevOps') || self.type.startsWith('AWSCodeCommit') || (self.type.endsWith('ArtifactTag') && self.type != 'OCIArtifactTag'))",message="cannot specify spec.certSecretRef when spec.type is one of Static, ExternalArtifact, AzureDevOps*, AWSCodeCommit*, ACRArtifactTag, ECRArtifactTag or GARArtifactTag"
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || !(self.type == 'Static' || self.type == 'ExternalArtifact' || self.type.startsWith('AWSCodeCommit') || (self.type.endsWith('ArtifactTag') && self.type != 'OCIArtifactTag'))",message="cannot specify spec.secretRef when spec.type is one of Static, ExternalArtifact, AWSCodeCommit*, ACRArtifactTag, ECRArtifactTag or GARArtifactTag"
// +kubebuilder:validation:XValidation:rule="self.type != 'ExternalArtifact' || (has(self.selectors) && size(self.selectors) > 0)",message="spec.selectors must be set when spec.type is 'ExternalArtifact'"
// +kubebuilder:validation:XValidation:rule="self.type == 'ExternalArtifact' || !has(self.selectors)",message="spec.selectors must not be set when spec.type is not 'ExternalArtifact'"
type ResourceSetInputProviderSpec struct {
	// Type says where the inputs come from.
	// +kubebuilder:validation:Enum=Static;GitHubBranch;GitHubTag;GitHubPullRequest;GitLabBranch;GitLabTag;GitLabMergeRequest;GitLabEnvironment;AzureDevOpsBranch;AzureDevOpsTag;AzureDevOpsPullRequest;AWSCodeCommitBranch;AWSCodeCommitTag;AWSCodeCommitPullRequest;GiteaBranch;GiteaTag;GiteaPullRequest;OCIArtifactTag;ACRArtifactTag;ECRArtifactTag;GARArtifactTag;ExternalService;ExternalArtifact
	// +required
	Type string `json:"type"`

	// URL of the repository or service. Required, except for types Static and ExternalArtifact, which have none.
	// +kubebuilder:validation:Pattern=`^((http|https|oci)://.*){0,1}$`
	// +optional
	URL string `json:"url,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, as which to authenticate with the cloud provider,
	// or to read ExternalArtifacts.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// SecretRef names a Secret with the credentials: username and password, the keys of a GitHub App, a token, or a Docker configuration.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// CertSecretRef names a Secret with TLS keys: ca.crt, and tls.crt with tls.key for mutual TLS.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`

	// Insecure talks HTTP. Types ExternalService and OCIArtifactTag only.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// DefaultValues are added to every input that lacks them.
	// +optional
	DefaultValues ResourceSetInput `json:"defaultValues,omitempty"`

	// Filter says which inputs to export.
	// +optional
	Filter *InputProviderFilter `json:"filter,omitempty"`

	// Skip says which inputs not to update.
	// +optional
	Skip *InputProviderSkip `json:"skip,omitempty"`

	// Schedule says when to look for inputs. Without it, that is at every interval.
	// +optional
	Schedule []Schedule `json:"schedule,omitempty"`

	// Selectors select ExternalArtifacts. Required for type ExternalArtifact, and for no other.
	// +optional
	Selectors []ArtifactSelector `json:"selectors,omitempty"`
}

// InputProviderFilter says which inputs to export. The patterns are regular expressions in RE2 syntax.
type InputProviderFilter struct {
	// IncludeBranch is a pattern that branches have to match.
	// +optional
	IncludeBranch string `json:"includeBranch,omitempty"`

	// ExcludeBranch is a pattern that branches must not match.
	// +optional
	ExcludeBranch string `json:"excludeBranch,omitempty"`

	// IncludeTag is a pattern that tags have to match.
	// +optional
	IncludeTag string `json:"includeTag,omitempty"`

	// ExcludeTag is a pattern that tags must not match.
	// +optional
	ExcludeTag string `json:"excludeTag,omitempty"`

	// IncludeEnvironment is a pattern that environments have to match.
	// +optional
	IncludeEnvironment string `json:"includeEnvironment,omitempty"`

	// ExcludeEnvironment is a pattern that environments must not match.
	// +optional
	ExcludeEnvironment string `json:"excludeEnvironment,omitempty"`

	// Labels that change requests must have.
	// +optional
	Labels []string `json:"labels,omitempty"`

	// Limit is the number of inputs that are exported at most. Defaults to 100.
	// +kubebuilder:validation:Maximum=10000
	// +kubebuilder:default=100
	// +optional
	Limit int `json:"limit,omitempty"`

	// Semver is a range that tags have to be in. They are then exported from the highest version down.
	// +optional
	Semver string `json:"semver,omitempty"`
}

// InputProviderSkip says for which change requests to export again what was exported before.
type InputProviderSkip struct {
	// Labels of the change request. One that begins with an exclamation mark is a label that it lacks.
	// +optional
	Labels []string `json:"labels,omitempty"`
}

// Schedule is a series of times, or of windows of time.
type Schedule struct {
	// Cron is a cron expression.
	// +required
	Cron string `json:"cron"`

	// TimeZone of Cron, an IANA name. Defaults to UTC.
	// +kubebuilder:default=UTC
	// +optional
	TimeZone string `json:"timeZone,omitempty"`

	// Window is how long it is open after each of the times. Defaults to 0s: once, at each of them.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="0s"
	// +optional
	Window metav1.Duration `json:"window,omitzero"`
}

// ArtifactSelector selects ExternalArtifacts, by name or by label.
//
// +structType=atomic
// +kubebuilder:validation:XValidation:rule="!has(self.name) || (!has(self.matchLabels) && !has(self.matchExpressions))",message="name is mutually exclusive with matchLabels and matchExpressions"
type ArtifactSelector struct {
	metav1.LabelSelector `json:",inline"`

	// Name of the ExternalArtifact.
	// +optional
	Name string `json:"name,omitempty"`

	// Namespace of the ExternalArtifacts; an asterisk means all. Defaults to the namespace of the provider.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// ResourceSetInputProviderStatus is what was exported, and how it went.
type ResourceSetInputProviderStatus struct {
	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// LastHandledForceAt is the last value of the annotation reconcile.fluxcd.io/forceAt that was acted on.
	// +optional
	LastHandledForceAt string `json:"lastHandledForceAt,omitempty"`

	// Conditions of the ResourceSetInputProvider.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ExportedInputs are the inputs.
	// +optional
	ExportedInputs []ResourceSetInput `json:"exportedInputs,omitempty"`

	// LastExportedRevision is the digest of the inputs, as sha256:<checksum>.
	// +optional
	LastExportedRevision string `json:"lastExportedRevision,omitempty"`

	// NextSchedule is when the provider looks for inputs again.
	// +optional
	NextSchedule *NextSchedule `json:"nextSchedule,omitempty"`
}

// NextSchedule is one time of a Schedule.
type NextSchedule struct {
	Schedule `json:",inline"`

	// When is the time.
	// +required
	When metav1.Time `json:"when"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *ResourceSetInputProvider) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether ReconcileAnnotation is set to disabled.
func (in *ResourceSetInputProvider) Suspended() bool {
	return meta.Disabled(in.Annotations, ReconcileAnnotation)
}

// GetInterval returns the interval between reconciles: ReconcileEveryAnnotation, or DefaultInputProviderInterval.
func (in *ResourceSetInputProvider) GetInterval() time.Duration {
	return durationFrom(in.Annotations, ReconcileEveryAnnotation, DefaultInputProviderInterval)
}

// GetTimeout returns the timeout of a look for inputs: ReconcileTimeoutAnnotation, or DefaultInputProviderTimeout.
func (in *ResourceSetInputProvider) GetTimeout() time.Duration {
	return durationFrom(in.Annotations, ReconcileTimeoutAnnotation, DefaultInputProviderTimeout)
}

// GetLimit returns the number of inputs to export at most: DefaultFilterLimit, unless the spec sets one.
func (in *ResourceSetInputProvider) GetLimit() int {
	if in.Spec.Filter == nil || in.Spec.Filter.Limit == 0 {
		return DefaultFilterLimit
	}

	return in.Spec.Filter.Limit
}

// GetTimeZone returns the time zone of Cron: DefaultTimeZone, unless one is set.
func (in *Schedule) GetTimeZone() string { return cmp.Or(in.TimeZone, DefaultTimeZone) }
