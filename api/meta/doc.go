// Package meta holds what the API groups share: references, artifacts, inventories, histories, and the names of
// annotations, labels, finalizers, conditions and reasons. It defines no kind and has no behaviour beyond small pure
// methods on its types; what belongs to one kind alone is declared with that kind.
//
// +kubebuilder:object:generate=true
package meta
