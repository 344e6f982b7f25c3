// Package v2 holds the kind of helm.toolkit.fluxcd.io/v2: the HelmRelease, its defaults, and what its history records.
// It declares types and names; installing, upgrading and the choice between them is done elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=helm.toolkit.fluxcd.io
package v2
