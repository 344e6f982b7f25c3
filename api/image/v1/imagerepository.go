package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// ImageRepositoryKind is the kind of an ImageRepository.
const ImageRepositoryKind = "ImageRepository"

// DefaultExclusion is the regular expression of the tags that an ImageRepository leaves out if it does not say which:
// those that cosign attaches signatures to.
const DefaultExclusion = `^.*\.sig$`

// MinScanTimeout is the least timeout of a scan.
const MinScanTimeout = time.Second

// ImageRepository lists the tags of an image.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=imgrepo;imagerepo,categories=all;fluxcd;fluxcd-images
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.image`
// +kubebuilder:printcolumn:name="Tags",type=string,JSONPath=`.status.lastScanResult.tagCount`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Last scan",type=string,JSONPath=`.status.lastScanResult.scanTime`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImageRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ImageRepositorySpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status ImageRepositoryStatus `json:"status,omitzero"`
}

// ImageRepositoryList is a list of ImageRepositories.
//
// +kubebuilder:object:root=true
type ImageRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []ImageRepository `json:"items"`
}

// ImageRepositorySpec says which image to scan, and how often.
type ImageRepositorySpec struct {
	// Image is the name of the image, without scheme, tag or digest.
	// +required
	Image string `json:"image"`

	// Interval between scans.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	Interval metav1.Duration `json:"interval"`

	// Timeout of a scan. Defaults to Interval; it is at least 1s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// SecretRef names a Secret of type kubernetes.io/dockerconfigjson.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// ProxySecretRef names a Secret with the keys address, username and password of a proxy.
	// +optional
	ProxySecretRef *meta.LocalObjectReference `json:"proxySecretRef,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, whose image pull secrets are used, or as which
	// to authenticate with the provider.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// CertSecretRef names a Secret with TLS keys: ca.crt, and tls.crt with tls.key for mutual TLS.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`

	// Suspend stops scanning. Policies keep choosing from the tags that are known.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// AccessFrom lists the other namespaces whose ImagePolicies may use the ImageRepository.
	// +optional
	AccessFrom *meta.AccessFrom `json:"accessFrom,omitempty"`

	// ExclusionList are regular expressions of tags to leave out. They replace the default, which is tags that end in
	// .sig.
	// +kubebuilder:validation:MaxItems=25
	// +kubebuilder:default={"^.*\\.sig$"}
	// +optional
	ExclusionList []string `json:"exclusionList,omitempty"`

	// Provider of the credentials, if they are in no Secret. Defaults to generic.
	// +kubebuilder:validation:Enum=generic;aws;azure;gcp
	// +kubebuilder:default=generic
	// +optional
	Provider string `json:"provider,omitempty"`

	// Insecure talks HTTP to the registry.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
}

// ScanResult is what a scan found.
type ScanResult struct {
	// Revision is a checksum of the tags.
	// +optional
	Revision string `json:"revision,omitempty"`

	// TagCount is the number of tags.
	// +required
	TagCount int `json:"tagCount"`

	// ScanTime is when the scan ended.
	// +optional
	ScanTime metav1.Time `json:"scanTime,omitzero"`

	// LatestTags are the first ten of the tags in descending order.
	// +optional
	LatestTags []string `json:"latestTags,omitempty"`
}

// ImageRepositoryStatus is what was seen of the image.
type ImageRepositoryStatus struct {
	// Conditions of the ImageRepository.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// CanonicalImageName is the full name of the image, with registry.
	// +optional
	CanonicalImageName string `json:"canonicalImageName,omitempty"`

	// LastScanResult is what the last scan that succeeded found.
	// +optional
	LastScanResult *ScanResult `json:"lastScanResult,omitempty"`

	// ObservedExclusionList is the spec.exclusionList of that scan.
	// +optional
	ObservedExclusionList []string `json:"observedExclusionList,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *ImageRepository) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *ImageRepository) Suspended() bool { return in.Spec.Suspend }

// GetTimeout returns the timeout of a scan: that of the spec, or the interval, and never less than MinScanTimeout.
func (in *ImageRepository) GetTimeout() time.Duration {
	timeout := in.Spec.Interval.Duration
	if in.Spec.Timeout != nil {
		timeout = in.Spec.Timeout.Duration
	}

	return max(timeout, MinScanTimeout)
}

// GetProvider returns the provider of the credentials, generic unless the spec sets one.
func (in *ImageRepository) GetProvider() string {
	return cmp.Or(in.Spec.Provider, meta.ProviderGeneric)
}

// GetExclusionList returns the regular expressions of the tags to leave out: DefaultExclusion, unless the spec has a
// list, be it empty.
func (in *ImageRepository) GetExclusionList() []string {
	if in.Spec.ExclusionList == nil {
		return []string{DefaultExclusion}
	}

	return in.Spec.ExclusionList
}
