package v1

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Workload changes the Deployments of some components, those of their shards included. What it does not set stays as it is.
//
// Several entries may be about the same Deployment: they are applied in their order. A later one replaces single values and
// lists, and adds to maps key by key; an argument replaces those of the same name.
type Workload struct {
	// Components whose Deployments are changed. Defaults to all. In the topology Unified one Deployment runs all components,
	// and every entry is about it. A component that is not installed is not an error.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:items:Enum=source-controller;kustomize-controller;helm-controller;notification-controller;image-reflector-controller;image-automation-controller;source-watcher
	// +optional
	Components []string `json:"components,omitempty"`

	// Replicas is the number of pods: one holds the lease, the others wait to take its place. Defaults to 1. With more
	// than one, and unless Affinity or LeaderElection say otherwise, the pods are spread over nodes as far as possible and
	// the lease of a pod that is lost is free after 8s.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// LeaderElection sets how soon another pod takes over.
	// +optional
	LeaderElection *LeaderElection `json:"leaderElection,omitempty"`

	// LogLevel is the least level that is logged. Defaults to info.
	// +kubebuilder:validation:Enum=trace;debug;info;error
	// +optional
	LogLevel string `json:"logLevel,omitempty"`

	// FeatureGates switches features on or off, by name.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	FeatureGates map[string]bool `json:"featureGates,omitempty"`

	// Args are more arguments, as --name or --name=value. They replace arguments of the same name. A name that is given
	// more than once stays so.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^--[A-Za-z0-9][-A-Za-z0-9]*(=.*)?$`
	// +kubebuilder:validation:XValidation:rule="!self.exists(a, a.startsWith('--controllers=') || a == '--controllers')",message="--controllers follows from .spec.components and .spec.topology"
	// +kubebuilder:validation:XValidation:rule="!self.exists(a, a.startsWith('--feature-gates=') || a == '--feature-gates')",message="use .featureGates in place of --feature-gates"
	// +optional
	Args []string `json:"args,omitempty"`

	// Resources of the container, which add to or replace those of the manifests and of spec.cluster.size, one by one.
	// +optional
	Resources *Resources `json:"resources,omitempty"`

	// NodeSelector holds labels of the nodes that may run the pods, beside kubernetes.io/os: linux.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Tolerations of the pods.
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Affinity of the pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// PriorityClassName of the pods. Defaults to system-cluster-critical; empty is the default of the cluster.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PriorityClassName *string `json:"priorityClassName,omitempty"`

	// PodDisruptionBudget limits how many pods may be away on purpose, such as while a node is drained.
	// +optional
	PodDisruptionBudget *PodDisruptionBudget `json:"podDisruptionBudget,omitempty"`
}

// LeaderElection sets the times of the lease that the working pod holds. A pod that is lost is replaced after LeaseDuration and
// up to twice RetryPeriod; one that ends in order is replaced within twice RetryPeriod.
//
// +kubebuilder:validation:XValidation:rule="duration(self.leaseDuration) > duration(self.renewDeadline)",message=".leaseDuration must be greater than .renewDeadline"
// +kubebuilder:validation:XValidation:rule="duration(self.renewDeadline) >= duration(self.retryPeriod) + duration(self.retryPeriod)",message=".renewDeadline must be at least twice .retryPeriod"
// +kubebuilder:validation:XValidation:rule="duration(self.retryPeriod) > duration('0s')",message=".retryPeriod must be greater than zero"
type LeaderElection struct {
	// LeaseDuration is how long a lease lasts that is not renewed.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	LeaseDuration metav1.Duration `json:"leaseDuration"`

	// RenewDeadline is how long the leader tries to renew its lease before it gives up.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	RenewDeadline metav1.Duration `json:"renewDeadline"`

	// RetryPeriod is the time between two attempts to get or renew the lease.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +required
	RetryPeriod metav1.Duration `json:"retryPeriod"`
}

// Resources of a container.
type Resources struct {
	// Limits that it may not exceed.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`

	// Requests that a node has to have free for it.
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
}

// PodDisruptionBudget says how many pods must stay, or how many may go.
//
// +kubebuilder:validation:XValidation:rule="has(self.minAvailable) != has(self.maxUnavailable)",message="exactly one of .minAvailable and .maxUnavailable must be set"
type PodDisruptionBudget struct {
	// MinAvailable pods must stay: a number or a percentage.
	// +optional
	MinAvailable *intstr.IntOrString `json:"minAvailable,omitempty"`

	// MaxUnavailable pods may go: a number or a percentage.
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// HighAvailability returns the times of the lease where more than one pod waits for it: it is taken over at most 12.4
// seconds after the last sign of life of the pod that held it.
func HighAvailability() LeaderElection {
	return LeaderElection{
		LeaseDuration: metav1.Duration{Duration: 8 * time.Second},
		RenewDeadline: metav1.Duration{Duration: 6 * time.Second},
		RetryPeriod:   metav1.Duration{Duration: 2 * time.Second},
	}
}
