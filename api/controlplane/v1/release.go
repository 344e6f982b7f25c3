package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// DistributionVerifiedCondition tells whether the artifact and the images of the distribution carry the signatures that
// spec.distribution.verify asks for.
const DistributionVerifiedCondition = "DistributionVerified"

// VerificationErrorReason is that of DistributionVerifiedCondition, and of Ready, when they do not.
const VerificationErrorReason = "VerificationError"

// DistributionRegistry says how the registries of the artifact and of the images are reached.
type DistributionRegistry struct {
	// Mirrors hold the artifact too, each as <host>[/<path>] in place of the host of Artifact. They are tried in their order,
	// before the host of Artifact.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Mirrors []string `json:"mirrors,omitempty"`

	// CertSecret names a Secret, in the namespace of the instance, with the authorities of the registries in ca.crt, and
	// optionally a client certificate in tls.crt and tls.key.
	// +optional
	CertSecret string `json:"certSecret,omitempty"`

	// ProxySecret names a Secret, in the namespace of the instance, with the address of a proxy, and optionally a username and
	// password for it.
	// +optional
	ProxySecret string `json:"proxySecret,omitempty"`

	// Insecure allows registries without TLS. Defaults to false.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// Provider of a cloud whose workload identity logs in to the registries where no Secret does. Defaults to generic, which
	// is none.
	// +kubebuilder:validation:Enum=generic;aws;azure;gcp
	// +optional
	Provider string `json:"provider,omitempty"`

	// ServiceAccountName names the ServiceAccount, in the namespace of the instance, whose workload identity that is. Defaults
	// to that of the operator.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// DistributionVerification says who has to have signed the artifact and every image: one of the public keys of a Secret, or
// one of the identities, for which a trusted root vouches.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.matchOIDCIdentity)",message="exactly one of secretRef and matchOIDCIdentity must be set"
// +kubebuilder:validation:XValidation:rule="has(self.matchOIDCIdentity) == has(self.trustedRootSecretRef)",message="trustedRootSecretRef must be set with matchOIDCIdentity, and only then"
type DistributionVerification struct {
	// Provider of the signatures. Defaults to cosign.
	// +kubebuilder:validation:Enum=cosign
	// +kubebuilder:default=cosign
	// +optional
	Provider string `json:"provider,omitempty"`

	// SecretRef names a Secret with public keys in entries whose names end in .pub.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// MatchOIDCIdentity lists who may have signed without a key. One match is enough.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +optional
	MatchOIDCIdentity []SignerIdentity `json:"matchOIDCIdentity,omitempty"`

	// TrustedRootSecretRef names a Secret with the key trusted_root.json: whom to trust with identities. No network is needed
	// for it.
	// +optional
	TrustedRootSecretRef *meta.LocalObjectReference `json:"trustedRootSecretRef,omitempty"`
}

// SignerIdentity accepts identities. Both fields are regular expressions, not anchored, and both have to match.
type SignerIdentity struct {
	// Issuer of the identity token.
	// +kubebuilder:validation:MinLength=1
	// +required
	Issuer string `json:"issuer"`

	// Subject of the identity token.
	// +kubebuilder:validation:MinLength=1
	// +required
	Subject string `json:"subject"`
}

// DistributionArtifact is an artifact that was accepted. It is what later ones must not be older than.
type DistributionArtifact struct {
	// URL that it was asked for with.
	// +required
	URL string `json:"url"`

	// Digest of its manifest.
	// +required
	Digest string `json:"digest"`

	// Version is the highest one that it holds.
	// +required
	Version string `json:"version"`

	// Created is when it says that it was made.
	// +optional
	Created *metav1.Time `json:"created,omitempty"`
}
