package v1

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// Components that an instance may run.
const (
	SourceController          = "source-controller"
	KustomizeController       = "kustomize-controller"
	HelmController            = "helm-controller"
	NotificationController    = "notification-controller"
	ImageReflectorController  = "image-reflector-controller"
	ImageAutomationController = "image-automation-controller"
	SourceWatcher             = "source-watcher"
)

// Topologies of an instance.
const (
	// TopologyDistributed is one Deployment for each component.
	TopologyDistributed = "Distributed"

	// TopologyUnified is one Deployment for all components.
	TopologyUnified = "Unified"
)

// Types of cluster.
const (
	ClusterTypeKubernetes = "kubernetes"
	ClusterTypeOpenShift  = "openshift"
	ClusterTypeAWS        = "aws"
	ClusterTypeAzure      = "azure"
	ClusterTypeGCP        = "gcp"
)

// Sizes of cluster.
const (
	ClusterSizeSmall  = "small"
	ClusterSizeMedium = "medium"
	ClusterSizeLarge  = "large"
)

// Variants of the images of a distribution.
const (
	VariantUpstreamAlpine           = "upstream-alpine"
	VariantEnterpriseAlpine         = "enterprise-alpine"
	VariantEnterpriseDistroless     = "enterprise-distroless"
	VariantEnterpriseDistrolessFIPS = "enterprise-distroless-fips"
)

// Storage of shards.
const (
	ShardStorageEphemeral  = "ephemeral"
	ShardStoragePersistent = "persistent"
)

// Defaults of a FluxInstance.
const (
	DefaultClusterDomain        = "cluster.local"
	DefaultTenantServiceAccount = "default"
	DefaultSyncInterval         = time.Minute
)

// AllComponents returns every component that an instance may run, in the order in which they are installed.
func AllComponents() []string {
	return []string{
		SourceController, KustomizeController, HelmController, NotificationController,
		ImageReflectorController, ImageAutomationController, SourceWatcher,
	}
}

// GetComponents returns the components to run: those of the spec, or else the first four of AllComponents.
func (in *FluxInstance) GetComponents() []string {
	if len(in.Spec.Components) == 0 {
		return AllComponents()[:4]
	}

	return slices.Clone(in.Spec.Components)
}

// HasComponent tells whether the component is one of GetComponents.
func (in *FluxInstance) HasComponent(name string) bool {
	return slices.Contains(in.GetComponents(), name)
}

// GetTopology returns the topology: TopologyDistributed, unless the spec sets one.
func (in *FluxInstance) GetTopology() string {
	return cmp.Or(in.Spec.Topology, TopologyDistributed)
}

// GetCluster returns a copy of the cluster with every default filled in: type kubernetes, domain cluster.local,
// network policies, and ServiceAccount default for tenants. Size has no default.
func (in *FluxInstance) GetCluster() Cluster {
	c := Cluster{}
	if in.Spec.Cluster != nil {
		c = *in.Spec.Cluster.DeepCopy()
	}

	c.Type = cmp.Or(c.Type, ClusterTypeKubernetes)
	c.Domain = cmp.Or(c.Domain, DefaultClusterDomain)
	c.TenantDefaultServiceAccount = cmp.Or(c.TenantDefaultServiceAccount, DefaultTenantServiceAccount)
	c.TenantDefaultDecryptionServiceAccount = cmp.Or(c.TenantDefaultDecryptionServiceAccount, DefaultTenantServiceAccount)
	c.TenantDefaultKubeConfigServiceAccount = cmp.Or(c.TenantDefaultKubeConfigServiceAccount, DefaultTenantServiceAccount)

	networkPolicy := c.GetNetworkPolicy()
	c.NetworkPolicy = &networkPolicy

	return c
}

// GetNetworkPolicy tells whether NetworkPolicies are wanted, which they are unless the spec says no.
func (in Cluster) GetNetworkPolicy() bool { return in.NetworkPolicy == nil || *in.NetworkPolicy }

// GetWait tells whether to wait for the applied objects, which is so unless the spec says no.
func (in *FluxInstance) GetWait() bool { return in.Spec.Wait == nil || *in.Spec.Wait }

// GetMigrateResources tells whether to migrate stored objects, which is so unless the spec says no.
func (in *FluxInstance) GetMigrateResources() bool {
	return in.Spec.MigrateResources == nil || *in.Spec.MigrateResources
}

// GetSyncName returns the name of the source and Kustomization of spec.sync: that of the spec, or the namespace of the
// instance. It is empty if there is no sync.
func (in *FluxInstance) GetSyncName() string {
	if in.Spec.Sync == nil {
		return ""
	}

	return cmp.Or(in.Spec.Sync.Name, in.Namespace)
}

// GetInterval returns the interval of the source: DefaultSyncInterval, unless the spec sets one.
func (in *SyncSpec) GetInterval() time.Duration {
	if in.Interval == nil {
		return DefaultSyncInterval
	}

	return in.Interval.Duration
}

// GetKey returns the key of the label that assigns objects to shards: meta.ShardKeyLabel, unless the spec sets one.
func (in *Sharding) GetKey() string { return cmp.Or(in.Key, meta.ShardKeyLabel) }

// GetStorage returns the storage of the shards: ShardStorageEphemeral, unless the spec sets one.
func (in *Sharding) GetStorage() string { return cmp.Or(in.Storage, ShardStorageEphemeral) }

// GetInterval returns the interval between reconciles: ReconcileEveryAnnotation, or DefaultInstanceInterval.
func (in *FluxInstance) GetInterval() time.Duration {
	return durationFrom(in.Annotations, ReconcileEveryAnnotation, DefaultInstanceInterval)
}

// GetArtifactInterval returns the interval between looks at the distribution artifact:
// ReconcileArtifactEveryAnnotation, or DefaultArtifactInterval.
func (in *FluxInstance) GetArtifactInterval() time.Duration {
	return durationFrom(in.Annotations, ReconcileArtifactEveryAnnotation, DefaultArtifactInterval)
}

// GetTimeout returns the timeout of waits: ReconcileTimeoutAnnotation, or DefaultTimeout.
func (in *FluxInstance) GetTimeout() time.Duration {
	return durationFrom(in.Annotations, ReconcileTimeoutAnnotation, DefaultTimeout)
}

// GetUpgrade returns how revisions are changed, with all defaults.
func (in *FluxInstance) GetUpgrade() Upgrade {
	u := Upgrade{}
	if in.Spec.Upgrade != nil {
		u = *in.Spec.Upgrade
	}
	u.Mode, u.Operator = cmp.Or(u.Mode, UpgradeAutomatic), cmp.Or(u.Operator, OperatorFollows)
	if u.Timeout == nil {
		u.Timeout = &metav1.Duration{Duration: in.GetTimeout()}
	}
	if u.Soak == nil {
		u.Soak = &metav1.Duration{}
	}
	if u.Rollback == nil {
		u.Rollback = new(true)
	}
	return u
}

// GetPrune returns what goes when parts are taken out of the spec.
func (in *FluxInstance) GetPrune() Pruning {
	if in.Spec.Prune == nil {
		return Pruning{}
	}
	return *in.Spec.Prune
}

// GetTargetNamespace returns where the components run.
func (in *FluxInstance) GetTargetNamespace() string {
	return cmp.Or(in.Spec.TargetNamespace, in.Namespace)
}
