package v1

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// HelmChartKind is the kind of a HelmChart.
const HelmChartKind = "HelmChart"

// AnyChartVersion is the version of a HelmChart that sets none: the latest stable one.
const AnyChartVersion = "*"

// What makes a new artifact of a HelmChart.
const (
	// ReconcileStrategyChartVersion makes one when the version of the chart changes.
	ReconcileStrategyChartVersion = "ChartVersion"

	// ReconcileStrategyRevision makes one when the revision of the source changes.
	ReconcileStrategyRevision = "Revision"
)

// HelmChart makes an artifact of a chart in a HelmRepository, GitRepository or Bucket.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=hc,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Chart",type=string,JSONPath=`.spec.chart`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.version`
// +kubebuilder:printcolumn:name="Source Kind",type=string,JSONPath=`.spec.sourceRef.kind`
// +kubebuilder:printcolumn:name="Source Name",type=string,JSONPath=`.spec.sourceRef.name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type HelmChart struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec HelmChartSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status HelmChartStatus `json:"status,omitzero"`
}

// HelmChartList is a list of HelmCharts.
//
// +kubebuilder:object:root=true
type HelmChartList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []HelmChart `json:"items"`
}

// HelmChartSpec says which chart to take from which source.
//
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.sourceRef.kind == 'HelmRepository'",message="spec.verify is only supported when spec.sourceRef.kind is 'HelmRepository'"
type HelmChartSpec struct {
	// Chart is the name of the chart in a HelmRepository, or its path in a GitRepository or Bucket.
	// +required
	Chart string `json:"chart"`

	// Version is a semantic version or a range. Defaults to the latest. Ignored unless the source is a HelmRepository.
	// +kubebuilder:default="*"
	// +optional
	Version string `json:"version,omitempty"`

	// SourceRef names the source, in the same namespace.
	// +required
	SourceRef LocalHelmChartSourceReference `json:"sourceRef"`

	// Interval between looks at the source.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	Interval metav1.Duration `json:"interval"`

	// ReconcileStrategy says what makes a new artifact. Defaults to ChartVersion. Revision has no effect with a
	// HelmRepository.
	// +kubebuilder:validation:Enum=ChartVersion;Revision
	// +kubebuilder:default=ChartVersion
	// +optional
	ReconcileStrategy string `json:"reconcileStrategy,omitempty"`

	// ValuesFiles are merged, the last one winning, into the values of the chart: paths in the chart or, for a
	// GitRepository or Bucket, in the source. Defaults to the values.yaml of the chart.
	// +optional
	ValuesFiles []string `json:"valuesFiles,omitempty"`

	// IgnoreMissingValuesFiles goes on without those of ValuesFiles that do not exist.
	// +optional
	IgnoreMissingValuesFiles bool `json:"ignoreMissingValuesFiles,omitempty"`

	// Suspend stops making artifacts. What is stored stays available.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Verify verifies the signature of a chart from a registry. Without it, nothing is verified.
	// +optional
	Verify *OCIVerification `json:"verify,omitempty"`
}

// LocalHelmChartSourceReference names a source of charts in the same namespace.
type LocalHelmChartSourceReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Kind of the source.
	// +kubebuilder:validation:Enum=HelmRepository;GitRepository;Bucket
	// +required
	Kind string `json:"kind"`

	// Name of the source.
	// +required
	Name string `json:"name"`
}

// HelmChartStatus is what was seen of the chart.
type HelmChartStatus struct {
	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// ObservedSourceArtifactRevision is the revision of the source that Artifact was made of.
	// +optional
	ObservedSourceArtifactRevision string `json:"observedSourceArtifactRevision,omitempty"`

	// ObservedChartName is the name of the chart in Artifact.
	// +optional
	ObservedChartName string `json:"observedChartName,omitempty"`

	// ObservedValuesFiles are the values files that were merged into Artifact.
	// +optional
	ObservedValuesFiles []string `json:"observedValuesFiles,omitempty"`

	// Conditions of the HelmChart.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// URL at which the latest artifact is always found.
	// +optional
	URL string `json:"url,omitempty"`

	// Artifact of the last reconcile that succeeded.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *HelmChart) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
		Artifact:               &in.Status.Artifact,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *HelmChart) Suspended() bool { return in.Spec.Suspend }

// GetArtifact returns the artifact, or nil if there is none yet.
func (in *HelmChart) GetArtifact() *meta.Artifact { return in.Status.Artifact }

// GetVersion returns the version or range: AnyChartVersion, unless the spec sets one.
func (in *HelmChart) GetVersion() string { return cmp.Or(in.Spec.Version, AnyChartVersion) }

// GetReconcileStrategy returns what makes a new artifact: ReconcileStrategyChartVersion, unless the spec says otherwise.
func (in *HelmChart) GetReconcileStrategy() string {
	return cmp.Or(in.Spec.ReconcileStrategy, ReconcileStrategyChartVersion)
}
