package v1

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

// ImageUpdateAutomationKind is the kind of an ImageUpdateAutomation.
const ImageUpdateAutomationKind = "ImageUpdateAutomation"

// UpdateStrategySetters writes the images at the marks in comments. It is the only strategy.
const UpdateStrategySetters = "Setters"

// DefaultCommitMessage is the message of a commit if there is no template.
const DefaultCommitMessage = "Update from image update automation"

// Types of signing key.
const (
	SigningKeyGPG = "gpg"
	SigningKeySSH = "ssh"
)

// ImageUpdateAutomation writes the chosen tags of images into a Git repository.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=iua;imgupd;imgauto,categories=all;fluxcd;fluxcd-images
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Last run",type=string,JSONPath=`.status.lastAutomationRunTime`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImageUpdateAutomation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ImageUpdateAutomationSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status ImageUpdateAutomationStatus `json:"status,omitzero"`
}

// ImageUpdateAutomationList is a list of ImageUpdateAutomations.
//
// +kubebuilder:object:root=true
type ImageUpdateAutomationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []ImageUpdateAutomation `json:"items"`
}

// ImageUpdateAutomationSpec says what to write where.
type ImageUpdateAutomationSpec struct {
	// SourceRef names the GitRepository to write to; its URL and credentials are used.
	// +required
	SourceRef CrossNamespaceSourceReference `json:"sourceRef"`

	// GitSpec says what to check out, commit and push. Required, though the schema does not say so.
	// +optional
	GitSpec *GitSpec `json:"git,omitempty"`

	// Interval between runs that nothing else asks for.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	Interval metav1.Duration `json:"interval"`

	// PolicySelector selects the ImagePolicies, in the same namespace, to write. Defaults to all.
	// +optional
	PolicySelector *metav1.LabelSelector `json:"policySelector,omitempty"`

	// Update says how to change the files.
	// +kubebuilder:default={"strategy":"Setters"}
	// +optional
	Update *UpdateStrategy `json:"update,omitempty"`

	// Suspend stops running.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// CrossNamespaceSourceReference names a source to write to.
type CrossNamespaceSourceReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Kind of the source. Defaults to GitRepository, which is the only one.
	// +kubebuilder:validation:Enum=GitRepository
	// +kubebuilder:default=GitRepository
	// +required
	Kind string `json:"kind"`

	// Name of the source.
	// +required
	Name string `json:"name"`

	// Namespace of the source. Defaults to that of the ImageUpdateAutomation.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// UpdateStrategy says how to change files.
type UpdateStrategy struct {
	// Strategy of the change. Defaults to Setters.
	// +kubebuilder:validation:Enum=Setters
	// +kubebuilder:default=Setters
	// +optional
	Strategy string `json:"strategy,omitempty"`

	// Path of the directory to change files in. Defaults to the root of the repository.
	// +optional
	Path string `json:"path,omitempty"`
}

// GitSpec says what to check out, commit and push.
type GitSpec struct {
	// Checkout says what to check out. Defaults to what the GitRepository does.
	// +optional
	Checkout *GitCheckoutSpec `json:"checkout,omitempty"`

	// Commit says how to commit.
	// +required
	Commit CommitSpec `json:"commit"`

	// Push says where to push. Defaults to the branch that is checked out.
	// +optional
	Push *PushSpec `json:"push,omitempty"`
}

// GitCheckoutSpec says what to check out.
type GitCheckoutSpec struct {
	// Reference to check out.
	// +required
	Reference sourcev1.GitRepositoryRef `json:"ref"`
}

// CommitSpec says how to commit.
type CommitSpec struct {
	// Author of the commit.
	// +required
	Author CommitUser `json:"author"`

	// SigningKey signs the commit.
	// +optional
	SigningKey *SigningKey `json:"signingKey,omitempty"`

	// MessageTemplate is a Go template of the message. Its data are AutomationObject, Changed and Values.
	// +optional
	MessageTemplate string `json:"messageTemplate,omitempty"`

	// MessageTemplateValues are the Values of MessageTemplate.
	// +optional
	MessageTemplateValues map[string]string `json:"messageTemplateValues,omitempty"`
}

// CommitUser is the author of a commit.
type CommitUser struct {
	// Name of the author.
	// +optional
	Name string `json:"name,omitempty"`

	// Email of the author.
	// +required
	Email string `json:"email"`
}

// SigningKey signs commits.
type SigningKey struct {
	// Type of the key. Defaults to gpg.
	// +kubebuilder:validation:Enum=gpg;ssh
	// +optional
	Type string `json:"type,omitempty"`

	// SecretRef names a Secret with the key: git.asc and passphrase for gpg, identity and password for ssh.
	// +required
	SecretRef meta.LocalObjectReference `json:"secretRef"`
}

// PushSpec says where to push.
type PushSpec struct {
	// Branch to push to; it is made if it does not exist.
	// +optional
	Branch string `json:"branch,omitempty"`

	// Refspec to push too, for example refs/heads/main:refs/for/main.
	// +kubebuilder:validation:Pattern=`^$|^[^+:]`
	// +optional
	Refspec string `json:"refspec,omitempty"`

	// Options are the push options.
	// +optional
	Options map[string]string `json:"options,omitempty"`
}

// ImageUpdateAutomationStatus is what was written, and how it went.
type ImageUpdateAutomationStatus struct {
	// LastAutomationRunTime is when the last run began.
	// +optional
	LastAutomationRunTime *metav1.Time `json:"lastAutomationRunTime,omitempty"`

	// LastPushCommit is the hash of the last commit that was pushed.
	// +optional
	LastPushCommit string `json:"lastPushCommit,omitempty"`

	// LastPushTime is when it was pushed.
	// +optional
	LastPushTime *metav1.Time `json:"lastPushTime,omitempty"`

	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions of the ImageUpdateAutomation.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ObservedPolicies are the images that were last written, by the name of the ImagePolicy.
	// +optional
	ObservedPolicies map[string]ImageRef `json:"observedPolicies,omitempty"`

	// ObservedSourceRevision is the revision of the repository that they were written to.
	// +optional
	ObservedSourceRevision string `json:"observedSourceRevision,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *ImageUpdateAutomation) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *ImageUpdateAutomation) Suspended() bool { return in.Spec.Suspend }

// GetSourceNamespace returns the namespace of the source: set, or that of the ImageUpdateAutomation.
func (in *ImageUpdateAutomation) GetSourceNamespace() string {
	return cmp.Or(in.Spec.SourceRef.Namespace, in.Namespace)
}

// GetUpdate returns how to change files, with the strategy UpdateStrategySetters unless another one is set.
func (in *ImageUpdateAutomation) GetUpdate() UpdateStrategy {
	u := UpdateStrategy{}
	if in.Spec.Update != nil {
		u = *in.Spec.Update
	}

	u.Strategy = cmp.Or(u.Strategy, UpdateStrategySetters)

	return u
}

// GetType returns the type of the key: SigningKeyGPG, unless it is set.
func (in *SigningKey) GetType() string { return cmp.Or(in.Type, SigningKeyGPG) }
