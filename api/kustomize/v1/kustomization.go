package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// KustomizationKind is the kind of a Kustomization.
const KustomizationKind = "Kustomization"

// MinTimeout is the least timeout of a Kustomization, and what its default timeout stays below the interval.
const MinTimeout = 30 * time.Second

// What becomes of the applied objects when a Kustomization is deleted.
const (
	// DeletionPolicyMirrorPrune deletes them if spec.prune is set.
	DeletionPolicyMirrorPrune = "MirrorPrune"

	// DeletionPolicyDelete deletes them.
	DeletionPolicyDelete = "Delete"

	// DeletionPolicyWaitForTermination deletes them and waits, for the timeout at most, until they are gone.
	DeletionPolicyWaitForTermination = "WaitForTermination"

	// DeletionPolicyOrphan leaves them.
	DeletionPolicyOrphan = "Orphan"
)

// When variables are substituted.
const (
	// SubstituteWithVariables substitutes if at least one variable is defined.
	SubstituteWithVariables = "WithVariables"

	// SubstituteAlways substitutes in any case.
	SubstituteAlways = "Always"
)

// DecryptionProviderSOPS is the only provider of decryption.
const DecryptionProviderSOPS = "sops"

// Kustomization builds manifests from a source, applies them, and keeps them applied.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=ks,categories=all;fluxcd;fluxcd-appliers
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Kustomization struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec KustomizationSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status KustomizationStatus `json:"status,omitzero"`
}

// KustomizationList is a list of Kustomizations.
//
// +kubebuilder:object:root=true
type KustomizationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []Kustomization `json:"items"`
}

// KustomizationSpec says what to build, how to change it, where to apply it, and what to wait for.
type KustomizationSpec struct {
	// CommonMetadata is added to all objects.
	// +optional
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`

	// DependsOn names Kustomizations that have to be ready before this one is applied.
	// +optional
	DependsOn []meta.DependencyReference `json:"dependsOn,omitempty"`

	// Decryption of Secrets and files before the build, and of objects after it.
	// +optional
	Decryption *Decryption `json:"decryption,omitempty"`

	// Interval between reconciles that nothing else asks for.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	Interval metav1.Duration `json:"interval"`

	// RetryInterval is the time to the next attempt after a failure. Defaults to Interval.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	RetryInterval *metav1.Duration `json:"retryInterval,omitempty"`

	// KubeConfig says how to reach the cluster to apply to. Defaults to the cluster of the Kustomization.
	// +optional
	KubeConfig *meta.KubeConfigReference `json:"kubeConfig,omitempty"`

	// Path of the directory in the artifact to build. Defaults to its root.
	// +optional
	Path string `json:"path,omitempty"`

	// PostBuild changes the objects after the build.
	// +optional
	PostBuild *PostBuild `json:"postBuild,omitempty"`

	// Prune deletes objects that were applied and are no longer built.
	// +required
	Prune bool `json:"prune"`

	// DeletionPolicy says what becomes of the objects when the Kustomization is deleted. Defaults to MirrorPrune.
	// +kubebuilder:validation:Enum=MirrorPrune;Delete;WaitForTermination;Orphan
	// +optional
	DeletionPolicy string `json:"deletionPolicy,omitempty"`

	// HealthChecks names objects to wait for. Ignored if Wait is set. The APIVersion defaults to apps/v1.
	// +optional
	HealthChecks []meta.NamespacedObjectKindReference `json:"healthChecks,omitempty"`

	// NamePrefix is put before the names of all objects.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	// +optional
	NamePrefix string `json:"namePrefix,omitempty"`

	// NameSuffix is put after the names of all objects.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	// +optional
	NameSuffix string `json:"nameSuffix,omitempty"`

	// Patches of the objects, after those of the kustomization.yaml.
	// +optional
	Patches []meta.Patch `json:"patches,omitempty"`

	// Images to replace, merged by name with those of the kustomization.yaml.
	// +optional
	Images []meta.Image `json:"images,omitempty"`

	// BuildMetadata replaces the list of the kustomization.yaml: annotations by which objects tell where they come from.
	// +kubebuilder:validation:items:Enum=originAnnotations;transformerAnnotations
	// +optional
	BuildMetadata []string `json:"buildMetadata,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, as which to apply.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// SourceRef names the source of the artifact.
	// +required
	SourceRef CrossNamespaceSourceReference `json:"sourceRef"`

	// Suspend stops reconciling. What is applied stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// TargetNamespace is set on all namespaced objects.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	TargetNamespace string `json:"targetNamespace,omitempty"`

	// Timeout of the health checks, and of the wait for termination. Defaults to Interval less 30s; it is at least 30s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Force recreates an object when a change of an immutable field is refused.
	// +kubebuilder:default=false
	// +optional
	Force bool `json:"force,omitempty"`

	// Wait for all applied objects to be healthy.
	// +optional
	Wait bool `json:"wait,omitempty"`

	// Components are paths, relative to Path, of kustomize components to add.
	// +optional
	Components []string `json:"components,omitempty"`

	// IgnoreMissingComponents goes on without those of Components that do not exist.
	// +optional
	IgnoreMissingComponents bool `json:"ignoreMissingComponents,omitempty"`

	// HealthCheckExprs say how healthy objects of custom kinds are.
	// +optional
	HealthCheckExprs []meta.CustomHealthCheck `json:"healthCheckExprs,omitempty"`

	// Ignore leaves fields that others have changed as they are.
	// +optional
	Ignore []meta.IgnoreRule `json:"ignore,omitempty"`

	// Plan says whether changes wait for approval: Never, which is the default, or Manual. Then what would change is written to
	// the ConfigMap <name>-plan, and done when the annotation kustomize.toolkit.fluxcd.io/approved-plan has the digest of
	// exactly that.
	// +kubebuilder:validation:Enum=Never;Manual
	// +optional
	Plan string `json:"plan,omitempty"`
}

// Decryption says with which keys to decrypt.
type Decryption struct {
	// Provider of the decryption.
	// +kubebuilder:validation:Enum=sops
	// +required
	Provider string `json:"provider"`

	// ServiceAccountName names a ServiceAccount in the same namespace, as which to authenticate with a key service.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// SecretRef names a Secret with private keys (.asc, .agekey) or with credentials for key services (sops.*).
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
}

// CrossNamespaceSourceReference names a source of manifests.
type CrossNamespaceSourceReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Kind of the source.
	// +kubebuilder:validation:Enum=OCIRepository;GitRepository;Bucket;ExternalArtifact
	// +required
	Kind string `json:"kind"`

	// Name of the source.
	// +required
	Name string `json:"name"`

	// Namespace of the source. Defaults to the namespace of the Kustomization.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// PostBuild substitutes variables, written ${name}, in the objects after the build.
type PostBuild struct {
	// Substitute holds variables. They win over those of SubstituteFrom.
	// +optional
	Substitute map[string]string `json:"substitute,omitempty"`

	// SubstituteFrom names ConfigMaps and Secrets with variables. The last one wins.
	// +optional
	SubstituteFrom []SubstituteReference `json:"substituteFrom,omitempty"`

	// SubstituteStrategy says when to substitute. Defaults to WithVariables.
	// +kubebuilder:validation:Enum=WithVariables;Always
	// +optional
	SubstituteStrategy string `json:"substituteStrategy,omitempty"`
}

// SubstituteReference names a ConfigMap or Secret in the same namespace.
type SubstituteReference struct {
	// Kind of the object.
	// +kubebuilder:validation:Enum=Secret;ConfigMap
	// +required
	Kind string `json:"kind"`

	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`

	// Optional lets the object be missing.
	// +kubebuilder:default=false
	// +optional
	Optional bool `json:"optional,omitempty"`
}

// KustomizationStatus is what was applied, and how it went.
type KustomizationStatus struct {
	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions of the Kustomization.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// LastAppliedRevision is the revision of the artifact that was last applied with success.
	// +optional
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`

	// LastAppliedOriginRevision is the revision of the code that this artifact was built from, if it says so.
	// +optional
	LastAppliedOriginRevision string `json:"lastAppliedOriginRevision,omitempty"`

	// LastAttemptedRevision is the revision of the artifact that was last built.
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`

	// Inventory lists the applied objects.
	// +optional
	Inventory *meta.ResourceInventory `json:"inventory,omitempty"`

	// History of what was applied, newest first.
	// +optional
	History meta.History `json:"history,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *Kustomization) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *Kustomization) Suspended() bool { return in.Spec.Suspend }

// GetTimeout returns the timeout of the health checks: that of the spec, or the interval less MinTimeout, and never
// less than MinTimeout.
func (in *Kustomization) GetTimeout() time.Duration {
	timeout := in.Spec.Interval.Duration - MinTimeout
	if in.Spec.Timeout != nil {
		timeout = in.Spec.Timeout.Duration
	}

	return max(timeout, MinTimeout)
}

// GetRetryInterval returns the time to the next attempt after a failure: that of the spec, or the interval.
func (in *Kustomization) GetRetryInterval() time.Duration {
	if in.Spec.RetryInterval != nil {
		return in.Spec.RetryInterval.Duration
	}

	return in.Spec.Interval.Duration
}

// GetDeletionPolicy returns the deletion policy: DeletionPolicyMirrorPrune, unless the spec sets one.
func (in *Kustomization) GetDeletionPolicy() string {
	return cmp.Or(in.Spec.DeletionPolicy, DeletionPolicyMirrorPrune)
}

// GetSubstituteStrategy returns when to substitute: SubstituteWithVariables, unless the spec says otherwise.
func (in *PostBuild) GetSubstituteStrategy() string {
	return cmp.Or(in.SubstituteStrategy, SubstituteWithVariables)
}
