// Package v1 holds the kinds of fluxcd.controlplane.io/v1: the instance, the report about it, and the sets of resources
// that are rendered from inputs. It declares types, their defaults and their names; reconciling is done elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=fluxcd.controlplane.io
package v1
