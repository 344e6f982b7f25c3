package v1

// MigrationFailedCondition is True while objects that the cluster stores could not be brought to the storage version of their definition.
// It names them and says why. What runs is not impaired by that; a later release that drops the version in which they are stored waits
// for them. It is gone when they are migrated, which is tried again every few minutes.
const MigrationFailedCondition = "MigrationFailed"

// Reasons of MigrationFailedCondition and of events.
const (
	// MigrationFailedReason says that objects could not be migrated.
	MigrationFailedReason = "MigrationFailed"

	// MigratedReason says that all objects of a definition are stored in its storage version now.
	MigratedReason = "Migrated"
)
