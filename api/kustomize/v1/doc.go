// Package v1 holds the kind of kustomize.toolkit.fluxcd.io/v1: the Kustomization, its defaults, and the names of the
// marks by which users control single objects. Building and applying is done elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=kustomize.toolkit.fluxcd.io
package v1
