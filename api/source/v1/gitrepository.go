package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// GitRepositoryKind is the kind of a GitRepository.
const GitRepositoryKind = "GitRepository"

// DefaultGitBranch is checked out if a GitRepository says nothing else.
const DefaultGitBranch = "master"

// What a GitRepositoryVerification verifies.
const (
	// GitVerifyHEAD verifies the commit.
	GitVerifyHEAD = "HEAD"

	// GitVerifyTag verifies the tag object; it needs a reference to a tag.
	GitVerifyTag = "Tag"

	// GitVerifyTagAndHEAD verifies the tag object and the commit that it points to.
	GitVerifyTagAndHEAD = "TagAndHEAD"

	// GitVerifyLegacyHEAD is an old spelling of GitVerifyHEAD.
	GitVerifyLegacyHEAD = "head"
)

// GitRepository makes an artifact of a revision of a Git repository.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=gitrepo,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type GitRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec GitRepositorySpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status GitRepositoryStatus `json:"status,omitzero"`
}

// GitRepositoryList is a list of GitRepositories.
//
// +kubebuilder:object:root=true
type GitRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []GitRepository `json:"items"`
}

// GitRepositorySpec says what to clone, how often, and what of it goes into the artifact.
//
// +kubebuilder:validation:XValidation:rule="!has(self.serviceAccountName) || (has(self.provider) && (self.provider == 'azure' || self.provider == 'aws'))",message="serviceAccountName can only be set when provider is 'azure' or 'aws'"
type GitRepositorySpec struct {
	// URL of the repository: http, https or ssh.
	// +kubebuilder:validation:Pattern=`^(http|https|ssh)://.*$`
	// +required
	URL string `json:"url"`

	// SecretRef names a Secret with credentials: username and password, or bearerToken, and ca.crt, tls.crt and
	// tls.key for HTTPS; identity, known_hosts and password for SSH; the keys of a GitHub App for provider github.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// Provider of the credentials, if it is not the Secret. Defaults to generic; aws means CodeCommit.
	// +kubebuilder:validation:Enum=generic;aws;azure;github
	// +optional
	Provider string `json:"provider,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, as which to authenticate with the provider.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Interval between looks at the repository.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	Interval metav1.Duration `json:"interval"`

	// Timeout of each Git operation. Defaults to 60s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m))+$`
	// +kubebuilder:default="60s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Reference to check out. Defaults to the branch master.
	// +optional
	Reference *GitRepositoryRef `json:"ref,omitempty"`

	// Verification of signatures. Without it, nothing is verified.
	// +optional
	Verification *GitRepositoryVerification `json:"verify,omitempty"`

	// ProxySecretRef names a Secret with the keys address, username and password of a proxy.
	// +optional
	ProxySecretRef *meta.LocalObjectReference `json:"proxySecretRef,omitempty"`

	// Ignore leaves files out of the artifact, in the syntax of .gitignore. It replaces the built-in rules, except those
	// for the files of Git itself.
	// +optional
	Ignore *string `json:"ignore,omitempty"`

	// Suspend stops fetching. What is stored stays available.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// RecurseSubmodules clones submodules too. Those on the same server get the same credentials.
	// +optional
	RecurseSubmodules bool `json:"recurseSubmodules,omitempty"`

	// Include adds the artifacts of other GitRepositories to this one.
	// +optional
	Include []GitRepositoryInclude `json:"include,omitempty"`

	// SparseCheckout limits the checkout to these directories.
	// +optional
	SparseCheckout []string `json:"sparseCheckout,omitempty"`
}

// GitRepositoryRef names a revision. Of several fields the first of commit, name, tag, semver and branch is used; a
// commit with a branch has to be on that branch.
type GitRepositoryRef struct {
	// Branch to check out.
	// +optional
	Branch string `json:"branch,omitempty"`

	// Tag to check out.
	// +optional
	Tag string `json:"tag,omitempty"`

	// SemVer is a range; the highest version of the tags in it is checked out.
	// +optional
	SemVer string `json:"semver,omitempty"`

	// Name is a full reference, such as refs/pull/1/head.
	// +optional
	Name string `json:"name,omitempty"`

	// Commit is the hash of a commit.
	// +optional
	Commit string `json:"commit,omitempty"`
}

// GitRepositoryVerification says which signatures to verify, and with which keys.
type GitRepositoryVerification struct {
	// Mode says what has to be signed. Defaults to HEAD, of which head is an old spelling.
	// +kubebuilder:validation:Enum=head;HEAD;Tag;TagAndHEAD
	// +kubebuilder:default=HEAD
	// +optional
	Mode string `json:"mode,omitempty"`

	// SecretRef names a Secret with the public keys of the trusted authors: OpenPGP (.asc) and SSH (.sshpub) entries.
	// +required
	SecretRef meta.LocalObjectReference `json:"secretRef"`
}

// GitRepositoryInclude copies files of the artifact of another GitRepository.
type GitRepositoryInclude struct {
	// GitRepositoryRef names the other GitRepository, in the same namespace.
	// +required
	GitRepositoryRef meta.LocalObjectReference `json:"repository"`

	// FromPath is the directory to copy. Defaults to the root of the other artifact.
	// +optional
	FromPath string `json:"fromPath,omitempty"`

	// ToPath is the directory to copy to. Defaults to the name of the other GitRepository.
	// +optional
	ToPath string `json:"toPath,omitempty"`
}

// GitRepositoryStatus is what was seen of the repository.
type GitRepositoryStatus struct {
	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions of the GitRepository.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Artifact of the last reconcile that succeeded.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`

	// IncludedArtifacts are those that went into Artifact, in the order of spec.include.
	// +optional
	IncludedArtifacts []*meta.Artifact `json:"includedArtifacts,omitempty"`

	// ObservedIgnore is the spec.ignore that Artifact was made with.
	// +optional
	ObservedIgnore *string `json:"observedIgnore,omitempty"`

	// ObservedRecurseSubmodules is the spec.recurseSubmodules that Artifact was made with.
	// +optional
	ObservedRecurseSubmodules bool `json:"observedRecurseSubmodules,omitempty"`

	// ObservedInclude is the spec.include that Artifact was made with.
	// +optional
	ObservedInclude []GitRepositoryInclude `json:"observedInclude,omitempty"`

	// ObservedSparseCheckout is the spec.sparseCheckout that Artifact was made with.
	// +optional
	ObservedSparseCheckout []string `json:"observedSparseCheckout,omitempty"`

	// SourceVerificationMode is the mode in which Artifact was verified, if it was.
	// +optional
	SourceVerificationMode *string `json:"sourceVerificationMode,omitempty"`

	// SourceVerificationFingerprint is a digest of the keys with which Artifact was verified.
	// +optional
	SourceVerificationFingerprint string `json:"sourceVerificationFingerprint,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *GitRepository) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
		Artifact:               &in.Status.Artifact,
	}
}

// Suspended tells whether reconciling is switched off.
func (in *GitRepository) Suspended() bool { return in.Spec.Suspend }

// GetArtifact returns the artifact, or nil if there is none yet.
func (in *GitRepository) GetArtifact() *meta.Artifact { return in.Status.Artifact }

// GetTimeout returns the timeout of a Git operation: DefaultTimeout, unless the spec sets one.
func (in *GitRepository) GetTimeout() time.Duration { return timeout(in.Spec.Timeout) }

// GetProvider returns the provider of the credentials, generic unless the spec sets one.
func (in *GitRepository) GetProvider() string { return cmp.Or(in.Spec.Provider, meta.ProviderGeneric) }

// GetMode returns what has to be signed: GitVerifyHEAD, GitVerifyTag or GitVerifyTagAndHEAD.
func (in *GitRepositoryVerification) GetMode() string {
	if in.Mode == "" || in.Mode == GitVerifyLegacyHEAD {
		return GitVerifyHEAD
	}

	return in.Mode
}

// VerifiesHEAD tells whether the commit has to be signed.
func (in *GitRepositoryVerification) VerifiesHEAD() bool {
	mode := in.GetMode()

	return mode == GitVerifyHEAD || mode == GitVerifyTagAndHEAD
}

// VerifiesTag tells whether the tag object has to be signed.
func (in *GitRepositoryVerification) VerifiesTag() bool {
	mode := in.GetMode()

	return mode == GitVerifyTag || mode == GitVerifyTagAndHEAD
}

// GetToPath returns the directory to copy to: the name of the included GitRepository, unless it is set.
func (in *GitRepositoryInclude) GetToPath() string {
	return cmp.Or(in.ToPath, in.GitRepositoryRef.Name)
}
