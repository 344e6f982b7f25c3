package v2

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// HelmChartTemplate describes the HelmChart that a HelmRelease makes. It is made in the namespace of its source.
type HelmChartTemplate struct {
	// ObjectMeta is added to the HelmChart.
	// +optional
	ObjectMeta *meta.CommonMetadata `json:"metadata,omitempty"`

	// Spec of the HelmChart.
	// +required
	Spec HelmChartTemplateSpec `json:"spec"`
}

// HelmChartTemplateSpec says which chart to take from which source.
type HelmChartTemplateSpec struct {
	// Chart is the name of the chart in a HelmRepository, or its path in a GitRepository or Bucket.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +required
	Chart string `json:"chart"`

	// Version is a semantic version or a range. Defaults to the latest. Ignored unless the source is a HelmRepository.
	// +kubebuilder:default="*"
	// +optional
	Version string `json:"version,omitempty"`

	// SourceRef names the source.
	// +required
	SourceRef CrossNamespaceObjectReference `json:"sourceRef"`

	// Interval between looks at the source. Defaults to the interval of the HelmRelease.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// ReconcileStrategy says what makes a new artifact. Defaults to ChartVersion.
	// +kubebuilder:validation:Enum=ChartVersion;Revision
	// +kubebuilder:default=ChartVersion
	// +optional
	ReconcileStrategy string `json:"reconcileStrategy,omitempty"`

	// ValuesFiles are merged, the last one winning, into the values of the chart.
	// +optional
	ValuesFiles []string `json:"valuesFiles,omitempty"`

	// IgnoreMissingValuesFiles goes on without those of ValuesFiles that do not exist.
	// +optional
	IgnoreMissingValuesFiles bool `json:"ignoreMissingValuesFiles,omitempty"`

	// Verify verifies the signature of a chart from a registry. Without it, nothing is verified.
	// +optional
	Verify *HelmChartTemplateVerification `json:"verify,omitempty"`
}

// HelmChartTemplateVerification says how to verify the signature of a chart.
type HelmChartTemplateVerification struct {
	// Provider of the signature. Defaults to cosign.
	// +kubebuilder:validation:Enum=cosign;notation
	// +kubebuilder:default=cosign
	// +required
	Provider string `json:"provider"`

	// SecretRef names a Secret, in the namespace of the source, with the trusted public keys.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
}

// CrossNamespaceObjectReference names a source of charts.
type CrossNamespaceObjectReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Kind of the source.
	// +kubebuilder:validation:Enum=HelmRepository;GitRepository;Bucket
	// +required
	Kind string `json:"kind"`

	// Name of the source.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`

	// Namespace of the source. Defaults to that of the HelmRelease.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// GetInterval returns the interval of the HelmChart: its own, or that of the HelmRelease, which is given.
func (in *HelmChartTemplate) GetInterval(release time.Duration) time.Duration {
	if in.Spec.Interval == nil {
		return release
	}

	return in.Spec.Interval.Duration
}

// GetNamespace returns the namespace of the HelmChart, which is that of its source: set, or that of the HelmRelease,
// which is given.
func (in *HelmChartTemplate) GetNamespace(release string) string {
	return cmp.Or(in.Spec.SourceRef.Namespace, release)
}

// GetNamespace returns the namespace of the source: set, or that of the HelmRelease, which is given.
func (in *CrossNamespaceSourceReference) GetNamespace(release string) string {
	return cmp.Or(in.Namespace, release)
}
