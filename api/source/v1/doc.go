// Package v1 holds the kinds of source.toolkit.fluxcd.io/v1: where content comes from, and the artifacts made of it.
// It declares types, their defaults and their names; fetching and storing is done elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=source.toolkit.fluxcd.io
package v1
