package v1

// Finalizer is held by the objects of this group.
const Finalizer = Group + "/finalizer"

// Annotations of the objects of this group.
const (
	// ReconcileAnnotation with meta.DisabledValue, in any case, suspends an object. On an object that is applied it
	// leaves that object alone, and in a template it leaves the object out.
	ReconcileAnnotation = Group + "/reconcile"

	// ReconcileEveryAnnotation is the interval, as a Go duration.
	ReconcileEveryAnnotation = Group + "/reconcileEvery"

	// ReconcileArtifactEveryAnnotation is the interval between looks at the distribution artifact, as a Go duration.
	ReconcileArtifactEveryAnnotation = Group + "/reconcileArtifactEvery"

	// ReconcileTimeoutAnnotation bounds waits and calls, as a Go duration.
	ReconcileTimeoutAnnotation = Group + "/reconcileTimeout"

	// RevisionAnnotation carries the applied revision in an event.
	RevisionAnnotation = Group + "/revision"

	// ForceAnnotation with meta.EnabledValue recreates applied objects when an immutable field changes.
	ForceAnnotation = Group + "/force"
)

// Annotations of the objects that are applied.
const (
	// PruneAnnotation with meta.DisabledValue never deletes the object.
	PruneAnnotation = Group + "/prune"

	// RecreateOnFailureAnnotation with meta.EnabledValue deletes a failed Job before it is applied again.
	RecreateOnFailureAnnotation = Group + "/recreateOnFailure"

	// CopyFromAnnotation names, as <namespace>/<name>, the ConfigMap or Secret whose data to copy.
	CopyFromAnnotation = Group + "/copyFrom"

	// ConvertKubeConfigFromAnnotation names, as <namespace>/<name>[:<key>], a Secret with a kubeconfig, from which a
	// ConfigMap gets its keys address and ca.crt.
	ConvertKubeConfigFromAnnotation = Group + "/convertKubeConfigFrom"

	// ChecksumFromAnnotation names, as a list of <kind>/<namespace>/<name> with commas, the objects whose checksum goes
	// into ChecksumAnnotation.
	ChecksumFromAnnotation = Group + "/checksumFrom"

	// ChecksumAnnotation holds the checksum of what ChecksumFromAnnotation names.
	ChecksumAnnotation = Group + "/checksum"

	// ProfileAnnotation names the size that a Deployment of the instance was made for.
	ProfileAnnotation = Group + "/profile"

	// SuspendedByAnnotation names the user who suspended an object.
	SuspendedByAnnotation = Group + "/suspendedBy"

	// CreatedByAnnotation names the user who created an object.
	CreatedByAnnotation = Group + "/createdBy"
)

// Labels that name the owner of an applied object.
const (
	// OwnerNameLabel names the FluxInstance.
	OwnerNameLabel = Group + "/name"

	// OwnerNamespaceLabel is the namespace of the FluxInstance.
	OwnerNamespaceLabel = Group + "/namespace"

	// ResourceSetNameLabel names the ResourceSet.
	ResourceSetNameLabel = "resourceset." + Group + "/name"

	// ResourceSetNamespaceLabel is the namespace of the ResourceSet.
	ResourceSetNamespaceLabel = "resourceset." + Group + "/namespace"
)

// Reasons that only the kinds of this group give.
const (
	OutdatedVersionReason       = "OutdatedVersion"
	ApplySucceededReason        = "ApplySucceeded"
	SkippedDueToScheduleReason  = "SkippedDueToSchedule"
	InvalidScheduleReason       = "InvalidSchedule"
	InvalidDefaultValuesReason  = "InvalidDefaultValues"
	InvalidExportedInputsReason = "InvalidExportedInputs"
	InvalidSpecReason           = "InvalidSpec"
	WebActionReason             = "WebAction"
)
