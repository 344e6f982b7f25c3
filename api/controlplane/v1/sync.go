package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

// Sync is a source, and a Kustomization that applies it.
type Sync struct {
	// Name of the source and of the Kustomization. Cannot be changed. Defaults to the namespace of the instance.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="Sync name is immutable"
	// +optional
	Name string `json:"name,omitempty"`

	SyncSpec `json:",inline"`
}

// NamedSync is a Sync beside others.
type NamedSync struct {
	// Name of the source and of the Kustomization. It differs from those of all others.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`

	SyncSpec `json:",inline"`
}

// SyncSpec says what to follow and how to apply it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.provider) || self.provider != 'gcp' || self.kind == 'OCIRepository' || self.kind == 'Bucket'",message="sync.provider 'gcp' is only supported for OCIRepository and Bucket"
// +kubebuilder:validation:XValidation:rule="!has(self.provider) || self.provider != 'github' || self.kind == 'GitRepository'",message="sync.provider 'github' is only supported for GitRepository"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.kind != 'Bucket'",message="sync.verify is only supported for GitRepository and OCIRepository"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.kind != 'GitRepository' || has(self.verify.secretRef)",message="sync.verify.secretRef must be set for GitRepository"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.kind != 'GitRepository' || !has(self.verify.provider) && !has(self.verify.matchOIDCIdentity) && !has(self.verify.trustedRootSecretRef)",message="sync.verify.provider, matchOIDCIdentity and trustedRootSecretRef are only supported for OCIRepository"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.kind == 'GitRepository' || !has(self.verify.mode)",message="sync.verify.mode is only supported for GitRepository"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.kind != 'OCIRepository' || has(self.verify.secretRef) || has(self.verify.matchOIDCIdentity)",message="sync.verify.secretRef or sync.verify.matchOIDCIdentity must be set for OCIRepository: without, anybody's signature would do"
type SyncSpec struct {
	// Interval of the source. Defaults to 1m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="1m"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Kind of the source.
	// +kubebuilder:validation:Enum=OCIRepository;GitRepository;Bucket
	// +required
	Kind string `json:"kind"`

	// URL of the source; for a Bucket, its endpoint.
	// +required
	URL string `json:"url"`

	// Ref is the full name of a Git reference, such as refs/heads/main, an OCI tag, or the name of a Bucket.
	// +required
	Ref string `json:"ref"`

	// Path of the directory to apply.
	// +required
	Path string `json:"path"`

	// PullSecret names a Secret with the credentials of the source.
	// +optional
	PullSecret string `json:"pullSecret,omitempty"`

	// Provider of the credentials of the source, if they are in no Secret.
	// +kubebuilder:validation:Enum=generic;aws;azure;gcp;github
	// +optional
	Provider string `json:"provider,omitempty"`

	// Verify refuses what is not signed by somebody trusted. Without it, nothing is verified.
	// +optional
	Verify *SyncVerification `json:"verify,omitempty"`

	// Decryption of Secrets and files before they are applied.
	// +optional
	Decryption *kustomizev1.Decryption `json:"decryption,omitempty"`

	// Wait for what is applied to be healthy. Defaults to false.
	// +optional
	Wait bool `json:"wait,omitempty"`

	// Timeout of that wait. Defaults to that of a Kustomization: 9m30s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// SyncVerification says whose signatures are trusted: for a GitRepository Mode and SecretRef, for an OCIRepository the others.
type SyncVerification struct {
	// Provider of the signature of an OCIRepository. Defaults to cosign.
	// +kubebuilder:validation:Enum=cosign;notation
	// +optional
	Provider string `json:"provider,omitempty"`

	// Mode says what has to be signed of a GitRepository. Defaults to HEAD.
	// +kubebuilder:validation:Enum=HEAD;Tag;TagAndHEAD
	// +optional
	Mode string `json:"mode,omitempty"`

	// SecretRef names a Secret with the trusted public keys: of authors (.asc, .sshpub), of cosign (.pub), or the trust policy
	// and certificates of notation.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// MatchOIDCIdentity lists who may have signed an OCIRepository without a key; one match is enough.
	// +kubebuilder:validation:MinItems=1
	// +optional
	MatchOIDCIdentity []sourcev1.OIDCIdentityMatch `json:"matchOIDCIdentity,omitempty"`

	// TrustedRootSecretRef names a Secret with the key trusted_root.json: the Sigstore trusted root to use in place of the
	// public one.
	// +optional
	TrustedRootSecretRef *meta.LocalObjectReference `json:"trustedRootSecretRef,omitempty"`
}

// GetSyncs returns all that the instance follows, each with its name: spec.sync, if there is one, and then spec.syncs.
func (in *FluxInstance) GetSyncs() []NamedSync {
	var syncs []NamedSync
	if in.Spec.Sync != nil {
		syncs = append(syncs, NamedSync{Name: in.GetSyncName(), SyncSpec: in.Spec.Sync.SyncSpec})
	}

	return append(syncs, in.Spec.Syncs...)
}
