package v1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// FluxReportKind is the kind of a FluxReport.
const FluxReportKind = "FluxReport"

// Values of a FluxReport.
const (
	DistributionInstalled    = "Installed"
	DistributionNotInstalled = "Not Installed"
	EntitlementUnknown       = "Unknown"
)

// FluxReport tells what runs in the cluster, and how well. The operator writes it; there is one, and its name is flux.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=fluxcd
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Entitlement",type=string,JSONPath=`.spec.distribution.entitlement`,priority=10
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="LastUpdated",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].lastTransitionTime`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'flux'",message="the only accepted name for a FluxReport is 'flux'"
type FluxReport struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what was found.
	// +optional
	Spec FluxReportSpec `json:"spec,omitzero"`

	// Status is how the report came about.
	// +optional
	Status FluxReportStatus `json:"status,omitzero"`
}

// FluxReportList is a list of FluxReports.
//
// +kubebuilder:object:root=true
type FluxReportList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []FluxReport `json:"items"`
}

// FluxReportSpec is the report.
type FluxReportSpec struct {
	// Distribution that is installed.
	// +required
	Distribution DistributionReport `json:"distribution"`

	// Cluster that it is installed in.
	// +optional
	Cluster *ClusterReport `json:"cluster,omitempty"`

	// Operator that writes the report.
	// +optional
	Operator *OperatorReport `json:"operator,omitempty"`

	// Components of the distribution.
	// +optional
	Components []ComponentReport `json:"components,omitempty"`

	// Reconcilers are the kinds, with figures about their objects.
	// +optional
	Reconcilers []ReconcilerReport `json:"reconcilers,omitempty"`

	// Sync of the cluster with a repository.
	// +optional
	Sync *SyncReport `json:"sync,omitempty"`
}

// DistributionReport is about the distribution.
type DistributionReport struct {
	// Entitlement to support.
	// +required
	Entitlement string `json:"entitlement"`

	// Status is Installed or Not Installed.
	// +required
	Status string `json:"status"`

	// Version that is installed.
	// +optional
	Version string `json:"version,omitempty"`

	// ManagedBy names what installed it.
	// +optional
	ManagedBy string `json:"managedBy,omitempty"`
}

// ClusterReport is about the cluster.
type ClusterReport struct {
	// ServerVersion of Kubernetes.
	// +required
	ServerVersion string `json:"serverVersion"`

	// Platform of the API server, as <os>/<arch>.
	// +required
	Platform string `json:"platform"`

	// Nodes is the number of nodes.
	// +optional
	Nodes int `json:"nodes,omitempty"`
}

// OperatorReport is about the operator.
type OperatorReport struct {
	// APIVersion that it serves.
	// +required
	APIVersion string `json:"apiVersion"`

	// Version of the operator.
	// +required
	Version string `json:"version"`

	// Platform of the operator, as <os>/<arch>.
	// +required
	Platform string `json:"platform"`
}

// ComponentReport is about one Deployment of the distribution.
type ComponentReport struct {
	// Name of the component.
	// +required
	Name string `json:"name"`

	// Ready tells whether it runs as wanted.
	// +required
	Ready bool `json:"ready"`

	// Status says more.
	// +required
	Status string `json:"status"`

	// Image that it runs.
	// +required
	Image string `json:"image"`
}

// ReconcilerReport is about the objects of one kind.
type ReconcilerReport struct {
	// APIVersion of the kind.
	// +required
	APIVersion string `json:"apiVersion"`

	// Kind of the objects.
	// +required
	Kind string `json:"kind"`

	// Stats are figures about the objects.
	// +optional
	Stats ReconcilerStats `json:"stats,omitzero"`
}

// ReconcilerStats counts objects.
type ReconcilerStats struct {
	// Running is the number of objects that are not suspended.
	// +required
	Running int `json:"running"`

	// Failing is the number of objects that are neither ready nor suspended, nor waiting for a dependency.
	// +required
	Failing int `json:"failing"`

	// Suspended is the number of objects that are suspended.
	// +required
	Suspended int `json:"suspended"`

	// TotalSize of the artifacts in storage, for people to read.
	// +optional
	TotalSize string `json:"totalSize,omitempty"`
}

// SyncReport is about the sync of the cluster.
type SyncReport struct {
	// ID of the sync, as kustomization/<name>.
	// +required
	ID string `json:"id"`

	// Path of the directory that is applied.
	// +optional
	Path string `json:"path,omitempty"`

	// Ready tells whether the last sync succeeded.
	// +required
	Ready bool `json:"ready"`

	// Status says more.
	// +required
	Status string `json:"status"`

	// Source is the URL of the repository.
	// +optional
	Source string `json:"source,omitempty"`
}

// FluxReportStatus is how the report came about.
type FluxReportStatus struct {
	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// Conditions of the FluxReport.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *FluxReport) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether ReconcileAnnotation is set to disabled.
func (in *FluxReport) Suspended() bool {
	return meta.Disabled(in.Annotations, ReconcileAnnotation)
}

// GetInterval returns the interval between reports: ReconcileEveryAnnotation, or the default that is given.
func (in *FluxReport) GetInterval(byDefault time.Duration) time.Duration {
	return durationFrom(in.Annotations, ReconcileEveryAnnotation, byDefault)
}
