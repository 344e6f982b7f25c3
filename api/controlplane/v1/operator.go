package v1

// OperatorUpToDateCondition tells whether the operator's own Deployment runs the image of the release: True, if it does; Unknown while that is
// on its way, and where there is no Deployment; False, if there is another image and somebody has to do something. Its reasons are those of
// events, too.
const OperatorUpToDateCondition = "OperatorUpToDate"

// Reasons of OperatorUpToDateCondition.
const (
	// OperatorUpToDateReason says that the operator runs the image of the release.
	OperatorUpToDateReason = "OperatorUpToDate"

	// OperatorUpgradingReason says that the Deployment was given the image of the release, whose pods are to come up.
	OperatorUpgradingReason = "OperatorUpgrading"

	// OperatorUpgradeFailedReason says that they did not come up.
	OperatorUpgradeFailedReason = "OperatorUpgradeFailed"

	// OperatorUpgradeAvailableReason says that there is an image that the operator leaves to somebody else.
	OperatorUpgradeAvailableReason = "OperatorUpgradeAvailable"

	// OperatorOutdatedReason says that the artifact holds a version that an operator of this version cannot run.
	OperatorOutdatedReason = "OperatorOutdated"

	// OperatorNotDeployedReason says that no Deployment runs the operator, or that it may not see it.
	OperatorNotDeployedReason = "OperatorNotDeployed"
)

// Values of status.operator.managedBy. Others are names of objects, such as HelmRelease/flux-system/operator.
const (
	// OperatorManagedByWeir is what upgrades itself.
	OperatorManagedByWeir = "Weir"

	// OperatorManagedByOLM is what the Operator Lifecycle Manager upgrades.
	OperatorManagedByOLM = "OLM"

	// OperatorManagedByHelm is what a release of Helm installed.
	OperatorManagedByHelm = "Helm"

	// OperatorManagedByArgoCD is what an Application of Argo CD deploys.
	OperatorManagedByArgoCD = "Argo CD"
)
