package meta

// ResourceInventory lists the objects that an applier has put into a cluster.
type ResourceInventory struct {
	// Entries, one per object.
	// +required
	Entries []ResourceRef `json:"entries"`
}

// ResourceRef identifies one object of an inventory.
type ResourceRef struct {
	// ID is <namespace>_<name>_<group>_<kind>. The namespace of a cluster-scoped object and the core group are empty,
	// and a colon in the name of an RBAC object is written as two underscores.
	// +required
	ID string `json:"id"`

	// Version is the API version of the object, without its group.
	// +required
	Version string `json:"v"`
}
