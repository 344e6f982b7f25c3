package v1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// ExternalArtifactKind is the kind of an ExternalArtifact.
const ExternalArtifactKind = "ExternalArtifact"

// ExternalArtifact publishes an artifact that was made by something else than a source of this group. Its maker writes the status.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=ea,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.sourceRef.name`
type ExternalArtifact struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ExternalArtifactSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +optional
	Status ExternalArtifactStatus `json:"status,omitzero"`
}

// ExternalArtifactList is a list of ExternalArtifacts.
//
// +kubebuilder:object:root=true
type ExternalArtifactList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []ExternalArtifact `json:"items"`
}

// ExternalArtifactSpec says where the artifact comes from.
type ExternalArtifactSpec struct {
	// SourceRef names the object that the artifact was made for. It is informative only.
	// +optional
	SourceRef *meta.NamespacedObjectKindReference `json:"sourceRef,omitempty"`
}

// ExternalArtifactStatus is written by the maker of the artifact.
type ExternalArtifactStatus struct {
	// Artifact that is published.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`

	// Conditions of the ExternalArtifact.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ExportedInputs are structured data that the maker took from the source.
	// +optional
	ExportedInputs map[string]apiextensionsv1.JSON `json:"exportedInputs,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *ExternalArtifact) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions: &in.Status.Conditions,
		Artifact:   &in.Status.Artifact,
	}
}

// Suspended is always false: nothing reconciles this kind that could stop.
func (in *ExternalArtifact) Suspended() bool { return false }

// GetArtifact returns the artifact, or nil if there is none yet.
func (in *ExternalArtifact) GetArtifact() *meta.Artifact { return in.Status.Artifact }
