package v1

// Labels that name the Kustomization which owns an object.
const (
	OwnerNameLabel      = Group + "/name"
	OwnerNamespaceLabel = Group + "/namespace"
)

// Marks, which are labels or annotations, of single objects.
const (
	// ReconcileMark with meta.DisabledValue, in any case, leaves the object alone.
	ReconcileMark = Group + "/reconcile"

	// SSAMark says how to apply the object: SSAMerge, SSAIfNotPresent or SSAIgnore, in any case.
	SSAMark = Group + "/ssa"

	// PruneMark with meta.DisabledValue, in any case, never deletes the object.
	PruneMark = Group + "/prune"

	// ForceMark with meta.EnabledValue, in any case, recreates the object when an immutable field changes.
	ForceMark = Group + "/force"

	// SubstituteMark with meta.DisabledValue, in this case only, substitutes no variables in the object.
	SubstituteMark = Group + "/substitute"

	// DecryptAnnotation with meta.DisabledValue, in any case, leaves the object encrypted. It has to be an annotation.
	DecryptAnnotation = Group + "/decrypt"

	// ChecksumAnnotation was set by old versions; it is removed.
	ChecksumAnnotation = Group + "/checksum"
)

// ApprovedPlanAnnotation on a Kustomization with spec.plan Manual has the digest of the plan that may be applied.
const ApprovedPlanAnnotation = Group + "/approved-plan"

// Values of spec.plan.
const (
	// PlanNever applies without asking.
	PlanNever = "Never"

	// PlanManual waits for the approval of each plan.
	PlanManual = "Manual"
)

// Values of SSAMark. They compare case-insensitively.
const (
	// SSAMerge keeps the fields that kubectl and others have set.
	SSAMerge = "Merge"

	// SSAIfNotPresent creates the object and never changes it.
	SSAIfNotPresent = "IfNotPresent"

	// SSAIgnore leaves the object alone.
	SSAIgnore = "Ignore"
)

// Keys of the metadata of a history entry.
const (
	HistoryRevisionKey       = "revision"
	HistoryOriginRevisionKey = "originRevision"
)
