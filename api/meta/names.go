package meta

import "strings"

// Annotations and labels with which users and clients steer any object.
const (
	// ReconcileRequestAnnotation asks for a reconcile now. Its value is an opaque token: a value that differs from
	// status.lastHandledReconcileAt is a new request.
	ReconcileRequestAnnotation = "reconcile.fluxcd.io/requestedAt"

	// ForceRequestAnnotation turns a reconcile request into a forced one, if its value equals that of
	// ReconcileRequestAnnotation. What is forced depends on the kind.
	ForceRequestAnnotation = "reconcile.fluxcd.io/forceAt"

	// ResetRequestAnnotation asks for the failure counters to be cleared, if its value equals that of
	// ReconcileRequestAnnotation.
	ResetRequestAnnotation = "reconcile.fluxcd.io/resetAt"

	// WatchLabel on a ConfigMap or Secret, with the value WatchEnabled, makes a change of it reconcile the objects
	// that refer to it.
	WatchLabel = "reconcile.fluxcd.io/watch"

	// WatchEnabled is the value of WatchLabel that switches it on.
	WatchEnabled = "Enabled"

	// ShardKeyLabel assigns an object to the controllers of one shard.
	ShardKeyLabel = "sharding.fluxcd.io/key"

	// ShardRoleLabel marks the Deployments that serve a shard; its value is then ShardRole.
	ShardRoleLabel = "sharding.fluxcd.io/role"

	// ShardRole is the value of ShardRoleLabel.
	ShardRole = "shard"
)

// Finalizer is held by every toolkit object whose deletion needs work. Kinds that use another one declare it.
const Finalizer = "finalizers.fluxcd.io"

// Values of the annotations and labels that switch something on or off. They compare case-insensitively, unless the
// annotation says otherwise.
const (
	EnabledValue  = "enabled"
	DisabledValue = "disabled"
)

// Disabled tells whether the annotation or label key is set to DisabledValue, in any case.
func Disabled(marks map[string]string, key string) bool {
	return strings.EqualFold(marks[key], DisabledValue)
}

// Enabled tells whether the annotation or label key is set to EnabledValue, in any case.
func Enabled(marks map[string]string, key string) bool {
	return strings.EqualFold(marks[key], EnabledValue)
}

// Identity providers that source, image and kubeconfig fields share. Not every field accepts every provider.
const (
	ProviderGeneric = "generic"
	ProviderAWS     = "aws"
	ProviderAzure   = "azure"
	ProviderGCP     = "gcp"
	ProviderGitHub  = "github"
)

// Kinds of object that a values or variables reference may name.
const (
	KindSecret    = "Secret"
	KindConfigMap = "ConfigMap"
)
