package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// OCIRepositoryKind is the kind of an OCIRepository.
const OCIRepositoryKind = "OCIRepository"

// OCIURLPrefix is the scheme of the URL of an OCI repository.
const OCIURLPrefix = "oci://"

// DefaultOCITag is pulled if an OCIRepository says nothing else.
const DefaultOCITag = "latest"

// What is done with the layer that an OCIRepository selects.
const (
	// OCILayerExtract unpacks the layer, which is a compressed tar archive, and packs it again without ignored files.
	OCILayerExtract = "extract"

	// OCILayerCopy stores the layer byte for byte.
	OCILayerCopy = "copy"
)

// Providers of signatures.
const (
	VerifyCosign   = "cosign"
	VerifyNotation = "notation"
)

// OCIRepository makes an artifact of a layer of an OCI artifact.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=ocirepo,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="has(self.spec) && has(self.spec.url)",message="spec.url is required"
// +kubebuilder:validation:XValidation:rule="has(self.spec) && has(self.spec.interval)",message="spec.interval is required"
type OCIRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec OCIRepositorySpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status OCIRepositoryStatus `json:"status,omitzero"`
}

// OCIRepositoryList is a list of OCIRepositories.
//
// +kubebuilder:object:root=true
type OCIRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []OCIRepository `json:"items"`
}

// OCIRepositorySpec says what to pull, how often, and what of it goes into the artifact.
type OCIRepositorySpec struct {
	// URL of the repository, as oci://<host>[:<port>]/<path>, without tag or digest. Required.
	// +kubebuilder:validation:Pattern=`^oci://.*$`
	// +optional
	URL string `json:"url,omitempty"`

	// Reference to pull. Defaults to the tag latest.
	// +optional
	Reference *OCIRepositoryRef `json:"ref,omitempty"`

	// LayerSelector says which layer to use, and how. Defaults to extracting the first one.
	// +optional
	LayerSelector *OCILayerSelector `json:"layerSelector,omitempty"`

	// Provider of the credentials, if they are in no Secret. Defaults to generic.
	// +kubebuilder:validation:Enum=generic;aws;azure;gcp
	// +optional
	Provider string `json:"provider,omitempty"`

	// SecretRef names a Secret of type kubernetes.io/dockerconfigjson.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// Verification of signatures. Without it, nothing is verified.
	// +optional
	Verification *OCIRepositoryVerification `json:"verify,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, whose image pull secrets are used, or as which
	// to authenticate with the provider.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// CertSecretRef names a Secret with TLS keys: ca.crt, and tls.crt with tls.key for mutual TLS.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`

	// ProxySecretRef names a Secret with the keys address, username and password of a proxy.
	// +optional
	ProxySecretRef *meta.LocalObjectReference `json:"proxySecretRef,omitempty"`

	// Interval between looks at the repository. Required.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Interval metav1.Duration `json:"interval,omitzero"`

	// Timeout of each operation on the registry. Defaults to 60s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Ignore leaves files out of the artifact, in the syntax of .gitignore. It replaces the built-in rules, except those
	// for the files of Git itself.
	// +optional
	Ignore *string `json:"ignore,omitempty"`

	// Insecure talks HTTP to the registry.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// Suspend stops pulling. What is stored stays available.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// OCIRepositoryRef names a version. Of several fields the first of digest, semver and tag is used.
type OCIRepositoryRef struct {
	// Digest of the manifest, as sha256:<checksum>.
	// +optional
	Digest string `json:"digest,omitempty"`

	// SemVer is a range; the highest version of the tags in it is pulled.
	// +optional
	SemVer string `json:"semver,omitempty"`

	// SemverFilter is a regular expression that tags have to match to be considered for SemVer.
	// +optional
	SemverFilter string `json:"semverFilter,omitempty"`

	// Tag to pull.
	// +optional
	Tag string `json:"tag,omitempty"`
}

// OCILayerSelector selects a layer.
type OCILayerSelector struct {
	// MediaType of the layer; the first one that has it is selected. Defaults to the first layer of all.
	// +optional
	MediaType string `json:"mediaType,omitempty"`

	// Operation on the layer. Defaults to extract.
	// +kubebuilder:validation:Enum=extract;copy
	// +optional
	Operation string `json:"operation,omitempty"`
}

// OCIVerification says how to verify the signature of an OCI artifact. With cosign and no SecretRef, signatures are
// keyless: an identity that MatchOIDCIdentity accepts has to have signed.
type OCIVerification struct {
	// Provider of the signature. Defaults to cosign.
	// +kubebuilder:validation:Enum=cosign;notation
	// +kubebuilder:default=cosign
	// +required
	Provider string `json:"provider"`

	// SecretRef names a Secret with the trusted public keys (cosign), or the trust policy and certificates (notation).
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// MatchOIDCIdentity lists who may have signed without a key. One match is enough; none listed accepts anyone whose
	// certificate is valid.
	// +optional
	MatchOIDCIdentity []OIDCIdentityMatch `json:"matchOIDCIdentity,omitempty"`
}

// OIDCIdentityMatch accepts identities. Both fields are regular expressions, not anchored, and both have to match.
type OIDCIdentityMatch struct {
	// Issuer of the identity token.
	// +required
	Issuer string `json:"issuer"`

	// Subject of the identity token.
	// +required
	Subject string `json:"subject"`
}

// OCIRepositoryVerification is the OCIVerification of an OCIRepository.
type OCIRepositoryVerification struct {
	OCIVerification `json:",inline"`

	// TrustedRootSecretRef names a Secret with the key trusted_root.json: the Sigstore trusted root to use in place of the public one.
	// +optional
	TrustedRootSecretRef *meta.LocalObjectReference `json:"trustedRootSecretRef,omitempty"`
}

// OCIRepositoryStatus is what was seen of the repository.
type OCIRepositoryStatus struct {
	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions of the OCIRepository.
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

	// ObservedLayerSelector is the spec.layerSelector that Artifact was made with.
	// +optional
	ObservedLayerSelector *OCILayerSelector `json:"observedLayerSelector,omitempty"`

	// SourceVerificationFingerprint is a digest of the keys or identities with which Artifact was verified.
	// +optional
	SourceVerificationFingerprint string `json:"sourceVerificationFingerprint,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *OCIRepository) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
		Artifact:               &in.Status.Artifact,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *OCIRepository) Suspended() bool { return in.Spec.Suspend }

// GetArtifact returns the artifact, or nil if there is none yet.
func (in *OCIRepository) GetArtifact() *meta.Artifact { return in.Status.Artifact }

// GetTimeout returns the timeout of an operation on the registry: DefaultTimeout, unless the spec sets one.
func (in *OCIRepository) GetTimeout() time.Duration { return timeout(in.Spec.Timeout) }

// GetProvider returns the provider of the credentials, generic unless the spec sets one.
func (in *OCIRepository) GetProvider() string { return cmp.Or(in.Spec.Provider, meta.ProviderGeneric) }

// GetLayerMediaType returns the media type of the layer to use; the first layer is meant if it is empty.
func (in *OCIRepository) GetLayerMediaType() string {
	if in.Spec.LayerSelector == nil {
		return ""
	}

	return in.Spec.LayerSelector.MediaType
}

// GetLayerOperation returns what is done with the layer: OCILayerExtract, unless the spec says OCILayerCopy.
func (in *OCIRepository) GetLayerOperation() string {
	if in.Spec.LayerSelector == nil {
		return OCILayerExtract
	}

	return cmp.Or(in.Spec.LayerSelector.Operation, OCILayerExtract)
}
