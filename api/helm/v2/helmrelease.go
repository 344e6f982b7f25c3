package v2

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// HelmReleaseKind is the kind of a HelmRelease.
const HelmReleaseKind = "HelmRelease"

// What is done about objects that differ from the release.
const (
	// DriftDetectionEnabled corrects them.
	DriftDetectionEnabled = "enabled"

	// DriftDetectionWarn tells about them.
	DriftDetectionWarn = "warn"

	// DriftDetectionDisabled does not look.
	DriftDetectionDisabled = "disabled"
)

// How hooks go through the post-renderers.
const (
	// PostRenderNoHooks leaves hooks as they are.
	PostRenderNoHooks = "nohooks"

	// PostRenderCombined renders hooks together with the other objects.
	PostRenderCombined = "combined"

	// PostRenderSeparate renders hooks by themselves.
	PostRenderSeparate = "separate"
)

// How an action waits for its objects.
const (
	// WaitStrategyPoller waits for what kstatus and the health checks of the spec say.
	WaitStrategyPoller = "poller"

	// WaitStrategyLegacy waits as Helm 3 did.
	WaitStrategyLegacy = "legacy"
)

// HelmRelease installs a Helm chart, and keeps it installed.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=hr,categories=all;fluxcd;fluxcd-appliers
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type HelmRelease struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec HelmReleaseSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status HelmReleaseStatus `json:"status,omitzero"`
}

// HelmReleaseList is a list of HelmReleases.
//
// +kubebuilder:object:root=true
type HelmReleaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []HelmRelease `json:"items"`
}

// HelmReleaseSpec says which chart to release with which values, and what to do when it fails.
//
// +kubebuilder:validation:XValidation:rule="(has(self.chart) && !has(self.chartRef)) || (!has(self.chart) && has(self.chartRef))",message="either chart or chartRef must be set"
type HelmReleaseSpec struct {
	// Chart describes a HelmChart to make. Exactly one of Chart and ChartRef is set.
	// +optional
	Chart *HelmChartTemplate `json:"chart,omitempty"`

	// ChartRef names a source that exists.
	// +optional
	ChartRef *CrossNamespaceSourceReference `json:"chartRef,omitempty"`

	// Interval between reconciles that nothing else asks for.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	Interval metav1.Duration `json:"interval"`

	// KubeConfig says how to reach the cluster to release to. Defaults to the cluster of the HelmRelease.
	// +optional
	KubeConfig *meta.KubeConfigReference `json:"kubeConfig,omitempty"`

	// Suspend stops reconciling. What is released stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// ReleaseName is the name of the Helm release. Defaults to <targetNamespace>-<name>, or <name> without target
	// namespace, shortened to 53 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=53
	// +optional
	ReleaseName string `json:"releaseName,omitempty"`

	// TargetNamespace is the namespace to release to. Defaults to that of the HelmRelease.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	TargetNamespace string `json:"targetNamespace,omitempty"`

	// StorageNamespace is where Helm keeps its records. Defaults to the namespace of the HelmRelease.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	StorageNamespace string `json:"storageNamespace,omitempty"`

	// DependsOn names HelmReleases that have to be ready before this one is released.
	// +optional
	DependsOn []meta.DependencyReference `json:"dependsOn,omitempty"`

	// Timeout of each Kubernetes operation of a Helm action. Defaults to 5m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// MaxHistory is the number of revisions that Helm keeps; 0 is no limit. Defaults to 5.
	// +optional
	MaxHistory *int `json:"maxHistory,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, as which to release.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// PersistentClient uses one Kubernetes client for a whole reconcile. Defaults to true.
	// +optional
	PersistentClient *bool `json:"persistentClient,omitempty"`

	// DriftDetection looks for objects that differ from the release.
	// +optional
	DriftDetection *DriftDetection `json:"driftDetection,omitempty"`

	// Install configures the first release.
	// +optional
	Install *Install `json:"install,omitempty"`

	// Upgrade configures the releases that follow.
	// +optional
	Upgrade *Upgrade `json:"upgrade,omitempty"`

	// Test configures the tests of the chart.
	// +optional
	Test *Test `json:"test,omitempty"`

	// Rollback configures the way back to an earlier release.
	// +optional
	Rollback *Rollback `json:"rollback,omitempty"`

	// Uninstall configures the end of the release.
	// +optional
	Uninstall *Uninstall `json:"uninstall,omitempty"`

	// ValuesFrom names ConfigMaps and Secrets with values. The last one wins.
	// +optional
	ValuesFrom []meta.ValuesReference `json:"valuesFrom,omitempty"`

	// Values are merged over those of ValuesFrom.
	// +optional
	Values *apiextensionsv1.JSON `json:"values,omitempty"`

	// CommonMetadata is added to all objects, after PostRenderers.
	// +optional
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`

	// PostRenderers change the rendered objects, one after the other.
	// +optional
	PostRenderers []PostRenderer `json:"postRenderers,omitempty"`

	// PostRenderStrategy says how hooks go through PostRenderers. Defaults to combined.
	// +kubebuilder:validation:Enum=nohooks;combined;separate
	// +optional
	PostRenderStrategy string `json:"postRenderStrategy,omitempty"`

	// WaitStrategy says how to wait for the objects. Defaults to poller.
	// +optional
	WaitStrategy *WaitStrategy `json:"waitStrategy,omitempty"`

	// HealthCheckExprs say how healthy objects of custom kinds are.
	// +optional
	HealthCheckExprs []meta.CustomHealthCheck `json:"healthCheckExprs,omitempty"`
}

// DriftDetection looks for objects that differ from the release.
type DriftDetection struct {
	// Mode says what is done about them. Defaults to disabled.
	// +kubebuilder:validation:Enum=enabled;warn;disabled
	// +optional
	Mode string `json:"mode,omitempty"`

	// Ignore leaves out some of the differences.
	// +optional
	Ignore []meta.IgnoreRule `json:"ignore,omitempty"`
}

// PostRenderer changes rendered objects.
type PostRenderer struct {
	// Kustomize changes them as kustomize does.
	// +optional
	Kustomize *Kustomize `json:"kustomize,omitempty"`
}

// Kustomize is a PostRenderer.
type Kustomize struct {
	// Patches of the objects.
	// +optional
	Patches []meta.Patch `json:"patches,omitempty"`

	// Images to replace.
	// +optional
	Images []meta.Image `json:"images,omitempty"`
}

// WaitStrategy says how to wait.
type WaitStrategy struct {
	// Name of the strategy.
	// +kubebuilder:validation:Enum=poller;legacy
	// +required
	Name string `json:"name"`
}

// CrossNamespaceSourceReference names a source of one chart.
type CrossNamespaceSourceReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Kind of the source.
	// +kubebuilder:validation:Enum=OCIRepository;HelmChart;ExternalArtifact
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

// StatusFields returns the parts of the status that every kind has.
func (in *HelmRelease) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *HelmRelease) Suspended() bool { return in.Spec.Suspend }
