package v1beta1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// ArtifactGeneratorKind is the kind of an ArtifactGenerator.
const ArtifactGeneratorKind = "ArtifactGenerator"

// Finalizer is held by every ArtifactGenerator.
const Finalizer = Group + "/finalizer"

// ReconcileAnnotation with meta.DisabledValue, in any case, suspends an ArtifactGenerator.
const ReconcileAnnotation = Group + "/reconcile"

// GeneratorLabel, on an ExternalArtifact, holds the UID of the ArtifactGenerator that made it.
const GeneratorLabel = Group + "/generator"

// DefaultInterval is the time between reconciles that nothing else asks for.
const DefaultInterval = time.Hour

// SourceFetchFailedReason says that the artifact of a source could not be fetched.
const SourceFetchFailedReason = "SourceFetchFailed"

// What a copy does with files that are there already.
const (
	// CopyOverwrite replaces them.
	CopyOverwrite = "Overwrite"

	// CopyMerge merges YAML and JSON files into them, as Helm merges values.
	CopyMerge = "Merge"

	// CopyExtract unpacks tar archives, and replaces them.
	CopyExtract = "Extract"
)

// ArtifactGenerator composes ExternalArtifacts of the files of other artifacts.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=ag,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type ArtifactGenerator struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ArtifactGeneratorSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +optional
	Status ArtifactGeneratorStatus `json:"status,omitzero"`
}

// ArtifactGeneratorList is a list of ArtifactGenerators.
//
// +kubebuilder:object:root=true
type ArtifactGeneratorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []ArtifactGenerator `json:"items"`
}

// ArtifactGeneratorSpec says what to compose of what.
//
// +kubebuilder:validation:XValidation:rule=`has(self.pathPattern) && size(self.pathPattern) > 0 || self.artifacts.all(a, a.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))`,message="artifact names must be valid Kubernetes object names when pathPattern is not set"
type ArtifactGeneratorSpec struct {
	// CommonMetadata is added to the ExternalArtifacts.
	// +optional
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`

	// Sources of the files.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +required
	Sources []SourceReference `json:"sources"`

	// PathPattern, as @<alias>/<path>, makes one artifact for each directory that it matches. A part of the path in
	// braces is a variable, which names, copies and labels may use.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$`
	// +optional
	PathPattern string `json:"pathPattern,omitempty"`

	// Artifacts to make.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +required
	Artifacts []OutputArtifact `json:"artifacts"`
}

// SourceReference names a source.
type SourceReference struct {
	// Alias by which the artifacts refer to the source. Unique.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$`
	// +required
	Alias string `json:"alias"`

	// Kind of the source.
	// +kubebuilder:validation:Enum=Bucket;GitRepository;OCIRepository;HelmChart;ExternalArtifact
	// +required
	Kind string `json:"kind"`

	// Name of the source.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`

	// Namespace of the source. Defaults to that of the ArtifactGenerator.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// OutputArtifact is an artifact to make.
type OutputArtifact struct {
	// Name of the ExternalArtifact. Unique.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`

	// Revision, as @<alias>, takes the revision of that source. Defaults to latest@<digest of the content>.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$`
	// +optional
	Revision string `json:"revision,omitempty"`

	// OriginRevision, as @<alias>, puts the origin revision of that source into the metadata.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$`
	// +optional
	OriginRevision string `json:"originRevision,omitempty"`

	// Copy says which files to copy, in this order.
	// +kubebuilder:validation:MinItems=1
	// +required
	Copy []CopyOperation `json:"copy"`
}

// CopyOperation copies files of a source.
type CopyOperation struct {
	// From is @<alias>/<path or glob>.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$`
	// +required
	From string `json:"from"`

	// To is @artifact/<path>.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^@artifact/([^/]{0,1}|[^./][^/]|[.][^./]|[^/]{3,})(/([^/]{0,1}|[^./][^/]|[.][^./]|[^/]{3,}))*$`
	// +required
	To string `json:"to"`

	// Exclude leaves out files that match one of these globs.
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=1024
	// +optional
	Exclude []string `json:"exclude,omitempty"`

	// Strategy says what to do with files that are there already. Defaults to Overwrite.
	// +kubebuilder:validation:Enum=Overwrite;Merge;Extract
	// +optional
	Strategy string `json:"strategy,omitempty"`
}

// ArtifactGeneratorStatus is what was made, and how it went.
type ArtifactGeneratorStatus struct {
	// Conditions of the ArtifactGenerator.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Inventory lists the ExternalArtifacts.
	// +optional
	Inventory []ExternalArtifactReference `json:"inventory,omitempty"`

	// ObservedSourcesDigest is the digest of the sources that they were made of.
	// +optional
	ObservedSourcesDigest string `json:"observedSourcesDigest,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// ExternalArtifactReference is an ExternalArtifact that was made.
type ExternalArtifactReference struct {
	// Name of the ExternalArtifact.
	// +required
	Name string `json:"name"`

	// Namespace of the ExternalArtifact.
	// +required
	Namespace string `json:"namespace"`

	// Digest of the file, as <algorithm>:<checksum>.
	// +required
	Digest string `json:"digest"`

	// Filename is the name of the file in the storage.
	// +required
	Filename string `json:"filename"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *ArtifactGenerator) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether ReconcileAnnotation is set to disabled.
func (in *ArtifactGenerator) Suspended() bool {
	return meta.Disabled(in.Annotations, ReconcileAnnotation)
}

// GetStrategy returns what is done with files that are there already: CopyOverwrite, unless it is set.
func (in *CopyOperation) GetStrategy() string { return cmp.Or(in.Strategy, CopyOverwrite) }
