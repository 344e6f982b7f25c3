package v1

// ImageURLInvalidReason says that the name of an image cannot be parsed.
const ImageURLInvalidReason = "ImageURLInvalid"

// Reasons that an ImagePolicy gives.
const (
	InvalidPolicyReason         = "InvalidPolicy"
	IntervalNotConfiguredReason = "IntervalNotConfigured"
)

// Reasons that an ImageUpdateAutomation gives.
const (
	InvalidUpdateStrategyReason      = "InvalidUpdateStrategy"
	InvalidSourceConfigurationReason = "InvalidSourceConfiguration"
	InvalidPolicySelectorReason      = "InvalidPolicySelector"
	RemovedTemplateFieldReason       = "RemovedTemplateField"
	SourceManagerFailedReason        = "SourceManagerFailed"
	UpdateFailedReason               = "UpdateFailed"
)
