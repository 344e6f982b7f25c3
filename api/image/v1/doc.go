// Package v1 holds the kinds of image.toolkit.fluxcd.io/v1: which tags an image has, which of them is wanted, and where
// to write it. It declares types, their defaults and their names; scanning, choosing and writing is done elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=image.toolkit.fluxcd.io
package v1
