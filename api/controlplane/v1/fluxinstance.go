package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// FluxInstanceKind is the kind of a FluxInstance.
const FluxInstanceKind = "FluxInstance"

// InstanceName is the only name that a FluxInstance or a FluxReport may have.
const InstanceName = "flux"

// FluxInstance is the distribution that runs in a cluster. There is one for each cluster, and its name is flux.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=fluxcd;fluxcd-appliers
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.lastAttemptedRevision`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'flux'",message="the only accepted name for a FluxInstance is 'flux'"
type FluxInstance struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec FluxInstanceSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +optional
	Status FluxInstanceStatus `json:"status,omitzero"`
}

// FluxInstanceList is a list of FluxInstances.
//
// +kubebuilder:object:root=true
type FluxInstanceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []FluxInstance `json:"items"`
}

// FluxInstanceSpec says which version of which components to run, and how.
//
// +kubebuilder:validation:XValidation:rule="!has(self.targetNamespace) || has(self.kubeConfig)",message=".spec.targetNamespace needs .spec.kubeConfig"
// +kubebuilder:validation:XValidation:rule="!has(self.sharding) || !has(self.sharding.storage) || self.sharding.storage != 'persistent' || has(self.storage)",message=".spec.storage must be set when .spec.sharding.storage is 'persistent'"
type FluxInstanceSpec struct {
	// Distribution says which version to run, and where its manifests and images come from.
	// +required
	Distribution Distribution `json:"distribution"`

	// Components to run. Defaults to source-controller, kustomize-controller, helm-controller and
	// notification-controller.
	// +kubebuilder:validation:items:Enum=source-controller;kustomize-controller;helm-controller;notification-controller;image-reflector-controller;image-automation-controller;source-watcher
	// +optional
	Components []string `json:"components,omitempty"`

	// Topology says in how many Deployments the components run: Distributed, the default, is one for each component
	// under its Flux name; Unified is one for all of them, which shares one cache and hands artifacts over in memory.
	// +kubebuilder:validation:Enum=Distributed;Unified
	// +optional
	Topology string `json:"topology,omitempty"`

	// CommonMetadata is added to all objects of the instance.
	// +optional
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`

	// Cluster says what kind of cluster it is, and who uses it.
	// +optional
	Cluster *Cluster `json:"cluster,omitempty"`

	// Sharding runs more instances of the components, each for the objects with one value of a label.
	// +optional
	Sharding *Sharding `json:"sharding,omitempty"`

	// Storage gives source-controller a persistent volume. Without it, artifacts are lost with the pod and made again.
	// +optional
	Storage *Storage `json:"storage,omitempty"`

	// Workloads change the Deployments of the components: replicas, resources, arguments, where they run.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Workloads []Workload `json:"workloads,omitempty"`

	// Kustomize changes the manifests of the instance.
	// +optional
	Kustomize *Kustomize `json:"kustomize,omitempty"`

	// Wait for the applied objects to be healthy. Defaults to true.
	// +kubebuilder:default=true
	// +optional
	Wait *bool `json:"wait,omitempty"`

	// MigrateResources rewrites stored objects in the storage version of their CRD after an upgrade. Defaults to true.
	// +kubebuilder:default=true
	// +optional
	MigrateResources *bool `json:"migrateResources,omitempty"`

	// Upgrade says when and how the instance gets from one revision to the next.
	// +optional
	Upgrade *Upgrade `json:"upgrade,omitempty"`

	// Prune says what goes when components or syncs are taken out of the spec. Defaults to nothing that users made.
	// +optional
	Prune *Pruning `json:"prune,omitempty"`

	// KubeConfig leads to the cluster of the instance. Defaults to the one that the operator runs in. An instance in another namespace than
	// the operator's has to have one.
	// +optional
	KubeConfig *meta.KubeConfigReference `json:"kubeConfig,omitempty"`

	// TargetNamespace is where the components run, if KubeConfig is set. Defaults to the namespace of the instance.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
	// +optional
	TargetNamespace string `json:"targetNamespace,omitempty"`

	// Sync makes the cluster follow a repository from the start.
	// +optional
	Sync *Sync `json:"sync,omitempty"`

	// Syncs are more repositories to follow.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Syncs []NamedSync `json:"syncs,omitempty"`
}

// Distribution says which version to run, and where its manifests and images come from.
type Distribution struct {
	// Version is a semantic version or a range, such as 2.x or 2.9.5.
	// +required
	Version string `json:"version"`

	// Registry is the prefix of the image names, such as ghcr.io/fluxcd.
	// +required
	Registry string `json:"registry"`

	// Variant of the images. Defaults to what Registry is known to hold.
	// +kubebuilder:validation:Enum=upstream-alpine;enterprise-alpine;enterprise-distroless;enterprise-distroless-fips
	// +optional
	Variant string `json:"variant,omitempty"`

	// ImagePullSecret names a Secret, in the namespace of the instance, with which the pods pull images.
	// +optional
	ImagePullSecret string `json:"imagePullSecret,omitempty"`

	// Artifact is the URL, oci://<name>:<tag>, of the manifests. Defaults to those that the operator carries.
	// +kubebuilder:validation:Pattern=`^oci://.*$`
	// +optional
	Artifact string `json:"artifact,omitempty"`

	// ArtifactPullSecret names a Secret of type kubernetes.io/dockerconfigjson, in the namespace of the instance, with
	// which Artifact is pulled.
	// +optional
	ArtifactPullSecret string `json:"artifactPullSecret,omitempty"`

	DistributionRegistry `json:",inline"`

	// Verify the signatures of Artifact, and of the images of all components. What is not signed by whom it says is not
	// applied.
	// +optional
	Verify *DistributionVerification `json:"verify,omitempty"`
}

// Cluster describes the cluster, for the components to fit in.
//
// +kubebuilder:validation:XValidation:rule="(has(self.objectLevelWorkloadIdentity) && self.objectLevelWorkloadIdentity) || !has(self.multitenantWorkloadIdentity) || !self.multitenantWorkloadIdentity",message=".objectLevelWorkloadIdentity must be set to true when .multitenantWorkloadIdentity is set to true"
type Cluster struct {
	// Domain of the cluster's DNS. Defaults to cluster.local.
	// +kubebuilder:default="cluster.local"
	// +optional
	Domain string `json:"domain,omitempty"`

	// Multitenant confines objects to their namespaces and ServiceAccounts. Defaults to false.
	// +kubebuilder:default=false
	// +optional
	Multitenant bool `json:"multitenant,omitempty"`

	// MultitenantWorkloadIdentity does so for cloud identities; it needs ObjectLevelWorkloadIdentity. Defaults to
	// false.
	// +kubebuilder:default=false
	// +optional
	MultitenantWorkloadIdentity bool `json:"multitenantWorkloadIdentity,omitempty"`

	// TenantDefaultServiceAccount is the ServiceAccount of objects that name none, if Multitenant is set, and for
	// cloud identities if MultitenantWorkloadIdentity is. Defaults to default.
	// +optional
	TenantDefaultServiceAccount string `json:"tenantDefaultServiceAccount,omitempty"`

	// TenantDefaultDecryptionServiceAccount is the same for decryption. Defaults to default.
	// +optional
	TenantDefaultDecryptionServiceAccount string `json:"tenantDefaultDecryptionServiceAccount,omitempty"`

	// TenantDefaultKubeConfigServiceAccount is the same for remote clusters. Defaults to default.
	// +optional
	TenantDefaultKubeConfigServiceAccount string `json:"tenantDefaultKubeConfigServiceAccount,omitempty"`

	// ObjectLevelWorkloadIdentity lets objects name the ServiceAccount whose cloud identity they use.
	// +optional
	ObjectLevelWorkloadIdentity bool `json:"objectLevelWorkloadIdentity,omitempty"`

	// NetworkPolicy limits by NetworkPolicies who may connect to the components. Defaults to true.
	// +kubebuilder:default=true
	// +optional
	NetworkPolicy *bool `json:"networkPolicy,omitempty"`

	// Type of the cluster. Defaults to kubernetes.
	// +kubebuilder:validation:Enum=kubernetes;openshift;aws;azure;gcp
	// +kubebuilder:default=kubernetes
	// +optional
	Type string `json:"type,omitempty"`

	// Size sets concurrency and resources of the components. Without it they keep those of their manifests.
	// +kubebuilder:validation:Enum=small;medium;large
	// +optional
	Size string `json:"size,omitempty"`
}

// Sharding spreads objects over several instances of the components.
type Sharding struct {
	// Key of the label. Defaults to sharding.fluxcd.io/key.
	// +kubebuilder:default="sharding.fluxcd.io/key"
	// +optional
	Key string `json:"key,omitempty"`

	// Shards are the values of the label; each gets its own Deployments.
	// +kubebuilder:validation:MinItems=1
	// +required
	Shards []string `json:"shards"`

	// Storage of the shards: persistent volumes, or ephemeral ones, which is the default.
	// +kubebuilder:validation:Enum=ephemeral;persistent
	// +optional
	Storage string `json:"storage,omitempty"`
}

// Storage describes a persistent volume claim.
type Storage struct {
	// Class of the storage.
	// +required
	Class string `json:"class"`

	// Size of the volume, as a Kubernetes quantity.
	// +required
	Size string `json:"size"`
}

// Kustomize changes the manifests of the instance.
type Kustomize struct {
	// Patches are applied after the built-in ones.
	// +optional
	Patches []meta.Patch `json:"patches,omitempty"`
}

// FluxInstanceStatus is what runs, and how it got there.
type FluxInstanceStatus struct {
	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// LastHandledForceAt is the last value of the annotation reconcile.fluxcd.io/forceAt that was acted on.
	// +optional
	LastHandledForceAt string `json:"lastHandledForceAt,omitempty"`

	// Conditions of the FluxInstance.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// LastAttemptedRevision is the revision of the last reconcile, as v<version>@sha256:<digest of the manifests>.
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`

	// LastAppliedRevision is the revision of the last reconcile that succeeded.
	// +optional
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`

	// LastArtifactRevision is the digest of the last artifact pulled; empty for manifests that the operator carries.
	// +optional
	LastArtifactRevision string `json:"lastArtifactRevision,omitempty"`

	// LastReleaseDigest is that of what the Secret flux-last-release says about its objects: where they came from, and how they were verified.
	// Their own is part of LastAppliedRevision.
	// +optional
	LastReleaseDigest string `json:"lastReleaseDigest,omitempty"`

	// Artifact is the last one that was accepted.
	// +optional
	Artifact *DistributionArtifact `json:"artifact,omitempty"`

	// Components that run, with their images.
	// +optional
	Components []ComponentImage `json:"components,omitempty"`

	// Inventory lists the applied objects.
	// +optional
	Inventory *meta.ResourceInventory `json:"inventory,omitempty"`

	// Cluster is the one that Inventory is about. It is absent for the one that the operator runs in.
	// +optional
	Cluster *RemoteCluster `json:"cluster,omitempty"`

	// Upgrade is the last change of the revision.
	// +optional
	Upgrade *UpgradeStatus `json:"upgrade,omitempty"`

	// Operator is the operator's own Deployment.
	// +optional
	Operator *OperatorStatus `json:"operator,omitempty"`

	// History of what was applied, newest first.
	// +optional
	History meta.History `json:"history,omitempty"`
}

// ComponentImage is the image that a component runs.
type ComponentImage struct {
	// Name of the component.
	// +required
	Name string `json:"name"`

	// Repository of the image.
	// +required
	Repository string `json:"repository"`

	// Tag of the image.
	// +required
	Tag string `json:"tag"`

	// Digest of the image.
	// +optional
	Digest string `json:"digest,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *FluxInstance) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether ReconcileAnnotation is set to disabled.
func (in *FluxInstance) Suspended() bool {
	return meta.Disabled(in.Annotations, ReconcileAnnotation)
}
