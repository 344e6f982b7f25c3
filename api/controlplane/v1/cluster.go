package v1

// HubLabel is on the objects of an instance with spec.kubeConfig: the id of the cluster that the instance itself is in. It tells whose
// they are, for the name and namespace of an instance may be the same in many clusters.
const HubLabel = Group + "/hub"

// ClusterAnnotation on a FluxInstance has the id of a cluster, which is the UID of its namespace kube-system. The instance may move there
// from the cluster that it was deployed to, and may take over there what others have deployed.
const ClusterAnnotation = Group + "/cluster"

// ClusterConflictReason says that an instance is not deployed to a cluster: it was deployed to another one, or what runs there is
// somebody else's.
const ClusterConflictReason = "ClusterConflict"

// RemoteCluster identifies the cluster that an instance with spec.kubeConfig is deployed to.
type RemoteCluster struct {
	// ID is the UID of the namespace kube-system.
	// +required
	ID string `json:"id"`

	// Namespace of the components.
	// +required
	Namespace string `json:"namespace"`
}

// IsRemote tells whether the instance is deployed to another cluster, or is to be.
func (in *FluxInstance) IsRemote() bool {
	return in.Spec.KubeConfig != nil || in.Status.Cluster != nil
}
