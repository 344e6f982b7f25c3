package v1

// Conditions of a FluxInstance about what others do to the objects that it has deployed.
const (
	// DriftedCondition tells what others have changed or deleted: False, once it was put back; True, as long as the API server refuses
	// that. It names the last objects with the fields and who did it, and is gone after the next full check that finds all as it
	// should be, at the interval or asked for.
	DriftedCondition = "Drifted"

	// ContestedCondition is True as long as somebody keeps changing an object back, so that corrections are slowed down. Otherwise
	// it is not there.
	ContestedCondition = "Contested"
)

// Reasons of these conditions, and of the events that come with them.
const (
	// DriftCorrectedReason says that what others have changed was put back.
	DriftCorrectedReason = "DriftCorrected"

	// DriftCorrectionFailedReason says that it could not be put back.
	DriftCorrectionFailedReason = "DriftCorrectionFailed"

	// DriftContestedReason says that somebody keeps changing it.
	DriftContestedReason = "DriftContested"
)
