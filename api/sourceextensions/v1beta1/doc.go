// Package v1beta1 holds the kind of source.extensions.fluxcd.io/v1beta1: the ArtifactGenerator, which composes artifacts
// of other artifacts. It declares types, their defaults and their names; generating is done elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=source.extensions.fluxcd.io
package v1beta1
