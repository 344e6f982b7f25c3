package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// BucketKind is the kind of a Bucket.
const BucketKind = "Bucket"

// Providers of temporary credentials for a Bucket.
const (
	STSProviderAWS  = "aws"
	STSProviderLDAP = "ldap"
)

// Bucket makes an artifact of the objects in a bucket.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=all;fluxcd;fluxcd-sources
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.endpoint`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Bucket struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec BucketSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status BucketStatus `json:"status,omitzero"`
}

// BucketList is a list of Buckets.
//
// +kubebuilder:object:root=true
type BucketList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []Bucket `json:"items"`
}

// BucketSpec says which bucket to read, how often, and what of it goes into the artifact.
//
// +kubebuilder:validation:XValidation:rule="self.provider == 'aws' || self.provider == 'generic' || !has(self.sts)",message="STS configuration is only supported for the 'aws' and 'generic' Bucket providers"
// +kubebuilder:validation:XValidation:rule="self.provider != 'aws' || !has(self.sts) || self.sts.provider == 'aws'",message="'aws' is the only supported STS provider for the 'aws' Bucket provider"
// +kubebuilder:validation:XValidation:rule="self.provider != 'generic' || !has(self.sts) || self.sts.provider == 'ldap'",message="'ldap' is the only supported STS provider for the 'generic' Bucket provider"
// +kubebuilder:validation:XValidation:rule="!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.secretRef)",message="spec.sts.secretRef is not required for the 'aws' STS provider"
// +kubebuilder:validation:XValidation:rule="!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.certSecretRef)",message="spec.sts.certSecretRef is not required for the 'aws' STS provider"
// +kubebuilder:validation:XValidation:rule="self.provider != 'generic' || !has(self.serviceAccountName)",message="ServiceAccountName is not supported for the 'generic' Bucket provider"
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || !has(self.serviceAccountName)",message="cannot set both .spec.secretRef and .spec.serviceAccountName"
type BucketSpec struct {
	// Provider of the storage. Defaults to generic, which is any S3 server.
	// +kubebuilder:validation:Enum=generic;aws;gcp;azure
	// +kubebuilder:default=generic
	// +optional
	Provider string `json:"provider,omitempty"`

	// BucketName is the name of the bucket; for azure, of the container.
	// +required
	BucketName string `json:"bucketName"`

	// Endpoint is <host>[:<port>]; for azure, the URL of the storage account.
	// +required
	Endpoint string `json:"endpoint"`

	// STS says where to get temporary credentials. Providers aws and generic only.
	// +optional
	STS *BucketSTSSpec `json:"sts,omitempty"`

	// Insecure talks HTTP to the endpoint.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// Region of the bucket.
	// +optional
	Region string `json:"region,omitempty"`

	// Prefix that the server filters keys by.
	// +optional
	Prefix string `json:"prefix,omitempty"`

	// SecretRef names a Secret with the credentials: accesskey and secretkey, or those of the provider.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// CertSecretRef names a Secret with TLS keys: ca.crt, and tls.crt with tls.key for mutual TLS.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`

	// ProxySecretRef names a Secret with the keys address, username and password of a proxy.
	// +optional
	ProxySecretRef *meta.LocalObjectReference `json:"proxySecretRef,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, as which to authenticate with the provider.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Interval between looks at the bucket.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	Interval metav1.Duration `json:"interval"`

	// Timeout of a fetch. Defaults to 60s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m))+$`
	// +kubebuilder:default="60s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Ignore leaves objects out of the artifact, in the syntax of .gitignore.
	// +optional
	Ignore *string `json:"ignore,omitempty"`

	// Suspend stops fetching. What is stored stays available.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// BucketSTSSpec says where to get temporary credentials for a bucket.
type BucketSTSSpec struct {
	// Provider of the service: aws for a Bucket of provider aws, ldap for one of provider generic.
	// +kubebuilder:validation:Enum=aws;ldap
	// +required
	Provider string `json:"provider"`

	// Endpoint is the URL of the service.
	// +kubebuilder:validation:Pattern=`^(http|https)://.*$`
	// +required
	Endpoint string `json:"endpoint"`

	// SecretRef names a Secret with username and password. Provider ldap only.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// CertSecretRef names a Secret with the TLS keys ca.crt, tls.crt and tls.key. Provider ldap only.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`
}

// BucketStatus is what was seen of the bucket.
type BucketStatus struct {
	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions of the Bucket.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// URL at which the latest artifact is always found.
	// +optional
	URL string `json:"url,omitempty"`

	// Artifact of the last reconcile that succeeded.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`

	// ObservedIgnore is the spec.ignore that Artifact was made with.
	// +optional
	ObservedIgnore *string `json:"observedIgnore,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *Bucket) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
		Artifact:               &in.Status.Artifact,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *Bucket) Suspended() bool { return in.Spec.Suspend }

// GetArtifact returns the artifact, or nil if there is none yet.
func (in *Bucket) GetArtifact() *meta.Artifact { return in.Status.Artifact }

// GetTimeout returns the timeout of a fetch: DefaultTimeout, unless the spec sets one.
func (in *Bucket) GetTimeout() time.Duration { return timeout(in.Spec.Timeout) }

// GetProvider returns the provider of the storage, generic unless the spec sets one.
func (in *Bucket) GetProvider() string { return cmp.Or(in.Spec.Provider, meta.ProviderGeneric) }
