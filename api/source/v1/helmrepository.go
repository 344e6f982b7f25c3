package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// HelmRepositoryKind is the kind of a HelmRepository.
const HelmRepositoryKind = "HelmRepository"

// DefaultHelmRepositoryInterval is the interval of a HelmRepository that sets none.
const DefaultHelmRepositoryInterval = time.Minute

// Types of HelmRepository.
const (
	// HelmRepositoryTypeDefault is a web server with an index.yaml.
	HelmRepositoryTypeDefault = "default"

	// HelmRepositoryTypeOCI is a registry. It has no index, so nothing is fetched but by a HelmChart.
	HelmRepositoryTypeOCI = "oci"
)

// HelmRepository makes an artifact of the index of a Helm repository, or stands for a registry of charts.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=helmrepo,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type HelmRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec HelmRepositorySpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status HelmRepositoryStatus `json:"status,omitzero"`
}

// HelmRepositoryList is a list of HelmRepositories.
//
// +kubebuilder:object:root=true
type HelmRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []HelmRepository `json:"items"`
}

// HelmRepositorySpec says where the repository is, and how often to fetch its index.
type HelmRepositorySpec struct {
	// URL of the repository: http or https, or oci for type oci.
	// +kubebuilder:validation:Pattern=`^(http|https|oci)://.*$`
	// +required
	URL string `json:"url"`

	// SecretRef names a Secret with username and password, or, for type oci, of type kubernetes.io/dockerconfigjson.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// CertSecretRef names a Secret with TLS keys: ca.crt, and tls.crt with tls.key for mutual TLS.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`

	// PassCredentials sends the credentials to any host that the index points to, not only to that of URL.
	// +optional
	PassCredentials bool `json:"passCredentials,omitempty"`

	// Interval between fetches of the index. Defaults to 1m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Interval metav1.Duration `json:"interval,omitzero"`

	// Insecure talks HTTP to the registry. Type oci only.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// Timeout of a fetch of the index, or of an operation on the registry. Defaults to 60s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Suspend stops fetching. What is stored stays available.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// AccessFrom is accepted and has no effect.
	// +optional
	AccessFrom *meta.AccessFrom `json:"accessFrom,omitempty"`

	// Type of the repository. Defaults to default.
	// +kubebuilder:validation:Enum=default;oci
	// +optional
	Type string `json:"type,omitempty"`

	// Provider of the credentials, if they are in no Secret. Type oci only. Defaults to generic.
	// +kubebuilder:validation:Enum=generic;aws;azure;gcp
	// +kubebuilder:default=generic
	// +optional
	Provider string `json:"provider,omitempty"`
}

// HelmRepositoryStatus is what was seen of the repository.
type HelmRepositoryStatus struct {
	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions of the HelmRepository.
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
func (in *HelmRepository) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
		Artifact:               &in.Status.Artifact,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *HelmRepository) Suspended() bool { return in.Spec.Suspend }

// GetArtifact returns the artifact, or nil if there is none yet.
func (in *HelmRepository) GetArtifact() *meta.Artifact { return in.Status.Artifact }

// GetInterval returns the interval between fetches: DefaultHelmRepositoryInterval, unless the spec sets one.
func (in *HelmRepository) GetInterval() time.Duration {
	if in.Spec.Interval.Duration == 0 {
		return DefaultHelmRepositoryInterval
	}

	return in.Spec.Interval.Duration
}

// GetTimeout returns the timeout of a fetch: DefaultTimeout, unless the spec sets one.
func (in *HelmRepository) GetTimeout() time.Duration { return timeout(in.Spec.Timeout) }

// GetProvider returns the provider of the credentials, generic unless the spec sets one.
func (in *HelmRepository) GetProvider() string { return cmp.Or(in.Spec.Provider, meta.ProviderGeneric) }

// IsOCI tells whether the repository is a registry.
func (in *HelmRepository) IsOCI() bool { return in.Spec.Type == HelmRepositoryTypeOCI }
